//! Images as a whole: what goes with one, what stays, and what is missing.

use oci::{Algorithm, Digest, EdgeKind, Manifest, MediaType, Reference, RepoName, Tag, TagPattern};
use storage::{BlobTotal, Keeper, PartState, RemovalStep, RestorePoint, StorageError, Store};

use crate::support::{blob_path, directory, image, index, open, parse, push, repo, sha256, tag};
use crate::tag::{index_of, referrer};

/// Pushes an image of one layer of 1,000 bytes that `mark` tells from others.
fn push_image(store: &Store, name: &RepoName, mark: u8, tags: &[&str]) -> Manifest {
    let manifest = image(&push(store, name, b"{}"), &[push(store, name, &[mark; 1000])]);
    let tags = tags.iter().map(|name| tag(name)).collect();
    store.push_manifest(name, manifest.clone(), tags, None).unwrap();
    manifest
}

fn by_tag(name: &str) -> Reference {
    Reference::Tag(tag(name))
}

fn sorted(digests: &[&Digest]) -> Vec<Digest> {
    let mut digests: Vec<_> = digests.iter().map(|digest| **digest).collect();
    digests.sort();
    digests
}

/// What a removal takes, which its plan told.
fn remove(store: &Store, name: &RepoName, image: &Reference) -> storage::Removal {
    let planned = store.plan_removal(name, image).unwrap();
    let mut removed = store.remove_image(name, image, None).unwrap();
    assert_eq!(removed, planned);
    removed.manifests.sort();
    removed
}

#[test]
fn an_image_goes_with_what_nothing_else_keeps() {
    let home = directory();
    let store = open(home.path());
    let name = repo("a");
    let [own, shared, tagged] = [1, 2, 3].map(|mark| push_image(&store, &name, mark, &[]));
    store.push_manifest(&name, tagged.clone(), vec![tag("tagged")], None).unwrap();
    let first = index_of(&[own.digest(), shared.digest(), tagged.digest()]);
    let second = index_of(&[shared.digest()]);
    store.push_manifest(&name, first.clone(), vec![tag("first")], None).unwrap();
    store.push_manifest(&name, second.clone(), vec![tag("second")], None).unwrap();
    // What belongs to the first: a referrer of the list, a signature of a child, and one of that.
    let bill = referrer(first.digest(), "bill");
    let kept = referrer(first.digest(), "kept");
    store.push_manifest(&name, bill.clone(), vec![], None).unwrap();
    store.push_manifest(&name, kept.clone(), vec![tag("kept")], None).unwrap();
    let of = |digest: &Digest, end: &str| -> Tag {
        format!("sha256-{}{end}", digest.hex()).parse().unwrap()
    };
    let signature = index("signature");
    store.push_manifest(&name, signature.clone(), vec![of(own.digest(), ".sig")], None).unwrap();
    let above = index("signature of a signature");
    let twice = of(signature.digest(), ".sig");
    store.push_manifest(&name, above.clone(), vec![twice.clone()], None).unwrap();

    let removed = remove(&store, &name, &by_tag("first"));
    let gone = [first.digest(), own.digest(), bill.digest(), signature.digest(), above.digest()];
    assert_eq!(removed.manifests, sorted(&gone));
    let tags: Vec<_> = removed.tags.iter().map(|(tag, _)| tag.clone()).collect();
    assert_eq!(tags.len(), 3, "{tags:?}");
    assert!(tags.contains(&tag("first")) && tags.contains(&twice), "{tags:?}");
    assert_eq!((removed.sparse, removed.kept_by), (vec![], None));
    // The layer of one image, before and after; the configuration is everybody's.
    let one_layer = BlobTotal { blobs: 1, bytes: 1000 };
    assert_eq!(store.space_of(&name, &removed.manifests), Ok(one_layer));
    for kept in [&shared, &tagged, &second, &kept] {
        let there = store.manifest(&name, &Reference::Digest(*kept.digest())).unwrap();
        assert!(there.is_some(), "{}", kept.digest());
    }
    let removed = remove(&store, &name, &by_tag("second"));
    assert_eq!(removed.manifests, sorted(&[second.digest(), shared.digest()]));
}

#[test]
fn a_tag_goes_alone_while_something_else_keeps_its_manifest() {
    let home = directory();
    let store = open(home.path());
    let name = repo("a");
    let child = push_image(&store, &name, 1, &["child", "again"]);
    let removed = remove(&store, &name, &by_tag("child"));
    assert_eq!(removed.tags, [(tag("child"), *child.digest())]);
    assert_eq!((removed.manifests, removed.kept_by), (vec![], Some(Keeper::Tag(tag("again")))));
    let list = index_of(&[child.digest()]);
    store.push_manifest(&name, list.clone(), vec![tag("list")], None).unwrap();
    let removed = remove(&store, &name, &by_tag("again"));
    assert_eq!(removed.kept_by, Some(Keeper::Index(*list.digest())));
    // By its digest it goes all the same, and the index is sparse.
    let removed = remove(&store, &name, &Reference::Digest(*child.digest()));
    assert_eq!((removed.manifests, removed.sparse), (vec![*child.digest()], vec![*list.digest()]));
    let absent = StorageError::NoManifest { repository: name.clone(), digest: *child.digest() };
    let refused = store.remove_image(&name, &Reference::Digest(*child.digest()), None);
    assert_eq!(refused, Err(absent));
    let absent = StorageError::NoTag { repository: name.clone(), tag: tag("child") };
    assert_eq!(store.plan_removal(&name, &by_tag("child")), Err(absent));
    // A referrer that is named itself goes though its subject stays.
    let named = referrer(list.digest(), "named");
    store.push_manifest(&name, named.clone(), vec![tag("named")], None).unwrap();
    assert_eq!(remove(&store, &name, &by_tag("named")).manifests, [*named.digest()]);
}

/// Removes all tags like a pattern, which the plan told; how much went, and in how many steps.
fn remove_like(store: &Store, name: &RepoName, pattern: &str) -> (RemovalStep, usize) {
    let pattern: TagPattern = pattern.parse().unwrap();
    let planned = store.plan_removal_of_tags(name, &pattern).unwrap();
    let (mut all, mut after, mut steps) = (RemovalStep::default(), None, 0);
    loop {
        let (step, next) = store.remove_tags(name, &pattern, after.as_ref(), None).unwrap();
        (all.tags, all.manifests) = (all.tags + step.tags, all.manifests + step.manifests);
        steps += 1;
        after = next;
        if after.is_none() {
            break;
        }
    }
    let planned = (planned.tags.len() as u64, planned.manifests.len() as u64);
    assert_eq!((all.tags, all.manifests), planned);
    (all, steps)
}

#[test]
fn all_images_whose_tags_are_like_a_pattern_go_in_steps_with_what_nothing_else_keeps() {
    let home = directory();
    let store = open(home.path());
    let name = repo("a");
    let (shared, kept) = (index("shared"), index("kept"));
    store.push_manifest(&name, shared.clone(), vec![], None).unwrap();
    store.push_manifest(&name, kept.clone(), vec![tag("5.0"), tag("4.14.kept")], None).unwrap();
    // The first and the last one have one manifest, and some list what others name as well.
    for number in 0..50 {
        let own = index(&number.to_string());
        let own_tag = format!("4.14.{number}");
        store.push_manifest(&name, own.clone(), vec![tag(&own_tag)], None).unwrap();
        let list = index_of(&[own.digest(), shared.digest()]);
        store.push_manifest(&name, list, vec![tag(&format!("4.14.{number}-all"))], None).unwrap();
    }
    let twice = index("twice");
    store.push_manifest(&name, twice.clone(), vec![tag("4.14.00"), tag("4.14.x")], None).unwrap();
    let signature: Tag = format!("sha256-{}.sig", twice.digest().hex()).parse().unwrap();
    store.push_manifest(&name, index("signature"), vec![signature], None).unwrap();
    for other in ["4.140", "4.13.1", "a4.14.1"] {
        store.push_manifest(&name, index(other), vec![tag(other)], None).unwrap();
    }

    let none = RemovalStep::default();
    assert_eq!(remove_like(&store, &name, "4.15.*"), (none, 1));
    assert_eq!(remove_like(&store, &repo("absent"), "*"), (none, 1));
    store.protect_tag(&name, &tag("4.14.7")).unwrap();
    let pattern: TagPattern = "4.14.*".parse().unwrap();
    let refused = StorageError::TagProtected { repository: name.clone(), tag: tag("4.14.7") };
    assert_eq!(store.plan_removal_of_tags(&name, &pattern), Err(refused));
    store.unprotect_tag(&name, &tag("4.14.7")).unwrap();
    let (gone, steps) = remove_like(&store, &name, "4.14.*");
    // The tags and the manifests of all, that of two tags and its signature, what all lists have.
    assert_eq!(gone, RemovalStep { tags: 100 + 1 + 2 + 1, manifests: 100 + 1 + 1 + 1 });
    assert!(steps >= 5, "{steps}");
    let left: Vec<_> = store.tags(&name, None, 100).unwrap().unwrap();
    let left: Vec<_> = left.iter().map(|(tag, _)| tag.as_str()).collect();
    assert_eq!(left, ["4.13.1", "4.140", "5.0", "a4.14.1"]);
    let by_digest = Reference::Digest(*kept.digest());
    assert!(store.manifest(&name, &by_digest).unwrap().is_some());
}

#[test]
fn blobs_that_another_repository_holds_are_not_freed() {
    let home = directory();
    let store = open(home.path());
    let (name, other) = (repo("a"), repo("b"));
    let here = push_image(&store, &name, 1, &["v1"]);
    push_image(&store, &name, 2, &["v2"]);
    let there = push_image(&store, &other, 1, &["v1"]);
    let all = |name| store.space_in(name, None).unwrap().0.held_alone;
    assert_eq!(all(&name), BlobTotal { blobs: 1, bytes: 1000 });
    assert_eq!(store.space_of(&name, &[*here.digest()]), Ok(BlobTotal::default()));
    remove(&store, &other, &by_tag("v1"));
    assert_eq!(store.space_of(&other, &[*there.digest()]), Ok(BlobTotal::default()));
    assert_eq!(store.space_of(&name, &[*here.digest()]), Ok(BlobTotal { blobs: 1, bytes: 1000 }));
    assert_eq!(all(&name), BlobTotal { blobs: 3, bytes: 2002 });
}

#[test]
fn a_whole_repository_goes_in_steps() {
    let home = directory();
    let store = open(home.path());
    let (name, other) = (repo("a"), repo("b"));
    store.push_manifest(&other, index("0"), vec![tag("v1")], None).unwrap();
    for number in 0..150 {
        let tags = if number % 10 == 0 { vec![tag(&format!("v{number}"))] } else { vec![] };
        store.push_manifest(&name, index(&number.to_string()), tags, None).unwrap();
    }
    assert_eq!(store.plan_removal_of_all(&name), Ok(Some((15, 150))));
    assert_eq!(store.plan_removal_of_all(&repo("c")), Ok(None));
    let (mut all, mut steps) = (RemovalStep::default(), 0);
    loop {
        let step = store.remove_some(&name, None).unwrap();
        if step == RemovalStep::default() {
            break;
        }
        assert!(step.tags * 2 + step.manifests * 2 <= 256, "{step:?}");
        (all.tags, all.manifests) = (all.tags + step.tags, all.manifests + step.manifests);
        steps += 1;
    }
    assert_eq!(all, RemovalStep { tags: 15, manifests: 150 });
    assert!(steps >= 3, "{steps}");
    assert_eq!(store.repositories(None, 10), Ok(vec![other]));
}

#[test]
fn what_is_removed_in_steps_goes_from_the_top_and_comes_back_whole() {
    let home = directory();
    let store = open(home.path());
    let name = repo("a");
    let children: Vec<Manifest> = (0..140).map(|n| index(&n.to_string())).collect();
    for child in &children {
        store.push_manifest(&name, child.clone(), vec![], None).unwrap();
    }
    // Both have a digest after those of all that is below them, whose order must not count.
    let digests: Vec<&Digest> = children.iter().map(Manifest::digest).collect();
    let last = digests.iter().max().unwrap();
    let list = (0..).map(|n| index_of(&[&digests[..], &[&sha256(&[n])]].concat()));
    let list = list.into_iter().find(|list| list.digest() > *last).unwrap();
    store.push_manifest(&name, list.clone(), vec![tag("v1")], None).unwrap();
    let bill = (0..).map(|n| referrer(list.digest(), &format!("{n}")));
    let bill = bill.into_iter().find(|bill| bill.digest() < list.digest()).unwrap();
    store.push_manifest(&name, bill.clone(), vec![], None).unwrap();
    let is_there = |manifest: &Manifest| {
        store.manifest(&name, &Reference::Digest(*manifest.digest())).unwrap().is_some()
    };
    // The tag, and one step of the manifests.
    assert_eq!(store.remove_some(&name, None), Ok(RemovalStep { tags: 1, manifests: 0 }));
    assert_eq!(store.remove_some(&name, None), Ok(RemovalStep { tags: 0, manifests: 127 }));
    assert!(!is_there(&list));
    let restored = store.restore_tag(&name, &tag("v1"), RestorePoint::LastChange, None).unwrap();
    assert!(restored.manifests.len() >= 127);
    assert!(is_there(&list) && is_there(&bill) && children.iter().all(is_there));

    while store.remove_some(&name, None).unwrap() != RemovalStep::default() {}
    let gone = store.deleted_since(&name, 1, None, 1000).unwrap();
    assert_eq!(gone.len(), 142);
    assert_eq!(store.deleted_since(&name, i64::MAX, None, 1000), Ok(vec![]));
    assert_eq!(store.deleted_since(&name, 1, gone.last(), 1000), Ok(vec![]));
    assert_eq!(store.restore_manifest(&name, list.digest()).unwrap().len(), 142);
    assert_eq!(store.restore_manifest(&name, list.digest()), Ok(vec![]));
    // A tag that is there by now is left.
    store.push_manifest(&name, bill.clone(), vec![tag("v1")], None).unwrap();
    let restored = store.restore_tag(&name, &tag("v1"), RestorePoint::IfGone(*list.digest()), None);
    assert_eq!(restored.unwrap().after, Some(*bill.digest()));
}

#[test]
fn each_part_of_an_image_is_told_with_its_state() {
    let home = directory();
    let store = open(home.path());
    let name = repo("a");
    let [config, good, bad] = [b"{}".as_slice(), b"good", b"bad"].map(|it| push(&store, &name, it));
    let (foreign, absent) = (sha256(b"foreign"), sha256(b"absent"));
    let blob = |digest| format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":2}}"#);
    let text = format!(
        r#"{{"schemaVersion":2,"config":{},"layers":[{},{},
        {{"mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar",
        "digest":"{foreign}","size":7,"urls":["https://example.com/"]}}]}}"#,
        blob(config),
        blob(good),
        blob(bad),
    );
    let manifest = parse(text, MediaType::OCI_MANIFEST, Algorithm::Sha256);
    let list = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"a/b","digest":"{}","size":1,
        "platform":{{"os":"linux","architecture":"arm64","variant":"v8"}}}},
        {{"mediaType":"a/b","digest":"{absent}","size":9,"platform":"odd"}}]}}"#,
        manifest.digest()
    );
    let list = parse(list, MediaType::OCI_INDEX, Algorithm::Sha256);
    store.push_manifest(&name, manifest.clone(), vec![], None).unwrap();
    store.push_manifest(&name, list.clone(), vec![tag("v1"), tag("v2")], None).unwrap();
    std::fs::remove_file(blob_path(home.path(), &bad)).unwrap();

    let info = store.manifest_info(&name, &by_tag("v1"), 1).unwrap().unwrap();
    assert_eq!((info.digest, info.tags.len()), (*list.digest(), 1));
    assert_eq!(store.manifest_info(&name, &by_tag("v3"), 1), Ok(None));
    let parts = |digest, skip, limit| {
        let parts = store.image_parts(&name, digest, skip, limit).unwrap().unwrap();
        let part = |part: &storage::ImagePart| {
            let it = &part.descriptor;
            (it.kind, it.digest, it.size, it.platform.clone(), part.state)
        };
        parts.iter().map(part).collect::<Vec<_>>()
    };
    let [os, architecture, variant] = ["linux", "arm64", "v8"].map(|it| Some(it.to_owned()));
    let platform = Some(oci::Platform { os, architecture, variant });
    let children = [
        (EdgeKind::Child, *manifest.digest(), 1, platform, PartState::Present),
        (EdgeKind::Child, absent, 9, None, PartState::Absent),
    ];
    assert_eq!(parts(list.digest(), 0, 10), children);
    assert_eq!(parts(list.digest(), 1, 10), children[1..]);
    let blobs = [
        (EdgeKind::Config, config, 2, None, PartState::Present),
        (EdgeKind::Layer, good, 2, None, PartState::Present),
        (EdgeKind::Layer, bad, 2, None, PartState::Lost),
        (EdgeKind::ForeignLayer, foreign, 7, None, PartState::Foreign),
    ];
    assert_eq!(parts(manifest.digest(), 0, 10), blobs);
    assert_eq!(parts(manifest.digest(), 2, 1), blobs[2..3]);
    assert_eq!(store.image_parts(&name, &absent, 0, 1), Ok(None));
}
