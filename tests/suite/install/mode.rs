//! What is installed is the same whatever the administrator's umask is.

use super::{DATA, PROGRAM, host_with_program};
use crate::support::host::Host;

#[test]
fn the_umask_changes_nothing() {
    let Some(host) = host_with_program() else { return };
    let bare = listing(&host);
    let usual = installed_with(&host, "0022");
    assert!(usual.contains("755 root:root d /etc/registry\n"), "{usual}");
    assert!(usual.contains("700 root:root d /etc/registry/pki\n"), "{usual}");
    assert!(usual.contains("600 root:root f /etc/registry/pki/ca.key\n"), "{usual}");
    assert!(usual.contains("755 root:root f /usr/local/bin/registry\n"), "{usual}");
    assert!(usual.contains("600 registry:registry f /var/lib/registry/registry.db\n"), "{usual}");
    for umask in ["0077", "0027"] {
        assert_eq!(listing(&host), bare, "the host is bare again");
        assert_eq!(installed_with(&host, umask), usual, "umask {umask}");
    }
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
