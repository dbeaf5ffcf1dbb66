//! The server's own peak of memory, which must not grow with what is pushed.

use std::io::Write;
use std::path::Path;
use std::process::Child;

use aws_lc_rs::digest::{Context, SHA256};

use crate::support::binary::Instance;
use crate::support::clients::Curl;
use crate::support::images::noise;
use crate::support::report::{skip, tell};

const MIB: usize = 1 << 20;

#[test]
fn a_blob_of_five_gibibytes_needs_less_than_64_mebibytes() {
    const PIECES: usize = 5 * 1024;
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    if !has_room(directory, (PIECES + 1024) * MIB) {
        skip(&format!("{} has less than 6 GiB free", directory.display()));
        return;
    }
    let mut instance = Instance::in_directory(directory);
    instance.start();
    let curl = Curl::of(&instance);
    let upload = curl.begin_upload("large");
    let (mut stream, mut hash) = (curl.stream(&upload), Context::new(&SHA256));
    let mut piece = noise(1, MIB);
    for number in 0..PIECES {
        // Every piece differs, so that one that is lost or doubled shows.
        piece[..8].copy_from_slice(&number.to_le_bytes());
        send(&mut stream, &piece);
        hash.update(&piece);
    }
    let answer = Curl::end_of_stream(stream).expect(202);
    assert_eq!(answer.offset(), (PIECES * MIB) as u64);
    let digest = digest(hash);
    curl.request("PUT", &format!("{}?digest={digest}", answer.location)).expect(201);
    curl.request("HEAD", &format!("/v2/large/blobs/{digest}")).expect(200);
    hold("a push of 5 GiB", &instance, 64);
}

#[test]
fn sixty_four_uploads_at_once_need_less_than_128_mebibytes() {
    const UPLOADS: usize = 64;
    const PIECES: usize = 16;
    let mut instance = Instance::in_directory(Path::new(env!("CARGO_TARGET_TMPDIR")));
    instance.start();
    let curl = Curl::of(&instance);
    let mut uploads: Vec<(Child, Context)> = (0..UPLOADS)
        .map(|number| {
            let upload = curl.begin_upload(&format!("many/{number}"));
            (curl.stream(&upload), Context::new(&SHA256))
        })
        .collect();
    // Every upload gets a piece before any gets the next one, so all are open until the end.
    for number in 0..PIECES {
        let piece = noise(number as u64, MIB);
        for (stream, hash) in &mut uploads {
            send(stream, &piece);
            hash.update(&piece);
        }
    }
    for (stream, hash) in uploads {
        let answer = Curl::end_of_stream(stream).expect(202);
        let location = format!("{}?digest={}", answer.location, digest(hash));
        curl.request("PUT", &location).expect(201);
    }
    hold("64 uploads of 16 MiB at once", &instance, 128);
}

/// Prints the server's peak and checks that it stays below a bound in MiB.
fn hold(what: &str, instance: &Instance, bound: u64) {
    let peak = instance.peak_memory();
    tell(&format!("{what}: the server's peak is {} KiB", peak / 1024));
    assert!(peak < bound * MIB as u64, "{what}: {peak} bytes, the bound is {bound} MiB");
}

fn send(stream: &mut Child, bytes: &[u8]) {
    let sent = stream.stdin.as_mut().expect("a pipe").write_all(bytes);
    sent.expect("the server takes the bytes");
}

fn digest(hash: Context) -> String {
    let hex: String = hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn has_room(directory: &Path, bytes: usize) -> bool {
    let space = rustix::fs::statvfs(directory).expect("the file system's state");
    space.f_bavail * space.f_frsize > bytes as u64
}
