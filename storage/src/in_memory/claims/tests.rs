use std::sync::mpsc;
use std::time::Duration;

use oci::Algorithm;

use super::*;

fn digest(text: &str) -> Digest {
    Digest::of(Algorithm::Sha256, text.as_bytes())
}

/// Lets so many commits of the digest wait.
fn wait_for_waiting(claims: &Claims, digest: &Digest, commits: usize) {
    while claims.waiting(digest) != commits {
        std::thread::yield_now();
    }
}

#[test]
fn a_digest_is_claimed_once_and_whoever_needs_it_waits() {
    let claims = Claims::default();
    let [a, b] = ["a", "b"].map(digest);
    let commit = claims.claim(&a);
    let removal = claims.claim_free([a, b]);
    assert_eq!(removal.digests(), [b]);
    std::thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        for digest in [a, b] {
            let (claims, tell) = (&claims, tell.clone());
            scope.spawn(move || {
                drop(claims.claim(&digest));
                tell.send(()).unwrap();
            });
        }
        // Long enough for threads that do not wait.
        assert!(told.recv_timeout(Duration::from_millis(200)).is_err(), "two have one digest");
        drop((commit, removal));
        told.iter().take(2).for_each(drop);
    });
    assert_eq!(claims.claim_free([a, b]).digests(), [a, b]);
    assert!(claims.lock().held.is_empty());
}

/// Takes turns with so many threads that wait while `first` is held, and counts who published.
fn publish_at_once(claims: &Claims, of: Digest, threads: usize, first: impl FnOnce()) -> usize {
    std::thread::scope(|scope| {
        let commits: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| match claims.claim_to_publish(&of) {
                    Turn::Publish(publication) => {
                        publication.succeeded();
                        1
                    }
                    Turn::Rely => 0,
                })
            })
            .collect();
        wait_for_waiting(claims, &of, threads);
        first();
        commits.into_iter().map(|commit| commit.join().unwrap()).sum()
    })
}

#[test]
fn who_waits_relies_on_a_publication_that_began_since() {
    let (claims, a) = (Claims::default(), digest("a"));
    // Whatever works on it first is no publication.
    let other = claims.claim(&a);
    assert_eq!(publish_at_once(&claims, a, 20, || drop(other)), 1);
    // One that began before they came does not cover them; the next one covers the rest.
    let Turn::Publish(publication) = claims.claim_to_publish(&a) else { panic!("nobody else") };
    assert_eq!(publish_at_once(&claims, a, 20, || publication.succeeded()), 1);
    // Nor does one that failed.
    let Turn::Publish(publication) = claims.claim_to_publish(&a) else { panic!("nobody else") };
    assert_eq!(publish_at_once(&claims, a, 1, || drop(publication)), 1);
    assert!(claims.lock().waiting.is_empty() && claims.lock().held.is_empty());
    assert_eq!(claims.publications(), 5);
}

#[test]
fn a_publication_that_failed_covers_nobody() {
    let (claims, a) = (Claims::default(), digest("a"));
    let other = claims.claim(&a);
    let published: usize = std::thread::scope(|scope| {
        let commits: Vec<_> = (0..5)
            .map(|_| {
                scope.spawn(|| match claims.claim_to_publish(&a) {
                    Turn::Publish(publication) => {
                        drop(publication);
                        1
                    }
                    Turn::Rely => 0,
                })
            })
            .collect();
        wait_for_waiting(&claims, &a, 5);
        drop(other);
        commits.into_iter().map(|commit| commit.join().unwrap()).sum()
    });
    assert_eq!(published, 5);
}
