//! How many bytes the large parts of migrations add to the log, roughly and rather too many.

use crate::db::Reader;
use crate::error::StorageError;

/// The edges, which are written anew with their index.
pub(super) fn of_edges(reader: &Reader<'_>) -> Result<u64, StorageError> {
    Ok(count(reader, "edges")?.saturating_mul(EDGE_BYTES))
}

/// The index of deleted manifests.
pub(super) fn of_deleted_manifests(reader: &Reader<'_>) -> Result<u64, StorageError> {
    Ok(count(reader, "deleted_manifests")?.saturating_mul(DELETED_BYTES))
}

/// The index of the history, when no more is left of each tag than is kept.
pub(super) fn of_history(reader: &Reader<'_>) -> Result<u64, StorageError> {
    let changes = match reader.has_table("tag_history")? {
        true => reader.count_kept_of_tags()?,
        false => 0,
    };
    Ok(changes.saturating_mul(CHANGE_BYTES))
}

/// How many rows a table has; none if it is not there yet.
pub(super) fn count(reader: &Reader<'_>, table: &str) -> Result<u64, StorageError> {
    match reader.has_table(table)? {
        true => {
            Ok(reader.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?)
        }
        false => Ok(0),
    }
}

/// An edge in its table and in the index of it: two digests and two kinds each.
const EDGE_BYTES: u64 = 400;
/// A digest and a number.
const DELETED_BYTES: u64 = 110;
/// Two numbers.
pub(super) const CHANGE_BYTES: u64 = 20;
