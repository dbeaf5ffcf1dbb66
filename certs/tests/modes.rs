//! Modes of files, whatever the umask. One test in a program of its own, because the umask
//! belongs to the whole process.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like the tests themselves")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use certs::RootKey;
use rustix::fs::Mode;
use rustix::process::umask;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn keys_are_private_and_certificates_readable_whatever_the_umask() {
    let names = |text: &str| [text.parse().unwrap()];
    let temporary = tempfile::tempdir().unwrap();
    let before = umask(Mode::from_raw_mode(0o022));
    for mask in [0o000, 0o077, 0o777] {
        umask(Mode::from_raw_mode(mask));
        let directory = temporary.path().join(format!("tls-{mask:o}"));
        let now = SystemTime::now();
        certs::ensure(&directory, RootKey::InDirectory, &names("a.example"), now).unwrap();
        // Written a second time: the root stays, the rest is made anew or renewed.
        certs::ensure(&directory, RootKey::InDirectory, &names("b.example"), now).unwrap();
        let later = now + Duration::from_secs(300 * 24 * 60 * 60);
        certs::ensure(&directory, RootKey::InDirectory, &names("b.example"), later).unwrap();
        assert_eq!(mode(&directory), 0o755, "umask {mask:o}");
        let mut seen = 0;
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let is_key = path.extension().is_some_and(|extension| extension == "key");
            let expected = if is_key { 0o600 } else { 0o644 };
            assert_eq!(mode(&path), expected, "{} with umask {mask:o}", path.display());
            seen += 1;
        }
        assert_eq!(seen, 6, "three keys and three certificates, nothing temporary");
    }
    umask(before);
}
