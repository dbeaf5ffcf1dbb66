//! Data whose file system is not mounted: the service waits for it and makes nothing in its place.

use std::fs;

use super::{DATA, credentials, host_with_program, install, is_active, log, text};
use crate::support::host::Host;
use crate::support::process::wait_gently_until;

#[test]
fn data_that_something_hides_are_waited_for() {
    let Some(mut host) = host_with_program() else { return };
    let login = credentials(&install(&host, &[]).ok());
    // An empty disk where the data were: what an administrator sees who mounted it too late.
    host.mount_disk_at_boot(4 << 20, DATA);
    host.reboot();
    refuses(&host, DATA, "/");
    assert_eq!(host.run(&["ls", "--almost-all", DATA]).ok(), "");
    host.run(&["umount", DATA]).ok();
    wait_gently_until("the service starts by itself", || is_active(&host));
    assert_eq!(host.run(&["cat", &format!("{DATA}/init-password")]).ok(), login.1);
}

#[test]
fn a_missing_file_system_is_named() {
    let Some(mut host) = host_with_program() else { return };
    let disk = tempfile::tempdir().expect("a temporary directory");
    host.mount_at_boot(disk.path(), "/srv/data");
    host.reboot();
    let data = "/srv/data/registry";
    let login = credentials(&install(&host, &["--data-dir", data]).ok());
    assert!(text(&host, "/etc/registry/registry.toml").contains("data-mount = \"/srv/data\""));
    // Commands know where the installed registry is.
    assert!(host.run(&["registry", "status"]).ok().contains("https://mirror.example.com"));
    host.clear_mounts();
    host.reboot();
    refuses(&host, data, "/srv/data");
    // Installing again would make another CA where the data are not.
    for flags in [&[][..], &["--data-dir", "/srv/other"]] {
        let said = install(&host, flags).fails(1);
        assert!(said.contains("the registry of this host is not there"), "{said}");
        assert!(said.contains("the file system mounted at /srv/data: mount it"), "{said}");
    }
    assert!(text(&host, "/etc/registry/registry.toml").contains("data-mount = \"/srv/data\""));
    // Nor does removing it first make one that takes the old one's key away.
    assert!(host.run(&["registry", "uninstall", "--yes"]).ok().contains("/pki/ca.key"));
    let said = install(&host, &["--data-dir", data]).fails(1);
    assert!(said.contains("the key of a registry that is not in /srv/data/registry"), "{said}");
    assert_eq!(host.run(&["ls", "--almost-all", "/srv/data"]).ok(), "");
    host.mount_at_boot(disk.path(), "/srv/data");
    host.reboot();
    let hostnames = ["--hostname", "mirror.example.com", "--hostname", "new.example.com"];
    let told = install(&host, &[&["--data-dir", data], &hostnames[..]].concat()).ok();
    assert_eq!(credentials(&told), login, "the key was at hand for another name");
    assert!(is_active(&host), "{}", log(&host));
    assert_eq!(
        fs::read_to_string(disk.path().join("registry/init-password")).expect("a file"),
        format!("{}\n", login.1)
    );
}

#[test]
fn a_mount_that_fails_at_boot_and_comes_later_brings_the_service_up() {
    let Some(mut host) = host_with_program() else { return };
    host.shell(
        "mkdir -p /srv/box/disk /srv/data
         echo '/srv/box/disk /srv/data none bind,nofail 0 0' >>/etc/fstab
         systemctl daemon-reload; mount /srv/data",
    )
    .ok();
    let login = credentials(&install(&host, &["--data-dir", "/srv/data/registry"]).ok());
    host.reboot();
    assert!(is_active(&host), "{}", log(&host));
    // systemd would make a directory that is missing, but not in the place of a file.
    host.shell("umount --lazy /srv/data; mv /srv/box /srv/unplugged; touch /srv/box").ok();
    host.reboot();
    assert!(!is_active(&host));
    let journal = host.run(&["journalctl", "--boot", "--output=cat"]).ok();
    assert!(journal.contains("/srv/data"), "{journal}");
    assert!(!host.path("/srv/data/registry").exists());
    host.shell("rm /srv/box; mv /srv/unplugged /srv/box; mount /srv/data").ok();
    wait_gently_until("the service starts by itself", || is_active(&host));
    let password = host.run(&["cat", "/srv/data/registry/init-password"]).ok();
    assert_eq!(password, login.1);
    host.run(&["registry", "uninstall", "--yes"]).ok();
    let left = host.shell("find /etc/systemd -name '*registry*'").ok();
    assert_eq!(left, "");
}

/// The service does not run, and says which directory holds no registry and what to mount.
#[track_caller]
fn refuses(host: &Host, data: &str, mount: &str) {
    wait_gently_until("the service has said what is wrong", || log(host).contains("no registry"));
    assert!(!is_active(host), "{}", log(host));
    let log = log(host);
    let line = log.lines().rev().find(|line| line.contains("no registry")).expect("a line");
    assert!(line.contains(data), "{line}");
    assert!(line.contains(&format!("mounted at {mount}")) || mount == "/", "{line}");
}
