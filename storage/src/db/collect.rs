//! The rows of collection: what may go, a page at a time, and letting it go, a step at a time.
//!
//! A page reads [`STEP_ROWS`] rows and a step changes at most as many. What a page found is
//! looked at again by the step that removes it, in the same transaction, because a push may have
//! come between.

use oci::Digest;
use rusqlite::{OptionalExtension, params};

use super::column::{Text, parsed};
use super::key::{After, HeldDigest, RepoId, STEP_ROWS, held, row_key};
use super::manifest::Undo;
use super::transaction::{Reader, Transaction};
use crate::clock::BEGINNING;
use crate::error::StorageError;

/// A link to a blob, as a page finds it.
pub(crate) struct Link {
    pub(crate) held: HeldDigest,
    /// The repository's name.
    pub(crate) name: String,
    /// Whether it was made or renewed before the grace time.
    pub(crate) is_old: bool,
    /// Whether a manifest of the repository, deleted or not, names the blob.
    pub(crate) is_named: bool,
    /// Whether it was made by a clock that was ahead.
    pub(crate) is_ahead: bool,
}

/// The row of a blob, as a page finds it.
pub(crate) struct Blob {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// How many repositories hold it, or can have it back with a manifest.
    pub(crate) links: u64,
}

impl Reader<'_> {
    /// Deleted manifests that can no longer be restored.
    pub(crate) fn expired(
        &self,
        after: &After,
        until: i64,
    ) -> Result<Vec<HeldDigest>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT repository_id, digest FROM deleted_manifests
             WHERE (repository_id, digest) > (?1, ?2) AND deleted_tick <= ?3
             ORDER BY repository_id, digest LIMIT ?4",
        )?;
        let (repository, digest) = row_key(after);
        let rows =
            statement.query_map(params![repository, Text(&digest), until, STEP_ROWS], held)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl Transaction<'_> {
    /// Lets deleted manifests go, in order, as far as one step reaches; returns how many are gone
    /// whole. Of the next one, some edges may be gone: a restore puts them back from its bytes.
    pub(crate) fn drop_expired(
        &self,
        manifests: &[HeldDigest],
        until: i64,
    ) -> Result<usize, StorageError> {
        let mut left = STEP_ROWS;
        for (gone, HeldDigest { repository, digest }) in manifests.iter().enumerate() {
            // Its own row, its bytes, and with them the note that they are lost.
            if left <= 3 {
                return Ok(gone);
            }
            let is_expired = self
                .prepare_cached(
                    "SELECT 1 FROM deleted_manifests
                     WHERE repository_id = ?1 AND digest = ?2 AND deleted_tick <= ?3",
                )?
                .exists(params![repository, Text(&digest), until])?;
            if !is_expired {
                continue;
            }
            left -= self
                .prepare_cached(
                    "DELETE FROM edges WHERE repository_id = ?1 AND parent = ?2 AND (kind, child) IN
                     (SELECT kind, child FROM edges
                     WHERE repository_id = ?1 AND parent = ?2 LIMIT ?3)",
                )?
                .execute(params![repository, Text(&digest), left - 3])?;
            let has_more = self
                .prepare_cached("SELECT 1 FROM edges WHERE repository_id = ?1 AND parent = ?2")?
                .exists(params![repository, Text(&digest)])?;
            if has_more {
                // So that nobody takes the edges that are left for those that belong to it.
                self.prepare_cached(
                    "UPDATE deleted_manifests SET deleted_tick = ?3
                         WHERE repository_id = ?1 AND digest = ?2",
                )?
                .execute(params![repository, Text(&digest), BEGINNING])?;
                return Ok(gone);
            }
            left -= self
                .prepare_cached(
                    "DELETE FROM deleted_manifests WHERE repository_id = ?1 AND digest = ?2",
                )?
                .execute(params![repository, Text(&digest)])?;
            left -= 2 * self
                .prepare_cached(
                    "DELETE FROM manifests WHERE digest = ?1
                     AND NOT EXISTS (SELECT 1 FROM repository_manifests WHERE digest = ?1)
                     AND NOT EXISTS (SELECT 1 FROM deleted_manifests WHERE digest = ?1)",
                )?
                .execute(params![Text(&digest)])?;
        }
        Ok(manifests.len())
    }
}

/// Which manifests without a tag may go, if no other manifest keeps them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rule {
    /// Those that were pushed at the tick `until` or before, and had no tag after `since`.
    Untagged {
        /// A tick.
        until: i64,
        /// A tick.
        since: i64,
    },
    /// Those that came for an index and never had a tag.
    Unlisted {
        /// At this tick or before they were pushed.
        until: i64,
        /// They had been there for so many ticks at most when the first index that lists them came.
        within: i64,
    },
}

impl Rule {
    /// What is true of the manifest `m` that may go, with two parameters, ?3 and ?4.
    fn due(self) -> (&'static str, [i64; 2]) {
        match self {
            Self::Untagged { until, since } => (DUE, [until, since]),
            Self::Unlisted { until, within } => (UNLISTED_DUE, [until, within]),
        }
    }

    /// Which manifests a walk looks at.
    fn looked_at(self) -> String {
        let index = match self {
            Self::Untagged { .. } => "",
            Self::Unlisted { .. } => "INDEXED BY listed_manifests",
        };
        format!("repository_manifests m {index} WHERE {}", self.condition())
    }

    /// What is true of those.
    fn condition(self) -> &'static str {
        match self {
            Self::Untagged { .. } => "1",
            Self::Unlisted { .. } => "listed_age IS NOT NULL",
        }
    }
}

/// A manifest, as a page finds it.
pub(crate) struct Untagged {
    pub(crate) held: HeldDigest,
    /// The repository's name.
    pub(crate) name: String,
    /// Whether it may go by the rule that was asked for.
    pub(crate) is_due: bool,
}

impl Reader<'_> {
    /// A page of the manifests that a rule is about, and which of them may go by it.
    pub(crate) fn untagged(
        &self,
        after: &After,
        rule: Rule,
    ) -> Result<Vec<Untagged>, StorageError> {
        let (due, [first, second]) = rule.due();
        let mut statement = self.prepare_cached(&format!(
            "SELECT repository_id, digest, {due},
                    (SELECT name FROM repositories r WHERE r.id = m.repository_id)
             FROM {} AND (repository_id, digest) > (?1, ?2)
             ORDER BY repository_id, digest LIMIT ?5",
            rule.looked_at()
        ))?;
        let (repository, digest) = row_key(after);
        let row = |row: &rusqlite::Row<'_>| {
            Ok(Untagged { held: held(row)?, is_due: row.get(2)?, name: row.get(3)? })
        };
        let rows = statement
            .query_map(params![repository, Text(&digest), first, second, STEP_ROWS], row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Those of these manifests that may go by a rule, as far as the rule knows.
    pub(crate) fn due(
        &self,
        manifests: &[HeldDigest],
        rule: Rule,
    ) -> Result<Vec<Untagged>, StorageError> {
        let (due, [first, second]) = rule.due();
        let mut statement = self.prepare_cached(&format!(
            "SELECT (SELECT name FROM repositories r WHERE r.id = m.repository_id)
             FROM repository_manifests m WHERE repository_id = ?1 AND digest = ?2
               AND {} AND {due}",
            rule.condition()
        ))?;
        let mut found = Vec::new();
        for held in manifests {
            let key = params![held.repository, Text(&held.digest), first, second];
            let name = statement.query_row(key, |row| row.get(0)).optional()?;
            found.extend(name.map(|name| Untagged { held: held.clone(), name, is_due: true }));
        }
        Ok(found)
    }

    /// Whether another manifest than those that leave keeps this one: an index that lists it, or
    /// the one it refers to. Deleted ones count, since they can be restored, but for those that are
    /// going.
    ///
    /// All indexes up to `passed`, in the order of their digests, keep nothing, and it is moved on.
    /// None if `left` rows tell nothing.
    pub(crate) fn is_kept(
        &self,
        held: &HeldDigest,
        passed: &mut Option<Digest>,
        left: &mut usize,
        is_leaving: &dyn Fn(&HeldDigest) -> bool,
    ) -> Result<Option<bool>, StorageError> {
        let HeldDigest { repository, digest } = held;
        let mut indexes = self.prepare_cached(
            "SELECT parent, EXISTS (SELECT 1 FROM deleted_manifests d
                                    WHERE d.repository_id = e.repository_id AND d.digest = e.parent
                                      AND d.deleted_tick <= ?5)
             FROM edges e WHERE repository_id = ?1 AND child = ?2 AND kind = 'child'
               AND parent > ?3 ORDER BY parent LIMIT ?4",
        )?;
        let after = passed.map_or_else(String::new, |passed| passed.to_string());
        let limit = i64::try_from(*left).unwrap_or(i64::MAX);
        let mut rows =
            indexes.query(params![repository, Text(&digest), after, limit, BEGINNING])?;
        while let Some(row) = rows.next()? {
            let index = HeldDigest { repository: *repository, digest: parsed(row, 0)? };
            let is_going: bool = row.get(1)?;
            if !is_going && !is_leaving(&index) {
                return Ok(Some(true));
            }
            *passed = Some(index.digest);
            *left -= 1;
        }
        if *left == 0 {
            return Ok(None);
        }
        *left -= 1;
        let subject = self.subject_of(*repository, digest)?;
        let subject = subject.filter(|subject| {
            !is_leaving(&HeldDigest { repository: *repository, digest: *subject })
        });
        let Some(subject) = subject else { return Ok(Some(false)) };
        let mut deleted = self.prepare_cached(
            "SELECT 1 FROM deleted_manifests
             WHERE repository_id = ?1 AND digest = ?2 AND deleted_tick > ?3",
        )?;
        Ok(Some(
            self.holds_manifest(*repository, &subject)?
                || deleted.exists(params![repository, Text(&subject), BEGINNING])?,
        ))
    }
}

impl Transaction<'_> {
    /// Takes untagged manifests out of their repositories, those that still are what a page found;
    /// returns which. Nobody can restore them: the next step lets them go.
    pub(crate) fn retire(
        &self,
        manifests: &[HeldDigest],
        rule: Rule,
    ) -> Result<Vec<HeldDigest>, StorageError> {
        let mut retired = Vec::new();
        for found in self.due(manifests, rule)? {
            // Those that are going are few: the next step takes them.
            let (held, mut left) = (found.held, usize::MAX);
            if self.is_kept(&held, &mut None, &mut left, &|_| false)? == Some(false) {
                self.set_manifest_aside(held.repository, &held.digest, Undo::Never)?;
                retired.push(held);
            }
        }
        Ok(retired)
    }
}

impl Reader<'_> {
    /// A page of all links from repositories to blobs.
    pub(crate) fn links(&self, after: &After, until: i64) -> Result<Vec<Link>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT l.repository_id, l.digest, l.linked_at <= ?3,
                    EXISTS (SELECT 1 FROM edges e
                            WHERE e.repository_id = l.repository_id AND e.child = l.digest),
                    (SELECT name FROM repositories r WHERE r.id = l.repository_id),
                    l.linked_at > tick()
             FROM repository_blobs l WHERE (l.repository_id, l.digest) > (?1, ?2)
             ORDER BY l.repository_id, l.digest LIMIT ?4",
        )?;
        let (repository, digest) = row_key(after);
        let link = |row: &rusqlite::Row<'_>| {
            let (is_old, is_named, name) = (row.get(2)?, row.get(3)?, row.get(4)?);
            Ok(Link { held: held(row)?, name, is_old, is_named, is_ahead: row.get(5)? })
        };
        let rows =
            statement.query_map(params![repository, Text(&digest), until, STEP_ROWS], link)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl Transaction<'_> {
    /// Makes links that were made by a clock that was ahead as young as those that are made now.
    pub(crate) fn renew_links(&self, links: &[HeldDigest]) -> Result<(), StorageError> {
        let mut statement = self.prepare_cached(
            "UPDATE repository_blobs SET linked_at = tick()
             WHERE repository_id = ?1 AND digest = ?2 AND linked_at > tick()",
        )?;
        for HeldDigest { repository, digest } in links {
            statement.execute(params![repository, Text(&digest)])?;
        }
        Ok(())
    }
}

impl Reader<'_> {
    /// Whether a manifest of a repository that stays names a digest.
    pub(crate) fn is_named(
        &self,
        of: &HeldDigest,
        is_leaving: &dyn Fn(&HeldDigest) -> bool,
    ) -> Result<bool, StorageError> {
        let mut statement = self
            .prepare_cached("SELECT parent FROM edges WHERE repository_id = ?1 AND child = ?2")?;
        let mut rows = statement.query(params![of.repository, Text(&of.digest)])?;
        while let Some(row) = rows.next()? {
            if !is_leaving(&HeldDigest { repository: of.repository, digest: parsed(row, 0)? }) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Transaction<'_> {
    /// Takes blobs out of repositories, those that no manifest names and that were not linked
    /// again; returns how many.
    pub(crate) fn unlink(&self, links: &[HeldDigest], until: i64) -> Result<u64, StorageError> {
        let mut statement = self.prepare_cached(
            "DELETE FROM repository_blobs
             WHERE repository_id = ?1 AND digest = ?2 AND linked_at <= ?3
               AND NOT EXISTS (SELECT 1 FROM edges WHERE repository_id = ?1 AND child = ?2)",
        )?;
        let mut unlinked = 0;
        for HeldDigest { repository, digest } in links {
            unlinked += statement.execute(params![repository, Text(&digest), until])? as u64;
        }
        Ok(unlinked)
    }
}

impl Reader<'_> {
    /// A page of all blobs.
    pub(crate) fn linked_blobs(&self, after: Option<&Digest>) -> Result<Vec<Blob>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT digest, size,
                    (SELECT count(*) FROM repository_blobs l WHERE l.digest = b.digest)
                    + (SELECT count(*) FROM deleted_links l WHERE l.digest = b.digest)
             FROM blobs b WHERE digest > ?1 ORDER BY digest LIMIT ?2",
        )?;
        let after = after.map_or_else(String::new, Digest::to_string);
        let blob = |row: &rusqlite::Row<'_>| {
            Ok(Blob { digest: parsed(row, 0)?, size: row.get(1)?, links: row.get(2)? })
        };
        let rows = statement.query_map(params![after, STEP_ROWS], blob)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl Transaction<'_> {
    /// Drops the rows of blobs that no repository holds or can have back; returns which.
    pub(crate) fn drop_blobs(&self, blobs: &[Digest]) -> Result<Vec<Digest>, StorageError> {
        let mut statement = self.prepare_cached(
            "DELETE FROM blobs WHERE digest = ?1
             AND NOT EXISTS (SELECT 1 FROM repository_blobs WHERE digest = ?1)
             AND NOT EXISTS (SELECT 1 FROM deleted_links WHERE digest = ?1)",
        )?;
        let mut dropped = Vec::new();
        for digest in blobs {
            if statement.execute(params![Text(&digest)])? > 0 {
                dropped.push(*digest);
            }
        }
        Ok(dropped)
    }
}

impl Reader<'_> {
    /// Which of these digests have no row.
    pub(crate) fn without_rows(&self, digests: &[Digest]) -> Result<Vec<Digest>, StorageError> {
        let mut statement = self.prepare_cached("SELECT 1 FROM blobs WHERE digest = ?1")?;
        let mut without = Vec::new();
        for digest in digests {
            if !statement.exists(params![Text(&digest)])? {
                without.push(*digest);
            }
        }
        Ok(without)
    }

    /// A page of the identifiers of repositories, and which of them hold nothing and remember
    /// nothing.
    pub(crate) fn repository_ids(
        &self,
        after: RepoId,
    ) -> Result<Vec<(RepoId, bool)>, StorageError> {
        let mut statement = self.prepare_cached(&format!(
            "SELECT id, {EMPTY} FROM repositories r WHERE id > ?1 ORDER BY id LIMIT ?2"
        ))?;
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let rows = statement.query_map(params![after, STEP_ROWS], row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl Transaction<'_> {
    /// Drops repositories that still hold nothing; returns how many.
    pub(crate) fn drop_repositories(&self, repositories: &[RepoId]) -> Result<u64, StorageError> {
        let mut statement = self
            .prepare_cached(&format!("DELETE FROM repositories AS r WHERE id = ?1 AND {EMPTY}"))?;
        let mut dropped = 0;
        for id in repositories {
            dropped += statement.execute(params![id])? as u64;
        }
        Ok(dropped)
    }
}

/// Whether the manifest `m` was pushed before ?3, has no tag and had none after ?4.
const DUE: &str = "coalesce(m.pushed_tick, m.pushed_at) <= ?3
    AND NOT EXISTS (SELECT 1 FROM tags t
                    WHERE t.repository_id = m.repository_id AND t.digest = m.digest)
    AND NOT EXISTS (SELECT 1 FROM tag_history h WHERE h.repository_id = m.repository_id
                    AND h.before = m.digest AND coalesce(h.changed_tick, h.changed_at) > ?4)
    AND NOT EXISTS (SELECT 1 FROM tag_history h WHERE h.repository_id = m.repository_id
                    AND h.after = m.digest AND coalesce(h.changed_tick, h.changed_at) > ?4)";

/// Whether the manifest `m` was pushed at ?3 or before, never had a tag, and had been there for at
/// most ?4 ticks when the first index that lists it came.
const UNLISTED_DUE: &str = "coalesce(m.pushed_tick, m.pushed_at) <= ?3
    AND m.listed_age <= ?4 AND m.was_tagged = 0
    AND NOT EXISTS (SELECT 1 FROM tags t
                    WHERE t.repository_id = m.repository_id AND t.digest = m.digest)
    AND NOT EXISTS (SELECT 1 FROM tag_history h
                    WHERE h.repository_id = m.repository_id AND h.before = m.digest)
    AND NOT EXISTS (SELECT 1 FROM tag_history h
                    WHERE h.repository_id = m.repository_id AND h.after = m.digest)";

/// Whether the repository `r` holds nothing and remembers nothing.
const EMPTY: &str = "NOT EXISTS (SELECT 1 FROM repository_manifests x WHERE x.repository_id = r.id)
    AND NOT EXISTS (SELECT 1 FROM repository_blobs x WHERE x.repository_id = r.id)
    AND NOT EXISTS (SELECT 1 FROM deleted_manifests x WHERE x.repository_id = r.id)
    AND NOT EXISTS (SELECT 1 FROM deleted_links x WHERE x.repository_id = r.id)
    AND NOT EXISTS (SELECT 1 FROM tag_history x WHERE x.repository_id = r.id)
    AND NOT EXISTS (SELECT 1 FROM protected_tags x WHERE x.repository_id = r.id)";
