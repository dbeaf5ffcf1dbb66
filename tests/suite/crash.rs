//! What survives: a process that is killed in the middle of its work, and one that is asked to
//! stop.

use std::fs;
use std::io::{self, Write};
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;

use crate::support::binary::Instance;
use crate::support::clients::{Answer, Curl};
use crate::support::disk::SmallDisk;
use crate::support::images::{Family, Image, Manifest, noise, sha256};
use crate::support::process::wait_until;
use crate::support::report::{skip, tell};

const PUSHES: usize = 100;
const CLIENTS: usize = 8;
const OCTETS: &str = "application/octet-stream";
const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

#[test]
fn what_was_acknowledged_survives_a_kill_in_the_middle_of_a_hundred_pushes() {
    let mut instance = Instance::started();
    let curl = Curl::of(&instance);
    let content = noise(1, 6 << 20);
    let upload = curl.begin_upload("interrupted");
    let stream = halfway(&curl, &upload, &content[..4 << 20]);

    let (next, kept) = (AtomicUsize::new(0), Mutex::new(Vec::<Kept>::new()));
    let pushes = || lock(&kept).iter().filter(|kept| kept.is_image()).count();
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| push_until_failure(&curl, &next, &kept));
        }
        wait_until("half of the pushes are acknowledged", || pushes() >= PUSHES / 2);
        instance.kill();
    });
    assert_eq!(Curl::end_of_stream(stream).status, 0);
    let acknowledged = pushes();
    tell(&format!("acknowledged before the kill: {acknowledged} of {PUSHES} pushes"));
    assert!(acknowledged < PUSHES, "all pushes ended before the kill");

    instance.start();
    verify(&curl, lock(&kept).as_slice());
    resume(&curl, "interrupted", &upload, &content);
    // What was cut off can be done again.
    next.store(PUSHES - CLIENTS, Ordering::Relaxed);
    push_until_failure(&curl, &next, &kept);
    assert_eq!(pushes(), acknowledged + CLIENTS);
}

#[test]
fn a_server_that_is_asked_to_stop_lets_uploads_end_and_keeps_their_sessions() {
    let mut instance = Instance::started();
    let curl = Curl::of(&instance);
    let content = noise(2, 4 << 20);
    let (first, rest) = content.split_at(content.len() / 2);
    let untouched = curl.begin_upload("untouched");
    curl.send("PATCH", &untouched, OCTETS, first).expect(202);
    let upload = curl.begin_upload("stopping");
    let mut stream = halfway(&curl, &upload, first);

    instance.ask_to_stop();
    wait_until("the server stops", || instance.errors().contains("stopping"));
    wait_until("no new connection is served", || curl.request("GET", "/v2/").status == 0);
    stream.stdin.as_mut().expect("a pipe").write_all(rest).expect("the server reads on");
    let answer = Curl::end_of_stream(stream).expect(202);
    assert_eq!(answer.offset(), content.len() as u64);
    assert_eq!(instance.wait().code(), Some(0), "{}", instance.errors());
    assert!(!instance.data().join("registry.sock").exists());

    instance.start();
    assert_eq!(curl.request("GET", &upload).expect(204).offset(), content.len() as u64);
    finish(&curl, "stopping", &upload, &content);
    resume(&curl, "untouched", &untouched, &content);
}

#[test]
fn a_full_disk_refuses_pushes_and_serves_pulls() {
    let Some(disk) = SmallDisk::mount() else {
        skip("this machine lets nobody mount a small disk to fill");
        return;
    };
    let mut instance = Instance::new().with_data(disk.path().join("data"));
    instance.start();
    let (curl, kept) = (Curl::of(&instance), Mutex::new(Vec::new()));
    push(&curl, 0, &kept).expect("there is room yet");
    let filler = disk.path().join("filler");
    let full = fs::write(&filler, vec![0; SmallDisk::BYTES]).expect_err("the disk is too small");
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);

    let image = Image::new(Family::Oci, "amd64", b"no room");
    let upload = format!("/v2/a/blobs/uploads/?digest={}", sha256(&image.layer));
    let manifest = lock(&kept).last().map(|kept| kept.path.clone()).expect("a manifest");
    let bytes = curl.request("GET", &manifest).expect(200).body;
    for _ in 0..3 {
        curl.send("POST", &upload, OCTETS, &image.layer).expect(507);
        curl.send("PUT", &format!("{manifest}-again"), OCI_IMAGE, &bytes).expect(507);
    }
    verify(&curl, lock(&kept).as_slice());
    fs::remove_file(filler).expect("the filler goes");
    curl.send("POST", &upload, OCTETS, &image.layer).expect(201);
    curl.send("PUT", &format!("{manifest}-again"), OCI_IMAGE, &bytes).expect(201);
    instance.stop();
}

/// Starts an upload whose body stops after `sent`, and waits until the server has all of that.
fn halfway(curl: &Curl, upload: &str, sent: &[u8]) -> Child {
    let mut stream = curl.stream(upload);
    stream.stdin.as_mut().expect("a pipe").write_all(sent).expect("the server reads");
    // curl and the server gather bytes before they pass them on, so the end may lie in a buffer.
    wait_until("the server has most of it", || {
        curl.request("GET", upload).expect(204).offset() > sent.len() as u64 / 2
    });
    stream
}

/// Goes on with an upload from where the server says it stands, to a good blob.
fn resume(curl: &Curl, repository: &str, upload: &str, content: &[u8]) {
    let offset = curl.request("GET", upload).expect(204).offset();
    let offset = usize::try_from(offset).expect("an offset within the content");
    assert!(offset > 1 && offset < content.len(), "the upload stands at {offset}");
    let answer = append(curl, upload, offset, &content[offset..]).expect(202);
    assert_eq!(answer.offset(), content.len() as u64);
    finish(curl, repository, &answer.location, content);
}

/// Makes a blob of an upload that has all its bytes, and reads it back.
fn finish(curl: &Curl, repository: &str, upload: &str, content: &[u8]) {
    let digest = sha256(content);
    put(curl, upload, &digest, b"").expect(201);
    verify(curl, &[Kept { path: format!("/v2/{repository}/blobs/{digest}"), digest }]);
}

fn append(curl: &Curl, upload: &str, offset: usize, bytes: &[u8]) -> Answer {
    let range = format!("Content-Range: {offset}-{}", offset + bytes.len() - 1);
    curl.send_with("PATCH", upload, &[&range, &format!("Content-Type: {OCTETS}")], bytes)
}

fn put(curl: &Curl, upload: &str, digest: &str, rest: &[u8]) -> Answer {
    curl.send("PUT", &format!("{upload}?digest={digest}"), OCTETS, rest)
}

/// Something whose push was acknowledged: where it is, and the digest of its bytes.
struct Kept {
    path: String,
    digest: String,
}

impl Kept {
    fn is_image(&self) -> bool {
        self.path.contains("/manifests/")
    }
}

/// Checks that everything is there with the right bytes.
fn verify(curl: &Curl, kept: &[Kept]) {
    thread::scope(|scope| {
        for share in kept.chunks(kept.len().div_ceil(CLIENTS)) {
            scope.spawn(move || {
                for Kept { path, digest } in share {
                    assert_eq!(&sha256(&curl.request("GET", path).expect(200).body), digest);
                }
            });
        }
    });
}

/// Pushes images, each with a number of its own, until something is not acknowledged.
fn push_until_failure(curl: &Curl, next: &AtomicUsize, kept: &Mutex<Vec<Kept>>) {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= PUSHES || push(curl, number, kept).is_none() {
            return;
        }
    }
}

/// Pushes an image and notes what was acknowledged; none if something was not.
fn push(curl: &Curl, number: usize, kept: &Mutex<Vec<Kept>>) -> Option<()> {
    let repository = format!("crash/{}", number % 7);
    let content = noise(number as u64, 1 + number * 7919 % (512 << 10));
    let image = Image::new(Family::Oci, "amd64", &content);
    for (way, blob) in [(number % 3, &image.layer), (0, &image.config)] {
        let digest = sha256(blob);
        let status = push_blob(curl, &repository, blob, &digest, way)?.status;
        (status == 201).then_some(())?;
        let path = format!("/v2/{repository}/blobs/{digest}");
        lock(kept).push(Kept { path, digest });
    }
    let path = format!("/v2/{repository}/manifests/{number}");
    let Manifest { media_type, bytes, .. } = &image.manifest;
    (curl.send("PUT", &path, media_type, bytes).status == 201).then_some(())?;
    lock(kept).push(Kept { path, digest: image.manifest.digest() });
    Some(())
}

/// Pushes a blob in one of the ways that clients use; none if a step was not acknowledged.
fn push_blob(
    curl: &Curl,
    repository: &str,
    blob: &[u8],
    digest: &str,
    way: usize,
) -> Option<Answer> {
    let uploads = format!("/v2/{repository}/blobs/uploads/");
    if way == 0 {
        return Some(curl.send("POST", &format!("{uploads}?digest={digest}"), OCTETS, blob));
    }
    let begun = curl.request("POST", &uploads);
    (begun.status == 202).then_some(())?;
    if way == 1 {
        return Some(put(curl, &begun.location, digest, blob));
    }
    let (first, rest) = blob.split_at(blob.len() / 2);
    let first = append(curl, &begun.location, 0, first);
    (first.status == 202).then_some(())?;
    Some(put(curl, &first.location, digest, rest))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no client panicked")
}
