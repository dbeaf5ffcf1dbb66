//! Installations that fail: the host is as it was, and the message says which step, why, and what
//! to do.

use std::fs;

use rustix::process::Signal;

use super::{
    DATA, PROGRAM, beside_data, client, credentials, host_with_program, install, is_active,
    property, text,
};
use crate::support::binary::PASSWORD;
use crate::support::host::Snapshot;
use crate::support::process::wait_gently_until;

/// What is wrong with a host.
struct Trouble {
    name: &'static str,
    /// Brings the host into trouble, and out of it.
    makes: &'static str,
    ends: &'static str,
    flags: &'static [&'static str],
    /// What the message holds.
    says: &'static [&'static str],
}

const TROUBLES: [Trouble; 16] = [
    Trouble {
        name: "the port is taken",
        makes: "systemctl start ssh",
        ends: "systemctl stop ssh",
        flags: &["--listen", "[::]:22"],
        says: &["[::]:22", "another program uses this port", "ss -ltnp", "--listen"],
    },
    Trouble {
        name: "the address is not this host's",
        makes: "",
        ends: "",
        flags: &["--listen", "192.0.2.77:8443"],
        says: &["192.0.2.77:8443", "no interface of this host has this address"],
    },
    Trouble {
        name: "no space for the data",
        makes: "mkdir /srv/small; mount -t tmpfs -o size=8m small /srv/small",
        ends: "umount /srv/small; rmdir /srv/small",
        flags: &["--data-dir", "/srv/small/registry"],
        says: &["no space for /srv/small/registry", "256 MiB are needed"],
    },
    Trouble {
        name: "no space for the program",
        makes: "mount -t tmpfs -o size=1m small /usr/local",
        ends: "umount /usr/local",
        flags: &[],
        says: &["no space for /usr/local/bin/registry", "free some"],
    },
    Trouble {
        name: "a unit of our name that is not ours",
        makes: "printf '[Service]\\nExecStart=/bin/true\\n' >/etc/systemd/system/registry.service",
        ends: "rm /etc/systemd/system/registry.service",
        flags: &[],
        says: &["registry.service", "not put there by", "systemctl disable --now"],
    },
    Trouble {
        name: "a package's unit of our name",
        makes: "cd /usr/lib/systemd/system
                printf '[Service]\\nExecStart=/bin/true\\n' >registry.service
                systemctl daemon-reload",
        ends: "rm /usr/lib/systemd/system/registry.service; systemctl daemon-reload",
        flags: &[],
        says: &["/lib/systemd/system/registry.service", "not put there by"],
    },
    Trouble {
        name: "the service is masked",
        makes: "systemctl --quiet mask registry.service",
        ends: "systemctl --quiet unmask registry.service",
        flags: &[],
        says: &["masked", "systemctl unmask registry.service"],
    },
    Trouble {
        name: "a place that is read-only",
        makes: "mount -t tmpfs -o ro small /usr/local",
        ends: "umount /usr/local",
        flags: &[],
        says: &["nothing can be written in /usr/local", "mount it for writing"],
    },
    Trouble {
        name: "another program of our name",
        makes: "mkdir -p /usr/local/bin; echo another >/usr/local/bin/registry",
        ends: "rm /usr/local/bin/registry",
        flags: &[],
        says: &["/usr/local/bin/registry is there already", "move it away"],
    },
    Trouble {
        name: "a link of our name",
        makes: "mkdir -p /usr/local/bin; ln -s /bin/true /usr/local/bin/registry",
        ends: "rm /usr/local/bin/registry",
        flags: &[],
        says: &["/usr/local/bin/registry is there already", "move it away"],
    },
    Trouble {
        name: "a person of our name",
        makes: "useradd --no-create-home registry",
        ends: "userdel registry",
        flags: &[],
        says: &["the user registry", "a person's account"],
    },
    Trouble {
        name: "a data directory with something else in it",
        makes: "mkdir /srv/photos; touch /srv/photos/one.jpg",
        ends: "rm -r /srv/photos",
        flags: &["--data-dir", "/srv/photos"],
        says: &["/srv/photos", "one.jpg", "choose an empty directory"],
    },
    Trouble {
        name: "a data directory that others cannot reach",
        makes: "mkdir -m 700 /srv/closed",
        ends: "rmdir /srv/closed",
        flags: &["--data-dir", "/srv/closed/registry"],
        says: &["/srv/closed does not let other users pass", "chmod o+x /srv/closed"],
    },
    Trouble {
        name: "a password that is too short",
        makes: "echo short >/root/password",
        ends: "rm /root/password",
        flags: &["--init-password-file", "/root/password"],
        says: &["/root/password", "at least 8 bytes"],
    },
    Trouble {
        name: "a start that fails",
        makes: "mkdir /etc/systemd/system/registry.service.d
                cd /etc/systemd/system/registry.service.d
                echo '[Service]' >mine.conf
                echo 'ExecStartPre=/bin/sh -c \"echo no luck today; exit 1\"' >>mine.conf",
        ends: "rm -r /etc/systemd/system/registry.service.d; systemctl daemon-reload",
        flags: &[],
        says: &["cannot start the service registry.service", "no luck today", "journalctl -u"],
    },
    Trouble {
        name: "a service that starts and is not reached",
        makes: ELSEWHERE,
        ends: "rm -r /etc/systemd/system/registry.service.d; systemctl daemon-reload",
        flags: &[],
        says: &["cannot check that https://mirror.example.com:8443 answers", "nobody answers"],
    },
];

#[test]
fn a_step_that_fails_leaves_the_host_as_it_was() {
    let Some(host) = host_with_program() else { return };
    for Trouble { name, makes, ends, flags, says } in TROUBLES {
        host.shell(makes).ok();
        let before = Snapshot::of(&host);
        let said = install(&host, flags).fails(1);
        for expected in says {
            assert!(said.contains(expected), "{name}: {said}");
        }
        assert_eq!(before.difference(&Snapshot::of(&host)), [""; 0], "{name}: {said}");
        host.shell(ends).ok();
        assert!(!is_active(&host), "{name}");
    }
    host.shell(&format!("cp {PROGRAM} /tmp/registry")).ok();
    let said = host.run(&["setpriv", "--reuid=65534", "/tmp/registry", "install"]).fails(1);
    assert!(said.contains("needs root"), "{said}");
    install(&host, &["--no-such-flag"]).fails(2);
    install(&host, &["--hostname", "*.example.com"]).fails(2);
    // With nothing in the way it works.
    install(&host, &[]).ok();
    assert!(is_active(&host));
}

#[test]
fn what_is_installed_survives_a_change_that_fails() {
    let Some(host) = host_with_program() else { return };
    let login = credentials(&install(&host, &[]).ok());
    host.shell("systemctl start ssh").ok();
    let before = Snapshot::of(&host);
    let said = install(&host, &["--listen", "[::]:22"]).fails(1);
    assert!(said.contains("another program uses this port"), "{said}");
    // A name is added, the certificates with it, and then the start fails: all of it goes back.
    host.shell(
        "mkdir /run/systemd/system/registry.service.d
         cd /run/systemd/system/registry.service.d
         echo '[Service]' >mine.conf
         echo 'ExecStartPre=/bin/sh -c \"! grep another /etc/registry/registry.toml\"' >>mine.conf",
    )
    .ok();
    let said = install(&host, &["--hostname", "another.example.com"]).fails(1);
    assert!(said.contains("The host is as it was before."), "{said}");
    // What the server itself writes at each start is its own affair.
    let is_its_own = |line: &String| {
        ["lock", "registry.db", "registry.db-shm", "registry.db-wal"]
            .iter()
            .any(|name| line.starts_with(&format!("changed {DATA}/{name}: ")))
    };
    let mut difference = before.difference(&Snapshot::of(&host));
    difference.retain(|line| !is_its_own(line));
    assert_eq!(difference, [""; 0], "{said}");
    assert!(is_active(&host), "it serves as before");
    host.shell("rm -r /run/systemd/system/registry.service.d; systemctl daemon-reload").ok();
    let told = install(&host, &[]).ok();
    assert!(told.starts_with("Nothing was changed"), "{told}");
    assert_eq!(credentials(&told), login);
}

#[test]
fn an_interrupted_installation_is_undone() {
    let Some(host) = host_with_program() else { return };
    let bare = Snapshot::of(&host);
    // A start that takes its time, so that no signal comes when all is over.
    host.shell(
        "mkdir -p /run/systemd/system/registry.service.d
         cd /run/systemd/system/registry.service.d
         printf '[Service]\\nExecStartPre=/bin/sleep 3\\n' >slow.conf",
    )
    .ok();
    for (step, signal) in [
        ("the user registry", Signal::KILL),
        ("/usr/local/bin/registry", Signal::TERM),
        ("the registry in", Signal::KILL),
        ("the service registry.service", Signal::KILL),
        ("the service registry.service", Signal::INT),
    ] {
        let mut running = host.start_shell(&format!("exec {PROGRAM} install 2>/root/steps"));
        let steps = host.path("/root/steps");
        wait_gently_until("the step begins", || {
            let told = fs::read_to_string(&steps).unwrap_or_default();
            told.lines().any(|line| line.contains(step)) || running.has_ended()
        });
        running.signal(signal);
        running.wait();
        if signal == Signal::KILL {
            // The next one finds what the first left, and undoes it before all else.
            let told = host.run(&[PROGRAM, "uninstall", "--yes"]).ok();
            assert!(told.contains("An installation was cut short"), "{step}: {told}");
            assert!(told.contains("Nothing is installed"), "{step}: {told}");
        }
        host.run(&["rm", "/root/steps"]).ok();
        let difference = beside_data(&bare, &host);
        assert_eq!(difference, [""; 0], "{signal:?} at {step}");
        let is_filled = host.path(&format!("{DATA}/FORMAT")).exists();
        assert!(signal == Signal::KILL || !is_filled, "{signal:?} at {step}");
        host.shell(&format!("rm -rf {DATA}; ! id registry 2>/dev/null || userdel registry")).ok();
        assert_eq!(bare.difference(&Snapshot::of(&host)), [""; 0], "{signal:?} at {step}");
    }
    credentials(&install(&host, &[]).ok());
    assert!(is_active(&host) && host.path(DATA).exists());
}

#[test]
fn what_people_trusted_an_unfinished_installation_with_stays() {
    let Some(mut host) = host_with_program() else { return };
    // The service runs, and the last step waits for it in vain, until the power goes.
    host.shell(ELSEWHERE).ok();
    let mut running = host.start_shell(&format!("exec {PROGRAM} install 2>/root/steps"));
    let steps = host.path("/root/steps");
    wait_gently_until("the last step begins", || {
        assert!(!running.has_ended(), "the last step takes long");
        fs::read_to_string(&steps).unwrap_or_default().contains("check ")
    });
    host.shell_with_input("registry user add early", PASSWORD.as_bytes()).ok();
    host.cut_power();
    running.wait();
    host.start();
    assert!(is_active(&host), "it starts with the host already");
    let before = Snapshot::of(&host);
    let refused = host.shell_with_input(&format!("{PROGRAM} uninstall"), b"n\n").fails(1);
    assert!(refused.contains("nothing was changed"), "{refused}");
    assert_eq!(before.difference(&Snapshot::of(&host)), [""; 0]);
    assert!(install(&host, &["--dry-run"]).fails(1).contains("cut short"));
    let ca = text(&host, &format!("{DATA}/tls/ca.crt"));
    host.shell("rm -r /etc/systemd/system/registry.service.d; systemctl daemon-reload").ok();
    let told = install(&host, &[]);
    assert!(told.err.contains("cut short"), "{told}");
    credentials(&told.ok());
    assert_eq!(text(&host, &format!("{DATA}/tls/ca.crt")), ca);
    client(&host, &("early".to_owned(), PASSWORD.to_owned()));
}

#[test]
fn a_service_whose_unit_was_removed_by_hand_is_stopped_all_the_same() {
    let Some(host) = host_with_program() else { return };
    let bare = Snapshot::of(&host);
    install(&host, &[]).ok();
    let pid = property(&host, "MainPID");
    host.shell("rm /etc/systemd/system/registry.service; systemctl daemon-reload").ok();
    host.run(&["registry", "uninstall", "--yes"]).ok();
    host.run(&["test", "-e", &format!("/proc/{pid}")]).fails(1);
    assert_eq!(beside_data(&bare, &host), [""; 0]);
}

/// A drop-in that lets the service listen where nobody looks for it.
const ELSEWHERE: &str = "\
mkdir /etc/systemd/system/registry.service.d
cd /etc/systemd/system/registry.service.d
printf '[Service]\\nExecStart=\\nExecStart=/usr/local/bin/registry' >mine.conf
echo ' serve --existing --config /etc/registry/registry.toml' \\
'--listen 127.0.0.1:9999' >>mine.conf";
