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
//! - Modes, owners and times of files are not part of it. Neither are the socket, the reserve, and
//!   what goes into the index of SQLite's log (`-shm`) through memory: a start makes them anew.
//!
//! `strace.rs`, `process.rs` and `record.rs` make the record; `tree.rs` and `disk.rs` are the
//! model, and `draw.rs` draws from it. `recording.rs`, `scenes.rs` and `load.rs` are what is
//! recorded, `old.rs` the stores that are migrated. `acts.rs` knows what clients were told,
//! `judge.rs`, `check.rs` and `checked.rs` open a state and judge it, and `bite.rs` shows that they
//! find what they should.
//!
//! `REGISTRY_POWER_STATES` says how many states are drawn, and `REGISTRY_POWER_SEED` from which
//! seed; each run records anew, so the same seed draws the same ways of failing at other moments.

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
mod checked;
mod disk;
mod draw;
mod judge;
mod load;
mod old;
mod pairs;
mod process;
mod record;
mod recording;
mod scenes;
mod strace;
mod tree;

use disk::Disk;
use draw::Strategy;
use judge::judge;
use recording::{Category, Recording};

#[test]
fn every_state_that_a_power_cut_leaves_is_a_good_store() {
    let seed = variable("REGISTRY_POWER_SEED").unwrap_or(20_260_727);
    let states = variable("REGISTRY_POWER_STATES").unwrap_or(STATES);
    tell(&format!("power cuts: REGISTRY_POWER_SEED={seed} REGISTRY_POWER_STATES={states}"));
    let cuts = draw_cuts(usize::try_from(states).expect("a number"), seed);
    let began = Instant::now();
    let shares: Vec<Vec<&Cut>> =
        (0..THREADS).map(|share| cuts.iter().skip(share).step_by(THREADS).collect()).collect();
    in_parallel(&shares, |cuts| {
        for cuts in cuts.chunk_by(|one, next| std::ptr::eq(one.recording, next.recording)) {
            let recording = cuts[0].recording;
            let mut disk = Disk::new(&recording.record, &[]);
            for cut in cuts {
                disk.advance_to(cut.events);
                let mut random = Rng::with_seed(cut.seed);
                let fates = cut.strategy.draw(&recording.record, &disk.unsynced(), &mut random);
                if let Err(wrong) = judge(recording, &disk, &fates, cut.events) {
                    let Cut { events, category, strategy, .. } = cut;
                    let near = recording.tell_near(*events);
                    panic!("{category:?}, {strategy:?}, seed {seed}: {wrong}\nafter:\n{near}");
                }
            }
        }
    });
    let mut counts = BTreeMap::<Category, usize>::new();
    for cut in &cuts {
        *counts.entry(cut.category).or_default() += 1;
    }
    tell(&format!(
        "power cuts survived: {} in {:?}, of which {counts:?}",
        cuts.len(),
        began.elapsed()
    ));
    assert!(counts.values().all(|&count| count >= LEAST_STATES), "{counts:?}");
}

#[test]
fn every_kind_of_sync_is_missed_when_it_is_dropped() {
    let is_long = variable("REGISTRY_POWER_STATES").is_some_and(|states| states > STATES);
    let most = if is_long { usize::MAX } else { DROPPED_OF_A_KIND };
    let kinds: Vec<_> = Recording::all()
        .iter()
        .flat_map(|recording| {
            bite::kinds(recording).into_iter().map(move |(kind, syncs)| (recording, kind, syncs))
        })
        .collect();
    let (silent, excused) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
    in_parallel(&kinds, |(recording, kind, syncs)| {
        let excuse = bite::excuse(kind);
        if excuse.is_some() {
            excused.fetch_add(1, Ordering::Relaxed);
        }
        // The search for a loss that is not there takes long.
        if excuse.is_some() && !is_long {
            return;
        }
        let each = syncs.chunks(1).step_by(syncs.len().div_ceil(most));
        let mut losses = each.filter_map(|sync| bite::loss_without(recording, sync));
        let loss = if is_long {
            let losses: Vec<_> = losses.collect();
            tell(&format!("{kind}: {} of {} are missed", losses.len(), syncs.len()));
            losses.into_iter().next()
        } else {
            losses.next()
        };
        let loss = loss.or_else(|| bite::loss_without(recording, syncs));
        match (loss, excuse) {
            (None, None) => silent.lock().expect("a list").push(kind.clone()),
            (Some(loss), Some(why)) => panic!("{kind}: {loss}, although {why}"),
            _ => {}
        }
    });
    let (silent, excused) = (silent.into_inner().expect("a list"), excused.into_inner());
    assert!(silent.is_empty(), "nothing is lost without these:\n{}", silent.join("\n"));
    let stale: Vec<_> =
        bite::excused().filter(|name| kinds.iter().all(|(_, kind, _)| kind != name)).collect();
    assert!(stale.is_empty(), "there are no such syncs any more: {stale:?}");
    tell(&format!(
        "kinds of syncs that are missed when dropped: {}; that may be dropped, and why is said: \
         {excused}",
        kinds.len() - excused
    ));
}

/// A moment at which the power goes, and how it goes.
struct Cut {
    recording: &'static Recording,
    /// How many events had happened.
    events: usize,
    category: Category,
    strategy: Strategy,
    seed: u64,
}

/// Draws so many cuts, about the same number for each category and strategy, in order of time.
fn draw_cuts(count: usize, seed: u64) -> Vec<Cut> {
    let spans: Vec<_> = Recording::all()
        .iter()
        .flat_map(|recording| recording.spans.iter().map(move |span| (recording, *span)))
        .collect();
    // A first start takes three times as long to check as everything else.
    let others = spans.iter().filter(|(_, (category, ..))| *category != Category::Initialisation);
    let spans: Vec<_> = spans.iter().chain(others).copied().collect();
    let mut random = Rng::with_seed(seed);
    let mut cuts: Vec<_> = (0..count)
        .map(|number| {
            let (recording, (category, first, end)) = spans[number % spans.len()];
            let strategy = Strategy::ALL[number / spans.len() % Strategy::ALL.len()];
            let events = random.usize(first..=end);
            Cut { recording, events, category, strategy, seed: random.u64(..) }
        })
        .collect();
    cuts.sort_by_key(|cut| (std::ptr::from_ref(cut.recording), cut.events));
    cuts
}

/// Works on all items, some at a time.
fn in_parallel<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(item);
                }
            });
        }
    });
}

/// A number that the environment gives.
fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} should be a number and not {text}")))
}

/// States that are drawn unless somebody wants more.
const STATES: u64 = 2_050;
/// States are checked by so many threads.
const THREADS: usize = 2;
/// So many syncs of each kind are dropped, each by itself, until one is missed; in a long run all.
const DROPPED_OF_A_KIND: usize = 12;
/// Each category must have so many states.
const LEAST_STATES: usize = 50;
