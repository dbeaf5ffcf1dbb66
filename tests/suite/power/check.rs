//! Whether a store that clients had used is what it must be.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use storage::{
    Algorithm, Digest, Keep, Manifest, MediaType, OnHeld, OnStep, OpenOptions, Reference, RepoName,
    StorageError, Store, Verification,
};

use super::acts::{Expected, Key};
use super::load::Session;
use crate::support::binary::USER;

/// What a check found wrong.
pub(super) type Verdict = Result<(), String>;

/// Checks a store that clients had used: what they were told holds, and nothing is half there.
pub(super) fn check(data: &Path, expected: &Expected, sessions: &[Session]) -> Verdict {
    let store = open(data)?;
    let mut checked = Checked::new(&store, data);
    let mut found = BTreeMap::new();
    for key in expected.keys() {
        found.insert(key.clone(), checked.value(key)?);
    }
    expected.judge(&found)?;
    checked.lists(&found)?;
    for session in sessions {
        checked.session(session)?;
    }
    checked.upkeep(&found)
}

/// Opens a store that must be there.
pub(super) fn open(data: &Path) -> Result<Store, String> {
    fn fatal(error: &StorageError) -> ! {
        panic!("{error}")
    }
    let options = OpenOptions {
        may_create: false,
        uploads_per_user: usize::MAX,
        reserve_bytes: 0,
        // A program that another test starts at this moment shares our lock until it is itself.
        on_held: &|_| OnHeld::Wait,
        allow_network_fs: false,
        on_fatal: fatal,
        on_trouble: |_| {},
    };
    Store::open(data, &options).map_err(said("open the store"))
}

/// A store that is being checked.
pub(super) struct Checked<'a> {
    store: &'a Store,
    data: &'a Path,
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
        let (right, manifests, sizes) = (HashSet::new(), HashMap::new(), HashMap::new());
        Self { store, data, right, manifests, needed: BTreeSet::new(), sizes }
    }

    /// The value of a key, after checking that everything that belongs to it is there.
    fn value(&mut self, key: &Key) -> Result<Option<String>, String> {
        match key {
            Key::Blob(repository, digest) => {
                let size = self.blob(&parsed(repository), &parsed(digest))?;
                Ok(size.map(|size| size.to_string()))
            }
            Key::Manifest(repository, digest) => {
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
        }
    }

    /// The size of a blob that the repository holds. Its bytes must be right.
    fn blob(&mut self, name: &RepoName, digest: &Digest) -> Result<Option<u64>, String> {
        if let Some(size) = self.sizes.get(&(name.clone(), *digest)) {
            return Ok(*size);
        }
        let found = self.store.open_blob(name, digest).map_err(said("open a blob"))?;
        let size = self.store.blob_size(name, digest).map_err(said("look for a blob"))?;
        let Some(reader) = found else {
            let is_nowhere = size.is_none();
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
    /// it needs in its repository.
    fn manifest(
        &mut self,
        name: &RepoName,
        reference: &Reference,
    ) -> Result<Option<(Digest, String)>, String> {
        let found = self.store.manifest(name, reference).map_err(said("read a manifest"))?;
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
            if self.blob(name, &blob)?.is_none() {
                return Err(format!("{} has no {blob}", found.digest));
            }
            self.needed.insert(blob.to_string());
        }
        Ok(Some((found.digest, found.media_type)))
    }

    /// Lists must say what single requests say.
    fn lists(&self, found: &BTreeMap<Key, Option<String>>) -> Verdict {
        let (mut repositories, mut tags) = (BTreeSet::new(), BTreeMap::new());
        for (key, value) in found {
            match (key, value) {
                (Key::Manifest(repository, _), Some(_)) => {
                    repositories.insert(repository.clone());
                }
                (Key::Tag(repository, tag), Some(digest)) => {
                    tags.insert((repository.clone(), tag.clone()), digest.clone());
                }
                _ => {}
            }
        }
        let all = self.store.repositories(None, MANY).map_err(said("list repositories"))?;
        let mut listed = BTreeMap::new();
        for name in &all {
            let page = self.store.tags(name, None, MANY).map_err(said("list tags"))?;
            for (tag, digest) in page.unwrap_or_default() {
                listed.insert((name.to_string(), tag.to_string()), digest.to_string());
            }
        }
        if all.iter().map(RepoName::to_string).collect::<BTreeSet<_>>() != repositories {
            return Err(format!("the repositories are {all:?} and not {repositories:?}"));
        }
        if listed != tags {
            return Err(format!("the tags are {listed:?} and not {tags:?}"));
        }
        Ok(())
    }

    /// An upload that was open may be gone, or torn. Whatever is left of it, it becomes no blob
    /// with other bytes than those that its digest names.
    fn session(&mut self, session: &Session) -> Verdict {
        let (name, user) = (parsed(&session.repository), parsed(USER));
        let id = parsed(session.location.rsplit('/').next().expect("an id"));
        let writer = match self.store.open_upload(&name, &user, id) {
            Ok(writer) => writer,
            Err(StorageError::UploadUnknown) => return Ok(()),
            Err(error) => return Err(format!("cannot open an upload: {error}")),
        };
        let offset = writer.offset().map_err(said("ask how long an upload is"))?;
        let offset = usize::try_from(offset).expect("a small upload").min(session.sent.len());
        let digest = Digest::of(Algorithm::Sha256, &session.sent[..offset]);
        match self.store.commit_upload(&writer, &digest) {
            Ok(()) => self.blob(&name, &digest).map(drop),
            Err(StorageError::DigestMismatch { .. }) => Ok(()),
            Err(error) => Err(format!("cannot commit an upload: {error}")),
        }
    }

    /// What upkeep finds: everything verifies, and collection takes everything that nobody needs,
    /// and nothing else.
    pub(super) fn upkeep(&mut self, found: &BTreeMap<Key, Option<String>>) -> Verdict {
        let how = Verification { bytes_per_second: None, is_dry_run: true };
        let seen = self.store.verify(&how, &mut |_| ControlFlow::Continue(()));
        let seen = seen.map_err(said("verify the store"))?;
        if !seen.is_done || !seen.findings.is_empty() {
            return Err(format!("verification found {:?}", seen.findings));
        }
        let none = Duration::ZERO;
        let keep =
            Keep { grace: none, untagged: None, deleted: none, history: none, uploads: none };
        let go_on: OnStep<'_> = &mut |_| ControlFlow::Continue(());
        let done = self.store.collect(&keep, false, go_on).map_err(said("collect"))?;
        if !done.is_whole || done.foreign_files > 0 {
            return Err(format!("collection did {done:?}"));
        }
        self.needed.clear();
        self.sizes.clear();
        for (key, value) in found {
            if matches!(key, Key::Manifest(..) | Key::Tag(..)) && self.value(key)? != *value {
                return Err(format!("collection took {key:?}"));
            }
        }
        let mut files = BTreeSet::new();
        let blobs = self.data.join("blobs");
        for algorithm in Algorithm::ALL {
            for shard in entries(&blobs.join(algorithm.name()))? {
                for file in entries(&blobs.join(algorithm.name()).join(shard))? {
                    files.insert(format!("{}:{file}", algorithm.name()));
                }
            }
        }
        if files != self.needed {
            return Err(format!("after collection there are {files:?} and not {:?}", self.needed));
        }
        let uploads = entries(&self.data.join("uploads"))?;
        if uploads.is_empty() { Ok(()) } else { Err(format!("collection left {uploads:?}")) }
    }
}

fn entries(directory: &Path) -> Result<Vec<String>, String> {
    let listed = fs::read_dir(directory).map_err(said("list a directory"))?;
    let name = |entry: std::io::Result<fs::DirEntry>| {
        entry.expect("an entry").file_name().to_string_lossy().into_owned()
    };
    Ok(listed.map(name).collect())
}

/// What the load used parses.
fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("what the load used")
}

/// More than the load makes of anything.
const MANY: usize = 10_000;

/// Says what could not be done.
pub(super) fn said<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> String {
    move |error| format!("cannot {what}: {error}")
}
