//! Manifests out of memory: what was read lately is answered again without the database, and never
//! otherwise than the database would.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use oci::{Digest, Manifest, Reference, RepoName};
use storage::{
    ManifestContent, RemovalStep, RestorePoint, StorageError, Store, StoredManifest, Verification,
};

use crate::support::{blob_path, directory, image, index, open, push, repo, tag};

/// What a client is answered that may not push: out of memory if it is there, else as the server
/// reads it, which then is remembered.
fn answer(store: &Store, name: &RepoName, reference: &Reference) -> Option<StoredManifest> {
    match store.hot_manifest(name, reference, false) {
        Some(hot) => Some((*hot).clone()),
        None => read(store, name, reference),
    }
}

fn read(store: &Store, name: &RepoName, reference: &Reference) -> Option<StoredManifest> {
    match store.open_manifest(name, reference, 64 * 1024, false, |_| true) {
        Ok(Some(ManifestContent::Whole(whole))) => Some(whole),
        Ok(None) | Err(StorageError::ManifestLost { .. }) => None,
        other => panic!("{other:?}"),
    }
}

fn is_hot(store: &Store, name: &RepoName, reference: &Reference) -> bool {
    store.hot_manifest(name, reference, false).is_some()
}

fn put(store: &Store, name: &RepoName, manifest: &Manifest, tags: &[&str]) {
    let tags = tags.iter().map(|name| tag(name)).collect();
    store.push_manifest(name, manifest.clone(), tags, None).unwrap();
}

fn by_tag(name: &str) -> Reference {
    Reference::Tag(tag(name))
}

#[test]
fn what_was_read_is_answered_out_of_memory_until_its_repository_changes() {
    let home = directory();
    let store = open(home.path());
    let (a, b) = (repo("a"), repo("b"));
    for name in [&a, &b] {
        put(&store, name, &index("first"), &["t"]);
    }
    let digest = Reference::Digest(*index("first").digest());
    for reference in [&by_tag("t"), &digest] {
        assert!(!is_hot(&store, &a, reference), "nobody asked for it yet");
        let found = read(&store, &a, reference).unwrap();
        assert_eq!(found.bytes, *index("first").bytes());
        assert_eq!(store.hot_manifest(&a, reference, false).as_deref(), Some(&found));
        assert!(!is_hot(&store, &b, reference), "another repository's");
        read(&store, &b, reference);
    }
    assert!(!is_hot(&store, &a, &by_tag("other")) && read(&store, &a, &by_tag("other")).is_none());
    assert!(!is_hot(&store, &a, &by_tag("other")), "what is not there is not remembered");
    put(&store, &a, &index("second"), &["t"]);
    assert!(!is_hot(&store, &a, &by_tag("t")));
    assert_eq!(answer(&store, &a, &by_tag("t")).unwrap().bytes, *index("second").bytes());
    assert!(is_hot(&store, &b, &by_tag("t")) && is_hot(&store, &b, &digest));
    // Blobs come and go, and no manifest is another one for that.
    let before = is_hot(&store, &a, &by_tag("t"));
    let blob = push(&store, &a, b"blob");
    store.delete_blob(&a, &blob).unwrap();
    assert!(before && is_hot(&store, &a, &by_tag("t")));
}

#[test]
fn a_long_manifest_is_not_remembered() {
    let home = directory();
    let store = open(home.path());
    let name = repo("a");
    let long = index(&"x".repeat(100 * 1024));
    put(&store, &name, &long, &["t"]);
    for has_room in [true, false] {
        let found = store.open_manifest(&name, &by_tag("t"), 64 * 1024, false, |_| has_room);
        assert!(found.unwrap().is_some());
    }
    assert!(!is_hot(&store, &name, &by_tag("t")));
}

/// A repository with an image, an index of it and one of that, under tags; all of it is remembered.
struct Scene {
    name: RepoName,
    layer: Digest,
    image: Digest,
    references: Vec<Reference>,
}

impl Scene {
    fn new(store: &Store) -> Self {
        let name = repo("app");
        let (config, layer) = (push(store, &name, b"{}"), push(store, &name, b"layer"));
        let image = image(&config, &[layer]);
        put(store, &name, &image, &["image", "too"]);
        let list = list_of(&[image.digest()]);
        put(store, &name, &list, &["list"]);
        let outer = list_of(&[list.digest()]);
        put(store, &name, &outer, &[]);
        let digests = [&image, &list, &outer].map(|it| Reference::Digest(*it.digest()));
        let tags = ["image", "too", "list"].map(by_tag);
        let scene = Self {
            name,
            layer,
            image: *image.digest(),
            references: tags.into_iter().chain(digests).collect(),
        };
        scene.warm(store);
        scene
    }

    /// Lets everything that is there be remembered.
    fn warm(&self, store: &Store) {
        self.references.iter().for_each(|reference| drop(read(store, &self.name, reference)));
    }

    /// Checks that what is answered is what the database says, and returns how much is there.
    #[track_caller]
    fn check(&self, store: &Store, what: &str) -> usize {
        let mut count = 0;
        for reference in &self.references {
            let now = match store.manifest(&self.name, reference) {
                Err(StorageError::ManifestLost { .. }) => None,
                found => found.unwrap(),
            };
            let hot = store.hot_manifest(&self.name, reference, true);
            assert!(hot.is_none() || hot.as_deref() == now.as_ref(), "{what}: {reference:?}");
            assert_eq!(answer(store, &self.name, reference), now, "{what}: {reference:?}");
            count += usize::from(now.is_some());
        }
        self.warm(store);
        count
    }
}

fn list_of(children: &[&Digest]) -> Manifest {
    let entry = |digest: &&Digest| {
        format!(
            r#"{{"mediaType":"{}","digest":"{digest}","size":1}}"#,
            oci::MediaType::OCI_MANIFEST
        )
    };
    let entries: Vec<_> = children.iter().map(entry).collect();
    let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","));
    crate::support::parse(text, oci::MediaType::OCI_INDEX, oci::Algorithm::Sha256)
}

fn spoil(path: &Path) {
    fs::write(path, b"mayer").unwrap();
}

fn verify(store: &Store) {
    store.verify(&Verification::default(), &mut |_| ControlFlow::Continue(())).unwrap();
}

/// Each verb that changes what is answered, and how much of the scene is there after it.
type Verb = (&'static str, fn(&Scene, &Store, &Path), usize);

const VERBS: [Verb; 13] = [
    ("nothing", |_, _, _| {}, 6),
    ("a tag moves", |scene, store, _| put(store, &scene.name, &index("x"), &["too"]), 6),
    (
        "and back",
        |scene, store, _| {
            let point = RestorePoint::LastChange;
            store.restore_tag(&scene.name, &tag("too"), point, None).unwrap();
        },
        6,
    ),
    (
        "a tag goes",
        |scene, store, _| assert!(store.delete_tag(&scene.name, &tag("too"), None).unwrap()),
        5,
    ),
    (
        "a blob turns out to be lost when it is pulled",
        |scene, store, home| {
            spoil(&blob_path(home, &scene.layer));
            assert!(store.blob(&scene.name, &scene.layer, 1024).is_err());
        },
        0,
    ),
    (
        "it is pushed again",
        |scene, store, _| assert!(push(store, &scene.name, b"layer") == scene.layer),
        5,
    ),
    (
        "verification finds it lost",
        |scene, store, home| {
            spoil(&blob_path(home, &scene.layer));
            verify(store);
        },
        0,
    ),
    (
        "another repository brings it back",
        |scene, store, _| assert!(push(store, &repo("other"), b"layer") == scene.layer),
        5,
    ),
    (
        "a manifest is deleted with its tags",
        |scene, store, _| assert!(store.delete_manifest(&scene.name, &scene.image, None).unwrap()),
        3,
    ),
    (
        "it is restored",
        |scene, store, _| drop(store.restore_manifest(&scene.name, &scene.image).unwrap()),
        4,
    ),
    (
        "the image of a tag is removed with all that nothing else needs",
        |scene, store, _| drop(store.remove_image(&scene.name, &by_tag("list"), None).unwrap()),
        3,
    ),
    (
        "tags are removed by a pattern",
        |scene, store, _| {
            put(store, &scene.name, &index("x"), &["too"]);
            let pattern = "t*".parse().unwrap();
            store.remove_tags(&scene.name, &pattern, None, None).unwrap();
        },
        3,
    ),
    (
        "the repository is emptied",
        |scene, store, _| {
            while store.remove_some(&scene.name, None).unwrap() != RemovalStep::default() {}
        },
        0,
    ),
];

#[test]
fn no_verb_leaves_an_older_answer_in_memory() {
    let home = directory();
    let store = open(home.path());
    let scene = Scene::new(&store);
    for (what, verb, there) in VERBS {
        verb(&scene, &store, home.path());
        assert_eq!(scene.check(&store, what), there, "{what}");
    }
}

#[test]
fn who_may_push_is_answered_out_of_memory_while_collection_decides_over_nothing_of_it() {
    let home = directory();
    let store = open(home.path());
    let name = repo("a");
    put(&store, &name, &index("x"), &["t"]);
    let digest = Reference::Digest(*index("x").digest());
    for reference in [&digest, &by_tag("t")] {
        store.open_manifest(&name, reference, 1024, true, |_| true).unwrap();
        assert!(store.hot_manifest(&name, reference, true).is_some());
    }
    store.close();
    // Nothing more may be told that would have to be remembered.
    assert_eq!(store.hot_manifest(&name, &digest, true), None);
    assert!(store.hot_manifest(&name, &by_tag("t"), true).is_some());
    assert!(store.hot_manifest(&name, &digest, false).is_some());
}

/// The documents of the race: each is newer than the one before.
const ROUNDS: usize = 150;

#[test]
fn whoever_asks_after_a_write_was_answered_gets_the_new_answer() {
    let home = directory();
    let store = open(home.path());
    let (name, moving, coming) = (repo("race"), by_tag("moves"), by_tag("comes"));
    let documents: Vec<Manifest> = (0..ROUNDS).map(|n| index(&n.to_string())).collect();
    let number = |found: &StoredManifest| {
        documents.iter().position(|it| *it.digest() == found.digest).unwrap()
    };
    put(&store, &name, &documents[0], &["moves"]);
    let (acknowledged, is_done) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut newest = 0;
                while !is_done.load(Ordering::SeqCst) {
                    let least = acknowledged.load(Ordering::SeqCst);
                    let found = number(&answer(&store, &name, &moving).unwrap());
                    assert!(found >= least, "{found} after {least} was acknowledged");
                    // Nor does anybody go back in time before that.
                    assert!(found >= newest, "{found} after {newest} was read");
                    newest = found;
                    drop(answer(&store, &name, &coming));
                }
            });
        }
        for (round, document) in documents.iter().enumerate().skip(1) {
            put(&store, &name, document, &["moves", "comes"]);
            acknowledged.store(round, Ordering::SeqCst);
            assert_eq!(number(&answer(&store, &name, &coming).unwrap()), round);
            let digest = Reference::Digest(*document.digest());
            assert!(answer(&store, &name, &digest).is_some());
            match round % 3 {
                0 => drop(store.delete_tag(&name, &tag("comes"), None).unwrap()),
                1 => {
                    let gone = index(&format!("gone {round}"));
                    put(&store, &name, &gone, &["comes"]);
                    drop(answer(&store, &name, &coming));
                    store.delete_manifest(&name, gone.digest(), None).unwrap();
                    assert_eq!(answer(&store, &name, &Reference::Digest(*gone.digest())), None);
                }
                _ => continue,
            }
            assert_eq!(answer(&store, &name, &coming), None);
        }
        is_done.store(true, Ordering::SeqCst);
    });
}
