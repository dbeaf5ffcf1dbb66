//! The model bites: what it must find is found, and what may be is no fault.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use oci::Digest;

use super::Load;
use super::content::Content;
use super::model::{Change, Name};
use super::shared::{Outcome, Shared};
use crate::support::http::{Client, Response};
use crate::support::process::wait_until;
use crate::support::server::Server;

#[test]
fn a_load_finds_what_is_lost_and_what_is_wrong() {
    let server = Server::start();
    let client = server.administrator();
    let mut load = Load::new(&client, 2, 1);
    load.run(|tally| {
        let is_enough = || tally.of("PUT manifest", 201) > 20 || tally.has_failed();
        wait_until("some manifests are pushed", is_enough);
    });
    load.check(true);
    let (repository, tag) = some_tag(&client);
    let path = format!("/v2/{repository}/manifests/{tag}");
    let manifest = client.get(&path).expect(200);
    let digest = manifest.must("docker-content-digest").to_owned();
    let layer = manifest.json()["layers"][0]["digest"].as_str().expect("a layer").to_owned();
    let file = file_of(&server.data(), &layer);
    let bytes = fs::read(&file).expect("the layer's file");

    client.delete(&path).expect(202);
    finds(&mut load, &format!("manifests/{tag} is nothing, not {digest}"));
    put(&client, &path, &manifest);
    load.check(true);

    let by_digest = format!("/v2/{repository}/manifests/{digest}");
    client.delete(&by_digest).expect(202);
    finds(&mut load, &format!("manifests/{digest} is nothing, not {digest}"));
    put(&client, &path, &manifest);

    fs::write(&file, vec![b'?'; bytes.len()]).expect("other bytes");
    // Small ones are held against their digest before they leave: who asks hears that it is lost.
    if bytes.len() > HASHED_BYTES {
        finds(&mut load, &format!("blobs/{layer} has other bytes"));
        fs::remove_file(&file).expect("no file");
    }
    finds(&mut load, &format!("blobs/{layer} is nothing, not {layer}"));
}

#[test]
fn the_last_of_two_changes_counts_and_either_of_two_at_once() {
    let shared = Shared::new(&Content::common());
    let [first, second] = [0, 1].map(|index| shared.documents[index].clone());
    let tag = Name::Tag("a".to_owned());
    let put = |document| Change::Put(std::sync::Arc::clone(document), Some("a".to_owned()));
    let may_be = |value: Option<Digest>| {
        let mut found = BTreeMap::from([((0, tag.clone()), value)]);
        for document in [&first, &second] {
            found.insert((0, Name::Manifest(document.digest)), Some(document.digest));
            for blob in &document.blobs {
                found.insert((0, Name::Blob(blob.digest)), Some(blob.digest));
            }
        }
        !shared.settle(&found, None).iter().any(|fault| fault.contains("manifests/a"))
    };
    let done = |change: &Change| shared.end(&shared.begin(0, change), Outcome::Done);

    done(&put(&first));
    done(&put(&second));
    assert!(!may_be(Some(first.digest)), "the second replaced it");
    done(&put(&second));
    assert!(may_be(Some(second.digest)));

    for seen in [&first, &second] {
        let tickets = [&first, &second].map(|document| shared.begin(0, &put(document)));
        tickets.iter().for_each(|ticket| shared.end(ticket, Outcome::Done));
        assert!(may_be(Some(seen.digest)), "they were under way at once");
    }

    shared.end(&shared.begin(0, &put(&first)), Outcome::Unknown);
    assert!(may_be(Some(second.digest)), "nobody said that it was replaced");
    shared.end(&shared.begin(0, &put(&first)), Outcome::Refused);
    assert!(!may_be(Some(first.digest)), "it was refused");

    done(&put(&second));
    done(&Change::Delete(first.digest));
    assert!(!may_be(None), "another manifest was deleted");
    done(&put(&second));
    done(&Change::Delete(second.digest));
    assert!(may_be(None), "the tags of a manifest go with it");
}

#[track_caller]
fn finds(load: &mut Load, fault: &str) {
    let faults = load.faults(true).expect("a server that answers");
    assert!(faults.iter().any(|found| found.contains(fault)), "{fault}: {faults:#?}");
}

/// A tag of an image in a repository that belongs to one client.
fn some_tag(client: &Client) -> (String, String) {
    for repository in ["load/00/0", "load/00/1", "load/01/0", "load/01/1"] {
        let tags = client.get(&format!("/v2/{repository}/tags/list")).json();
        for tag in tags["tags"].as_array().into_iter().flatten() {
            let tag = tag.as_str().expect("a tag");
            let manifest = client.get(&format!("/v2/{repository}/manifests/{tag}")).expect(200);
            if manifest.json()["layers"][0]["size"].as_u64() > Some(0) {
                return (repository.to_owned(), tag.to_owned());
            }
        }
    }
    panic!("no tag names an image with a layer");
}

fn put(client: &Client, path: &str, manifest: &Response) {
    let media_type = manifest.must("content-type");
    client.request("PUT", path, &[("Content-Type", media_type)], &manifest.body).expect(201);
}

fn file_of(data: &Path, digest: &str) -> PathBuf {
    let (algorithm, hex) = digest.split_once(':').expect("a digest");
    data.join("blobs").join(algorithm).join(&hex[..2]).join(hex)
}

/// Blobs of at most so many bytes are hashed before they are served.
const HASHED_BYTES: usize = 1024 * 1024;
