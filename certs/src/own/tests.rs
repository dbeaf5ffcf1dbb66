//! An administrator's certificates, good and bad. Formats of keys are in `tests/openssl.rs`.

use std::fs;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
};
use tempfile::TempDir;

use durable::IoError;

use super::*;
use crate::ca;
use crate::server::KeyKind;
use crate::validity::Validity;

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 24 * 60 * 60;

/// A certificate with its key and the parameters that make it an issuer.
struct Made {
    pem: String,
    key: KeyPair,
    params: CertificateParams,
}

fn params(name: &str, sans: &[&str]) -> CertificateParams {
    let validity = Validity { not_before: NOW - DAY, not_after: NOW + DAY };
    let mut params = ca::parameters(ca::subject(name.to_owned()), validity).unwrap();
    let sans: Vec<_> = sans.iter().map(|&name| name.to_owned()).collect();
    params.subject_alt_names = CertificateParams::new(sans).unwrap().subject_alt_names;
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = params(name, &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn made(params: CertificateParams, issuer: Option<&Made>) -> Made {
    made_with(params, issuer, KeyPair::generate().unwrap())
}

fn made_with(params: CertificateParams, issuer: Option<&Made>, key: KeyPair) -> Made {
    let signed = match issuer {
        Some(issuer) => {
            params.signed_by(&key, &Issuer::from_params(&issuer.params, &issuer.key)).unwrap()
        }
        None => params.self_signed(&key).unwrap(),
    };
    Made { pem: signed.pem(), key, params }
}

/// A directory with `own.crt` and `own.key`.
struct Own(TempDir);

impl Own {
    fn new(certificates: &[&Made], key: &KeyPair) -> Self {
        let pem: String = certificates.iter().map(|made| made.pem.as_str()).collect();
        Self::with(pem.as_bytes(), key.serialize_pem().as_bytes())
    }

    fn with(certificates: &[u8], key: &[u8]) -> Self {
        let own = Self(tempfile::tempdir().unwrap());
        fs::write(own.certificate(), certificates).unwrap();
        fs::write(own.key(), key).unwrap();
        own
    }

    fn certificate(&self) -> std::path::PathBuf {
        self.0.path().join("own.crt")
    }

    fn key(&self) -> std::path::PathBuf {
        self.0.path().join("own.key")
    }

    fn load(&self, names: &str) -> Result<ServerCertificate, CertError> {
        load_own(&self.certificate(), &self.key(), &parse(names), now())
    }

    fn problem(&self, names: &str) -> OwnProblem {
        match self.load(names) {
            Err(CertError::Own { path, problem }) => {
                let is_key = matches!(problem, OwnProblem::KeyMismatch { .. });
                assert_eq!(path, if is_key { self.key() } else { self.certificate() });
                problem
            }
            other => panic!("expected a problem: {other:?}"),
        }
    }
}

fn now() -> SystemTime {
    at(NOW)
}

fn at(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs())
}

fn parse(names: &str) -> Vec<ServerName> {
    names.split_whitespace().map(|name| name.parse().unwrap()).collect()
}

#[test]
fn a_chain_is_taken_with_and_without_its_root() {
    let root = made(authority("root"), None);
    let issuing = made(authority("issuing"), Some(&root));
    let leaf = made(params("leaf", &["A.example", "*.apps.example", "10.0.0.5"]), Some(&issuing));
    for chain in [&[&leaf] as &[_], &[&leaf, &issuing], &[&leaf, &issuing, &root]] {
        let own = Own::new(chain, &leaf.key);
        let loaded = own.load("a.example x.apps.example 10.0.0.5").unwrap();
        assert_eq!(loaded.chain().len(), chain.len());
        assert_eq!(loaded.key().kind(), KeyKind::Pkcs8);
        assert_eq!(loaded.key().der(), leaf.key.serialized_der());
        assert_eq!(loaded.names(), parse("a.example x.apps.example 10.0.0.5"));
        assert_eq!(loaded.validity().not_after(), at(NOW + DAY));
        assert_eq!(own.load("").map(|loaded| loaded.names().len()), Ok(0));
    }
}

#[test]
fn every_kind_of_key_that_a_server_signs_with_is_taken() {
    for algorithm in [&PKCS_RSA_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let root = made_with(authority("root"), None, KeyPair::generate_for(algorithm).unwrap());
        let leaf = made_with(params("leaf", &["a.example"]), Some(&root), key);
        Own::new(&[&leaf, &root], &leaf.key).load("a.example").unwrap();
    }
}

#[test]
fn what_signed_itself_is_taken_for_its_names() {
    let plain = made(params("self", &["a.example"]), None);
    Own::new(&[&plain], &plain.key).load("a.example").unwrap();
    let mut marked = params("self", &["a.example"]);
    marked.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let marked = made(marked, None);
    Own::new(&[&marked], &marked.key).load("a.example").unwrap();
    let nameless = made(authority("root"), None);
    let own = Own::new(&[&nameless], &nameless.key);
    assert_eq!(own.problem("a.example"), OwnProblem::Authority);
}

#[test]
fn an_issuing_ca_is_no_servers_certificate() {
    let root = made(authority("root"), None);
    let mut named = params("issuing", &["a.example"]);
    named.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let issuing = made(named, Some(&root));
    let own = Own::new(&[&issuing, &root], &issuing.key);
    assert_eq!(own.problem("a.example"), OwnProblem::Authority);
}

#[test]
fn a_foreign_key_and_a_wrong_order_are_told_apart() {
    let root = made(authority("root"), None);
    let leaf = made(params("leaf", &["a.example"]), Some(&root));
    let own = Own::new(&[&leaf, &root], &KeyPair::generate().unwrap());
    let certificate = own.certificate();
    assert_eq!(own.problem("a.example"), OwnProblem::KeyMismatch { certificate });
    let own = Own::new(&[&root, &leaf], &leaf.key);
    assert_eq!(own.problem("a.example"), OwnProblem::LeafNotFirst { position: 2 });
}

#[test]
fn a_chain_must_hold_together() {
    let root = made(authority("root"), None);
    let namesake = made(authority("root"), None);
    let issuing = made(authority("issuing"), Some(&root));
    let leaf = made(params("leaf", &["a.example"]), Some(&issuing));
    let chain = |certificates: &[&Made]| Own::new(certificates, &leaf.key).problem("a.example");
    assert_eq!(chain(&[&leaf, &root, &issuing]), OwnProblem::Chain { position: 1 });
    assert_eq!(chain(&[&leaf, &issuing, &namesake]), OwnProblem::Chain { position: 2 });
    assert_eq!(chain(&[&leaf, &issuing, &leaf]), OwnProblem::Chain { position: 2 });
    // An issuer that is no CA cannot vouch for anyone.
    let server = made(params("server", &["b.example"]), Some(&root));
    let bad = made(params("leaf", &["a.example"]), Some(&server));
    let own = Own::new(&[&bad, &server], &bad.key);
    assert_eq!(own.problem("a.example"), OwnProblem::Chain { position: 1 });
}

#[test]
fn every_certificate_of_the_chain_must_be_valid_now() {
    let dated = |mut params: CertificateParams, from: i64, to: i64| {
        let validity = Validity { not_before: NOW + from, not_after: NOW + to };
        let other = ca::parameters(ca::subject(String::new()), validity).unwrap();
        (params.not_before, params.not_after) = (other.not_before, other.not_after);
        params
    };
    let root = made(dated(authority("root"), -DAY, -1), None);
    let leaf = made(params("leaf", &["a.example"]), Some(&root));
    let ended = OwnProblem::Ended { position: 2, not_after: at(NOW - 1), now: now() };
    assert_eq!(Own::new(&[&leaf, &root], &leaf.key).problem("a.example"), ended);
    let early = made(dated(params("leaf", &["a.example"]), 1, DAY), Some(&root));
    let own = Own::new(&[&early], &early.key);
    let problem = OwnProblem::NotYetValid { position: 1, not_before: at(NOW + 1), now: now() };
    assert_eq!(own.problem("a.example"), problem);
    let last = made(dated(params("leaf", &["a.example"]), 0, 0), Some(&root));
    Own::new(&[&last], &last.key).load("a.example").unwrap();
}

#[test]
fn purposes_must_include_servers_if_there_are_any() {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
    for (purposes, accepted) in [
        (vec![], true),
        (vec![ServerAuth], true),
        (vec![ClientAuth, ServerAuth], true),
        (vec![Any], true),
        (vec![ClientAuth], false),
    ] {
        let mut params = params("leaf", &["a.example"]);
        params.extended_key_usages = purposes;
        let leaf = made(params, None);
        let own = Own::new(&[&leaf], &leaf.key);
        if accepted {
            own.load("a.example").unwrap();
        } else {
            assert_eq!(own.problem("a.example"), OwnProblem::NotForServers);
        }
    }
}

#[test]
fn a_common_name_alone_is_no_name() {
    let leaf = made(params("a.example", &[]), None);
    let own = Own::new(&[&leaf], &leaf.key);
    assert_eq!(own.problem("a.example"), OwnProblem::NoNames);
    assert_eq!(
        own.load("a.example").unwrap_err().to_string(),
        format!(
            "{}: the certificate has no subject alternative name, and Go programs such as podman \
             and oc ignore the common name: ask for one with `subjectAltName = DNS:NAME`",
            own.certificate().display()
        )
    );
}

#[test]
fn names_that_are_not_covered_are_listed() {
    let leaf = made(params("leaf", &["a.example", "*.apps.example", "::1"]), None);
    let own = Own::new(&[&leaf], &leaf.key);
    let missing = "b.example x.y.apps.example apps.example 10.0.0.5";
    let present = ["a.example", "*.apps.example", "::1"].map(str::to_owned).to_vec();
    assert_eq!(
        own.problem(&format!("a.example ::1 {missing}")),
        OwnProblem::NotCovered { missing: parse(missing), present }
    );
}

#[test]
fn files_that_are_not_what_they_should_be_are_named() {
    let leaf = made(params("leaf", &["a.example"]), None);
    let (pem, key) = (leaf.pem.as_bytes(), leaf.key.serialize_pem());
    for (certificates, key, in_key, damage) in [
        (&b"\x30\x82"[..], key.as_bytes(), false, Damage::NoCertificate),
        (key.as_bytes(), key.as_bytes(), false, Damage::NoCertificate),
        (&pem[..100], key.as_bytes(), false, Damage::Pem),
        (pem, pem, true, Damage::NoKey),
        (pem, &key.as_bytes()[..60], true, Damage::Pem),
    ] {
        let own = Own::with(certificates, key);
        let path = if in_key { own.key() } else { own.certificate() };
        assert_eq!(own.load("a.example"), Err(CertError::OwnDamaged { path, damage }));
    }
    let own = Own::new(&[&leaf], &leaf.key);
    fs::remove_file(own.key()).unwrap();
    let error = own.load("a.example").unwrap_err();
    assert!(matches!(error, CertError::Io(IoError { action: "read", .. })), "{error}");
    // Certificate and key in one file, as some tools write them.
    let both = [pem, key.as_bytes()].concat();
    Own::with(&both, &both).load("a.example").unwrap();
}
