//! Collection of a store whose rows are as old as a test wants them.

use std::fs;
use std::path::Path;
use std::sync::mpsc;

use bytes::Bytes;
use oci::{Algorithm, Manifest, MediaType, Reference, RepoName, Tag};
use tempfile::TempDir;

use super::*;
use crate::account::{Account, UserId};
use crate::in_memory::lock::OnHeld;
use crate::layout::Layout;
use crate::store::OpenOptions;
use crate::{RemovalStep, RestorePoint};

mod ages;
mod children;
mod deep;
mod deleted_links;
mod kept;
mod restored;
mod told;

const HOUR: Duration = Duration::from_secs(3600);
/// Lets everything go that nothing needs.
const NOTHING: Keep = Keep {
    grace: Duration::ZERO,
    untagged: None,
    listed_within: HOUR,
    deleted: Duration::ZERO,
    history: Duration::ZERO,
    uploads: Duration::ZERO,
};
const UNTAGGED_TOO: Keep = Keep { untagged: Some(Duration::ZERO), ..NOTHING };

fn open() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = open_at(directory.path());
    store.finish_creation().unwrap();
    (directory, store)
}

fn open_at(root: &Path) -> Store {
    let options = OpenOptions {
        may_create: true,
        uploads_per_user: 10,
        reserve_bytes: 0,
        idle_connections: 16,
        hot_manifest_bytes: 1 << 20,
        read_pause_time: std::time::Duration::from_secs(1),
        on_held: &|_| OnHeld::Wait,
        allow_network_fs: false,
        on_fatal: |error| panic!("{error}"),
        on_trouble: |_| {},
    };
    Store::open(root, &options).unwrap()
}

fn repo(name: &str) -> RepoName {
    name.parse().unwrap()
}

fn tags(names: &[&str]) -> Vec<Tag> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn pusher() -> Account {
    Account { name: "pusher".parse().unwrap(), id: UserId::default() }
}

fn push(store: &Store, name: &str, content: &[u8]) -> Digest {
    let (user, digest) = (pusher(), Digest::of(Algorithm::Sha256, content));
    let id = store.create_upload(&repo(name), &user, Algorithm::Sha256).unwrap();
    let writer = store.open_upload(&repo(name), &user, id).unwrap();
    writer.append(&[Bytes::copy_from_slice(content)]).unwrap();
    store.commit_upload(&writer, &digest).unwrap();
    digest
}

fn descriptors(digests: &[Digest]) -> String {
    let descriptor =
        |digest: &Digest| format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":1}}"#);
    digests.iter().map(descriptor).collect::<Vec<_>>().join(",")
}

fn parse(text: String, media_type: &str) -> Manifest {
    let media_type = media_type.parse().unwrap();
    Manifest::parse(Bytes::from(text), Some(media_type), Algorithm::Sha256).unwrap()
}

fn image(layers: &[Digest]) -> Manifest {
    let (config, layers) = (descriptors(&layers[..1]), descriptors(&layers[1..]));
    let text = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layers}]}}"#);
    parse(text, MediaType::OCI_MANIFEST)
}

fn index(children: &[Digest], subject: Option<&Digest>) -> Manifest {
    let subject = subject.map_or_else(String::new, |subject| {
        format!(r#","subject":{}"#, descriptors(std::slice::from_ref(subject)))
    });
    let children = descriptors(children);
    let text = format!(r#"{{"schemaVersion":2,"manifests":[{children}]{subject}}}"#);
    parse(text, MediaType::OCI_INDEX)
}

fn put(store: &Store, name: &str, manifest: &Manifest, names: &[&str]) -> Digest {
    store.push_manifest(&repo(name), manifest.clone(), tags(names), None).unwrap();
    *manifest.digest()
}

/// Lets the time of the store's own clock pass.
fn pass(store: &Store, time: Duration) {
    store.database.clock().pass(time);
}

/// An image of its own that is pushed by its digest.
fn child(store: &Store, content: &str) -> Digest {
    let config = push(store, "a", content.as_bytes());
    put(store, "a", &image(&[config]), &[])
}

/// Deletes a manifest that is there.
fn delete(store: &Store, digest: &Digest) {
    assert_eq!(store.delete_manifest(&repo("a"), digest, None), Ok(true));
}

fn collect(store: &Store, keep: &Keep) -> Collected {
    let done = store.collect(keep, false, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(done.is_whole);
    done
}

fn has(store: &Store, name: &str, digest: &Digest) -> bool {
    store.blob_size(&repo(name), digest).unwrap().is_some()
}

fn has_manifest(store: &Store, name: &str, digest: &Digest) -> bool {
    store.manifest(&repo(name), &Reference::Digest(*digest)).unwrap().is_some()
}

/// How many rows all tables have that collection touches, and how many files there are.
fn sizes(store: &Store) -> Vec<(String, u64)> {
    let tables = [
        "repositories",
        "blobs",
        "repository_blobs",
        "manifests",
        "repository_manifests",
        "deleted_manifests",
        "deleted_links",
        "edges",
        "tags",
        "tag_history",
    ];
    let count = |table: &str| {
        let count = format!("SELECT count(*) FROM {table}");
        let count = store.database.read(|reader| reader.number(&count)).unwrap();
        (table.to_owned(), u64::try_from(count).unwrap())
    };
    let mut sizes: Vec<_> = tables.into_iter().map(count).collect();
    sizes.push(("files".to_owned(), files(store) as u64));
    sizes
}

fn files(store: &Store) -> usize {
    let list =
        |(algorithm, prefix)| fs::read_dir(store.layout.shard(algorithm, prefix)).unwrap().count();
    Layout::shards().map(list).sum()
}

/// Lets time pass, on the store's clock and on the wall.
fn age(store: &Store, by: Duration) {
    store.database.clock().pass(by);
    let seconds = by.as_secs();
    let statements = format!(
        "UPDATE repository_manifests SET pushed_at = pushed_at - {seconds};
         UPDATE deleted_manifests SET deleted_at = deleted_at - {seconds};
         UPDATE tag_history SET changed_at = changed_at - {seconds},
                                changed_tick = changed_tick - {seconds};"
    );
    store.database.write(move |transaction| transaction.run(&statements)).unwrap();
}

/// A store that has run for some days.
fn old() -> (TempDir, Store) {
    let (directory, store) = open();
    age(&store, 100 * HOUR);
    (directory, store)
}

/// Opens the store again that a process left, as it does after a crash or, in order, after a stop.
fn again(directory: &TempDir, store: Store, is_in_order: bool) -> Store {
    let promises = store.layout.promises();
    drop(store);
    assert!(promises.exists());
    if !is_in_order {
        fs::remove_file(&promises).unwrap();
    }
    let store = open_at(directory.path());
    assert!(!promises.exists());
    store
}

#[test]
fn what_a_manifest_names_stays_and_what_nothing_names_goes() {
    let (_directory, store) = open();
    let [config, layer, other] =
        ["config", "layer", "other"].map(|c| push(&store, "a", c.as_bytes()));
    let untagged = put(&store, "a", &image(&[config, layer]), &[]);
    let listed = put(&store, "a", &image(&[config]), &[]);
    let list = put(&store, "a", &index(&[listed], None), &["list"]);
    let signature = put(&store, "a", &index(&[], Some(&list)), &[]);
    push(&store, "b", b"other");
    push(&store, "b", b"layer");
    let done = collect(&store, &NOTHING);
    assert_eq!((done.links, done.blobs, done.blob_bytes), (3, 1, 5));
    for manifest in [untagged, listed, list, signature] {
        assert!(has_manifest(&store, "a", &manifest));
    }
    assert!(has(&store, "a", &config) && has(&store, "a", &layer));
    assert!(!has(&store, "a", &other) && !has(&store, "b", &layer));
    assert_eq!(files(&store), 2);
    // The second repository held nothing else.
    assert_eq!(done.repositories, 1);
    assert!(!store.repository_exists(&repo("b")).unwrap());
    let again = collect(&store, &NOTHING);
    let nothing = Collected { blobs_seen: 2, is_whole: true, ..Collected::default() };
    assert_eq!(again, Collected { untagged_kept: again.untagged_kept, ..nothing });
}

#[test]
fn a_deleted_manifest_keeps_its_blobs_as_long_as_it_can_be_restored() {
    let (_directory, store) = open();
    let layers: Vec<_> = (0..300).map(|n| push(&store, "a", format!("{n}").as_bytes())).collect();
    let manifest = image(&layers);
    let digest = put(&store, "a", &manifest, &["latest"]);
    assert!(store.delete_manifest(&repo("a"), &digest, None).unwrap());
    let keep = Keep { deleted: HOUR, ..NOTHING };
    assert_eq!(collect(&store, &keep).deleted_manifests, 0);
    // It is restored when half of its edges are gone.
    age(&store, 2 * HOUR);
    let stopped = store.collect(&keep, false, &mut |_| ControlFlow::Break(())).unwrap();
    assert!(!stopped.is_whole && stopped.deleted_manifests == 0);
    put(&store, "a", &manifest, &["latest"]);
    assert_eq!(collect(&store, &keep).blobs, 0);
    assert!(layers.iter().all(|layer| has(&store, "a", layer)));

    store.delete_manifest(&repo("a"), &digest, None).unwrap();
    age(&store, 2 * HOUR);
    let done = collect(&store, &keep);
    assert_eq!((done.deleted_manifests, done.blobs, done.repositories), (1, 300, 1));
    assert!(sizes(&store).iter().all(|(_, size)| *size == 0), "{:?}", sizes(&store));
}

#[test]
fn what_a_tag_named_at_a_forgotten_time_is_not_guessed() {
    let (_directory, store) = open();
    let [one, two, three] = [0, 1, 2].map(|n| index(&vec![push(&store, "a", b"x"); n], None));
    for manifest in [&one, &two, &three] {
        age(&store, 2 * HOUR);
        put(&store, "a", manifest, &["moving"]);
    }
    let (name, tag) = (repo("a"), tags(&["moving"]).remove(0));
    let before = |hours: i64| {
        let then = RestorePoint::Before(crate::clock::wall_seconds() - hours * 3600);
        store.restore_tag(&name, &tag, then, None).map(|restored| restored.after)
    };
    collect(&store, &Keep { history: HOUR, ..NOTHING });
    let unknown = StorageError::NothingToUndo { repository: name.clone(), tag: tag.clone() };
    assert_eq!(before(3), Err(unknown));
    assert_eq!(before(1), Ok(Some(*two.digest())));
}

#[test]
fn a_tag_goes_back_to_an_index_that_somebody_took_a_child_from() {
    let (_directory, store) = open();
    let layer = push(&store, "a", b"layer");
    let child = put(&store, "a", &image(&[layer]), &[]);
    let sparse = put(&store, "a", &index(&[child], None), &["moving"]);
    assert!(store.delete_manifest(&repo("a"), &child, None).unwrap());
    assert!(store.delete_blob(&repo("a"), &layer).unwrap());
    put(&store, "a", &index(&[], None), &["moving"]);
    let tag = tags(&["moving"]).remove(0);
    let restored = store.restore_tag(&repo("a"), &tag, RestorePoint::LastChange, None).unwrap();
    assert_eq!((restored.after, restored.manifests), (Some(sparse), Vec::new()));
}

#[test]
fn a_protected_tag_keeps_the_type_of_what_it_names() {
    let (_directory, store) = open();
    let text = r#"{"schemaVersion":2,"manifests":[]}"#.to_owned();
    put(&store, "a", &parse(text.clone(), MediaType::OCI_INDEX), &["kept"]);
    let tag = tags(&["kept"]).remove(0);
    store.protect_tag(&repo("a"), &tag).unwrap();
    let other = parse(text, MediaType::DOCKER_LIST);
    store.push_manifest(&repo("a"), other, Vec::new(), None).unwrap();
    let served = store.manifest(&repo("a"), &Reference::Tag(tag)).unwrap().unwrap();
    assert_eq!(served.media_type, MediaType::OCI_INDEX);
}

#[test]
fn what_is_copied_stays_until_the_copy_is_made() {
    let (_directory, store) = open();
    let blob = push(&store, "a", b"layer");
    let deleted = put(&store, "a", &image(&[blob]), &["1"]);
    let untagged = put(&store, "a", &index(&[], None), &[]);
    let hold = store.hold_deletions();
    store.remove_image(&repo("a"), &Reference::Digest(deleted), None).unwrap();
    collect(&store, &UNTAGGED_TOO);
    collect(&store, &UNTAGGED_TOO);
    for manifest in [&deleted, &untagged] {
        assert!(store.kept_manifest(manifest).unwrap().is_some(), "{manifest}");
    }
    assert_eq!(files(&store), 1);
    drop(hold);
    collect(&store, &UNTAGGED_TOO);
    for manifest in [&deleted, &untagged] {
        assert_eq!(store.kept_manifest(manifest), Ok(None), "{manifest}");
    }
    assert_eq!(files(&store), 0);
}

#[test]
fn two_collections_at_once_both_come_to_their_end() {
    let (_directory, store) = open();
    for n in 0..300 {
        put(&store, "a", &index(&[], None), &[&format!("t{n}")]);
    }
    let mut runs = 0;
    let mut on_step = |_: &Collected| {
        runs += 1;
        assert!(runs < 1000, "it does not end");
        // The other one takes what this one has counted.
        if runs == 1 {
            collect(&store, &NOTHING);
        }
        ControlFlow::Continue(())
    };
    assert!(store.collect(&NOTHING, false, &mut on_step).unwrap().is_whole);
}

#[test]
fn untagged_manifests_go_by_rule_the_outer_before_the_inner() {
    let (_directory, store) = old();
    let [one, two, kept] = ["one", "two", "kept"].map(|c| push(&store, "a", c.as_bytes()));
    let child = put(&store, "a", &image(&[one, two]), &[]);
    let inner = put(&store, "a", &index(&[child], None), &[]);
    let outer = put(&store, "a", &index(&[inner], None), &["moving"]);
    let signature = put(&store, "a", &index(&[], Some(&outer)), &[]);
    let tagged = put(&store, "a", &image(&[kept]), &["kept"]);
    let keep = Keep { untagged: Some(48 * HOUR), deleted: 24 * HOUR, ..NOTHING };
    age(&store, 100 * HOUR);
    assert_eq!(collect(&store, &keep).untagged_manifests, 0, "a tag reaches all of them");
    put(&store, "a", &index(&[tagged], None), &["moving"]);
    assert_eq!(collect(&store, &keep).untagged_manifests, 0, "the tag can be moved back");
    age(&store, 25 * HOUR);
    let done = collect(&store, &keep);
    assert_eq!((done.untagged_manifests, done.deleted_manifests, done.blobs), (4, 0, 2));
    for gone in [child, inner, outer, signature] {
        assert!(!has_manifest(&store, "a", &gone));
    }
    assert!(has_manifest(&store, "a", &tagged) && has(&store, "a", &kept));
}

#[test]
fn files_without_rows_go_unless_they_are_young_or_no_blobs() {
    let (_directory, store) = open();
    push(&store, "a", b"held");
    put(&store, "a", &image(&[push(&store, "a", b"held")]), &["latest"]);
    let stray = Digest::of(Algorithm::Sha512, b"stray");
    fs::write(store.layout.blob(&stray), b"stray").unwrap();
    let foreign = store.layout.blob(&stray).with_extension("mine");
    fs::write(&foreign, b"mine").unwrap();
    let run = |grace| {
        let keep = Keep { grace, ..NOTHING };
        let done = collect(&store, &keep);
        (done.stray_files, done.stray_bytes, done.foreign_files)
    };
    assert_eq!(run(Duration::ZERO), (1, 5, 1));
    assert_eq!(run(Duration::ZERO), (0, 0, 1));
    // What verification put aside stays as long as anything else that was removed.
    let aside = store.layout.damaged_blob(&stray);
    fs::write(&aside, b"wrong").unwrap();
    let keep = Keep { deleted: HOUR, ..NOTHING };
    assert_eq!(collect(&store, &keep).damaged_files, 0);
    let done = collect(&store, &NOTHING);
    assert_eq!((done.damaged_files, done.damaged_bytes, aside.exists()), (1, 5, false));
    assert!(foreign.exists() && !store.layout.blob(&stray).exists());

    let (_directory, store) = old();
    fs::write(store.layout.blob(&stray), b"stray").unwrap();
    assert_eq!(collect(&store, &Keep { grace: HOUR, ..NOTHING }).stray_files, 0);
    // One that is being committed has no row yet.
    let claim = store.claims.claim(&stray);
    assert_eq!(collect(&store, &NOTHING).stray_files, 0);
    drop(claim);
    assert_eq!(collect(&store, &NOTHING).stray_files, 1);
}

#[test]
fn a_dry_run_changes_nothing_and_says_what_the_run_then_does() {
    let (_directory, store) = open();
    let [a, b, c] = ["a", "b", "c"].map(|content| push(&store, "x", content.as_bytes()));
    push(&store, "y", b"a");
    push(&store, "y", b"lone");
    let child = put(&store, "x", &image(&[a, b]), &[]);
    put(&store, "x", &index(&[child], None), &[]);
    put(&store, "x", &image(&[c]), &["kept"]);
    let deleted = put(&store, "y", &image(&[a]), &["gone"]);
    store.delete_manifest(&repo("y"), &deleted, None).unwrap();
    let user = pusher();
    store.create_upload(&repo("y"), &user, Algorithm::Sha256).unwrap();
    let stray = Digest::of(Algorithm::Sha256, b"stray");
    fs::write(store.layout.blob(&stray), b"stray").unwrap();
    let before = sizes(&store);
    let mut on_step = |_: &Collected| ControlFlow::Continue(());
    let promised = store.collect(&UNTAGGED_TOO, true, &mut on_step).unwrap();
    assert_eq!(sizes(&store), before);
    assert_eq!((promised.untagged_manifests, promised.deleted_manifests), (2, 1));
    assert_eq!((promised.blobs, promised.uploads, promised.stray_files), (3, 1, 1));
    let done = collect(&store, &UNTAGGED_TOO);
    // A repository that will be empty is not empty yet.
    assert_eq!(Collected { repositories: 0, ..done }, promised);
}

#[test]
fn a_push_that_waits_is_served_between_two_steps() {
    let (_directory, store) = open();
    for n in 0..600 {
        push(&store, "a", format!("{n}").as_bytes());
    }
    let (ask, asked) = mpsc::channel::<usize>();
    let (answer, answered) = mpsc::channel();
    std::thread::scope(|scope| {
        let store = &store;
        scope.spawn(move || {
            for n in asked {
                answer.send(push(store, "b", format!("new {n}").as_bytes())).unwrap();
            }
        });
        let mut steps = 0;
        // The run goes on only when somebody else's push has ended.
        let mut on_step = |_: &Collected| {
            ask.send(steps).unwrap();
            answered.recv().unwrap();
            steps += 1;
            ControlFlow::Continue(())
        };
        let keep = Keep { grace: Duration::ZERO, ..NOTHING };
        let done = store.collect(&keep, false, &mut on_step).unwrap();
        assert!(done.links >= 600 && done.blobs >= 600, "{done:?}");
        // Steps change 256 rows at most, which `step_to_free` holds them to.
        assert!(steps >= 600 / STEP_ROWS * 2, "{steps} steps");
        drop(ask);
    });
}

#[test]
fn a_commit_and_a_removal_of_one_digest_do_not_cross() {
    let (_directory, store) = open();
    // The sessions of these pushes are in use.
    let keep = Keep { uploads: Duration::from_secs(3600), ..NOTHING };
    let contents: Vec<_> = (0..8).map(|n| format!("content {n}")).collect();
    std::thread::scope(|scope| {
        let pushers: Vec<_> = (0..2)
            .map(|_| {
                let (store, contents) = (&store, &contents);
                scope.spawn(move || {
                    for n in 0..200 {
                        push(store, "a", contents[n % contents.len()].as_bytes());
                    }
                })
            })
            .collect();
        while !pushers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            collect(&store, &keep);
        }
    });
    // A row without a file would make a push of the blob, and of manifests that name it, fail.
    let rows = sizes(&store)[1].1;
    assert_eq!(rows, files(&store) as u64);
    for content in &contents {
        let digest = push(&store, "a", content.as_bytes());
        assert!(has(&store, "a", &digest));
    }
}
