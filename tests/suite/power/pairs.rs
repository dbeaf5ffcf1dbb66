//! All short sequences of what changes a registry: each pair of operations in CI, each triple in a
//! recipe of its own, on the same objects, and after each event the power goes in every simple way.
//!
//! The kinds of operations stand in [`step::Kind`]. A session of the recorded server plays all
//! sequences that begin with the same operation, or with the same two of a triple, one after the
//! other, each in repositories of its own: what an earlier one left unsynced may still be lost
//! then, so a sequence in a session meets more states than by itself, and none less. `scene.rs`
//! knows what each repository holds, and `fates.rs` what may become of the disk at a cut.
//!
//! The power cannot tell what would have come next: a sequence is cut from the operation on that
//! tells it from those before it.
//!
//! A state that is equal to one that was judged is not judged again, unless more is expected of it.
//! An import is no part of these: the recorder follows one process at a time, so it is played while
//! the server rests, behind an operation that leaves it something to do.
//!
//! `REGISTRY_POWER_LENGTH=3` plays triples.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::Instant;

use super::acts::now;
use super::disk::Disk;
use super::judge::judge_state;
use super::load::Load;
use super::recording::{Recording, Stage};
use super::{in_parallel, variable};
use crate::support::binary::Instance;
use crate::support::process::run;
use crate::support::report::tell;

mod fates;
mod import;
mod scene;
mod step;

use scene::Scene;
use step::Kind;

#[test]
fn every_pair_of_operations_survives_a_power_cut_after_every_event() {
    let length = usize::try_from(variable("REGISTRY_POWER_LENGTH").unwrap_or(2)).expect("a number");
    let sessions = sequences(length - 1).into_iter();
    let sessions: Vec<Vec<Vec<Kind>>> = sessions
        .map(|begun| Kind::ALL.map(|last| [begun.as_slice(), &[last]].concat()).to_vec())
        .collect();
    let counts = cut_all(&sessions, &format!("sequences of {length} operations"));
    assert_eq!(counts.sequences, Kind::ALL.len().pow(u32::try_from(length).expect("a number")));
}

#[test]
fn a_push_over_a_file_that_went_bad_survives_a_power_cut_after_every_event() {
    let sequences = Kind::ALL.map(|first| vec![first, Kind::Damage, Kind::Upload]);
    cut_all(&[sequences.to_vec()], "pushes over a bad file");
}

#[test]
fn an_import_survives_a_power_cut_after_every_event_of_it() {
    let is_long = variable("REGISTRY_POWER_LENGTH").is_some_and(|length| length > 2);
    let met = if is_long { &MET_BY_AN_IMPORT[..] } else { &MET_BY_AN_IMPORT[..MET_IN_CI] };
    let sequences: Vec<_> = met.iter().map(|first| vec![vec![*first, Kind::Import]]).collect();
    let counts = cut_all(&sequences, "imports");
    assert!(counts.cuts > 50 * met.len(), "{counts:?}");
}

/// Plays sequences, each session by itself, and cuts the power at every moment of each.
fn cut_all(sessions: &[Vec<Vec<Kind>>], what: &str) -> Counts {
    let began = Instant::now();
    let (new_store, total) = (new_store(), Mutex::new(Counts::default()));
    in_parallel(sessions, |sequences| {
        let counts = cut_session(sequences, new_store.data());
        total.lock().expect("the counts").add(&counts);
    });
    let total = total.into_inner().expect("the counts");
    tell(&format!(
        "power cuts in all {} {what}: {} cuts, {} states, of which {} were judged and {} were \
         equal to one of these, in {:?}",
        total.sequences,
        total.cuts,
        total.judged + total.equal,
        total.judged,
        total.equal,
        began.elapsed()
    ));
    total
}

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    sequences: usize,
    cuts: usize,
    judged: usize,
    equal: usize,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.sequences += other.sequences;
        self.cuts += other.cuts;
        self.judged += other.judged;
        self.equal += other.equal;
    }
}

/// All sequences of so many operations.
fn sequences(length: usize) -> Vec<Vec<Kind>> {
    (0..length).fold(vec![Vec::new()], |shorter, _| {
        let longer = |one: Vec<Kind>| Kind::ALL.map(|next| [one.as_slice(), &[next]].concat());
        shorter.into_iter().flat_map(longer).collect()
    })
}

/// Plays sequences in one session of the server, and cuts the power at every moment of each.
fn cut_session(sequences: &[Vec<Kind>], new_store: &Path) -> Counts {
    let session = record(sequences, new_store);
    let recording = &session.recording;
    let mut counts = Counts { sequences: sequences.len(), ..Counts::default() };
    let mut disk = Disk::new(&recording.record, &[]);
    let mut judged = HashSet::new();
    for Span { sequence, first, own, end } in &session.spans {
        for events in *own..=*end {
            disk.advance_to(events);
            counts.cuts += 1;
            let time = recording.time_of(events);
            let ended = recording.acts.ended_at(time);
            for fates in fates::all(&recording.record, &disk.unsynced(), *first) {
                let state = disk.state(&fates);
                if !judged.insert((ended, state.fingerprint())) {
                    counts.equal += 1;
                    continue;
                }
                counts.judged += 1;
                if let Err(wrong) = judge_state(recording, &state, time) {
                    let near = recording.tell_near(events);
                    panic!(
                        "{sequence:?}, cut {} of {}, {fates:?}: {wrong}\nafter:\n{near}",
                        events - first,
                        end - first
                    );
                }
            }
        }
    }
    counts
}

/// A session of the server, and which events belong to which sequence.
struct Session {
    recording: Recording,
    spans: Vec<Span>,
}

/// The events of a sequence, by their numbers.
struct Span {
    sequence: Vec<Kind>,
    first: usize,
    /// The first that no other sequence has in its place.
    own: usize,
    end: usize,
}

/// With which operation the part of a sequence begins that it has for itself: what it begins with
/// belongs to the first sequence that begins so.
fn own_from(sequence: &[Kind]) -> usize {
    let firsts = sequence.iter().rev().take_while(|&&kind| kind == Kind::ALL[0]).count();
    (sequence.len() - 1).saturating_sub(firsts)
}

/// Plays sequences one after the other, each from a state that was prepared before.
fn record(sequences: &[Vec<Kind>], new_store: &Path) -> Session {
    let mut stage = Stage::new(DATA, |root| {
        let data = root.path().join(DATA);
        run(Command::new("cp").arg("--archive").arg(new_store).arg(data)).ok();
    });
    stage.instance.start();
    let client = stage.client(&stage.instance.password());
    let mut scenes: Vec<Scene> = Vec::new();
    let mut marks = Vec::new();
    for (number, sequence) in sequences.iter().enumerate() {
        let load = Load { client: &client, acts: &stage.acts };
        scenes.push(Scene::prepare(&load, number, sequence[0]));
        let (mut began, mut own, mut end) = (now(), None, None);
        for (place, kind) in sequence.iter().enumerate() {
            if *kind == Kind::Import {
                let scene = scenes.last_mut().expect("a scene");
                let [from, to] = import::play(&mut stage, scene);
                (began, own, end) = (from, Some(from), Some(to));
                continue;
            }
            if place == own_from(sequence) {
                own = Some(now());
            }
            let load = Load { client: &client, acts: &stage.acts };
            let hand = step::play(*kind, &load, stage.instance.data(), &mut scenes);
            stage.hands.extend(hand);
        }
        marks.push((sequence.clone(), [began, own.unwrap_or(began), end.unwrap_or_else(now)]));
    }
    stage.stop();
    let recording = stage.finish(DATA, 0);
    let event_at = |time| recording.record.events.partition_point(|event| event.time < time);
    let span = |(sequence, times): (_, [_; 3])| {
        let [first, own, end] = times.map(event_at);
        Span { sequence, first, own, end }
    };
    let spans = marks.into_iter().map(span).collect();
    Session { recording, spans }
}

/// A store after its first start.
fn new_store() -> Instance {
    let mut instance = Instance::started();
    instance.stop();
    // What each start makes anew, and large.
    fs::remove_file(instance.data().join("reserve")).expect("the reserve");
    instance
}

/// What comes before an import: the image is not there, is known to be lost, was deleted, or its
/// tag names another. Each has as many states as a dozen pairs, so CI plays the first ones.
const MET_BY_AN_IMPORT: [Kind; 4] = [Kind::Collect, Kind::Verify, Kind::Delete, Kind::Tag];
/// So many of these are played unless somebody wants triples.
const MET_IN_CI: usize = 2;
/// Where the store is below the root.
const DATA: &str = "data";
