//! Manifests and tags: together or not at all, verbatim, and gone without a trace.

use oci::{Algorithm, Digest, Manifest, MediaType, Reference, WrongSize, WrongSizes};
use storage::StorageError;

use crate::support::{directory, image, index, open, parse, push, repo, sha256, sha512, tag};

#[test]
fn a_manifest_comes_back_verbatim_by_tag_and_digest() {
    let home = directory();
    let store = open(home.path());
    let name = repo("a");
    let text = "{ \"schemaVersion\": 2,\n\t\"manifests\": [], \"x\": \"\\u0041\" }\n";
    for algorithm in Algorithm::ALL {
        let manifest = parse(text.to_owned(), MediaType::DOCKER_LIST, algorithm);
        let digest = *manifest.digest();
        assert_eq!(digest.algorithm(), algorithm);
        store.push_manifest(&name, manifest, vec![tag("latest"), tag("v1")], None).unwrap();
        for reference in
            [Reference::Digest(digest), Reference::Tag(tag("latest")), Reference::Tag(tag("v1"))]
        {
            let stored = store.manifest(&name, &reference).unwrap().unwrap();
            assert_eq!(stored.bytes, text.as_bytes());
            assert_eq!(stored.media_type, MediaType::DOCKER_LIST);
            assert_eq!(stored.digest, digest);
            assert_eq!(store.manifest(&repo("b"), &reference), Ok(None));
        }
    }
    assert_eq!(store.manifest(&name, &Reference::Tag(tag("v2"))), Ok(None));
    // Either name of the same bytes stays.
    let old = Reference::Digest(sha256(text.as_bytes()));
    assert_eq!(store.manifest(&name, &old).unwrap().unwrap().digest, sha256(text.as_bytes()));
    assert_eq!(store.counts().unwrap().manifests, 2);
}

#[test]
fn a_manifest_whose_blobs_are_missing_leaves_nothing() {
    let home = directory();
    let store = open(home.path());
    let name = repo("a");
    push(&store, &repo("elsewhere"), b"layer");
    let (config, layer) = (sha256(b"{}"), sha256(b"layer"));
    let manifest = image(&config, &[layer]);
    let mut missing = vec![config, layer];
    missing.sort();
    let refused = store.push_manifest(&name, manifest.clone(), vec![tag("latest")], None);
    let Err(StorageError::MissingBlobs(mut named)) = refused else { panic!("{refused:?}") };
    named.sort();
    assert_eq!(named, missing);
    assert_eq!(store.repository_exists(&name), Ok(false));
    assert_eq!(store.tags(&name, None, 10), Ok(None));
    assert_eq!(store.manifest(&name, &Reference::Digest(*manifest.digest())), Ok(None));
    assert_eq!(store.counts().unwrap().manifests, 0);

    // With all but one there, a tag that exists stays where it is.
    push(&store, &name, b"{}");
    store.push_manifest(&name, index("old"), vec![tag("latest")], None).unwrap();
    let refused = store.push_manifest(&name, manifest, vec![tag("latest"), tag("new")], None);
    assert_eq!(refused, Err(StorageError::MissingBlobs(vec![layer])));
    let tags = store.tags(&name, None, 10).unwrap().unwrap();
    assert_eq!(tags, [(tag("latest"), *index("old").digest())]);
}

#[test]
fn children_subjects_and_foreign_layers_may_be_absent() {
    let home = directory();
    let store = open(home.path());
    let name = repo("a");
    let (absent, config) = (sha256(b"absent"), push(&store, &name, b"{}"));
    let descriptor = format!(r#"{{"mediaType":"a/b","digest":"{absent}","size":1}}"#);
    let sparse =
        format!(r#"{{"schemaVersion":2,"manifests":[{descriptor}],"subject":{descriptor}}}"#);
    let sparse = parse(sparse, MediaType::OCI_INDEX, Algorithm::Sha256);
    store.push_manifest(&name, sparse, vec![], None).unwrap();
    let foreign = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"a/b","digest":"{config}","size":2}},
        "layers":[{{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest":"{absent}","size":1,"urls":["https://example.com/"]}}]}}"#
    );
    let foreign = parse(foreign, MediaType::DOCKER_MANIFEST, Algorithm::Sha256);
    store.push_manifest(&name, foreign, vec![], None).unwrap();
}

#[test]
fn putting_twice_is_putting_once_and_a_tag_moves() {
    let home = directory();
    let store = open(home.path());
    let name = repo("a");
    for _ in 0..2 {
        store.push_manifest(&name, index("one"), vec![tag("latest"), tag("one")], None).unwrap();
    }
    let counts = store.counts().unwrap();
    assert_eq!((counts.manifests, counts.tags, counts.repositories), (1, 2, 1));
    store.push_manifest(&name, index("two"), vec![tag("latest")], None).unwrap();
    let (one, two) = (*index("one").digest(), *index("two").digest());
    let tags = store.tags(&name, None, 10).unwrap().unwrap();
    assert_eq!(tags, [(tag("latest"), two), (tag("one"), one)]);
}

#[test]
fn the_media_type_of_the_first_push_counts_where_the_document_leaves_it_open() {
    let home = directory();
    let store = open(home.path());
    for (text, types) in [
        (r#"{"schemaVersion":2,"manifests":[]}"#, [MediaType::DOCKER_LIST, MediaType::OCI_INDEX]),
        ("{}", ["application/vnd.example+json", "application/json"]),
    ] {
        let push = |name: &str, media_type: &str| {
            let manifest = parse(text.into(), media_type, Algorithm::Sha256);
            let by_digest = Reference::Digest(*manifest.digest());
            let pushed = store.push_manifest(&repo(name), manifest, vec![], None).unwrap();
            let stored = store.manifest(&repo(name), &by_digest).unwrap().unwrap();
            (pushed.kept_type, stored.media_type)
        };
        for _ in 0..2 {
            assert_eq!(push("a", types[0]), (None, types[0].to_owned()));
            assert_eq!(push("a", types[1]), (Some(types[0].to_owned()), types[0].to_owned()));
        }
        // Other repositories have their own.
        assert_eq!(push("b", types[1]), (None, types[1].to_owned()));
        let digest = Digest::of(Algorithm::Sha256, text.as_bytes());
        assert_eq!(store.delete_manifest(&repo("a"), &digest, None), Ok(true));
        assert_eq!(push("a", types[1]), (None, types[1].to_owned()));
    }
}

#[test]
fn a_type_that_a_repository_has_of_an_earlier_program_stays_whoever_pushes_again() {
    let home = directory();
    let store = open(home.path());
    let (name, config) = (repo("a"), push(&store, &repo("a"), b"{}"));
    // Docker's by its config, without a type of its own: some have pulled it as OCI's.
    let text = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"{}","digest":"{config}","size":2}}}}"#,
        MediaType::DOCKER_CONFIG
    );
    let oci = MediaType::OCI_MANIFEST;
    let old = Manifest::of_stored(text.clone().into(), oci.parse().unwrap(), Algorithm::Sha256);
    store.push_manifest(&name, old.unwrap(), vec![tag("old")], None).unwrap();
    for new in ["old", "new", "newer"] {
        let pushed = parse(text.clone(), MediaType::DOCKER_MANIFEST, Algorithm::Sha256);
        let pushed = store.push_manifest(&name, pushed, vec![tag(new)], None).unwrap();
        assert_eq!(pushed.kept_type.as_deref(), Some(oci), "{new}");
        for tag in [tag("old"), tag(new)] {
            let stored = store.manifest(&name, &Reference::Tag(tag)).unwrap().unwrap();
            assert_eq!(stored.media_type, oci);
        }
    }
    let by_header = Some(oci.parse().unwrap());
    assert!(Manifest::parse(text.into(), by_header, Algorithm::Sha256).is_err(), "as before");
}

#[test]
fn sizes_that_are_not_those_of_what_is_there_are_told_and_change_nothing() {
    let home = directory();
    let store = open(home.path());
    let name = repo("a");
    let (config, layer) = (push(&store, &name, b"{}"), push(&store, &name, b"layer"));
    let child = image(&config, &[layer]);
    let child_size = child.bytes().len() as u64;
    // The helper says 1 of everything.
    let wrong = |digest: &Digest, found| WrongSize { digest: *digest, said: 1, found };
    let mut expected = [wrong(&config, 2), wrong(&layer, 5)];
    expected.sort_by_key(|wrong| wrong.digest);
    for _ in 0..2 {
        let pushed = store.push_manifest(&name, child.clone(), vec![tag("1")], None).unwrap();
        assert_eq!(pushed.wrong_sizes, WrongSizes { first: expected.to_vec(), count: 2 });
    }
    let list = |size: u64, digest: &Digest| {
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[
            {{"mediaType":"a/b","digest":"{digest}","size":{size}}}]}}"#
        );
        parse(text, MediaType::OCI_INDEX, Algorithm::Sha256)
    };
    let wrong_in = |name: &str, manifest: Manifest| {
        store.push_manifest(&repo(name), manifest, vec![], None).unwrap().wrong_sizes
    };
    let of_child = vec![wrong(child.digest(), child_size)];
    let of_child = WrongSizes { first: of_child, count: 1 };
    assert_eq!(wrong_in("a", list(1, child.digest())), of_child);
    assert_eq!(wrong_in("a", list(child_size, child.digest())), WrongSizes::default());
    // What another repository holds is nobody's to know.
    assert_eq!(wrong_in("b", list(1, child.digest())), WrongSizes::default());
    assert_eq!(wrong_in("b", list(1, &layer)), WrongSizes::default());
    // A part of a build cache is a blob.
    assert_eq!(wrong_in("a", list(6, &layer)).count, 1);
    // Many are counted.
    let layers: Vec<Digest> =
        (0..20).map(|n| push(&store, &name, format!("layer {n}").as_bytes())).collect();
    let many = wrong_in("a", image(&config, &layers));
    assert_eq!((many.first.len(), many.count), (5, 21));
    assert!(many.to_string().ends_with(", and 16 more"), "{many}");
}

#[test]
fn the_same_bytes_in_two_repositories_are_kept_once_until_the_last_goes() {
    let home = directory();
    let store = open(home.path());
    let (a, b, digest) = (repo("a"), repo("b"), *index("x").digest());
    store.push_manifest(&a, index("x"), vec![tag("v1")], None).unwrap();
    store.push_manifest(&b, index("x"), vec![tag("v1")], None).unwrap();
    assert_eq!(store.counts().unwrap().manifests, 1);
    assert_eq!(store.delete_manifest(&a, &digest, None), Ok(true));
    assert_eq!(store.manifest(&a, &Reference::Digest(digest)), Ok(None));
    let kept = store.manifest(&b, &Reference::Tag(tag("v1"))).unwrap().unwrap();
    assert_eq!(kept.digest, digest);
    assert_eq!(store.counts().unwrap().manifests, 1);
    assert_eq!(store.delete_manifest(&b, &digest, None), Ok(true));
    assert_eq!(store.counts().unwrap().manifests, 0);
}

#[test]
fn deleting_a_manifest_takes_its_tags_and_edges() {
    let home = directory();
    let store = open(home.path());
    let name = repo("a");
    let config = push(&store, &name, b"{}");
    let subject = sha512(b"subject");
    let text = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"a/b","digest":"{config}","size":2}},
        "layers":[],"subject":{{"mediaType":"a/b","digest":"{subject}","size":2}}}}"#
    );
    let manifest = parse(text, MediaType::OCI_MANIFEST, Algorithm::Sha256);
    let digest = *manifest.digest();
    store.push_manifest(&name, manifest, vec![tag("one"), tag("two")], None).unwrap();
    store.push_manifest(&name, index("other"), vec![tag("three")], None).unwrap();
    assert_eq!(store.referrers(&name, &subject, None, None, 1000).unwrap().0.len(), 1);
    assert_eq!(store.delete_manifest(&name, &digest, None), Ok(true));
    assert_eq!(store.delete_manifest(&name, &digest, None), Ok(false));
    assert_eq!(store.delete_manifest(&repo("unknown"), &digest, None), Ok(false));
    let tags = store.tags(&name, None, 10).unwrap().unwrap();
    assert_eq!(tags, [(tag("three"), *index("other").digest())]);
    assert_eq!(store.referrers(&name, &subject, None, None, 1000), Ok((vec![], false)));
    assert_eq!(store.delete_blob(&name, &config), Ok(true), "no edge holds it");
}

#[test]
fn deleting_a_tag_leaves_the_manifest_and_the_other_tags() {
    let home = directory();
    let store = open(home.path());
    let name = repo("a");
    let digest = *index("x").digest();
    store.push_manifest(&name, index("x"), vec![tag("one"), tag("two")], None).unwrap();
    assert_eq!(store.delete_tag(&name, &tag("one"), None), Ok(true));
    assert_eq!(store.delete_tag(&name, &tag("one"), None), Ok(false));
    assert_eq!(store.delete_tag(&repo("b"), &tag("two"), None), Ok(false));
    assert_eq!(store.tags(&name, None, 10), Ok(Some(vec![(tag("two"), digest)])));
    assert_eq!(store.delete_tag(&name, &tag("two"), None), Ok(true));
    assert!(store.manifest(&name, &Reference::Digest(digest)).unwrap().is_some());
    assert_eq!(store.tags(&name, None, 10), Ok(Some(vec![])));
}

#[test]
fn a_reader_sees_a_manifest_with_its_tags_or_neither() {
    let home = directory();
    let store = open(home.path());
    let name = repo("a");
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for mark in 0..100 {
                let (manifest, moved) = (index(&mark.to_string()), tag("moved"));
                store.push_manifest(&name, manifest, vec![moved], None).unwrap();
            }
        });
        while !writer.is_finished() {
            let Some(found) = store.manifest(&name, &Reference::Tag(tag("moved"))).unwrap() else {
                continue;
            };
            assert_eq!(found.digest, sha256(&found.bytes));
            let by_digest = store.manifest(&name, &Reference::Digest(found.digest)).unwrap();
            assert_eq!(by_digest.unwrap(), found);
        }
    });
}

#[test]
fn a_manifest_whose_blob_lost_its_file_is_refused() {
    let home = directory();
    let store = open(home.path());
    let name = repo("a");
    let (config, layer) = (push(&store, &name, b"{}"), push(&store, &name, b"layer"));
    std::fs::remove_file(crate::support::blob_path(home.path(), &layer)).unwrap();
    let refused = store.push_manifest(&name, image(&config, &[layer]), Vec::new(), None);
    assert_eq!(refused, Err(StorageError::MissingBlobs(vec![layer])));
    push(&store, &name, b"layer");
    assert!(store.push_manifest(&name, image(&config, &[layer]), Vec::new(), None).is_ok());
}
