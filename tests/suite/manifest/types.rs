//! Which type a manifest has: the one that its bytes say, whatever a header says.

use oci::MediaType;
use serde_json::json;

use super::unknown;
use crate::support::binary::{Instance, USER};
use crate::support::clients::{Curl, Machine, directory};
use crate::support::content::{CONFIG, LAYER, descriptor, push_blob, sha256};
use crate::support::http::{Client, Response};
use crate::support::images::{Family, Image, write_directory};
use crate::support::server::Server;

const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

fn put(client: &Client, tag: &str, kind: &str, bytes: &str) -> Response {
    let headers: &[_] = if kind.is_empty() { &[] } else { &[("Content-Type", kind)] };
    client.request("PUT", &format!("/v2/a/manifests/{tag}"), headers, bytes.as_bytes())
}

fn type_of(client: &Client, tag: &str) -> String {
    let path = format!("/v2/a/manifests/{tag}");
    let kind = client.get(&path).expect(200).must("content-type").to_owned();
    assert_eq!(client.head(&path).expect(200).must("content-type"), kind);
    kind
}

/// An image that says no type of its own.
fn image(config: &str) -> String {
    let document = json!({
        "schemaVersion": 2, "config": descriptor(config, b"{}"),
        "layers": [descriptor(LAYER, b"layer")],
    });
    document.to_string()
}

#[test]
fn the_same_bytes_under_another_header_change_no_tag() {
    let instance = Instance::started();
    let (machine, curl) = (Machine::of(&instance), Curl::of(&instance));
    // As podman and buildah wrote it before 2022, and umoci does.
    let mut image = Image::new(Family::Oci, "amd64", b"old");
    let text = String::from_utf8(image.manifest.bytes).expect("JSON");
    let own = format!(r#""mediaType":"{}","#, MediaType::OCI_MANIFEST);
    assert!(text.contains(&own), "{text}");
    image.manifest.bytes = text.replacen(&own, "", 1).into_bytes();
    let (good, path) = (format!("{}/app:good", instance.address()), machine.path("image"));
    write_directory(&path, &image.manifest, std::slice::from_ref(&image));
    let target = format!("docker://{good}");
    machine.skopeo(&["copy", "--quiet", &directory(&path), &target]).ok();

    // Retagging as scripts do it, with curl's own type and with others.
    let (login, url) = (format!("{USER}:{}", instance.password()), "/v2/app/manifests/prod");
    let url = format!("https://{}{url}", instance.address());
    let ca = instance.ca().display().to_string();
    let body = format!("@{}", path.join("manifest.json").display());
    let arguments = ["--silent", "--cacert", &ca, "--user", &login, "--request", "PUT"];
    let retag = [&arguments[..], &["--data-binary", &body, &url]].concat();
    let refused = machine.client("curl", &retag).ok();
    let sentence = "Content-Type is application/x-www-form-urlencoded, which is no manifest's: \
                    send the type that the manifest has, as in curl -H 'Content-Type: \
                    application/vnd.oci.image.manifest.v1+json'";
    assert!(refused.contains(sentence), "{refused}");
    for kind in ["application/json", MediaType::DOCKER_MANIFEST, MediaType::OCI_INDEX] {
        curl.send("PUT", "/v2/app/manifests/prod", kind, &image.manifest.bytes).expect(400);
    }
    curl.request("GET", "/v2/app/manifests/prod").expect(404);
    machine.podman(&["pull", "--quiet", &good]).ok();
    // Without a header, or with the image's own, it is retagged.
    let retag = [&arguments[..], &["--header", "Content-Type:", "--data-binary", &body, &url]];
    machine.client("curl", &retag.concat()).ok();
    machine.podman(&["pull", "--quiet", &good.replace("good", "prod")]).ok();
    assert!(instance.command(&["verify"], &[]).ok().contains("nothing is wrong"));
}

#[test]
fn what_a_document_does_not_say_its_fields_and_its_config_say() {
    let server = Server::start();
    let client = server.administrator();
    push_blob(&client, "a", b"{}");
    push_blob(&client, "a", b"layer");
    let index = json!({ "schemaVersion": 2, "manifests": [] }).to_string();
    let images = [MediaType::OCI_MANIFEST, MediaType::DOCKER_MANIFEST];
    let indexes = [MediaType::OCI_INDEX, MediaType::DOCKER_LIST];
    let all: Vec<&str> =
        images.into_iter().chain(indexes).chain(["application/vnd.x+json"]).collect();
    for (tag, document, types) in [
        ("oci", image(CONFIG), &images[..1]),
        ("docker", image(DOCKER_CONFIG), &images[1..]),
        ("helm", image("application/vnd.cncf.helm.config.v1+json"), &images[..]),
        ("index", index, &indexes[..]),
    ] {
        for kind in &all {
            let response = put(&client, "x", kind, &document);
            match types.contains(kind) {
                true => drop(response.expect(201)),
                // A code that makes no client convert.
                false => {
                    let (_, message) = response.refused(400, "UNSUPPORTED").error();
                    assert!(message.contains(&types.join(" or ")), "{message}");
                }
            }
            client.delete(&format!("/v2/a/manifests/{}", sha256(document.as_bytes())));
        }
        put(&client, tag, "", &document).expect(201);
        assert_eq!(type_of(&client, tag), types[0]);
    }
}

#[test]
fn a_type_that_the_document_leaves_open_sticks_in_its_repository() {
    let server = Server::start();
    let client = server.administrator();
    let document = json!({ "anything": true }).to_string();
    put(&client, "1", "", &document).refused(400, "UNSUPPORTED");
    let kind = "application/vnd.example.thing+json";
    assert_eq!(put(&client, "1", kind, &document).expect(201).header("warning"), None);
    for other in ["application/json", "application/vnd.example.other+json", MediaType::OCI_INDEX] {
        let again = put(&client, "2", other, &document);
        // An index needs its schemaVersion.
        if other == MediaType::OCI_INDEX {
            again.refused(400, "UNSUPPORTED");
            continue;
        }
        let warning =
            format!("299 - \"the repository has the manifest as {kind}, and keeps it so\"");
        assert_eq!(again.expect(201).must("warning"), warning);
        assert_eq!([type_of(&client, "1"), type_of(&client, "2")], [kind, kind]);
    }
    // Each repository has its own.
    let path = "/v2/b/manifests/1";
    let json = [("Content-Type", "application/json")];
    client.request("PUT", path, &json, document.as_bytes()).expect(201);
    assert_eq!(client.get(path).expect(200).must("content-type"), "application/json");
    assert_eq!(type_of(&client, "1"), kind);
    // It is forgotten with the manifest.
    client.delete(&format!("/v2/b/manifests/{}", sha256(document.as_bytes()))).expect(202);
    let other = [("Content-Type", kind)];
    client.request("PUT", path, &other, document.as_bytes()).expect(201);
    assert_eq!(client.get(path).expect(200).must("content-type"), kind);
}

#[test]
fn what_is_no_json_is_no_manifest_and_is_not_read() {
    let server = Server::start();
    let client = server.administrator();
    for kind in [
        "text/plain",
        "text/html; charset=utf-8",
        "TEXT/JSON",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "application/octet-stream",
        "application/xml",
        "application/javascript",
        "image/svg+xml",
        "application/x",
    ] {
        // What comes is no JSON, and nobody finds out.
        put(&client, "1", kind, "{").refused(415, "UNSUPPORTED");
        let document = format!(r#"{{"mediaType":"{}"}}"#, kind.split(';').next().expect("one"));
        put(&client, "1", "", &document).refused(415, "UNSUPPORTED");
    }
    let oci = ("Content-Type", MediaType::OCI_MANIFEST);
    for other in [oci, ("Content-Type", "text/html")] {
        let path = "/v2/a/manifests/1";
        let refused = client.request("PUT", path, &[oci, other], image(CONFIG).as_bytes());
        let (_, message) = refused.refused(400, "UNSUPPORTED").error();
        assert_eq!(message, "the request has Content-Type more than once: send it once");
    }
    for kind in
        ["Application/vnd.oci.image.manifest.v1+json", "application/vnd.OCI.image.index.v1+JSON"]
    {
        let (_, message) = put(&client, "1", kind, "{").refused(400, "UNSUPPORTED").error();
        assert!(message.contains(&kind.to_ascii_lowercase()), "{message}");
    }
    unknown(&client, "/v2/a/manifests/1");
}
