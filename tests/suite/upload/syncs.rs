//! What the end of an upload costs the disk: as few syncs as what it promises takes, and most of
//! them shared with others who come at the same time.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use crate::support::binary::Instance;
use crate::support::content::{OCTETS, begin_upload, noise, push_blob, sha256};
use crate::support::http::Client;
use crate::support::report::tell;
use crate::support::strace::Faults;

const CLIENTS: usize = 32;

#[test]
fn a_push_alone_syncs_its_bytes_its_name_and_its_row() {
    let instance = Instance::started();
    let client = instance.client();
    // So that the log of the database has its header.
    push_blob(&client, "first", b"first");
    let bytes = noise(200, 3000);
    let location = begin_upload(&client, "alone");
    let faults = Faults::delay(&instance, "fdatasync,fsync", Duration::from_millis(1));
    finish(&client, &location, &bytes);
    let mut synced = faults.end();
    for (_, path) in &mut synced {
        *path = path.split("/data/").last().expect("a path").to_owned();
    }
    let id = location.rsplit('/').next().expect("an id");
    let shard = format!("blobs/sha256/{}", &sha256(&bytes)["sha256:".len()..][..2]);
    let log = ("fdatasync".to_owned(), "registry.db-wal".to_owned());
    // The clock is kept in a row, too, once a minute, whatever is under way.
    let own = synced.iter().filter(|sync| **sync != log).cloned();
    assert_eq!(synced.last(), Some(&log));
    let synced: Vec<_> = own.chain([log.clone()]).collect();
    let expected = [("fdatasync", format!("uploads/{id}")), ("fsync", shard)];
    let expected = expected.map(|(call, path)| (call.to_owned(), path));
    assert_eq!(synced, [expected.as_slice(), &[log]].concat());
}

#[test]
fn pushes_that_come_at_once_share_the_syncs_of_their_rows() {
    let instance = Instance::started();
    let client = instance.client();
    let uploads: Vec<(Client, String, Vec<u8>)> = (0..CLIENTS)
        .map(|number| {
            let location = begin_upload(&client, "crowd");
            (client.again(), location, noise(300 + number as u64, 2000 + number))
        })
        .collect();
    // Long enough that all have come when the second group begins.
    let faults = Faults::delay(&instance, "fdatasync,fsync", Duration::from_millis(300));
    let start = Barrier::new(CLIENTS);
    thread::scope(|scope| {
        for (client, location, bytes) in &uploads {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                finish(client, location, bytes);
            });
        }
    });
    let synced = faults.end();
    let of = |part: &str| synced.iter().filter(|(_, path)| path.contains(part)).count();
    let (files, names, rows) = (of("/uploads/"), of("/blobs/"), of("registry.db-wal"));
    tell(&format!("{CLIENTS} pushes at once: their rows took {rows} syncs"));
    assert_eq!((files, names), (CLIENTS, CLIENTS), "{synced:?}");
    assert!((1..=8).contains(&rows), "{synced:?}");
    for (_, _, bytes) in &uploads {
        let blob = client.get(&format!("/v2/crowd/blobs/{}", sha256(bytes))).expect(200);
        assert!(blob.body == *bytes, "wrong bytes");
    }
}

fn finish(client: &Client, location: &str, bytes: &[u8]) {
    let path = format!("{location}?digest={}", sha256(bytes));
    client.request("PUT", &path, &[OCTETS], bytes).expect(201);
}
