//! docs/operations.md on hosts that boot: each command of its sections on backup, restore and
//! moving the data is typed as it stands there.

use std::fs;
use std::path::Path;

use crate::support::binary::program;
use crate::support::clients::{Machine, directory};
use crate::support::host::Host;
use crate::support::images::{Family, Image, sha256, write_directory};
use crate::support::page::{self, REGISTRY};

#[test]
fn a_registry_is_backed_up_and_restored_as_the_page_says() {
    let disk = tempfile::tempdir().expect("a temporary directory");
    let Some(host) = host(disk.path()) else { return };
    let told = host.run(&["/root/registry", "install"]).ok();
    let (password, digest) = (password(&told), push(&host, &password(&told)));
    let told = typed(&host, "## Backup");
    for file in ["/etc/registry/registry.toml", "/etc/registry/pki/ca.key"] {
        assert!(told.contains(file), "{told}");
    }
    // Nobody but root reads it.
    let open = host.shell("find /mnt/backup/registry -perm /077 -o ! -user root").ok();
    assert_eq!(open, "");
    let ca = read(&host, "/var/lib/registry/tls/ca.crt");

    typed(&host, "### On the same host");
    assert_eq!(read(&host, "/var/lib/registry/tls/ca.crt"), ca);
    pull(&host, &password, &digest);
    // The directory belongs to the registry that wrote there, which could live on.
    let said = host.run(&["registry", "backup", "/mnt/backup/registry"]).fails(1);
    assert!(said.contains("--take-over"), "{said}");
    typed(&host, "### After a restore");
    // The next backup goes on with it.
    let told = typed(&host, "## Backup");
    assert!(told.contains("blobs copied  0,"), "{told}");
    pull(&host, &password, &digest);
    let unowned = host.shell("find /var/lib/registry ! -user registry").ok();
    assert_eq!(unowned, "");
    drop(host);

    let Some(host) = self::host(disk.path()) else { return };
    let told = typed(&host, "### On another host");
    let next = told.lines().skip_while(|line| *line != "Next, type:").nth(1).expect("a command");
    assert!(next.contains(" install --data-dir /var/lib/registry --hostname "), "{next}");
    host.shell(&format!("cd /root; {next}")).ok();
    assert_eq!(read(&host, "/var/lib/registry/tls/ca.crt"), ca);
    pull(&host, &password, &digest);
    // The root's key is out of the service's sight again.
    assert!(host.path("/etc/registry/pki/ca.key").exists());
    assert!(!host.path("/var/lib/registry/tls/ca.key").exists());
}

#[test]
fn the_data_directory_is_moved_as_the_page_says() {
    let disk = tempfile::tempdir().expect("a temporary directory");
    let Some(host) = host(disk.path()) else { return };
    let told = host.run(&["/root/registry", "install"]).ok();
    let (password, digest) = (password(&told), push(&host, &password(&told)));
    host.shell("mkdir -p /srv/data").ok();
    typed(&host, "## Moving the data directory");
    assert!(!host.path("/var/lib/registry").exists());
    let settings = read(&host, "/etc/registry/registry.toml");
    assert!(settings.contains("data-dir = \"/srv/data/registry\""), "{settings}");
    let machine = Machine::outside_of(&host);
    machine.trust_ca(&host.path("/srv/data/registry/tls/ca.crt"), REGISTRY);
    pull_from(&machine, &password, &digest);
    assert!(host.run(&["registry", "status"]).ok().contains("https://mirror.example.com"));
}

/// A host with the program and a disk for backups.
fn host(disk: &Path) -> Option<Host> {
    let mut host = Host::powered_off()?;
    host.mount_at_boot(disk, "/mnt/backup");
    host.start();
    host.copy_in(program(), "/root/registry");
    Some(host)
}

/// Types the commands of a section, in root's home, and gives what they print.
#[track_caller]
fn typed(host: &Host, title: &str) -> String {
    let commands: String = page::texts(title).collect();
    assert!(!commands.is_empty(), "{title}: no command");
    host.shell(&format!("cd /root\n{commands}")).ok()
}

fn password(told: &str) -> String {
    let (_, rest) = told.split_once(" with credentials (init, ").expect("credentials");
    rest.split_once(')').expect("their end").0.to_owned()
}

fn client(host: &Host) -> Machine {
    let machine = Machine::outside_of(host);
    machine.trust_ca(&host.path("/var/lib/registry/tls/ca.crt"), REGISTRY);
    machine
}

/// Pushes an image and gives its digest.
fn push(host: &Host, password: &str) -> String {
    let (machine, image) = (client(host), Image::new(Family::Oci, "amd64", b"kept"));
    machine.login(REGISTRY, "init", password).ok();
    let path = machine.path("image");
    write_directory(&path, &image.manifest, std::slice::from_ref(&image));
    let name = format!("docker://{REGISTRY}/team/app:1");
    machine.skopeo(&["copy", "--quiet", &directory(&path), &name]).ok();
    image.manifest.digest()
}

#[track_caller]
fn pull(host: &Host, password: &str, digest: &str) {
    pull_from(&client(host), password, digest);
}

#[track_caller]
fn pull_from(machine: &Machine, password: &str, digest: &str) {
    machine.login(REGISTRY, "init", password).ok();
    let name = format!("docker://{REGISTRY}/team/app:1");
    machine.skopeo(&["copy", "--quiet", &name, "dir:pulled"]).ok();
    let manifest = fs::read(machine.path("pulled/manifest.json")).expect("the manifest");
    assert_eq!(sha256(&manifest), digest);
}

fn read(host: &Host, path: &str) -> String {
    fs::read_to_string(host.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
