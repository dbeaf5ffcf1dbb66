//! Forgetting changes of tags: old ones, and more than are kept of one tag or of one repository.
//!
//! What is forgotten leaves behind what somebody would miss: the oldest change of the tag that is
//! left, or else its repository, says until when nothing is known, so that nobody is told what a
//! tag named then; and a manifest that had the tag says so itself, with when it had it last as the
//! time of its push, so that rules about manifests that never had a tag, or had none for long,
//! leave it. None of these times lies ahead: a wall clock that was ahead for a while says nothing
//! of the time after it.

use std::collections::{BTreeMap, HashMap};

use oci::Tag;
use rusqlite::{OptionalExtension, Row, params};

use super::column::Text;
use super::key::{RepoId, STEP_ROWS};
use super::transaction::{Reader, Transaction};
use crate::error::StorageError;

impl Transaction<'_> {
    /// Forgets the oldest changes of a tag that has more than are kept of one, a few at a time.
    pub(super) fn bound_tag_history(
        &self,
        repository: RepoId,
        tag: &Tag,
    ) -> Result<(), StorageError> {
        let Some(surplus) = surplus_of_tag(self, repository, tag.as_str())? else {
            return Ok(());
        };
        let old = self
            .prepare_cached(&format!(
                "SELECT {OLD} FROM tag_history WHERE repository_id = ?1 AND name = ?2 AND id <= ?3
                 ORDER BY id LIMIT ?4"
            ))?
            .query_map(params![repository, Text(&tag), surplus, AT_ONCE], old)?
            .collect::<Result<Vec<_>, _>>()?;
        forget(self, repository, &old)
    }
}

/// The newest change of a tag beyond those that are kept of one; none if there is none.
fn surplus_of_tag(
    reader: &Reader<'_>,
    repository: RepoId,
    tag: &str,
) -> Result<Option<i64>, StorageError> {
    let mut statement = reader.prepare_cached(
        "SELECT id FROM tag_history WHERE repository_id = ?1 AND name = ?2
         ORDER BY id DESC LIMIT 1 OFFSET ?3",
    )?;
    let key = params![repository, Text(&tag), TAG_ROWS];
    Ok(statement.query_row(key, |row| row.get(0)).optional()?)
}

impl Reader<'_> {
    /// Up to which change each tag has more than are kept of one. It walks the changes of all tags.
    pub(super) fn surplus_of_tags(&self) -> Result<SurplusOfTags, StorageError> {
        let mut tags = self.prepare_cached(
            "SELECT repository_id, name FROM tag_history INDEXED BY tag_history_by_tag
             GROUP BY repository_id, name HAVING count(*) > ?1",
        )?;
        let mut rows = tags.query([TAG_ROWS])?;
        let mut surplus = SurplusOfTags::new();
        while let Some(row) = rows.next()? {
            let (repository, tag): (RepoId, String) = (row.get(0)?, row.get(1)?);
            if let Some(last) = surplus_of_tag(self, repository, &tag)? {
                surplus.insert((repository, tag), last);
            }
        }
        Ok(surplus)
    }
}

/// Up to which change of a tag there are more than are kept.
pub(super) type SurplusOfTags = HashMap<(RepoId, String), i64>;

impl Transaction<'_> {
    /// Forgets those that are too many of their tags, of `limit` changes after `after` in the order
    /// in which they came: so they lie beside each other. Returns how many, and the last that was
    /// looked at; none behind the last one.
    pub(super) fn cut_tags(
        &self,
        surplus: &SurplusOfTags,
        after: i64,
        limit: usize,
    ) -> Result<(usize, Option<i64>), StorageError> {
        let mut statement = self.prepare_cached(&format!(
            "SELECT {OLD}, repository_id FROM tag_history WHERE id > ?1 ORDER BY id LIMIT ?2"
        ))?;
        let mut rows = statement.query(params![after, limit])?;
        let (mut by_repository, mut last) = (BTreeMap::<RepoId, Vec<Old>>::new(), None);
        while let Some(row) = rows.next()? {
            let (old, repository) = (old(row)?, row.get(6)?);
            last = Some(old.id);
            let key = (repository, old.tag.clone());
            if surplus.get(&key).is_some_and(|last| old.id <= *last) {
                by_repository.entry(repository).or_default().push(old);
            }
        }
        for (repository, old) in &by_repository {
            forget(self, *repository, old)?;
        }
        Ok((by_repository.values().map(Vec::len).sum(), last))
    }
}

impl Reader<'_> {
    /// How many changes there are if no more are kept of each tag than of one. It walks all.
    pub(super) fn count_kept_of_tags(&self) -> Result<u64, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT coalesce(sum(min(n, ?1)), 0) FROM
             (SELECT count(*) AS n FROM tag_history GROUP BY repository_id, name)",
        )?;
        Ok(statement.query_row([TAG_ROWS], |row| row.get(0))?)
    }

    /// The newest change of a repository beyond those that are kept of one; none if there is none.
    /// Not for each push: it walks as many entries of an index as are kept.
    pub(crate) fn surplus_of_history(
        &self,
        repository: RepoId,
    ) -> Result<Option<i64>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT id FROM tag_history INDEXED BY tag_history_by_repository
             WHERE repository_id = ?1
             ORDER BY id DESC LIMIT 1 OFFSET ?2",
        )?;
        Ok(statement
            .query_row(params![repository, REPOSITORY_ROWS], |row| row.get(0))
            .optional()?)
    }

    /// How many changes of a repository there are up to this one, without those that are old.
    pub(crate) fn count_forgettable(
        &self,
        repository: RepoId,
        last: i64,
        old: i64,
    ) -> Result<u64, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT count(*) FROM tag_history INDEXED BY tag_history_by_repository
             WHERE repository_id = ?1 AND id <= ?2 AND coalesce(changed_tick, changed_at) > ?3",
        )?;
        Ok(statement.query_row(params![repository, last, old], |row| row.get(0))?)
    }

    /// How many changes of tags are as old as the tick `until`.
    pub(crate) fn count_old_changes(&self, until: i64) -> Result<u64, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT count(*) FROM tag_history WHERE coalesce(changed_tick, changed_at) <= ?1",
        )?;
        Ok(statement.query_row(params![until], |row| row.get(0))?)
    }
}

impl Transaction<'_> {
    /// Forgets the oldest of those, as many as one step may; returns how many.
    pub(crate) fn forget_old_changes(&self, until: i64) -> Result<usize, StorageError> {
        let mut statement = self.prepare_cached(&format!(
            "SELECT {OLD}, repository_id FROM tag_history
             WHERE coalesce(changed_tick, changed_at) <= ?1
             ORDER BY coalesce(changed_tick, changed_at) LIMIT ?2"
        ))?;
        let mut rows = statement.query(params![until, STEP_ROWS / ROWS_EACH])?;
        let mut by_repository: BTreeMap<RepoId, Vec<Old>> = BTreeMap::new();
        while let Some(row) = rows.next()? {
            by_repository.entry(row.get(6)?).or_default().push(old(row)?);
        }
        for (repository, old) in &by_repository {
            forget_of_repository(self, *repository, old)?;
        }
        Ok(by_repository.values().map(Vec::len).sum())
    }

    /// Forgets the oldest changes of a repository up to this one, as many as one step may; returns
    /// how many.
    pub(crate) fn forget_changes_until(
        &self,
        repository: RepoId,
        last: i64,
    ) -> Result<usize, StorageError> {
        let old = self
            .prepare_cached(&format!(
                "SELECT {OLD} FROM tag_history INDEXED BY tag_history_by_repository
                 WHERE repository_id = ?1 AND id <= ?2 ORDER BY id LIMIT ?3"
            ))?
            .query_map(params![repository, last, STEP_ROWS / ROWS_EACH], old)?
            .collect::<Result<Vec<_>, _>>()?;
        forget_of_repository(self, repository, &old)?;
        Ok(old.len())
    }
}

impl Reader<'_> {
    /// The repository after this one.
    pub(crate) fn next_repository(&self, after: RepoId) -> Result<Option<RepoId>, StorageError> {
        let mut statement =
            self.prepare_cached("SELECT id FROM repositories WHERE id > ?1 ORDER BY id LIMIT 1")?;
        Ok(statement.query_row([after], |row| row.get(0)).optional()?)
    }
}

/// A change that is forgotten. What it names is only handed on.
struct Old {
    id: i64,
    tag: String,
    before: Option<String>,
    after: Option<String>,
    changed_at: i64,
    changed_tick: i64,
}

impl Old {
    /// By when it had come, as far as the wall clock tells.
    fn known_by(&self, now: i64) -> i64 {
        self.changed_at.min(now)
    }
}

fn old(row: &Row<'_>) -> rusqlite::Result<Old> {
    Ok(Old {
        id: row.get(0)?,
        tag: row.get(1)?,
        before: row.get(2)?,
        after: row.get(3)?,
        changed_at: row.get(4)?,
        changed_tick: row.get(5)?,
    })
}

/// Forgets changes of which there may be none left of their tag. Changes at most [`ROWS_EACH`] rows
/// for each.
fn forget_of_repository(
    transaction: &Transaction<'_>,
    repository: RepoId,
    old: &[Old],
) -> Result<(), StorageError> {
    forget(transaction, repository, old)?;
    let newest = old.iter().map(|change| change.known_by(transaction.now())).max();
    let Some(newest) = newest else { return Ok(()) };
    transaction
        .prepare_cached(
            "UPDATE repositories SET forgotten_until = max(coalesce(forgotten_until, ?2), ?2)
             WHERE id = ?1",
        )?
        .execute(params![repository, newest])?;
    Ok(())
}

/// Changes at most [`ROWS_EACH`] rows for each of these, but one.
fn forget(
    transaction: &Transaction<'_>,
    repository: RepoId,
    old: &[Old],
) -> Result<(), StorageError> {
    let mut forgotten: HashMap<&str, i64> = HashMap::new();
    for change in old {
        let Old { id, tag, before, after, changed_tick, .. } = change;
        transaction.prepare_cached("DELETE FROM tag_history WHERE id = ?1")?.execute([id])?;
        for digest in [before, after].into_iter().flatten() {
            transaction
                .prepare_cached(
                    "UPDATE repository_manifests SET was_tagged = 1,
                            pushed_tick = max(coalesce(pushed_tick, pushed_at), min(?3, tick()))
                     WHERE repository_id = ?1 AND digest = ?2
                       AND (was_tagged = 0 OR coalesce(pushed_tick, pushed_at) < min(?3, tick()))",
                )?
                .execute(params![repository, Text(&digest), changed_tick])?;
            transaction
                .prepare_cached(
                    "UPDATE deleted_manifests SET was_tagged = 1
                     WHERE repository_id = ?1 AND digest = ?2 AND was_tagged = 0",
                )?
                .execute(params![repository, Text(&digest)])?;
        }
        let newest = forgotten.entry(tag).or_insert(i64::MIN);
        *newest = (*newest).max(change.known_by(transaction.now()));
    }
    let mut mark = transaction.prepare_cached(
        "UPDATE tag_history SET forgotten_until = max(coalesce(forgotten_until, ?3), ?3)
         WHERE id = (SELECT min(id) FROM tag_history WHERE repository_id = ?1 AND name = ?2)",
    )?;
    for (tag, newest) in forgotten {
        mark.execute(params![repository, Text(&tag), newest])?;
    }
    Ok(())
}

/// Changes that are kept of one tag. A tag that moves with each build of a day has a week of them.
const TAG_ROWS: usize = 256;
/// Changes that are kept of one repository.
const REPOSITORY_ROWS: usize = 100_000;
/// Changes of a tag that one change more lets go, at most: more than one, so that a tag with more
/// than are kept, from an older program, comes down to the bound.
const AT_ONCE: usize = 8;
/// Rows that one change may cost: itself, two manifests, what says that it is forgotten, and a part
/// of the repository's.
const ROWS_EACH: usize = 5;
/// What is read of a change that is forgotten.
const OLD: &str = "id, name, before, after, changed_at, coalesce(changed_tick, changed_at)";
