//! Verification: what is wrong is found, hidden, told and healed; and it is in nobody's way.

use std::fs;
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use oci::{Algorithm, Digest, Manifest, MediaType, Reference, RepoName};
use storage::{
    BlobDamage, Finding, Image, Lost, Scrub, StorageError, Store, Verification, Verified,
};

use crate::support::{
    account, blob_path, directory, files, image, open, parse, pull, push, repo, sha256, sha512,
    tag, tree,
};

/// Reads everything, and mends what is wrong.
fn verify(store: &Store) -> Verified {
    let how = Verification::default();
    let verified = store.verify(&how, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(verified.is_done);
    verified
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[0] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn damaged(root: &Path, digest: &Digest) -> std::path::PathBuf {
    root.join("damaged").join(format!("{}-{}", digest.algorithm(), digest.hex()))
}

/// An index of manifests, each of them present or not.
fn index_of(children: &[&Digest]) -> Manifest {
    let entry = |digest: &&Digest| {
        format!(r#"{{"mediaType":"{}","digest":"{digest}","size":1}}"#, MediaType::OCI_MANIFEST)
    };
    let entries: Vec<_> = children.iter().map(entry).collect();
    let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","));
    parse(text, MediaType::OCI_INDEX, Algorithm::Sha256)
}

/// A repository with an image under the tag `image`, in an index under the tag `list` within an
/// untagged one, and another image under `other` that shares the config.
struct Scene {
    name: RepoName,
    config: Digest,
    layer: Digest,
    image: Digest,
    list: Digest,
    outer: Digest,
}

const LAYER: &[u8] = b"layer";

impl Scene {
    fn push(store: &Store) -> Self {
        let name = repo("app");
        let (config, layer) = (push(store, &name, b"{}"), push(store, &name, LAYER));
        let put = |manifest: Manifest, tags: &[&str]| {
            let digest = *manifest.digest();
            let tags = tags.iter().map(|name| tag(name)).collect();
            store.push_manifest(&name, manifest, tags, None).unwrap();
            digest
        };
        let image_digest = put(image(&config, &[layer]), &["image", "too"]);
        let list = put(index_of(&[&image_digest, &sha256(b"absent")]), &["list"]);
        let outer = put(index_of(&[&list]), &[]);
        put(image(&config, &[push(store, &name, b"other")]), &["other"]);
        Self { name, config, layer, image: image_digest, list, outer }
    }

    /// What is said of each way to the image.
    fn answers(&self, store: &Store) -> Vec<Result<bool, StorageError>> {
        let by_tag = ["image", "too", "list"].map(|name| Reference::Tag(tag(name)));
        let by_digest = [self.image, self.list, self.outer].map(Reference::Digest);
        let references = by_tag.iter().chain(&by_digest);
        let get = |reference| store.manifest(&self.name, reference).map(|found| found.is_some());
        references.map(get).collect()
    }
}

#[test]
fn a_flipped_byte_is_hidden_with_all_that_needs_it_until_the_next_push() {
    let home = directory();
    let store = open(home.path());
    let scene = Scene::push(&store);
    let clean = verify(&store);
    assert_eq!((clean.manifests, clean.blobs, clean.blob_bytes), (4, 3, 2 + 5 + 5));
    assert_eq!(clean.findings, []);
    // The helpers say 1 of everything: that is told apart from what is wrong with the store.
    let told: Vec<u64> = clean.missized.iter().map(|told| told.wrong.count).collect();
    assert_eq!((told.len(), told.iter().sum::<u64>()), (4, 2 + 1 + 1 + 2));

    flip(&blob_path(home.path(), &scene.layer));
    let found = verify(&store);
    let aside = damaged(home.path(), &scene.layer);
    assert_eq!(
        found.findings,
        [Finding::Blob {
            digest: scene.layer,
            damage: BlobDamage::Bytes,
            put_aside: Some(aside.clone()),
        }]
    );
    assert_eq!(fs::read(aside).unwrap(), b"mayer");
    assert_eq!(store.lost(), Ok(Lost { blobs: 1, manifests: 0 }));

    assert_eq!(store.blob_size(&scene.name, &scene.layer), Ok(None));
    let lost = StorageError::BlobLost(scene.layer);
    assert_eq!(store.open_blob(&scene.name, &scene.layer).map(drop), Err(lost));
    for from in [Some(&scene.name), None] {
        assert_eq!(store.mount_blob(from, &repo("b"), &scene.layer), Ok(false));
    }
    let refused = |manifest| Err(StorageError::ManifestLost { manifest, lost: scene.layer });
    let (of_image, of_list) = (refused(scene.image), refused(scene.list));
    let expected = [&of_image, &of_image, &of_list, &of_image, &of_list, &refused(scene.outer)];
    assert_eq!(scene.answers(&store), expected.map(Clone::clone));
    // What needs nothing of it is answered, and lists stay.
    let other = Reference::Tag(tag("other"));
    assert!(store.manifest(&scene.name, &other).unwrap().is_some());
    assert_eq!(store.tags(&scene.name, None, 10).unwrap().unwrap().len(), 4);
    let again = image(&scene.config, &[scene.layer]);
    assert_eq!(
        store.push_manifest(&scene.name, again, vec![], None),
        Err(StorageError::MissingBlobs(vec![scene.layer]))
    );
    let hurt = store.broken_images(&[], 10).unwrap();
    let name = |reference| Image { repository: scene.name.clone(), reference };
    let mut names = hurt.images.clone();
    names.sort_by_key(Image::to_string);
    let mut expected = ["image", "list", "too"].map(|t| name(Reference::Tag(tag(t)))).to_vec();
    expected.push(name(Reference::Digest(scene.outer)));
    assert_eq!((names, hurt.more), (expected, 0));
    assert_eq!(
        (
            store.broken_images(&[], 1).unwrap().images.len(),
            store.broken_images(&[], 1).unwrap().more
        ),
        (1, 3)
    );
    assert_eq!(verify(&store).findings, [], "what is known to be lost is not found again");

    push(&store, &scene.name, LAYER);
    assert_eq!(scene.answers(&store), vec![Ok(true); 6]);
    assert_eq!(pull(&store, &scene.name, &scene.layer).unwrap(), LAYER);
    assert_eq!(store.lost(), Ok(Lost::default()));
    assert_eq!(store.broken_images(&[], 10).unwrap().images, []);
    assert_eq!(verify(&store).findings, []);
}

#[test]
fn files_that_are_cut_gone_or_no_files_are_lost_whatever_names_them() {
    let home = directory();
    let store = open(home.path());
    let name = repo("a");
    let [cut, gone, long] = [b"to be cut".as_slice(), b"gone", b"long"]
        .map(|content| (content, push(&store, &name, content), Option::<BlobDamage>::None));
    let odd = push(&store, &name, b"odd");
    let path = |digest: &Digest| blob_path(home.path(), digest);
    fs::write(path(&cut.1), "to be").unwrap();
    fs::remove_file(path(&gone.1)).unwrap();
    fs::write(path(&long.1), "longer").unwrap();
    fs::remove_file(path(&odd)).unwrap();
    fs::create_dir(path(&odd)).unwrap();
    let id = store.create_upload(&name, &account("p"), Algorithm::Sha512).unwrap();
    let writer = store.open_upload(&name, &account("p"), id).unwrap();
    writer.append(&[bytes::Bytes::from_static(b"512")]).unwrap();
    let wide = sha512(b"512");
    store.commit_upload(&writer, &wide).unwrap();
    flip(&path(&wide));

    let aside = |digest: &Digest| Some(damaged(home.path(), digest));
    let no_file = BlobDamage::NoFile;
    let mut expected = vec![
        (cut.1, BlobDamage::Size { expected: 9, found: 5 }, aside(&cut.1)),
        (gone.1, BlobDamage::Missing, None),
        (long.1, BlobDamage::Size { expected: 4, found: 6 }, aside(&long.1)),
        (odd, no_file, aside(&odd)),
        (wide, BlobDamage::Bytes, aside(&wide)),
    ];
    expected.sort_by_key(|(digest, ..)| digest.to_string());
    let blob = |(digest, damage, put_aside)| Finding::Blob { digest, damage, put_aside };
    let verified = verify(&store);
    assert_eq!(verified.findings, expected.into_iter().map(blob).collect::<Vec<_>>());
    assert_eq!(verified.blobs, 4, "what is gone was not read");
    assert_eq!(files(home.path(), "blobs"), Vec::<std::path::PathBuf>::new());
    for (content, digest, _) in [cut, gone, long] {
        assert_eq!(push(&store, &name, content), digest);
        assert_eq!(pull(&store, &name, &digest).unwrap(), content);
    }
    assert_eq!(store.lost(), Ok(Lost { blobs: 2, manifests: 0 }));
}

#[test]
fn a_dry_run_tells_the_same_and_changes_nothing() {
    let home = directory();
    let store = open(home.path());
    let scene = Scene::push(&store);
    flip(&blob_path(home.path(), &scene.layer));
    let before = tree(home.path());
    let how = Verification { is_dry_run: true, ..Verification::default() };
    let told = store.verify(&how, &mut |_| ControlFlow::Continue(())).unwrap();
    let expected =
        Finding::Blob { digest: scene.layer, damage: BlobDamage::Bytes, put_aside: None };
    assert_eq!(told.findings, [expected]);
    assert_eq!(tree(home.path()), before);
    assert_eq!(store.lost(), Ok(Lost::default()));
    assert_eq!(scene.answers(&store), vec![Ok(true); 6]);
    assert_eq!(store.last_verified(), Ok(None));
    let names = |findings: &[Finding]| {
        let hurt = store.broken_images(findings, 10).unwrap();
        hurt.images.iter().map(Image::to_string).collect::<Vec<_>>()
    };
    let told = names(&told.findings);
    assert_eq!(told.len(), 4);
    verify(&store);
    assert_eq!(names(&[]), told);
}

#[test]
fn a_file_that_somebody_brings_back_is_answered_after_the_next_verification() {
    let home = directory();
    let store = open(home.path());
    let scene = Scene::push(&store);
    let path = blob_path(home.path(), &scene.layer);
    flip(&path);
    verify(&store);
    fs::write(&path, LAYER).unwrap();
    assert_eq!(store.blob_size(&scene.name, &scene.layer), Ok(None), "not looked at yet");
    assert_eq!(verify(&store).findings, [Finding::BlobFound(scene.layer)]);
    assert_eq!(pull(&store, &scene.name, &scene.layer).unwrap(), LAYER);
    assert_eq!(scene.answers(&store), vec![Ok(true); 6]);
}

#[test]
fn a_push_that_comes_while_the_bad_file_is_read_is_not_hurt() {
    let home = directory();
    let store = open(home.path());
    let name = repo("a");
    let digest = push(&store, &name, b"content");
    let path = blob_path(home.path(), &digest);
    flip(&path);
    verify(&store);
    // As a crash leaves it between the row and the move.
    fs::rename(damaged(home.path(), &digest), &path).unwrap();
    assert_eq!(store.open_blob(&name, &digest).map(drop), Err(StorageError::BlobLost(digest)));
    let mut has_pushed = false;
    let verified = store.verify(&Verification::default(), &mut |verified| {
        if verified.blob_bytes > 0 && !has_pushed {
            has_pushed = true;
            push(&store, &name, b"content");
        }
        ControlFlow::Continue(())
    });
    assert!(has_pushed);
    assert_eq!(verified.unwrap().findings, []);
    assert_eq!(pull(&store, &name, &digest).unwrap(), b"content");
    assert!(files(home.path(), "damaged").is_empty());
    // Without a push the file is put aside this time.
    flip(&path);
    verify(&store);
    fs::rename(damaged(home.path(), &digest), &path).unwrap();
    assert_eq!(verify(&store).findings.len(), 1);
    assert!(damaged(home.path(), &digest).exists() && !path.exists());
}

#[test]
fn pushes_are_served_between_any_two_steps() {
    let home = directory();
    let store = open(home.path());
    let scene = Scene::push(&store);
    flip(&blob_path(home.path(), &scene.layer));
    let mut steps = 0;
    let verified = store.verify(&Verification::default(), &mut |_| {
        steps += 1;
        if steps % 16 != 0 {
            return ControlFlow::Continue(());
        }
        let content = format!("step {steps}");
        let digest = push(&store, &repo("b"), content.as_bytes());
        assert_eq!(pull(&store, &repo("b"), &digest).unwrap(), content.as_bytes());
        store.push_manifest(&repo("b"), image(&digest, &[]), vec![tag("t")], None).unwrap();
        ControlFlow::Continue(())
    });
    assert_eq!(verified.unwrap().findings.len(), 1);
    assert!(steps > 500, "only {steps}");
    assert_eq!(verify(&store).findings, []);
}

#[test]
fn a_bound_on_the_rate_is_waited_for_and_a_stop_is_heard_meanwhile() {
    let home = directory();
    let store = open(home.path());
    push(&store, &repo("a"), &[7; 1000]);
    // A year for the one piece of the one blob.
    let how = Verification { bytes_per_second: NonZeroU64::new(1), ..Verification::default() };
    let mut steps_after = 0;
    let verified = store.verify(&how, &mut |verified| {
        steps_after += u32::from(verified.blob_bytes > 0);
        if steps_after == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let verified = verified.unwrap();
    assert_eq!((verified.is_done, verified.blobs, steps_after), (false, 0, 5));
    assert_eq!(store.last_verified(), Ok(None), "it did not come to its end");
}

#[test]
fn a_scrub_that_is_cut_short_goes_on_where_it_was() {
    let home = directory();
    let mut store = open(home.path());
    let name = repo("a");
    let mut digests: Vec<Digest> =
        (0..20).map(|n| push(&store, &name, format!("{n}").as_bytes())).collect();
    digests.sort_by_key(Digest::to_string);
    let how = Scrub { interval: Duration::from_secs(3600), bytes_per_second: None };
    for stop_after in [5, 12] {
        let scrubbed = store.scrub(&how, &mut |verified| match verified.blobs {
            blobs if blobs < stop_after => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        });
        let scrubbed = scrubbed.unwrap().unwrap();
        assert_eq!((scrubbed.is_done, scrubbed.blobs), (false, stop_after));
        drop(store);
        store = open(home.path());
    }
    // What lies before is not read again, what comes after is.
    for index in [0, 11, 12, 19] {
        flip(&blob_path(home.path(), &digests[index]));
    }
    let mut on_step = |_: &Verified| ControlFlow::Continue(());
    let scrubbed = store.scrub(&how, &mut on_step).unwrap().unwrap();
    assert_eq!((scrubbed.is_done, scrubbed.blobs), (true, 20));
    let found = scrubbed.findings.iter().map(|finding| match finding {
        Finding::Blob { digest, .. } => *digest,
        other => panic!("{other}"),
    });
    assert_eq!(found.collect::<Vec<_>>(), [digests[12], digests[19]]);
    assert!(store.last_verified().unwrap().is_some());
    // The next is not due, until it is; and it begins at the beginning.
    assert_eq!(store.scrub(&how, &mut on_step), Ok(None));
    drop(store);
    store = open(home.path());
    assert_eq!(store.scrub(&how, &mut on_step), Ok(None));
    let at_once = Scrub { interval: Duration::ZERO, ..how };
    let scrubbed = store.scrub(&at_once, &mut on_step).unwrap().unwrap();
    // Two were put aside before and have no file to read.
    assert_eq!((scrubbed.blobs, scrubbed.findings.len()), (18, 2));
}

#[test]
fn files_that_no_row_names_are_counted_and_stay() {
    let home = directory();
    let store = open(home.path());
    let digest = push(&store, &repo("a"), b"content");
    let shard = blob_path(home.path(), &digest).parent().unwrap().to_owned();
    let unknown = blob_path(home.path(), &sha256(b"unknown"));
    fs::write(&unknown, "unknown").unwrap();
    // Collection tells of what is named otherwise.
    fs::write(shard.join("no digest"), "12345").unwrap();
    let verified = verify(&store);
    assert_eq!(verified.findings, []);
    assert_eq!((verified.stray_files, verified.stray_bytes), (1, 7));
    assert!(unknown.exists());
}
