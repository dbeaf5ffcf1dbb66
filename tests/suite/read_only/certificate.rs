//! A certificate that has ended where none can be written: pulls go on with one that is made for
//! the time being, or at least the server comes up and says what is wrong.

use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::{a_disk, status};
use crate::support::binary::Instance;
use crate::support::disk::OwnDisk;
use crate::support::process::run;

#[test]
fn a_certificate_that_has_ended_is_renewed_in_memory_until_the_disk_can_be_written() {
    let Some(disk) = a_disk() else { return };
    let mut instance = ended(&disk, &[]);
    let path = instance.data().join("tls/server.crt");
    let there = fs::read(&path).expect("the certificate");
    instance.start();
    instance.client().get("/v2/").expect(200);
    let kept = "made server.crt: it had ended; the disk is read-only, so it is kept in memory";
    assert!(instance.errors().contains(kept), "{}", instance.errors());
    let told: Value = serde_json::from_str(&status(&instance)).expect("JSON");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
    assert!(told["certificate_expires"].as_u64().expect("a time") > now, "{told}");
    instance.stop();
    disk.remount("rw");
    assert_eq!(fs::read(&path).expect("the certificate"), there);
    instance.start();
    instance.client().get("/readyz").expect(200);
    assert_ne!(fs::read(&path).expect("the certificate"), there);
    instance.stop();
}

#[test]
fn without_the_key_to_make_one_the_server_comes_up_and_says_what_to_do() {
    let Some(disk) = a_disk() else { return };
    let mut instance = ended(&disk, &["ca.key", "issuing.key"]);
    instance.start();
    let path = instance.data().join("tls/server.crt");
    let log = instance.errors();
    let line = log.lines().find(|line| line.contains(" WARN ")).unwrap_or_default();
    let ended = format!("the certificate in {} ended on 20", path.display());
    for part in [&ended, "clients that check it refuse to connect", "mount it writable"] {
        assert!(line.contains(part), "{part}: {log}");
    }
    let ask = |flags: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail"]).args(flags);
        run(curl.arg(format!("https://{}/healthz", instance.address())))
    };
    ask(&["--insecure"]).ok();
    // What curl says of a certificate that it does not take.
    ask(&["--cacert", instance.ca().to_str().expect("a path in UTF-8")]).fails(60);
    instance.command(&["status"], &[]).ok();
    instance.stop();
}

/// A registry whose certificate ended, without these files, on a disk that is read-only now.
fn ended(disk: &OwnDisk, without: &[&str]) -> Instance {
    let mut instance = Instance::new().with_data(disk.path().join("data"));
    instance.start();
    instance.stop();
    let tls = instance.data().join("tls");
    fs::remove_dir_all(&tls).expect("the certificates go");
    let long_ago = SystemTime::now() - Duration::from_secs(400 * 24 * 3600);
    let always = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let names = always[..1].iter().cloned().chain(installer::own_names()).chain(always.clone());
    let names: Vec<certs::ServerName> = names.filter_map(|name| name.parse().ok()).collect();
    certs::ensure(&tls, certs::RootKey::InDirectory, &names, long_ago).expect("certificates");
    without.iter().for_each(|name| fs::remove_file(tls.join(name)).expect("a key"));
    disk.remount("ro");
    instance
}
