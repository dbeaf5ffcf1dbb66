//! All that a registry gives to whoever asks it: what names stand for, and every byte that can be
//! reached from there.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::content::sha256;
use crate::support::http::Client;

/// What each tag names, and each manifest and blob that can be reached from one, by repository,
/// with its length. All of it was read, and is what its digest says.
pub(super) fn shown(client: &Client) -> BTreeMap<String, String> {
    let mut shown = BTreeMap::new();
    look(client, &mut shown);
    shown
}

/// Adds what is there by now to what was seen before, which is not read again.
pub(super) fn look(client: &Client, shown: &mut BTreeMap<String, String>) {
    for repository in list(client, "/v2/_catalog", "repositories") {
        for tag in list(client, &format!("/v2/{repository}/tags/list"), "tags") {
            let manifest = client.get(&format!("/v2/{repository}/manifests/{tag}")).expect(200);
            let digest = sha256(&manifest.body);
            follow(client, &repository, &digest, shown);
            shown.insert(format!("{repository}:{tag}"), digest);
        }
    }
}

/// Reads a manifest, what it names and what refers to it.
fn follow(client: &Client, repository: &str, digest: &str, shown: &mut BTreeMap<String, String>) {
    let path = format!("/v2/{repository}/manifests/{digest}");
    let Some(bytes) = take(client, repository, digest, &path, shown) else { return };
    let manifest: Value = serde_json::from_slice(&bytes).expect("a manifest");
    for blob in parts(&manifest["layers"]).chain(digest_of(&manifest["config"])) {
        let path = format!("/v2/{repository}/blobs/{blob}");
        take(client, repository, &blob, &path, shown);
    }
    let referrers = client.get(&format!("/v2/{repository}/referrers/{digest}")).expect(200).json();
    for manifest in parts(&manifest["manifests"]).chain(parts(&referrers["manifests"])) {
        follow(client, repository, &manifest, shown);
    }
}

/// Reads what lies there and was not read before.
fn take(
    client: &Client,
    repository: &str,
    digest: &str,
    path: &str,
    shown: &mut BTreeMap<String, String>,
) -> Option<Vec<u8>> {
    let key = format!("{repository}@{digest}");
    if shown.contains_key(&key) {
        return None;
    }
    let bytes = client.get(path).expect(200).body;
    assert_eq!(sha256(&bytes), digest, "{key}");
    shown.insert(key, bytes.len().to_string());
    Some(bytes)
}

fn list(client: &Client, path: &str, name: &str) -> Vec<String> {
    let page = client.get(path).expect(200);
    assert_eq!(page.header("link"), None, "{path} has more than a page");
    let names = page.json()[name].as_array().expect("a list").clone();
    names.iter().map(|name| name.as_str().expect("a name").to_owned()).collect()
}

fn parts(list: &Value) -> impl Iterator<Item = String> {
    list.as_array().into_iter().flatten().filter_map(digest_of)
}

fn digest_of(descriptor: &Value) -> Option<String> {
    descriptor["digest"].as_str().map(str::to_owned)
}
