//! Removing an image: its tags, and every manifest that then nothing else in its repository
//! keeps.
//!
//! What keeps a manifest: a tag, an index that lists it, and the manifest that it refers to. What
//! goes takes its children, its referrers and its signatures along, unless something else keeps
//! them. What goes can be restored until collection takes it.

use std::collections::{BTreeMap, HashMap, HashSet};

use oci::{Digest, EdgeKind, Reference, RepoName, Tag};
use rusqlite::{OptionalExtension, params};

use super::column::{Text, parsed};
use super::key::{RepoId, STEP_ROWS};
use super::transaction::{Reader, Transaction};
use crate::actor::Actor;
use crate::error::StorageError;

mod matching;

/// What goes with an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// The tags, with what they name.
    pub tags: Vec<(Tag, Digest)>,
    /// The manifests, each before those that it lists.
    pub manifests: Vec<Digest>,
    /// Indexes that stay and list a manifest that goes: they become sparse.
    pub sparse: Vec<Digest>,
    /// Why the manifest that the tag names stays, if it does.
    pub kept_by: Option<Keeper>,
}

/// What keeps a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// Another tag.
    Tag(Tag),
    /// An index that lists it.
    Index(Digest),
}

/// What went in one step of removing a whole repository.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemovalStep {
    /// Tags of this step.
    pub tags: u64,
    /// Manifests of this step.
    pub manifests: u64,
}

impl Reader<'_> {
    /// Finds out what goes with an image, and changes nothing.
    pub(crate) fn plan_removal(
        &self,
        name: &RepoName,
        reference: &Reference,
    ) -> Result<Removal, StorageError> {
        let absent = || match reference.clone() {
            Reference::Tag(tag) => StorageError::NoTag { repository: name.clone(), tag },
            Reference::Digest(digest) => {
                StorageError::NoManifest { repository: name.clone(), digest }
            }
        };
        let id = self.repository_id(name)?.ok_or_else(absent)?;
        let mut plan = Plan { reader: self, id, going: PlannedRemoval::default() };
        let (mut sparse, mut kept_by) = (Vec::new(), None);
        match reference {
            Reference::Tag(tag) => {
                let digest = self.tag_target(id, tag)?.ok_or_else(absent)?;
                kept_by = plan.remove_image(tag.clone(), digest)?;
            }
            Reference::Digest(digest) => {
                if !self.holds_manifest(id, digest)? {
                    return Err(absent());
                }
                self.refuse_needed_by_protected(id, digest)?;
                for tag in self.tags_of(id, digest)? {
                    plan.remove_tag(tag, *digest)?;
                }
                sparse = self.parents_of(id, digest)?;
                plan.remove_with_all(*digest)?;
            }
        }
        sparse.retain(|index| !plan.going.manifests.contains(index));
        Ok(Removal { sparse, kept_by, ..plan.going.into_removal() })
    }
}

impl Transaction<'_> {
    /// Removes an image, all or nothing.
    pub(crate) fn remove_image(
        &self,
        name: &RepoName,
        reference: &Reference,
        by: Option<&Actor>,
    ) -> Result<Removal, StorageError> {
        let removal = self.plan_removal(name, reference)?;
        if let Some(id) = self.repository_id(name)? {
            apply(self, id, &removal, by)?;
        }
        Ok(removal)
    }
}

/// Takes tags and manifests out of a repository.
fn apply(
    transaction: &Transaction<'_>,
    id: RepoId,
    removal: &Removal,
    by: Option<&Actor>,
) -> Result<(), StorageError> {
    for (tag, _) in &removal.tags {
        transaction.remove_tag_of(id, tag, by)?;
    }
    for digest in &removal.manifests {
        transaction.note_listed(id, digest)?;
        transaction.remove_manifest_of(id, digest, by)?;
    }
    Ok(())
}

impl Reader<'_> {
    /// How many tags and manifests a repository holds; `None` if there is no such repository.
    /// Refuses what removing them would.
    pub(crate) fn plan_removal_of_all(
        &self,
        name: &RepoName,
    ) -> Result<Option<(u64, u64)>, StorageError> {
        let Some(id) = self.repository_id(name)? else { return Ok(None) };
        self.refuse_any_protected(id)?;
        let count = |query: &str| -> Result<u64, StorageError> {
            Ok(self.prepare_cached(query)?.query_row([id], |row| row.get(0))?)
        };
        let tags = count("SELECT count(*) FROM tags WHERE repository_id = ?1")?;
        let manifests =
            count("SELECT count(*) FROM repository_manifests WHERE repository_id = ?1")?;
        Ok(Some((tags, manifests)))
    }
}

/// What one step of removing a whole repository did.
#[derive(Debug, Default)]
pub(crate) struct RemovedSome {
    pub(crate) step: RemovalStep,
    /// The manifests of it.
    pub(crate) manifests: Vec<Digest>,
    /// Whether there was more to do than one step may, even where it removed nothing.
    pub(crate) has_more: bool,
}

impl Transaction<'_> {
    /// Removes some tags of a repository, or some manifests when no tag is left, and says which.
    ///
    /// What lists a manifest goes before it, and so does what it refers to. So nothing that stays
    /// when this is cut short lacks what it had, and what is restored brings back what went after
    /// it.
    pub(crate) fn remove_some(
        &self,
        name: &RepoName,
        by: Option<&Actor>,
    ) -> Result<RemovedSome, StorageError> {
        let mut done = RemovedSome::default();
        let Some(id) = self.repository_id(name)? else { return Ok(done) };
        self.refuse_any_protected(id)?;
        let tags: Vec<Tag> = self
            .prepare_cached("SELECT name FROM tags WHERE repository_id = ?1 LIMIT ?2")?
            .query_map(params![id, STEP_ENTRIES], |row| parsed(row, 0))?
            .collect::<Result<_, _>>()?;
        for tag in &tags {
            self.remove_tag_of(id, tag, by)?;
        }
        if !tags.is_empty() {
            done.step.tags = tags.len() as u64;
            done.has_more = true;
            return Ok(done);
        }
        let (mut above, mut seen, mut left) = (Vec::new(), HashSet::new(), STEP_ROWS);
        while left > ROWS_OF_ONE {
            let next: Option<Digest> = match above.pop() {
                Some(digest) => Some(digest),
                None => self
                    .prepare_cached(
                        "SELECT digest FROM repository_manifests WHERE repository_id = ?1 LIMIT 1",
                    )?
                    .query_row([id], |row| parsed(row, 0))
                    .optional()?,
            };
            let Some(digest) = next else { break };
            match above_of(self, id, &digest)? {
                // One that was seen is above itself, which only damaged rows can say.
                Some(higher) if seen.insert(higher) => above.extend([digest, higher]),
                _ => {
                    // What it lists may be as much as it likes.
                    let limit = left - ROWS_OF_ONE;
                    let noted = self.note_some_listed(id, &digest, limit)?;
                    if noted == limit {
                        done.has_more = true;
                        break;
                    }
                    left -= noted;
                    if self.remove_manifest_of(id, &digest, by)? {
                        done.manifests.push(digest);
                        left -= ROWS_OF_ONE;
                    }
                }
            }
        }
        done.step.manifests = done.manifests.len() as u64;
        Ok(done)
    }
}

/// A manifest of the repository that lists this one, or that this one refers to.
fn above_of(
    reader: &Reader<'_>,
    repository: RepoId,
    digest: &Digest,
) -> Result<Option<Digest>, StorageError> {
    if let Some(index) = reader.parent_of(repository, digest)? {
        return Ok(Some(index));
    }
    match reader.subject_of(repository, digest)? {
        Some(subject) if reader.holds_manifest(repository, &subject)? => Ok(Some(subject)),
        _ => Ok(None),
    }
}

/// Tags and manifests that go, in an order and to be looked up.
#[derive(Debug, Default)]
pub(crate) struct PlannedRemoval {
    tags: BTreeMap<Tag, Digest>,
    order: Vec<Digest>,
    manifests: HashSet<Digest>,
    /// Of manifests that stayed so far, the tag and the index up to which all go: they are not
    /// looked at once more for each that goes.
    passed: HashMap<Digest, (String, String)>,
}

impl PlannedRemoval {
    /// What goes, in the order in which it goes.
    pub(crate) fn into_removal(self) -> Removal {
        let tags = self.tags.into_iter().collect();
        Removal { tags, manifests: self.order, ..Removal::default() }
    }
}

struct Plan<'a> {
    reader: &'a Reader<'a>,
    id: RepoId,
    going: PlannedRemoval,
}

impl Plan<'_> {
    /// Lets a tag go, and what then nothing else keeps. If something keeps its manifest, returns
    /// that: its subject does not, since whoever names the tag means it.
    fn remove_image(&mut self, tag: Tag, digest: Digest) -> Result<Option<Keeper>, StorageError> {
        self.remove_tag(tag, digest)?;
        let kept_by = self.keeper(&digest)?;
        if kept_by.is_none() {
            self.remove_with_all(digest)?;
        }
        Ok(kept_by)
    }

    /// Lets a manifest go, and all that then nothing else keeps.
    fn remove_with_all(&mut self, digest: Digest) -> Result<(), StorageError> {
        let mut candidates = self.remove(digest)?;
        while let Some(digest) = candidates.pop() {
            if self.is_free(&digest)? {
                candidates.extend(self.remove(digest)?);
            }
        }
        Ok(())
    }

    fn remove_tag(&mut self, tag: Tag, digest: Digest) -> Result<(), StorageError> {
        self.reader.refuse_protected(self.id, &tag)?;
        self.going.tags.insert(tag, digest);
        Ok(())
    }

    /// Lets a manifest go, and returns what may go with it.
    fn remove(&mut self, digest: Digest) -> Result<Vec<Digest>, StorageError> {
        if !self.going.manifests.insert(digest) {
            return Ok(Vec::new());
        }
        self.going.order.push(digest);
        let mut next = self.reader.named_as(self.id, &digest, EdgeKind::Child)?;
        next.extend(self.referrers(&digest)?);
        for tag in oci::signature_tags(&digest) {
            if let Some(named) = self.reader.tag_target(self.id, &tag)? {
                self.remove_tag(tag, named)?;
                next.push(named);
            }
        }
        Ok(next)
    }

    /// The tag or the index that keeps a manifest, if one does that stays.
    fn keeper(&mut self, digest: &Digest) -> Result<Option<Keeper>, StorageError> {
        let PlannedRemoval { tags, manifests, passed, .. } = &mut self.going;
        let (passed_tag, passed_index) = passed.entry(*digest).or_default();
        let mut naming = self.reader.prepare_cached(
            "SELECT name FROM tags WHERE repository_id = ?1 AND digest = ?2 AND name > ?3
             ORDER BY name",
        )?;
        let mut rows = naming.query(params![self.id, Text(&digest), passed_tag.as_str()])?;
        while let Some(row) = rows.next()? {
            let tag: Tag = parsed(row, 0)?;
            if !tags.contains_key(&tag) {
                return Ok(Some(Keeper::Tag(tag)));
            }
            tag.as_str().clone_into(passed_tag);
        }
        let mut listing = self.reader.prepare_cached(
            "SELECT e.parent FROM edges e
             JOIN repository_manifests m
                  ON m.repository_id = e.repository_id AND m.digest = e.parent
             WHERE e.repository_id = ?1 AND e.child = ?2 AND e.kind = 'child' AND e.parent > ?3
             ORDER BY e.parent",
        )?;
        let mut rows = listing.query(params![self.id, Text(&digest), passed_index.as_str()])?;
        while let Some(row) = rows.next()? {
            let index: Digest = parsed(row, 0)?;
            if !manifests.contains(&index) {
                return Ok(Some(Keeper::Index(index)));
            }
            *passed_index = index.to_string();
        }
        Ok(None)
    }

    /// Whether a manifest is there and nothing that stays keeps it.
    fn is_free(&mut self, digest: &Digest) -> Result<bool, StorageError> {
        if self.going.manifests.contains(digest)
            || !self.reader.holds_manifest(self.id, digest)?
            || self.keeper(digest)?.is_some()
        {
            return Ok(false);
        }
        match self
            .reader
            .subject_of(self.id, digest)?
            .filter(|subject| !self.going.manifests.contains(subject))
        {
            Some(subject) => Ok(!self.reader.holds_manifest(self.id, &subject)?),
            None => Ok(true),
        }
    }

    fn referrers(&self, digest: &Digest) -> Result<Vec<Digest>, StorageError> {
        let mut statement = self.reader.prepare_cached(
            "SELECT digest FROM repository_manifests INDEXED BY referrers
             WHERE repository_id = ?1 AND subject = ?2",
        )?;
        let rows = statement.query_map(params![self.id, Text(&digest)], |row| parsed(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Tags that one step removes. Each costs two rows, and no step of a command holds the writer for
/// more than 256.
const STEP_ENTRIES: usize = 100;
/// Rows that it costs to remove a manifest.
const ROWS_OF_ONE: usize = 2;
