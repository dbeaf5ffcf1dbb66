//! A directory of certificates through its whole life.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use proptest::prelude::*;
use rcgen::{BasicConstraints, IsCa, KeyPair};
use tempfile::TempDir;

use durable::IoError;

use super::*;
use crate::ca;
use crate::error::Damage;
use crate::expiry::Expiry;
use crate::root_key::GivenKey;
use crate::x509::{self, Certificate};

mod crash;
mod given;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const ALL: [&str; 6] =
    ["ca.key", "ca.crt", "issuing.key", "issuing.crt", "server.key", "server.crt"];

/// A directory for the certificates that does not exist yet, the time of the test, and the root's
/// key if that is given.
struct Place {
    temporary: TempDir,
    now: SystemTime,
    key: Option<GivenKey>,
}

impl Place {
    fn new() -> Self {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        Self { temporary: tempfile::tempdir().unwrap(), now, key: None }
    }

    /// A directory in which everything was made for `names`.
    fn made(names: &str) -> Self {
        let place = Self::new();
        place.ensure(names).unwrap();
        place
    }

    fn path(&self) -> std::path::PathBuf {
        self.temporary.path().join("tls")
    }

    fn ensure(&self, names: &str) -> Result<Ensured, CertError> {
        let root_key = self.key.as_ref().map_or(RootKey::InDirectory, RootKey::Given);
        ensure(&self.path(), root_key, &parse(names), self.now)
    }

    fn changes(&self, names: &str) -> Result<Vec<(&'static str, Reason)>, CertError> {
        let changes = self.ensure(names)?.changes;
        Ok(changes.iter().map(|change| (change.file.name(), change.reason)).collect())
    }

    fn remove(&self, file: &str) {
        fs::remove_file(self.path().join(file)).unwrap();
    }

    fn write(&self, file: &str, content: &[u8]) {
        fs::write(self.path().join(file), content).unwrap();
    }

    fn content(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.path()).unwrap().map(Result::unwrap);
        entries
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read(entry.path()).unwrap_or_default())
            })
            .collect()
    }

    fn certificate(&self, file: &str) -> Certificate {
        let pem = fs::read(self.path().join(file)).unwrap();
        x509::certificates(&pem).unwrap().swap_remove(0)
    }

    /// What must be true after every `ensure` that succeeds.
    fn check(&self, names: &str) {
        let certificate = self.ensure(names).unwrap().certificate;
        let wanted: BTreeSet<_> = parse(names).into_iter().collect();
        let (root, issuing, leaf) = (
            self.certificate("ca.crt"),
            self.certificate("issuing.crt"),
            self.certificate("server.crt"),
        );
        assert_eq!(certificate.chain(), [leaf.der.clone(), issuing.der.clone()]);
        assert_eq!(leaf.names(), wanted);
        assert!(issuing.permitted.is_superset(&wanted));
        assert_eq!(leaf.proof_by(&issuing), x509::Proof::Signed);
        assert_eq!(issuing.proof_by(&root), x509::Proof::Signed);
        assert_eq!(certificate.key().pair().unwrap().public_key_raw(), leaf.public_key);
        for (issuer, issued) in [(&root, &issuing), (&issuing, &leaf)] {
            assert!(issued.validity.not_after <= issuer.validity.not_after);
            assert!(issued.validity.not_before >= issuer.validity.not_before);
        }
        assert_eq!(self.ensure(names).unwrap().changes, [], "the second call finds all well");
    }
}

#[test]
fn where_nothing_can_be_written_it_is_made_all_the_same_and_nothing_changes_there() {
    let mut place = Place::made("a.example.com");
    let in_memory = |place: &Place, names: &str| {
        ensure_in_memory(&place.path(), RootKey::InDirectory, &parse(names), place.now)
    };
    let kept = in_memory(&place, "a.example.com").unwrap();
    assert_eq!(kept, place.ensure("a.example.com").unwrap(), "what is well serves");
    place.now += 400 * DAY;
    let before = place.content();
    let made = in_memory(&place, "a.example.com").unwrap();
    let server = Change { file: TlsFile::ServerCertificate, reason: Reason::Ended };
    assert_eq!(made.changes, [server]);
    let issuing = place.certificate("issuing.crt");
    assert_eq!(made.certificate.chain()[1], issuing.der);
    assert!(made.certificate.validity().not_after() > place.now);
    // Another name takes another issuing CA.
    let files = |made: Ensured| made.changes.iter().map(|it| it.file).collect::<Vec<_>>();
    let other = in_memory(&place, "b.example.com").unwrap();
    assert_eq!(files(other), [TlsFile::IssuingCertificate, TlsFile::ServerCertificate]);
    assert_eq!(place.content(), before);
    // A root that nobody trusts is no help.
    let nothing = Place::new();
    let missing = CertError::RootMissing { directory: nothing.path() };
    assert_eq!(in_memory(&nothing, "a.example.com"), Err(missing));
    assert!(!nothing.path().exists());
}

fn parse(names: &str) -> Vec<ServerName> {
    names.split_whitespace().map(|name| name.parse().unwrap()).collect()
}

#[test]
fn the_first_call_makes_everything_and_the_second_nothing() {
    let place = Place::new();
    let names = "registry.example.com localhost 10.0.0.5 ::1";
    let all_made = ["ca.crt", "issuing.crt", "server.crt"].map(|file| (file, Reason::Missing));
    let changes = place.changes(&format!("{names} localhost")).unwrap();
    assert_eq!(changes, all_made, "a repeated name counts once");
    let before = place.content();
    assert_eq!(before.keys().map(String::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(ALL));
    place.check(names);
    place.check("::1 localhost registry.example.com 10.0.0.5");
    assert_eq!(place.content(), before);
}

#[test]
fn dates_are_as_promised_and_read_without_keys() {
    let place = Place::made("a.example");
    let yesterday = place.now - DAY;
    for file in ["ca.key", "issuing.key", "server.key"] {
        place.remove(file);
    }
    let Ok(Expiry { root: Some(root), issuing: Some(issuing), server: Some(server) }) =
        Expiry::read(&place.path())
    else {
        panic!("every certificate has dates");
    };
    let last_second = Duration::from_secs(1);
    assert_eq!(root.not_before(), yesterday);
    assert_eq!(root.not_after(), yesterday + DAY * 3_652 - last_second);
    assert_eq!(issuing, root);
    assert_eq!(server.not_before(), yesterday);
    assert_eq!(server.not_after(), yesterday + DAY * 397 - last_second);
}

#[test]
fn two_roots_of_one_name_have_different_subjects() {
    let subject = |place: &Place| {
        let der = place.certificate("ca.crt").der;
        let (_, x509) = x509_parser::parse_x509_certificate(&der).unwrap();
        (x509.subject().to_string(), x509.raw_serial().to_vec())
    };
    let (first, second) = (subject(&Place::made("a.example")), subject(&Place::made("a.example")));
    assert!(first.0.starts_with("O=registry, CN=a.example root CA "), "{}", first.0);
    assert_ne!(first.0, second.0);
    assert_ne!(first.1, second.1);
    assert_eq!(first.1.len(), 16);
    let long = format!("{}.example", "a".repeat(63));
    let (name, _) = subject(&Place::made(&long));
    let common_name = name.rsplit('=').next().unwrap();
    assert!(common_name.len() <= 64, "{common_name}");
}

#[test]
fn names_that_cannot_be_certified_are_refused_before_anything_is_made() {
    let place = Place::new();
    assert_eq!(place.ensure(""), Err(CertError::NoNames));
    let many: Vec<_> = (0..=MAX_NAMES).map(|number| format!("h{number}.example")).collect();
    assert_eq!(place.ensure(&many.join(" ")), Err(CertError::TooManyNames { count: 101 }));
    assert!(!place.path().exists());
    place.check(&many[1..].join(" "));
}

#[test]
fn the_server_certificate_is_renewed_without_the_root_key() {
    let mut place = Place::made("a.example 10.0.0.5");
    place.remove("ca.key");
    let before = place.content();
    place.now += DAY * 263;
    assert_eq!(place.changes("a.example 10.0.0.5"), Ok(vec![]));
    place.now += DAY * 2;
    let renewed = vec![("server.crt", Reason::Due)];
    assert_eq!(place.changes("a.example 10.0.0.5"), Ok(renewed));
    place.check("a.example 10.0.0.5");
    let after = place.content();
    for file in ["ca.crt", "issuing.crt", "issuing.key"] {
        assert_eq!(before[file], after[file], "{file}");
    }
    assert_ne!(before["server.key"], after["server.key"]);
    place.now += DAY * 500;
    assert_eq!(place.changes("a.example 10.0.0.5"), Ok(vec![("server.crt", Reason::Ended)]));
}

#[test]
fn a_clock_that_went_back_is_mended_as_far_as_the_root_reaches() {
    let mut place = Place::made("a.example");
    let made = place.now;
    place.now += DAY * 300;
    assert_eq!(place.changes("a.example"), Ok(vec![("server.crt", Reason::Due)]));
    place.now = made + DAY;
    assert_eq!(place.changes("a.example"), Ok(vec![("server.crt", Reason::Early)]));
    // The issuing CA of a later change of names is ahead of such a clock too.
    place.now = made + DAY * 30;
    place.check("b.example");
    place.now = made + DAY;
    let key = place.content()["ca.key"].clone();
    place.remove("ca.key");
    let error = CertError::RootKeyNeeded { directory: place.path(), reason: Reason::Early };
    assert_eq!(place.ensure("b.example"), Err(error));
    place.write("ca.key", &key);
    let mended = [("issuing.crt", Reason::Early), ("server.crt", Reason::Unfit)];
    assert_eq!(place.changes("b.example"), Ok(mended.to_vec()));
    place.now = made - DAY * 2;
    let not_before = made - DAY;
    let error = CertError::RootNotYetValid { directory: place.path(), not_before, now: place.now };
    assert_eq!(place.ensure("a.example"), Err(error));
}

#[test]
fn a_dead_clock_makes_nothing() {
    let mut place = Place::new();
    place.now = SystemTime::UNIX_EPOCH + DAY;
    assert_eq!(place.ensure("a.example"), Err(CertError::Clock { now: place.now }));
    assert!(!place.path().exists());
}

#[test]
fn new_names_need_the_root_key_and_keep_the_root() {
    let place = Place::made("a.example 10.0.0.5");
    let root = place.content()["ca.crt"].clone();
    let old_key = place.content()["issuing.key"].clone();
    let changed = [("issuing.crt", Reason::Names), ("server.crt", Reason::Unfit)];
    assert_eq!(place.changes("a.example b.example ::1"), Ok(changed.to_vec()));
    place.check("a.example b.example ::1");
    assert_eq!(place.certificate("issuing.crt").permitted.len(), 3, "10.0.0.5 is gone");
    assert_ne!(place.content()["issuing.key"], old_key);

    let key = place.content()["ca.key"].clone();
    place.remove("ca.key");
    let before = place.content();
    let missing = parse("c.example x.a.example");
    let error = CertError::NamesNotPermitted { directory: place.path(), names: missing };
    assert_eq!(place.ensure("a.example c.example x.a.example"), Err(error));
    assert_eq!(place.content(), before);
    place.write("ca.key", &key);
    place.check("a.example c.example x.a.example");
    assert_eq!(place.content()["ca.crt"], root);
}

#[test]
fn fewer_names_narrow_the_issuing_ca_when_the_root_key_is_there() {
    let place = Place::made("a.example b.example");
    let key = place.content()["ca.key"].clone();
    place.remove("ca.key");
    assert_eq!(place.changes("a.example"), Ok(vec![("server.crt", Reason::Names)]));
    place.check("a.example");
    assert_eq!(place.certificate("issuing.crt").permitted.len(), 2);
    place.write("ca.key", &key);
    let narrowed = [("issuing.crt", Reason::Names), ("server.crt", Reason::Unfit)];
    assert_eq!(place.changes("a.example"), Ok(narrowed.to_vec()));
    assert_eq!(place.certificate("issuing.crt").permitted.len(), 1);
}

#[test]
fn the_root_is_never_made_twice() {
    for lost in [&["ca.crt"] as &[_], &["ca.crt", "ca.key"], &["ca.crt", "issuing.crt"]] {
        let place = Place::made("a.example");
        lost.iter().for_each(|file| place.remove(file));
        let before = place.content();
        let error = CertError::RootMissing { directory: place.path() };
        assert_eq!(place.ensure("a.example"), Err(error), "{lost:?}");
        assert_eq!(place.content(), before);
    }
    let place = Place::made("a.example");
    ["ca.key", "issuing.crt"].iter().for_each(|file| place.remove(file));
    let error = CertError::RootKeyNeeded { directory: place.path(), reason: Reason::Missing };
    assert_eq!(place.ensure("a.example"), Err(error));
}

#[test]
fn another_roots_key_or_certificate_is_noticed() {
    let (place, other) = (Place::made("a.example"), Place::made("a.example"));
    let right = place.content();
    place.write("ca.key", &other.content()["ca.key"]);
    let key = place.path().join("ca.key");
    let mismatch = Err(CertError::RootKeyMismatch { directory: place.path(), key });
    assert_eq!(place.ensure("a.example"), mismatch);
    place.write("ca.crt", &other.content()["ca.crt"]);
    place.remove("ca.key");
    let error = CertError::RootKeyNeeded { directory: place.path(), reason: Reason::Unfit };
    assert_eq!(place.ensure("a.example"), Err(error));
    // Somebody replaced the root on purpose, key and all: the rest follows.
    place.write("ca.key", &other.content()["ca.key"]);
    place.check("a.example");
    assert_eq!(place.content()["ca.crt"], other.content()["ca.crt"]);
    assert_ne!(place.content()["issuing.crt"], right["issuing.crt"]);
}

#[test]
fn a_root_key_that_is_kept_from_the_server_counts_as_absent() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::made("a.example");
    let key = place.path().join("ca.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&key).is_ok() {
        return; // Nothing can be kept from root.
    }
    place.check("a.example");
    let names = parse("b.example");
    let error = CertError::NamesNotPermitted { directory: place.path(), names };
    assert_eq!(place.ensure("a.example b.example"), Err(error));
    // Without ca.crt it is no absent key: it would be overwritten.
    ["ca.crt", "issuing.crt", "server.crt"].iter().for_each(|file| place.remove(file));
    let error = place.ensure("a.example").unwrap_err();
    assert!(matches!(error, CertError::Io(IoError { action: "read", .. })), "{error}");
}

#[test]
fn a_damaged_file_is_named_and_left_alone() {
    let one = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let key = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    use TlsFile::{IssuingCertificate, IssuingKey, RootCertificate, RootKey, ServerKey};
    let leaf = Place::made("a.example").content()["server.crt"].clone();
    for (file, content, damage) in [
        (RootCertificate, &b""[..], Damage::NoCertificate),
        (RootCertificate, one, Damage::Certificate),
        (RootCertificate, &leaf, Damage::Several),
        (RootKey, b"", Damage::NoKey),
        (RootKey, key, Damage::UnusableKey),
        (RootKey, b"-----BEGIN ENCRYPTED PRIVATE KEY-----", Damage::Encrypted),
        (IssuingCertificate, &one[..40], Damage::Pem),
        (IssuingKey, key, Damage::UnusableKey),
        (TlsFile::ServerCertificate, b"\0", Damage::NoCertificate),
        (ServerKey, key, Damage::UnusableKey),
        (ServerKey, &[b' '; crate::MAX_FILE_BYTES + 1], Damage::TooLarge),
    ] {
        let place = Place::made("a.example");
        place.write(file.name(), content);
        let before = place.content();
        let error = CertError::Damaged { directory: place.path(), file, damage };
        assert_eq!(place.ensure("a.example"), Err(error));
        assert_eq!(place.content(), before);
    }
    let place = Place::made("a.example");
    let issuing = place.content()["issuing.crt"].clone();
    place.write("ca.crt", &issuing);
    let error = place.ensure("a.example").unwrap_err();
    let path = place.path().display().to_string();
    assert_eq!(
        error.to_string(),
        format!(
            "{path}/ca.crt is not the certificate of a root CA: restore it from a backup or from \
             a client that trusts it; only to begin with a new CA, move its directory away"
        )
    );
}

#[test]
fn removing_what_the_message_says_helps() {
    let place = Place::made("a.example");
    place.write("server.crt", b"");
    place.remove("server.crt");
    place.remove("server.key");
    place.check("a.example");
    place.write("issuing.crt", b"");
    place.remove("issuing.crt");
    place.remove("issuing.key");
    place.check("a.example");
}

#[test]
fn near_its_end_the_root_is_not_outlived_and_nothing_is_made_in_vain() {
    let mut place = Place::made("a.example");
    let root = place.certificate("ca.crt").validity;
    place.now = root.not_after() - DAY * 100;
    assert_eq!(place.changes("a.example"), Ok(vec![("server.crt", Reason::Ended)]));
    place.check("a.example");
    let server = place.certificate("server.crt").validity;
    assert_eq!(server.not_after(), root.not_after());
    let before = place.content();
    place.now = root.not_after();
    place.check("a.example");
    assert_eq!(place.content(), before);
    place.now += Duration::from_secs(1);
    let not_after = root.not_after();
    let error = CertError::RootEnded { directory: place.path(), not_after, now: place.now };
    assert_eq!(place.ensure("a.example"), Err(error));
    assert_eq!(place.content(), before);
}

/// Gives the place an issuing CA that ends before its root, as no call of today makes it.
fn shorten_issuing(place: &Place, days: u32) {
    let root = place.certificate("ca.crt");
    let pair = |file| {
        let pem = fs::read_to_string(place.path().join(file)).unwrap();
        KeyPair::from_pem(&pem).unwrap()
    };
    let (root_key, key) = (pair("ca.key"), pair("issuing.key"));
    let not_after = seconds(place.now + DAY * days);
    let validity = Validity { not_before: root.validity.not_before, not_after };
    let mut params = ca::parameters(ca::subject("short".to_owned()), validity).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.name_constraints = Some(ca::constraints(&parse("a.example")));
    let signed = ca::sign(&params, &key, &root, &root_key).unwrap();
    place.write("issuing.crt", signed.pem().as_bytes());
}

#[test]
fn an_issuing_ca_near_its_end_is_renewed_with_the_root_key_and_used_without() {
    let mut place = Place::made("a.example");
    shorten_issuing(&place, 300);
    let root_key = place.content()["ca.key"].clone();
    place.remove("ca.key");
    place.now += DAY * 250;
    assert_eq!(place.changes("a.example"), Ok(vec![("server.crt", Reason::Unfit)]));
    place.check("a.example");
    let server = place.certificate("server.crt").validity;
    assert_eq!(server.not_after, place.certificate("issuing.crt").validity.not_after);
    place.now += DAY * 51;
    let error = CertError::RootKeyNeeded { directory: place.path(), reason: Reason::Ended };
    assert_eq!(place.ensure("a.example"), Err(error));
    place.now -= DAY * 51;
    place.write("ca.key", &root_key);
    let renewed = [("issuing.crt", Reason::Due), ("server.crt", Reason::Unfit)];
    assert_eq!(place.changes("a.example"), Ok(renewed.to_vec()));
    place.check("a.example");
}

#[test]
fn a_directory_without_parent_is_an_error_that_names_it() {
    let directory = Path::new("/nonexistent/data/tls");
    let now = Place::new().now;
    let names = parse("a.example");
    let error = ensure(directory, RootKey::InDirectory, &names, now).unwrap_err();
    let start = "cannot make the directory /nonexistent/data/tls: ";
    assert!(error.to_string().starts_with(start), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// Whatever is lost or mixed up, a success is a whole and fitting chain under the old root.
    #[test]
    fn lost_and_foreign_files_are_mended_or_refused(fates in prop::array::uniform6(0..3)) {
        let (place, other) = (Place::made("a.example"), Place::made("a.example b.example"));
        let root = place.content()["ca.crt"].clone();
        for (file, fate) in ALL.into_iter().zip(fates) {
            match fate {
                1 => place.remove(file),
                2 => place.write(file, &other.content()[file]),
                _ => {}
            }
        }
        if place.ensure("a.example").is_ok() {
            place.check("a.example");
            let now_there = &place.content()["ca.crt"];
            let all_lost = fates[1] == 1 && fates[3] == 1 && fates[5] == 1;
            let exchanged = *now_there == other.content()["ca.crt"];
            prop_assert!(*now_there == root || exchanged || all_lost);
        }
    }
}
