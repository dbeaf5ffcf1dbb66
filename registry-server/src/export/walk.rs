//! All that belongs to images: what manifests name, down to the leaves, and what refers to them.
//!
//! Who refers to a manifest says so in its `subject`; cosign's older way is a tag with the digest
//! in its name. Either goes where its subject goes, and so does what refers to it in turn. An index
//! that lists referrers for clients without such an API is never asked.

use std::collections::{HashSet, VecDeque};

use anyhow::bail;
use oci::{Digest, EdgeKind, ImageName, Reference, RepoName, Tag};
use storage::PartState;

use super::plan::Plan;
use super::selection::{Chosen, all};
use crate::command::PAGE_ENTRIES;
use crate::command::image::{ListParts, ListReferrers, LookAtManifest, ManifestEntry, Part};
use crate::control::Session;
use crate::limits::MAX_INDEXES;

/// Adds everything that belongs to these images of one repository to the plan.
///
/// # Errors
/// Indexes that lie too deep, and trouble on the way.
pub(super) fn walk(session: &Session, chosen: &Chosen, plan: &mut Plan) -> anyhow::Result<()> {
    let repository = chosen.repository.clone();
    let mut walk = Walk {
        session,
        repository,
        plan,
        seen: HashSet::new(),
        named: HashSet::new(),
        tagged: HashSet::new(),
        below: HashSet::new(),
        roots: VecDeque::new(),
    };
    for (tag, _) in chosen.tags() {
        walk.root(Reference::Tag(tag.clone()))?;
    }
    for digest in &chosen.digests {
        walk.root(Reference::Digest(*digest))?;
    }
    walk.others(&chosen.others)
}

/// A walk through one repository.
struct Walk<'a> {
    session: &'a Session,
    repository: RepoName,
    plan: &'a mut Plan,
    /// Manifests that were walked.
    seen: HashSet<Digest>,
    /// Tags that are named.
    named: HashSet<Tag>,
    /// Manifests that are named, by whatever.
    tagged: HashSet<Digest>,
    /// Manifests that an index lists.
    below: HashSet<Digest>,
    /// What refers to something that was walked, and is to be named, too.
    roots: VecDeque<Reference>,
}

impl Walk<'_> {
    /// Walks an image and all that refers to it, one after the other.
    fn root(&mut self, reference: Reference) -> anyhow::Result<()> {
        self.roots.push_back(reference);
        self.rest()
    }

    /// Walks what refers to something that was walked.
    fn rest(&mut self) -> anyhow::Result<()> {
        while let Some(reference) = self.roots.pop_front() {
            self.one(reference)?;
        }
        Ok(())
    }

    /// Walks one image and names it.
    fn one(&mut self, reference: Reference) -> anyhow::Result<()> {
        let is_known = match &reference {
            Reference::Tag(tag) => !self.named.insert(tag.clone()),
            Reference::Digest(digest) => self.tagged.contains(digest),
        };
        if is_known {
            return Ok(());
        }
        // One that was deleted just now is none any more.
        let Some(entry) = self.look(reference.clone())? else { return Ok(()) };
        self.tagged.insert(entry.digest);
        if let Some(place) = self.manifest(&entry, 0)? {
            let name = ImageName::new(self.repository.clone(), Some(reference));
            self.plan.name(name, entry.media_type, place);
        }
        Ok(())
    }

    /// Manifests of a whole repository that nothing led to so far: each is named by its digest,
    /// unless another of them lists it.
    fn others(&mut self, manifests: &[Digest]) -> anyhow::Result<()> {
        let is_new = |digest: &&Digest| !self.seen.contains(*digest);
        let rest: Vec<Digest> = manifests.iter().filter(is_new).copied().collect();
        for digest in &rest {
            if let Some(entry) = self.look(Reference::Digest(*digest))? {
                self.manifest(&entry, 0)?;
            }
        }
        let is_top = |digest: &&Digest| !self.below.contains(*digest);
        let tops: Vec<Digest> = rest.iter().filter(is_top).copied().collect();
        self.roots.extend(tops.into_iter().map(Reference::Digest));
        self.rest()
    }

    /// Adds a manifest and everything below it, and says where it stands; none if it is gone.
    fn manifest(&mut self, entry: &ManifestEntry, depth: usize) -> anyhow::Result<Option<usize>> {
        let digest = entry.digest;
        if !self.seen.insert(digest) {
            return Ok(self.plan.place(&digest));
        }
        if depth > MAX_INDEXES {
            bail!(
                "{}@{digest} lies below {MAX_INDEXES} indexes, which is as deep as an export goes",
                self.repository
            );
        }
        if entry.is_lost {
            let place = self.plan.add(digest, entry.size, true);
            self.plan.miss(digest, digest);
            return Ok(Some(place));
        }
        let mut places = Vec::new();
        let repository = &self.repository;
        let parts = all(|skip: Option<usize>| {
            let (repository, skip) = (repository.clone(), skip.unwrap_or_default());
            self.session.ask(ListParts { repository, digest, skip })
        })?;
        // It has parts as long as it is there. Of one that somebody deleted just now, whole pages
        // of them came or none, and what came is not all.
        let is_doubtful = parts.len() % PAGE_ENTRIES == 0;
        if is_doubtful && self.look(Reference::Digest(digest))?.is_none() {
            return Ok(None);
        }
        for part in parts {
            places.extend(self.part(&digest, &part, depth)?);
        }
        let place = self.plan.add(digest, entry.size, true);
        self.plan.belong(&places, place);
        self.refer(entry)?;
        Ok(Some(place))
    }

    /// Adds one thing that a manifest names, and says where it stands, if it is to be written.
    fn part(&mut self, of: &Digest, part: &Part, depth: usize) -> anyhow::Result<Option<usize>> {
        let Part { kind, digest, size, stored_size, state, is_manifest, .. } = *part;
        match (kind, state) {
            (EdgeKind::Subject, _) | (_, PartState::Foreign) => Ok(None),
            (EdgeKind::Child, PartState::Absent) => {
                self.plan.absent_children += 1;
                Ok(None)
            }
            (_, PartState::Absent | PartState::Lost) => {
                self.plan.miss(digest, *of);
                Ok(None)
            }
            (EdgeKind::Child, PartState::Present) if is_manifest => {
                self.below.insert(digest);
                let child = self.look(Reference::Digest(digest))?;
                let child = child.map(|child| self.manifest(&child, depth + 1)).transpose()?;
                // Of none somebody deleted it just now.
                self.plan.absent_children += u64::from(child.flatten().is_none());
                Ok(child.flatten())
            }
            (_, PartState::Present) => {
                Ok(Some(self.plan.add(digest, stored_size.unwrap_or(size), false)))
            }
        }
    }

    /// Notes what refers to a manifest.
    fn refer(&mut self, to: &ManifestEntry) -> anyhow::Result<()> {
        let signatures = to.signatures.iter().filter_map(ImageName::reference).cloned();
        self.roots.extend(signatures);
        let (repository, digest) = (&self.repository, to.digest);
        let referrers = all(|after| {
            let repository = repository.clone();
            self.session.ask(ListReferrers { repository, digest, after })
        })?;
        self.roots.extend(referrers.into_iter().map(|found| Reference::Digest(found.digest)));
        Ok(())
    }

    fn look(&self, reference: Reference) -> anyhow::Result<Option<ManifestEntry>> {
        let image = ImageName::new(self.repository.clone(), Some(reference)).into();
        self.session.ask(LookAtManifest { image, is_part: true })
    }
}
