//! A root's key that is kept outside of the directory.

use super::*;

/// A place without certificates, and a key for its root.
pub(super) fn place() -> Place {
    let mut place = Place::new();
    place.key = Some(key("ca.key"));
    place
}

fn key(file: &str) -> GivenKey {
    GivenKey::make(&Path::new("/pki").join(file)).unwrap()
}

/// The same place without the key, as a server sees it.
fn without_key(mut place: Place) -> Place {
    place.key = None;
    place
}

#[test]
fn a_given_key_makes_the_root_and_stays_out_of_the_directory() {
    let place = place();
    let all_made = ["ca.crt", "issuing.crt", "server.crt"].map(|file| (file, Reason::Missing));
    assert_eq!(place.changes("a.example 10.0.0.5"), Ok(all_made.to_vec()));
    place.check("a.example 10.0.0.5");
    let content = place.content();
    let files: Vec<_> = content.keys().map(String::as_str).collect();
    assert_eq!(files, ["ca.crt", "issuing.crt", "issuing.key", "server.crt", "server.key"]);
    let key = place.key.as_ref().unwrap().pair().unwrap();
    assert_eq!(place.certificate("ca.crt").public_key, key.public_key_raw());
}

#[test]
fn names_are_added_with_the_given_key_and_renewal_goes_on_without() {
    let place = place();
    place.check("a.example");
    let root = place.content()["ca.crt"].clone();
    let changed = [("issuing.crt", Reason::Names), ("server.crt", Reason::Unfit)];
    assert_eq!(place.changes("a.example b.example"), Ok(changed.to_vec()));
    assert_eq!(place.content()["ca.crt"], root);

    let mut place = without_key(place);
    place.check("a.example b.example");
    let names = parse("c.example");
    let error = CertError::NamesNotPermitted { directory: place.path(), names };
    assert!(error.takes_root_key());
    assert_eq!(place.ensure("a.example c.example"), Err(error));
    place.now += DAY * 300;
    let renewed = vec![("server.crt", Reason::Due)];
    assert_eq!(place.changes("a.example b.example"), Ok(renewed));
}

#[test]
fn the_key_of_another_root_is_refused_by_the_name_of_its_file() {
    let mut place = place();
    place.check("a.example");
    let before = place.content();
    place.key = Some(key("other.key"));
    let error = place.ensure("a.example b.example").unwrap_err();
    let path = place.path();
    let expected =
        CertError::RootKeyMismatch { directory: path.clone(), key: "/pki/other.key".into() };
    assert_eq!(error, expected);
    let start = format!("/pki/other.key is not the key of {}/ca.crt: put", path.display());
    assert!(error.to_string().starts_with(&start), "{error}");
    assert!(!error.takes_root_key());
    assert_eq!(place.content(), before);
}

#[test]
fn a_lost_root_is_not_made_again_with_the_given_key() {
    for lost in [&["ca.crt"] as &[_], &["ca.crt", "issuing.crt"], &["ca.crt", "server.crt"]] {
        let place = place();
        place.check("a.example");
        lost.iter().for_each(|file| place.remove(file));
        let before = place.content();
        let error = CertError::RootMissing { directory: place.path() };
        assert_eq!(place.ensure("a.example"), Err(error), "{lost:?}");
        assert_eq!(place.content(), before);
    }
}

#[test]
fn a_key_in_the_directory_must_be_the_one_that_is_given() {
    let made = Place::made("a.example");
    let inside = made.content()["ca.key"].clone();
    // Somebody copied the key out and has not removed it here yet.
    let copy = GivenKey::from_pem(Path::new("/pki/ca.key"), &inside).unwrap();
    let place = Place { key: Some(copy), ..made };
    place.check("a.example b.example");
    assert_eq!(place.content()["ca.key"], inside, "it is nobody's here to remove");

    let other = Place::made("a.example").content()["ca.key"].clone();
    place.write("ca.key", &other);
    let (directory, wrong) = (place.path(), place.path().join("ca.key"));
    let error = CertError::RootKeyMismatch { directory: directory.clone(), key: wrong };
    assert_eq!(place.ensure("a.example"), Err(error), "a later start would find it");

    // Without any certificate either of the two may be the root's.
    for file in ["ca.crt", "issuing.crt", "server.crt"] {
        place.remove(file);
    }
    let before = place.content();
    let error = CertError::TwoRootKeys { directory, given: "/pki/ca.key".into() };
    assert_eq!(place.ensure("a.example"), Err(error));
    assert_eq!(place.content(), before);
    place.write("ca.key", &inside);
    place.check("a.example");
}

#[test]
fn a_root_that_nobody_saw_is_made_with_whichever_key_comes_next() {
    let mut place = place();
    fs::create_dir_all(place.path().join("ca.crt.new/x")).unwrap();
    place.ensure("a.example").unwrap_err();
    fs::remove_dir_all(place.path().join("ca.crt.new")).unwrap();
    place.key = Some(key("next.key"));
    place.check("a.example");
    let key = place.key.as_ref().unwrap().pair().unwrap();
    assert_eq!(place.certificate("ca.crt").public_key, key.public_key_raw());
}
