//! Long manifests and lists: whoever sends or reads them waits for nobody else's.

use std::time::Duration;

use oci::MediaType;
use serde_json::json;

use super::attack::Attack;
use super::heavy::long_manifest;
use crate::support::binary::{Instance, PASSWORD};
use crate::support::content::{Manifest, push_image, sha256};
use crate::support::http::{Client, Connection};
use crate::support::process::wait_until;
use crate::support::report::tell;
use crate::support::strace::Faults;

#[test]
fn whoever_pushes_a_long_manifest_does_not_wait_for_the_crowds_of_others_who_do() {
    let mut instance = Instance::started();
    let client = instance.client();
    long_manifest().put(&client, "a", "long").expect(201);
    let users: Vec<Client> = ["ann", "bob"].map(|name| user(&instance, name)).into();
    // Each of the two has as many long pushes at once as there may be of one user, and a crowd of
    // requests that each take a place for a while.
    let attack = Attack::begin(2 * (CROWD + 2), 2 * CROWD, move |state, number| {
        let client = users[number % 2].again();
        for pushed in 0.. {
            match number < 4 {
                true => drop(middling(number * 1_000_000 + pushed).put(&client, "a", "pushed")),
                false => {
                    client.head("/v2/a/manifests/long").expect(200);
                    state.strike();
                }
            }
            if !state.goes_on() {
                return;
            }
        }
    });
    attack.wait_until_it_hurts();
    let waited = (0..5).map(|number| {
        let before = attack.blows();
        middling(10_000_000 + number).put(&client, "a", "victim").expect(201);
        attack.blows() - before
    });
    let waited: Vec<usize> = waited.collect();
    tell(&format!("answered to the crowds during a long push: {waited:?}, {}", attack.end()));
    let least = waited.iter().min().expect("one of them");
    assert!(*least < CROWD / 2, "{waited:?}");
    instance.stop();
}

#[test]
fn a_long_manifest_is_read_from_its_beginning_to_its_end_and_once() {
    let mut instance = Instance::started();
    let client = instance.client();
    let long = long_manifest();
    long.put(&client, "a", "long").expect(201);
    let ann = user(&instance, "ann");
    let held = unread(&ann, "/v2/a/manifests/long", 20);
    let reads = Faults::delay(&instance, "pread64", Duration::from_micros(1));
    assert_eq!(client.get("/v2/a/manifests/long").expect(200).body, long.bytes);
    let reads = reads.end().len();
    let pages = long.bytes.len() / 4096;
    tell(&format!("{reads} reads of {pages} pages"));
    assert!(reads < 2 * pages, "{reads} reads of {pages} pages");
    // Who holds all the room that he may have gets it too.
    assert_eq!(ann.get("/v2/a/manifests/long").expect(200).body, long.bytes);
    drop(held);
    instance.stop();
}

#[test]
fn a_long_referrer_is_sent_whoever_does_not_read_it() {
    let mut instance = Instance::started();
    let client = instance.client();
    let subject = push_image(&client, "a", "1", b"layer");
    let annotations = json!({ "a": "x".repeat(4_000_000) });
    let document = json!({ "manifests": [], "subject": subject.descriptor(),
                           "artifactType": "application/x", "annotations": annotations });
    let referrer = Manifest::new(MediaType::OCI_INDEX, document);
    referrer.put(&client, "a", &referrer.digest()).expect(201);
    let path = format!("/v2/a/referrers/{}", sha256(&subject.bytes));
    let mut held = Vec::new();
    for name in ["ann", "bob", "carl", "dora"] {
        let user = user(&instance, name);
        held.extend(unread(&user, &path, 4));
        // Who holds all that he may have is sent it as well.
        let listed = user.get(&path).expect(200).json();
        assert_eq!(listed["manifests"][0]["annotations"], annotations);
    }
    let listed = client.get(&path).expect(200).json();
    assert_eq!(listed["manifests"][0]["annotations"], annotations);
    assert_eq!(listed["manifests"][0]["digest"], referrer.digest());
    drop(held);
    instance.stop();
}

fn user(instance: &Instance, name: &str) -> Client {
    instance.add_user(name, "push");
    let client = instance.client().with_login(Some((name, PASSWORD)));
    client.get("/v2/").expect(200);
    client
}

/// Answers that begin, and that nobody reads.
fn unread(client: &Client, path: &str, count: usize) -> Vec<Connection> {
    let head = client.head_of("GET", path, &[]);
    let mut asked: Vec<Connection> = (0..count).map(|_| client.connect()).collect();
    for connection in &mut asked {
        connection.send(&head);
        wait_until("the answer begins", || !connection.is_idle());
    }
    asked
}

/// A manifest that is just long enough to be worked on with care, each time another one.
fn middling(number: usize) -> Manifest {
    let annotations = json!({ "a": "x".repeat(80_000), "n": number.to_string() });
    Manifest::new(MediaType::OCI_INDEX, json!({ "manifests": [], "annotations": annotations }))
}

/// How many ask at once for one user.
const CROWD: usize = 300;
