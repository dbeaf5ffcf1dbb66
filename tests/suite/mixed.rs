//! A mixed load with a model: many clients that push, pull, mount, move, list and delete at once,
//! and know what must be there then, whether all of them were answered or the server died.
//!
//! Each client has repositories of its own, of which it knows everything; contents, and two more
//! repositories, are everybody's. It runs in bursts ([`Load::run`]); between two of them the
//! server is held against what is known ([`Load::check`]). What the clients do is in `step`,
//! `session` and `pull`; what they know is in `model` and `shared`.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use oci::Digest;

use crate::support::http::Client;

mod check;
mod content;
mod files;
mod model;
mod pull;
mod session;
mod shared;
mod step;
mod tally;
mod tests;
mod upkeep;
mod worker;

use content::Content;
use model::Name;
use shared::Shared;
pub(crate) use tally::Tally;
pub(crate) use upkeep::{collect, verify};
use worker::{Worker, World};

/// Clients and what they know.
#[derive(Debug)]
pub(crate) struct Load {
    workers: Vec<Worker>,
    world: Arc<World>,
    client: Client,
}

impl Load {
    /// So many clients like `client`, which do the same for the same seed as far as the server
    /// answers alike.
    pub(crate) fn new(client: &Client, workers: usize, seed: u64) -> Self {
        let common = Content::common();
        let shared = Shared::new(&common);
        let (tally, grace, is_disk_broken) = Default::default();
        let world = World { common, shared, tally, workers, grace, is_disk_broken };
        let world = Arc::new(world);
        let worker = |number| Worker::new(number, seed, client.again(), Arc::clone(&world));
        let workers = (0..workers).map(worker).collect();
        Self { workers, world, client: client.again() }
    }

    /// Lets the clients bear that collection takes, after so many seconds, blobs that no manifest
    /// names; none while nothing collects.
    pub(crate) fn set_grace(&self, seconds: Option<u64>) {
        *self.world.grace.lock().expect("no client panicked here") =
            seconds.map(Duration::from_secs);
    }

    /// Lets the clients end when the server refuses something for its disk's sake.
    pub(crate) fn set_disk_broken(&self, is_broken: bool) {
        self.world.is_disk_broken.store(is_broken, Ordering::Relaxed);
    }

    /// Forgets the uploads that are open: what came for them may go with the disk's power.
    pub(crate) fn forget_uploads(&mut self) {
        for worker in &mut self.workers {
            worker.strays += worker.sessions.len();
            worker.sessions.clear();
        }
    }

    /// What was counted so far.
    pub(crate) fn tally(&self) -> &Tally {
        &self.world.tally
    }

    /// Lets all clients work while `meanwhile` runs; each ends after the step it is at, or when
    /// the server is dead.
    pub(crate) fn run<T>(&mut self, meanwhile: impl FnOnce(&Tally) -> T) -> T {
        let tally = &self.world.tally;
        tally.set_over(false);
        thread::scope(|scope| {
            for worker in &mut self.workers {
                scope.spawn(|| worker.run());
            }
            let _end = End(tally);
            meanwhile(tally)
        })
    }

    /// Compares what changed since the last check, or everything, with what must be there.
    #[track_caller]
    pub(crate) fn check(&mut self, everything: bool) {
        let faults = self.faults(everything).expect("a server that answers");
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    }

    /// The same; returns what is wrong.
    pub(crate) fn faults(&mut self, everything: bool) -> io::Result<Vec<String>> {
        let mut faults = thread::scope(|scope| {
            let checks: Vec<_> = self
                .workers
                .iter_mut()
                .map(|worker| scope.spawn(|| worker.check(everything)))
                .collect();
            let faults = checks.into_iter().map(|check| check.join().expect("a check"));
            Ok::<_, io::Error>(faults.collect::<io::Result<Vec<_>>>()?.concat())
        })?;
        faults.extend(check::check_shared(&self.world, &self.client)?);
        Ok(faults)
    }
}

/// What is known of all repositories together.
impl Load {
    /// The blobs that images name.
    fn needed(&self) -> BTreeSet<Digest> {
        let own = self.workers.iter().flat_map(|worker| &worker.own);
        let own = own.flat_map(|repository| repository.manifests.values());
        let shared = &self.world.shared;
        let held = shared.held();
        let held: BTreeSet<Digest> =
            held.iter().filter_map(|(_, name, digest)| manifest(name, *digest)).collect();
        let images = own.chain(shared.documents.iter().filter(|own| held.contains(&own.digest)));
        images.flat_map(|image| image.blobs.iter().map(|blob| blob.digest)).collect()
    }

    /// How many repositories hold a manifest, and how many tags, manifests and needed blobs there
    /// are.
    fn counts(&self) -> [usize; 4] {
        let held = self.world.shared.held();
        let own = || self.workers.iter().flat_map(|worker| &worker.own);
        let mut manifests: BTreeSet<Digest> =
            own().flat_map(|repository| repository.manifests.keys().copied()).collect();
        manifests.extend(held.iter().filter_map(|(_, name, digest)| manifest(name, *digest)));
        let shared = held.iter().filter(|(_, name, _)| matches!(name, Name::Manifest(_)));
        let shared: BTreeSet<usize> = shared.map(|(repository, ..)| *repository).collect();
        let repositories = own().filter(|own| !own.manifests.is_empty()).count() + shared.len();
        let tags = held.iter().filter(|(_, name, _)| matches!(name, Name::Tag(_))).count();
        let tags = tags + own().map(|repository| repository.tags.len()).sum::<usize>();
        [repositories, tags, manifests.len(), self.needed().len()]
    }

    /// The names of the files of uploads that were begun and not ended.
    fn open_uploads(&self) -> BTreeSet<String> {
        let sessions = self.workers.iter().flat_map(|worker| &worker.sessions);
        let files =
            sessions.map(|session| [session.id().to_owned(), format!("{}.meta", session.id())]);
        files.flatten().collect()
    }

    /// How many uploads the server may have begun, or not quite ended, when it died.
    fn broken_uploads(&self) -> usize {
        self.workers.iter().map(|worker| worker.strays).sum()
    }

    /// Cancels all uploads that are open.
    fn end_uploads(&mut self) -> io::Result<()> {
        for worker in &mut self.workers {
            while let Some(session) = worker.sessions.pop() {
                worker.cancel(session)?;
            }
        }
        Ok(())
    }
}

fn manifest(name: &Name, digest: Digest) -> Option<Digest> {
    matches!(name, Name::Manifest(_)).then_some(digest)
}

/// Ends the clients' work, also when what runs meanwhile fails.
struct End<'a>(&'a Tally);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.set_over(true);
    }
}
