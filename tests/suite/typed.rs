//! What administrators type and hand over: passwords in files that Windows wrote, passwords that
//! are easy to guess, certificates that an editor saved, names that clients refuse.

use std::fs;
use std::process::Command;

use crate::support::binary::{Instance, PASSWORD, registry};
use crate::support::chain::Chain;
use crate::support::clients::{Curl, Machine};
use crate::support::process::{run, run_with_input};

const MARK: &str = "\u{feff}";

#[test]
fn a_password_file_of_windows_is_the_same_password_to_the_registry_and_to_podman() {
    let instance = Instance::new();
    let file = instance.root().join("password.txt");
    fs::write(&file, format!("{PASSWORD}\r\n")).expect("a file");
    let path = file.display().to_string();
    let mut instance = instance.with_flags(&["--init-password-file", &path]);
    instance.start();
    let content = format!("{PASSWORD}\r\n");
    instance.command_with_input(&["user", "add"], &["win"], &content).ok();
    instance.command_with_input(&["user", "add"], &["changed"], "correct staple").ok();
    instance.command_with_input(&["user", "passwd"], &["changed"], &content).ok();
    let machine = Machine::new();
    machine.trust(&instance, "127.0.0.1");
    for user in ["init", "win", "changed"] {
        let mut login = machine.command("podman");
        login.args(["login", "--username", user, "--password-stdin", &instance.address()]);
        run_with_input(&mut login, content.as_bytes()).ok();
        Curl::with_login(&instance, user, PASSWORD).request("GET", "/v2/").expect(200);
    }
}

#[test]
fn a_password_that_podman_would_read_otherwise_is_refused() {
    let instance = Instance::started();
    let refuse = |input: &str| {
        let added = instance.command_with_input(&["user", "add"], &["ann"], input).fails(1);
        let file = instance.root().join("password.txt");
        fs::write(&file, input).expect("a file");
        let data = instance.root().join("other").display().to_string();
        let path = file.display().to_string();
        let serve = ["serve", "--data-dir", &data, "--listen", "127.0.0.1:0"];
        let served = registry(&[&serve[..], &["--init-password-file", &path]].concat()).fails(1);
        assert!(served.contains(&path), "{served}");
        [added, served]
    };
    for said in refuse(&format!("{MARK}{PASSWORD}\r\n")) {
        assert!(said.contains("byte order mark") && said.contains("without BOM"), "{said}");
    }
    for said in refuse(&format!("{PASSWORD}\nsecond line\n")) {
        assert!(said.contains("one line"), "{said}");
    }
    // What PowerShell writes unless it is told otherwise.
    let utf16: Vec<u8> =
        format!("{MARK}{PASSWORD}\r\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut add = Command::new(crate::support::binary::program());
    add.args(["user", "add", "ann", "--data-dir"]).arg(instance.data());
    let said = run_with_input(&mut add, &utf16).fails(1);
    assert!(said.contains("byte order mark"), "{said}");
    assert!(!instance.command(&["user", "list"], &[]).ok().contains("ann"));
}

#[test]
fn a_password_that_is_easy_to_guess_is_refused_with_what_to_do() {
    let instance = Instance::started();
    instance.add_user("ann", "pull");
    let refused = |command: &str, user: &str, password: &str| {
        instance.command_with_input(&["user", command], &[user], password).fails(1)
    };
    for (command, user) in [("add", "bob"), ("passwd", "ann"), ("passwd", "init")] {
        for password in ["password", "12345678", "Passw0rd", "qwertyuiop", "registry", "abcabcabc"]
        {
            let said = refused(command, user, password);
            assert!(said.contains("too easy to guess"), "{password}: {said}");
            assert!(said.contains("four words") && said.contains("openssl rand"), "{said}");
        }
        let said = refused(command, user, &format!("correct horse {user} battery"));
        assert!(said.contains("the user's name"), "{said}");
        let said = refused(command, user, &format!("correct {} battery", user.to_uppercase()));
        assert!(said.contains("the user's name"), "{said}");
        assert!(refused(command, user, "f7x!Qz2").contains("at least 8"));
    }
    assert!(!instance.command(&["user", "list"], &[]).ok().contains("bob"));
    Curl::with_login(&instance, "ann", PASSWORD).request("GET", "/v2/").expect(200);
    Curl::of(&instance).request("GET", "/v2/").expect(200);
    // The first user's is chosen as well, and named as the file that it is in.
    let file = instance.root().join("weak");
    fs::write(&file, "password1\n").expect("a file");
    let (file, data) = (file.display().to_string(), instance.root().join("new"));
    let data = data.display().to_string();
    let serve = ["serve", "--data-dir", &data, "--listen", "127.0.0.1:0"];
    let said = registry(&[&serve[..], &["--init-password-file", &file]].concat()).fails(1);
    assert!(said.contains(&file) && said.contains("too easy to guess"), "{said}");
    let said =
        registry(&[&serve[..], &["--init-user", "word1", "--init-password-file", &file]].concat())
            .fails(1);
    assert!(said.contains("the user's name"), "{said}");
}

#[test]
fn a_short_name_may_be_in_a_password_and_in_one_that_is_made_up() {
    let mut instance = Instance::new().with_flags(&["--init-user", "ab"]);
    instance.start();
    let password = instance.password();
    Curl::with_login(&instance, "ab", &password).request("GET", "/v2/").expect(200);
    instance.command_with_input(&["user", "add"], &["e"], PASSWORD).ok();
    instance.command_with_input(&["user", "passwd"], &["ab"], &password).ok();
}

#[test]
fn who_has_a_weak_password_goes_on_with_it() {
    let mut instance = Instance::started();
    instance.add_user("old", "push");
    instance.stop();
    // As a program left it that asked for eight bytes and no more.
    let hash = registry_server::auth::password::Password::new(b"password").expect("a password");
    let hash = hash.hash().expect("its hash");
    let store = instance.data().join("registry.db");
    let mut sqlite = Command::new("python3");
    let script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(\
                  'UPDATE users SET password_hash = ? WHERE name = ?', (sys.argv[2], 'old')); \
                  c.commit(); c.close()";
    run(sqlite.args(["-c", script]).arg(&store).arg(&hash)).ok();
    let weak = instance.root().join("weak");
    fs::write(&weak, "password").expect("a file");
    let weak = weak.display().to_string();
    let mut instance = instance.with_flags(&["--init-password-file", &weak]);
    // A file for the first user that is not read any more holds nobody up either.
    instance.start();
    Curl::with_login(&instance, "old", "password").request("GET", "/v2/").expect(200);
    Curl::of(&instance).request("GET", "/v2/").expect(200);
}

#[test]
fn a_certificate_that_an_editor_saved_is_served() {
    let chain = Chain::of("localhost");
    let [leaf, issuer, key] = ["leaf.crt", "issuing.crt", "leaf.key"].map(|name| chain.text(name));
    let utf16 = |text: &str| -> Vec<u8> {
        format!("{MARK}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect()
    };
    let windows = |text: &str| format!("{MARK}{}", text.replace('\n', "\r\n"));
    for (what, certificate, key) in [
        ("a mark", format!("{MARK}{leaf}{issuer}").into_bytes(), format!("{MARK}{key}").into()),
        (
            "two files with marks",
            format!("{MARK}{leaf}{MARK}{issuer}").into_bytes(),
            key.clone().into(),
        ),
        ("line ends", (windows(&leaf) + &windows(&issuer)).into_bytes(), windows(&key).into()),
        ("UTF-16", utf16(&format!("{leaf}{issuer}")), utf16(&key)),
        (
            "no line end between",
            format!("{}{issuer}", leaf.trim_end()).into_bytes(),
            key.clone().into(),
        ),
    ] as [(&str, Vec<u8>, Vec<u8>); 5]
    {
        let files = ["given.crt", "given.key"].map(|name| chain.path(name));
        fs::write(&files[0], certificate).expect("a certificate");
        fs::write(&files[1], key).expect("a key");
        let [certificate, key] = files.map(|file| file.display().to_string());
        let flags = ["--tls-cert", &certificate, "--tls-key", &key];
        let mut instance = Instance::new().with_flags(&flags);
        instance.start();
        // Whoever knows the root alone finds the way, so all of the chain was read.
        let url = format!("https://localhost:{}/healthz", instance.port());
        let mut curl = Command::new("curl");
        curl.args(["-sSf", "--cacert"]).arg(chain.path("root.crt")).arg(&url);
        assert_eq!(run(&mut curl).ok(), r#"{"status":"ok"}"#, "{what}");
        assert!(!instance.errors().contains("issuer"), "{what}: {}", instance.errors());
        instance.stop();
    }
}

#[test]
fn a_chain_without_its_issuer_is_served_and_warned_of() {
    let chain = Chain::of("localhost");
    let [certificate, key] = ["leaf.crt", "leaf.key"].map(|name| chain.path(name));
    let [certificate, key] = [certificate, key].map(|file| file.display().to_string());
    let mut instance = Instance::new().with_flags(&["--tls-cert", &certificate, "--tls-key", &key]);
    instance.start();
    let said = instance.errors();
    let warning = said.lines().find(|line| line.contains("issuer")).expect("a warning");
    assert!(warning.contains("WARN") && warning.contains(&certificate), "{warning}");
    assert!(warning.contains("CN=An issuing CA") && warning.contains("behind"), "{warning}");
    // It is no idle warning: this is what clients meet that know the root.
    let ask = |ca: &str| {
        let url = format!("https://localhost:{}/healthz", instance.port());
        let mut curl = Command::new("curl");
        run(curl.args(["-sSf", "--cacert"]).arg(chain.path(ca)).arg(&url))
    };
    ask("root.crt").fails(60);
    // Who trusts the issuer itself needs no more.
    let mut openssl = Command::new("openssl");
    openssl.args(["s_client", "-partial_chain", "-verify_return_error", "-CAfile"]);
    openssl.arg(chain.path("issuing.crt"));
    run(openssl.arg("-connect").arg(format!("localhost:{}", instance.port()))).ok();
}

#[test]
fn names_that_clients_refuse_are_warned_of() {
    let machine = Machine::new();
    let mut instance = Instance::new().with_flags(&[
        "--hostname",
        "my_mirror.example.com",
        "--hostname",
        "2001:db8::1",
    ]);
    instance.start();
    let said = instance.errors();
    for name in ["my_mirror.example.com", "2001:db8::1"] {
        let warning = said.lines().find(|line| line.contains(name)).expect("a warning");
        assert!(warning.contains("WARN") && warning.contains("--hostname"), "{warning}");
        assert!(warning.contains("podman") && warning.contains("oc"), "{warning}");
    }
    assert!(!said.contains("begin with localhost"), "{said}");
    let shown = registry(&["config", "--data-dir", "/x", "--hostname", "a_b", "--hostname", "c"]);
    assert!(shown.err.contains("a_b") && !shown.err.contains("with c"), "{shown}");
    shown.ok();
    // It is so: they refuse the name before they ask anybody.
    for name in ["my_mirror.example.com:8443/a:1", "[2001:db8::1]:8443/a:1"] {
        let refused = machine.skopeo(&["inspect", &format!("docker://{name}")]).fails(1);
        assert!(refused.contains("invalid reference format"), "{refused}");
        let refused = machine.podman(&["pull", name]).fails(125);
        assert!(refused.contains("invalid reference format"), "{refused}");
    }
    // curl asks, and is answered under both: the certificate has them.
    let url = format!("https://my_mirror.example.com:{}/healthz", instance.port());
    let to = format!("my_mirror.example.com:{}:127.0.0.1", instance.port());
    let mut curl = Command::new("curl");
    curl.args(["-sSf", "--resolve", &to, "--cacert"]).arg(instance.ca()).arg(&url);
    run(&mut curl).ok();
}
