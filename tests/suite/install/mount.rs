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
    assert_eq!(host.run(&["ls", "--almost-all", "/srv/data"]).ok(), "");
    host.mount_at_boot(disk.path(), "/srv/data");
    host.reboot();
    assert!(is_active(&host), "{}", log(&host));
    assert_eq!(
        fs::read_to_string(disk.path().join("registry/init-password")).expect("a file"),
        format!("{}\n", login.1)
    );
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
