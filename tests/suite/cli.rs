//! The command line: what each command prints, refuses and leaves behind.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::binary::{Instance, PASSWORD, USER, program, registry};
use crate::support::clients::Curl;
use crate::support::images::{Family, Image, sha256};
use crate::support::process::{run, wait_until};

#[test]
fn every_command_explains_itself_and_wrong_usage_ends_with_2() {
    let mut commands = vec![Vec::new()];
    let mut seen = 0;
    while let Some(command) = commands.pop() {
        let help = registry(&[command.as_slice(), &["--help".to_owned()]].concat()).ok();
        assert!(help.contains("Usage: registry"), "{help}");
        let wrong = registry(&[command.as_slice(), &["--no-such-flag".to_owned()]].concat());
        assert!(wrong.fails(2).contains("--no-such-flag"), "{command:?}");
        seen += 1;
        let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        let names = listed.map_while(|line| line.split_whitespace().next());
        for name in names.filter(|name| *name != "help") {
            commands.push([command.as_slice(), &[name.to_owned()]].concat());
        }
    }
    assert!(seen >= 10, "only {seen} commands");
    registry::<&str>(&[]).fails(2);
    registry(&["no-such-command"]).fails(2);
    registry(&["serve", "--data-dir", "/tmp/x", "--listen", "nowhere"]).fails(2);
    registry(&["user", "add", "name", "--role", "king"]).fails(2);
    // A password on the command line would be there for every user of the host to read.
    registry(&["user", "add", "name", "--password", PASSWORD]).fails(2);
    registry(&["user", "add", "name", PASSWORD]).fails(2);
}

#[test]
fn config_prints_what_serve_would_run_with() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("registry.toml");
    let file = path.to_str().expect("a path in UTF-8");
    fs::write(
        &path,
        "data-dir = '/srv/a'\ndata-mount = '/srv'\nopen-pulls = true\nhostname = ['a.example']\n",
    )
    .expect("a file");
    let printed = registry(&["config", "--config", file, "--data-dir", "/srv/b"]).ok();
    let expected = "data-dir = \"/srv/b\"\ndata-mount = \"/srv\"\n\
                    listen = [\"[::]:8443\"]\nhostname = [\"a.example\"]\n\
                    init-user = \"init\"\nopen-pulls = true\nexisting = false\n\
                    allow-network-fs = false\n\
                    gc-interval = \"1day\"\ngc-grace = \"1day\"\n\
                    undo-time = \"7days\"\nscrub-interval = \"30days\"\n\
                    scrub-rate = 32\nlog-level = \"info\"";
    assert_eq!(printed, expected);
    // What is printed is itself a configuration, of the same values.
    fs::write(&path, &printed).expect("a file");
    assert_eq!(registry(&["config", "--config", file]).ok(), printed);

    fs::write(&path, "data-dir = '/srv/a'\nopen-pull = true\n").expect("a file");
    for command in ["config", "serve"] {
        let refused = registry(&[command, "--config", file]).fails(2);
        assert!(refused.contains("unknown field `open-pull`"), "{refused}");
        assert!(refused.contains("line 2"), "{refused}");
    }
    let missing = registry(&["config", "--config", "/nonexistent/registry.toml"]).fails(1);
    assert!(missing.contains("/nonexistent/registry.toml"), "{missing}");
    assert!(!Path::new("/srv/a").exists() && !Path::new("/srv/b").exists());
}

#[test]
fn flags_of_mirror_registry_are_taken_and_not_shown() {
    let flags = [
        ("--quayHostname", "mirror.example.com", "hostname = [\"mirror.example.com\"]"),
        ("--quayRoot", "/srv/quay", "data-dir = \"/srv/quay\""),
        ("--initUser", "admin", "init-user = \"admin\""),
        ("--sslCert", "/c.pem", "tls-cert = \"/c.pem\""),
        ("--sslKey", "/k.pem", "tls-key = \"/k.pem\""),
    ];
    let given = flags.iter().flat_map(|(flag, value, _)| [*flag, *value]);
    let printed = registry(&[vec!["config"], given.collect()].concat()).ok();
    let help = registry(&["serve", "--help"]).ok();
    for (flag, _, line) in flags {
        assert!(printed.lines().any(|printed| printed == line), "{flag}: {printed}");
        // The one that administrators met first is visible.
        assert_eq!(help.contains(&flag[2..]), flag == "--quayHostname", "{flag}");
    }
}

#[test]
fn commands_say_the_same_with_and_without_a_running_server() {
    let mut instance = Instance::started();
    let curl = Curl::of(&instance);
    for (repository, tag) in [("app", "1"), ("app", "2"), ("team/tool", "1")] {
        push(&curl, repository, tag);
    }
    instance.add_user("reader", "pull");
    instance.add_user("writer", "push");
    instance.command(&["user", "remove"], &["writer"]).ok();
    let ask = |instance: &Instance| {
        let lists: [(&[&str], &[&str]); 7] = [
            (&["ls"], &[]),
            (&["ls"], &["--json"]),
            (&["ls"], &["app"]),
            (&["ls"], &["app", "--json"]),
            (&["user", "list"], &[]),
            (&["user", "list"], &["--json"]),
            (&["ls"], &["team/tool"]),
        ];
        lists.map(|(words, rest)| instance.command(words, rest).ok())
    };
    let refusals = |instance: &Instance| {
        [
            instance.command(&["ls"], &["absent"]).fails(1),
            instance.command(&["ls"], &["No/Name"]).fails(1),
            instance.command(&["user", "remove"], &["absent"]).fails(1),
            instance.command_with_input(&["user", "add"], &["reader"], PASSWORD).fails(1),
            instance.command_with_input(&["user", "passwd"], &["absent"], PASSWORD).fails(1),
            instance.command_with_input(&["user", "passwd"], &["reader"], "short").fails(1),
            instance.command_with_input(&["user", "add"], &["a:b"], PASSWORD).fails(1),
        ]
    };
    // The first looks through the empty store are done.
    wait_until("upkeep", || {
        let state = status(&instance);
        !state["last_verified"].is_null() && !state["last_collection"].is_null()
    });
    let (running, refused, state) = (ask(&instance), refusals(&instance), status(&instance));
    assert_eq!(running[0], "app\nteam/tool");
    assert!(running[4].contains("administrator init"), "{}", running[4]);
    assert!(!running[4].contains("writer"), "{}", running[4]);
    let table = instance.command(&["status"], &[]).ok();
    assert!(table.contains(&format!("https://{}, for ", instance.address())), "{table}");

    instance.stop();
    assert_eq!(ask(&instance), running);
    assert_eq!(refusals(&instance), refused);
    let stopped = status(&instance);
    for (key, value) in &state {
        match key.as_str() {
            "address" | "uptime_seconds" => assert!(stopped[key].is_null(), "{key}"),
            // The disk is everybody's.
            "disk_free_bytes" => {}
            _ => assert_eq!(&stopped[key], value, "{key}"),
        }
    }
    assert!(instance.command(&["status"], &[]).ok().contains("not running"));
    // What is done to a stopped registry is there when it runs again.
    instance.command_with_input(&["user", "passwd"], &["reader"], "another one\n").ok();
    instance.start();
    let reader = |password| Curl::with_login(&instance, "reader", password).request("GET", "/v2/");
    reader("another one").expect(200);
    reader(PASSWORD).expect(401);
}

#[test]
fn a_changed_password_takes_effect_at_once() {
    let instance = Instance::started();
    let file = instance.data().join("init-password");
    let made_up = instance.password();
    let login =
        |user, password: &str| Curl::with_login(&instance, user, password).request("GET", "/v2/");
    instance.add_user("other", "push");
    login("other", PASSWORD).expect(200);
    login(USER, &made_up).expect(200);
    instance.command_with_input(&["user", "passwd"], &["other"], "battery staple").ok();
    login("other", PASSWORD).expect(401);
    login("other", "battery staple").expect(200);
    assert!(file.exists(), "another user's password is no reason to remove it");

    instance.command_with_input(&["user", "passwd"], &[USER], "battery staple").ok();
    login(USER, &made_up).expect(401);
    login(USER, "battery staple").expect(200);
    assert!(!file.exists(), "it holds a password that is of no use");
    instance.command(&["user", "remove"], &["other"]).ok();
    login("other", "battery staple").expect(401);
}

#[test]
fn the_first_password_may_come_from_a_file() {
    let instance = Instance::new();
    let file = instance.root().join("password");
    fs::write(&file, "from a file\n").expect("a file");
    let file = file.to_str().expect("a path in UTF-8").to_owned();
    let mut instance =
        instance.with_flags(&["--init-user", "admin", "--init-password-file", &file]);
    instance.start();
    Curl::with_login(&instance, "admin", "from a file").request("GET", "/v2/").expect(200);
    assert!(!instance.data().join("init-password").exists());
    assert!(!instance.output().contains("from a file"));
}

#[test]
fn a_second_server_waits_and_says_for_whom() {
    let mut first = Instance::started();
    let mut second = Instance::new().with_data(first.data().to_owned());
    second.begin();
    let sentence = format!("waiting for process {} (registry serve)", first.pid());
    wait_until("the second server waits", || second.errors().contains(&sentence));
    assert_eq!(second.output(), "");
    Curl::of(&first).request("GET", "/v2/").expect(200);
    first.stop();
    second.wait_until_ready();
    Curl::of(&second).request("GET", "/v2/").expect(200);
    let state = status(&second);
    assert_eq!(state["address"], format!("https://{}", second.address()));
}

#[test]
fn a_port_in_use_is_named() {
    let first = Instance::started();
    let data = first.root().join("second");
    let listen = first.address();
    let data = data.to_str().expect("a path in UTF-8");
    let flags = ["serve", "--data-dir", data, "--listen", &listen, "--init-user", "early"];
    let refused = registry(&flags).fails(1);
    assert!(refused.contains(&format!("cannot listen on {listen}")), "{refused}");
    assert!(refused.contains("another program uses this port"), "{refused}");
    // The next start is a first start again, with everything in place and nobody left over.
    let mut second = Instance::new().with_data(data.into());
    second.start();
    Curl::of(&second).request("GET", "/v2/").expect(200);
    let users = second.command(&["user", "list"], &[]).ok();
    assert_eq!(users.lines().count(), 1, "{users}");
}

#[test]
fn a_directory_that_is_not_a_registry_is_left_as_it_is() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    for name in ["empty", "foreign", "newer"] {
        fs::create_dir(path(name)).expect("a directory");
    }
    fs::write(path("foreign/photo.jpg"), "x").expect("a file");
    fs::write(path("newer/FORMAT"), "999\n").expect("a file");
    let before = tree(directory.path());

    let serve = |data: &str, flags: &[&str]| {
        let data = path(data);
        let arguments = ["serve", "--data-dir", &data, "--listen", "127.0.0.1:0"];
        registry(&[&arguments, flags].concat()).fails(1)
    };
    for data in ["empty", "absent", "absent/below"] {
        let refused = serve(data, &["--existing"]);
        assert!(refused.contains("holds no registry"), "{refused}");
        assert!(refused.contains("mount"), "{refused}");
    }
    for flags in [&[][..], &["--existing"]] {
        let refused = serve("newer", flags);
        assert!(refused.contains("has format 999"), "{refused}");
    }
    let refused = serve("foreign", &[]);
    assert!(refused.contains("photo.jpg"), "{refused}");
    for command in [&["status"][..], &["ls"], &["user", "list"]] {
        for data in ["empty", "absent", "foreign", "newer"] {
            registry(&[command, &["--data-dir", &path(data)]].concat()).fails(1);
        }
    }
    assert_eq!(tree(directory.path()), before);
}

#[test]
fn a_data_directory_may_have_a_long_path() {
    let instance = Instance::new();
    let long = instance.root().join("a".repeat(100)).join("b".repeat(100));
    assert!(long.as_os_str().len() > 107, "the address of a socket holds 107 bytes");
    let mut instance = instance.with_data(long);
    instance.start();
    assert_eq!(status(&instance)["address"], format!("https://{}", instance.address()));
    instance.stop();
    assert!(status(&instance)["address"].is_null());
}

#[test]
fn modes_do_not_depend_on_the_umask() {
    let made = ["000", "022", "077"].map(|umask| {
        let mut instance = Instance::new().with_umask(umask);
        instance.start();
        let curl = Curl::of(&instance);
        push(&curl, "modes", "1");
        let upload = curl.begin_upload("modes");
        curl.send("PATCH", &upload, "application/octet-stream", b"x").expect(202);
        let made = tree(instance.data());
        // An upload's name is random.
        let plain = |name: String| match name.split_once("uploads/") {
            Some((_, id)) => format!("uploads/*{}", id.get(36..).unwrap_or_default()),
            None => name,
        };
        made.into_iter().map(|(name, mode)| (plain(name), mode)).collect::<BTreeMap<_, _>>()
    });
    assert_eq!(made[0], made[1]);
    assert_eq!(made[0], made[2]);
    assert!(made[0].contains_key("uploads/*") && made[0].contains_key("uploads/*.meta"));
    for (name, mode) in &made[0] {
        let is_public = name.ends_with(".crt") || name == "tls" || name.is_empty();
        assert!(is_public || mode & 0o077 == 0, "{name} has the mode {mode:o}");
        assert_eq!(mode & 0o022, 0, "{name} has the mode {mode:o}");
    }
}

#[test]
fn output_into_a_closed_pipe_is_no_failure() {
    let instance = Instance::started();
    let data = instance.data().display().to_string();
    let mut shell = Command::new("bash");
    shell.args(["-c", "set -o pipefail; \"$@\" | true", "bash"]).arg(program());
    run(shell.args(["status", "--data-dir", &data])).ok();
}

/// Everything below a directory, by its path there, with its mode.
fn tree(directory: &Path) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(path) = left.pop() {
        let metadata = fs::symlink_metadata(&path).expect("its metadata");
        let name = path.strip_prefix(directory).expect("a path below").display().to_string();
        found.insert(name, metadata.permissions().mode() & 0o7777);
        if metadata.is_dir() {
            let entries = fs::read_dir(&path).expect("its entries");
            left.extend(entries.map(|entry| entry.expect("an entry").path()));
        }
    }
    found
}

fn status(instance: &Instance) -> serde_json::Map<String, serde_json::Value> {
    let printed = instance.command(&["status"], &["--json"]).ok();
    serde_json::from_str(&printed).expect("an object")
}

fn push(curl: &Curl, repository: &str, tag: &str) {
    let image = Image::new(Family::Oci, "amd64", tag.as_bytes());
    for blob in [&image.layer, &image.config] {
        let path = format!("/v2/{repository}/blobs/uploads/?digest={}", sha256(blob));
        curl.send("POST", &path, "application/octet-stream", blob).expect(201);
    }
    let path = format!("/v2/{repository}/manifests/{tag}");
    curl.send("PUT", &path, image.manifest.media_type, &image.manifest.bytes).expect(201);
}

#[test]
fn the_administrators_own_certificate_is_judged_and_served() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (certificate, key, data) = (path("c.pem"), path("k.pem"), path("data"));
    let request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"];
    let subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    let openssl = |arguments: &[&str]| run(Command::new("openssl").args(arguments)).ok();
    openssl(&[&request[..], &subject, &["-keyout", &key, "-out", &certificate]].concat());
    let other = path("other.pem");
    openssl(&["genrsa", "-out", &other, "2048"]);

    let serve = |flags: &[&str]| {
        registry(&[&["serve", "--data-dir", &data, "--tls-cert", &certificate], flags].concat())
    };
    let refused = serve(&["--tls-key", &other]).fails(1);
    assert!(refused.contains("belongs to no certificate"), "{refused}");
    let refused = serve(&["--tls-key", &key, "--hostname", "other.example.com"]).fails(1);
    assert!(refused.contains("is for localhost, not for other.example.com"), "{refused}");
    serve(&[]).fails(2);
    assert!(!Path::new(&data).exists(), "a refused certificate made a registry");

    let mut instance = Instance::new().with_flags(&["--tls-cert", &certificate, "--tls-key", &key]);
    instance.start();
    let url = format!("https://localhost:{}/healthz", instance.port());
    let served = run(Command::new("curl").args(["-sf", "--cacert", &certificate, &url])).ok();
    assert_eq!(served, r#"{"status":"ok"}"#);
    assert!(!instance.data().join("tls").exists(), "a CA was made that nobody needs");
}
