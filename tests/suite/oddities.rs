//! docs/manifests.md: each row of its table of JSON oddities is read by skopeo, podman and the
//! registry, and what the registry refuses because they would not agree, nobody pushes in another
//! form.

use std::fs;
use std::thread;

use oci::MediaType;
use serde_json::Value;

use crate::support::between::{Between, Change, Push};
use crate::support::binary::Instance;
use crate::support::clients::{Machine, directory};
use crate::support::content::{CONFIG, LAYER, push_blob, sha256};
use crate::support::http::Client;
use crate::support::images::{Family, Image, write_directory};
use crate::support::server::Server;

const PAGE: &str = include_str!("../../docs/manifests.md");

/// A row of the table.
struct Row {
    /// The document as the page writes it.
    written: &'static str,
    /// What Go, skopeo, podman and this registry make of it.
    read: [&'static str; 4],
}

fn rows() -> Vec<Row> {
    let row = |line: &'static str| {
        let (written, rest) = line.strip_prefix("| `")?.split_once('`')?;
        let columns: Vec<&str> = rest.trim_end_matches('|').split(" | ").map(str::trim).collect();
        let read = <[&str; 4]>::try_from(columns.get(1..)?).ok()?;
        Some(Row { written, read })
    };
    let table = PAGE.split("\n## Oddities of JSON\n").nth(1).expect("the section");
    let rows: Vec<Row> = table.lines().filter_map(row).collect();
    assert!(rows.len() > 40, "only {} rows", rows.len());
    rows
}

/// What the words of the page stand for.
struct Words {
    good: Image,
    evil: Image,
}

impl Words {
    fn new() -> Self {
        let image = |text: &str| Image::new(Family::Oci, "amd64", text.as_bytes());
        Self { good: image("GOOD"), evil: image("EVIL") }
    }

    /// The bytes of a document.
    fn document(&self, written: &str) -> Vec<u8> {
        let layer = |image: &Image| fields(&parsed(image)["layers"][0]);
        let (good, evil, child) = (layer(&self.good), layer(&self.evil), &self.good.manifest);
        let size = format!(r#","size":{}"#, self.good.layer.len());
        assert!(good.contains(&size), "{good}");
        let config = format!(r#""config":{}"#, parsed(&self.good)["config"]);
        let index = format!(r#""schemaVersion":2,"mediaType":"{}""#, MediaType::OCI_INDEX);
        let image = format!(
            r#""mediaType":"{}","digest":"{}","size":{}"#,
            child.media_type,
            child.digest(),
            child.bytes.len()
        );
        let (oci, docker) = (MediaType::OCI_MANIFEST, MediaType::DOCKER_MANIFEST);
        let docker_config = config.replace(CONFIG, MediaType::DOCKER_CONFIG);
        let kind = format!(r#""mediaType":{},"#, parsed(&self.good)["layers"][0]["mediaType"]);
        assert!(good.contains(&kind) && config != docker_config, "{good} {config}");
        let content = format!(r#""mediaType":"{oci}",{config},"layers":[{{{good}}}]"#);
        let mut text = written.to_owned();
        for (word, meant) in [
            ("…", format!(r#""schemaVersion":2,"mediaType":"{oci}",{config}"#)),
            ("CONTENT", content),
            ("DOCKED", good.replace(LAYER, "application/vnd.docker.image.rootfs.diff.tar.gzip")),
            ("DOCKER", format!(r#""schemaVersion":2,"mediaType":"{docker}",{docker_config}"#)),
            ("INDEX", index),
            ("TYPELESS", good.replace(&kind, "")),
            ("TAB", "\t".to_owned()),
            ("EVIL_DIGEST", sha256(&self.evil.layer)),
            ("SIZELESS", good.replace(&size, "")),
            ("GOOD", good),
            ("EVIL", evil),
            ("CONFIG", config),
            ("IMAGE", image),
            ("NEWLINE", "\n".to_owned()),
            ("BOM", "\u{feff}".to_owned()),
            ("LISTS(9999)", lists(9999)),
            ("LISTS(10000)", lists(10_000)),
        ] {
            text = text.replace(word, &meant);
        }
        let halves: Vec<&[u8]> = text.split("BYTE").map(str::as_bytes).collect();
        halves.join(&0xff)
    }

    /// Writes a document with all that it could name as a directory that skopeo and podman read.
    fn write(&self, machine: &Machine, name: &str, document: &[u8]) -> String {
        let path = machine.path(name);
        let images = [self.good.clone(), self.evil.clone()];
        write_directory(&path, &self.good.manifest, &images);
        fs::write(path.join("manifest.json"), document).expect("a file");
        directory(&path)
    }

    fn name(&self, digest: &str) -> &'static str {
        match digest {
            _ if digest == sha256(&self.good.layer) => "GOOD",
            _ if digest == sha256(&self.evil.layer) => "EVIL",
            "" => "nothing",
            other => panic!("another layer: {other}"),
        }
    }

    fn read_by_skopeo(&self, machine: &Machine, source: &str) -> &'static str {
        let inspected = machine.skopeo(&["inspect", source]);
        if inspected.code() != Some(0) {
            return "refused";
        }
        let shown: Value = serde_json::from_slice(&inspected.out).expect("JSON");
        self.name(shown["Layers"][0].as_str().unwrap_or_default())
    }

    /// What the registry makes of a document, in a repository that has GOOD and not EVIL.
    fn read_by_registry(&self, client: &Client, name: &str, document: &[u8]) -> String {
        for blob in [&self.good.layer, &self.good.config] {
            push_blob(client, name, blob);
        }
        let child = &self.good.manifest;
        let path = format!("/v2/{name}/manifests/");
        let kind = [("Content-Type", child.media_type)];
        client
            .request("PUT", &format!("{path}{}", child.digest()), &kind, &child.bytes)
            .expect(201);
        let pushed = client.request("PUT", &format!("{path}odd"), &[], document);
        // The image alone does not keep the layer any more.
        client.delete(&format!("{path}{}", child.digest())).expect(202);
        if pushed.status != 201 {
            client.get(&format!("{path}odd")).expect(404);
            return pushed.status.to_string();
        }
        assert_eq!(client.get(&format!("{path}odd")).expect(200).body, document);
        let layer = format!("/v2/{name}/blobs/{}", sha256(&self.good.layer));
        match client.delete(&layer).status {
            405 => "GOOD".to_owned(),
            202 => "nothing".to_owned(),
            other => panic!("{other}"),
        }
    }
}

fn parsed(image: &Image) -> Value {
    serde_json::from_slice(&image.manifest.bytes).expect("JSON")
}

/// The fields of an object without its braces.
fn fields(object: &Value) -> String {
    let mut text = String::new();
    // In the order of the page: the size comes last.
    for name in ["mediaType", "digest", "size"] {
        text += &format!(r#","{name}":{}"#, object[name]);
    }
    text.split_off(1)
}

fn lists(levels: usize) -> String {
    "[".repeat(levels) + &"]".repeat(levels)
}

/// The layer that podman finds: it is pulled, and the file in it is read.
fn read_by_podman(machine: &Machine, source: &str) -> String {
    let pulled = machine.podman(&["pull", "--quiet", source]);
    if pulled.code() != Some(0) {
        return "refused".to_owned();
    }
    let id = pulled.ok();
    let mounted = machine.podman(&["image", "mount", &id]);
    let found = match mounted.code() {
        Some(0) => fs::read_to_string(mounted.ok() + "/file").expect("the file"),
        _ => "nothing".to_owned(),
    };
    machine.podman(&["image", "umount", "--force", &id]);
    machine.podman(&["rmi", "--force", &id]).ok();
    found
}

#[test]
fn each_row_of_the_table_is_what_skopeo_podman_and_the_registry_read() {
    let (server, machine, words) = (Server::start(), Machine::new(), Words::new());
    let client = server.administrator();
    for (number, Row { written, read }) in rows().into_iter().enumerate() {
        let [go, skopeo, podman, registry] = read;
        let document = words.document(written);
        let source = words.write(&machine, &format!("row-{number}"), &document);
        assert_eq!(words.read_by_skopeo(&machine, &source), skopeo, "skopeo: {written}");
        assert_eq!(read_by_podman(&machine, &source), podman, "podman: {written}");
        let found = words.read_by_registry(&client, &format!("row-{number}"), &document);
        assert_eq!(found, registry, "the registry: {written}");
        // That is what the table is for.
        for other in [go, skopeo, podman] {
            let agrees = registry == "400" || other == registry || other == "refused";
            assert!(agrees, "{written} is taken, and readers disagree");
        }
    }
}

#[test]
fn what_readers_would_disagree_on_skopeo_pushes_in_no_other_form() {
    let (instance, words) = (Instance::started(), Words::new());
    let (machine, client) = (Machine::of(&instance), instance.client());
    let mut refused = 0;
    for (number, Row { written, read }) in rows().into_iter().enumerate() {
        let [_, skopeo, _, registry] = read;
        if registry != "400" || skopeo == "refused" {
            continue;
        }
        let name = format!("row-{number}");
        let source = words.write(&machine, &name, &words.document(written));
        let target = format!("docker://{}/{name}:1", instance.address());
        let said = machine.skopeo(&["copy", "--quiet", &source, &target]).fails(1);
        // Skopeo finds by itself that this one names nothing.
        if !written.contains("[null]") && !written.contains(":-1") {
            assert!(said.contains("unsupported: "), "{written}: {said}");
            assert!(!said.contains("attempted the following formats"), "{written}: {said}");
        }
        client.get(&format!("/v2/{name}/manifests/1")).expect(404);
        refused += 1;
    }
    assert!(refused > 10, "only {refused} rows");
}

/// Ways to make a manifest of podman's odd, with the status that the registry has for each, and its
/// code as podman and buildah say it.
const CHANGES: [(&str, Change, u16, &str); 18] = [
    ("folded", |push| with(push, r#"{"Layers":[],"#), 400, "unsupported: "),
    ("long-s", |push| with(push, r#"{"layerſ":[],"#), 400, "unsupported: "),
    ("twice", |push| with(push, r#"{"layers":[],"#), 400, "unsupported: "),
    // Clients convert at this sentence, too.
    ("phrase", |push| with(push, PHRASE), 400, "unsupported: "),
    ("letters", letters, 400, "unsupported: "),
    ("deep", deep, 400, "unsupported: "),
    ("text", |push| Push { kind: "text/plain".to_owned(), ..push.clone() }, 415, "unsupported: "),
    ("form", |push| Push { kind: FORM.to_owned(), ..push.clone() }, 415, "unsupported: "),
    ("parameters", parameters, 400, "unsupported: "),
    ("shape", shape, 400, "unsupported: "),
    ("header", |push| Push { kind: INDEX.to_owned(), ..push.clone() }, 400, "unsupported: "),
    ("subject", |push| with(push, r#"{"subject":7,"#), 400, "unsupported: "),
    ("blobs", |push| with(push, r#"{"blobs":5,"#), 400, "unsupported: "),
    ("artifact", |push| with(push, r#"{"artifactType":5,"#), 400, "unsupported: "),
    ("both", |push| with(push, r#"{"manifests":[],"#), 400, "unsupported: "),
    ("version", |push| version(push, r#""schemaVersion":3"#), 400, "unsupported: "),
    ("old", |push| version(push, r#""schemaVersion":1"#), 400, "unsupported: "),
    ("versionless", |push| version(push, r#""x":2"#), 400, "unsupported: "),
];

const INDEX: &str = MediaType::OCI_INDEX;

const PHRASE: &str = r#"{"Invalid JSON syntax":1,"Invalid JSON syntax":1,"#;
const FORM: &str = "application/x-www-form-urlencoded";

fn with(push: &Push, start: &str) -> Push {
    Push { body: push.body.replacen('{', start, 1), ..push.clone() }
}

fn version(push: &Push, other: &str) -> Push {
    let own = r#""schemaVersion":2"#;
    assert!(push.body.contains(own), "{}", push.body);
    Push { body: push.body.replacen(own, other, 1), ..push.clone() }
}

fn deep(push: &Push) -> Push {
    with(push, &format!(r#"{{"x":{},"#, lists(20_000)))
}

/// A type in the document that is more than a type.
fn parameters(push: &Push) -> Push {
    let typed = format!(r#""mediaType":"{}"#, push.kind);
    let body = match push.body.contains(&typed) {
        true => push.body.replacen(&typed, &format!("{typed}; charset=utf-8"), 1),
        false => with(push, &format!(r#"{{{typed}; charset=utf-8","#)).body,
    };
    Push { body, ..push.clone() }
}

fn letters(push: &Push) -> Push {
    let kind = "application/vnd.docker.container.image.v1+json";
    let body = push.body.replace(kind, &kind.to_uppercase());
    let oci = "application/vnd.oci.image.config.v1+json";
    Push { body: body.replace(oci, &oci.to_uppercase()), ..push.clone() }
}

/// Leaves the type to the header, which says none that the document has.
fn shape(push: &Push) -> Push {
    let mut document: Value = serde_json::from_str(&push.body).expect("JSON");
    document.as_object_mut().expect("an object").remove("mediaType");
    Push { kind: "application/json".to_owned(), body: document.to_string() }
}

#[test]
fn podman_and_buildah_end_at_a_refusal_and_push_in_no_other_form() {
    let server = Server::start();
    let (client, machine) = (server.administrator(), Machine::new());
    let words = Words::new();
    let source = words.write(&machine, "image", &words.good.manifest.bytes);
    let registries = CHANGES.map(|(_, change, ..)| Between::before(&client, change));
    let unchanged = Between::before(&client, Push::clone);
    let blocks: Vec<String> = registries
        .iter()
        .chain([&unchanged])
        .map(|it| format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", it.address()))
        .collect();
    machine.write(".config/containers/registries.conf", &blocks.concat());
    let id = machine.podman(&["pull", "--quiet", &source]).ok();
    // Somebody in between is no reason to fail.
    machine.podman(&["push", "--quiet", &id, &format!("{}/well:1", unchanged.address())]).ok();
    assert_eq!(unchanged.pushes().len(), 1);
    // Both try the same again before they give up, and wait in between: all at once.
    let push = |name: &str, between: &Between, code: &str| {
        let target = format!("{}/{name}:1", between.address());
        let said = machine.podman(&["push", "--quiet", &id, &target]).fails(125);
        assert!(said.contains(code), "{name}: {said}");
        let said = machine.buildah(&["push", "--quiet", &id, &format!("docker://{target}")]);
        assert!(said.code() != Some(0) && said.err.contains(code), "{name}: {said}");
    };
    thread::scope(|scope| {
        for ((name, _, _, code), between) in CHANGES.into_iter().zip(&registries) {
            let push = &push;
            scope.spawn(move || push(name, between, code));
        }
    });
    for ((name, _, status, _), between) in CHANGES.into_iter().zip(&registries) {
        // Nothing else came.
        let pushes = between.pushes();
        assert!(pushes.len() >= 2, "{name}: {pushes:?}");
        for push in &pushes {
            assert_eq!((push, push.1), (&pushes[0], status), "{name}");
        }
        client.get(&format!("/v2/{name}/manifests/1")).expect(404);
    }
}
