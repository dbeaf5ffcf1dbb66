//! What a store says of a name, after reading everything that belongs to it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::Path;

use bytes::Bytes;
use oci::{Algorithm, Digest, Manifest, MediaType, Reference, RepoName};
use storage::{StorageError, Store};

use super::acts::{Key, YES};

/// A store that is being checked.
pub(super) struct Checked<'a> {
    pub(super) store: &'a Store,
    pub(super) data: &'a Path,
    /// Blobs without a good file, as a verification has found.
    pub(super) bad: BTreeSet<Digest>,
    /// Blobs that are known to be lost.
    pub(super) lost: BTreeSet<Digest>,
    /// Blobs whose bytes were read and are right.
    right: HashSet<Digest>,
    /// Manifests whose bytes are right, with the blobs that each needs.
    manifests: HashMap<Digest, (Bytes, Vec<Digest>)>,
    /// Blobs that manifests need.
    needed: BTreeSet<String>,
    /// Blobs that were found in a repository, with their sizes, since the last change.
    sizes: HashMap<(RepoName, Digest), Option<u64>>,
}

impl<'a> Checked<'a> {
    pub(super) fn new(store: &'a Store, data: &'a Path) -> Self {
        let (bad, lost, right) = (BTreeSet::new(), BTreeSet::new(), HashSet::new());
        let (manifests, needed, sizes) = (HashMap::new(), BTreeSet::new(), HashMap::new());
        Self { store, data, bad, lost, right, manifests, needed, sizes }
    }

    /// Whether nobody can have this blob now, and rightly.
    pub(super) fn is_hidden(&self, blob: &Digest) -> bool {
        self.bad.contains(blob) || self.lost.contains(blob)
    }

    /// Whether there are such blobs.
    pub(super) fn hides_something(&self) -> bool {
        !(self.bad.is_empty() && self.lost.is_empty())
    }

    /// Forgets what the store said: something changes it.
    pub(super) fn look_again(&mut self) {
        self.sizes.clear();
    }

    /// The blobs that were needed by what was asked for, since the last call.
    pub(super) fn take_needed(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.needed)
    }

    /// The value of a key, after checking that everything that belongs to it is there.
    pub(super) fn value(&mut self, key: &Key) -> Result<Option<String>, String> {
        let yes = |is_so: bool| Ok(is_so.then(|| YES.to_owned()));
        match key {
            Key::Blob(repository, digest) => {
                let size = self.blob(&parsed(repository), &parsed(digest))?;
                Ok(size.map(|size| size.to_string()))
            }
            Key::Manifest(repository, digest) | Key::Child(repository, digest) => {
                let found = self.manifest(&parsed(repository), &parsed(digest))?;
                Ok(found.map(|(_, media_type)| media_type))
            }
            Key::Tag(repository, tag) => {
                let found = self.manifest(&parsed(repository), &parsed(tag))?;
                Ok(found.map(|(digest, _)| digest.to_string()))
            }
            Key::User(name) => {
                let user = self.store.user(&parsed(name)).map_err(said("find a user"))?;
                Ok(user.map(|user| user.role.to_string()))
            }
            Key::File(path) => Ok(fs::read_to_string(self.data.join(path)).ok()),
            Key::Undo(repository, digest) => {
                let gone = self.store.deleted_since(&parsed(repository), 0, None, MANY);
                let gone = gone.map_err(said("list what was deleted"))?;
                yes(gone.contains(&parsed(digest)))
            }
            Key::Bad(digest) => yes(self.bad.contains(&parsed(digest))),
            Key::Lost(digest) => yes(self.lost.contains(&parsed(digest))),
        }
    }

    /// The values of keys.
    pub(super) fn values<'k>(
        &mut self,
        keys: impl Iterator<Item = &'k Key>,
    ) -> Result<BTreeMap<Key, Option<String>>, String> {
        keys.map(|key| Ok((key.clone(), self.value(key)?))).collect()
    }

    /// The size of a blob that the repository holds. Its bytes must be right, unless it is known to
    /// have no good file.
    pub(super) fn blob(&mut self, name: &RepoName, digest: &Digest) -> Result<Option<u64>, String> {
        if let Some(size) = self.sizes.get(&(name.clone(), *digest)) {
            return Ok(*size);
        }
        let found = match self.store.open_blob(name, digest) {
            Err(StorageError::BlobLost(_)) if self.is_hidden(digest) => None,
            found => found.map_err(said("open a blob"))?,
        };
        let size = self.store.blob_size(name, digest).map_err(said("look for a blob"))?;
        let Some(reader) = found.filter(|_| !self.is_hidden(digest)) else {
            let is_nowhere = size.is_none() || self.is_hidden(digest);
            return is_nowhere.then_some(None).ok_or(format!("{digest} is there and not there"));
        };
        if !self.right.contains(digest) {
            let length = usize::try_from(reader.size()).expect("a small blob");
            let bytes = reader.read_at(0, length).map_err(said("read a blob"))?;
            if Digest::of(digest.algorithm(), &bytes) != *digest {
                return Err(format!("{digest} has wrong bytes"));
            }
            self.right.insert(*digest);
        }
        self.sizes.insert((name.clone(), *digest), size);
        Ok(size)
    }

    /// The digest and the media type of a manifest. Its bytes must be right, and the blobs that
    /// it needs in its repository. One of which a blob has no good file counts as not there.
    pub(super) fn manifest(
        &mut self,
        name: &RepoName,
        reference: &Reference,
    ) -> Result<Option<(Digest, String)>, String> {
        let found = match self.store.manifest(name, reference) {
            Err(StorageError::ManifestLost { lost, .. }) if self.is_hidden(&lost) => None,
            found => found.map_err(said("read a manifest"))?,
        };
        let Some(found) = found else { return Ok(None) };
        let known = self.manifests.get(&found.digest);
        if known.is_none_or(|(bytes, _)| *bytes != found.bytes) {
            let media_type: MediaType = parsed(&found.media_type);
            let bytes = found.bytes.clone();
            let manifest = Manifest::parse(bytes, Some(media_type), Algorithm::Sha256);
            let manifest = manifest.map_err(said("parse a manifest"))?;
            if *manifest.digest() != found.digest {
                return Err(format!("the manifest {} has wrong bytes", found.digest));
            }
            let needed = manifest.edges().iter().filter(|edge| edge.kind.is_required_blob());
            let needed = needed.map(|edge| edge.child).collect();
            self.manifests.insert(found.digest, (found.bytes, needed));
        }
        for blob in self.manifests[&found.digest].1.clone() {
            if self.is_hidden(&blob) {
                return Ok(None);
            }
            if self.blob(name, &blob)?.is_none() {
                return Err(format!("{} has no {blob}", found.digest));
            }
            self.needed.insert(blob.to_string());
        }
        Ok(Some((found.digest, found.media_type)))
    }
}

/// What the load used parses.
pub(super) fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("what the load used")
}

/// Says what could not be done.
pub(super) fn said<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> String {
    move |error| format!("cannot {what}: {error}")
}

/// More than the load makes of anything.
pub(super) const MANY: usize = 10_000;
