//! How much a manifest asks of the database, counted in steps of SQLite's machine and not in time:
//! no more than so much for each thing that it names, however many it names, and how often.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// A database, and a connection to it whose steps are counted.
struct Counted {
    _directory: tempfile::TempDir,
    _database: Database,
    connection: Connection,
    steps: Arc<AtomicU64>,
}

impl Counted {
    fn new() -> Self {
        let (directory, database, mut connection) = filled();
        let steps = Arc::new(AtomicU64::new(0));
        let counting = Arc::clone(&steps);
        let handler = move || {
            counting.fetch_add(1, Ordering::Relaxed);
            false
        };
        connection.progress_handler(1, Some(handler)).unwrap();
        Self { _directory: directory, _database: database, connection, steps }
    }

    /// The steps of some work.
    fn of(&self, work: impl FnOnce(&Transaction<'_>)) -> u64 {
        self.steps.store(0, Ordering::Relaxed);
        work(&Transaction::new(&self.connection, 0));
        self.steps.load(Ordering::Relaxed)
    }
}

fn named(count: usize, n: usize) -> Digest {
    digest(&format!("{n} of {count}"))
}

/// A document that names each digest twice in a list, with another descriptor before it.
fn document(kind: &str, list: &str, before: &str, digests: &[Digest]) -> Manifest {
    let descriptor =
        |digest: &Digest| format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":1}}"#);
    let twice: Vec<String> = digests.iter().chain(digests).map(descriptor).collect();
    let text = format!(r#"{{"schemaVersion":2{before},"{list}":[{}]}}"#, twice.join(","));
    let bytes = Bytes::from(text);
    Manifest::parse(bytes, Some(kind.parse().unwrap()), Algorithm::Sha256).unwrap()
}

fn image(digests: &[Digest]) -> Manifest {
    let config = format!(r#","config":{{"mediaType":"a/b","digest":"{}","size":1}}"#, digest("7"));
    document(MediaType::OCI_MANIFEST, "layers", &config, digests)
}

/// Checks that twice as many things cost twice as many steps, but for what trees grow in depth.
#[track_caller]
fn assert_linear(what: &str, steps: [u64; 2]) {
    let [one, two] = steps;
    assert!(one > 0 && two < one * 5 / 2, "{what}: {one} steps became {two}");
}

#[test]
fn what_a_manifest_lacks_is_looked_for_once_each() {
    let counted = Counted::new();
    let name: RepoName = "r0".parse().unwrap();
    let mut steps = [[0; 2]; 3];
    for (case, count) in [1_000, 2_000].into_iter().enumerate() {
        let digests: Vec<Digest> = (0..count).map(|n| named(count, n)).collect();
        // Every other one is held, and lost; and every other one of those said to have no file.
        let held = digests.iter().step_by(2).copied();
        let (lost, gone): (Vec<Digest>, Vec<Digest>) =
            held.partition(|digest| digest.bytes()[0] % 2 == 0);
        for digest in lost.iter().chain(&gone) {
            Transaction::new(&counted.connection, 0).add_blob(&name, digest, 1).unwrap();
        }
        for digest in &lost {
            Transaction::new(&counted.connection, 0).lose_blob(digest).unwrap();
        }
        let manifest = image(&digests);
        let needed: Vec<Digest> = manifest.required_blobs().copied().collect();
        assert_eq!(needed.len(), count + 1, "each once");
        steps[0][case] = counted.of(|connection| {
            let held = connection.held_blobs(&name, &needed).unwrap();
            assert_eq!(held.iter().filter(|held| held.is_some()).count(), count / 2 + 1);
        });
        steps[1][case] = counted.of(|connection| {
            let refused = connection.put_manifest(&name, &manifest, &gone, &[], None);
            let Err(StorageError::MissingBlobs(missing)) = refused else { panic!("{refused:?}") };
            assert_eq!(missing.len(), count);
            // The sentence names a few, and how many there are.
            let sentence = StorageError::MissingBlobs(missing).to_string();
            assert_eq!(sentence.matches("sha256:").count(), 10);
            assert!(sentence.contains(&format!(" and {} more: ", count - 10)), "{sentence}");
        });
        steps[2][case] = counted.of(|connection| {
            let sizes = connection.held_sizes(&name, &digests).unwrap();
            assert_eq!(sizes.iter().flatten().count(), count / 2);
        });
    }
    for (what, steps) in ["found by a reader", "found again", "sizes"].into_iter().zip(steps) {
        assert_linear(what, steps);
    }
}

#[test]
fn what_a_manifest_may_lack_is_written_once_each() {
    let counted = Counted::new();
    let name: RepoName = "r0".parse().unwrap();
    let steps = [1_000, 2_000].map(|count| {
        let digests: Vec<Digest> = (0..count).map(|n| named(count, n)).collect();
        let list = document(MediaType::OCI_INDEX, "manifests", "", &digests);
        counted.of(|connection| {
            connection.put_manifest(&name, &list, &[], &[], None).unwrap();
        })
    });
    assert_linear("an index", steps);
}

#[test]
fn a_restoration_looks_once_for_each_blob() {
    let counted = Counted::new();
    let name: RepoName = "r0".parse().unwrap();
    let steps = [1_000, 2_000].map(|count| {
        let digests: Vec<Digest> = (0..count).map(|n| named(count, n)).collect();
        for digest in &digests {
            Transaction::new(&counted.connection, 0).add_blob(&name, digest, 1).unwrap();
        }
        let (image, connection) = (image(&digests), Transaction::new(&counted.connection, 0));
        connection.put_manifest(&name, &image, &[], &[], None).unwrap();
        assert!(connection.remove_manifest(&name, image.digest(), None).unwrap());
        counted.of(|connection| {
            let no_file = |_: &Digest, _| Ok(false);
            let refused = connection.restore_manifest(&name, image.digest(), &no_file);
            let Err(StorageError::BlobsCollected { blobs, .. }) = refused else {
                panic!("{refused:?}")
            };
            assert_eq!(blobs.len(), count + 1);
        })
    });
    assert_linear("a restoration", steps);
}
