//! Referrers: in the order of digests, filtered, in pages bounded by entries and by bytes.

use oci::{Algorithm, Digest, Manifest, MediaType, RepoName};
use storage::{PageSize, Referrer, Store};

use crate::support::{directory, open, parse, repo, sha256};

/// An index that refers to `subject`.
fn referrer(subject: &Digest, artifact_type: &str, note: &str) -> Manifest {
    let text = format!(
        r#"{{"schemaVersion":2,"artifactType":"{artifact_type}","manifests":[],
        "subject":{{"mediaType":"a/b","digest":"{subject}","size":1}},
        "annotations":{{"note":"{note}"}}}}"#
    );
    parse(text, MediaType::OCI_INDEX, Algorithm::Sha256)
}

const PAGE: PageSize = PageSize { entries: 1000, bytes: 1 << 20 };

/// Follows the pages to the end; returns how long each was, and all entries.
fn pages(
    store: &Store,
    name: &RepoName,
    subject: &Digest,
    artifact_type: Option<&str>,
) -> (Vec<usize>, Vec<Referrer>) {
    let (mut lengths, mut all) = (Vec::new(), Vec::<Referrer>::new());
    loop {
        let after = all.last().map(|last| last.digest);
        let (page, has_more) =
            store.referrers(name, subject, artifact_type, after.as_ref(), PAGE).unwrap();
        // One that is longer than a page is asked for by itself.
        let (page, has_more) = match page.is_empty() && has_more {
            true => store.referrers(name, subject, artifact_type, after.as_ref(), 1).unwrap(),
            false => (page, has_more),
        };
        lengths.push(page.len());
        all.extend(page);
        if !has_more {
            return (lengths, all);
        }
    }
}

fn digests(entries: &[Referrer]) -> Vec<Digest> {
    entries.iter().map(|entry| entry.digest).collect()
}

#[test]
fn a_list_shows_what_the_manifests_say() {
    let home = directory();
    let store = open(home.path());
    let (name, subject) = (repo("a"), sha256(b"subject"));
    let signature = referrer(&subject, "application/signature", "one");
    let sbom = referrer(&subject, "application/sbom", "two");
    for manifest in [&signature, &sbom] {
        store.push_manifest(&name, manifest.clone(), vec![], None).unwrap();
    }
    let other = referrer(&sha256(b"other subject"), "application/sbom", "three");
    store.push_manifest(&name, other, vec![], None).unwrap();
    store.push_manifest(&repo("b"), signature.clone(), vec![], None).unwrap();
    let expected = Referrer {
        digest: *sbom.digest(),
        media_type: MediaType::OCI_INDEX.into(),
        size: sbom.bytes().len() as u64,
        artifact_type: Some("application/sbom".into()),
        annotations: Some(r#"{"note":"two"}"#.into()),
    };
    let filtered = store.referrers(&name, &subject, Some("application/sbom"), None, 1000);
    assert_eq!(filtered, Ok((vec![expected], false)));
    let (all, _) = store.referrers(&name, &subject, None, None, 1000).unwrap();
    let mut both = [*signature.digest(), *sbom.digest()];
    both.sort();
    assert_eq!(digests(&all), both);
    let none = Ok((vec![], false));
    assert_eq!(store.referrers(&name, &subject, Some("application/x"), None, 1000), none);
    assert_eq!(store.referrers(&name, &sha256(b"unknown"), None, None, 1000), none);
    assert_eq!(store.referrers(&repo("unknown"), &subject, None, None, 1000), none);
}

#[test]
fn a_page_ends_after_a_thousand_entries() {
    let home = directory();
    let store = open(home.path());
    let (name, subject) = (repo("a"), sha256(b"subject"));
    let kind = |n: usize| if n.is_multiple_of(3) { "a/third" } else { "a/other" };
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let (store, name, subject) = (&store, &name, &subject);
            scope.spawn(move || {
                for n in (thread..1100).step_by(16) {
                    let manifest = referrer(subject, kind(n), &n.to_string());
                    store.push_manifest(name, manifest, vec![], None).unwrap();
                }
            });
        }
    });
    let (lengths, all) = pages(&store, &name, &subject, None);
    assert_eq!(lengths, [1000, 100]);
    assert!(digests(&all).is_sorted_by(|a, b| a < b));
    let (lengths, thirds) = pages(&store, &name, &subject, Some("a/third"));
    assert_eq!(lengths, [367]);
    assert!(thirds.iter().all(|entry| entry.artifact_type.as_deref() == Some("a/third")));
    assert!(digests(&thirds).is_sorted_by(|a, b| a < b));
}

#[test]
fn a_page_ends_before_its_texts_pass_a_mebibyte() {
    let home = directory();
    let store = open(home.path());
    let (name, subject) = (repo("a"), sha256(b"subject"));
    for (n, kib) in [400, 400, 400, 400, 400].into_iter().enumerate() {
        let note = n.to_string() + &"x".repeat(kib * 1024);
        store.push_manifest(&name, referrer(&subject, "a/b", &note), vec![], None).unwrap();
    }
    let (lengths, all) = pages(&store, &name, &subject, None);
    assert_eq!(lengths, [2, 2, 1]);
    assert!(digests(&all).is_sorted_by(|a, b| a < b));

    // One that is larger than a page has a page for itself.
    let large = "x".repeat(3 * 1024 * 1024);
    let subject = sha256(b"another subject");
    for note in ["a", &large, "b"] {
        store.push_manifest(&name, referrer(&subject, "a/b", note), vec![], None).unwrap();
    }
    let (lengths, all) = pages(&store, &name, &subject, None);
    let position = all.iter().position(|entry| entry.size > 1024 * 1024).unwrap();
    let expected: &[usize] = if position == 1 { &[1, 1, 1] } else { &[1, 2] };
    let reversed: Vec<usize> = expected.iter().rev().copied().collect();
    assert!(lengths == expected || lengths == reversed, "{lengths:?}");

    // The artifact type is text of the client's too.
    let subject = sha256(b"a third subject");
    for n in 0..3 {
        let kind = format!("a/{n}{}", "y".repeat(700 * 1024));
        store.push_manifest(&name, referrer(&subject, &kind, ""), vec![], None).unwrap();
    }
    assert_eq!(pages(&store, &name, &subject, None).0, [1, 1, 1]);
}
