//! The guide's page on errors: every command on it is run with the real client, in the state that
//! its section is about, and must print what stands there.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::binary::{Instance, PASSWORD, USER};
use crate::support::clients::{Curl, Machine, directory};
use crate::support::disk::{OwnDisk, SmallDisk};
use crate::support::images::{Family, Image, noise, sha256, write_directory};
use crate::support::process::{free_port, run};
use crate::support::report::skip;
use crate::verify::{blob_path, flip};

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
    let turned = OwnDisk::mount();
    let turned = turned.as_ref().map(read_only);
    let mut instance = Instance::new().listening_on("0.0.0.0");
    instance.start();
    instance.add_user("reader", "pull");
    instance.add_user("writer", "push");
    push_kept(&instance, "kept:1");
    push_kept(&instance, "stable:1");
    instance.command(&["tag", "protect"], &["stable:1"]).ok();
    let mut sections = 0;
    for (title, exchanges) in sections_of(PAGE) {
        let Some(scene) = scene(title, &instance, full.as_ref(), turned.as_ref()) else {
            skip("this machine lets nobody mount a disk to fill or to turn read-only");
            continue;
        };
        assert!(!exchanges.is_empty(), "{title}: no command");
        for (command, expected) in exchanges {
            let expected = without_sizes(&expected.join("\n"));
            assert_eq!(scene.run(command), expected, "{title}: $ {command}");
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
        without_sizes(&without_times(&without_digests(&text)))
    }
}

/// Makes the state that a section is about; none if this machine cannot be brought into it.
fn scene(
    title: &str,
    instance: &Instance,
    full: Option<&Instance>,
    turned: Option<&Instance>,
) -> Option<Scene> {
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
        "The manifest can be read in two ways" => {
            write_odd(&scene.machine.path("odd"));
            log_in(&scene, instance, USER, &instance.password());
        }
        "A layer is missing" | "The type is not the manifest's" => push_config(&scene, instance),
        "The registry lost a part of the image" => {
            lose_layer(instance);
            log_in(&scene, instance, USER, &instance.password());
        }
        "The disk is full" => {
            scene.port = full?.port();
            log_in(&scene, full?, USER, &full?.password());
            write_huge(&scene.machine.path("huge"));
        }
        "The disk is read-only" => {
            scene.port = turned?.port();
            log_in(&scene, turned?, USER, &turned?.password());
        }
        "The registry is not running" => scene.port = free_port(),
        _ => log_in(&scene, instance, USER, &instance.password()),
    }
    let noise = noise(1, SmallDisk::BYTES * 2);
    store(&scene, "image", if title == "The disk is full" { &noise } else { b"small" });
    let stored = format!("containers-storage:{}:{}/app:1", scene.host, scene.port);
    scene.machine.skopeo(&["copy", "--quiet", "dir:image", &stored]).ok();
    Some(scene)
}

/// A registry on a disk that is read-only.
fn read_only(disk: &OwnDisk) -> Instance {
    let mut instance = Instance::new().with_data(disk.path().join("data"));
    instance.start();
    push_kept(&instance, "kept:1");
    instance.stop();
    disk.remount("ro");
    instance.start();
    instance
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

/// Makes the directory of an image with a layer of a GiB, which is a hole and takes no room.
fn write_huge(path: &Path) {
    let layer = "49bc20df15e412a64472421e13fe86ff1c5165e18b2afccf160d4dc19fe68a14";
    let mut image = Image::new(Family::Oci, "amd64", b"");
    let manifest = String::from_utf8(image.manifest.bytes).expect("text");
    let mut manifest: Value = serde_json::from_str(&manifest).expect("JSON");
    manifest["layers"][0] = json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar",
        "digest": format!("sha256:{layer}"), "size": 1 << 30,
    });
    image.manifest.bytes = manifest.to_string().into_bytes();
    write_directory(path, &image.manifest, std::slice::from_ref(&image));
    let file = fs::File::create(path.join(layer)).expect("a file");
    file.set_len(1 << 30).expect("a file with a hole");
}

/// Makes the directory of an image whose layers are others to a program in Go.
fn write_odd(path: &Path) {
    let mut image = Image::new(Family::Oci, "amd64", b"odd");
    let manifest = String::from_utf8(image.manifest.bytes).expect("text");
    image.manifest.bytes = manifest.replacen('{', r#"{"Layers":[],"#, 1).into_bytes();
    write_directory(path, &image.manifest, std::slice::from_ref(&image));
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

/// Pushes an image that the page tries to delete.
fn push_kept(instance: &Instance, name: &str) {
    let (machine, image) = (Machine::of(instance), Image::new(Family::Oci, "amd64", b"kept"));
    let path = machine.path("kept");
    write_directory(&path, &image.manifest, std::slice::from_ref(&image));
    let name = format!("docker://{}/{name}", instance.address());
    machine.skopeo(&["copy", "--quiet", &directory(&path), &name]).ok();
}

/// Pushes an image whose layer is then damaged and found.
fn lose_layer(instance: &Instance) {
    let (machine, image) = (Machine::of(instance), Image::new(Family::Oci, "amd64", b"lost"));
    let path = machine.path("lost");
    write_directory(&path, &image.manifest, std::slice::from_ref(&image));
    let name = format!("docker://{}/lost:1", instance.address());
    machine.skopeo(&["copy", "--quiet", &directory(&path), &name]).ok();
    flip(&blob_path(instance.data(), &sha256(&image.layer)));
    instance.command(&["verify"], &[]).fails(1);
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

/// Replaces how much room the disk has, and how much of a layer came at once: only what comes
/// with its length is refused as a whole.
fn without_sizes(text: &str) -> String {
    let Some((before, rest)) = text.split_once(" more (") else { return text.to_owned() };
    let (Some((before, size)), Some((_, rest))) =
        (before.rsplit_once(" for "), rest.split_once("): "))
    else {
        return text.to_owned();
    };
    let size = if size == "1.0 GiB" { size } else { "<piece>" };
    format!("{before} for {size} more (<room>): {rest}")
}

/// Replaces the time in each line of a log or of a tag's history.
pub(crate) fn without_times(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix("time=\"").and_then(|at| at.split_once('"')) {
        Some((_, rest)) => format!("time=\"2026-01-01T00:00:00Z\"{rest}"),
        None => match line.split_once("Z  ") {
            Some((time, rest)) if time.len() == 19 => format!("2026-01-01T00:00:00Z  {rest}"),
            _ => line.to_owned(),
        },
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}
