//! What clients that are no Debian packages send, replayed byte by byte, with every header of
//! every answer.

use oci::MediaType;
use serde_json::json;
use storage::Role;

use crate::support::content::{Manifest, descriptor, noise, push_blob, sha256};
use crate::support::http::{Response, basic};
use crate::support::server::{ADMINISTRATOR, PASSWORD, Server};

mod wire;

use wire::{Go, Rust, blob_is, created, exactly, manifest_is, refusal, session};

const OC: &str = "oc/4.20.0 (linux/amd64) kubernetes/0d3b9c1";
const SKOPEO: &str = "skopeo/1.20.0";
const CONTAINERD: &str = "containerd/2.1.4+unknown";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const OCTETS: &str = "Content-Type: application/octet-stream";
/// What oc accepts, one header each.
const OC_ACCEPTS: [&str; 4] = [
    "Accept: application/vnd.docker.distribution.manifest.list.v2+json",
    "Accept: application/vnd.oci.image.index.v1+json",
    "Accept: application/vnd.docker.distribution.manifest.v2+json",
    "Accept: application/vnd.oci.image.manifest.v1+json",
];
/// What containers/image accepts, and what it says in every request.
const SKOPEO_ACCEPTS: [&str; 6] = [
    "Accept: application/vnd.oci.image.manifest.v1+json",
    "Accept: application/vnd.docker.distribution.manifest.v2+json",
    "Accept: application/vnd.docker.distribution.manifest.v1+prettyjws",
    "Accept: application/vnd.docker.distribution.manifest.v1+json",
    "Accept: application/vnd.docker.distribution.manifest.list.v2+json",
    "Accept: application/vnd.oci.image.index.v1+json",
];
const SKOPEO_VERSION: &str = "Docker-Distribution-Api-Version: registry/2.0";

#[test]
fn oc_image_mirror() {
    let server = Server::start();
    let mut oc = Go::new(&server, OC);
    let [shared, small, config] = [noise(1, 300_000), noise(2, 900), b"{}".to_vec()];
    let child = |layer: &[u8]| docker_image(&config, layer);
    let children = [child(&shared), child(&small)];
    let entries: Vec<_> = children.iter().map(Manifest::descriptor).collect();
    let list = Manifest::new(MediaType::DOCKER_LIST, json!({ "manifests": entries }));
    push_blob(&server.administrator(), "ns/b", &shared);

    let ping = oc.send("GET", "/v2/", "", &[], b"");
    refusal(&ping, 401, &[("www-authenticate", r#"Basic realm="registry""#)]);
    oc.log_in();
    let of_source = format!("/v2/ns/a/manifests/{}", list.digest());
    let absent = oc.send("GET", &of_source, "", &OC_ACCEPTS, b"");
    refusal(&absent.refused(404, "MANIFEST_UNKNOWN"), 404, &[]);

    // A blob that another repository of this registry holds is mounted.
    let digest = sha256(&shared);
    refusal(&oc.send("HEAD", &format!("/v2/ns/a/blobs/{digest}"), "", &[], b""), 404, &[]);
    let mount = format!("/v2/ns/a/blobs/uploads/?from=ns%2Fb&mount={}", digest.replace(':', "%3A"));
    created(&oc.send("POST", &mount, "Content-Length: 0", &[], b""), "ns/a/blobs", &digest);
    stat(&mut oc, "ns/a", &shared);
    // One that it does not hold gives a session that is used.
    let digest = sha256(&small);
    let mount = mount.replace(&sha256(&shared).replace(':', "%3A"), &digest.replace(':', "%3A"));
    let started = oc.send("POST", &mount, "Content-Length: 0", &[], b"");
    oc_upload(&mut oc, &started, "ns/a", &small, true);
    refusal(
        &oc.send("HEAD", &format!("/v2/ns/a/blobs/{}", sha256(&config)), "", &[], b""),
        404,
        &[],
    );
    let started = oc.send("POST", "/v2/ns/a/blobs/uploads/", "Content-Length: 0", &[], b"");
    oc_upload(&mut oc, &started, "ns/a", &config, false);

    for manifest in &children {
        put(&mut oc, "ns/a", &manifest.digest(), manifest);
    }
    put(&mut oc, "ns/a", "tag", &list);
    // The second run finds it and copies nothing.
    let found = oc.send("GET", &of_source, "", &OC_ACCEPTS, b"");
    manifest_is(&found, &list);
    // The signature, under the tag that is made of the digest.
    let signature = format!("{}.sig", list.digest().replace(':', "-"));
    let absent = oc.send("HEAD", &format!("/v2/ns/a/manifests/{signature}"), "", &OC_ACCEPTS, b"");
    refusal(&absent, 404, &[]);
    let manifest = Manifest::image(&config, &small);
    put(&mut oc, "ns/a", &signature, &manifest);
}

#[test]
fn skopeo_copy_of_an_image_and_oc_mirrors_signature() {
    let server = Server::start();
    let mut skopeo = Go::new(&server, SKOPEO);
    skopeo.common = vec![SKOPEO_VERSION.to_owned()];
    let [layer, config] = [noise(3, 200_000), b"{}".to_vec()];
    let ping = skopeo.send("GET", "/v2/", "", &[], b"");
    refusal(&ping, 401, &[("www-authenticate", r#"Basic realm="registry""#)]);
    skopeo.log_in();
    for blob in [&layer, &config] {
        let digest = sha256(blob);
        let path = format!("/v2/ns/a/blobs/{digest}");
        refusal(&skopeo.send("HEAD", &path, "", &[], b""), 404, &[]);
        // A mount that did not succeed is cancelled, and another session begun.
        let mount =
            format!("/v2/ns/a/blobs/uploads/?from=ns%2Fother&mount={}", digest.replace(':', "%3A"));
        let started = skopeo.send("POST", &mount, "Content-Length: 0", &[], b"");
        let location = session(&started, 202, "ns/a", 0);
        exactly(&skopeo.send("DELETE", &location, "", &[], b""), 204, &[]);
        let started = skopeo.send("POST", "/v2/ns/a/blobs/uploads/", "Content-Length: 0", &[], b"");
        let location = session(&started, 202, "ns/a", 0);
        let length = format!("Content-Length: {}", blob.len());
        let sent = skopeo.send("PATCH", &location, &length, &[OCTETS], blob);
        let location = session(&sent, 202, "ns/a", blob.len());
        let closing = format!("{location}?digest={}", digest.replace(':', "%3A"));
        let closed = skopeo.send("PUT", &closing, "Content-Length: 0", &[OCTETS], b"");
        created(&closed, "ns/a/blobs", &digest);
    }
    let image = Manifest::image(&config, &layer);
    put(&mut skopeo, "ns/a", "tag", &image);

    let signature = format!("/v2/ns/a/manifests/{}.sig", image.digest().replace(':', "-"));
    let absent = skopeo.send("GET", &signature, "", &SKOPEO_ACCEPTS, b"");
    refusal(&absent.refused(404, "MANIFEST_UNKNOWN"), 404, &[]);
    // The same layer twice, as signatures of several keys have it.
    let payload = descriptor("application/vnd.dev.cosign.simplesigning.v1+json", &layer);
    let document = json!({
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [payload, payload],
    });
    let manifest = Manifest::new(MediaType::OCI_MANIFEST, document);
    put(&mut skopeo, "ns/a", signature.rsplit('/').next().expect("a tag"), &manifest);
    manifest_is(&skopeo.send("GET", &signature, "", &SKOPEO_ACCEPTS, b""), &manifest);
}

#[test]
fn skopeo_delete_and_podman_search() {
    let server = Server::start();
    let image = docker_image(b"{}", b"layer");
    for blob in [b"{}".as_slice(), b"layer"] {
        push_blob(&server.administrator(), "ns/a", blob);
    }
    image.put(&server.administrator(), "ns/a", "tag").expect(201);
    let mut podman = Go::new(&server, SKOPEO);
    podman.common = vec![SKOPEO_VERSION.to_owned()];
    // With a term: the first API, which nobody has, and then the catalog.
    let search = podman.send("GET", "/v1/search?n=25&q=a", "", &[], b"");
    refusal(&search, 404, &[]);
    refusal(
        &podman.send("GET", "/v2/", "", &[], b""),
        401,
        &[("www-authenticate", r#"Basic realm="registry""#)],
    );
    podman.log_in();
    let catalog = podman.send("GET", "/v2/_catalog", "", &[], b"");
    let length = r#"{"repositories":["ns/a"]}"#.len().to_string();
    exactly(&catalog, 200, &[("content-length", &length), ("content-type", "application/json")]);
    assert_eq!(catalog.json(), json!({ "repositories": ["ns/a"] }));

    manifest_is(&podman.send("GET", "/v2/ns/a/manifests/tag", "", &SKOPEO_ACCEPTS, b""), &image);
    let path = format!("/v2/ns/a/manifests/{}", image.digest());
    let deleted = podman.send("DELETE", &path, "", &SKOPEO_ACCEPTS, b"");
    exactly(&deleted, 202, &[("content-length", "0")]);
    let gone = podman.send("GET", "/v2/ns/a/manifests/tag", "", &SKOPEO_ACCEPTS, b"");
    refusal(&gone.refused(404, "MANIFEST_UNKNOWN"), 404, &[]);
}

#[test]
fn containerd_and_buildx() {
    let server = Server::start();
    let mut containerd = Go::new(&server, CONTAINERD);
    let [layer, config] = [noise(4, 100_000), b"{}".to_vec()];
    let image = docker_image(&config, &layer);
    let accept = format!("Accept: {}, */*", image.media_type);
    let head = ("HEAD", "/v2/ns/a/manifests/tag");
    let first = containerd.send(head.0, head.1, "", &[&accept], b"");
    refusal(&first, 401, &[("www-authenticate", r#"Basic realm="registry""#)]);
    containerd.log_in();
    refusal(&containerd.send(head.0, head.1, "", &[&accept], b""), 404, &[]);
    for (kind, blob) in [(DOCKER_LAYER, &layer), (DOCKER_CONFIG, &config)] {
        let digest = sha256(blob);
        let (path, accept) = (format!("/v2/ns/a/blobs/{digest}"), format!("Accept: {kind}, */*"));
        refusal(&containerd.send("HEAD", &path, "", &[&accept], b""), 404, &[]);
        let start = ("POST", "/v2/ns/a/blobs/uploads/");
        let started = containerd.send(start.0, start.1, "Content-Length: 0", &[], b"");
        let location = session(&started, 202, "ns/a", 0);
        let closing = format!("{location}?digest={}", digest.replace(':', "%3A"));
        let length = format!("Content-Length: {}", blob.len());
        created(&containerd.send("PUT", &closing, &length, &[OCTETS], blob), "ns/a/blobs", &digest);
    }
    put(&mut containerd, "ns/a", "tag", &image);
}

#[test]
fn regclient_in_chunks() {
    let server = Server::start();
    let mut regclient = Go::new(&server, "regclient/regctl (v0.9.2)");
    regclient.log_in();
    let blob = noise(5, 250_000);
    let started = regclient.send("POST", "/v2/ns/a/blobs/uploads/", "Content-Length: 0", &[], b"");
    let mut location = session(&started, 202, "ns/a", 0);
    let mut end = 0;
    for chunk in blob.chunks(100_000) {
        let range = format!("Content-Range: {end}-{}", end + chunk.len() - 1);
        let length = format!("Content-Length: {}", chunk.len());
        let sent = regclient.send("PATCH", &location, &length, &[&range, OCTETS], chunk);
        // One that it sends again, because the answer got lost, is answered with what is there.
        let again = regclient.send("PATCH", &location, &length, &[&range, OCTETS], chunk);
        end += chunk.len();
        let held = format!("0-{}", end - 1);
        refusal(&again, 416, &[("location", location.as_str()), ("range", &held)]);
        let status = regclient.send("GET", &location, "", &[], b"");
        assert_eq!(session(&status, 204, "ns/a", end), location);
        location = session(&sent, 202, "ns/a", end);
    }
    let digest = sha256(&blob);
    let closing = format!("{location}?digest={}", digest.replace(':', "%3A"));
    let closed = regclient.send("PUT", &closing, "Content-Length: 0", &[OCTETS], b"");
    created(&closed, "ns/a/blobs", &digest);
}

#[test]
fn imagestream_import() {
    let server = Server::start();
    let (image, layers) = mirrored_release(&server, 1);
    let mut importer =
        Go::new(&server, "openshift-apiserver/v0.0.0 (linux/amd64) kubernetes/0d3b9c1");
    refusal(
        &importer.send("GET", "/v2/", "", &[], b""),
        401,
        &[("www-authenticate", r#"Basic realm="registry""#)],
    );
    importer.log_in();
    let path = "/v2/openshift/release/manifests/tag-00";
    manifest_is(&importer.send("GET", path, "", &OC_ACCEPTS, b""), &image);
    let path = format!("/v2/openshift/release/blobs/{}", sha256(b"{}"));
    let config = importer.send("GET", &path, "", &[], b"");
    blob_is(&config, b"{}");
    assert_eq!(config.body, b"{}");
    for layer in layers {
        let path = format!("/v2/openshift/release/blobs/{}", sha256(&layer));
        blob_is(&importer.send("HEAD", &path, "", &[], b""), &layer);
    }
}

#[test]
fn the_update_service() {
    let server = Server::start();
    let (image, layers) = mirrored_release(&server, 45);
    let mut cincinnati = Rust(server.administrator().connect(), server.address().to_string());
    let ping = cincinnati.get("/v2/", &[]);
    refusal(&ping, 401, &[("www-authenticate", r#"Basic realm="registry""#)]);
    assert_eq!(ping.must("docker-distribution-api-version"), "registry/2.0");
    let login = format!("authorization: {}", basic(ADMINISTRATOR, PASSWORD));
    let (mut tags, mut last) = (Vec::new(), String::new());
    for page in 0.. {
        let path = format!("/v2/openshift/release/tags/list?n=20{last}");
        let list = cincinnati.get(&path, &[&login]);
        let length = list.body.len().to_string();
        let mut headers =
            vec![("content-length", length.as_str()), ("content-type", "application/json")];
        let link = list.header("link").map(str::to_owned);
        headers.extend(link.as_deref().map(|link| ("link", link)));
        exactly(&list, 200, &headers);
        let names = list.json()["tags"].as_array().expect("tags").clone();
        assert_eq!(names.len(), [20, 20, 5][page]);
        tags.extend(names.into_iter().map(|name| name.as_str().expect("a tag").to_owned()));
        let Some(link) = link else { break };
        // It cuts the link apart by these literals.
        let uri = link.trim_end_matches(">; rel=\"next\"");
        assert_eq!(
            uri,
            format!("</v2/openshift/release/tags/list?last=tag-{}&n=20", [19, 39][page])
        );
        let query = uri.split_once("last=").expect("the last tag").1;
        last = format!("&last={}", query.trim_end_matches("&n=20"));
    }
    assert_eq!(tags, (0..45).map(|number| format!("tag-{number:02}")).collect::<Vec<_>>());
    let accept = "accept: application/vnd.docker.distribution.manifest.v2+json; q=0.5, \
                  application/vnd.docker.distribution.manifest.v1+prettyjws; q=0.4";
    let path = "/v2/openshift/release/manifests/tag-44";
    manifest_is(&cincinnati.get(path, &[accept, &login]), &image);
    for layer in layers {
        let path = format!("/v2/openshift/release/blobs/{}", sha256(&layer));
        let blob = cincinnati.get(&path, &[&login]);
        blob_is(&blob, &layer);
        assert!(blob.body == layer, "other bytes");
    }
}

/// oc's upload: one chunked PATCH, an empty PUT, a HEAD, and a DELETE for a large one.
#[track_caller]
fn oc_upload(oc: &mut Go, started: &Response, repository: &str, blob: &[u8], is_large: bool) {
    let location = session(started, 202, repository, 0);
    let sent = oc.send("PATCH", &location, "Transfer-Encoding: chunked", &[], blob);
    let location = session(&sent, 202, repository, blob.len());
    let closing = format!("{location}?digest={}", sha256(blob).replace(':', "%3A"));
    let closed = oc.send("PUT", &closing, "Content-Length: 0", &[], b"");
    created(&closed, &format!("{repository}/blobs"), &sha256(blob));
    stat(oc, repository, blob);
    if is_large {
        refusal(&oc.send("DELETE", &location, "", &[], b""), 404, &[]);
    }
}

#[track_caller]
fn stat(client: &mut Go, repository: &str, blob: &[u8]) {
    let path = format!("/v2/{repository}/blobs/{}", sha256(blob));
    blob_is(&client.send("HEAD", &path, "", &[], b""), blob);
}

#[track_caller]
fn put(client: &mut Go, repository: &str, reference: &str, manifest: &Manifest) {
    let path = format!("/v2/{repository}/manifests/{reference}");
    let length = format!("Content-Length: {}", manifest.bytes.len());
    let kind = format!("Content-Type: {}", manifest.media_type);
    let response = client.send("PUT", &path, &length, &[&kind], &manifest.bytes);
    created(&response, &format!("{repository}/manifests"), &manifest.digest());
}

fn docker_image(config: &[u8], layer: &[u8]) -> Manifest {
    let document = json!({
        "config": descriptor(DOCKER_CONFIG, config), "layers": [descriptor(DOCKER_LAYER, layer)],
    });
    Manifest::new(MediaType::DOCKER_MANIFEST, document)
}

/// A release image under so many tags, and its layers.
#[track_caller]
fn mirrored_release(server: &Server, tags: usize) -> (Manifest, Vec<Vec<u8>>) {
    let mirror = server.add_user("mirror", Role::Push);
    let layers = vec![noise(6, 1000), noise(7, 100_000)];
    push_blob(&mirror, "openshift/release", b"{}");
    let descriptors: Vec<_> = layers
        .iter()
        .map(|layer| {
            push_blob(&mirror, "openshift/release", layer);
            descriptor(DOCKER_LAYER, layer)
        })
        .collect();
    let document = json!({ "config": descriptor(DOCKER_CONFIG, b"{}"), "layers": descriptors });
    let image = Manifest::new(MediaType::DOCKER_MANIFEST, document);
    let tags: Vec<String> = (0..tags).map(|number| format!("tag-{number:02}")).collect();
    let reference = format!("{}?tag={}", image.digest(), tags.join("&tag="));
    image.put(&mirror, "openshift/release", &reference).expect(201);
    (image, layers)
}
