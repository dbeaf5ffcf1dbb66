//! The guide's page on errors: every command on it is run with the real client, in the state that
//! its section is about, and must print what stands there.

use std::fs;
use std::path::PathBuf;

use crate::support::binary::{Instance, PASSWORD, USER};
use crate::support::clients::{Curl, Machine, directory};
use crate::support::disk::SmallDisk;
use crate::support::images::{Family, Image, noise, sha256, write_directory};
use crate::support::process::{free_port, run};
use crate::support::report::skip;

const PAGE: &str = include_str!("../../docs/guide-errors.md");
/// How the page calls the registry, and where its name resolves to.
const REGISTRY: &str = "mirror.example.com:8443";
const ADDRESS: &str = "192.0.2.10:8443";

#[test]
fn clients_print_what_the_guide_says() {
    let machine = Machine::new();
    for program in ["podman", "skopeo"] {
        let version = run(machine.command(program).arg("--version")).ok();
        let version = version.replace(" version ", " ");
        if !PAGE.contains(version.trim()) {
            skip(&format!("the guide shows another version than {version}"));
            return;
        }
    }
    let disk = SmallDisk::mount();
    let full = disk.as_ref().map(|disk| {
        let mut full = Instance::new().with_data(disk.path().join("data"));
        full.start();
        full
    });
    let mut instance = Instance::new().listening_on("0.0.0.0");
    instance.start();
    instance.add_user("reader", "pull");
    instance.add_user("writer", "push");
    push_kept(&instance);
    let mut sections = 0;
    for (title, exchanges) in sections_of(PAGE) {
        let Some(scene) = scene(title, &instance, full.as_ref()) else {
            skip("this machine lets nobody mount a small disk to fill");
            continue;
        };
        assert!(!exchanges.is_empty(), "{title}: no command");
        for (command, expected) in exchanges {
            assert_eq!(scene.run(command), expected.join("\n"), "{title}: $ {command}");
        }
        sections += 1;
    }
    assert!(sections >= 10, "only {sections} sections");
}

/// The state that a section of the page is about: a machine, and the registry it means.
struct Scene {
    machine: Machine,
    host: &'static str,
    port: u16,
    data: PathBuf,
}

impl Scene {
    /// Runs a command of the page here and returns what it prints, in the page's terms.
    fn run(&self, command: &str) -> String {
        let address = format!("{}:{}", self.host, self.port);
        let data = self.data.display().to_string();
        let command = command.replace(REGISTRY, &address).replace("/var/lib/registry", &data);
        let mut shell = self.machine.command("sh");
        let printed = run(shell.arg("-c").arg(format!("{command} 2>&1")));
        let mut text = String::from_utf8_lossy(&printed.out).trim_end().to_owned();
        text = text.replace(&address, REGISTRY).replace("not 127.0.0.2", "not mirror.example.com");
        for resolved in ["127.0.0.1", "[::1]"] {
            text = text.replace(&format!("{resolved}:{}", self.port), ADDRESS);
        }
        without_times(&without_digests(&text))
    }
}

/// Makes the state that a section is about; none if this machine cannot be brought into it.
fn scene(title: &str, instance: &Instance, full: Option<&Instance>) -> Option<Scene> {
    let machine = Machine::new();
    machine.write("password", &instance.password());
    let mut scene = Scene { machine, host: "localhost", port: instance.port(), data: "/".into() };
    match title {
        "The password is wrong" => {
            scene.machine.write("password", "not the password");
            instance.add_user("changed", "push");
            log_in(&scene, instance, "changed", PASSWORD);
            let command = ["user", "passwd"];
            instance.command_with_input(&command, &["changed"], "another one").ok();
        }
        "There is no login" => scene.machine.trust(instance, scene.host),
        "The CA is not trusted" => {}
        "The directory of certificates holds keys as well" => {
            instance.data().clone_into(&mut scene.data);
        }
        "The certificate is for other names" => {
            scene.host = "127.0.0.2";
            scene.machine.trust(instance, scene.host);
        }
        "The role may not push" => log_in(&scene, instance, "reader", PASSWORD),
        "The role may not delete" => log_in(&scene, instance, "writer", PASSWORD),
        "A layer is missing" => push_config(&scene, instance),
        "The disk is full" => {
            scene.port = full?.port();
            log_in(&scene, full?, USER, &full?.password());
            store(&scene, "large", &noise(1, SmallDisk::BYTES * 2));
        }
        "The registry is not running" => scene.port = free_port(),
        _ => log_in(&scene, instance, USER, &instance.password()),
    }
    store(&scene, "image", b"small");
    let stored = format!("containers-storage:{}:{}/app:1", scene.host, scene.port);
    scene.machine.skopeo(&["copy", "--quiet", "dir:image", &stored]).ok();
    Some(scene)
}

fn log_in(scene: &Scene, instance: &Instance, user: &str, password: &str) {
    scene.machine.trust(instance, scene.host);
    let address = format!("{}:{}", scene.host, scene.port);
    scene.machine.login(&address, user, password).ok();
}

/// Makes the directory of an image on the scene's machine.
fn store(scene: &Scene, name: &str, content: &[u8]) {
    let image = Image::new(Family::Docker, "amd64", content);
    write_directory(&scene.machine.path(name), &image.manifest, std::slice::from_ref(&image));
}

/// Pushes an image's configuration alone, and has its manifest and what curl needs at hand.
fn push_config(scene: &Scene, instance: &Instance) {
    let image = Image::new(Family::Oci, "amd64", b"layer");
    let path = format!("/v2/app/blobs/uploads/?digest={}", sha256(&image.config));
    let kind = "application/octet-stream";
    Curl::of(instance).send("POST", &path, kind, &image.config).expect(201);
    let password = instance.password();
    let netrc = format!("machine {} login {USER} password {password}\n", scene.host);
    scene.machine.write("netrc", &netrc);
    fs::copy(instance.ca(), scene.machine.path("ca.crt")).expect("the CA");
    fs::write(scene.machine.path("manifest.json"), image.manifest.bytes).expect("a manifest");
}

/// Pushes the image that the page tries to delete.
fn push_kept(instance: &Instance) {
    let (machine, image) = (Machine::of(instance), Image::new(Family::Oci, "amd64", b"kept"));
    let path = machine.path("kept");
    write_directory(&path, &image.manifest, std::slice::from_ref(&image));
    let name = format!("docker://{}/kept:1", instance.address());
    machine.skopeo(&["copy", "--quiet", &directory(&path), &name]).ok();
}

/// A title, and the commands below it with what each prints.
type Section<'a> = (&'a str, Vec<(&'a str, Vec<&'a str>)>);

fn sections_of(page: &str) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    let mut is_output = false;
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            sections.push((title, Vec::new()));
        } else if line.starts_with("```") {
            is_output = line == "```console";
        } else if let Some((_, exchanges)) = sections.last_mut().filter(|_| is_output) {
            match (line.strip_prefix("$ "), exchanges.last_mut()) {
                (Some(command), _) => exchanges.push((command, Vec::new())),
                (None, Some((_, printed))) => printed.push(line),
                (None, None) => panic!("output without a command: {line}"),
            }
        }
    }
    sections
}

/// Replaces each digest, which depends on what the machine has.
pub(crate) fn without_digests(text: &str) -> String {
    let mut parts = text.split("sha256:");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_hexdigit());
        plain = plain + "sha256:<digest>" + rest;
    }
    plain
}

/// Replaces the time in each line of a log.
pub(crate) fn without_times(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix("time=\"").and_then(|at| at.split_once('"')) {
        Some((_, rest)) => format!("time=\"2026-01-01T00:00:00Z\"{rest}"),
        None => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}
