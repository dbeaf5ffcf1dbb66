//! One client of the load: what it knows, and how each of its requests is asked and judged.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use oci::Digest;

use super::content::Content;
use super::model::{Change, Name, Repository};
use super::session::Session;
use super::shared::{Outcome, Shared};
use super::tally::Tally;
use crate::support::http::{Client, Header, Response};

/// What all clients of one load know.
#[derive(Debug)]
pub(crate) struct World {
    /// Contents that everybody pushes.
    pub(crate) common: Vec<Content>,
    /// The repositories that everybody changes.
    pub(crate) shared: Shared,
    /// What is counted.
    pub(crate) tally: Tally,
    /// How many clients there are.
    pub(crate) workers: usize,
    /// After what time collection may take a blob that no manifest names; none while nothing
    /// collects.
    pub(crate) grace: Mutex<Option<Duration>>,
    /// Whether the server may refuse for its disk's sake: a client then does not know what became
    /// of its change, as if the server had died.
    pub(crate) is_disk_broken: AtomicBool,
}

impl World {
    /// After what time collection may take a blob that no manifest names.
    pub(super) fn grace(&self) -> Option<Duration> {
        *self.grace.lock().expect("no client panicked here")
    }
}

/// A repository that a client changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// One of its own.
    Own(usize),
    /// One that all share.
    Shared(usize),
}

/// One client.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(super) number: usize,
    pub(super) rng: fastrand::Rng,
    pub(super) client: Client,
    pub(super) world: Arc<World>,
    /// What is in the repositories that are its own.
    pub(super) own: [Repository; OWN],
    /// The uploads that it has begun and not ended.
    pub(super) sessions: Vec<Session>,
    /// The change that it did not hear of before the server died.
    pub(super) pending: Option<(usize, Change, Instant)>,
    /// What it changed since the last check.
    pub(super) touched: BTreeSet<(usize, Name)>,
    /// Uploads that the server may have begun without telling: those of requests that broke.
    pub(super) strays: usize,
}

impl Worker {
    pub(crate) fn new(number: usize, seed: u64, client: Client, world: Arc<World>) -> Self {
        Self {
            number,
            rng: fastrand::Rng::with_seed(seed.wrapping_add(number as u64)),
            client,
            world,
            own: Default::default(),
            sessions: Vec::new(),
            pending: None,
            touched: BTreeSet::new(),
            strays: 0,
        }
    }

    /// Works until the load is over or the server is dead.
    pub(crate) fn run(&mut self) {
        let world = Arc::clone(&self.world);
        let _watch = Watch(&world.tally);
        while !world.tally.is_over() {
            if self.step().is_err() {
                return;
            }
        }
    }

    /// The name of a repository.
    pub(super) fn name(&self, place: Place) -> String {
        match place {
            Place::Own(index) => own_name(self.number, index),
            Place::Shared(index) => shared_name(index),
        }
    }

    /// Asks something, counts the answer, and lets nothing pass that no client should ever see.
    pub(super) fn ask(
        &self,
        kind: &'static str,
        method: &str,
        path: &str,
        headers: &[Header<'_>],
        body: &[u8],
    ) -> io::Result<Response> {
        let answer = self.client.try_request(method, path, headers, body)?;
        self.seen(kind, path, answer)
    }

    /// The same with a body in chunks, and without its length.
    pub(super) fn ask_in_chunks(
        &self,
        kind: &'static str,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> io::Result<Response> {
        let answer = self.client.try_stream(method, path, &[], body.chunks(CHUNK_BYTES))?;
        self.seen(kind, path, answer)
    }

    fn seen(&self, kind: &'static str, path: &str, answer: Response) -> io::Result<Response> {
        self.world.tally.count(kind, answer.status);
        if answer.status >= 500 && self.world.is_disk_broken.load(Ordering::Relaxed) {
            return Err(io::Error::other(format!("refused: {answer:?}")));
        }
        let is_bearable = answer.status < 500 && !matches!(answer.status, 401 | 403 | 408 | 429);
        assert!(is_bearable, "{kind} {path}: {answer:?} {}", body_of(&answer));
        Ok(answer)
    }

    /// Asks for a change; whether it was made, and how that was answered. The answer must be one
    /// that what the repository holds explains.
    pub(super) fn attempt(
        &mut self,
        place: Place,
        change: &Change,
        ask: impl FnOnce(&Self) -> io::Result<Response>,
    ) -> io::Result<(bool, Response)> {
        let (world, at) = (Arc::clone(&self.world), Instant::now());
        let ticket = match place {
            Place::Shared(index) => Some(world.shared.begin(index, change)),
            Place::Own(index) => {
                self.touch(index, change);
                self.pending = Some((index, change.clone(), at));
                None
            }
        };
        let answer = ask(self);
        let outcome = match &answer {
            Err(_) => Outcome::Unknown,
            Ok(answer) if answer.status == change.done() => Outcome::Done,
            Ok(_) => Outcome::Refused,
        };
        if let Some(ticket) = ticket {
            world.shared.end(&ticket, outcome);
        }
        let answer = answer?;
        let is_done = outcome == Outcome::Done;
        let is_known = is_done || change.refusals().contains(&answer.status);
        assert!(is_known, "{change:?} in {}: {answer:?}", self.name(place));
        if let Place::Own(index) = place {
            self.pending = None;
            let own = &mut self.own[index];
            assert!(
                own.explains(change, is_done, world.grace()),
                "{change:?} in {}: {answer:?} {}; there are {own:#?}",
                own_name(self.number, index),
                body_of(&answer),
            );
            if is_done {
                self.own[index].apply(change, at);
            }
        }
        Ok((is_done, answer))
    }

    /// Asks whether a blob is there, as clients do before they push it.
    pub(super) fn look(&mut self, place: Place, blob: &Digest) -> io::Result<bool> {
        let at = Instant::now();
        let path = format!("/v2/{}/blobs/{blob}", self.name(place));
        let answer = self.ask("HEAD blob", "HEAD", &path, &[], b"")?;
        assert!(matches!(answer.status, 200 | 404), "{answer:?}");
        let is_there = answer.status == 200;
        match place {
            Place::Own(index) => {
                self.saw_blob(index, blob, is_there);
                let held = self.own[index].blobs.get_mut(blob);
                held.into_iter().for_each(|held| held.seen = Some(at));
            }
            Place::Shared(index) if is_there => self.world.shared.saw(index, blob, at),
            Place::Shared(_) => {}
        }
        Ok(is_there)
    }

    /// Notes what the server said of a blob; it must be right.
    pub(super) fn saw_blob(&mut self, index: usize, blob: &Digest, is_there: bool) {
        let grace = self.world.grace();
        let own = &mut self.own[index];
        let is_right =
            own.blobs.contains_key(blob) == is_there || (!is_there && own.may_lack(blob, grace));
        assert!(is_right, "{blob} is {is_there} in {}: {own:#?}", own_name(self.number, index));
        if !is_there {
            own.blobs.remove(blob);
        }
    }

    /// Notes what a change is about: its own names, the tags that go with a manifest, and the blobs
    /// without which there must be no image.
    fn touch(&mut self, index: usize, change: &Change) {
        let mut names: Vec<Name> = change.effects().into_iter().map(|(name, _)| name).collect();
        match change {
            Change::Delete(digest) => {
                let tags = self.own[index].tags.iter().filter(|(_, named)| *named == digest);
                names.extend(tags.map(|(tag, _)| Name::Tag(tag.clone())));
            }
            Change::Put(document, _) => {
                names.extend(document.blobs.iter().map(|blob| Name::Blob(blob.digest)));
            }
            _ => {}
        }
        self.touched.extend(names.into_iter().map(|name| (index, name)));
    }

    /// One of some.
    pub(super) fn one_of<T: Clone>(&mut self, some: &[T]) -> Option<T> {
        self.rng.choice(some).cloned()
    }
}

/// The name of a repository that one client alone changes.
pub(crate) fn own_name(worker: usize, index: usize) -> String {
    format!("load/{worker:02}/{index}")
}

/// The name of a repository that all clients change.
pub(crate) fn shared_name(index: usize) -> String {
    format!("load/shared/{index}")
}

/// The text of a refusal.
fn body_of(answer: &Response) -> String {
    let end = answer.body.len().min(1000);
    String::from_utf8_lossy(&answer.body[..end]).into_owned()
}

/// Ends the load when its client finds a fault.
struct Watch<'a>(&'a Tally);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail();
        }
    }
}

/// How many repositories are a client's own, and how many are shared.
pub(crate) const OWN: usize = 2;
pub(crate) const SHARED: usize = 2;
const CHUNK_BYTES: usize = 20_000;
