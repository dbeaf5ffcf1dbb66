//! The history of tags: who changed what when, one indexed page at a time.

use oci::{Digest, RepoName, Tag};
use rusqlite::{OptionalExtension, Row, params};

use super::column::{Text, parsed, parsed_if_any};
use super::key::RepoId;
use super::transaction::{Reader, Transaction};
use crate::actor::Actor;
use crate::error::StorageError;
use crate::import_number::ImportNumber;

/// One change of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagChange {
    /// Grows with each change in the store: a page begins after the last one of the page before.
    pub id: i64,
    /// The tag.
    pub tag: Tag,
    /// What it named before; none if it was not there.
    pub before: Option<Digest>,
    /// What it named then; none if it was removed.
    pub after: Option<Digest>,
    /// When, in seconds since 1970.
    pub changed_at: i64,
    /// Who did it; none for a command on the host that did not say whose it is.
    pub changed_by: Option<Actor>,
    /// The import that it was a part of.
    pub import: Option<ImportNumber>,
}

impl Reader<'_> {
    /// The changes of a repository's tags or of one of them, the newest first, older than the
    /// change `before`; `None` if there is no such repository.
    pub(crate) fn tag_changes(
        &self,
        name: &RepoName,
        tag: Option<&Tag>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Option<Vec<TagChange>>, StorageError> {
        let Some(id) = self.repository_id(name)? else { return Ok(None) };
        let before = before.unwrap_or(i64::MAX);
        let changes = match tag {
            Some(tag) => self
                .prepare_cached(
                    "SELECT id, name, before, after, changed_at, changed_by, changed_on_host,
                            import_id
                     FROM tag_history
                     WHERE repository_id = ?1 AND name = ?2 AND id < ?3 ORDER BY id DESC LIMIT ?4",
                )?
                .query_map(params![id, Text(&tag), before, limit], change)?
                .collect::<Result<_, _>>()?,
            None => self
                .prepare_cached(
                    "SELECT id, name, before, after, changed_at, changed_by, changed_on_host,
                            import_id
                     FROM tag_history INDEXED BY tag_history_by_repository
                     WHERE repository_id = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3",
                )?
                .query_map(params![id, before, limit], change)?
                .collect::<Result<_, _>>()?,
        };
        Ok(Some(changes))
    }

    /// The last change of a tag.
    pub(super) fn last_tag_change(
        &self,
        repository: RepoId,
        tag: &Tag,
    ) -> Result<Option<TagChange>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT id, name, before, after, changed_at, changed_by, changed_on_host, import_id
             FROM tag_history WHERE repository_id = ?1 AND name = ?2 ORDER BY id DESC LIMIT 1",
        )?;
        Ok(statement.query_row(params![repository, Text(&tag)], change).optional()?)
    }
}

/// What is known of what a tag named at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// This, or that it was not there.
    Named(Option<Digest>),
    /// Nothing: no change of it is known, or those by then may be forgotten.
    Unknown,
}

impl Transaction<'_> {
    /// What a tag named before this second.
    ///
    /// Changes are in the order of their numbers; the times were told by the wall clock, which may
    /// have been ahead for a while. So the last change that says it was before counts: one before
    /// that came before, whatever time it has. If the next one lies ahead even now, nobody knows
    /// when it came. And only where the oldest that is known came later it matters what is
    /// forgotten: then the tag may have named anything that came before.
    pub(super) fn tag_before(
        &self,
        repository: RepoId,
        tag: &Tag,
        time: i64,
    ) -> Result<Then, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT id, after FROM tag_history
             WHERE repository_id = ?1 AND name = ?2 AND changed_at < ?3 ORDER BY id DESC LIMIT 1",
        )?;
        let key = params![repository, Text(&tag), time];
        let last =
            statement.query_row(key, |row| Ok((row.get(0)?, parsed_if_any(row, 1)?))).optional()?;
        let (id, after): (i64, Option<Digest>) = last.unwrap_or_default();
        let mut statement = self.prepare_cached(
            "SELECT before, forgotten_until, changed_at > ?4 FROM tag_history
             WHERE repository_id = ?1 AND name = ?2 AND id > ?3 ORDER BY id LIMIT 1",
        )?;
        let key = params![repository, Text(&tag), id, self.now()];
        let next =
            statement.query_row(key, |row| Ok((parsed_if_any(row, 0)?, row.get(1)?, row.get(2)?)));
        let next: Option<(Option<Digest>, Option<i64>, bool)> = next.optional()?;
        match next {
            Some((.., true)) => Ok(Then::Unknown),
            _ if last.is_some() => Ok(Then::Named(after)),
            None => Ok(Then::Unknown),
            Some((before, forgotten, false)) => {
                // What an earlier program has forgotten of all tags alike.
                let of_all = self.last_upkeep(FORGOTTEN)?.map(|note| note.ended_at);
                match [forgotten, of_all].into_iter().flatten().any(|until| time <= until) {
                    true => Ok(Then::Unknown),
                    false => Ok(Then::Named(before)),
                }
            }
        }
    }
}

impl Reader<'_> {
    /// Tags that named this manifest last and are not there now, `limit` at most.
    pub(super) fn tags_gone_from(
        &self,
        repository: RepoId,
        digest: &Digest,
        limit: usize,
    ) -> Result<Vec<Tag>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT h.name FROM tag_history h INDEXED BY tag_history_before
             WHERE h.repository_id = ?1 AND h.before = ?2 AND h.after IS NULL
               AND NOT EXISTS (SELECT 1 FROM tag_history n WHERE n.repository_id = h.repository_id
                               AND n.name = h.name AND n.id > h.id)
             LIMIT ?3",
        )?;
        let rows =
            statement.query_map(params![repository, Text(&digest), limit], |row| parsed(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// A change as a row has it whose columns begin as those of the statements above.
pub(super) fn change(row: &Row<'_>) -> rusqlite::Result<TagChange> {
    let (user, on_host) = (parsed_if_any(row, 5)?, parsed_if_any(row, 6)?);
    Ok(TagChange {
        id: row.get(0)?,
        tag: parsed(row, 1)?,
        before: parsed_if_any(row, 2)?,
        after: parsed_if_any(row, 3)?,
        changed_at: row.get(4)?,
        changed_by: user.map(Actor::User).or(on_host.map(Actor::Host)),
        import: row.get::<_, Option<i64>>(7)?.and_then(ImportNumber::of_row),
    })
}

/// Under which name an earlier program noted up to when changes of all tags are forgotten.
const FORGOTTEN: &str = "tag-history";
