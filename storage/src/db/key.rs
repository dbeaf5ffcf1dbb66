//! Keys: what rows are known by, and after which of them a page begins.

use oci::Digest;
use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use super::column::parsed;

/// Rows that one page reads, and that one step changes at most: a push that waits for the writer
/// waits for no more.
pub(crate) const STEP_ROWS: usize = 256;

/// The row of a repository. One that is made later has a greater one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RepoId(i64);

impl RepoId {
    /// Before the first of all repositories.
    pub(crate) const BEFORE_ALL: Self = Self(i64::MIN);

    /// The repository that stands in a row, or was noted.
    pub(crate) fn kept(number: i64) -> Self {
        Self(number)
    }

    /// What is noted of it.
    pub(crate) fn number(self) -> i64 {
        self.0
    }

    /// Where the ones behind this one begin.
    pub(super) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Default for RepoId {
    fn default() -> Self {
        Self::BEFORE_ALL
    }
}

impl ToSql for RepoId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0))
    }
}

impl FromSql for RepoId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Self)
    }
}

/// A digest in a repository: a manifest, or a link to a blob.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HeldDigest {
    pub(crate) repository: RepoId,
    pub(crate) digest: Digest,
}

/// Where a page of such rows begins: after this one.
pub(crate) type After = Option<HeldDigest>;

/// A row of a repository as it stands there: its second column may be no digest.
pub(crate) type RowKey = (RepoId, String);

/// An edge of a manifest: its kind, and what it names.
pub(crate) type EdgeKey = (String, Digest);

/// The row of something in a repository.
pub(super) fn held(row: &rusqlite::Row<'_>) -> rusqlite::Result<HeldDigest> {
    Ok(HeldDigest { repository: row.get(0)?, digest: parsed(row, 1)? })
}

/// The key after which a page begins.
pub(super) fn row_key(after: &After) -> RowKey {
    match after {
        Some(HeldDigest { repository, digest }) => (*repository, digest.to_string()),
        None => (RepoId::BEFORE_ALL, String::new()),
    }
}
