//! What was acknowledged survives: writes of many threads at once, and the death of the process
//! amid them.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

use oci::{Digest, Reference};
use storage::Store;

use crate::again;
use crate::support::{
    directory, files, image, open, open_files, pull, push, repo, sha256, tag, user,
};

const THREADS: usize = 8;

/// Pushes an image of one layer under a tag; returns its digest.
fn push_image(store: &Store, thread: usize, round: usize) -> Digest {
    let name = repo(&format!("team{thread}/app"));
    let config = push(store, &name, b"{}");
    let layer = push(store, &name, format!("layer {thread} {round}").repeat(100).as_bytes());
    let manifest = image(&config, &[layer]);
    let digest = *manifest.digest();
    store.push_manifest(&name, manifest, vec![tag(&format!("v{round}"))], None).unwrap();
    digest
}

/// Fails unless the image is there with every byte.
fn assert_image(store: &Store, thread: usize, round: usize, digest: &Digest) {
    let name = repo(&format!("team{thread}/app"));
    let by_tag = store.manifest(&name, &Reference::Tag(tag(&format!("v{round}")))).unwrap();
    let found = by_tag.unwrap_or_else(|| panic!("team{thread} v{round} is lost"));
    assert_eq!(found.digest, *digest);
    assert_eq!(sha256(&found.bytes), *digest);
    let layer = format!("layer {thread} {round}").repeat(100);
    assert_eq!(pull(store, &name, &sha256(b"{}")).unwrap(), b"{}");
    assert_eq!(pull(store, &name, &sha256(layer.as_bytes())).unwrap(), layer.as_bytes());
}

#[test]
fn writes_of_many_threads_at_once_are_all_there_afterwards() {
    const ROUNDS: usize = 10;
    let home = directory();
    let store = open(home.path());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &store;
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    push_image(store, thread, round);
                }
            });
        }
    });
    drop(store);
    let store = open(home.path());
    for thread in 0..THREADS {
        for round in 0..ROUNDS {
            let layer = sha256(format!("layer {thread} {round}").repeat(100).as_bytes());
            let digest = *image(&sha256(b"{}"), &[layer]).digest();
            assert_image(&store, thread, round, &digest);
        }
    }
    let counts = store.counts().unwrap();
    assert_eq!(counts.manifests, (THREADS * ROUNDS) as u64);
    assert_eq!(counts.blobs, (THREADS * ROUNDS + 1) as u64);
    assert_eq!(files(home.path(), "blobs").len(), THREADS * ROUNDS + 1);
    assert!(open_files(home.path()).is_empty());
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    if let Some(root) = again::handed_over() {
        push_until_killed(Path::new(&root));
    }
    let home = directory();
    let name = "crash::what_was_acknowledged_survives_a_kill";
    let mut acknowledged = HashSet::new();
    for kill_after in [1, 40, 90] {
        let mut child = again::command(&[], name, home.path().to_str().unwrap())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut count = 0;
        // After the kill the pipe still holds what was acknowledged before it.
        for line in lines.map_while(Result::ok) {
            let Some(words) = line.strip_prefix("acknowledged ") else { continue };
            let words: Vec<&str> = words.split(' ').collect();
            let digest: Digest = words[2].parse().unwrap();
            acknowledged.insert((words[0].parse().unwrap(), words[1].parse().unwrap(), digest));
            count += 1;
            if count == kill_after {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(count >= kill_after, "the child ended by itself");
        let store = open(home.path());
        assert!(!store.is_new());
        for (thread, round, digest) in &acknowledged {
            assert_image(&store, *thread, *round, digest);
        }
        assert_no_half_blob(home.path());
    }
}

/// A blob has its name only when it is complete.
fn assert_no_half_blob(root: &Path) {
    for path in files(root, "blobs") {
        let content = std::fs::read(&path).unwrap();
        assert_eq!(path.file_name().unwrap().to_str().unwrap(), sha256(&content).hex());
    }
}

fn push_until_killed(root: &Path) -> ! {
    let store = open(root);
    // Each life of the process pushes other images.
    let life = store.users().unwrap().len();
    let (name, role) = (user(&format!("life{life}")), storage::Role::Pull);
    store.add_user(name, role, String::new()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &store;
            scope.spawn(move || {
                for round in life * 1_000_000.. {
                    let digest = push_image(store, thread, round);
                    let line = format!("acknowledged {thread} {round} {digest}\n");
                    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                }
            });
        }
    });
    unreachable!("the threads push for ever");
}
