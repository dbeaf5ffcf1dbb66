//! Faults of the disk under a collection.

use std::collections::BTreeSet;
use std::fs;

use super::kind;
use super::pusher::{Fault, Pusher};
use crate::support::process::Run;
use crate::support::report::tell;
use crate::support::strace::Faults;

#[test]
fn a_collection_on_a_disk_that_is_full_at_any_step_does_its_work_or_leaves_it_to_the_next() {
    // It makes no file, so only what it writes to the database takes space.
    let struck = collected_under(Fault::Full, "pwrite64,fallocate", "ENOSPC", 1..);
    assert!(struck.contains("pwrite64 log"), "{struck:?}");
}

#[test]
fn a_collection_on_a_disk_that_fails_at_any_step_leaves_the_rest_to_the_next() {
    let struck = collected_under(Fault::Broken, "pwrite64", "EIO", 1..);
    assert!(struck.contains("pwrite64 log"), "{struck:?}");
    // One for each of the two blobs.
    let struck = collected_under(Fault::Broken, "unlink", "EIO", 1..);
    assert!(struck.contains("unlink blob"), "{struck:?}");
}

#[test]
fn a_collection_on_a_disk_that_cannot_be_read_leaves_the_rest_to_the_next() {
    // There are many for each of 512 directories; some at the beginning, and fewer later.
    let steps = [1, 2, 3, 4, 6, 9, 14, 22, 60, 500].into_iter();
    let struck = collected_under(Fault::Broken, "openat,pread64,getdents64,statx", "EIO", steps);
    for call in ["pread64", "getdents64"] {
        assert!(struck.iter().any(|struck| struck.starts_with(call)), "{call}: {struck:?}");
    }
}

#[test]
fn a_collection_on_a_disk_that_does_not_sync_costs_nothing() {
    collected_under(Fault::NotSynced, "fsync,fdatasync", "EIO", 1..);
}

/// For each K: makes garbage, collects it while the K-th call fails in each thread, and collects
/// again when none does. Returns which calls failed for which kinds of files.
#[track_caller]
fn collected_under(
    fault: Fault,
    calls: &str,
    error: &str,
    steps: impl Iterator<Item = usize>,
) -> BTreeSet<String> {
    let mut pusher = Pusher::start(fault);
    pusher.push(0);
    collect(&pusher).ok();
    let kept = files(&pusher);
    let (mut struck, mut count, mut refused) = (BTreeSet::new(), 0, 0);
    for step in steps {
        pusher.litter(step);
        assert_eq!(files(&pusher), kept + 2);
        let faults = Faults::inject(&pusher.instance, calls, error, &step.to_string());
        let run = collect(&pusher);
        let is_refused = run.code() != Some(0);
        if is_refused && fault == Fault::NotSynced {
            // Before the tracer is ended, which would wait for the threads that it has to see end.
            pusher.start_again();
        }
        let injected = faults.end();
        if injected.is_empty() {
            run.ok();
            break;
        }
        refused += usize::from(is_refused);
        if is_refused && fault != Fault::NotSynced {
            assert_told(fault, &run.fails(1));
        }
        count += injected.len();
        struck.extend(injected.iter().map(|(call, path)| format!("{call} {}", kind(path))));
        pusher.verify_all();
        collect(&pusher).ok();
        assert_eq!(files(&pusher), kept, "what nobody needs was left for ever");
    }
    pusher.verify_all();
    assert!(refused <= count);
    tell(&format!("{count} calls of collections failed with {error}, {refused} runs: {struck:?}"));
    struck
}

#[track_caller]
fn assert_told(fault: Fault, said: &str) {
    let causes: &[&str] = match fault {
        Fault::Full => &["the disk of the registry is full"],
        _ => &[
            "Input/output error",
            "the database failed",
            "the database is damaged, or its disk cannot be read",
            "the database cannot be written",
        ],
    };
    assert!(causes.iter().any(|cause| said.contains(cause)), "{said}");
}

fn collect(pusher: &Pusher) -> Run {
    pusher.instance.command(&["gc"], &["--grace", "0s", "--undo-time", "0s"])
}

/// How many files of blobs there are.
fn files(pusher: &Pusher) -> usize {
    let directory = pusher.instance.data().join("blobs/sha256");
    let shards = fs::read_dir(directory).expect("the blobs");
    let count = |shard: fs::DirEntry| fs::read_dir(shard.path()).expect("a shard").count();
    shards.map(|shard| count(shard.expect("a shard"))).sum()
}
