//! Manifests: under what they are found, how large they may be, and what goes when one is
//! deleted.

use oci::MediaType;
use serde_json::{Value, json};

use crate::support::content::{
    CONFIG, LAYER, Manifest, descriptor, noise, push_blob, push_image, sha256, sha512,
};
use crate::support::http::{Client, Response};
use crate::support::server::Server;

mod documents;
mod refusals;
mod sizes;
mod types;

/// The most bytes of a manifest, where clients stop too.
const MOST_BYTES: usize = 4 * 1024 * 1024;

#[test]
fn a_manifest_names_so_many_others_and_no_more() {
    let server = Server::start();
    let client = server.administrator();
    let index = |count: usize| {
        let child = |number: usize| descriptor(MediaType::OCI_MANIFEST, &number.to_le_bytes());
        let children: Vec<Value> = (0..count).map(child).collect();
        Manifest::new(MediaType::OCI_INDEX, json!({ "manifests": children }))
    };
    index(MOST_NAMED).put(&client, "a", "most").expect(201);
    // UNSUPPORTED: after MANIFEST_INVALID clients would push the image as another type.
    let refused = index(MOST_NAMED + 1).put(&client, "a", "more").refused(400, "UNSUPPORTED");
    assert!(refused.error().1.contains("4096"), "{refused:?}");
    client.get("/v2/a/manifests/more").expect(404);
}

/// The most digests that one manifest may name.
const MOST_NAMED: usize = 4096;

#[test]
fn a_manifest_is_found_by_tag_and_by_digest() {
    let server = Server::start();
    let client = server.administrator();
    let manifest = with_blobs(&client, "a/b", b"layer");
    let digest = manifest.digest();
    for reference in ["Latest_1.0-x", &digest, &digest] {
        let response = manifest.put(&client, "a/b", reference).expect(201);
        assert_eq!(response.must("docker-content-digest"), digest);
        assert_eq!(response.location(), format!("/v2/a/b/manifests/{digest}"));
        assert!(response.all("oci-tag").is_empty() && response.header("oci-subject").is_none());
    }
    for reference in ["Latest_1.0-x", &digest] {
        served(&client, &format!("/v2/a/b/manifests/{reference}"), &manifest, &digest);
    }
    for absent in ["2", "latest_1.0-x", &sha256(b""), &sha512(&manifest.bytes)] {
        unknown(&client, &format!("/v2/a/b/manifests/{absent}"));
        unknown(&client, &format!("/v2/a/c/manifests/{absent}"));
    }
}

#[test]
fn a_tag_moves() {
    let server = Server::start();
    let client = server.administrator();
    let first = push_image(&client, "a", "1", b"first");
    let second = push_image(&client, "a", "1", b"second");
    served(&client, "/v2/a/manifests/1", &second, &second.digest());
    served(&client, &format!("/v2/a/manifests/{}", first.digest()), &first, &first.digest());
}

#[test]
fn a_manifest_by_sha512_is_another_name_for_the_same_bytes() {
    let server = Server::start();
    let client = server.administrator();
    let manifest = with_blobs(&client, "a", b"layer");
    let digest = sha512(&manifest.bytes);
    let response = manifest.put(&client, "a", &format!("{digest}?tag=long")).expect(201);
    assert_eq!(response.must("docker-content-digest"), digest);
    assert_eq!(response.location(), format!("/v2/a/manifests/{digest}"));
    served(&client, &format!("/v2/a/manifests/{digest}"), &manifest, &digest);
    served(&client, "/v2/a/manifests/long", &manifest, &digest);
    // Its blobs may be named by sha512, too.
    let config = descriptor(CONFIG, b"{}");
    let blob = format!("/v2/a/blobs/uploads/?digest={}", sha512(b"layer"));
    client.request("POST", &blob, &[], b"layer").expect(201);
    let layer = json!({ "mediaType": LAYER, "digest": sha512(b"layer"), "size": 5 });
    let document = json!({ "config": config, "layers": [layer] });
    Manifest::new(MediaType::OCI_MANIFEST, document).put(&client, "a", "mixed").expect(201);
}

#[test]
fn one_push_sets_many_tags() {
    let server = Server::start();
    let client = server.administrator();
    let manifest = with_blobs(&client, "a", b"layer");
    let digest = manifest.digest();
    let tags: Vec<String> = (0..100).map(|number| format!("tag-{number:03}")).collect();
    let query = |tags: &[String]| format!("?tag={}", tags.join("&tag="));
    let response = manifest.put(&client, "a", &format!("{digest}{}", query(&tags))).expect(201);
    assert_eq!(response.all("oci-tag"), tags);
    for tag in &tags {
        assert_eq!(
            client
                .head(&format!("/v2/a/manifests/{tag}"))
                .expect(200)
                .must("docker-content-digest"),
            digest
        );
    }
    let more: Vec<String> = (0..101).map(|number| format!("more-{number}")).collect();
    let refusal = manifest.put(&client, "a", &format!("{digest}{}", query(&more)));
    refusal.refused(414, "SIZE_INVALID");
    unknown(&client, "/v2/a/manifests/more-0");
    let bad = manifest.put(&client, "a", &format!("{digest}?tag=good&tag=b%20d"));
    bad.refused(400, "TAG_INVALID");
    unknown(&client, "/v2/a/manifests/good");
}

#[test]
fn the_answer_names_the_subject() {
    let server = Server::start();
    let client = server.administrator();
    let absent = Manifest::image(b"never", b"pushed");
    for body in [
        with_blobs_and(&client, "a", b"layer", &json!({ "subject": absent.descriptor() })),
        Manifest::new(
            MediaType::OCI_INDEX,
            json!({ "manifests": [], "subject": absent.descriptor() }),
        ),
    ] {
        let response = body.put(&client, "a", &body.digest()).expect(201);
        assert_eq!(response.must("oci-subject"), absent.digest());
        // A manifest that refers to one that is not there is served like any other.
        served(&client, &format!("/v2/a/manifests/{}", body.digest()), &body, &body.digest());
    }
}

#[test]
fn bytes_that_are_not_the_digest_are_refused() {
    let server = Server::start();
    let client = server.administrator();
    let manifest = with_blobs(&client, "a", b"layer");
    for digest in [sha256(b"other"), sha512(b"other")] {
        let refusal = manifest.put(&client, "a", &digest).refused(400, "DIGEST_INVALID");
        assert!(refusal.error().1.contains(&digest), "{refusal:?}");
        unknown(&client, &format!("/v2/a/manifests/{digest}"));
    }
    for malformed in ["sha256:abc", "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:"] {
        manifest.put(&client, "a", malformed).refused(400, "DIGEST_INVALID");
        client.get(&format!("/v2/a/manifests/{malformed}")).refused(400, "DIGEST_INVALID");
    }
}

#[test]
fn a_manifest_has_at_most_4_mib() {
    let server = Server::start();
    let client = server.administrator();
    let padded = |bytes: usize| {
        let empty = with_blobs_and(&client, "a", b"layer", &json!({ "padding": "" }));
        let padding = "x".repeat(bytes - empty.bytes.len());
        with_blobs_and(&client, "a", b"layer", &json!({ "padding": padding }))
    };
    let put_chunked = |manifest: &Manifest, tag: &str| {
        let kind = [("Content-Type", manifest.media_type.as_str())];
        let path = format!("/v2/a/manifests/{tag}");
        client.stream("PUT", &path, &kind, manifest.bytes.chunks(1 << 20))
    };
    let largest = padded(MOST_BYTES);
    assert_eq!(largest.bytes.len(), MOST_BYTES);
    largest.put(&client, "a", "length").expect(201);
    put_chunked(&largest, "chunked").expect(201);
    for tag in ["length", "chunked"] {
        assert!(client.get(&format!("/v2/a/manifests/{tag}")).expect(200).body == largest.bytes);
    }
    let larger = padded(MOST_BYTES + 1);
    for response in [larger.put(&client, "a", "x"), put_chunked(&larger, "x")] {
        let refusal = response.refused(413, "SIZE_INVALID");
        assert!(refusal.error().1.contains("4194304"), "{refusal:?}");
    }
    unknown(&client, "/v2/a/manifests/x");
}

#[test]
fn deleting_a_tag_leaves_the_manifest() {
    let server = Server::start();
    let client = server.administrator();
    let manifest = push_image(&client, "a", "1", b"layer");
    manifest.put(&client, "a", "2").expect(201);
    client.delete("/v2/a/manifests/1").expect(202);
    unknown(&client, "/v2/a/manifests/1");
    client.delete("/v2/a/manifests/1").refused(404, "MANIFEST_UNKNOWN");
    served(&client, "/v2/a/manifests/2", &manifest, &manifest.digest());
    client.delete("/v2/a/manifests/2").expect(202);
    // Without any tag it is still there: digest-only pushes are normal.
    served(
        &client,
        &format!("/v2/a/manifests/{}", manifest.digest()),
        &manifest,
        &manifest.digest(),
    );
    assert_eq!(client.get("/v2/a/tags/list").expect(200).json()["tags"], json!([]));
}

#[test]
fn deleting_a_manifest_takes_its_tags_in_this_repository() {
    let server = Server::start();
    let client = server.administrator();
    let manifest = push_image(&client, "a", "1", b"layer");
    manifest.put(&client, "a", "2").expect(201);
    push_image(&client, "b", "1", b"layer");
    let other = push_image(&client, "a", "3", b"other");
    let path = format!("/v2/a/manifests/{}", manifest.digest());
    client.delete(&path).expect(202);
    for gone in [&path, "/v2/a/manifests/1", "/v2/a/manifests/2"] {
        unknown(&client, gone);
    }
    client.delete(&path).refused(404, "MANIFEST_UNKNOWN");
    assert_eq!(client.get("/v2/a/tags/list").expect(200).json()["tags"], json!(["3"]));
    served(&client, "/v2/a/manifests/3", &other, &other.digest());
    served(&client, "/v2/b/manifests/1", &manifest, &manifest.digest());
    manifest.put(&client, "a", "1").expect(201);
    served(&client, "/v2/a/manifests/1", &manifest, &manifest.digest());
}

#[test]
fn a_manifest_and_the_deletion_of_its_blob_exclude_each_other() {
    let server = Server::start();
    let client = server.administrator();
    push_blob(&client, "a", b"{}");
    for round in 0..20 {
        let layer = noise(round, 100);
        let path = format!("/v2/a/blobs/{}", push_blob(&client, "a", &layer));
        let manifest = Manifest::image(b"{}", &layer);
        let tag = format!("round-{round}");
        let (deleted, put) = std::thread::scope(|scope| {
            let delete = scope.spawn(|| client.delete(&path).status);
            let put = manifest.put(&client, "a", &tag).status;
            (delete.join().expect("an answer"), put)
        });
        match (deleted, put) {
            (405, 201) => client.get(&path).expect(200),
            (202, 400) => client.get(&format!("/v2/a/manifests/{tag}")).expect(404),
            both => panic!("delete and put were answered {both:?}"),
        };
    }
}

#[test]
fn a_manifest_with_large_fields_is_served() {
    let server = Server::start();
    let client = server.administrator();
    // A few thousand layers, as lists of files that are images have.
    push_blob(&client, "a", b"{}");
    let layers: Vec<Value> = (0..2000)
        .map(|number| {
            let mut layer = descriptor(
                "application/vnd.oci.image.layer.nondistributable.v1.tar",
                &noise(number, 8),
            );
            layer["urls"] = json!([format!("https://example.com/{number}")]);
            layer
        })
        .collect();
    let document = json!({ "config": descriptor(CONFIG, b"{}"), "layers": layers });
    let manifest = Manifest::new(MediaType::OCI_MANIFEST, document);
    manifest.put(&client, "a", "many").expect(201);
    served(&client, "/v2/a/manifests/many", &manifest, &manifest.digest());
}

/// Pushes the blobs of an image, not the image.
#[track_caller]
pub(super) fn with_blobs(client: &Client, repository: &str, layer: &[u8]) -> Manifest {
    with_blobs_and(client, repository, layer, &json!({}))
}

#[track_caller]
fn with_blobs_and(client: &Client, repository: &str, layer: &[u8], more: &Value) -> Manifest {
    push_blob(client, repository, b"{}");
    push_blob(client, repository, layer);
    Manifest::image_with(b"{}", layer, more)
}

/// Checks that a path serves these bytes, and that HEAD is GET without them.
#[track_caller]
pub(super) fn served(client: &Client, path: &str, manifest: &Manifest, digest: &str) {
    let get = client.get(path).expect(200);
    assert!(get.body == manifest.bytes, "other bytes: {path}");
    let head = client.head(path).expect(200);
    let headers = |response: &Response| {
        let mut headers = response.headers.clone();
        headers.retain(|(name, _)| name != "date");
        headers
    };
    assert_eq!(headers(&get), headers(&head));
    assert_eq!(head.must("content-type"), manifest.media_type);
    assert_eq!(head.must("content-length"), manifest.bytes.len().to_string());
    assert_eq!(head.must("docker-content-digest"), digest);
}

#[track_caller]
pub(super) fn unknown(client: &Client, path: &str) {
    // oc-mirror's dry run looks for "manifest unknown", which clients make of the code.
    client.get(path).refused(404, "MANIFEST_UNKNOWN");
    client.head(path).expect(404);
}
