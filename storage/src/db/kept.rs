//! What lies in manifests that no tag leads to, and what keeps each of them: a page at a time.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, params};

use super::collect::{After, Held, STEP_ROWS, held, key};
use super::{manifest, tag};
use crate::digest::Digest;
use crate::error::StorageError;

/// What keeps a manifest that no tag leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeper {
    /// An index lists it, to which no tag leads either.
    Index,
    /// It refers to a manifest, to which no tag leads either.
    Subject,
    /// It was pushed lately, or what it belonged to can be restored, or a tag that it had.
    Time,
    /// It had a tag long ago.
    FormerTag,
    /// It was pushed by its digest and never had a tag.
    Nothing,
}

/// Looks at manifests as they will be when those that leave are gone.
pub(crate) struct Look<'a> {
    pub(crate) connection: &'a Connection,
    /// Whether a manifest is only there because nothing is changed now.
    pub(crate) is_leaving: &'a dyn Fn(&Held) -> bool,
    /// What was pushed after this tick was pushed lately.
    pub(crate) pushed_until: i64,
    /// A tag that went after this tick can be restored.
    pub(crate) tagged_until: i64,
}

/// A manifest that no tag leads to.
pub(crate) struct Kept {
    pub(crate) held: Held,
    pub(crate) keeper: Keeper,
    /// The bytes of the manifest itself.
    pub(crate) size: u64,
}

/// The last row of a page of what a manifest names.
pub(crate) type Place = (String, Digest);

impl Look<'_> {
    /// A page of all manifests: those that no tag leads to, and the last one.
    pub(crate) fn page(&self, after: &After) -> Result<(Vec<Kept>, After), StorageError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT repository_id, digest, size FROM repository_manifests
             WHERE (repository_id, digest) > (?1, ?2) ORDER BY repository_id, digest LIMIT ?3",
        )?;
        let (repository, digest) = key(after);
        let mut rows = statement.query(params![repository, digest, STEP_ROWS])?;
        let (mut page, mut last) = (Vec::new(), None);
        while let Some(row) = rows.next()? {
            let (held, size) = (held(row)?, row.get(2)?);
            if !(self.is_leaving)(&held) && !self.is_tagged(&held)? {
                page.push(Kept { keeper: self.keeper(&held)?, held: held.clone(), size });
            }
            last = Some(held);
        }
        Ok((page, last))
    }

    /// Adds up a page of the blobs of a manifest, after `after`, that only manifests hold to which
    /// no tag leads. `seen` gets each blob, so that it counts once. Returns where the next page
    /// begins, if there is one.
    pub(crate) fn blobs(
        &self,
        of: &Held,
        after: Option<&Place>,
        seen: &mut dyn FnMut(&Digest) -> bool,
    ) -> Result<(u64, Option<Place>), StorageError> {
        let nowhere = (String::new(), String::new());
        let after = after.map_or(nowhere, |(kind, child)| (kind.clone(), child.to_string()));
        let mut statement = self.connection.prepare_cached(
            "SELECT kind, child, (SELECT size FROM blobs b WHERE b.digest = e.child) FROM edges e
             WHERE repository_id = ?1 AND parent = ?2 AND (kind, child) > (?3, ?4)
             ORDER BY kind, child LIMIT ?5",
        )?;
        let key = params![of.repository, of.digest, after.0, after.1, STEP_ROWS];
        let mut rows = statement.query(key)?;
        let (mut bytes, mut last, mut count) = (0, None, 0);
        while let Some(row) = rows.next()? {
            let (kind, blob): Place = (row.get(0)?, row.get(1)?);
            let is_blob = kind != "child" && kind != "subject";
            if is_blob && !seen(&blob) && !self.is_needed(&blob)? {
                bytes += row.get::<_, Option<u64>>(2)?.unwrap_or(0);
            }
            count += 1;
            last = Some((kind, blob));
        }
        Ok((bytes, last.filter(|_| count == STEP_ROWS)))
    }

    /// Whether a tag leads to a manifest: names it, an index that lists it, or what it refers to,
    /// at any depth.
    fn is_tagged(&self, of: &Held) -> Result<bool, StorageError> {
        let (mut seen, mut above) = (HashSet::from([of.digest]), vec![of.digest]);
        while let Some(digest) = above.pop() {
            if tag::is_any_of(self.connection, of.repository, &digest)? {
                return Ok(true);
            }
            let higher = self.above(&Held { repository: of.repository, digest })?;
            above.extend(higher.into_iter().filter(|digest| seen.insert(*digest)));
        }
        Ok(false)
    }

    /// The indexes that list a manifest, and what it refers to, as far as they stay.
    fn above(&self, of: &Held) -> Result<Vec<Digest>, StorageError> {
        let mut above = manifest::parents(self.connection, of.repository, &of.digest)?;
        if let Some(subject) = manifest::subject(self.connection, of.repository, &of.digest)?
            && manifest::is_held(self.connection, of.repository, &subject)?
        {
            above.push(subject);
        }
        let repository = of.repository;
        above.retain(|digest| !(self.is_leaving)(&Held { repository, digest: *digest }));
        Ok(above)
    }

    fn keeper(&self, of: &Held) -> Result<Keeper, StorageError> {
        let Held { repository, digest } = of;
        let subject = manifest::subject(self.connection, *repository, digest)?;
        match self.above(of)?.first() {
            Some(above) if Some(above) == subject.as_ref() => return Ok(Keeper::Subject),
            Some(_) => return Ok(Keeper::Index),
            None => {}
        }
        let mut row = self.connection.prepare_cached(
            "SELECT coalesce(pushed_tick, pushed_at) > ?3, was_tagged FROM repository_manifests
             WHERE repository_id = ?1 AND digest = ?2",
        )?;
        let key = params![repository, digest, self.pushed_until];
        let row = row.query_row(key, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let (is_young, was_tagged): (bool, bool) = row.unwrap_or_default();
        let mut changes = self.connection.prepare_cached(
            "SELECT max(at) FROM (
                 SELECT max(coalesce(changed_tick, changed_at)) AS at FROM tag_history
                 WHERE repository_id = ?1 AND before = ?2
                 UNION ALL SELECT max(coalesce(changed_tick, changed_at)) FROM tag_history
                 WHERE repository_id = ?1 AND after = ?2)",
        )?;
        let changed: Option<i64> =
            changes.query_row(params![repository, digest], |row| row.get(0))?;
        if is_young
            || changed.is_some_and(|at| at > self.tagged_until)
            || self.can_be_needed_again(of, subject.as_ref())?
        {
            return Ok(Keeper::Time);
        }
        Ok(if was_tagged || changed.is_some() { Keeper::FormerTag } else { Keeper::Nothing })
    }

    /// Whether an index that lists a manifest, or what it refers to, was deleted and can come back.
    fn can_be_needed_again(
        &self,
        of: &Held,
        subject: Option<&Digest>,
    ) -> Result<bool, StorageError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT d.digest FROM edges e JOIN deleted_manifests d
               ON d.repository_id = e.repository_id AND d.digest = e.parent
             WHERE e.repository_id = ?1 AND e.child = ?2 AND e.kind = 'child'
             UNION ALL SELECT digest FROM deleted_manifests
             WHERE repository_id = ?1 AND digest = ?3",
        )?;
        let mut rows = statement.query(params![of.repository, of.digest, subject])?;
        while let Some(row) = rows.next()? {
            if !(self.is_leaving)(&Held { repository: of.repository, digest: row.get(0)? }) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a manifest to which a tag leads names a blob, in whatever repository.
    fn is_needed(&self, blob: &Digest) -> Result<bool, StorageError> {
        let mut holders = self.connection.prepare_cached(
            "SELECT e.repository_id, e.parent FROM repository_blobs l
             JOIN edges e ON e.repository_id = l.repository_id AND e.child = l.digest
             JOIN repository_manifests m
               ON m.repository_id = e.repository_id AND m.digest = e.parent
             WHERE l.digest = ?1",
        )?;
        let mut rows = holders.query([blob])?;
        while let Some(row) = rows.next()? {
            let holder = held(row)?;
            if !(self.is_leaving)(&holder) && self.is_tagged(&holder)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
