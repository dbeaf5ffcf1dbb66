//! The service on its host: what systemd, SELinux's programs and the firewall have to do with it.

use std::process::Stdio;

use super::{
    ADDRESS, DATA, client, credentials, curl, health, host_with_program, install, is_active, log,
    property,
};
use crate::support::clients::Machine;
use crate::support::host::Host;
use crate::support::process::wait_gently_until;

#[test]
fn a_server_that_hangs_is_started_anew() {
    let Some(host) = host_with_program() else { return };
    install(&host, &[]).ok();
    drop_in(&host, "WatchdogSec=6");
    let pid = property(&host, "MainPID");
    let mut signs = Vec::new();
    wait_gently_until("the server gives signs of life", || {
        signs.push(property(&host, "WatchdogTimestampMonotonic"));
        signs.dedup();
        signs.len() > 3
    });
    assert_eq!(property(&host, "MainPID"), pid, "who lives is left alone");
    host.run(&["kill", "-STOP", &pid]).ok();
    wait_gently_until("another process serves", || {
        let now = property(&host, "MainPID");
        now != pid && now != "0" && is_active(&host)
    });
    assert_eq!(curl(&host, &[], &health()).ok().lines().last(), Some("200"));
    assert!(log(&host).contains("Watchdog timeout"), "{}", log(&host));
}

#[test]
fn an_old_systemd_that_filters_what_it_does_not_know_does_no_harm() {
    let Some(host) = host_with_program() else { return };
    let login = credentials(&install(&host, &[]).ok());
    // What came to Linux or to glibc after RHEL 8.
    drop_in(
        &host,
        "SystemCallFilter=~clone3 close_range epoll_pwait2 faccessat2 futex_waitv openat2 \
         pidfd_open rseq statx",
    );
    client(&host, &login);
    assert!(host.run(&["registry", "status"]).ok().contains(&format!("https://{ADDRESS}")));
}

#[test]
fn what_is_installed_gets_its_selinux_types() {
    let Some(host) = host_with_program() else { return };
    // Debian has no SELinux: a program that writes down what it is called with stands for it.
    host.shell(
        "printf '#!/bin/sh\\necho \"$*\" >>/root/labelled\\n' >/usr/sbin/restorecon
         chmod 755 /usr/sbin/restorecon",
    )
    .ok();
    install(&host, &[]).ok();
    let labelled = host.run(&["cat", "/root/labelled"]).ok();
    for path in [
        "/usr/local/bin/registry",
        "/etc/registry",
        "/etc/registry/pki",
        "/etc/registry/pki/ca.key",
        "/etc/registry/registry.toml",
        "/etc/systemd/system/registry.service",
        DATA,
    ] {
        assert!(labelled.lines().any(|line| line == path), "{path}: {labelled}");
    }
    // It may fail, as it does on a file system without labels.
    host.shell("registry uninstall --yes; printf '#!/bin/sh\\nexit 1\\n' >/usr/sbin/restorecon")
        .ok();
    install(&host, &[]).ok();
}

#[test]
fn what_keeps_clients_away_is_told() {
    let Some(host) = host_with_program() else { return };
    host.run(&["systemctl", "start", "firewalld"]).ok();
    host.run(&["firewall-cmd", "--state"]).ok();
    let told = install(&host, &["--hostname", "mirror.example.com", "--hostname", "no.example"]);
    let notes = told.err.clone();
    told.ok();
    assert!(notes.contains("this host does not know the name no.example"), "{notes}");
    let note = notes.lines().find(|line| line.contains("firewalld")).expect("a note");
    curl(&host, &["--connect-timeout", "5"], &health()).fails(7);
    let (_, command) = note.split_once("type `").expect("a command");
    host.shell(command.trim_end_matches('`')).ok();
    assert_eq!(curl(&host, &[], &health()).ok().lines().last(), Some("200"));
    let notes = install(&host, &[]).err;
    assert!(!notes.contains("firewalld"), "{notes}");
}

#[test]
fn a_stop_lets_an_upload_end() {
    let Some(host) = host_with_program() else { return };
    let (user, password) = credentials(&install(&host, &[]).ok());
    let machine = Machine::outside_of(&host);
    machine.write("blob", &"x".repeat(3 << 20));
    let (ca, login) = (host.path(&format!("{DATA}/tls/ca.crt")), format!("{user}:{password}"));
    let mut curl = machine.command("curl");
    curl.args(["--silent", "--show-error", "--cacert"]).arg(ca).args(["--user", &login]);
    curl.args(["--limit-rate", "1M", "--data-binary", "@blob", "--write-out", "%{http_code}"]);
    let digest = crate::support::images::sha256("x".repeat(3 << 20).as_bytes());
    curl.arg(format!("https://{ADDRESS}/v2/app/blobs/uploads/?digest={digest}"));
    curl.stdout(Stdio::piped()).stderr(Stdio::piped());
    let upload = curl.spawn().expect("curl");
    let begun = format!("find {DATA}/uploads -type f -size +1k | grep -q .");
    wait_gently_until("the upload has begun", || host.shell(&begun).code() == Some(0));
    host.run(&["systemctl", "stop", "registry"]).ok();
    let output = upload.wait_with_output().expect("the end of the upload");
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.stdout, b"201", "{words} {}", log(&host));
    assert!(!is_active(&host));
    assert_eq!(property(&host, "Result"), "success");
}

#[test]
fn the_journal_shows_what_may_need_a_look_and_one_time_a_line() {
    let Some(host) = host_with_program() else { return };
    let (user, password) = credentials(&install(&host, &[]).ok());
    let url = format!("https://{ADDRESS}/v2/");
    for login in [format!("{user}:wrong password"), format!("{user}:{password}")] {
        curl(&host, &["--user", &login], &url).ok();
    }
    let journal = |flags: &[&str]| {
        host.run(&[&["journalctl", "--quiet", "--unit=registry", "_COMM=registry"], flags].concat())
            .ok()
    };
    let warnings = journal(&["--priority=warning", "--output=cat"]);
    let lines: Vec<&str> = warnings.lines().filter(|line| line.contains("login failed")).collect();
    let [line] = lines.as_slice() else { panic!("{warnings}") };
    assert!(line.trim_start().starts_with("WARN a login failed"), "{line}");
    assert!(line.contains("user=\"init\"") && line.contains("the password is wrong"), "{line}");
    // Neither the priority nor a time is part of any message.
    let all = journal(&["--output=cat"]);
    assert!(all.lines().count() > 3, "{all}");
    for line in all.lines() {
        assert!(!line.starts_with('<') && !line.trim_start().starts_with("20"), "{line}");
    }
}

/// Gives the service another setting and starts it anew.
#[track_caller]
fn drop_in(host: &Host, setting: &str) {
    let script = "mkdir -p /run/systemd/system/registry.service.d
                  (echo '[Service]'; cat) >/run/systemd/system/registry.service.d/test.conf
                  systemctl daemon-reload
                  systemctl restart registry";
    host.shell_with_input(script, format!("{setting}\n").as_bytes()).ok();
}
