//! What migrations change of rows. Each can be begun anew: what is done is found done.

use oci::Digest;
use rusqlite::{OptionalExtension, params};

use super::bytes;
use crate::db::Transaction;
use crate::db::history_bounds::SurplusOfTags;
use crate::db::key::RepoId;
use crate::error::StorageError;

/// Changes of rows.
#[derive(Clone, Copy, Debug)]
pub(in crate::db) enum Rows {
    /// What lists show of referrers is kept of no other manifest; and those that were pushed while
    /// the wall clock was ahead are as young as what comes now.
    Manifests,
    /// When each was deleted, on the store's own clock.
    DeletedManifests,
    /// Changes of tags that were noted while the wall clock was ahead, likewise.
    ChangesAhead,
    /// Of a history that no program has bounded yet, so much is forgotten that its index has room.
    SurplusChanges,
}

/// Where the next step begins.
#[derive(Debug, Default)]
pub(in crate::db) struct StepCursor {
    number: i64,
    text: String,
    left: Option<u64>,
    surplus: Option<SurplusOfTags>,
}

impl Rows {
    /// Does the next step; true behind the last one.
    pub(super) fn step(
        self,
        transaction: &Transaction<'_>,
        place: &mut StepCursor,
        room_bytes: u64,
    ) -> Result<bool, StorageError> {
        match self {
            Self::Manifests => manifests(transaction, place),
            Self::DeletedManifests => deleted_manifests(transaction, place),
            Self::ChangesAhead => changes_ahead(transaction, place),
            Self::SurplusChanges => surplus_changes(transaction, place, room_bytes),
        }
    }
}

fn manifests(transaction: &Transaction<'_>, place: &mut StepCursor) -> Result<bool, StorageError> {
    let mut page = transaction.prepare_cached(
        "SELECT repository_id, digest, pushed_tick IS NULL AND pushed_at > tick(),
                subject IS NULL AND (artifact_type IS NOT NULL OR annotations IS NOT NULL)
         FROM repository_manifests WHERE (repository_id, digest) > (?1, ?2)
         ORDER BY repository_id, digest LIMIT ?3",
    )?;
    let mut rows = page.query(params![place.number, place.text, MANIFESTS])?;
    let (mut count, mut found) = (0, Vec::new());
    while let Some(row) = rows.next()? {
        (place.number, place.text) = (row.get(0)?, row.get(1)?);
        let (is_ahead, is_shown): (bool, bool) = (row.get(2)?, row.get(3)?);
        if is_ahead || is_shown {
            found.push((place.number, place.text.clone(), is_ahead));
        }
        count += 1;
    }
    let mut hide = transaction.prepare_cached(
        "UPDATE repository_manifests SET artifact_type = NULL, annotations = NULL
         WHERE repository_id = ?1 AND digest = ?2 AND subject IS NULL",
    )?;
    let mut push = transaction.prepare_cached(
        "UPDATE repository_manifests SET pushed_tick = tick()
         WHERE repository_id = ?1 AND digest = ?2",
    )?;
    for (repository, digest, is_ahead) in found {
        hide.execute(params![repository, digest])?;
        if is_ahead {
            // By the times of their pushes, as long as these are what is known.
            if let Ok(digest) = digest.parse::<Digest>() {
                transaction.note_listed(RepoId::kept(repository), &digest)?;
            }
            push.execute(params![repository, digest])?;
        }
    }
    Ok(count < MANIFESTS)
}

fn deleted_manifests(
    transaction: &Transaction<'_>,
    place: &mut StepCursor,
) -> Result<bool, StorageError> {
    let last = transaction
        .prepare_cached(
            "SELECT repository_id, digest FROM deleted_manifests
             WHERE (repository_id, digest) > (?1, ?2)
             ORDER BY repository_id, digest LIMIT 1 OFFSET ?3",
        )?
        .query_row(params![place.number, place.text, DELETED - 1], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let (number, text): (i64, String) = last.clone().unwrap_or((i64::MAX, String::new()));
    transaction
        .prepare_cached(
            "UPDATE deleted_manifests SET deleted_tick = min(deleted_at, tick())
             WHERE (repository_id, digest) > (?1, ?2) AND (repository_id, digest) <= (?3, ?4)",
        )?
        .execute(params![place.number, place.text, number, text])?;
    (place.number, place.text) = (number, text);
    Ok(last.is_none())
}

fn changes_ahead(
    transaction: &Transaction<'_>,
    place: &mut StepCursor,
) -> Result<bool, StorageError> {
    let last = transaction
        .prepare_cached("SELECT id FROM tag_history WHERE id > ?1 ORDER BY id LIMIT 1 OFFSET ?2")?
        .query_row(params![place.number, CHANGES - 1], |row| row.get(0))
        .optional()?;
    transaction
        .prepare_cached(
            "UPDATE tag_history SET changed_tick = tick()
             WHERE id > ?1 AND id <= ?2 AND changed_tick IS NULL AND changed_at > tick()",
        )?
        .execute(params![place.number, last.unwrap_or(i64::MAX)])?;
    place.number = last.unwrap_or(i64::MAX);
    Ok(last.is_none())
}

fn surplus_changes(
    transaction: &Transaction<'_>,
    place: &mut StepCursor,
    room_bytes: u64,
) -> Result<bool, StorageError> {
    let left = match place.left {
        Some(left) => left,
        None => bytes::count(transaction, "tag_history")?,
    };
    place.left = Some(left);
    if left.saturating_mul(bytes::CHANGE_BYTES) <= room_bytes {
        return Ok(true);
    }
    let surplus = match place.surplus.take() {
        Some(surplus) => surplus,
        None => transaction.surplus_of_tags()?,
    };
    let (forgotten, last) = transaction.cut_tags(&surplus, place.number, FORGOTTEN)?;
    place.surplus = Some(surplus);
    place.left = Some(left.saturating_sub(forgotten as u64));
    // What is kept of each tag may still be too much: that is said before the index is made.
    place.number = last.unwrap_or(i64::MAX);
    Ok(last.is_none())
}

/// Manifests that one step reads: each may be a page of the log.
const MANIFESTS: usize = 500;
/// Deleted manifests that one step changes, a few dozen to a page.
const DELETED: usize = 5000;
/// Changes of tags that one step reads, and changes if the clock was ahead.
const CHANGES: usize = 10_000;
/// Changes of tags that one step forgets: each out of a table and four indexes, in one of which
/// they do not lie beside each other.
const FORGOTTEN: usize = 500;
