//! Power cuts: the real program under a load is recorded system call by system call, and every
//! state that the model allows on its disk at any moment must be a good store.
//!
//! The rules of the model, for a cut between two events of the record:
//!
//! - What a sync covered is there: the content of the file, or the names in the directory, that
//!   had changed before the sync began, once it has come back.
//! - Each later write to a file and each later change of its length may be missing, alone or with
//!   others. A write may have reached the disk in some sectors of 512 bytes only, or as nothing but
//!   the new length, and then reads as zeros.
//! - Each name made or removed in a directory since its last sync may be missing, or still there,
//!   each by itself. A rename is atomic, and durable with a sync of the directory of the new name.
//! - A sync of a file does not make its name durable.
//! - Modes, owners and times of files are not part of it. Neither is the socket, nor what goes into
//!   the index of SQLite's log (`-shm`) through memory: both are made anew at each start.
//!
//! `strace.rs` and `record.rs` make the record, `disk.rs` is the model, `draw.rs` draws from it,
//! `recording.rs` and `load.rs` are what is recorded, `acts.rs` knows what clients were told, and
//! `check.rs` opens a state and judges it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use fastrand::Rng;

use crate::support::report::tell;

mod acts;
mod bite;
mod check;
mod disk;
mod draw;
mod load;
mod record;
mod recording;
mod strace;
mod tree;

use check::judge;
use disk::Disk;
use draw::Strategy;
use recording::{Category, Recording};

#[test]
fn every_state_that_a_power_cut_leaves_is_a_good_store() {
    let seed = variable("REGISTRY_POWER_SEED").unwrap_or(20_260_727);
    let states = variable("REGISTRY_POWER_STATES").unwrap_or(2_200);
    tell(&format!("power cuts: REGISTRY_POWER_SEED={seed} REGISTRY_POWER_STATES={states}"));
    let began = Instant::now();
    let life = Recording::of_a_life();
    tell(&format!("{:?} {}", began.elapsed(), life.record.events.len()));
    let began = Instant::now();
    let cuts = draw_cuts(life, usize::try_from(states).expect("a number"), seed);
    let counts = Mutex::new(BTreeMap::<Category, usize>::new());
    thread::scope(|scope| {
        for share in 0..THREADS {
            let (cuts, counts) = (&cuts, &counts);
            scope.spawn(move || {
                let mut disk = Disk::new(&life.record, &[]);
                for cut in cuts.iter().skip(share).step_by(THREADS) {
                    disk.advance_to(cut.events);
                    let mut random = Rng::with_seed(cut.seed);
                    let fates = cut.strategy.draw(&life.record, &disk.unsynced(), &mut random);
                    if let Err(wrong) = judge(life, &disk, &fates, cut.events) {
                        panic!("{cut:?} with seed {seed}: {wrong}");
                    }
                    *counts.lock().expect("counts").entry(cut.category).or_default() += 1;
                }
            });
        }
    });
    let counts = counts.into_inner().expect("counts");
    tell(&format!("power cuts survived in {:?}: {counts:?}", began.elapsed()));
    assert!(counts.values().all(|&count| count >= LEAST_STATES), "{counts:?}");
}

#[test]
fn every_kind_of_sync_is_missed_when_it_is_dropped() {
    let life = Recording::of_a_life();
    let kinds: Vec<_> = bite::kinds(life).into_iter().collect();
    let (next, silent) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some((kind, syncs)) = kinds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let step = syncs.len().div_ceil(DROPPED_OF_A_KIND);
                    let alone: Vec<_> = syncs.chunks(1).step_by(step).collect();
                    let together = (syncs.len() > 1).then_some(syncs.as_slice());
                    let loss = alone
                        .into_iter()
                        .chain(together)
                        .find_map(|syncs| bite::loss_without(life, syncs));
                    tell(&format!(
                        "{kind} ({}): {:.150}",
                        syncs.len(),
                        loss.clone().unwrap_or_default()
                    ));
                    if loss.is_none() && bite::excuse(kind).is_none() {
                        silent.lock().expect("a list").push(kind.clone());
                    }
                }
            });
        }
    });
    let silent = silent.into_inner().expect("a list");
    assert!(silent.is_empty(), "nothing is lost without these:\n{}", silent.join("\n"));
}

/// A moment at which the power goes, and how it goes.
#[derive(Debug)]
struct Cut {
    /// How many events had happened.
    events: usize,
    category: Category,
    strategy: Strategy,
    seed: u64,
}

/// Draws so many cuts, about the same number for each category and strategy, in order of time.
fn draw_cuts(recording: &Recording, count: usize, seed: u64) -> Vec<Cut> {
    let mut random = Rng::with_seed(seed);
    let mut cuts: Vec<_> = (0..count)
        .map(|number| {
            let (category, first, end) = recording.spans[number % recording.spans.len()];
            let strategy = Strategy::ALL[number / recording.spans.len() % Strategy::ALL.len()];
            let events = random.usize(first..=end);
            Cut { events, category, strategy, seed: random.u64(..) }
        })
        .collect();
    cuts.sort_by_key(|cut| cut.events);
    cuts
}

/// A number that the environment gives.
fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} should be a number and not {text}")))
}

/// States are checked by so many threads.
const THREADS: usize = 2;
/// So many syncs of each kind are dropped, each by itself, until one is missed.
const DROPPED_OF_A_KIND: usize = 4;
/// Each category must have so many states.
const LEAST_STATES: usize = 50;
