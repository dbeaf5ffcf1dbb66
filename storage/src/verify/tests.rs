//! What is wrong inside the database, which no public verb can bring about; and how much a step
//! of verification changes.

use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use oci::{Algorithm, Manifest, MediaType, Reference, Tag};
use tempfile::TempDir;

use super::*;
use crate::account::{Account, UserId};
use crate::db::{Transaction, test_hooks};
use crate::error::StorageError;
use crate::store::{OpenOptions, PartState, Store};

mod older;

fn fatal(error: &StorageError) -> ! {
    panic!("the database ended the process: {error}")
}

fn open(home: &TempDir) -> Store {
    let store = Store::open(
        home.path(),
        &OpenOptions {
            may_create: true,
            uploads_per_user: 1,
            reserve_bytes: 0,
            idle_connections: 16,
            hot_manifest_bytes: 1 << 20,
            read_pause_time: std::time::Duration::from_secs(1),
            on_held: &|_| crate::OnHeld::GiveUp,
            allow_network_fs: false,
            on_fatal: fatal,
            on_trouble: |_| {},
        },
    )
    .unwrap();
    store.finish_creation().unwrap();
    store
}

/// Changes the database behind the store's back.
fn spoil(home: &TempDir, statements: &str) {
    test_hooks::spoil(&home.path().join("registry.db"), statements);
}

/// An index with `children` children and an annotation.
fn index(children: usize, mark: &str) -> Manifest {
    let entry = |n| {
        let digest = Digest::of(Algorithm::Sha256, format!("{n}").as_bytes());
        format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":1}}"#)
    };
    let entries: Vec<String> = (0..children).map(entry).collect();
    let text = format!(
        r#"{{"schemaVersion":2,"manifests":[{}],"annotations":{{"mark":"{mark}"}}}}"#,
        entries.join(",")
    );
    let media_type = MediaType::OCI_INDEX.parse().unwrap();
    Manifest::parse(Bytes::from(text), Some(media_type), Algorithm::Sha256).unwrap()
}

/// An index that lists one manifest.
fn list_of(child: &Digest) -> Manifest {
    let text = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{}","digest":"{child}","size":1}}]}}"#,
        MediaType::OCI_INDEX
    );
    let media_type = MediaType::OCI_INDEX.parse().unwrap();
    Manifest::parse(Bytes::from(text), Some(media_type), Algorithm::Sha256).unwrap()
}

fn put(store: &Store, name: &str, manifest: &Manifest, tag: &str) {
    let (name, tag): (RepoName, Tag) = (name.parse().unwrap(), tag.parse().unwrap());
    store.push_manifest(&name, manifest.clone(), vec![tag], None).unwrap();
}

fn get(store: &Store, name: &str, tag: &str) -> Result<Option<Bytes>, StorageError> {
    let reference = Reference::Tag(tag.parse().unwrap());
    let found = store.manifest(&name.parse().unwrap(), &reference)?;
    Ok(found.map(|manifest| manifest.bytes))
}

/// Whether a manifest is lost for somebody on the host, and how what it names is.
fn looked_at(store: &Store, manifest: &Manifest) -> (bool, Vec<PartState>) {
    let (name, digest) = ("one".parse().unwrap(), manifest.digest());
    let info = store.manifest_info(&name, &Reference::Digest(*digest), 1).unwrap().unwrap();
    let parts = store.image_parts(&name, digest, 0, 9).unwrap().unwrap();
    (info.is_lost, parts.iter().map(|part| part.state).collect())
}

fn verify(store: &Store, is_dry_run: bool) -> Vec<Finding> {
    let how = Verification { is_dry_run, ..Verification::default() };
    store.verify(&how, &mut |_| ControlFlow::Continue(())).unwrap().findings
}

#[test]
fn a_manifest_with_other_bytes_is_hidden_in_every_repository_until_one_gets_it_again() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    let manifest = index(3, "a");
    let (digest, list) = (*manifest.digest(), list_of(manifest.digest()));
    for name in ["one", "two"] {
        put(&store, name, &manifest, "image");
        put(&store, name, &list, "list");
    }
    let lost = |manifest: &Manifest| {
        Err(StorageError::ManifestLost { manifest: *manifest.digest(), lost: digest })
    };
    let wrong = "UPDATE manifests SET bytes = replace(bytes, 'mark', 'nark') WHERE digest = ";
    let absent = "DELETE FROM manifests WHERE digest = ";
    for damage in [wrong, absent] {
        spoil(&home, &format!("{damage} '{digest}'"));
        assert_eq!(looked_at(&store, &list), (false, vec![PartState::Lost]));
        assert_eq!(verify(&store, true), [Finding::Manifest(digest)]);
        assert_eq!(store.lost(), Ok(crate::Lost::default()));
        assert_eq!(verify(&store, false), [Finding::Manifest(digest)]);
        assert_eq!(store.lost(), Ok(crate::Lost { blobs: 0, manifests: 1 }));
        assert_eq!(verify(&store, false), [], "it is known by now");
        for name in ["one", "two"] {
            assert_eq!(get(&store, name, "image"), lost(&manifest));
            assert_eq!(get(&store, name, "list"), lost(&list));
        }
        assert_eq!(store.broken_images(&[], 9).unwrap().images.len(), 4);
        assert_eq!(looked_at(&store, &list), (false, vec![PartState::Lost]));
        assert_eq!(looked_at(&store, &manifest), (true, vec![]), "nobody knows what it named");
        // A push into one repository brings the bytes that both serve.
        put(&store, "one", &manifest, "image");
        for name in ["one", "two"] {
            assert_eq!(get(&store, name, "image"), Ok(Some(manifest.bytes().clone())));
            assert_eq!(get(&store, name, "list"), Ok(Some(list.bytes().clone())));
        }
        assert_eq!(verify(&store, false), []);
    }
    // Bytes that come back by another way count too.
    spoil(&home, &format!("INSERT INTO lost_manifests VALUES ('{digest}', 1)"));
    assert_eq!(get(&store, "one", "image"), lost(&manifest));
    assert_eq!(verify(&store, false), [Finding::ManifestFound(digest)]);
    assert_eq!(get(&store, "one", "image"), Ok(Some(manifest.bytes().clone())));
}

#[test]
fn a_manifest_that_is_pushed_while_its_bad_bytes_are_looked_at_is_not_lost() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    let manifest = index(1, "a");
    put(&store, "one", &manifest, "image");
    let lose = {
        let digest = *manifest.digest();
        move |transaction: &Transaction<'_>| transaction.lose_manifest(&digest, b"bad bytes")
    };
    assert_eq!(store.database.write(lose), Ok(crate::db::lost::LossOutcome::IsGone));
    assert!(get(&store, "one", "image").unwrap().is_some());
}

#[test]
fn what_is_recorded_of_a_manifest_is_mended_deleted_ones_included() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    let (kept, deleted) = (index(300, "kept"), index(2, "deleted"));
    put(&store, "one", &kept, "kept");
    put(&store, "one", &deleted, "deleted");
    let removed = store.delete_manifest(&"one".parse().unwrap(), deleted.digest(), None);
    assert_eq!(removed, Ok(true));
    let rows = || -> Vec<(String, String, String)> {
        let edges = "SELECT parent, kind, child FROM edges ORDER BY 1, 2, 3";
        test_hooks::rows_of(&home.path().join("registry.db"), edges)
    };
    let before = rows();
    assert_eq!(before.len(), 302);
    let mut expected = [kept.digest(), deleted.digest()].map(|digest| Finding::Record(*digest));
    expected.sort_by_key(ToString::to_string);
    let surplus = format!(
        "INSERT INTO edges VALUES (1, '{}', 'layer', 'no digest');
         INSERT INTO edges VALUES (1, '{}', 'layer', 'no digest')",
        kept.digest(),
        deleted.digest()
    );
    for damage in ["DELETE FROM edges", &surplus] {
        spoil(&home, damage);
        assert_eq!(verify(&store, true), expected);
        assert_ne!(rows(), before);
        assert_eq!(verify(&store, false), expected);
        assert_eq!(rows(), before);
        assert_eq!(verify(&store, false), []);
    }
    spoil(&home, "UPDATE repository_manifests SET annotations = 'x', size = 1");
    assert_eq!(verify(&store, false), [Finding::Record(*kept.digest())]);
    assert_eq!(verify(&store, false), []);
}

#[test]
fn rows_that_name_nothing_are_told_or_mended() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    put(&store, "one", &index(1, "a"), "image");
    let digest = Digest::of(Algorithm::Sha256, b"nothing").to_string();
    spoil(
        &home,
        &format!(
            "INSERT INTO tags VALUES (1, 'dangling', '{digest}', 1);
             INSERT INTO repository_blobs VALUES (1, '{digest}', 1);
             INSERT INTO blobs VALUES ('no digest', 1, 1)"
        ),
    );
    let tag = Finding::Tag {
        repository: "one".to_owned(),
        tag: "dangling".to_owned(),
        digest: digest.clone(),
    };
    let link = Finding::Link { repository: "one".to_owned(), digest };
    assert!(link.to_string().ends_with(": mended"), "{link}");
    assert!(link.in_dry_run().ends_with(": would be mended"), "{}", link.in_dry_run());
    let name = Finding::Name("no digest".to_owned());
    for is_dry_run in [true, false] {
        assert_eq!(verify(&store, is_dry_run), [tag.clone(), link.clone(), name.clone()]);
    }
    assert_eq!(verify(&store, false), [tag, name], "the link is gone, and nothing else");
}

#[test]
fn a_push_also_mends_the_size_that_a_row_says() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    let name: RepoName = "one".parse().unwrap();
    let user = Account { name: "u".parse().unwrap(), id: UserId::default() };
    let digest = Digest::of(Algorithm::Sha256, b"content");
    let push = || {
        let id = store.create_upload(&name, &user, Algorithm::Sha256).unwrap();
        let writer = store.open_upload(&name, &user, id).unwrap();
        writer.append(&[Bytes::from_static(b"content")]).unwrap();
        store.commit_upload(&writer, &digest).unwrap();
    };
    push();
    spoil(&home, "UPDATE blobs SET size = 8");
    push();
    assert_eq!(store.blob_size(&name, &digest), Ok(Some(7)));
    assert_eq!(verify(&store, false), []);
    // So does verification, since the bytes are right: nothing is put aside.
    spoil(&home, "UPDATE blobs SET size = 8");
    for is_dry_run in [true, false] {
        assert_eq!(store.blob_size(&name, &digest), Ok(None));
        assert_eq!(verify(&store, is_dry_run), [Finding::BlobSize(digest)]);
    }
    assert_eq!(store.blob_size(&name, &digest), Ok(Some(7)));
    assert_eq!(verify(&store, false), []);
}

#[test]
fn a_repository_holds_what_its_manifests_need_or_does_not_answer_them() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    let name: RepoName = "one".parse().unwrap();
    let user = Account { name: "u".parse().unwrap(), id: UserId::default() };
    let push = |content: &'static [u8]| {
        let digest = Digest::of(Algorithm::Sha256, content);
        let id = store.create_upload(&name, &user, Algorithm::Sha256).unwrap();
        let writer = store.open_upload(&name, &user, id).unwrap();
        writer.append(&[Bytes::from_static(content)]).unwrap();
        store.commit_upload(&writer, &digest).unwrap();
        digest
    };
    let (config, layer) = (push(b"config"), push(b"layer"));
    let descriptor =
        |digest: &Digest| format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":1}}"#);
    let text = format!(
        r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#,
        descriptor(&config),
        descriptor(&layer)
    );
    let media_type = MediaType::OCI_MANIFEST.parse().unwrap();
    let image = Manifest::parse(Bytes::from(text), Some(media_type), Algorithm::Sha256).unwrap();
    put(&store, "one", &image, "image");
    let is_answered = || get(&store, "one", "image").is_ok_and(|found| found.is_some());
    let unheld = || Finding::Unheld { repository: name.clone(), digest: layer };

    // Only the link is gone.
    spoil(&home, &format!("DELETE FROM repository_blobs WHERE digest = '{layer}'"));
    assert_eq!(verify(&store, true), [unheld()]);
    assert_eq!(verify(&store, false), [unheld()]);
    assert_eq!(store.blob_size(&name, &layer), Ok(Some(5)));
    // The row is gone, and its link stayed or went with it: the file is good, so all is mended.
    for and in ["", &format!("; DELETE FROM repository_blobs WHERE digest = '{layer}'")] {
        spoil(&home, &format!("DELETE FROM blobs WHERE digest = '{layer}'{and}"));
        assert_eq!(verify(&store, false), [unheld(), Finding::BlobFound(layer)]);
        assert_eq!(verify(&store, false), []);
        assert!(is_answered());
        assert_eq!(store.blob_size(&name, &layer), Ok(Some(5)));
    }
    // And its file as well: the image is not answered until the blob is pushed again.
    spoil(&home, &format!("DELETE FROM blobs WHERE digest = '{layer}'"));
    std::fs::remove_file(store.layout().blob(&layer)).unwrap();
    let missing = Finding::Blob { digest: layer, damage: BlobDamage::Missing, put_aside: None };
    for is_dry_run in [true, false] {
        assert!(is_answered());
        let found = verify(&store, is_dry_run);
        assert!(found.contains(&missing), "{found:?}");
    }
    assert!(!is_answered());
    assert_eq!(push(b"layer"), layer);
    assert!(is_answered());
    assert_eq!(verify(&store, false), []);
}

#[test]
fn a_broken_page_of_the_database_is_told_and_the_files_are_read_even_so() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    for n in 0..200 {
        put(&store, "one", &index(1, &n.to_string()), "image");
    }
    drop(store);
    spoil(&home, "PRAGMA wal_checkpoint(TRUNCATE)");
    let query = "SELECT rootpage FROM sqlite_schema WHERE name = 'tags'";
    let (page,): (i64,) = test_hooks::rows_of(&home.path().join("registry.db"), query)[0];
    let file = std::fs::OpenOptions::new().write(true).open(home.path().join("registry.db"));
    let offset = u64::try_from(page - 1).unwrap() * 4096;
    file.unwrap().write_all_at(&[0xff; 4096], offset).unwrap();
    let store = open(&home);
    let findings = verify(&store, false);
    assert!(matches!(findings.as_slice(), [Finding::Database(_)]), "{findings:?}");
    assert!(findings[0].is_loss());
    // Nor is it backed up, and not the copy is blamed.
    let refused = store.snapshot(&mut |_, _| ControlFlow::Continue(()));
    let database = home.path().join("registry.db");
    let said = refused.unwrap_err().to_string();
    assert!(said.starts_with(&format!("{} is damaged (", database.display())), "{said}");
}

#[test]
fn no_step_changes_more_rows_than_one_step_may() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    let many = index(1000, "many");
    put(&store, "one", &many, "image");
    let damage: String = (0..1000)
        .map(|n| format!("INSERT INTO edges VALUES (1, '{}', 'x', '{n}');", many.digest()))
        .collect();
    spoil(&home, &format!("BEGIN; DELETE FROM edges; {damage} COMMIT"));
    // A step that changed more would panic in the thread that writes.
    assert_eq!(verify(&store, false), [Finding::Record(*many.digest())]);
    assert_eq!(verify(&store, false), []);
}
