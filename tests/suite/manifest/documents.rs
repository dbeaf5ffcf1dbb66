//! Which documents are accepted as manifests, under which types, and with what absent.

use oci::MediaType;
use serde_json::{Value, json};

use super::{served, unknown, with_blobs};
use crate::support::content::{CONFIG, LAYER, Manifest, descriptor, push_blob, push_image, sha256};
use crate::support::server::Server;

#[test]
fn the_content_type_is_kept_without_parameters() {
    let server = Server::start();
    let client = server.administrator();
    let Manifest { media_type, bytes } = with_blobs(&client, "a", b"layer");
    let put = |tag: &str, headers: &[(&str, &str)], bytes: &[u8]| {
        client.request("PUT", &format!("/v2/a/manifests/{tag}"), headers, bytes)
    };
    let with_charset = format!("{media_type}; charset=utf-8");
    put("1", &[("Content-Type", &with_charset)], &bytes).expect(201);
    // The document says what it is.
    put("2", &[], &bytes).expect(201);
    // Or its fields do: oc sends an OCI index without mediaType so.
    let anonymous = json!({ "schemaVersion": 2, "manifests": [] }).to_string();
    put("3", &[("Content-Type", MediaType::OCI_INDEX)], anonymous.as_bytes()).expect(201);
    for (tag, kind) in [("1", media_type.as_str()), ("2", &media_type), ("3", MediaType::OCI_INDEX)]
    {
        // Accept chooses nothing: the bytes behind a name are what they are.
        let accept = [("Accept", MediaType::DOCKER_MANIFEST)];
        let path = format!("/v2/a/manifests/{tag}");
        let response = client.request("GET", &path, &accept, b"").expect(200);
        assert_eq!(response.must("content-type"), kind);
    }
    put("4", &[], b"{}").refused(400, "UNSUPPORTED");
    for kind in [MediaType::OCI_INDEX, MediaType::DOCKER_MANIFEST, "application/json", "x", ""] {
        put("4", &[("Content-Type", kind)], &bytes).refused(400, "UNSUPPORTED");
    }
    unknown(&client, "/v2/a/manifests/4");
}

#[test]
fn an_image_needs_its_blobs() {
    let server = Server::start();
    let client = server.administrator();
    let manifest = Manifest::image(b"config", b"layer");
    push_blob(&client, "elsewhere", b"config");
    push_blob(&client, "elsewhere", b"layer");
    let missing = |blobs: &[&[u8]]| {
        for reference in ["1", &manifest.digest()] {
            let refusal = manifest.put(&client, "a", reference);
            let (_, message) = refusal.refused(400, "MANIFEST_BLOB_UNKNOWN").error();
            for blob in [b"config".as_slice(), b"layer"] {
                assert_eq!(message.contains(&sha256(blob)), blobs.contains(&blob), "{message}");
            }
            unknown(&client, &format!("/v2/a/manifests/{reference}"));
        }
    };
    missing(&[b"config", b"layer"]);
    push_blob(&client, "a", b"config");
    missing(&[b"layer"]);
    push_blob(&client, "a", b"layer");
    manifest.put(&client, "a", "1").expect(201);
}

#[test]
fn an_index_may_be_sparse_nested_mixed_or_empty() {
    let server = Server::start();
    let client = server.administrator();
    let present = push_image(&client, "a", "child", b"layer");
    let absent = Manifest::image(b"not", b"there");
    let sparse = Manifest::index(&[&present, &absent]);
    let nested = Manifest::index(&[&sparse, &absent]);
    let docker = Manifest::new(
        MediaType::DOCKER_LIST,
        json!({ "manifests": [present.descriptor(), sparse.descriptor()] }),
    );
    for (tag, index) in [
        ("sparse", &sparse),
        ("nested", &nested),
        ("docker", &docker),
        ("empty", &Manifest::index(&[])),
    ] {
        index.put(&client, "a", tag).expect(201);
        served(&client, &format!("/v2/a/manifests/{tag}"), index, &index.digest());
    }
    // Deleting a child leaves the index as it is.
    client.delete(&format!("/v2/a/manifests/{}", present.digest())).expect(202);
    served(&client, "/v2/a/manifests/sparse", &sparse, &sparse.digest());
}

#[test]
fn foreign_layers_may_be_absent() {
    let server = Server::start();
    let client = server.administrator();
    push_blob(&client, "a", b"{}");
    let put = |kind: &str, urls: Value| {
        let mut layer = descriptor(kind, b"on another server");
        layer["urls"] = urls;
        let document = json!({ "config": descriptor(CONFIG, b"{}"), "layers": [layer] });
        Manifest::new(MediaType::OCI_MANIFEST, document).put(&client, "a", "1")
    };
    let urls = json!(["https://example.com/layer"]);
    for kind in [
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
    ] {
        put(kind, urls.clone()).expect(201);
        put(kind, json!([])).refused(400, "MANIFEST_BLOB_UNKNOWN");
    }
    put(LAYER, urls).refused(400, "MANIFEST_BLOB_UNKNOWN");
}

#[test]
fn any_artifact_is_accepted() {
    let server = Server::start();
    let client = server.administrator();
    push_blob(&client, "a", b"{}");
    push_blob(&client, "a", b"content");
    let empty = descriptor("application/vnd.oci.empty.v1+json", b"{}");
    let content = descriptor("application/vnd.example.sbom.v3+zstd", b"content");
    for (tag, media_type, document) in [
        (
            "typed",
            MediaType::OCI_MANIFEST,
            json!({
                "artifactType": "application/vnd.example.sbom",
                "config": empty, "layers": [content],
            }),
        ),
        (
            "twice",
            MediaType::OCI_MANIFEST,
            json!({ "config": empty, "layers": [content, content] }),
        ),
        ("bare", MediaType::OCI_MANIFEST, json!({ "config": empty, "layers": [] })),
        (
            "inline",
            MediaType::OCI_MANIFEST,
            json!({
                "config": {
                    "mediaType": CONFIG, "digest": sha256(b"{}"), "size": 2, "data": "e30=",
                },
                "layers": [], "org.example.custom": { "any": ["thing", 1, null] },
            }),
        ),
        ("docker", MediaType::DOCKER_MANIFEST, json!({ "config": empty, "layers": [content] })),
        (
            "old",
            "application/vnd.oci.artifact.manifest.v1+json",
            json!({
                "artifactType": "application/vnd.example", "blobs": [content],
            }),
        ),
        ("own", "application/vnd.example.thing+json", json!({ "anything": true })),
    ] {
        let manifest = Manifest::new(media_type, document);
        manifest.put(&client, "a", tag).expect(201);
        served(&client, &format!("/v2/a/manifests/{tag}"), &manifest, &manifest.digest());
    }
    // What another type names must be there all the same.
    let document = json!({ "blobs": [descriptor("x/y", b"absent")] });
    let manifest = Manifest::new("application/vnd.oci.artifact.manifest.v1+json", document);
    manifest.put(&client, "a", "x").refused(400, "MANIFEST_BLOB_UNKNOWN");
}

#[test]
fn docker_schema_1_is_refused_with_advice() {
    let server = Server::start();
    let client = server.administrator();
    let put = |kind: &str, document: Value| {
        let bytes = document.to_string();
        client.request("PUT", "/v2/a/manifests/1", &[("Content-Type", kind)], bytes.as_bytes())
    };
    let of_version_1 = json!({ "schemaVersion": 1, "name": "a", "fsLayers": [], "history": [] });
    let signed = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    for kind in [signed, "application/vnd.docker.distribution.manifest.v1+json", "application/json"]
    {
        let refusal = put(kind, of_version_1.clone()).refused(400, "MANIFEST_INVALID");
        assert!(refusal.error().1.contains("skopeo copy --format v2s2"), "{refusal:?}");
    }
    put(signed, json!({})).refused(400, "MANIFEST_INVALID");
    put(MediaType::DOCKER_MANIFEST, of_version_1.clone()).refused(400, "MANIFEST_INVALID");
    // Here a client might read something else in it, and push that.
    let mut disguised = of_version_1;
    disguised["layers"] = json!([]);
    put(signed, disguised).refused(400, "UNSUPPORTED");
}

#[test]
fn documents_that_are_no_manifests_are_refused() {
    let server = Server::start();
    let client = server.administrator();
    push_blob(&client, "a", b"{}");
    let config = descriptor(CONFIG, b"{}").to_string();
    let digest = sha256(b"{}");
    let of_layer =
        |layer: &str| format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}]}}"#);
    for (document, code) in [
        (String::new(), "MANIFEST_INVALID"),
        ("{".into(), "MANIFEST_INVALID"),
        // What is JSON, some client might read, and convert if it heard MANIFEST_INVALID.
        ("[]".into(), "UNSUPPORTED"),
        ("null".into(), "UNSUPPORTED"),
        ("{}".into(), "UNSUPPORTED"),
        (r#"{"schemaVersion":2,"config":{}}"#.into(), "UNSUPPORTED"),
        (r#"{"schemaVersion":2,"config":null,"layers":[]}"#.into(), "UNSUPPORTED"),
        (format!(r#"{{"config":{config},"layers":[]}}"#), "UNSUPPORTED"),
        (format!(r#"{{"schemaVersion":"2","config":{config},"layers":[]}}"#), "UNSUPPORTED"),
        // Two readers must not see two documents (CVE-2021-41190).
        (
            format!(r#"{{"schemaVersion":2,"config":{config},"layers":[],"manifests":[]}}"#),
            "UNSUPPORTED",
        ),
        (
            format!(r#"{{"schemaVersion":2,"config":{config},"layers":[],"layers":[]}}"#),
            "UNSUPPORTED",
        ),
        (
            of_layer(&format!(r#"{{"mediaType":"x/y","digest":"{digest}","size":-1}}"#)),
            "UNSUPPORTED",
        ),
        (of_layer(r#"{"mediaType":"x/y","digest":"../x","size":1}"#), "DIGEST_INVALID"),
        (format!(r#"{{"schemaVersion":2,"config":{config},"layers":[]}} x"#), "MANIFEST_INVALID"),
        ("[".repeat(100_000), "MANIFEST_INVALID"),
    ] {
        let kind = [("Content-Type", MediaType::OCI_MANIFEST)];
        let response = client.request("PUT", "/v2/a/manifests/1", &kind, document.as_bytes());
        response.refused(400, code);
    }
    unknown(&client, "/v2/a/manifests/1");
}

#[test]
fn bytes_are_served_as_they_came() {
    let server = Server::start();
    let client = server.administrator();
    push_blob(&client, "a", b"{}");
    let config = descriptor(CONFIG, b"{}");
    let text = format!(
        "{{\n   \"layers\" : [ ],\t\"schemaVersion\":2,\"x\":\"\\u0041é\",\
         \"config\":{config}}}\r\n \n"
    );
    let media_type = MediaType::OCI_MANIFEST.to_owned();
    let manifest = Manifest { media_type, bytes: text.into_bytes() };
    manifest.put(&client, "a", "1").expect(201);
    served(&client, "/v2/a/manifests/1", &manifest, &manifest.digest());
}
