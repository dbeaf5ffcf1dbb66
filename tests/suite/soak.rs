//! A server that many clients use for long, while it is kept up: it answers as it must all the
//! time, and needs at the end what it needed at the beginning.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::kill::number;
use crate::mixed::{Load, Tally, collect, verify};
use crate::support::binary::Instance;
use crate::support::report::tell;
use crate::support::usage::{Sample, Samples};

#[test]
#[ignore = "it takes minutes and has recipes of its own: just soak, just soak-short"]
fn a_mixed_load_of_32_clients_wears_nothing_out() {
    let seconds = number("SOAK_SECONDS", 120);
    let seed = number("SOAK_SEED", fastrand::u64(..));
    tell(&format!("a soak of {seconds} s, SOAK_SEED={seed}"));
    // With the heaps that the unit of the service gives it.
    let instance = Instance::new().with_variable("MALLOC_ARENA_MAX", "2");
    let mut instance = instance.with_flags(&["--log-level", "warn", "--scrub-interval", SCRUB]);
    instance.start();
    let mut load = Load::new(&instance.client(), CLIENTS, seed);
    load.set_grace(Some(GRACE_SECONDS));
    let period = Duration::from_secs(if seconds < 600 { 10 } else { 60 });
    let until = Instant::now() + Duration::from_secs(seconds);
    let (collections, verifications) = (AtomicU64::new(0), AtomicU64::new(0));
    let samples = load.run(|tally| {
        let collecting = || collect(&instance, GRACE_SECONDS);
        let verifying = || verify(&instance);
        thread::scope(|scope| {
            scope.spawn(|| again(&collecting, COLLECTION_PERIOD, until, tally, &collections));
            scope.spawn(|| again(&verifying, period, until, tally, &verifications));
            watch(&instance, until, tally)
        })
    });
    load.check(true);
    report(&load, &samples, &instance);
    tell(&format!(
        "collections: {}, verifications: {}, beside scrubs every {SCRUB}",
        collections.load(Ordering::Relaxed),
        verifications.load(Ordering::Relaxed)
    ));
    let log = instance.errors();
    assert!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
    holds_steady(&samples);

    load.settle(&instance);
    instance.stop();
}

/// Keeps the registry up in one way again and again, and counts.
fn again(
    keep_up: &dyn Fn() -> bool,
    period: Duration,
    until: Instant,
    tally: &Tally,
    count: &AtomicU64,
) {
    let mut next = Instant::now() + period;
    while goes_on(until, tally) {
        thread::sleep(Duration::from_millis(100));
        if Instant::now() >= next {
            if !keep_up() {
                tally.fail();
                panic!("upkeep failed");
            }
            count.fetch_add(1, Ordering::Relaxed);
            next = Instant::now().max(next + period);
        }
    }
}

/// Looks at the server each second.
fn watch(instance: &Instance, until: Instant, tally: &Tally) -> Samples {
    let mut samples = Samples::default();
    while goes_on(until, tally) {
        thread::sleep(Duration::from_secs(1));
        samples.0.push(Sample::of(instance, changes(tally)));
    }
    samples
}

fn goes_on(until: Instant, tally: &Tally) -> bool {
    Instant::now() < until && !tally.has_failed()
}

/// Prints what was done and what it took.
fn report(load: &Load, samples: &Samples, instance: &Instance) {
    let figures: [(&str, Figure); 4] = [
        ("memory in KiB", |sample| sample.memory / 1024),
        ("open files", |sample| sample.descriptors),
        ("content in KiB", |sample| sample.content / 1024),
        ("database in KiB", |sample| sample.database / 1024),
    ];
    for (what, figure) in figures {
        let (course, tenths) = (samples.course(figure), samples.tenths(figure));
        tell(&format!("{what}: {course}; in tenths {tenths:?}"));
    }
    let peak = instance.peak_memory() / 1024;
    tell(&format!("the system's own peak of memory in KiB: {peak}\n{}", load.tally()));
}

/// What the allowances are for: memory that the allocator keeps for the next burst; connections and
/// files that are open at the moment; the sizes that clients happen to choose.
fn holds_steady(samples: &Samples) {
    samples.course(|sample| sample.memory).holds("the memory", 10, 16 << 20);
    samples.course(|sample| sample.descriptors).holds("the number of open files", 10, 16);
    samples.course(|sample| sample.content).holds("the content", 25, 16 << 20);
    // It grows with what it remembers of tags for 90 days, and with nothing else.
    let rest = |sample: &Sample| sample.database.saturating_sub(sample.changes * CHANGE_BYTES);
    samples.course(rest).holds("the rest of the database", 25, 8 << 20);
}

/// How many requests changed what a tag names, or could have.
fn changes(tally: &Tally) -> u64 {
    let kinds = [("PUT manifest", 201), ("DELETE manifest", 202), ("DELETE tag", 202)];
    kinds.iter().map(|(kind, status)| tally.of(kind, *status)).sum()
}

/// One of the figures of a sample.
type Figure = fn(&Sample) -> u64;

const CLIENTS: usize = 32;
/// Bytes of the database, at the most, that remember one such request: a row and its indexes, of
/// those that really changed a tag.
const CHANGE_BYTES: u64 = 200;
const GRACE_SECONDS: u64 = 5;
/// How often what is nobody's is collected: much oftener than any registry does.
const COLLECTION_PERIOD: Duration = Duration::from_secs(3);
/// How long after a scrub the next one begins.
const SCRUB: &str = "10s";
