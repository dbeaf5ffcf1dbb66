//! Manifests that are answered out of memory: whoever asks after a write was acknowledged gets the
//! new answer, however many ask meanwhile.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use storage::Role;

use crate::support::content::{Manifest, push_image};
use crate::support::http::Client;
use crate::support::server::Server;

/// Pushes and deletes of the race.
const ROUNDS: usize = 40;

#[test]
fn who_asks_after_a_push_or_a_delete_was_answered_gets_the_new_answer() {
    let server = Server::start();
    let client = server.administrator();
    let images: Vec<Manifest> = (0..ROUNDS)
        .map(|number| push_image(&client, "race", "made", &number.to_le_bytes()))
        .collect();
    images[0].put(&client, "race", "moves").expect(201);
    let newer_than = |asker: &Client, least: usize| {
        let answer = asker.get("/v2/race/manifests/moves").expect(200);
        let digest = answer.must("docker-content-digest");
        let found = images.iter().position(|image| image.digest() == digest).unwrap();
        assert!(found >= least, "{found} was answered after {least} was acknowledged");
        found
    };
    let (acknowledged, is_done) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for (name, role) in [("puller", Role::Pull), ("pusher", Role::Push)] {
            let asker = server.add_user(name, role);
            let (acknowledged, is_done, newer_than) = (&acknowledged, &is_done, &newer_than);
            scope.spawn(move || {
                let mut newest = 0;
                while !is_done.load(Ordering::SeqCst) {
                    newest = newer_than(&asker, acknowledged.load(Ordering::SeqCst).max(newest));
                    asker.get("/v2/race/manifests/comes");
                }
            });
        }
        for (round, image) in images.iter().enumerate().skip(1) {
            image.put(&client, "race", "moves").expect(201);
            acknowledged.store(round, Ordering::SeqCst);
            let digest = format!("/v2/race/manifests/{}", image.digest());
            newer_than(&client, round);
            client.head(&digest).expect(200);
            image.put(&client, "race", "comes").expect(201);
            client.get("/v2/race/manifests/comes").expect(200);
            client.delete("/v2/race/manifests/comes").expect(202);
            client.get("/v2/race/manifests/comes").refused(404, "MANIFEST_UNKNOWN");
            client.head(&digest).expect(200);
        }
        is_done.store(true, Ordering::SeqCst);
    });
    // The last one goes with its tags.
    let last = format!("/v2/race/manifests/{}", images[ROUNDS - 1].digest());
    client.delete(&last).expect(202);
    for path in [last.as_str(), "/v2/race/manifests/moves", "/v2/race/manifests/made"] {
        client.get(path).refused(404, "MANIFEST_UNKNOWN");
        client.head(path).expect(404);
    }
}

#[test]
fn an_answer_out_of_memory_is_the_one_that_was_read() {
    let server = Server::start();
    let client = server.administrator();
    let image = push_image(&client, "a/b", "t", b"layer");
    let digest = image.digest();
    for reference in ["t", digest.as_str()] {
        let path = format!("/v2/a/b/manifests/{reference}");
        let answers: Vec<_> = (0..3).map(|_| client.get(&path).expect(200)).collect();
        let heads: Vec<_> = (0..2).map(|_| client.head(&path).expect(200)).collect();
        for answer in &answers {
            assert_eq!(answer.body, image.bytes);
        }
        for answer in answers.iter().chain(&heads) {
            let length = image.bytes.len().to_string();
            for (name, value) in [
                ("content-type", image.media_type.as_str()),
                ("content-length", length.as_str()),
                ("docker-content-digest", digest.as_str()),
                ("cache-control", "no-store"),
            ] {
                assert_eq!(answer.must(name), value, "{path}");
            }
        }
        // Who may not ask gets nothing of it.
        server.nobody().get(&path).refused(401, "UNAUTHORIZED");
    }
    client.get("/v2/a/manifests/t").expect(404);
}

#[test]
fn who_lost_the_right_gets_nothing_out_of_memory() {
    let server = Server::start();
    let client = server.administrator();
    push_image(&client, "a", "t", b"layer");
    let user = server.add_user("user", Role::Pull);
    user.get("/v2/a/manifests/t").expect(200);
    user.get("/v2/a/manifests/t").expect(200);
    server.set_password("user", "another password");
    user.get("/v2/a/manifests/t").refused(401, "UNAUTHORIZED");
}
