//! Faults of the disk under the real server: at each call that takes space it is full, at each
//! call it fails. What was acknowledged stays, and what was refused succeeds when it is tried
//! again, without a restart.

mod collection;
mod pusher;
mod readonly;

use std::collections::BTreeSet;
use std::fs;

use oci::MediaType;
use registry_server::error::ApiError;
use serde_json::json;
use storage::StorageError;

use crate::support::content::{Manifest, OCTETS, begin_upload, noise, push_blob, sha256};
use crate::support::http::Response;
use crate::support::process::wait_until;
use crate::support::report::tell;
use crate::support::strace::Faults;
use pusher::{Fault, Pusher};

/// Calls that take space.
const TAKING: &str = "openat,pwrite64,rename,fallocate";
/// Calls that reach the disk, but those that sync.
const REACHING: &str = "openat,pwrite64,pread64,rename,unlink,ftruncate,statx,statfs";
/// Some of them, which a push makes few times.
const OPENING: &str = "openat,rename";

#[test]
fn a_disk_that_is_full_at_any_step_refuses_that_step_and_no_more() {
    let (mut pusher, mut struck) = pushed_under(Fault::Full, TAKING, "ENOSPC");
    let (mut other, opened) = pushed_under(Fault::Full, OPENING, "ENOSPC");
    struck.extend(opened);
    other.instance.stop();
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
    let (mut pusher, mut struck) = pushed_under(Fault::Broken, REACHING, "EIO");
    // Which thread does what is chance, and so is which of its calls is the K-th: rare ones alone.
    let (mut other, opened) = pushed_under(Fault::Broken, OPENING, "EIO");
    struck.extend(opened);
    other.instance.stop();
    for call in ["openat meta", "openat upload", "openat blob", "rename blob", "statx blob"] {
        assert!(struck.contains(call), "never failed: {call}");
    }
    for call in ["pwrite64 upload", "pwrite64 log", "pread64 log", "unlink meta", "statfs other"] {
        assert!(struck.contains(call), "never failed: {call}");
    }
    let log = pusher.instance.errors();
    let told = log.lines().filter(|line| line.contains("a request failed"));
    let causes = [
        "Input/output error",
        "the database failed: ",
        "the database is damaged, or its disk cannot be read ",
        "the database cannot be written: ",
    ];
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
        struck.extend(failed(&injected));
        pusher.verify(step);
    }
    tell(&format!("{} ends for want of a sync, {struck:?}", pusher.ends));
    assert!(pusher.ends > 0 && pusher.refusals > 0);
    for call in ["fdatasync upload", "fsync blob"] {
        assert!(struck.contains(call), "never failed: {call}");
    }
    pusher.verify_all();
}

#[test]
fn a_blob_that_cannot_be_read_is_refused_or_breaks_off_and_the_log_says_why() {
    let mut pusher = Pusher::start(Fault::Broken);
    pusher.push(0);
    // A small one is read before its first byte is sent, so that its reader hears a status.
    let large = push_blob(&pusher.client, "faults/large", &noise(0, 3 << 20));
    let small = (format!("/v2/faults/0/blobs/{}", pusher.blob()), Some(500), "cannot read", 1);
    // Whoever opens a large one reads a byte, and whoever reads it fails.
    let large = (format!("/v2/faults/large/blobs/{large}"), None, "a blob could not be read", 2);
    for (path, status, words, reads) in [small, large] {
        let hex = path.rsplit(':').next().expect("a digest");
        let file = format!("blobs/sha256/{}/{hex}", &hex[..2]);
        // The kernel reads ahead, so it is our call that fails and not the disk. What fails where
        // the page cache is asked alone is tried once more where the disk is.
        let calls = "preadv2,pread64";
        let faults = Faults::inject_at(&pusher.instance, calls, "EIO", "1+", &[&file]);
        let answer = pusher.client.try_alone("GET", &path, &[], b"");
        assert_eq!(answer.map(|answer| answer.status), status, "{path}");
        let struck = faults.end();
        let struck_reads = struck.iter().filter(|(call, _)| call == "pread64").count();
        assert_eq!(struck_reads, reads, "{struck:?}");
        let log = pusher.instance.errors();
        let told = log.lines().find(|line| line.contains(words) && line.contains(&file));
        assert!(told.is_some_and(|line| line.contains("error")), "{log}");
        // It may be good, so nobody calls it lost.
        pusher.client.get(&path).expect(200);
    }
    pusher.verify_all();
}

#[test]
fn a_log_that_cannot_be_moved_into_the_database_is_told_and_costs_nothing() {
    let mut pusher = Pusher::start(Fault::Broken);
    pusher.push(0);
    let database = ["registry.db"];
    let faults = Faults::inject_at(&pusher.instance, "pwrite64", "EIO", "1+", &database);
    // More pages than the log holds before it is moved.
    for n in 0..3 {
        let mark = json!({ "mark": "x".repeat(2 << 20), "n": n.to_string() });
        let document = json!({ "manifests": [], "annotations": mark });
        let index = Manifest::new(MediaType::OCI_INDEX, document);
        pusher.put(&format!("/v2/large/manifests/{n}"), &index);
    }
    let told = || pusher.instance.errors().contains("log could not be moved into it");
    wait_until("the log tells", told);
    let path = pusher.instance.data().join("registry.db");
    let size = || fs::metadata(&path).expect("the database").len();
    assert!(size() < 4 << 20, "it was moved");
    assert!(!faults.end().is_empty());
    pusher.push(1);
    wait_until("the log is moved", || size() > 4 << 20);
    pusher.verify_all();
}

#[test]
fn a_quota_that_is_used_up_is_a_full_disk() {
    let mut pusher = Pusher::start(Fault::Full);
    pusher.push(0);
    let client = &pusher.client;
    let upload = begin_upload(client, "faults/quota");
    let faults = Faults::inject(&pusher.instance, "pwrite64,fallocate", "EDQUOT", "1+");
    let sentence = ApiError::from(StorageError::Full).to_string();
    let full = |answer: Response| {
        assert_eq!(answer.refused(507, "DENIED").error().1, sentence);
    };
    full(client.request("PATCH", &upload, &[OCTETS], b"content"));
    full(client.request("POST", "/v2/faults/quota/blobs/uploads/", &[], b""));
    full(Manifest::index(&[]).put(client, "faults/quota", "1"));
    full(client.delete("/v2/faults/0/manifests/one"));
    assert!(!faults.end().is_empty());
    client.request("PATCH", &upload, &[OCTETS], b"content").expect(202);
    let finish = format!("{upload}?digest={}", sha256(b"content"));
    client.request("PUT", &finish, &[OCTETS], b"").expect(201);
    pusher.push(1);
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
            // Which thread does what is chance, and so is which of its calls is the K-th; this one
            // is rare and must be among them.
            let hex = Pusher::config(step + 1).1["sha256:".len()..].to_owned();
            let shard = format!("blobs/sha256/{}", &hex[..2]);
            let faults = Faults::inject_at(&pusher.instance, "openat", error, "1", &[&shard]);
            pusher.push(step + 1);
            struck.extend(failed(&faults.end()));
            pusher.verify(step + 1);
            break;
        }
        count += injected.len();
        struck.extend(failed(&injected));
        pusher.verify(step);
    }
    tell(&format!("{count} calls failed with {error}, {} refusals: {struck:?}", pusher.refusals));
    (pusher, struck)
}

/// Which calls failed for which kinds of files.
fn failed(injected: &[(String, String)]) -> impl Iterator<Item = String> {
    injected.iter().map(|(call, path)| format!("{call} {}", kind(path)))
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
