//! Sizes that are not the blobs', and blobs that are not there: what is said of them.

use std::fs;

use oci::MediaType;
use serde_json::{Value, json};

use crate::support::binary::Instance;
use crate::support::clients::{Machine, directory};
use crate::support::content::{CONFIG, LAYER, Manifest, descriptor, push_blob, push_image, sha256};
use crate::support::images::{Family, Image, write_directory};
use crate::support::server::Server;

#[test]
fn a_size_that_is_not_the_blobs_is_taken_with_a_warning_and_named_afterwards() {
    let instance = Instance::started();
    let (machine, client) = (Machine::of(&instance), instance.client());
    let image = Image::new(Family::Oci, "amd64", b"content");
    let path = machine.path("image");
    write_directory(&path, &image.manifest, std::slice::from_ref(&image));
    let text = String::from_utf8(image.manifest.bytes.clone()).expect("JSON");
    let said = format!(r#""size":{}"#, image.layer.len());
    assert_eq!(text.matches(&said).count(), 1);
    let wrong = text.replace(&said, r#""size":7"#);
    fs::write(path.join("manifest.json"), &wrong).expect("a file");
    // A mirror run goes on, and podman pulls what it brought.
    let name = format!("{}/app:1", instance.address());
    machine.skopeo(&["copy", "--quiet", &directory(&path), &format!("docker://{name}")]).ok();
    machine.podman(&["pull", "--quiet", &name]).ok();

    let (layer, digest) = (sha256(&image.layer), sha256(wrong.as_bytes()));
    let told = format!("says 7 bytes of {layer}, which has {}", image.layer.len());
    let warning = format!("299 - \"the manifest {told}\"");
    let kind = [("Content-Type", MediaType::OCI_MANIFEST)];
    for tag in ["1", "2"] {
        let path = format!("/v2/app/manifests/{tag}");
        let pushed = client.request("PUT", &path, &kind, wrong.as_bytes()).expect(201);
        assert_eq!(pushed.must("warning"), warning);
    }
    let verified = instance.command(&["verify"], &[]).ok();
    assert!(verified.ends_with(&format!("\n  app@{digest} {told}")), "{verified}");
    assert!(!verified.contains("nothing is wrong"), "{verified}");
    let report: Value = json_of(&instance, &["verify"], &["--json"]);
    assert_eq!(report["missized"], json!([format!("app@{digest} {told}")]));
    assert_eq!(report["found"], json!([]));

    let inspected = instance.command(&["inspect"], &["app:1"]).ok();
    let line = format!("wrong size: it has {} bytes and not 7", image.layer.len());
    assert!(inspected.contains(&line) && inspected.ends_with("\ncomplete"), "{inspected}");
    let inspected = json_of(&instance, &["inspect"], &["app:1", "--json"]);
    let wrong = json!([{
        "digest": layer, "kind": "layer", "said": 7, "stored": image.layer.len(),
        "manifest": digest,
    }]);
    assert_eq!(inspected["wrong_sizes"], wrong);
    assert_eq!(inspected["missing"], json!([]));
    // What is right is told nothing of.
    let right = Image::new(Family::Docker, "amd64", b"other");
    write_directory(&path, &right.manifest, std::slice::from_ref(&right));
    machine.skopeo(&["copy", "--quiet", &directory(&path), &format!("docker://{name}")]).ok();
    let inspected = json_of(&instance, &["inspect"], &["app:1", "--json"]);
    assert_eq!(inspected["wrong_sizes"], json!([]));
}

fn json_of(instance: &Instance, words: &[&str], rest: &[&str]) -> Value {
    serde_json::from_str(&instance.command(words, rest).ok()).expect("JSON")
}

#[test]
fn a_child_and_a_subject_of_another_size_are_told_if_they_are_there() {
    let server = Server::start();
    let client = server.administrator();
    let child = push_image(&client, "a", "1", b"layer");
    let of = |size: Value| {
        let mut descriptor = child.descriptor();
        descriptor["size"] = size;
        descriptor
    };
    let mut absent = descriptor(MediaType::OCI_MANIFEST, b"absent");
    absent["size"] = json!(1);
    for (field, size, is_wrong) in [
        ("manifests", json!(1), true),
        ("manifests", json!(null), true),
        ("manifests", json!(child.bytes.len()), false),
        ("subject", json!(1), true),
        ("subject", json!(child.bytes.len()), false),
    ] {
        let document = match field {
            "manifests" => json!({ "manifests": [of(size), absent] }),
            _ => json!({ "manifests": [], "subject": of(size) }),
        };
        let index = Manifest::new(MediaType::OCI_INDEX, document);
        let warning = index.put(&client, "a", "2").expect(201);
        let warning = warning.header("warning").unwrap_or_default();
        assert_eq!(warning.contains(&child.digest()), is_wrong, "{field}: {warning}");
        // In a repository that does not hold it, nobody is told how large it is.
        assert_eq!(index.put(&client, "b", "2").expect(201).header("warning"), None);
    }
    // A manifest that says many wrong sizes is told a few.
    let layers: Vec<Value> = (0..40_u8)
        .map(|number| {
            push_blob(&client, "a", &[number]);
            json!({ "mediaType": LAYER, "digest": sha256(&[number]), "size": 9 })
        })
        .collect();
    let document = json!({ "config": descriptor(CONFIG, b"{}"), "layers": layers });
    let many = Manifest::new(MediaType::OCI_MANIFEST, document);
    let pushed = many.put(&client, "a", "3").expect(201);
    let warning = pushed.must("warning");
    assert_eq!(warning.matches("sha256:").count(), 5);
    assert!(warning.ends_with(", and 35 more\""), "{warning}");
}

#[test]
fn a_manifest_that_lacks_thousands_of_blobs_is_told_a_few() {
    let server = Server::start();
    let client = server.administrator();
    push_blob(&client, "a", b"{}");
    let digest = |number: usize| format!("sha256:{number:064x}");
    let put = |digests: &mut dyn Iterator<Item = String>| {
        let layers: Vec<String> = digests
            .map(|digest| format!(r#"{{"mediaType":"","digest":"{digest}","size":1}}"#))
            .collect();
        let text = format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#,
            descriptor(CONFIG, b"{}"),
            layers.join(",")
        );
        assert!(text.len() < super::MOST_BYTES);
        let kind = [("Content-Type", MediaType::OCI_MANIFEST)];
        let refused = client.request("PUT", "/v2/a/manifests/1", &kind, text.as_bytes());
        refused.refused(400, "MANIFEST_BLOB_UNKNOWN").error().1
    };
    for (message, named, more) in [
        (put(&mut (0..4000).map(digest)), 10, " and 3990 more: "),
        // Each counts once, however often it is named.
        (put(&mut (0..37_000).map(|n| digest(n % 12))), 10, " and 2 more: "),
        (put(&mut (0..37_000).map(|_| digest(0))), 1, ": push the blobs before the manifest"),
    ] {
        assert_eq!(message.matches("sha256:").count(), named, "{message}");
        assert!(message.contains(more) && message.len() < 2000, "{message}");
    }
}
