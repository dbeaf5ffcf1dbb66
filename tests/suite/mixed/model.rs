//! What must be in a repository that one client alone changes: after each answer exactly one state,
//! and after a death in the middle of a change one of two.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oci::Digest;

use super::content::{Content, Document};

/// Something that a client asks a repository to do, which happens whole or not at all.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A blob is pushed.
    Add(Content),
    /// A blob is taken over from another repository, if that holds it.
    Mount(Content),
    /// A blob is deleted.
    Remove(Digest),
    /// A manifest is pushed under its digest, or under a tag.
    Put(Arc<Document>, Option<String>),
    /// A manifest is deleted with its tags.
    Delete(Digest),
    /// A tag is deleted.
    Untag(String),
}

impl Change {
    /// What a change is about: each name, and what it stands for afterwards. The tags that go with
    /// a deleted manifest are not among them.
    pub(crate) fn effects(&self) -> Vec<(Name, Option<Digest>)> {
        match self {
            Self::Add(content) | Self::Mount(content) => {
                vec![(Name::Blob(content.digest), Some(content.digest))]
            }
            Self::Remove(digest) => vec![(Name::Blob(*digest), None)],
            Self::Put(document, tag) => {
                let digest = document.digest;
                let tag = tag.iter().map(|tag| (Name::Tag(tag.clone()), Some(digest)));
                tag.chain([(Name::Manifest(digest), Some(digest))]).collect()
            }
            Self::Delete(digest) => vec![(Name::Manifest(*digest), None)],
            Self::Untag(tag) => vec![(Name::Tag(tag.clone()), None)],
        }
    }

    /// The status of a registry that made this change.
    pub(crate) fn done(&self) -> u16 {
        match self {
            Self::Add(_) | Self::Mount(_) | Self::Put(..) => 201,
            Self::Remove(_) | Self::Delete(_) | Self::Untag(_) => 202,
        }
    }

    /// The statuses of a registry that did not make this change because of what repositories hold.
    pub(crate) fn refusals(&self) -> &'static [u16] {
        match self {
            Self::Add(_) => &[],
            Self::Mount(_) => &[202],
            Self::Remove(_) => &[404, 405],
            Self::Put(..) => &[400],
            Self::Delete(_) | Self::Untag(_) => &[404],
        }
    }
}

/// Something in a repository that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    Blob(Digest),
    Manifest(Digest),
    Tag(String),
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blob(digest) => write!(f, "blobs/{digest}"),
            Self::Manifest(digest) => write!(f, "manifests/{digest}"),
            Self::Tag(tag) => write!(f, "manifests/{tag}"),
        }
    }
}

/// A blob that a repository holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// Its bytes.
    pub(crate) content: Content,
    /// When its last push or mount was sent.
    pub(crate) written: Instant,
    /// When a question for it was sent that this process of the server has answered with yes.
    pub(crate) seen: Option<Instant>,
}

impl Held {
    /// Whether collection may take the blob if no manifest names it: with this grace time, or
    /// never without one.
    pub(crate) fn is_due(&self, grace: Option<Duration>) -> bool {
        let last = self.seen.map_or(self.written, |seen| seen.max(self.written));
        grace.is_some_and(|grace| last.elapsed() + CLOCK_STEP >= grace)
    }
}

/// What a repository holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Repository {
    pub(crate) blobs: BTreeMap<Digest, Held>,
    pub(crate) manifests: BTreeMap<Digest, Arc<Document>>,
    pub(crate) tags: BTreeMap<String, Digest>,
    /// Manifests that had a tag since they were there.
    pub(crate) tagged: BTreeSet<Digest>,
}

impl Repository {
    /// What a name stands for.
    pub(crate) fn get(&self, name: &Name) -> Option<Digest> {
        match name {
            Name::Blob(digest) => self.blobs.contains_key(digest).then_some(*digest),
            Name::Manifest(digest) => self.manifests.contains_key(digest).then_some(*digest),
            Name::Tag(tag) => self.tags.get(tag).copied(),
        }
    }

    /// Whether a manifest names the blob.
    pub(crate) fn needs(&self, blob: &Digest) -> bool {
        let names = |document: &Arc<Document>| document.blobs.iter().any(|own| own.digest == *blob);
        self.manifests.values().any(names)
    }

    /// Whether collection may have taken the blob.
    pub(crate) fn may_lack(&self, blob: &Digest, grace: Option<Duration>) -> bool {
        self.blobs.get(blob).is_some_and(|held| held.is_due(grace)) && !self.needs(blob)
    }

    /// Whether a change that ended with this answer may have done so.
    pub(crate) fn explains(&self, change: &Change, is_done: bool, grace: Option<Duration>) -> bool {
        let must = match change {
            Change::Add(_) => true,
            // That depends on the other repository.
            Change::Mount(_) => is_done,
            Change::Remove(digest) => self.blobs.contains_key(digest) && !self.needs(digest),
            Change::Put(document, _) => {
                document.blobs.iter().all(|blob| self.blobs.contains_key(&blob.digest))
            }
            Change::Delete(digest) => self.manifests.contains_key(digest),
            Change::Untag(tag) => self.tags.contains_key(tag),
        };
        let mut blobs = match change {
            Change::Remove(digest) => vec![*digest],
            Change::Put(document, _) => document.blobs.iter().map(|blob| blob.digest).collect(),
            _ => Vec::new(),
        }
        .into_iter();
        must == is_done || (must && blobs.any(|blob| self.may_lack(&blob, grace)))
    }

    /// Makes a change that was sent at `at`.
    pub(crate) fn apply(&mut self, change: &Change, at: Instant) {
        match change {
            Change::Add(content) | Change::Mount(content) => {
                let held = Held { content: *content, written: at, seen: None };
                self.blobs.insert(content.digest, held);
            }
            Change::Remove(digest) => {
                self.blobs.remove(digest);
            }
            Change::Put(document, tag) => {
                self.manifests.insert(document.digest, Arc::clone(document));
                self.tags.extend(tag.iter().map(|tag| (tag.clone(), document.digest)));
                self.tagged.extend(tag.iter().map(|_| document.digest));
            }
            Change::Delete(digest) => {
                self.manifests.remove(digest);
                self.tagged.remove(digest);
                self.tags.retain(|_, named| named != digest);
            }
            Change::Untag(tag) => {
                self.tags.remove(tag);
            }
        }
    }

    /// How what was found differs from what must be there. A blob that collection may have taken
    /// is no difference.
    pub(crate) fn differences(
        &self,
        found: &BTreeMap<Name, Option<Digest>>,
        grace: Option<Duration>,
    ) -> Vec<String> {
        let differs = |(name, is): (&Name, &Option<Digest>)| {
            let must = self.get(name);
            let is_collected = matches!(name, Name::Blob(blob) if self.may_lack(blob, grace));
            let is_right = must == *is || (is.is_none() && is_collected);
            let text = |digest: Option<Digest>| {
                digest.map_or_else(|| "nothing".to_owned(), |digest| digest.to_string())
            };
            (!is_right).then(|| format!("{name} is {}, not {}", text(*is), text(must)))
        };
        found.iter().filter_map(differs).collect()
    }
}

/// How much older than they are the server may take blobs to be: it counts in whole seconds.
const CLOCK_STEP: Duration = Duration::from_millis(1500);
