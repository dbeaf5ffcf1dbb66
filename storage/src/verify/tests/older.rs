//! What programs before took: it is served and kept as it is, but for a type that it cannot have.

use oci::Digest;

use super::*;

/// A manifest as a program before took it.
fn older(text: &str, kept: &str) -> Manifest {
    let bytes = Bytes::from(text.to_owned());
    Manifest::of_stored(bytes, kept.parse().unwrap(), Algorithm::Sha256).unwrap()
}

/// The type that a repository serves a tag under.
fn served(store: &Store, name: &str, tag: &str) -> String {
    let reference = Reference::Tag(tag.parse().unwrap());
    store.manifest(&name.parse().unwrap(), &reference).unwrap().unwrap().media_type
}

#[test]
fn what_would_be_refused_today_is_served_verified_looked_at_and_restored() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    let digest = Digest::of(Algorithm::Sha256, b"absent");
    let child = format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":18446744073709551615}}"#);
    let deep = ["[".repeat(20_000), "]".repeat(20_000)].concat();
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{child}],"Manifests":[],
        "x":{deep},"x":1}}"#,
        MediaType::OCI_INDEX
    );
    let kind = MediaType::OCI_INDEX.parse().unwrap();
    let pushed = Manifest::parse(Bytes::from(text.clone()), Some(kind), Algorithm::Sha256);
    assert!(pushed.is_err(), "{pushed:?}");
    let manifest = older(&text, MediaType::OCI_INDEX);
    put(&store, "one", &manifest, "t");
    let name: RepoName = "one".parse().unwrap();
    let is_there = || {
        assert_eq!(get(&store, "one", "t"), Ok(Some(Bytes::from(text.clone()))));
        assert_eq!(served(&store, "one", "t"), MediaType::OCI_INDEX);
        assert_eq!(looked_at(&store, &manifest), (false, vec![PartState::Absent]));
        for is_dry_run in [true, false] {
            assert_eq!(verify(&store, is_dry_run), []);
        }
    };
    is_there();
    assert_eq!(store.delete_manifest(&name, manifest.digest(), None), Ok(true));
    store.restore_manifest(&name, manifest.digest()).unwrap();
    let tag = "t".parse().unwrap();
    store.restore_tag(&name, &tag, crate::RestorePoint::Digest(*manifest.digest()), None).unwrap();
    is_there();
}

#[test]
fn a_type_that_was_taken_from_a_header_is_mended_by_verification_a_push_and_a_restoration() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    let (manifest, form) = (index(1, "a"), "application/x-www-form-urlencoded");
    let (digest, name): (_, RepoName) = (*manifest.digest(), "one".parse().unwrap());
    put(&store, "one", &manifest, "t");
    put(&store, "two", &manifest, "t");
    let spoil = || spoil(&home, &format!("UPDATE repository_manifests SET media_type = '{form}'"));
    let own = MediaType::OCI_INDEX.parse().unwrap();
    let finding = |name: &str| Finding::Type {
        repository: name.parse().unwrap(),
        digest,
        kept: form.to_owned(),
        own: MediaType::clone(&own),
    };
    spoil();
    assert_eq!(served(&store, "one", "t"), form, "until it is verified");
    assert_eq!(verify(&store, true), [finding("one"), finding("two")]);
    assert_eq!(served(&store, "one", "t"), form);
    assert_eq!(verify(&store, false), [finding("one"), finding("two")]);
    assert!(!finding("one").is_loss());
    for name in ["one", "two"] {
        assert_eq!(served(&store, name, "t"), MediaType::OCI_INDEX);
    }
    assert_eq!(verify(&store, false), []);
    // A push of the same bytes, also of what is protected: it makes of it what it is.
    spoil();
    store.protect_tag(&name, &"t".parse().unwrap()).unwrap();
    put(&store, "one", &manifest, "t");
    assert_eq!([served(&store, "one", "t"), served(&store, "two", "t")], [own.as_str(), form]);
    // One that was deleted comes back as what it is.
    let name: RepoName = "two".parse().unwrap();
    assert_eq!(store.delete_manifest(&name, &digest, None), Ok(true));
    let point = crate::RestorePoint::Digest(digest);
    store.restore_tag(&name, &"t".parse().unwrap(), point, None).unwrap();
    assert_eq!(served(&store, "two", "t"), MediaType::OCI_INDEX);
}

#[test]
fn a_type_that_nothing_contradicts_stays() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    for (tag, kept) in [("1", "text/html"), ("2", "application/vnd.example+json")] {
        put(&store, "one", &older(&format!(r#"{{"a":{tag}}}"#), kept), tag);
    }
    assert_eq!(verify(&store, false), []);
    assert_eq!(served(&store, "one", "1"), "text/html");
    assert_eq!(served(&store, "one", "2"), "application/vnd.example+json");
}
