//! `registry install` and `uninstall` on hosts that boot.

use std::fs;
use std::path::Path;

use crate::support::binary::program;
use crate::support::clients::Machine;
use crate::support::host::{Host, NAME, Snapshot};
use crate::support::process::Run;

mod failure;
mod life;
mod mode;
mod mount;
mod service;
mod setting;

/// What clients put before a name.
const ADDRESS: &str = "mirror.example.com:8443";
/// Where the program was copied to by hand.
const PROGRAM: &str = "/root/registry";
/// Where the data are unless somebody says otherwise.
const DATA: &str = "/var/lib/registry";

/// A host that an administrator has copied the program to, and nothing else.
fn host_with_program() -> Option<Host> {
    let host = Host::boot()?;
    host.copy_in(program(), PROGRAM);
    Some(host)
}

/// Types `./registry install` and these flags.
fn install(host: &Host, flags: &[&str]) -> Run {
    host.run(&[&[PROGRAM, "install"], flags].concat())
}

/// The user and the password that an installation tells.
#[track_caller]
fn credentials(told: &str) -> (String, String) {
    let line = told.lines().find(|line| line.starts_with("Registry is available at https://"));
    let line = line.unwrap_or_else(|| panic!("{told}"));
    let (_, both) = line.split_once(" with credentials (").expect("credentials");
    let (user, password) = both.trim_end_matches(')').split_once(", ").expect("a user");
    (user.to_owned(), password.to_owned())
}

/// A machine outside that trusts the registry's CA and is logged in.
#[track_caller]
fn client(host: &Host, (user, password): &(String, String)) -> Machine {
    let machine = Machine::outside_of(host);
    machine.trust_ca(&host.path(&format!("{DATA}/tls/ca.crt")), ADDRESS);
    machine.login(ADDRESS, user, password).ok();
    machine
}

/// What differs on the host from a state before, but for the data and the user that owns them.
fn beside_data(before: &Snapshot, host: &Host) -> Vec<String> {
    let is_of_data = |line: &String| {
        let path = line.split([' ', ':']).nth(1).unwrap_or_default();
        let users = ["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow"];
        let is_changed = users.contains(&path) && line.starts_with("changed ");
        is_changed || Path::new(path).starts_with(DATA) && line.starts_with("added ")
    };
    let mut difference = before.difference(&Snapshot::of(host));
    difference.retain(|line| !is_of_data(line));
    difference
}

/// Whether the service runs.
fn is_active(host: &Host) -> bool {
    host.run(&["systemctl", "is-active", "--quiet", "registry"]).code() == Some(0)
}

/// What the service says in the journal.
fn log(host: &Host) -> String {
    host.run(&["journalctl", "--quiet", "--output=cat", "--unit=registry"]).ok()
}

/// A file of the host as text.
#[track_caller]
fn text(host: &Host, path: &str) -> String {
    fs::read_to_string(host.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The value of a property of the service.
fn property(host: &Host, name: &str) -> String {
    host.run(&["systemctl", "show", "--value", "--property", name, "registry"]).ok()
}

/// Asks the registry from outside with curl; the last line is the status.
fn curl(host: &Host, flags: &[&str], url: &str) -> Run {
    let machine = Machine::outside_of(host);
    let ca = host.path(&format!("{DATA}/tls/ca.crt"));
    fs::copy(ca, machine.path("ca.crt")).expect("the CA");
    let usual = ["--silent", "--show-error", "--cacert", "ca.crt", "--write-out", "\n%{http_code}"];
    machine.client("curl", &[&usual, flags, &[url]].concat())
}

/// The address of the health check under the host's name.
fn health() -> String {
    format!("https://{NAME}:8443/readyz")
}
