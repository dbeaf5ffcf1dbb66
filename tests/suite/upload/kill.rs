//! A server that is killed, or whose disk does not sync, at a chosen moment of the request that
//! ends an upload; and how little many pushes of one layer cost the disk.

use std::fs;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use crate::support::binary::Instance;
use crate::support::content::{OCTETS, begin_upload, noise, push_blob, sha256};
use crate::support::http::Client;
use crate::support::process::wait_until;
use crate::support::report::tell;
use crate::support::strace::Faults;

/// The file of a blob, and the directory that it lies in.
fn file_of(digest: &str) -> (String, String) {
    let hex = &digest["sha256:".len()..];
    let shard = format!("blobs/sha256/{}", &hex[..2]);
    (format!("{shard}/{hex}"), shard)
}

fn close(client: &Client, location: &str, digest: &str) -> Option<u16> {
    let path = format!("{location}?digest={digest}");
    Some(client.try_alone("PUT", &path, &[OCTETS], b"")?.status)
}

/// An upload of these bytes whose PATCH was acknowledged.
fn uploaded(client: &Client, repository: &str, bytes: &[u8]) -> String {
    let location = begin_upload(client, repository);
    client.request("PATCH", &location, &[OCTETS], bytes).expect(202);
    location
}

/// Ends an upload with a server that is killed at these calls about these files.
fn kill_at(instance: &mut Instance, calls: &str, files: &[&str], location: &str, digest: &str) {
    let faults = Faults::kill_at(instance, calls, files);
    assert_eq!(close(&instance.client(), location, digest), None, "{calls}: it was answered");
    faults.end_with_server();
    instance.wait();
}

#[test]
fn an_upload_goes_on_whenever_its_last_request_is_killed() {
    let mut instance = Instance::started();
    for (number, row) in [false, true].into_iter().enumerate() {
        for moment in ["sync", "rename", "name", "row"] {
            let bytes = noise(100 + number as u64 * 10 + moment.len() as u64, 20_000);
            let digest = sha256(&bytes);
            if row {
                push_blob(&instance.client(), "others", &bytes);
            }
            let location = uploaded(&instance.client(), "killed", &bytes);
            let upload = format!("uploads/{}", location.rsplit('/').next().expect("an id"));
            let (_, shard) = file_of(&digest);
            let (calls, file) = match moment {
                "sync" => ("fdatasync", &upload),
                "rename" => ("rename", &upload),
                // The name is there, and nobody has synced it or written its row.
                "name" => ("fsync", &shard),
                // The row is there, and the files of the upload are not gone.
                _ => ("unlink", &upload),
            };
            kill_at(&mut instance, calls, &[file], &location, &digest);
            instance.start();
            let client = instance.client();
            let (status, again) =
                (client.get(&location).status, close(&client, &location, &digest));
            assert_eq!(again, Some(201), "{moment}, {row}: it stood at {status}");
            let blob = client.get(&format!("/v2/killed/blobs/{digest}")).expect(200);
            assert!(blob.body == bytes, "{moment}, {row}: wrong bytes");
            assert_eq!(close(&client, &location, &digest), Some(201), "{moment}, {row}");
            client.get(&location).expect(404);
        }
    }
    let run = instance.command(&["verify"], &["--json"]);
    assert_eq!(run.code(), Some(0), "{run}");
}

#[test]
fn an_upload_that_was_killed_before_its_row_stands_where_it_stood() {
    let mut instance = Instance::started();
    let bytes = noise(130, 20_000);
    let digest = sha256(&bytes);
    let location = uploaded(&instance.client(), "killed", &bytes);
    let (file, shard) = file_of(&digest);
    kill_at(&mut instance, "fsync", &[&shard], &location, &digest);
    assert!(instance.data().join(&file).exists(), "it was not killed between name and row");
    instance.start();
    // Collection does not take for nobody's what belongs to an upload.
    instance.command(&["gc"], &["--grace", "0s", "--undo-time", "0s"]).ok();
    let client = instance.client();
    let status = client.get(&location).expect(204);
    assert_eq!(status.must("range"), "0-19999");
    assert!(!instance.data().join(&file).exists(), "a later PATCH would change a blob");
    client.request("PATCH", &location, &[OCTETS], b"more").expect(202);
    let whole = [&bytes, b"more".as_slice()].concat();
    assert_eq!(close(&client, &location, &sha256(&whole)), Some(201));
    client.get(&format!("/v2/killed/blobs/{digest}")).expect(404);
}

#[test]
fn the_bytes_of_a_killed_upload_go_to_nobody_who_pushed_the_same_before() {
    let mut instance = Instance::started();
    let bytes = noise(135, 20_000);
    let digest = sha256(&bytes);
    let client = instance.client();
    let before: Vec<String> = (0..20).map(|_| uploaded(&client, "before", &bytes)).collect();
    for location in &before {
        assert_eq!(close(&client, location, &digest), Some(201));
    }
    client.delete(&format!("/v2/before/blobs/{digest}")).expect(202);
    instance.command(&["gc"], &["--grace", "0s", "--undo-time", "0s"]).ok();
    let (file, shard) = file_of(&digest);
    assert!(!instance.data().join(&file).exists(), "it was not collected");
    let location = uploaded(&client, "killed", &bytes);
    kill_at(&mut instance, "fsync", &[&shard], &location, &digest);
    assert!(instance.data().join(&file).exists(), "it was not killed between name and row");
    instance.start();
    let client = instance.client();
    assert_eq!(client.get(&location).expect(204).must("range"), "0-19999");
    assert_eq!(close(&client, &location, &digest), Some(201));
    assert!(client.get(&format!("/v2/killed/blobs/{digest}")).expect(200).body == bytes);
    // Those have heard it, and it is not there any more.
    for location in &before {
        assert_eq!(close(&client, location, &digest), Some(404));
    }
    client.get(&format!("/v2/before/blobs/{digest}")).expect(404);
}

#[test]
fn a_name_that_is_not_synced_takes_nothing_away_that_a_row_names() {
    let instance = Instance::started();
    let client = instance.client();
    let bytes = noise(140, 20_000);
    let digest = push_blob(&client, "a", &bytes);
    let (file, shard) = file_of(&digest);
    // Too short, so that a push was not dropped before either.
    fs::write(instance.data().join(&file), &bytes[..100]).expect("a torn file");
    let location = uploaded(&client, "b", &bytes);
    let faults = Faults::inject_at(&instance, "fsync", "EIO", "1+", &[&shard]);
    assert_eq!(close(&client, &location, &digest), Some(500));
    assert!(!faults.end().is_empty());
    // The bytes are right and stay; the upload is over, since nothing of it is synced again.
    let blob = client.get(&format!("/v2/a/blobs/{digest}")).expect(200);
    assert!(blob.body == bytes, "wrong bytes");
    client.get(&location).expect(404);
    assert_eq!(close(&client, &location, &digest), Some(404));
    push_blob(&client, "b", &bytes);
    let log = instance.errors();
    assert!(log.contains("Input/output error"), "{log}");
}

#[test]
fn sixty_four_clients_that_push_one_layer_at_once_cost_a_few_syncs() {
    const CLIENTS: usize = 64;
    let instance = Instance::started();
    let client = instance.client();
    let bytes = noise(150, 100_000);
    let digest = sha256(&bytes);
    let name = |number: usize| format!("team/{number}");
    let uploads: Vec<(Client, String)> = (0..CLIENTS)
        .map(|number| (client.again(), uploaded(&client, &name(number), &bytes)))
        .collect();
    // Long enough that all have come when the second one publishes.
    let faults = Faults::delay(&instance, "fdatasync,fsync", Duration::from_millis(300));
    let start = Barrier::new(CLIENTS);
    thread::scope(|scope| {
        for (client, location) in &uploads {
            let (start, digest) = (&start, &digest);
            scope.spawn(move || {
                start.wait();
                assert_eq!(close(client, location, digest), Some(201));
            });
        }
    });
    let synced = faults.end();
    let of = |part: &str| synced.iter().filter(|(_, path)| path.contains(part)).count();
    let (files, names, all) = (of("/uploads/"), of("/blobs/"), synced.len());
    tell(&format!("{CLIENTS} pushes of one layer at once: {files} files synced, {all} syncs"));
    assert!((1..=8).contains(&files) && files == names, "{synced:?}");
    for number in 0..CLIENTS {
        client.get(&format!("/v2/{}/blobs/{digest}", name(number))).expect(200);
    }
    wait_until("all files of uploads are gone", || {
        let uploads = fs::read_dir(instance.data().join("uploads")).expect("uploads");
        uploads.flatten().all(|entry| entry.path().extension().is_some())
    });
}
