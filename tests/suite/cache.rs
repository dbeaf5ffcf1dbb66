//! A build cache as buildkit pushes it: an index whose children are blobs, layers and a
//! configuration. They are part of it as the layers of an image are.

use std::fs;

use oci::MediaType;
use serde_json::{Value, json};

use crate::support::binary::Instance;
use crate::support::content::{LAYER, Manifest, descriptor, noise, push_blob, push_image, sha256};
use crate::support::http::Client;
use crate::verify::{blob_path, flip};

const CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";

/// The blobs of a cache; the last is its configuration.
fn parts() -> [Vec<u8>; 3] {
    [noise(1, 3000), noise(2, 4000), br#"{"layers":[],"records":[]}"#.to_vec()]
}

/// Pushes a cache as `app:cache`.
fn push(client: &Client) -> Manifest {
    let parts = parts();
    let types = [LAYER, LAYER, CONFIG];
    let children = types.iter().zip(&parts).map(|(kind, part)| descriptor(kind, part));
    let document = json!({ "manifests": children.collect::<Vec<Value>>() });
    parts.iter().for_each(|part| drop(push_blob(client, "app", part)));
    let index = Manifest::new(MediaType::OCI_INDEX, document);
    index.put(client, "app", "cache").expect(201);
    index
}

/// Pulls all of it, as buildkit does.
#[track_caller]
fn pull(client: &Client, index: &Manifest) {
    assert_eq!(client.get("/v2/app/manifests/cache").expect(200).body, index.bytes);
    for part in parts() {
        let path = format!("/v2/app/blobs/{}", sha256(&part));
        assert_eq!(client.get(&path).expect(200).body, part);
    }
}

#[test]
fn the_parts_of_a_cache_stay_while_it_is_there_and_are_counted() {
    let mut instance = Instance::started();
    let client = instance.client();
    let index = push(&client);
    pull(&client, &index);
    let refusal = format!(
        "the manifest {} of this repository names the blob: delete the manifest first",
        index.digest()
    );
    for part in parts() {
        let refused = client.delete(&format!("/v2/app/blobs/{}", sha256(&part)));
        let refused = refused.refused(405, "DENIED");
        assert_eq!(refused.error(), ("DENIED".to_owned(), refusal.clone()));
    }
    pull(&client, &index);
    // A child that is a manifest is no blob; one that was never pushed is nothing.
    let image = push_image(&client, "app", "1", b"layer");
    Manifest::index(&[&image]).put(&client, "app", "list").expect(201);
    client.delete(&format!("/v2/app/blobs/{}", image.digest())).refused(404, "BLOB_UNKNOWN");

    let shown = instance.command(&["inspect"], &["app:cache"]).ok();
    for part in parts() {
        assert!(shown.contains(&format!("{}  ", sha256(&part))), "{shown}");
    }
    assert_eq!(shown.matches("  a blob\n").count(), 3, "{shown}");
    assert!(shown.contains(" in 1 manifest and 3 blobs, each once\ncomplete"), "{shown}");
    let shown = instance.command(&["inspect"], &["app:cache", "--json"]).ok();
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!((&shown["blobs"], &shown["absent_children"]), (&json!(3), &json!(0)));
    let bytes: usize = parts().iter().map(Vec::len).sum();
    assert_eq!(shown["bytes"], bytes + index.bytes.len());
    let told = instance.command(&["rm"], &["app:cache", "--dry-run", "--json"]).ok();
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((&told["blobs"], &told["blob_bytes"]), (&json!(3), &json!(bytes)));
    instance.stop();
}

#[test]
fn a_cache_with_a_lost_part_is_not_there_until_that_is_pushed_again() {
    let mut instance = Instance::started();
    let client = instance.client();
    let index = push(&client);
    let layer = sha256(&parts()[1]);
    flip(&blob_path(instance.data(), &layer));
    for flags in [&["--dry-run"][..], &[]] {
        let told = instance.command(&["verify"], flags);
        let text = String::from_utf8_lossy(&told.out).into_owned();
        assert_eq!(told.code(), Some(1), "{told}");
        assert!(text.contains("3 blobs") && text.contains("  app:cache\n"), "{text}");
    }
    let (code, message) = client.get("/v2/app/manifests/cache").expect(404).error();
    assert_eq!(code, "MANIFEST_UNKNOWN");
    assert!(message.starts_with(&format!("the registry lost {layer}, ")), "{message}");
    let shown = instance.command(&["inspect"], &["app:cache"]);
    let shown = String::from_utf8_lossy(&shown.out).into_owned();
    assert!(shown.contains(&format!("missing: the child {layer} of")), "{shown}");
    push(&client);
    pull(&client, &index);
    instance.command(&["inspect"], &["app:cache"]).ok();
    instance.stop();
}

#[test]
fn collection_takes_a_cache_when_it_cannot_be_restored_any_more() {
    let mut instance = Instance::started();
    let client = instance.client();
    let index = push(&client);
    let gc = |flags: &[&str]| {
        let flags = [&["--grace", "0s", "--json"], flags].concat();
        let done = instance.command(&["gc"], &flags).ok();
        serde_json::from_str::<Value>(&done).expect("JSON")["blobs"].as_u64()
    };
    assert_eq!(gc(&[]), Some(0));
    pull(&client, &index);
    client.delete(&format!("/v2/app/manifests/{}", index.digest())).expect(202);
    assert_eq!(gc(&[]), Some(0));
    instance.command(&["tag", "restore"], &["app:cache"]).ok();
    pull(&client, &index);
    instance.command(&["rm"], &["app:cache"]).ok();
    assert_eq!(gc(&["--undo-time", "0s"]), Some(3));
    for part in parts() {
        assert!(fs::metadata(blob_path(instance.data(), &sha256(&part))).is_err());
    }
    instance.stop();
}
