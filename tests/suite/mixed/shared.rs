//! What may be in repositories that all clients change at once: for each name, what those changes
//! left that no later one has certainly replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use oci::{Algorithm, Digest};

use super::content::{Content, Document};
use super::model::{Change, Held, Name};

/// The repositories that all clients share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The images that are pushed there.
    pub(crate) documents: Vec<Arc<Document>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Grows with each beginning and each end.
    clock: u64,
    cells: BTreeMap<(usize, Name), Cell>,
    /// The last push, mount or sight of each blob.
    blobs: BTreeMap<(usize, Digest), Held>,
}

#[derive(Debug)]
struct Cell {
    claims: Vec<Claim>,
    under_way: Vec<Option<Digest>>,
}

/// What a name may stand for, and when the change that says so ended at the latest.
#[derive(Clone, Debug)]
struct Claim {
    value: Option<Digest>,
    ended: u64,
}

/// A change under way.
#[derive(Debug)]
pub(crate) struct Ticket {
    repository: usize,
    change: Change,
    began: u64,
    at: Instant,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was acknowledged.
    Done,
    /// It was refused, and changed nothing.
    Refused,
    /// The server died before it answered.
    Unknown,
}

impl Shared {
    /// Repositories that hold nothing yet, and images of these contents to push there.
    pub(crate) fn new(contents: &[Content]) -> Self {
        let image = |first: usize| {
            let layers = (1..3).map(|step| contents[(first + step * 3) % contents.len()]);
            let blobs = [contents[first]].into_iter().chain(layers).collect();
            Document::image(blobs, None, Algorithm::Sha256)
        };
        Self { documents: (0..6).map(image).collect(), state: Mutex::default() }
    }

    /// Notes that a change is asked for.
    pub(crate) fn begin(&self, repository: usize, change: &Change) -> Ticket {
        let mut state = self.state();
        for (name, value) in change.effects() {
            state.cell(repository, name).under_way.push(value);
        }
        let began = state.tick();
        Ticket { repository, change: change.clone(), began, at: Instant::now() }
    }

    /// Notes what became of it.
    pub(crate) fn end(&self, ticket: &Ticket, outcome: Outcome) {
        let mut state = self.state();
        let ended = if outcome == Outcome::Unknown { u64::MAX } else { state.tick() };
        let replaced = if outcome == Outcome::Done { ticket.began } else { 0 };
        for (name, value) in ticket.change.effects() {
            let cell = state.cell(ticket.repository, name);
            let place = cell.under_way.iter().position(|other| *other == value);
            cell.under_way.swap_remove(place.expect("what was begun"));
            if outcome != Outcome::Refused {
                cell.claims.retain(|claim| claim.ended >= replaced);
                cell.claims.push(Claim { value, ended });
            }
        }
        if outcome == Outcome::Refused {
            return;
        }
        if let Change::Delete(digest) = &ticket.change {
            state.untag(ticket.repository, *digest, replaced, ended);
        }
        if let Change::Add(content) | Change::Mount(content) = &ticket.change {
            let held = Held { content: *content, written: ticket.at, seen: None };
            state.blobs.insert((ticket.repository, content.digest), held);
        }
    }

    /// Notes that the server has said of a blob, when asked at `at`, that it is there.
    pub(crate) fn saw(&self, repository: usize, blob: &Digest, at: Instant) {
        if let Some(held) = self.state().blobs.get_mut(&(repository, *blob)) {
            held.seen = Some(at);
        }
    }

    /// What was there when it was last checked.
    pub(crate) fn held(&self) -> Vec<(usize, Name, Digest)> {
        let state = self.state();
        let held = state.cells.iter().filter_map(|((repository, name), cell)| {
            Some((*repository, name.clone(), cell.claims.last()?.value?))
        });
        held.collect()
    }

    /// Every name that may stand for something, or did when it was last checked.
    pub(crate) fn names(&self) -> Vec<(usize, Name)> {
        self.state().cells.keys().cloned().collect()
    }

    /// Compares what was found, while nothing was under way, with what may be there, and goes on
    /// from what was found.
    pub(crate) fn settle(
        &self,
        found: &BTreeMap<(usize, Name), Option<Digest>>,
        grace: Option<Duration>,
    ) -> Vec<String> {
        let mut faults = self.half_visible(found);
        let needed = self.needed(found);
        let mut state = self.state();
        for held in state.blobs.values_mut() {
            held.seen = None;
        }
        for ((repository, name), value) in found {
            let cell = state.cell(*repository, name.clone());
            let is_claimed = cell.claims.iter().any(|claim| claim.value == *value);
            let claims = std::mem::replace(&mut cell.claims, vec![Claim::old(*value)]);
            let is_collected = matches!(name, Name::Blob(blob) if value.is_none()
                && !needed.contains(&(*repository, *blob))
                && state.blobs.get(&(*repository, *blob)).is_some_and(|held| held.is_due(grace)));
            if !is_claimed && !is_collected {
                faults.push(format!(
                    "shared/{repository}: {name} is {value:?}, and may be one of {claims:?}"
                ));
            }
        }
        faults
    }

    /// The images that were found, each with its repository.
    fn images(
        &self,
        found: &BTreeMap<(usize, Name), Option<Digest>>,
    ) -> Vec<(usize, &Arc<Document>)> {
        let image = |((repository, name), value): (&(usize, Name), &Option<Digest>)| {
            let digest = value.filter(|_| matches!(name, Name::Manifest(_)))?;
            let document = self.documents.iter().find(|document| document.digest == digest);
            Some((*repository, document.expect("a document that we pushed")))
        };
        found.iter().filter_map(image).collect()
    }

    fn needed(&self, found: &BTreeMap<(usize, Name), Option<Digest>>) -> BTreeSet<(usize, Digest)> {
        let images = self.images(found).into_iter();
        images
            .flat_map(|(repository, image)| {
                image.blobs.iter().map(move |blob| (repository, blob.digest))
            })
            .collect()
    }

    /// Images that lack blobs, and tags whose manifest is not there.
    fn half_visible(&self, found: &BTreeMap<(usize, Name), Option<Digest>>) -> Vec<String> {
        let is_there = |repository: usize, name: Name| {
            found.get(&(repository, name)).is_some_and(Option::is_some)
        };
        let needed = self.needed(found).into_iter();
        let lacking = needed
            .filter(|(repository, blob)| !is_there(*repository, Name::Blob(*blob)))
            .map(|(repository, blob)| format!("shared/{repository}: an image lacks {blob}"));
        let tags = found.iter().filter_map(|((repository, name), value)| {
            let digest = value.filter(|_| matches!(name, Name::Tag(_)))?;
            let is_whole = is_there(*repository, Name::Manifest(digest));
            (!is_whole).then(|| format!("shared/{repository}: {name} names no manifest: {digest}"))
        });
        lacking.chain(tags).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no client panicked")
    }
}

impl State {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn cell(&mut self, repository: usize, name: Name) -> &mut Cell {
        let empty = || Cell { claims: vec![Claim::old(None)], under_way: Vec::new() };
        self.cells.entry((repository, name)).or_insert_with(empty)
    }

    /// The tags of a manifest went with it: those that named it, or may just have come to.
    fn untag(&mut self, repository: usize, digest: Digest, replaced: u64, ended: u64) {
        for ((own, name), cell) in &mut self.cells {
            let values = cell.claims.iter().map(|claim| claim.value).chain(cell.under_way.clone());
            let may_name = values.into_iter().any(|value| value == Some(digest));
            if *own == repository && matches!(name, Name::Tag(_)) && may_name {
                let is_kept =
                    |claim: &Claim| claim.value != Some(digest) || claim.ended >= replaced;
                cell.claims.retain(is_kept);
                cell.claims.push(Claim { value: None, ended });
            }
        }
    }
}

impl Claim {
    /// What was there before everything that is under way.
    fn old(value: Option<Digest>) -> Self {
        Self { value, ended: 0 }
    }
}
