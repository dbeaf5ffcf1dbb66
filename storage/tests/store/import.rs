//! Importing through the store's verbs: what is staged and published, images that come whole, and
//! taking an import back.

use std::fs;
use std::path::Path;
use std::thread;

use oci::{Algorithm, Digest, Manifest, MediaType, Reference, RepoName};
use storage::{
    Actor, ImportNumber, ImportedImage, Keep, RepositoryBlobs, Staging, StorageError, Store,
    TagFate,
};

use crate::full::{Ballast, on_a_small_disk};
use crate::support::{
    blob_path, directory, files, image, index, open, open_files, parse, pull, push, repo, sha256,
    sha512, tag, tree,
};

fn stage(staging: &Staging, digest: &Digest, content: &[u8]) {
    let mut file = staging.create(digest).unwrap();
    file.write(content).unwrap();
    file.checked().unwrap().sync().unwrap();
}

fn staging(store: &Store) -> Staging {
    Staging::begin(store.layout(), 0).unwrap()
}

fn begin(store: &Store) -> ImportNumber {
    let person = "alice as root".parse().unwrap();
    store.begin_import(vec!["mirror_000001.tar".to_owned()], Some(&person)).unwrap()
}

fn by() -> Actor {
    Actor::Host("alice as root".parse().unwrap())
}

/// Lets tags of a repository name a manifest, as part of an import.
fn put(
    store: &Store,
    import: ImportNumber,
    name: &str,
    manifests: &[&Manifest],
    tags: &[&str],
) -> Result<Vec<TagFate>, StorageError> {
    let image = ImportedImage {
        repository: &repo(name),
        manifests: manifests.iter().map(|manifest| (*manifest).clone()).collect(),
        image: *manifests.last().unwrap().digest(),
        tags: tags.iter().map(|name| tag(name)).collect(),
    };
    put_one(store, image, Some(&by()), import)
}

fn put_one(
    store: &Store,
    image: ImportedImage<'_>,
    by: Option<&Actor>,
    import: ImportNumber,
) -> Result<Vec<TagFate>, StorageError> {
    store.import_images(vec![image], by, import).pop().unwrap()
}

/// These blobs for one repository.
fn of(repository: &RepoName, digests: &[Digest]) -> [RepositoryBlobs; 1] {
    [RepositoryBlobs { repository: repository.clone(), digests: digests.to_vec() }]
}

fn names(store: &Store, name: &str, tags: &[&str]) -> Vec<Option<Digest>> {
    let tags: Vec<_> = tags.iter().map(|name| tag(name)).collect();
    store.named_by_tags(&repo(name), &tags).unwrap()
}

#[test]
fn what_is_staged_becomes_blobs_of_a_repository_and_leaves_no_file_behind() {
    let home = directory();
    let store = open(home.path());
    let staging = staging(&store);
    let contents: Vec<Vec<u8>> = (0..300_u32).map(|number| number.to_le_bytes().to_vec()).collect();
    let digest = |content: &Vec<u8>| match content[0] % 2 {
        0 => sha256(content),
        _ => sha512(content),
    };
    let digests: Vec<Digest> = contents.iter().map(digest).collect();
    let name = repo("a/b");
    push(&store, &repo("other"), &contents[0]);
    assert_eq!(store.lacking_blobs(&digests).unwrap(), digests[1..]);
    for (digest, content) in digests.iter().zip(&contents) {
        stage(&staging, digest, content);
    }
    store.publish_staged(staging.id(), &of(&name, &digests)).unwrap();
    for (digest, content) in digests.iter().zip(&contents) {
        assert_eq!(pull(&store, &name, digest).as_ref(), Some(content));
    }
    assert_eq!(store.lacking_blobs(&digests), Ok(Vec::new()));
    assert_eq!(open_files(home.path()), Vec::<std::path::PathBuf>::new());
    drop(staging);
    let is_left = |path: &std::path::PathBuf| path.to_string_lossy().contains("import-");
    assert!(!tree(home.path()).iter().any(is_left));
    // Once more is what a retry may ask, and finds nothing to publish.
    let again = Staging::begin(store.layout(), 0).unwrap();
    let outcome = store.publish_staged(again.id(), &of(&name, &digests[..1]));
    assert_eq!(outcome, Err(StorageError::NotStaged(digests[0])));
}

#[test]
fn right_bytes_come_in_the_place_of_wrong_and_lost_ones() {
    let home = directory();
    let store = open(home.path());
    let (name, staging) = (repo("a"), staging(&store));
    let [wrong, lost] = [b"wrong", b"lost!"].map(|content| push(&store, &name, content));
    fs::write(blob_path(home.path(), &wrong), "WRONG").unwrap();
    fs::remove_file(blob_path(home.path(), &lost)).unwrap();
    assert_eq!(store.lacking_blobs(&[wrong, lost]), Ok(vec![lost]));
    assert_eq!(store.link_blobs(&of(&repo("b"), &[wrong, lost])), Ok(vec![vec![lost]]));
    assert_eq!(store.open_blob(&name, &lost).unwrap_err(), StorageError::BlobLost(lost));
    stage(&staging, &wrong, b"wrong");
    stage(&staging, &lost, b"lost!");
    store.publish_staged(staging.id(), &of(&repo("b"), &[wrong, lost])).unwrap();
    for name in ["a", "b"] {
        assert_eq!(pull(&store, &repo(name), &wrong).unwrap(), b"wrong");
        assert_eq!(pull(&store, &repo(name), &lost).unwrap(), b"lost!");
    }
}

#[test]
fn many_who_publish_the_same_in_any_order_all_have_it() {
    let home = directory();
    let store = open(home.path());
    let contents: Vec<Vec<u8>> = (0..40_u32).map(|number| number.to_le_bytes().to_vec()).collect();
    let digests: Vec<Digest> = contents.iter().map(|content| sha256(content)).collect();
    thread::scope(|scope| {
        for number in 0..4 {
            let (store, digests, contents) = (&store, &digests, &contents);
            scope.spawn(move || {
                let (name, staging) = (repo(&format!("r{number}")), staging(store));
                for (digest, content) in digests.iter().zip(contents) {
                    stage(&staging, digest, content);
                }
                let mut digests = digests.clone();
                if number % 2 == 0 {
                    digests.reverse();
                }
                for half in digests.chunks(20) {
                    store.publish_staged(staging.id(), &of(&name, half)).unwrap();
                }
            });
            scope.spawn(move || {
                for content in contents {
                    push(store, &repo(&format!("pushed{number}")), content);
                }
            });
        }
    });
    for name in ["r0", "r1", "r2", "r3", "pushed0", "pushed3"] {
        for (digest, content) in digests.iter().zip(&contents) {
            assert_eq!(pull(&store, &repo(name), digest).as_ref(), Some(content), "{name}");
        }
    }
}

#[test]
fn what_cannot_be_named_leaves_all_of_its_batch_staged() {
    let home = directory();
    let store = open(home.path());
    let (name, staging) = (repo("a"), staging(&store));
    let contents: [&[u8]; 3] = [b"one", b"two", b"three"];
    let digests = contents.map(sha256);
    for (digest, content) in digests.iter().zip(contents) {
        stage(&staging, digest, content);
    }
    // Nothing is renamed over a directory.
    let path = blob_path(home.path(), &digests[1]);
    fs::create_dir(&path).unwrap();
    store.publish_staged(staging.id(), &of(&name, &digests)).unwrap_err();
    assert_eq!(store.lacking_blobs(&digests), Ok(digests.to_vec()));
    assert_eq!(files(home.path(), "blobs"), Vec::<std::path::PathBuf>::new());
    fs::remove_dir(&path).unwrap();
    store.publish_staged(staging.id(), &of(&name, &digests)).unwrap();
    assert_eq!(store.lacking_blobs(&digests), Ok(Vec::new()));
}

#[test]
fn a_full_disk_leaves_what_was_read_to_be_published_when_there_is_room() {
    let Some(disk) = on_a_small_disk(
        "import::a_full_disk_leaves_what_was_read_to_be_published_when_there_is_room",
    ) else {
        return;
    };
    let root = disk.join("data");
    let store = open(&root);
    let (name, staging) = (repo("a"), staging(&store));
    let digests: Vec<Digest> = (0..100_u32).map(|number| sha256(&number.to_le_bytes())).collect();
    for (number, digest) in (0..100_u32).zip(&digests) {
        stage(&staging, digest, &number.to_le_bytes());
    }
    let ballast = Ballast::fill(&disk, 0);
    let late = sha256(b"late");
    let full = staging.create(&late).and_then(|mut file| file.write(&[0; 65536]));
    assert_eq!(full, Err(StorageError::Full));
    assert!(matches!(staging.check_own_room(1), Err(StorageError::NoRoom { .. })));
    let outcome = store.publish_staged(staging.id(), &of(&name, &digests));
    assert_eq!(outcome, Err(StorageError::Full));
    drop(ballast);
    store.publish_staged(staging.id(), &of(&name, &digests)).unwrap();
    assert_eq!(store.lacking_blobs(&digests), Ok(Vec::new()));
}

#[test]
fn directories_of_dead_imports_go_at_the_start_and_with_collection() {
    let home = directory();
    let store = open(home.path());
    let dead = |number: u32| {
        let name = format!("import-00000000-0000-4000-8000-{number:012x}");
        let path = home.path().join("uploads").join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("sha256-00"), "torn").unwrap();
        path
    };
    let alive = staging(&store);
    let is_alive = |path: &Path| files(path, "uploads").len() == 1;
    stage(&alive, &sha256(b"x"), b"x");
    let first = dead(1);
    store.expire_uploads(std::time::Duration::ZERO).unwrap();
    assert!(!first.exists() && is_alive(home.path()));
    let second = dead(2);
    let never = std::time::Duration::MAX;
    let keep = Keep {
        grace: never,
        untagged: None,
        listed_within: never,
        deleted: never,
        history: never,
        uploads: never,
    };
    let go_on = &mut |_: &_| std::ops::ControlFlow::Continue(());
    store.collect(&keep, true, go_on).unwrap();
    assert!(second.exists(), "a dry run removes nothing");
    store.collect(&keep, false, go_on).unwrap();
    assert!(!second.exists() && is_alive(home.path()));
    let third = dead(3);
    drop(store);
    let store = open(home.path());
    assert!(!third.exists() && is_alive(home.path()));
    store.publish_staged(alive.id(), &of(&repo("a"), &[sha256(b"x")])).unwrap();
    let fourth = dead(4);
    let _next = staging(&store);
    assert!(!fourth.exists());
}

#[test]
fn bytes_of_a_manifest_are_those_that_were_read_or_that_are_a_blob_already() {
    let home = directory();
    let store = open(home.path());
    let staging = staging(&store);
    let read = |digest: &Digest| store.staged_bytes(staging.id(), digest, 4);
    let both = [b"read", b"push"].map(|content| (sha256(content), content));
    for (digest, _) in &both {
        assert_eq!(read(digest), Err(StorageError::NotStaged(*digest)));
    }
    stage(&staging, &sha256(b"read"), b"read");
    push(&store, &repo("elsewhere"), b"push");
    for (digest, content) in &both {
        assert_eq!(read(digest).unwrap().as_ref(), content.as_slice());
    }
    let long = push(&store, &repo("elsewhere"), b"longer");
    assert_eq!(read(&long), Err(StorageError::NotStaged(long)));
    fs::write(blob_path(home.path(), &sha256(b"push")), "PUSH").unwrap();
    assert_eq!(read(&sha256(b"push")), Err(StorageError::NotStaged(sha256(b"push"))));
}

#[test]
fn an_image_comes_with_all_its_manifests_and_tags_or_not_at_all() {
    let home = directory();
    let store = open(home.path());
    let (name, import) = (repo("a"), begin(&store));
    let [config, layer] = [b"config", b"layer!"].map(|content| push(&store, &name, content));
    let child = image(&config, &[layer]);
    let lacks = image(&config, &[sha256(b"nowhere")]);
    let parent = |child: &Manifest| {
        let (digest, size) = (child.digest(), child.bytes().len());
        let media_type = MediaType::OCI_MANIFEST;
        let listed = format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#);
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{listed}]}}"#);
        parse(text, MediaType::OCI_INDEX, Algorithm::Sha256)
    };
    let refused = put(&store, import, "a", &[&lacks, &parent(&lacks)], &["1"]);
    assert_eq!(refused, Err(StorageError::MissingBlobs(vec![sha256(b"nowhere")])));
    assert_eq!(names(&store, "a", &["1"]), [None]);
    let list = parent(&child);
    let new = vec![TagFate::Set(None), TagFate::Set(None)];
    assert_eq!(put(&store, import, "a", &[&child, &list], &["1", "2"]), Ok(new));
    for manifest in [&child, &list] {
        let reference = Reference::Digest(*manifest.digest());
        assert!(store.manifest(&name, &reference).unwrap().is_some());
    }
    let same = vec![TagFate::Set(Some(*list.digest())); 2];
    let changes = store.tag_history(&name, None, None, 10).unwrap().unwrap();
    assert_eq!(put(&store, import, "a", &[&child, &list], &["1", "2"]), Ok(same));
    assert_eq!(store.tag_history(&name, None, None, 10).unwrap().unwrap(), changes);
    assert!(changes.iter().all(|it| it.import == Some(import) && it.changed_by == Some(by())));
    // An image that the repository holds can get more names; one that it does not hold, none.
    let named = |image| ImportedImage {
        repository: &name,
        manifests: Vec::new(),
        image,
        tags: vec![tag("3")],
    };
    put_one(&store, named(*child.digest()), None, import).unwrap();
    assert_eq!(names(&store, "a", &["3"]), [Some(*child.digest())]);
    let digest = sha256(b"nowhere");
    let unknown = put_one(&store, named(digest), None, import);
    assert_eq!(unknown, Err(StorageError::NoManifest { repository: name.clone(), digest }));
    let held = [*list.digest(), digest];
    assert_eq!(store.lacking_manifests(&name, &held), Ok(vec![digest]));
    assert_eq!(store.lacking_manifests(&repo("b"), &held), Ok(held.to_vec()));
}

#[test]
fn images_that_come_together_stand_or_fall_alone() {
    let home = directory();
    let store = open(home.path());
    let (staging, import) = (staging(&store), begin(&store));
    let contents = ["config", "layer!", "shared", "other"];
    let [config, layer, shared, other] = contents.map(|content| sha256(content.as_bytes()));
    for content in contents {
        stage(&staging, &sha256(content.as_bytes()), content.as_bytes());
    }
    let [a, b] = ["a", "b"].map(repo);
    let all = [of(&a, &[config, layer]), of(&b, &[shared, other])].concat();
    store.publish_staged(staging.id(), &all).unwrap();
    assert_eq!(pull(&store, &b, &other).unwrap(), b"other");
    let wanted = [of(&a, &[shared, sha256(b"nowhere")]), of(&b, &[config])].concat();
    let lacking = vec![vec![sha256(b"nowhere")], Vec::new()];
    assert_eq!(store.link_blobs(&wanted), Ok(lacking));
    let new = |repository, manifest: &Manifest| ImportedImage {
        repository,
        manifests: vec![manifest.clone()],
        image: *manifest.digest(),
        tags: vec![tag("1")],
    };
    // One that shares the transaction of the others, one that has one of its own, and one that
    // lacks something.
    let small = image(&config, &[layer, shared]);
    let long = image(&config, &[shared, other].repeat(50));
    let lacks = image(&config, &[sha256(b"nowhere")]);
    let images = vec![new(&a, &small), new(&a, &lacks), new(&b, &long), new(&b, &small)];
    let put = store.import_images(images, Some(&by()), import);
    let missing = |digests: &[Digest]| Err(StorageError::MissingBlobs(digests.to_vec()));
    let set = Ok(vec![TagFate::Set(None)]);
    assert_eq!(put, [set.clone(), missing(&[sha256(b"nowhere")]), set, missing(&[layer])]);
    assert_eq!(names(&store, "a", &["1"]), [Some(*small.digest())]);
    assert_eq!(names(&store, "b", &["1"]), [Some(*long.digest())]);
    assert_eq!(store.import_images(Vec::new(), None, import), []);
}

#[test]
fn an_import_is_taken_back_as_far_as_nobody_went_on() {
    let home = directory();
    let store = open(home.path());
    let [old, new, other] = ["old", "new", "other"].map(index);
    let before = begin(&store);
    put(&store, before, "a", &[&old], &["moved", "same", "protected", "later", "gone"]).unwrap();
    let import = begin(&store);
    assert!(import > before);
    store.protect_tag(&repo("a"), &tag("protected")).unwrap();
    let tags = ["moved", "same", "protected", "later", "gone", "made", "kept"];
    let fates = put(&store, import, "a", &[&new], &tags).unwrap();
    let from = Some(*old.digest());
    let [set, made] = [TagFate::Set(from), TagFate::Set(None)];
    let expected = [&set, &set, &TagFate::Protected, &set, &set, &made, &made].map(Clone::clone);
    assert_eq!(fates, expected);
    put(&store, import, "a", &[&old], &["same"]).unwrap();
    store.push_manifest(&repo("a"), other.clone(), vec![tag("later")], None).unwrap();
    store.delete_tag(&repo("a"), &tag("gone"), None).unwrap();
    store.protect_tag(&repo("a"), &tag("kept")).unwrap();
    // What it named before may have been deleted since; that comes back with it.
    store.delete_manifest(&repo("a"), old.digest(), None).unwrap_err();
    store.unprotect_tag(&repo("a"), &tag("protected")).unwrap();
    store.delete_manifest(&repo("a"), old.digest(), None).unwrap();

    let page = store.undo_import(import, None, Some(&by())).unwrap();
    assert_eq!(page.next, None);
    let refused: Vec<String> = page
        .entries
        .iter()
        .filter_map(|undone| undone.refused.as_ref().map(ToString::to_string))
        .collect();
    assert_eq!(refused, ["the tag a:kept is protected, and with it all that it names"]);
    let (old, new, other) = (Some(*old.digest()), Some(*new.digest()), Some(*other.digest()));
    assert_eq!(
        names(&store, "a", &["moved", "same", "later", "gone", "made", "kept"]),
        [old, None, other, None, None, new]
    );
    // It is a change as any other, and once more finds nothing that the import left.
    let again = store.undo_import(import, None, Some(&by())).unwrap();
    assert_eq!(names(&store, "a", &["moved", "made"]), [old, None]);
    assert_eq!(again.entries.len(), page.entries.len());
    store.end_import(import).unwrap();
    let unknown: ImportNumber = "77".parse().unwrap();
    assert_eq!(store.undo_import(unknown, None, None), Err(StorageError::NoImport(unknown)));
    assert_eq!(store.end_import(unknown), Err(StorageError::NoImport(unknown)));
}
