//! Tags: what was done to them, undoing it, and protecting them.

use oci::{Algorithm, Digest, Manifest, MediaType, Reference, RepoName, Tag};
use storage::{Actor, RemovalStep, RestorePoint, Restored, StorageError, Store, TagChange};

use crate::support::{
    blob_path, directory, image, index, open, parse, push, repo, sha256, tag, user,
};

/// Pushes an image whose layer is `mark`.
fn push_image(store: &Store, name: &RepoName, mark: &str, tags: &[&str]) -> Manifest {
    let manifest = image(&push(store, name, b"{}"), &[push(store, name, mark.as_bytes())]);
    let tags = tags.iter().map(|name| tag(name)).collect();
    store.push_manifest(name, manifest.clone(), tags, Some(&client("pusher"))).unwrap();
    manifest
}

/// A client's user.
fn client(name: &str) -> Actor {
    Actor::User(user(name))
}

/// An index of these manifests.
pub(crate) fn index_of(children: &[&Digest]) -> Manifest {
    let child = |digest: &&Digest| {
        let kind = MediaType::OCI_MANIFEST;
        format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":1}}"#)
    };
    let children: Vec<_> = children.iter().map(child).collect();
    let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, children.join(","));
    parse(text, MediaType::OCI_INDEX, Algorithm::Sha256)
}

/// A manifest that refers to `subject`.
pub(crate) fn referrer(subject: &Digest, mark: &str) -> Manifest {
    let text = format!(
        r#"{{"schemaVersion":2,"manifests":[],"annotations":{{"mark":"{mark}"}},
        "subject":{{"mediaType":"a/b","digest":"{subject}","size":1}}}}"#
    );
    parse(text, MediaType::OCI_INDEX, Algorithm::Sha256)
}

fn named(store: &Store, name: &RepoName, tag: &Tag) -> Option<Digest> {
    store.manifest(name, &Reference::Tag(tag.clone())).unwrap().map(|found| found.digest)
}

fn is_there(store: &Store, name: &RepoName, digest: &Digest) -> bool {
    store.manifest(name, &Reference::Digest(*digest)).unwrap().is_some()
}

#[test]
fn each_change_of_a_tag_is_told_newest_first_and_in_pages() {
    let home = directory();
    let store = open(home.path());
    let (name, v1, v2) = (repo("a"), tag("v1"), tag("v2"));
    assert_eq!(store.tag_history(&name, None, None, 10), Ok(None));
    let (one, two) = (*index("one").digest(), *index("two").digest());
    store.push_manifest(&name, index("one"), vec![v1.clone()], Some(&client("x"))).unwrap();
    store.push_manifest(&name, index("one"), vec![v1.clone()], Some(&client("y"))).unwrap();
    store.push_manifest(&repo("b"), index("one"), vec![v1.clone()], None).unwrap();
    store.push_manifest(&name, index("two"), vec![v1.clone(), v2.clone()], None).unwrap();
    store.delete_manifest(&name, &two, Some(&client("z"))).unwrap();
    let all = store.tag_history(&name, None, None, 10).unwrap().unwrap();
    let told: Vec<_> = all
        .iter()
        .map(|it| (it.tag.as_str(), it.before, it.after, it.changed_by.clone()))
        .collect();
    let expected = [
        ("v2", Some(two), None, Some(client("z"))),
        ("v1", Some(two), None, Some(client("z"))),
        ("v2", None, Some(two), None),
        ("v1", Some(one), Some(two), None),
        ("v1", None, Some(one), Some(client("x"))),
    ];
    // A manifest loses its tags in no order that anybody relies on.
    assert_eq!(told[2..], expected[2..]);
    assert_eq!(told.len(), 5);
    for change in &expected[..2] {
        assert!(told[..2].contains(change), "{told:?}");
    }
    for tag in [None, Some(&v1)] {
        let whole = store.tag_history(&name, tag, None, 10).unwrap().unwrap();
        let mut paged = Vec::new();
        while let Some(change) =
            store.tag_history(&name, tag, paged.last().copied(), 1).unwrap().unwrap().pop()
        {
            paged.push(change.id);
        }
        assert_eq!(paged, whole.iter().map(|change| change.id).collect::<Vec<_>>());
    }
}

#[test]
fn each_verb_that_changes_a_tag_notes_who_does_it() {
    let home = directory();
    let store = open(home.path());
    let (name, pattern) = (repo("a"), "v*".parse().unwrap());
    let by = |verb: &str| Actor::Host(format!("alice as {verb}").parse().unwrap());
    let manifest = push_image(&store, &name, "one", &["v1"]);
    let (tag, digest) = (tag("v1"), *manifest.digest());
    let restore = |point| store.restore_tag(&name, &tag, point, Some(&by("restore"))).unwrap();
    store.delete_tag(&name, &tag, Some(&by("delete tag"))).unwrap();
    store.push_manifest(&name, manifest, vec![tag.clone()], Some(&by("push"))).unwrap();
    store.delete_manifest(&name, &digest, Some(&by("delete"))).unwrap();
    restore(RestorePoint::LastChange);
    store.remove_image(&name, &Reference::Tag(tag.clone()), Some(&by("remove"))).unwrap();
    restore(RestorePoint::Digest(digest));
    store.remove_tags(&name, &pattern, None, Some(&by("remove tags"))).unwrap();
    restore(RestorePoint::IfGone(digest));
    while store.remove_some(&name, Some(&by("remove some"))).unwrap() != RemovalStep::default() {}
    // Of which nobody says who it was.
    store.restore_tag(&name, &tag, RestorePoint::LastChange, None).unwrap();
    let page = store.tag_history(&name, None, None, 99).unwrap().unwrap();
    let told: Vec<_> = page.into_iter().rev().map(|change: TagChange| change.changed_by).collect();
    let mut expected = vec![Some(client("pusher"))];
    for verb in [
        "delete tag",
        "push",
        "delete",
        "restore",
        "remove",
        "restore",
        "remove tags",
        "restore",
        "remove some",
    ] {
        expected.push(Some(by(verb)));
    }
    expected.push(None);
    assert_eq!(told, expected);
}

#[test]
fn restoring_twice_is_restoring_nothing() {
    let home = directory();
    let store = open(home.path());
    let (name, latest) = (repo("a"), tag("latest"));
    let one = *push_image(&store, &name, "one", &["latest"]).digest();
    let two = *push_image(&store, &name, "two", &["latest"]).digest();
    let undo = || store.restore_tag(&name, &latest, RestorePoint::LastChange, None);
    for (before, after) in [(two, one), (one, two), (two, one)] {
        let restored = Restored { before: Some(before), after: Some(after), manifests: Vec::new() };
        assert_eq!(undo(), Ok(restored));
        assert_eq!(named(&store, &name, &latest), Some(after));
    }
    assert_eq!(store.tag_history(&name, None, None, 10).unwrap().unwrap().len(), 5);
    // The first push of a tag is undone by removing it, and that is undone as well.
    let other = tag("other");
    store.push_manifest(&name, index("x"), vec![other.clone()], None).unwrap();
    let last = RestorePoint::LastChange;
    assert_eq!(store.restore_tag(&name, &other, last, None).unwrap().after, None);
    assert_eq!(named(&store, &name, &other), None);
    assert!(is_there(&store, &name, index("x").digest()));
    assert_eq!(store.restore_tag(&name, &other, last, None).unwrap().before, None);
    assert_eq!(named(&store, &name, &other), Some(*index("x").digest()));
}

#[test]
fn a_deleted_image_comes_back_whole_with_what_was_deleted_with_it() {
    let home = directory();
    let store = open(home.path());
    let (name, v1) = (repo("a"), tag("v1"));
    let amd64 = push_image(&store, &name, "amd64", &[]);
    let arm64 = push_image(&store, &name, "arm64", &[]);
    let list = index_of(&[amd64.digest(), arm64.digest(), &sha256(b"never here")]);
    store.push_manifest(&name, list.clone(), vec![v1.clone(), tag("also")], None).unwrap();
    let signature = referrer(list.digest(), "signature");
    store.push_manifest(&name, signature.clone(), vec![], None).unwrap();
    let cosign: Tag = format!("sha256-{}.sig", amd64.digest().hex()).parse().unwrap();
    store.push_manifest(&name, index("cosign"), vec![cosign.clone()], None).unwrap();

    let gone = store.remove_image(&name, &Reference::Digest(*list.digest()), None).unwrap();
    assert_eq!(gone.tags.len(), 3, "{gone:?}");
    assert_eq!(store.counts().unwrap().manifests, 0);
    // What the blobs are named by keeps them.
    let manifest = Reference::Digest(*amd64.digest());
    assert_eq!(store.manifest(&name, &manifest), Ok(None));

    let restored = store.restore_tag(&name, &v1, RestorePoint::LastChange, None).unwrap();
    assert_eq!((restored.before, restored.after), (None, Some(*list.digest())));
    let mut back = restored.manifests.clone();
    back.sort();
    let mut expected = vec![*amd64.digest(), *arm64.digest(), *list.digest(), *signature.digest()];
    expected.sort();
    assert_eq!(back, expected);
    let found = store.manifest(&name, &manifest).unwrap().unwrap();
    assert_eq!(
        (found.bytes, found.media_type.as_str()),
        (amd64.bytes().clone(), MediaType::OCI_MANIFEST)
    );
    let referrers = store.referrers(&name, list.digest(), None, None, 1000).unwrap().0;
    assert_eq!(referrers.len(), 1);
    // The other tags are told, and come back the same way.
    let mut others = store.gone_tags(&name, &restored.manifests, 10).unwrap();
    others.sort();
    assert_eq!(others, [tag("also"), cosign.clone()]);
    for other in &others {
        store.restore_tag(&name, other, RestorePoint::LastChange, None).unwrap();
    }
    assert_eq!(store.gone_tags(&name, &restored.manifests, 10), Ok(vec![]));
    assert_eq!(named(&store, &name, &cosign), Some(*index("cosign").digest()));
}

#[test]
fn a_referrer_that_was_deleted_long_before_stays_deleted() {
    let home = directory();
    let store = open(home.path());
    let name = repo("a");
    store.push_manifest(&name, index("x"), vec![tag("v1")], None).unwrap();
    let wrong = referrer(index("x").digest(), "wrong");
    store.push_manifest(&name, wrong.clone(), vec![], None).unwrap();
    store.delete_manifest(&name, wrong.digest(), None).unwrap();
    store.delete_tag(&name, &tag("v1"), None).unwrap();
    let restored = store.restore_tag(&name, &tag("v1"), RestorePoint::LastChange, None).unwrap();
    assert_eq!(restored.manifests, []);
    assert!(!is_there(&store, &name, wrong.digest()));
}

#[test]
fn a_tag_is_restored_to_a_digest_and_to_a_time() {
    let home = directory();
    let store = open(home.path());
    let (name, latest) = (repo("a"), tag("latest"));
    let one = *push_image(&store, &name, "one", &["latest"]).digest();
    let two = *push_image(&store, &name, "two", &["latest"]).digest();
    store.delete_manifest(&name, &one, None).unwrap();
    let restored = store.restore_tag(&name, &latest, RestorePoint::Digest(one), None).unwrap();
    assert_eq!(restored, Restored { before: Some(two), after: Some(one), manifests: vec![one] });
    let first = store.tag_history(&name, None, None, 10).unwrap().unwrap().pop().unwrap();
    let (name, tag) = (name.clone(), latest.clone());
    let refused = store.restore_tag(&name, &tag, RestorePoint::Before(first.changed_at), None);
    assert_eq!(refused, Err(StorageError::NotThereThen { repository: name.clone(), tag }));
    let later = RestorePoint::Before(i64::MAX);
    let restored = store.restore_tag(&name, &latest, later, None).unwrap();
    assert_eq!((restored.before, restored.after), (Some(one), Some(one)));
}

#[test]
fn what_is_gone_for_good_is_refused_and_nothing_changes() {
    let home = directory();
    let store = open(home.path());
    let (name, v1) = (repo("a"), tag("v1"));
    let last = RestorePoint::LastChange;
    let nothing = StorageError::NothingToUndo { repository: name.clone(), tag: v1.clone() };
    assert_eq!(store.restore_tag(&name, &v1, last, None), Err(nothing.clone()));
    let manifest = push_image(&store, &name, "layer", &["v1"]);
    let absent = tag("absent");
    let unknown = StorageError::NothingToUndo { repository: name.clone(), tag: absent.clone() };
    assert_eq!(store.restore_tag(&name, &absent, last, None), Err(unknown));

    let never = sha256(b"never here");
    let refused = store.restore_tag(&name, &v1, RestorePoint::Digest(never), None);
    let collected = StorageError::Collected { repository: name.clone(), digest: never };
    assert_eq!(refused, Err(collected));
    let refused = store.restore_tag(&repo("b"), &v1, RestorePoint::Digest(never), None);
    let collected = StorageError::Collected { repository: repo("b"), digest: never };
    assert_eq!(refused, Err(collected));
    let digest = *manifest.digest();
    assert_eq!(named(&store, &name, &v1), Some(digest));

    store.delete_manifest(&name, &digest, None).unwrap();
    let layer = sha256(b"layer");
    std::fs::remove_file(blob_path(home.path(), &layer)).unwrap();
    let refused = store.restore_tag(&name, &v1, last, None);
    let lost = StorageError::BlobsCollected { digest, blobs: vec![layer] };
    assert_eq!(refused, Err(lost));
    assert!(!is_there(&store, &name, &digest));
    assert_eq!(named(&store, &name, &v1), None);
    push(&store, &name, b"layer");
    assert_eq!(store.restore_tag(&name, &v1, last, None).unwrap().manifests, [digest]);
}

#[test]
fn a_protected_tag_stays_and_so_does_all_that_it_needs() {
    let home = directory();
    let store = open(home.path());
    let (name, v1) = (repo("a"), tag("v1"));
    let absent = StorageError::NoTag { repository: name.clone(), tag: v1.clone() };
    assert_eq!(store.protect_tag(&name, &v1), Err(absent.clone()));
    assert_eq!(store.unprotect_tag(&name, &v1), Err(absent));
    let child = push_image(&store, &name, "child", &["child"]);
    let inner = index_of(&[child.digest()]);
    let outer = index_of(&[inner.digest(), &sha256(b"sparse")]);
    store.push_manifest(&name, inner.clone(), vec![], None).unwrap();
    store.push_manifest(&name, outer.clone(), vec![v1.clone()], None).unwrap();
    assert_eq!(store.protect_tag(&name, &v1), Ok(true));
    assert_eq!(store.protect_tag(&name, &v1), Ok(false));
    let page = store.protected_tags(&name, &tag("child"), &tag("v1")).unwrap();
    assert!(page.len() == 1 && page.contains(&v1), "{page:?}");

    let refusal = StorageError::TagProtected { repository: name.clone(), tag: v1.clone() };
    let put = store.push_manifest(&name, index("other"), vec![tag("new"), v1.clone()], None);
    assert_eq!(put, Err(refusal.clone()));
    assert_eq!(named(&store, &name, &tag("new")), None);
    assert_eq!(store.delete_tag(&name, &v1, None), Err(refusal.clone()));
    for digest in [child.digest(), inner.digest(), outer.digest()] {
        assert_eq!(store.delete_manifest(&name, digest, None), Err(refusal.clone()));
        let image = Reference::Digest(*digest);
        assert_eq!(store.plan_removal(&name, &image), Err(refusal.clone()));
        assert_eq!(store.remove_image(&name, &image, None), Err(refusal.clone()));
    }
    assert_eq!(store.plan_removal(&name, &Reference::Tag(v1.clone())), Err(refusal.clone()));
    assert_eq!(store.remove_some(&name, None), Err(refusal.clone()));
    let to = RestorePoint::Digest(*child.digest());
    assert_eq!(store.restore_tag(&name, &v1, to, None), Err(refusal));
    // What is not there is not protected, and neither are other tags.
    assert_eq!(store.delete_manifest(&name, &sha256(b"sparse"), None), Ok(false));
    assert_eq!(store.delete_tag(&name, &tag("child"), None), Ok(true));
    // The same content again is no change.
    store.push_manifest(&name, outer.clone(), vec![v1.clone()], None).unwrap();
    assert_eq!(named(&store, &name, &v1), Some(*outer.digest()));

    assert_eq!(store.unprotect_tag(&name, &v1), Ok(true));
    assert_eq!(store.unprotect_tag(&name, &v1), Ok(false));
    assert_eq!(store.delete_manifest(&name, inner.digest(), None), Ok(true));
}
