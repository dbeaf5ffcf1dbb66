//! Faults of the disk under the real server: at each call that takes space it is full, at each
//! call it fails. What was acknowledged stays, and what was refused succeeds when it is tried
//! again, without a restart.

mod pusher;

use std::collections::BTreeSet;

use crate::support::report::tell;
use crate::support::strace::Faults;
use pusher::{Fault, Pusher};

/// Calls that take space.
const TAKING: &str = "openat,pwrite64,rename,fallocate";
/// Calls that reach the disk, but for those that sync.
const REACHING: &str = "openat,pwrite64,pread64,rename,unlink,ftruncate,statx,statfs";

#[test]
fn a_disk_that_is_full_at_any_step_refuses_that_step_and_no_more() {
    let (mut pusher, struck) = pushed_under(Fault::Full, TAKING, "ENOSPC");
    for call in ["openat meta", "openat upload", "openat blob", "rename blob"] {
        assert!(struck.contains(call), "never failed: {call}");
    }
    for file in ["meta", "upload", "log"] {
        assert!(struck.contains(&format!("pwrite64 {file}")), "never failed: a write of {file}");
    }
    pusher.instance.stop();
    pusher.instance.start();
    pusher.verify_all();
}

#[test]
fn a_disk_that_fails_at_any_step_fails_that_step_and_no_more() {
    let (mut pusher, struck) = pushed_under(Fault::Broken, REACHING, "EIO");
    for call in ["openat meta", "openat upload", "openat blob", "rename blob", "statx blob"] {
        assert!(struck.contains(call), "never failed: {call}");
    }
    for call in ["pwrite64 upload", "pwrite64 log", "pread64 log", "unlink meta", "statfs other"] {
        assert!(struck.contains(call), "never failed: {call}");
    }
    let log = pusher.instance.errors();
    let told = log.lines().filter(|line| line.contains("a request failed"));
    let causes =
        ["Input/output error", "the database failed: ", "the database cannot be written: "];
    for line in told.clone() {
        assert!(causes.iter().any(|cause| line.contains(cause)), "{line}");
    }
    assert!(told.count() >= pusher.refusals && pusher.refusals > 0, "{log}");
    pusher.instance.stop();
    pusher.instance.start();
    pusher.verify_all();
}

#[test]
fn a_disk_that_does_not_sync_costs_nothing_acknowledged() {
    let mut pusher = Pusher::start(Fault::NotSynced);
    pusher.push(0);
    let mut struck = BTreeSet::new();
    for step in 1.. {
        let faults = Faults::inject(&pusher.instance, "fsync,fdatasync", "EIO", &step.to_string());
        pusher.push(step);
        let injected = faults.end();
        if injected.is_empty() {
            break;
        }
        struck.extend(injected.iter().map(|(call, path)| format!("{call} {}", kind(path))));
        pusher.verify(step);
    }
    tell(&format!("{} ends for want of a sync, {struck:?}", pusher.ends));
    assert!(pusher.ends > 0 && pusher.refusals > 0);
    for call in ["fdatasync upload", "fsync blob"] {
        assert!(struck.contains(call), "never failed: {call}");
    }
    pusher.verify_all();
}

/// Pushes once for each K until nothing has a K-th call any more: while that call fails in each
/// thread. Returns which calls failed for which kinds of files.
fn pushed_under(fault: Fault, calls: &str, error: &str) -> (Pusher, BTreeSet<String>) {
    let mut pusher = Pusher::start(fault);
    // So that the server has its threads and connections.
    pusher.push(0);
    let (mut struck, mut count) = (BTreeSet::new(), 0);
    for step in 1.. {
        let faults = Faults::inject(&pusher.instance, calls, error, &step.to_string());
        pusher.push(step);
        let injected = faults.end();
        if injected.is_empty() {
            break;
        }
        count += injected.len();
        struck.extend(injected.iter().map(|(call, path)| format!("{call} {}", kind(path))));
        pusher.verify(step);
    }
    tell(&format!("{count} calls failed with {error}, {} refusals: {struck:?}", pusher.refusals));
    (pusher, struck)
}

/// What a file of the data directory is.
fn kind(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or_default();
    match name {
        "registry.db" => "database",
        "registry.db-wal" => "log",
        "registry.db-shm" => "index of the log",
        "reserve" => "reserve",
        _ if name.ends_with(".meta") => "meta",
        _ if path.contains("/uploads/") => "upload",
        _ if path.contains("/blobs/") => "blob",
        _ => "other",
    }
}
