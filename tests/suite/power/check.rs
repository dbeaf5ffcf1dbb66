//! Whether a store that clients had used is what it must be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use oci::{Algorithm, Digest, Reference, RepoName};
use storage::{Finding, Keep, OnHeld, OnStep, OpenOptions, StorageError, Store, Verification};

use super::acts::{Expected, Key};
use super::checked::{Checked, MANY, parsed, said};
use super::load::Session;
use crate::support::binary::USER;

/// What a check found wrong.
pub(super) type Verdict = Result<(), String>;

/// What a store said of all keys.
type Found = BTreeMap<Key, Option<String>>;

/// Checks a store that clients had used: what they were told holds, and nothing is half there.
pub(super) fn check(data: &Path, expected: &Expected, sessions: &[Session]) -> Verdict {
    let store = open(data)?;
    let mut checked = Checked::new(&store, data);
    checked.verify(expected.keys())?;
    let found = checked.values(expected.keys())?;
    expected.judge(&found)?;
    checked.lists(&found)?;
    checked.undo(&found, expected)?;
    for session in sessions {
        checked.session(session)?;
    }
    checked.collect(&found)
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
        idle_connections: 16,
        hot_manifest_bytes: 1 << 20,
        read_pause_time: std::time::Duration::from_secs(1),
        // A program that another test starts at this moment shares our lock until it is itself.
        on_held: &|_| OnHeld::Wait,
        allow_network_fs: false,
        on_fatal: fatal,
        on_trouble: |_| {},
    };
    Store::open(data, &options).map_err(said("open the store"))
}

impl Checked<'_> {
    /// Everything verifies, but for blobs of which these keys tell that they may be bad.
    pub(super) fn verify<'k>(&mut self, keys: impl Iterator<Item = &'k Key>) -> Verdict {
        let how = Verification { bytes_per_second: None, is_dry_run: true };
        let seen = self.store.verify(&how, &mut |_| ControlFlow::Continue(()));
        let seen = seen.map_err(said("verify the store"))?;
        let lost = self.store.lost_digests(MANY).map_err(said("list what is lost"))?;
        self.lost = lost.blobs.into_iter().collect();
        // What is known to be lost is no finding, unless its file is good again.
        self.bad.clone_from(&self.lost);
        let may_be_bad: BTreeSet<&str> = keys
            .filter_map(|key| if let Key::Bad(digest) = key { Some(digest.as_str()) } else { None })
            .collect();
        for finding in &seen.findings {
            let (Finding::Blob { digest, .. } | Finding::BlobFound(digest)) = finding else {
                return Err(format!("verification found {finding:?}"));
            };
            if !may_be_bad.contains(digest.to_string().as_str()) {
                return Err(format!("verification found {finding:?}"));
            }
            match finding {
                Finding::Blob { .. } => self.bad.insert(*digest),
                _ => self.bad.remove(digest),
            };
        }
        if seen.is_done { Ok(()) } else { Err("verification did not end".to_owned()) }
    }

    /// Lists must say what single requests say. They also name what cannot be read just now.
    fn lists(&mut self, found: &Found) -> Verdict {
        let (mut repositories, mut tags) = (BTreeSet::new(), BTreeMap::new());
        for (key, value) in found {
            match (key, value) {
                (Key::Manifest(repository, _) | Key::Child(repository, _), Some(_)) => {
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
                let tag = tag.to_string();
                if self.hides_something() && self.manifest(name, &parsed(&tag))?.is_none() {
                    continue;
                }
                listed.insert((name.to_string(), tag), digest.to_string());
            }
        }
        let named: BTreeSet<_> = all.iter().map(RepoName::to_string).collect();
        let is_right = if self.hides_something() {
            named.is_superset(&repositories)
        } else {
            named == repositories
        };
        if !is_right {
            return Err(format!("the repositories are {all:?} and not {repositories:?}"));
        }
        if listed != tags {
            return Err(format!("the tags are {listed:?} and not {tags:?}"));
        }
        Ok(())
    }

    /// What was deleted and must be there for a restoration comes back whole. It goes again.
    fn undo(&mut self, found: &Found, expected: &Expected) -> Verdict {
        for (key, value) in found {
            let Key::Undo(repository, digest) = key else { continue };
            if value.is_none() || !expected.is_certain(key) {
                continue;
            }
            let (name, digest): (RepoName, Digest) = (parsed(repository), parsed(digest));
            let back = self.store.restore_manifest(&name, &digest);
            let back = back.map_err(|error| format!("{key:?} cannot be restored: {error}"))?;
            self.look_again();
            if !back.contains(&digest)
                || self.manifest(&name, &Reference::Digest(digest))?.is_none()
            {
                return Err(format!("{key:?} was restored and is not there"));
            }
            for manifest in back {
                let is_gone = self.store.delete_manifest(&name, &manifest, None);
                is_gone.map_err(said("delete again what was restored"))?;
            }
            self.look_again();
        }
        Ok(())
    }

    /// An upload that was open may be gone, or torn. Whatever is left of it, it becomes no blob
    /// with other bytes than those that its digest names.
    fn session(&mut self, session: &Session) -> Verdict {
        let name = parsed(&session.repository);
        let user = self.store.user(&parsed(USER)).map_err(said("look for a user"))?;
        let user = user.ok_or("the first user is gone")?.account();
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

    /// Collection takes everything that nobody needs, and nothing else.
    pub(super) fn collect(&mut self, found: &Found) -> Verdict {
        let none = Duration::ZERO;
        let keep = Keep {
            grace: none,
            untagged: None,
            listed_within: none,
            deleted: none,
            history: none,
            uploads: none,
        };
        let go_on: OnStep<'_> = &mut |_| ControlFlow::Continue(());
        let done = self.store.collect(&keep, false, go_on).map_err(said("collect"))?;
        if !done.is_whole || done.foreign_files > 0 {
            return Err(format!("collection did {done:?}"));
        }
        self.take_needed();
        self.look_again();
        for (key, value) in found {
            match key {
                Key::Manifest(..) | Key::Tag(..) if self.value(key)? != *value => {
                    return Err(format!("collection took {key:?}"));
                }
                Key::Child(..) => drop(self.value(key)?),
                _ => {}
            }
        }
        let (needed, mut files) = (self.take_needed(), BTreeSet::new());
        let blobs = self.data.join("blobs");
        for algorithm in Algorithm::ALL {
            for shard in entries(&blobs.join(algorithm.name()))? {
                for file in entries(&blobs.join(algorithm.name()).join(shard))? {
                    files.insert(format!("{}:{file}", algorithm.name()));
                }
            }
        }
        // Files of images that nobody can have: bad ones until a verification puts them aside, good
        // ones until it calls them found.
        for hidden in self.bad.iter().chain(&self.lost) {
            files.remove(&hidden.to_string());
        }
        if files != needed {
            return Err(format!("after collection there are {files:?} and not {needed:?}"));
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
