//! What lies in manifests that no tag leads to, and what keeps each of them: a few rows at a time.
//!
//! What tags lead to is found downwards, once for a whole run ([`super::descendants`]). Upwards,
//! every manifest and every blob would have all that lies above it walked anew.

use oci::Digest;
use rusqlite::{OptionalExtension, params};

use super::column::{Text, parsed};
use super::key::{After, EdgeKey, HeldDigest, RepoId, STEP_ROWS, held, row_key};
use super::transaction::Reader;
use crate::error::StorageError;
use crate::page::Page;

/// What keeps a manifest that no tag leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeptBy {
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
    pub(crate) reader: &'a Reader<'a>,
    /// Whether a manifest is only there because nothing is changed now.
    pub(crate) is_leaving: &'a dyn Fn(&HeldDigest) -> bool,
    /// What was pushed after this tick was pushed lately.
    pub(crate) pushed_until: i64,
    /// A tag that went after this tick can be restored.
    pub(crate) tagged_until: i64,
}

impl Reader<'_> {
    /// A page of all manifests, each with its bytes.
    pub(crate) fn held_manifests(
        &self,
        after: &After,
    ) -> Result<Vec<(HeldDigest, u64)>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT repository_id, digest, size FROM repository_manifests
             WHERE (repository_id, digest) > (?1, ?2) ORDER BY repository_id, digest LIMIT ?3",
        )?;
        let (repository, digest) = row_key(after);
        let rows = statement.query_map(params![repository, Text(&digest), STEP_ROWS], |row| {
            Ok((held(row)?, row.get(2)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// What indexes do for a manifest, as far as one read reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// One lists it.
    Now,
    /// None does; whether one that can be restored did.
    Never(bool),
    /// Not those up to this one; whether one of them can be restored.
    Further(Digest, bool),
}

impl Look<'_> {
    /// Looks for an index that lists a manifest, after `after`.
    pub(crate) fn listed(
        &self,
        of: &HeldDigest,
        after: Option<Digest>,
    ) -> Result<Listed, StorageError> {
        let HeldDigest { repository, digest } = of;
        let mut statement = self.reader.prepare_cached(
            "SELECT parent,
                    EXISTS (SELECT 1 FROM repository_manifests m
                            WHERE m.repository_id = e.repository_id AND m.digest = e.parent),
                    EXISTS (SELECT 1 FROM deleted_manifests d
                            WHERE d.repository_id = e.repository_id AND d.digest = e.parent)
             FROM edges e WHERE repository_id = ?1 AND child = ?2 AND kind = 'child' AND parent > ?3
             ORDER BY parent LIMIT ?4",
        )?;
        let after = after.map_or_else(String::new, |after| after.to_string());
        let mut rows = statement.query(params![repository, Text(&digest), after, STEP_ROWS])?;
        let (mut last, mut count, mut can_come_back) = (None, 0, false);
        while let Some(row) = rows.next()? {
            let index = HeldDigest { repository: *repository, digest: parsed(row, 0)? };
            let (is_held, is_deleted): (bool, bool) = (row.get(1)?, row.get(2)?);
            if !(self.is_leaving)(&index) {
                if is_held {
                    return Ok(Listed::Now);
                }
                can_come_back |= is_deleted;
            }
            count += 1;
            last = Some(index.digest);
        }
        Ok(match last.filter(|_| count == STEP_ROWS) {
            Some(last) => Listed::Further(last, can_come_back),
            None => Listed::Never(can_come_back),
        })
    }

    /// What keeps a manifest that no index lists; `can_be_listed` if one can come back that did.
    pub(crate) fn keeper(
        &self,
        of: &HeldDigest,
        can_be_listed: bool,
    ) -> Result<KeptBy, StorageError> {
        let HeldDigest { repository, digest } = of;
        let subject = self.reader.subject_of(*repository, digest)?;
        let subject = subject.map(|digest| HeldDigest { repository: *repository, digest });
        let subject = subject.filter(|subject| !(self.is_leaving)(subject));
        if let Some(HeldDigest { digest, .. }) = &subject
            && self.reader.holds_manifest(*repository, digest)?
        {
            return Ok(KeptBy::Subject);
        }
        let mut row = self.reader.prepare_cached(
            "SELECT coalesce(pushed_tick, pushed_at) > ?3, was_tagged FROM repository_manifests
             WHERE repository_id = ?1 AND digest = ?2",
        )?;
        let key = params![repository, Text(&digest), self.pushed_until];
        let row = row.query_row(key, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let (is_young, was_tagged): (bool, bool) = row.unwrap_or_default();
        let changed = self.last_change(of)?;
        let mut deleted = self.reader.prepare_cached(
            "SELECT 1 FROM deleted_manifests WHERE repository_id = ?1 AND digest = ?2",
        )?;
        let can_refer = match &subject {
            Some(HeldDigest { digest, .. }) => {
                deleted.exists(params![repository, Text(&digest)])?
            }
            None => false,
        };
        let can_be_tagged = changed.is_some_and(|at| at > self.tagged_until);
        if is_young || can_be_tagged || can_be_listed || can_refer {
            return Ok(KeptBy::Time);
        }
        Ok(if was_tagged || changed.is_some() { KeptBy::FormerTag } else { KeptBy::Nothing })
    }

    /// When a tag last came to a manifest or left it: what was noted last was last.
    fn last_change(&self, of: &HeldDigest) -> Result<Option<i64>, StorageError> {
        let mut last = None;
        for (index, column) in [("tag_history_before", "before"), ("tag_history_after", "after")] {
            let mut statement = self.reader.prepare_cached(&format!(
                "SELECT coalesce(changed_tick, changed_at) FROM tag_history INDEXED BY {index}
                 WHERE repository_id = ?1 AND {column} = ?2 ORDER BY id DESC LIMIT 1"
            ))?;
            let key = params![of.repository, Text(&of.digest)];
            last = last.max(statement.query_row(key, |row| row.get(0)).optional()?);
        }
        Ok(last)
    }
}

impl Reader<'_> {
    /// A page of the blobs that a manifest names, after `after`.
    pub(crate) fn blobs_of(
        &self,
        of: &HeldDigest,
        after: Option<&EdgeKey>,
    ) -> Result<Page<(Digest, u64), EdgeKey>, StorageError> {
        let nowhere = (String::new(), String::new());
        let after = after.map_or(nowhere, |(kind, child)| (kind.clone(), child.to_string()));
        let mut statement = self.prepare_cached(
            "SELECT kind, child, (SELECT size FROM blobs b WHERE b.digest = e.child) FROM edges e
             WHERE repository_id = ?1 AND parent = ?2 AND (kind, child) > (?3, ?4)
             ORDER BY kind, child LIMIT ?5",
        )?;
        let mut rows = statement.query(params![
            of.repository,
            Text(&of.digest),
            after.0,
            after.1,
            STEP_ROWS
        ])?;
        let (mut page, mut last, mut count) = (Vec::new(), None, 0);
        while let Some(row) = rows.next()? {
            let place: EdgeKey = (row.get(0)?, parsed(row, 1)?);
            if place.0 != "child" && place.0 != "subject" {
                page.push((place.1, row.get::<_, Option<u64>>(2)?.unwrap_or(0)));
            }
            count += 1;
            last = Some(place);
        }
        Ok(Page { entries: page, next: last.filter(|_| count == STEP_ROWS) })
    }
}

/// A place among those who name a blob: a repository that holds it, and an edge in there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NamingCursor {
    repository: RepoId,
    kind: String,
    parent: String,
}

impl Reader<'_> {
    /// Which of these blobs a manifest names that `is_reached`, in whatever repository, as far as
    /// one read reaches: the first of them, in their order. `after` is the place from which to look
    /// in the first, and then from which to go on.
    pub(crate) fn are_needed(
        &self,
        blobs: &[(Digest, u64)],
        after: &mut NamingCursor,
        is_reached: &dyn Fn(&HeldDigest) -> bool,
    ) -> Result<Vec<bool>, StorageError> {
        let (mut needed, mut left) = (Vec::new(), STEP_ROWS);
        for (blob, _) in blobs {
            match is_needed(self, blob, after, &mut left, is_reached)? {
                Some(is_needed) => needed.push(is_needed),
                None => break,
            }
            *after = NamingCursor::default();
        }
        Ok(needed)
    }
}

/// None if it is not known yet when no row is left.
fn is_needed(
    reader: &Reader<'_>,
    blob: &Digest,
    after: &mut NamingCursor,
    left: &mut usize,
    is_reached: &dyn Fn(&HeldDigest) -> bool,
) -> Result<Option<bool>, StorageError> {
    let mut holders = reader.prepare_cached(
        "SELECT repository_id FROM repository_blobs WHERE digest = ?1 AND repository_id >= ?2
         ORDER BY repository_id LIMIT 1",
    )?;
    let mut namings = reader.prepare_cached(
        "SELECT kind, parent FROM edges WHERE repository_id = ?1 AND child = ?2
         AND (kind, parent) > (?3, ?4) ORDER BY kind, parent LIMIT ?5",
    )?;
    while *left > 0 {
        let holder = holders.query_row(params![Text(&blob), after.repository], |row| row.get(0));
        let Some(repository): Option<RepoId> = holder.optional()? else { return Ok(Some(false)) };
        if repository != after.repository {
            *after = NamingCursor { repository, ..NamingCursor::default() };
        }
        let key = params![repository, Text(&blob), after.kind, after.parent, *left];
        let mut rows = namings.query(key)?;
        let (mut last, mut count) = (None, 0);
        while let Some(row) = rows.next()? {
            let naming = HeldDigest { repository, digest: parsed(row, 1)? };
            if is_reached(&naming) {
                return Ok(Some(true));
            }
            count += 1;
            last = Some((row.get(0)?, naming.digest.to_string()));
        }
        match last.filter(|_| count == *left) {
            Some((kind, parent)) => *after = NamingCursor { repository, kind, parent },
            None => {
                *after = NamingCursor { repository: repository.next(), ..NamingCursor::default() }
            }
        }
        *left = left.saturating_sub(count + 1);
    }
    Ok(None)
}
