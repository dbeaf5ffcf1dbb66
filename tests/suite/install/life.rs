//! A registry's life on a host: installed, used, rebooted, installed again, removed, and installed
//! over what it left.

use serde_json::Value;

use super::{
    ADDRESS, DATA, PROGRAM, beside_data, client, credentials, curl, health, host_with_program,
    install, is_active, log, property, text,
};
use crate::support::binary::PASSWORD;
use crate::support::clients::{Machine, directory};
use crate::support::host::{Host, Snapshot};
use crate::support::images::{Family, Image, sha256, write_directory};

#[test]
fn a_host_becomes_a_registry_and_stays_one() {
    let Some(mut host) = host_with_program() else { return };
    let bare = Snapshot::of(&host);
    dry_runs_change_nothing(&host, &bare);

    let told = install(&host, &[]).ok();
    let login = credentials(&told);
    assert_eq!(login.0, "init");
    assert_eq!(login.1, text(&host, &format!("{DATA}/init-password")).trim_end());
    assert!(told.contains(&format!("{DATA}/tls/ca.crt\n")), "{told}");
    assert_eq!(told.lines().filter(|line| line.starts_with("  ")).count(), 3, "{told}");
    the_service_is_confined(&host);

    let digest = push_from_outside(&host, &login);
    host.shell_with_input("registry user add second --role push", PASSWORD.as_bytes()).ok();
    host.reboot();
    assert!(is_active(&host), "{}", log(&host));
    pull_from_outside(&host, &login, &digest);

    let before = Snapshot::of(&host);
    let told = install(&host, &[]).ok();
    assert!(told.starts_with("Nothing was changed"), "{told}");
    assert_eq!(credentials(&told), login);
    // Typed as the installed command too.
    assert!(host.shell("registry install").ok().starts_with("Nothing was changed"));
    assert_eq!(before.difference(&Snapshot::of(&host)), [""; 0]);

    let ca = text(&host, &format!("{DATA}/tls/ca.crt"));
    let refused = host.shell_with_input("registry uninstall", b"n\n").fails(1);
    assert!(refused.contains("nothing was changed"), "{refused}");
    host.shell("registry uninstall </dev/null").fails(1);
    assert_eq!(before.difference(&Snapshot::of(&host)), [""; 0]);
    removed(&host, &bare);

    let told = host.run(&[PROGRAM, "install"]).ok();
    assert_eq!(credentials(&told), login);
    assert_eq!(text(&host, &format!("{DATA}/tls/ca.crt")), ca);
    pull_from_outside(&host, &login, &digest);
    client(&host, &("second".to_owned(), PASSWORD.to_owned()));
    assert!(host.path("/etc/registry/pki/ca.key").exists());
    assert!(!host.path(&format!("{DATA}/tls/ca.key")).exists());
}

/// Both forms of a dry run say what would be done, and do nothing.
fn dry_runs_change_nothing(host: &Host, bare: &Snapshot) {
    let told = install(host, &["--dry-run"]).ok();
    for expected in ["the user registry", "/usr/local/bin/registry", "dry run: nothing was changed"]
    {
        assert!(told.contains(expected), "{told}");
    }
    let plan: Value = serde_json::from_str(&install(host, &["--dry-run", "--json"]).ok())
        .expect("the plan as JSON");
    let steps = plan["steps"].as_array().expect("steps");
    let unit = |step: &&Value| step["path"] == "/etc/systemd/system/registry.service";
    let unit = steps.iter().find(unit).expect("a step for the unit");
    assert_eq!((&unit["step"], &unit["need"]), (&"file".into(), &"make".into()));
    assert_eq!(unit["mode"], "0644");
    assert_eq!(bare.difference(&Snapshot::of(host)), [""; 0]);
    install(host, &["--json"]).fails(2);
}

/// The service has what it needs and no more.
fn the_service_is_confined(host: &Host) {
    let said = host.run(&["systemd-analyze", "security", "--no-pager", "registry"]).ok();
    let line = said.lines().last().expect("a last line");
    let words = line.split_whitespace();
    let exposure = words.filter_map(|word| word.parse::<f64>().ok()).next_back();
    assert!(exposure.expect("a number") <= 2.0, "{said}");
    assert_eq!(host.run(&["systemctl", "is-enabled", "registry"]).ok(), "enabled");
    for (name, value) in [
        ("User", "registry"),
        ("Restart", "always"),
        ("StartLimitIntervalUSec", "0"),
        ("WatchdogUSec", "2min"),
        ("LimitCORE", "0"),
        ("Type", "notify"),
    ] {
        assert_eq!(property(host, name), value, "{name}");
    }
    let mounts = property(host, "RequiresMountsFor");
    assert!(mounts.split(' ').any(|path| path == DATA), "{mounts}");
    let pid = property(host, "MainPID");
    let status = host.shell(&format!("grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/{pid}/status"));
    assert_eq!(status.ok(), "CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1");
    // Who may not be dumped has its files in /proc owned by root.
    assert_eq!(host.run(&["stat", "--format=%U", &format!("/proc/{pid}/environ")]).ok(), "root");
    // In its view there is no key of the root, whoever asks.
    let inside = |path: &str| host.run(&["nsenter", "-t", &pid, "--mount", "ls", path]);
    assert_eq!(host.run(&["ls", "/etc/registry/pki"]).ok(), "ca.key");
    assert_ne!(inside("/etc/registry/pki").out, b"ca.key\n");
    inside(&format!("{DATA}/tls/ca.key")).fails(2);
    // It writes in its data and nowhere else.
    let writes = |path: &str| {
        host.run(&["nsenter", "-t", &pid, "--mount", "touch", &format!("{path}/probe")]).code()
    };
    assert_eq!(writes("/etc"), Some(1));
    assert_eq!(writes("/usr/local/bin"), Some(1));
    assert_eq!(writes(DATA), Some(0));
    host.run(&["rm", &format!("{DATA}/probe")]).ok();
    for family in ["-4", "-6"] {
        assert_eq!(curl(host, &[family], &health()).ok().lines().last(), Some("200"), "{family}");
    }
}

/// Pushes an image and gives its digest.
fn push_from_outside(host: &Host, login: &(String, String)) -> String {
    let (machine, image) = (client(host, login), Image::new(Family::Docker, "amd64", b"first"));
    let path = machine.path("image");
    write_directory(&path, &image.manifest, std::slice::from_ref(&image));
    let id = machine.podman(&["pull", "--quiet", &directory(&path)]).ok();
    machine.podman(&["push", "--quiet", &id, &format!("{ADDRESS}/team/app:1")]).ok();
    let name = format!("docker://{ADDRESS}/team/app:1");
    sha256(&machine.skopeo(&["inspect", "--raw", &name]).out)
}

#[track_caller]
fn pull_from_outside(host: &Host, login: &(String, String), digest: &str) {
    let machine = client(host, login);
    machine.podman(&["pull", "--quiet", &format!("{ADDRESS}/team/app:1")]).ok();
    let name = format!("docker://{ADDRESS}/team/app@{digest}");
    assert_eq!(sha256(&machine.skopeo(&["inspect", "--raw", &name]).out), digest);
    // Without the CA nobody gets as far as a login.
    let stranger = Machine::outside_of(host);
    let refused = stranger.login(ADDRESS, &login.0, &login.1).fails(125);
    assert!(refused.contains("certificate"), "{refused}");
}

/// After `uninstall` the host is as it was but for the data and their user.
fn removed(host: &Host, bare: &Snapshot) {
    let told = host.shell_with_input("registry uninstall", b"y\n").ok();
    let (_, kept) = told.split_once("Removed. This stays:\n").expect("what stays");
    assert_eq!(kept, format!("  the data in {DATA}\n  the user registry"));
    assert_eq!(beside_data(bare, host), [""; 0]);
    assert!(host.path(&format!("{DATA}/tls/ca.key")).exists(), "the key goes with the data");
    assert_eq!(host.run(&["id", "--user", "--name", "registry"]).ok(), "registry");
    let told = host.run(&[PROGRAM, "uninstall", "--yes"]).ok();
    assert!(told.starts_with("Nothing is installed"), "{told}");
}
