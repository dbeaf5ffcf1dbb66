//! What another program thinks of the certificates, and the key formats that it writes.
//!
//! Needs the `openssl` command.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "helpers of tests fail like the tests themselves"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use certs::{CertError, Damage, GivenKey, KeyKind, OwnProblem, RootKey, ServerName};
use tempfile::TempDir;

/// Runs openssl in a directory; gives its success and all that it printed.
fn openssl(directory: &Path, arguments: &str) -> (bool, String) {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(directory)
        .output()
        .expect("the openssl command is installed");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn must(directory: &Path, arguments: &str) {
    let (success, text) = openssl(directory, arguments);
    assert!(success, "openssl {arguments}: {text}");
}

fn names(text: &str) -> Vec<ServerName> {
    text.split_whitespace().map(|name| name.parse().unwrap()).collect()
}

/// A directory with certificates for these names.
fn made(text: &str) -> (TempDir, PathBuf) {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("tls");
    certs::ensure(&directory, RootKey::InDirectory, &names(text), SystemTime::now()).unwrap();
    (temporary, directory)
}

const VERIFY: &str = "verify -x509_strict -purpose sslserver -CAfile ca.crt -untrusted issuing.crt";

#[test]
fn the_chain_is_valid_by_the_strict_rules_for_each_name() {
    for text in [
        "registry.example.com my_host localhost 10.0.0.5 127.0.0.1 ::1 2001:db8::5",
        "only.example.com",
        "10.0.0.5",
        "2001:db8::5",
    ] {
        let (_temporary, directory) = made(text);
        for name in names(text) {
            let option = if name.dns().is_some() { "-verify_hostname" } else { "-verify_ip" };
            must(&directory, &format!("{VERIFY} {option} {name} server.crt"));
        }
        for other in ["-verify_hostname x.registry.example.com", "-verify_ip 10.0.0.6"] {
            let (success, _) = openssl(&directory, &format!("{VERIFY} {other} server.crt"));
            assert!(!success, "{other} with {text}");
        }
    }
}

#[test]
fn a_root_is_made_with_a_key_that_openssl_made_and_given() {
    for arguments in [
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
        // Puts a block of parameters before the key.
        "ecparam -genkey -name prime256v1",
        "genrsa -traditional",
    ] {
        let temporary = tempfile::tempdir().unwrap();
        let (directory, pki) = (temporary.path().join("tls"), temporary.path().join("pki"));
        fs::create_dir(&pki).unwrap();
        must(&pki, &format!("{arguments} -out ca.key"));
        let path = pki.join("ca.key");
        let key = GivenKey::from_pem(&path, &fs::read(&path).unwrap()).unwrap();
        for text in ["a.example", "a.example 10.0.0.5"] {
            let names = names(text);
            let root_key = RootKey::Given(&key);
            certs::ensure(&directory, root_key, &names, SystemTime::now()).unwrap();
            must(&directory, &format!("{VERIFY} -verify_hostname a.example server.crt"));
        }
        must(&directory, &format!("{VERIFY} -verify_ip 10.0.0.5 server.crt"));
        let of_key = openssl(&pki, "pkey -in ca.key -pubout");
        assert_eq!(openssl(&directory, "x509 -in ca.crt -noout -pubkey"), of_key, "{arguments}");
        assert!(!directory.join("ca.key").exists());
    }
    // What is made here can be kept: openssl reads what stands in the file.
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("ca.key");
    fs::write(&path, GivenKey::make(&path).unwrap().pem()).unwrap();
    must(temporary.path(), "pkey -in ca.key -check -noout");
}

#[test]
fn the_certificates_say_what_they_are_for() {
    let (_temporary, directory) = made("registry.example.com 10.0.0.5");
    let show = |file: &str| openssl(&directory, &format!("x509 -in {file} -noout -text")).1;
    let (root, issuing, leaf) = (show("ca.crt"), show("issuing.crt"), show("server.crt"));
    for (text, parts) in [
        (&root, &["CA:TRUE, pathlen:1", "Certificate Sign, CRL Sign", "ASN1 OID: prime256v1"][..]),
        (
            &issuing,
            &[
                "X509v3 Basic Constraints: critical\n                CA:TRUE, pathlen:0",
                "X509v3 Name Constraints: critical",
                "DNS:registry.example.com",
                "IP:10.0.0.5/255.255.255.255",
                "Excluded:\n                  IP:0:0:0:0:0:0:0:0/0:0:0:0:0:0:0:0",
                "Authority Key Identifier",
                "TLS Web Server Authentication",
            ],
        ),
        (
            &leaf,
            &[
                "CN = registry.example.com server",
                "DNS:registry.example.com, IP Address:10.0.0.5",
                "X509v3 Key Usage: critical\n                Digital Signature\n",
                "X509v3 Extended Key Usage: \n                TLS Web Server Authentication\n",
                "CA:FALSE",
                "Subject Key Identifier",
                "Authority Key Identifier",
            ],
        ),
    ] {
        for part in parts {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
    }
}

#[test]
fn the_issuing_key_cannot_certify_what_was_not_asked_for() {
    for (text, foreign) in [
        ("registry.example.com 10.0.0.5", "DNS:other.example.com"),
        ("registry.example.com 10.0.0.5", "DNS:example.com"),
        ("registry.example.com 10.0.0.5", "DNS:*.example.com"),
        ("registry.example.com 10.0.0.5", "IP:10.0.0.6"),
        ("registry.example.com 10.0.0.5", "IP:2001:db8::5"),
        ("registry.example.com", "IP:10.0.0.5"),
        ("registry.example.com", "IP:::1"),
        ("10.0.0.5", "DNS:registry.example.com"),
        ("2001:db8::5", "IP:10.0.0.5"),
    ] {
        let (_temporary, directory) = made(text);
        let sign = |san: &str| {
            fs::write(directory.join("san.cnf"), format!("subjectAltName = {san}\n")).unwrap();
            must(&directory, "req -new -key server.key -subj /CN=x -out x.csr");
            must(
                &directory,
                "x509 -req -in x.csr -CA issuing.crt -CAkey issuing.key -days 30 -extfile san.cnf \
                 -out x.crt",
            );
            openssl(&directory, "verify -CAfile ca.crt -untrusted issuing.crt x.crt")
        };
        let own = names(text).swap_remove(0);
        let kind = if own.dns().is_some() { "DNS" } else { "IP" };
        let (success, output) = sign(&format!("{kind}:{own}"));
        assert!(success, "a name that was asked for: {output}");
        let (success, output) = sign(foreign);
        assert!(!success, "{foreign} under {text}");
        assert!(output.contains("subtree violation"), "{output}");
    }
}

#[test]
fn the_issuing_key_cannot_make_another_ca() {
    let (_temporary, directory) = made("registry.example.com");
    let extensions = "basicConstraints = critical, CA:TRUE\nkeyUsage = keyCertSign\n";
    fs::write(directory.join("ca.cnf"), extensions).unwrap();
    must(&directory, "req -new -key server.key -subj /CN=sub -out sub.csr");
    must(
        &directory,
        "x509 -req -in sub.csr -CA issuing.crt -CAkey issuing.key -days 30 -extfile ca.cnf \
         -out sub.crt",
    );
    fs::write(directory.join("san.cnf"), "subjectAltName = DNS:registry.example.com\n").unwrap();
    must(&directory, "req -new -key server.key -subj /CN=x -out x.csr");
    must(
        &directory,
        "x509 -req -in x.csr -CA sub.crt -CAkey server.key -days 30 -extfile san.cnf -out x.crt",
    );
    let sub = openssl(
        &directory,
        "verify -CAfile ca.crt -untrusted issuing.crt -untrusted sub.crt x.crt",
    );
    assert!(!sub.0 && sub.1.contains("path length constraint exceeded"), "{}", sub.1);
}

/// Makes a certificate for `a.example` that signed itself, with a key of this kind.
fn own(key: &str) -> (TempDir, PathBuf, PathBuf) {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path();
    must(directory, &format!("{key} -out own.key"));
    must(
        directory,
        "req -new -x509 -key own.key -subj /CN=x -addext subjectAltName=DNS:a.example -days 30 \
         -out own.crt",
    );
    let (certificate, key) = (directory.join("own.crt"), directory.join("own.key"));
    (temporary, certificate, key)
}

#[test]
fn keys_are_taken_in_every_format_that_openssl_writes() {
    for (arguments, kind) in [
        ("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048", KeyKind::Pkcs8),
        ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256", KeyKind::Pkcs8),
        ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521", KeyKind::Pkcs8),
        ("genpkey -algorithm ED25519", KeyKind::Pkcs8),
        ("genrsa -traditional", KeyKind::Pkcs1),
        // Puts a block of parameters before the key.
        ("ecparam -genkey -name prime256v1", KeyKind::Sec1),
        ("ecparam -genkey -noout -name secp384r1", KeyKind::Sec1),
    ] {
        let (_temporary, certificate, key) = own(arguments);
        let loaded = certs::load_own(&certificate, &key, &names("a.example"), SystemTime::now());
        let loaded = loaded.unwrap_or_else(|error| panic!("{arguments}: {error}"));
        assert_eq!(loaded.key().kind(), kind, "{arguments}");
        assert_eq!(loaded.chain().len(), 1);
    }
}

#[test]
fn keys_that_cannot_serve_are_refused() {
    for (arguments, damage) in [
        ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1", Damage::UnusableKey),
        ("genpkey -algorithm ED448", Damage::UnusableKey),
        ("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024", Damage::UnusableKey),
    ] {
        let (_temporary, certificate, path) = own(arguments);
        let loaded = certs::load_own(&certificate, &path, &[], SystemTime::now());
        assert_eq!(loaded, Err(CertError::OwnDamaged { path, damage }), "{arguments}");
    }
    for format in ["", "-traditional"] {
        let (temporary, certificate, _) = own("genrsa");
        must(
            temporary.path(),
            &format!("rsa -in own.key -aes256 -passout pass:secret {format} -out locked.key"),
        );
        let path = temporary.path().join("locked.key");
        let loaded = certs::load_own(&certificate, &path, &[], SystemTime::now());
        let error = loaded.unwrap_err();
        let advice = format!("`openssl pkey -in {} -out server.key`", path.display());
        assert!(error.to_string().contains(&advice), "{error}");
        assert_eq!(error, CertError::OwnDamaged { path, damage: Damage::Encrypted });
    }
}

#[test]
fn old_signatures_and_the_curve_that_is_not_checked() {
    let (temporary, certificate, key) = own("genrsa");
    let directory = temporary.path();
    let san = "subjectAltName = DNS:a.example\n";
    fs::write(directory.join("san.cnf"), san).unwrap();
    let sign = |issuer: &str, hash: &str| {
        must(directory, &format!("{issuer} -out root.key"));
        must(directory, "req -new -x509 -key root.key -subj /CN=root -days 30 -out root.crt");
        must(directory, "req -new -key own.key -subj /CN=x -out own.csr");
        must(
            directory,
            &format!(
                "x509 -req -in own.csr -CA root.crt -CAkey root.key -days 30 -extfile san.cnf \
                 -{hash} -out leaf.crt"
            ),
        );
        let chain = ["leaf.crt", "root.crt"].map(|file| fs::read(directory.join(file)).unwrap());
        fs::write(&certificate, chain.concat()).unwrap();
        certs::load_own(&certificate, &key, &names("a.example"), SystemTime::now())
    };
    sign("genrsa", "sha256").unwrap();
    sign("genrsa", "sha512").unwrap();
    sign("ecparam -genkey -noout -name secp521r1", "sha512").unwrap();
    for (issuer, hash) in
        [("genrsa", "sha1"), ("genrsa", "md5"), ("ecparam -genkey -noout -name prime256v1", "sha1")]
    {
        let problem = OwnProblem::WeakSignature { position: 1 };
        let path = certificate.clone();
        assert_eq!(sign(issuer, hash), Err(CertError::Own { path, problem }), "{hash}");
    }
}
