//! What is installed is the same whatever the administrator's umask is.

use super::{DATA, PROGRAM, host_with_program, install};
use crate::support::host::{Host, Snapshot};

#[test]
fn the_umask_changes_nothing() {
    let Some(host) = host_with_program() else { return };
    let bare = listing(&host);
    let usual = installed_with(&host, "0022");
    assert!(usual.contains("755 root:root d /etc/registry\n"), "{usual}");
    assert!(usual.contains("700 root:root d /etc/registry/pki\n"), "{usual}");
    assert!(usual.contains("600 root:root f /etc/registry/pki/ca.key\n"), "{usual}");
    assert!(usual.contains("755 root:root f /usr/local/bin/registry\n"), "{usual}");
    assert!(usual.contains("711 registry:registry d /var/lib/registry\n"), "{usual}");
    assert!(usual.contains("600 registry:registry f /var/lib/registry/registry.db\n"), "{usual}");
    for umask in ["0077", "0027"] {
        assert_eq!(listing(&host), bare, "the host is bare again");
        assert_eq!(installed_with(&host, umask), usual, "umask {umask}");
    }
}

#[test]
fn a_data_directory_that_anybody_may_open_is_closed() {
    let Some(host) = host_with_program() else { return };
    host.shell("mkdir -m 755 /srv/data").ok();
    let flags = ["--data-dir", "/srv/data"];
    let planned = install(&host, &[&flags[..], &["--dry-run"]].concat()).ok();
    assert!(planned.contains("close   /srv/data to others"), "{planned}");
    let before = Snapshot::of(&host);
    host.shell("mkdir /run/systemd/system/registry.service.d").ok();
    host.shell(
        "printf '[Service]\\nExecStartPre=/bin/false\\n' \
         >/run/systemd/system/registry.service.d/mine.conf",
    )
    .ok();
    install(&host, &flags).fails(1);
    assert_eq!(before.difference(&Snapshot::of(&host)), [""; 0]);
    host.shell("rm -r /run/systemd/system/registry.service.d; systemctl daemon-reload").ok();
    install(&host, &flags).ok();
    let mode = |host: &Host| host.shell("stat -c %a /srv/data").ok();
    assert_eq!(mode(&host), "711");
    // As one that a program before this one made.
    host.shell("chmod 755 /srv/data").ok();
    let told = install(&host, &[]);
    assert!(told.err.contains("close   /srv/data to others"), "{told}");
    assert_eq!(mode(&host), "711");
    assert!(install(&host, &[]).ok().starts_with("Nothing was changed"));
}

/// Installs, looks, and removes everything again, the data and their user too.
fn installed_with(host: &Host, umask: &str) -> String {
    // The directory of local programs may be missing; it is for everybody.
    host.shell("rmdir /usr/local/bin").ok();
    host.shell(&format!("umask {umask}; {PROGRAM} install")).ok();
    let listing = listing(host);
    host.shell(&format!(
        "umask {umask}; registry uninstall --yes; rm -r {DATA}; userdel registry; \
         mkdir -p -m 755 /usr/local/bin"
    ))
    .ok();
    listing
}

/// Everything in the places where something is installed, with modes and owners.
fn listing(host: &Host) -> String {
    // The log of the database is there or not as writes happen to fall.
    let script = format!(
        "find /etc /usr/local /root {DATA} -name 'registry.db-*' -prune -o -printf \
         '%m %u:%g %y %p\\n' 2>/dev/null | sort -k4 || true"
    );
    host.shell(&script).ok() + "\n"
}
