//! What can be asked of an installation: names, ports, users, an own certificate, other places.

use std::fs;

use super::{
    ADDRESS, DATA, credentials, curl, host_with_program, install, is_active, log, property, text,
};
use crate::support::chain::Chain;
use crate::support::clients::Machine;
use crate::support::host::Host;
use crate::support::process::run;

#[test]
fn names_ports_and_the_first_user_are_as_asked() {
    let Some(host) = host_with_program() else { return };
    host.shell("echo 'correct horse battery' >/root/password; chmod 600 /root/password").ok();
    let mut flags = vec!["--hostname", "mirror.example.com:443", "--hostname", "192.0.2.1"];
    flags.extend(["--hostname", "2001:db8::1", "--init-user", "admin"]);
    flags.extend(["--init-password-file", "/root/password"]);
    let told = install(&host, &flags).ok();
    assert!(told.contains("https://mirror.example.com:443 with credentials (admin, "), "{told}");
    assert!(!told.contains("correct horse"), "a chosen password is shown to nobody: {told}");
    for url in ["https://mirror.example.com/", "https://192.0.2.1/", "https://[2001:db8::1]/"] {
        let login = ["--user", "admin:correct horse battery"];
        let answer = curl(&host, &login, &format!("{url}v2/")).ok();
        assert_eq!(answer.lines().last(), Some("200"), "{url}");
    }
    let pid = property(&host, "MainPID");
    let status = host.shell(&format!("grep CapEff /proc/{pid}/status")).ok();
    assert_eq!(status, "CapEff:\t0000000000000400", "the port, and nothing else");
    for secret in ["correct horse", "$argon2"] {
        let found = host.shell(&format!("! grep -r '{secret}' /etc/registry /etc/systemd"));
        found.ok();
        assert!(!log(&host).contains(secret));
    }
    // Removed and installed again with the usual name of a user, it names the one that is there.
    host.run(&["registry", "uninstall", "--yes"]).ok();
    let told = install(&host, &[]).ok();
    assert_eq!(credentials(&told).0, "admin", "{told}");
}

#[test]
fn a_name_is_added_and_a_port_changed_by_installing_again() {
    let Some(host) = host_with_program() else { return };
    let login = credentials(&install(&host, &[]).ok());
    let ca = text(&host, &format!("{DATA}/tls/ca.crt"));
    let flags = ["--hostname", "mirror.example.com:9443", "--hostname", "second.example.com"];
    let told = install(&host, &flags).ok();
    assert_eq!(credentials(&told), login);
    assert_eq!(text(&host, &format!("{DATA}/tls/ca.crt")), ca);
    assert!(!host.path(&format!("{DATA}/tls/ca.key")).exists());
    let to = ["--connect-to", "second.example.com:9443:mirror.example.com:9443"];
    let answer = curl(&host, &to, "https://second.example.com:9443/readyz").ok();
    assert_eq!(answer.lines().last(), Some("200"));
    // A flag for the port takes it from the names; and one's own port is not in the way.
    let told = install(&host, &["--listen", "0.0.0.0:8443"]).ok();
    assert!(told.contains("https://mirror.example.com:8443 "), "{told}");
    let told = install(&host, &["--listen", "[::]:8443"]).ok();
    assert!(told.contains("https://mirror.example.com:8443 "), "{told}");
    // A setting that was changed by hand stays, in the administrator's own words.
    host.shell("echo '# mine' >>/etc/registry/registry.toml").ok();
    assert!(install(&host, &[]).ok().starts_with("Nothing was changed"));
    assert!(text(&host, "/etc/registry/registry.toml").ends_with("# mine\n"));
}

#[test]
fn a_newer_program_takes_the_place_of_the_old_one_if_it_starts() {
    let Some(host) = host_with_program() else { return };
    let login = credentials(&install(&host, &[]).ok());
    let pid = property(&host, "MainPID");
    // The same program, as far as anybody can tell from what it does, in a file of its own.
    host.shell("cp /root/registry /root/newer; echo newer >>/root/newer").ok();
    let told = host.run(&["/root/newer", "install"]);
    assert!(told.err.contains("change  this program as /usr/local/bin/registry"), "{told}");
    assert_eq!(credentials(&told.ok()), login);
    let is_newer =
        || host.run(&["cmp", "/root/newer", "/usr/local/bin/registry"]).code() == Some(0);
    assert!(is_newer() && is_active(&host));
    assert_ne!(property(&host, "MainPID"), pid, "the newer one runs");
    // One that cannot run as the service is not left there.
    host.shell(
        "mkdir -p /run/systemd/system/registry.service.d
         cd /run/systemd/system/registry.service.d
         printf '[Service]\\nExecStartPre=+cmp /root/newer /usr/local/bin/registry\\n' >test.conf",
    )
    .ok();
    host.run(&["/root/registry", "install"]).fails(1);
    assert!(is_newer() && is_active(&host), "{}", log(&host));
}

#[test]
fn an_own_certificate_is_copied_to_where_the_service_sees_it() {
    let Some(host) = host_with_program() else { return };
    own_certificate(&host);
    let flags = ["--tls-cert", "/root/own.crt", "--tls-key", "/root/own.key"];
    let told = install(&host, &flags).ok();
    let machine = Machine::outside_of(&host);
    machine.trust_ca(&host.path("/root/own.crt"), ADDRESS);
    let (user, password) = credentials(&told);
    machine.login(ADDRESS, &user, &password).ok();
    let modes = "stat --format '%a %U' /etc/registry/tls/server.key /etc/registry/tls/server.crt";
    assert_eq!(host.shell(modes).ok(), "600 registry\n644 root");
    host.shell("rm /root/own.crt /root/own.key; systemctl restart registry").ok();
    machine.login(ADDRESS, &user, &password).ok();
    assert!(install(&host, &[]).ok().starts_with("Nothing was changed"));
}

#[test]
fn what_clients_will_refuse_is_told_where_it_is_typed() {
    let Some(host) = host_with_program() else { return };
    let chain = Chain::of("mirror.example.com");
    let copy = |name: &str| fs::write(host.path(&format!("/root/{name}")), chain.text(name));
    for name in ["leaf.crt", "leaf.key"] {
        copy(name).expect("a file");
    }
    let dry_run = ["--dry-run", "--tls-cert", "/root/leaf.crt", "--tls-key", "/root/leaf.key"];
    let told = install(&host, &dry_run);
    assert!(told.err.contains("/root/leaf.crt") && told.err.contains("An issuing CA"), "{told}");
    told.ok();
    let names = ["--dry-run", "--hostname", "my_mirror", "--hostname", "2001:db8::1"];
    let told = install(&host, &[&names[..], &["--hostname", "mirror.example.com"]].concat());
    for name in ["my_mirror", "2001:db8::1"] {
        let is_told = |line: &str| line.contains("refuse image names") && line.contains(name);
        assert!(told.err.lines().any(is_told), "{told}");
    }
    // What is told to type next begins with a name that clients take.
    assert!(told.ok().contains("https://mirror.example.com:8443 answers"), "another address");
}

#[test]
fn an_own_certificate_that_windows_saved_is_copied_as_it_was_meant() {
    let Some(host) = host_with_program() else { return };
    let chain = Chain::of("mirror.example.com");
    let utf16 = |text: String| -> Vec<u8> {
        let text = text.replace('\n', "\r\n");
        ['\u{feff}']
            .into_iter()
            .chain(text.chars())
            .collect::<String>()
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect()
    };
    let both = chain.text("leaf.crt") + &chain.text("issuing.crt");
    fs::write(host.path("/root/own.crt"), utf16(both)).expect("a file");
    fs::write(host.path("/root/own.key"), utf16(chain.text("leaf.key"))).expect("a file");
    let flags = ["--tls-cert", "/root/own.crt", "--tls-key", "/root/own.key"];
    let told = install(&host, &[&["--hostname", "mirror.example.com"], &flags[..]].concat()).ok();
    let machine = Machine::outside_of(&host);
    machine.trust_ca(&chain.path("root.crt"), ADDRESS);
    let (user, password) = credentials(&told);
    machine.login(ADDRESS, &user, &password).ok();
}

#[test]
fn data_of_a_registry_that_root_ran_are_taken_over() {
    let Some(host) = host_with_program() else { return };
    let data = "/srv/with a space/50%";
    let serve = format!("exec /root/registry serve --data-dir '{data}'");
    let running = host.start_shell(&serve);
    crate::support::process::wait_gently_until("it serves", || {
        host.path(&format!("{data}/FORMAT")).exists()
    });
    let said = install(&host, &["--data-dir", data]).fails(1);
    assert!(said.contains("owns the registry in"), "{said}");
    running.signal(rustix::process::Signal::TERM);
    running.wait();
    let password = text(&host, &format!("{data}/init-password"));
    let told = install(&host, &["--data-dir", data]).ok();
    assert_eq!(credentials(&told).1, password.trim_end());
    assert!(is_active(&host));
    // What it tells to type can be typed.
    let next: Vec<_> = told.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    host.shell(next[0]).ok();
    host.shell(next[1]).ok();
    let told = host.shell("SUDO_UID=1000 registry install").ok();
    assert!(told.contains("  sudo cat '/srv/with a space/50%/init-password' | podman"), "{told}");
    let strangers = host.shell(&format!("find '{data}' ! -user registry"));
    assert_eq!(strangers.ok(), "");
    assert!(host.run(&["registry", "status"]).ok().contains("https://mirror.example.com:8443"));
    let moved = install(&host, &["--data-dir", "/srv/elsewhere"]).fails(1);
    assert!(moved.contains("systemctl stop registry.service"), "{moved}");
    // Moved as it says there, and a link left behind.
    host.shell(&format!(
        "systemctl stop registry; mv '{data}' /srv/elsewhere; ln -s /srv/elsewhere '{data}'
         /root/registry install --data-dir /srv/elsewhere"
    ))
    .ok();
    assert!(is_active(&host), "{}", log(&host));
    assert!(host.run(&["registry", "status"]).ok().contains("https://mirror.example.com:8443"));
}

#[test]
fn a_data_directory_may_be_a_link_to_a_large_disk() {
    let Some(host) = host_with_program() else { return };
    host.shell(&format!("mkdir -p /srv/large/registry; ln -s /srv/large/registry {DATA}")).ok();
    credentials(&install(&host, &[]).ok());
    assert!(is_active(&host));
    assert!(text(&host, "/etc/registry/registry.toml").contains("\"/srv/large/registry\""));
    assert!(install(&host, &[]).ok().starts_with("Nothing was changed"));
}

/// A certificate that signed itself, for the host's name.
fn own_certificate(host: &Host) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name);
    let mut openssl = std::process::Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"]);
    openssl.args(["-subj", "/CN=own", "-addext", "subjectAltName=DNS:mirror.example.com"]);
    openssl.arg("-keyout").arg(path("own.key")).arg("-out").arg(path("own.crt"));
    run(&mut openssl).ok();
    for name in ["own.key", "own.crt"] {
        fs::copy(path(name), host.path(&format!("/root/{name}"))).expect("a copy");
    }
}
