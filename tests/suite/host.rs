//! The host that tests boot, held by itself: what a test says of a registry on it can be no better
//! than the host is.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::Signal;

use crate::support::binary::{USER, program};
use crate::support::clients::{Machine, directory};
use crate::support::host::{Host, NAME, Snapshot};
use crate::support::images::{Family, Image, write_directory};
use crate::support::process::wait_gently_until;

#[test]
fn services_start_and_the_firewall_decides_what_outside_reaches() {
    let Some(host) = Host::boot() else { return };
    assert_eq!(host.run(&["hostname", "--fqdn"]).ok(), NAME);
    for service in ["ssh", "firewalld"] {
        host.run(&["systemctl", "is-active", "--quiet", service]).fails(3);
    }
    host.run(&["systemctl", "is-active", "--quiet", "systemd-logind"]).ok();
    let mut listener = host.start_shell("exec python3 -m http.server --bind :: 8080");
    let outside = Machine::outside_of(&host);
    let reach = |family: &str, name: &str| {
        let url = format!("http://{name}:8080/etc/hostname");
        outside.client("curl", &["--silent", "--show-error", family, &url])
    };
    wait_gently_until("the listener answers", || reach("-4", NAME).code() == Some(0));
    for name in [NAME, "mirror"] {
        assert_eq!(reach("-4", name).ok(), NAME);
        assert_eq!(reach("-6", name).ok(), NAME);
    }

    host.run(&["systemctl", "start", "ssh", "firewalld"]).ok();
    host.run(&["systemctl", "is-active", "--quiet", "ssh", "firewalld"]).ok();
    // firewalld has started when it is on the bus, and answers when its rules are in force.
    assert_eq!(host.run(&["firewall-cmd", "--state"]).ok(), "running");
    for family in ["-4", "-6"] {
        reach(family, NAME).fails(CANNOT_CONNECT);
    }
    host.run(&["firewall-cmd", "--quiet", "--add-port=8080/tcp"]).ok();
    for family in ["-4", "-6"] {
        assert_eq!(reach(family, NAME).ok(), NAME);
    }
    listener.kill();
    wait_gently_until("the listener is gone", || listener.has_ended());
    reach("-4", NAME).fails(CANNOT_CONNECT);
    // The network of this machine has neither the host nor its name.
    Machine::new().client("curl", &["--silent", &format!("http://{NAME}:22")]).fails(6);
}

#[test]
fn a_host_keeps_its_disk_until_its_end() {
    let Some(mut host) = Host::powered_off() else { return };
    let data = tempfile::tempdir().expect("a temporary directory");
    host.mount_at_boot(data.path(), "/srv/data");
    host.mount_disk_at_boot(1 << 20, "/srv/small");
    fs::write(host.path("/etc/before"), "before the first boot").expect("a file");
    host.start();
    host.shell_with_input("umask 077; cat >/etc/kept", b"by the host").ok();
    host.shell("cat /etc/before >/srv/data/file; echo small >/srv/small/file").ok();
    host.shell("dd if=/dev/zero of=/srv/small/large bs=2M count=1").fails(1);
    assert_eq!(read(&data.path().join("file")), "before the first boot");
    assert_eq!(read(&host.path("/srv/data/file")), "before the first boot");
    assert_eq!(read(&host.path("/srv/small/file")), "small\n");
    let boot = "cat /proc/sys/kernel/random/boot_id";
    let first = host.shell(boot).ok();

    host.reboot();
    let second = host.shell(boot).ok();
    assert_ne!(first, second, "another boot");
    assert_eq!(host.run(&["cat", "/etc/kept"]).ok(), "by the host");
    assert_eq!(host.run(&["cat", "/srv/small/file"]).ok(), "small");
    let listener = host.start_shell("exec python3 -m http.server 8080");
    let outside = Machine::outside_of(&host);
    let url = format!("http://{NAME}:8080/etc/kept");
    let reach = || outside.client("curl", &["--silent", &url]);
    wait_gently_until("the listener answers", || reach().code() == Some(0));

    host.cut_power();
    assert_ne!(listener.wait().code(), Some(0));
    assert_eq!(read(&host.path("/etc/kept")), "by the host");
    assert!(!host.path("/srv/data/file").exists(), "nothing is mounted on a host that is off");
    reach().fails(CANNOT_CONNECT);
    host.start();
    host.clear_mounts();
    host.run(&["test", "-e", "/srv/data/file"]).ok();
    let _ = host.run(&["systemctl", "reboot"]);
    host.wait_until_off();
    host.start();
    host.run(&["test", "-e", "/srv/data/file"]).fails(1);
    assert!(host.journal().contains("systemd[1]: "), "{}", host.journal());
    host.stop();
    assert_eq!(read(&host.path("/etc/kept")), "by the host");

    let left = host.path("/etc/kept");
    drop(host);
    assert!(!left.exists());
    let other = Host::powered_off().expect("a host, as before");
    assert!(!other.path("/etc/kept").exists() && !other.path("/srv/data").exists());
    assert_eq!(read(&other.path("/etc/hostname")), format!("{NAME}\n"));
}

#[test]
fn a_snapshot_shows_what_was_changed_and_nothing_else() {
    let Some(mut host) = Host::boot() else { return };
    let before = Snapshot::of(&host);
    host.run(&["systemctl", "start", "ssh", "firewalld"]).ok();
    host.reboot();
    assert_eq!(before.difference(&Snapshot::of(&host)), NOTHING);
    host.stop();
    assert_eq!(before.difference(&Snapshot::of(&host)), NOTHING);
    host.start();
    // As adduser does; what it leaves beside them is nobody's affair.
    host.shell("useradd --system somebody && userdel somebody").ok();
    assert_eq!(before.difference(&Snapshot::of(&host)), NOTHING);

    let script = "echo one >/etc/added; mkdir /srv/made; ln -s /nowhere /srv/link; \
                  rm /etc/issue; chmod 0600 /etc/profile; chown daemon /etc/issue.net; \
                  printf X | dd of=/etc/debian_version bs=1 conv=notrunc";
    host.shell(script).ok();
    let changed = Snapshot::of(&host);
    let lines = before.difference(&changed);
    let expected = [
        "changed /etc/debian_version: file 0644 0:0 ",
        "removed /etc/issue: file 0644 0:0 ",
        "changed /etc/issue.net: file 0644 0:0 ",
        "changed /etc/profile: file 0644 0:0 ",
        "added /etc/added: file 0644 0:0 4 bytes 2c8b08da5ce60398",
        "added /srv/link: link 0777 0:0 /nowhere",
        "added /srv/made: directory 0755 0:0 ",
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{lines:#?}");
    }
    assert!(lines[2].contains(" -> file 0644 1:0 "), "{lines:#?}");
    assert!(lines[3].contains(" -> file 0600 0:0 "), "{lines:#?}");
    // The same length, the same mode, and still not the same.
    host.shell("echo two >/etc/added").ok();
    let lines = changed.difference(&Snapshot::of(&host));
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].starts_with("changed /etc/added: file 0644 0:0 4 bytes "), "{lines:#?}");

    // What was done to two hosts can be compared, for they begin the same.
    let other = Host::boot().expect("a host, as before");
    assert_eq!(before.difference(&Snapshot::of(&other)), NOTHING);
}

#[test]
fn a_registry_inside_is_reached_from_inside_and_outside() {
    let Some(host) = Host::boot() else { return };
    host.copy_in(program(), "/usr/local/bin/registry");
    let mode = fs::metadata(host.path("/usr/local/bin/registry")).expect("a file").permissions();
    assert_eq!(mode.mode() & 0o777, 0o755);
    let serve = "exec registry serve --data-dir /srv/registry --hostname mirror.example.com";
    let registry = host.start_shell(serve);
    let (outside, address) = (Machine::outside_of(&host), format!("{NAME}:8443"));
    let ca = host.path("/srv/registry/tls/ca.crt");
    let (ca_file, url) = (ca.to_str().expect("UTF-8"), format!("https://{address}/v2/"));
    let reach = || outside.client("curl", &["--silent", "--cacert", ca_file, &url]);
    wait_gently_until("the registry answers", || reach().code() == Some(0));
    let password = read(&host.path("/srv/registry/init-password"));

    let certs = format!("/etc/containers/certs.d/{address}");
    host.shell(&format!("mkdir -p {certs}; cp /srv/registry/tls/ca.crt {certs}/")).ok();
    let login = format!("podman login --username {USER} --password-stdin {address}");
    host.shell_with_input(&login, password.as_bytes()).ok();
    host.shell("cd /root; echo inside >file; tar --create --file image.tar file").ok();
    let id = host.shell("podman import --quiet /root/image.tar localhost/image:1").ok();
    host.shell(&format!("podman tag image:1 {address}/image:1")).ok();
    host.run(&["podman", "push", "--quiet", &format!("{address}/image:1")]).ok();

    outside.trust_ca(&ca, &address);
    outside.login(&address, USER, password.trim_end()).ok();
    let pulled = outside.podman(&["pull", "--quiet", &format!("{address}/image:1")]).ok();
    assert_eq!(format!("sha256:{pulled}"), id);
    let image = Image::new(Family::Oci, "amd64", b"outside");
    write_directory(&outside.path("image"), &image.manifest, std::slice::from_ref(&image));
    let name = format!("{address}/outside:1");
    let source = directory(&outside.path("image"));
    outside.skopeo(&["copy", "--quiet", &source, &format!("docker://{name}")]).ok();
    outside.buildah(&["pull", "--quiet", &name]).ok();
    host.run(&["podman", "pull", "--quiet", &name]).ok();
    let arguments = ["s_client", "-verify_return_error", "-CAfile", ca_file, "-connect", &address];
    outside.client("openssl", &arguments).ok();

    // The signal reaches the registry itself, which ends in order.
    registry.signal(Signal::TERM);
    registry.wait().ok();
    reach().fails(CANNOT_CONNECT);
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a file of the host")
}

/// How curl ends when nobody answers or somebody refuses.
const CANNOT_CONNECT: i32 = 7;
/// No difference.
const NOTHING: [&str; 0] = [];
