//! What bullies do with manifests and lists that are as large as they may be.

use std::sync::atomic::{AtomicUsize, Ordering};

use oci::MediaType;
use serde_json::json;

use super::attack::{Attack, CROWD, Scene, State, hurried};
use crate::support::content::{Manifest, push_image, sha256};
use crate::support::http::Client;

/// Indexes of as many absent children as there may be, each time others.
pub(super) fn absent_children(scene: &Scene) -> Attack {
    let client = scene.bully.again();
    let number = AtomicUsize::new(0);
    Attack::begin(6, 6, move |state, _| {
        // Too many, and as many as are taken.
        let number = number.fetch_add(1, Ordering::Relaxed);
        let children = if number.is_multiple_of(2) { MOST } else { TAKEN };
        let body = of_absent_children(number, children);
        let headers = [("Content-Type", MediaType::OCI_INDEX)];
        let answer = client.request("PUT", "/v2/bully/manifests/a", &headers, body.as_bytes());
        assert!(matches!(answer.status, 201 | 400), "{answer:?}");
        state.strike();
    })
}

/// Manifests whose client is gone as soon as the last byte is sent.
pub(super) fn sends_and_goes(scene: &Scene) -> Attack {
    let client = scene.bully.again();
    let body = of_absent_layers(1, MOST);
    Attack::begin(24, 48, move |state, _| {
        let Ok(mut connection) = client.try_connect() else { return state.rest() };
        let length = body.len().to_string();
        let headers =
            [("Content-Type", MediaType::OCI_MANIFEST), ("Content-Length", length.as_str())];
        connection.send(client.head_of("PUT", "/v2/bully/manifests/a", &headers));
        if connection.try_send(body.as_bytes()).is_ok() {
            state.strike();
        }
    })
}

/// Lists of long tags that nobody reads.
pub(super) fn unread_lists(scene: &Scene) -> Attack {
    push_long_tags(&scene.bully, "bully", 1000);
    let client = scene.bully.again();
    unread(client, CROWD, "/v2/bully/tags/list")
}

/// Manifests of 4 MiB that nobody reads.
pub(super) fn unread_manifests(scene: &Scene) -> Attack {
    let client = scene.bully.again();
    long_manifest().put(&client, "bully", "long").expect(201);
    unread(client, CROWD, "/v2/bully/manifests/long")
}

fn unread(client: Client, count: usize, path: &'static str) -> Attack {
    Attack::begin(count, count, move |state: &State, _| {
        let Some(mut connection) = hurried(&client) else { return state.rest() };
        // More than the kernel takes for somebody who does not read.
        connection.send(client.head_of("GET", path, &[]).repeat(8));
        state.strike();
        while state.goes_on() {
            state.rest();
        }
    })
}

/// So many tags of 128 characters for one image.
pub(super) fn push_long_tags(client: &Client, repository: &str, count: usize) {
    let image = push_image(client, repository, "1", b"layer");
    for first in (0..count).step_by(100) {
        let tags = (first..first + 100).map(|number| format!("tag={}{number:08}", "t".repeat(120)));
        let tags: Vec<String> = tags.collect();
        let reference = format!("{}?{}", image.digest(), tags.join("&"));
        image.put(client, repository, &reference).expect(201);
    }
}

/// A manifest of nearly 4 MiB.
pub(super) fn long_manifest() -> Manifest {
    let annotations = json!({ "a": "x".repeat((4 << 20) - 1000) });
    Manifest::new(MediaType::OCI_INDEX, json!({ "manifests": [], "annotations": annotations }))
}

/// An image with so many layers that are not there.
pub(super) fn of_absent_layers(seed: usize, count: usize) -> String {
    let config = format!(r#"{{"mediaType":"","digest":"{}","size":2}}"#, sha256(b"{}"));
    let layers = absent(seed, count);
    format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layers}]}}"#)
}

/// An index of so many manifests that are not there.
pub(super) fn of_absent_children(seed: usize, count: usize) -> String {
    let (kind, children) = (MediaType::OCI_INDEX, absent(seed, count));
    format!(r#"{{"schemaVersion":2,"mediaType":"{kind}","manifests":[{children}]}}"#)
}

fn absent(seed: usize, count: usize) -> String {
    let descriptor = |number: usize| {
        let hex = &sha256(format!("{seed} {number}").as_bytes())[7..];
        format!(r#"{{"mediaType":"","digest":"sha256:{hex}","size":1}}"#)
    };
    (0..count).map(descriptor).collect::<Vec<_>>().join(",")
}

/// As many descriptors as fit into a manifest.
pub(super) const MOST: usize = 36_000;
/// As many as are taken.
const TAKEN: usize = 4000;
