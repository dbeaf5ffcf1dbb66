//! What the end of an upload costs the disk: as few syncs as what it promises takes.

use std::time::Duration;

use crate::support::binary::Instance;
use crate::support::content::{OCTETS, begin_upload, noise, push_blob, sha256};
use crate::support::http::Client;
use crate::support::strace::Faults;

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
    // The clock is kept in a row, too, once a minute.
    synced.dedup();
    let expected = [("fdatasync", format!("uploads/{id}")), ("fsync", shard)];
    let expected = expected.map(|(call, path)| (call.to_owned(), path));
    assert_eq!(synced, [expected.as_slice(), &[log]].concat());
}

fn finish(client: &Client, location: &str, bytes: &[u8]) {
    let path = format!("{location}?digest={}", sha256(bytes));
    client.request("PUT", &path, &[OCTETS], bytes).expect(201);
}
