//! Mirroring: lists of images, of both families and mixed, keep every byte on the way from
//! docker-registry into ours.

use crate::support::binary::Instance;
use crate::support::clients::{Curl, Machine, directory};
use crate::support::images::{Family, Image, Manifest, sha256, write_directory};
use crate::support::peer::Peer;

const PLATFORMS: [&str; 4] = ["amd64", "arm64", "ppc64le", "s390x"];

#[test]
fn a_mirrored_list_keeps_every_digest() {
    let instance = Instance::started();
    let (machine, peer) = (Machine::of(&instance), Peer::start());
    machine.allow_plain_http(&peer.address());
    // Docker lists may hold OCI images, and the other way round.
    for (number, (of_list, of_images)) in [
        (Family::Docker, Family::Docker),
        (Family::Oci, Family::Oci),
        (Family::Docker, Family::Oci),
        (Family::Oci, Family::Docker),
    ]
    .into_iter()
    .enumerate()
    {
        let images = Image::of_platforms(of_images, &PLATFORMS);
        let children: Vec<&Manifest> = images.iter().map(|image| &image.manifest).collect();
        let list = Manifest::list(of_list, &children);
        let path = machine.path(&format!("list{number}"));
        write_directory(&path, &list, &images);
        let from = format!("docker://{}/source/list{number}", peer.address());
        let to = format!("docker://{}/mirror/list{number}", instance.address());
        copy_all(&machine, &directory(&path), &format!("{from}:1"));
        copy_all(&machine, &format!("{from}:1"), &format!("{to}:1"));

        assert_eq!(raw(&machine, &format!("{to}:1")), list.bytes);
        for image in &images {
            let child = format!("{to}@{}", image.manifest.digest());
            assert_eq!(raw(&machine, &child), image.manifest.bytes);
        }
        // What a cluster of another architecture pulls.
        let pulled = format!("{}/mirror/list{number}:1", instance.address());
        let arguments = ["pull", "--quiet", "--platform", "linux/s390x", &pulled];
        let id = machine.podman(&arguments).ok();
        assert_eq!(format!("sha256:{id}"), sha256(&images[3].config));
    }
}

#[test]
fn an_index_with_absent_children_is_accepted() {
    let instance = Instance::started();
    let (machine, peer) = (Machine::of(&instance), Peer::start());
    machine.allow_plain_http(&peer.address());
    let images = Image::of_platforms(Family::Oci, &PLATFORMS);
    let children: Vec<&Manifest> = images.iter().map(|image| &image.manifest).collect();
    let list = Manifest::list(Family::Oci, &children);
    write_directory(&machine.path("list"), &list, &images);
    let from = format!("docker://{}/source/list:1", peer.address());
    let to = format!("docker://{}/mirror/sparse", instance.address());
    copy_all(&machine, &directory(&machine.path("list")), &from);

    machine.skopeo(&["copy", "--quiet", "--multi-arch", "index-only", &from, &to]).ok();
    assert_eq!(raw(&machine, &to), list.bytes);
    machine.skopeo(&["inspect", "--raw", &format!("{to}@{}", children[0].digest())]).fails(1);
    // The child that comes later is found through the list.
    let child = format!("{to}:amd64");
    machine.skopeo(&["copy", "--quiet", "--override-arch", "amd64", &from, &child]).ok();
    assert_eq!(raw(&machine, &format!("{to}@{}", children[0].digest())), children[0].bytes);
}

#[test]
fn an_index_of_indexes_is_stored_and_served() {
    let instance = Instance::started();
    let (machine, curl) = (Machine::of(&instance), Curl::of(&instance));
    let images = Image::of_platforms(Family::Oci, &PLATFORMS[..2]);
    let children: Vec<&Manifest> = images.iter().map(|image| &image.manifest).collect();
    let inner = Manifest::list(Family::Oci, &children);
    let outer = Manifest::list(Family::Oci, &[&inner, children[0]]);
    write_directory(&machine.path("list"), &inner, &images);
    let name = format!("docker://{}/nested:inner", instance.address());
    copy_all(&machine, &directory(&machine.path("list")), &name);
    let path = "/v2/nested/manifests/outer";
    let answer = curl.send("PUT", path, outer.media_type, &outer.bytes).expect(201);
    assert_eq!(answer.digest, outer.digest());
    assert_eq!(curl.request("GET", path).expect(200).body, outer.bytes);
}

#[test]
fn an_image_without_its_layer_is_refused() {
    let instance = Instance::started();
    let curl = Curl::of(&instance);
    let image = Image::new(Family::Oci, "amd64", b"incomplete");
    let path = format!("/v2/holes/blobs/uploads/?digest={}", sha256(&image.config));
    curl.send("POST", &path, "application/octet-stream", &image.config).expect(201);
    let put = || {
        let manifest = &image.manifest;
        curl.send("PUT", "/v2/holes/manifests/1", manifest.media_type, &manifest.bytes)
    };
    let (code, message) = put().expect(400).error();
    assert_eq!(code, "MANIFEST_BLOB_UNKNOWN");
    assert!(message.contains(&sha256(&image.layer)), "{message}");
    assert!(!message.contains(&sha256(&image.config)), "{message}");
    curl.request("GET", "/v2/holes/manifests/1").expect(404);
    curl.request("GET", &format!("/v2/holes/manifests/{}", image.manifest.digest())).expect(404);
    // With its layer it is accepted.
    let path = format!("/v2/holes/blobs/uploads/?digest={}", sha256(&image.layer));
    curl.send("POST", &path, "application/octet-stream", &image.layer).expect(201);
    put().expect(201);
}

#[test]
fn ten_path_components_work() {
    let instance = Instance::started();
    let machine = Machine::of(&instance);
    let image = Image::new(Family::Docker, "amd64", b"deep");
    write_directory(&machine.path("image"), &image.manifest, std::slice::from_ref(&image));
    let name = format!("{}/a/b/c/d/e/f/g/h/i/j", instance.address());
    copy_all(&machine, &directory(&machine.path("image")), &format!("docker://{name}:1"));
    machine.podman(&["pull", "--quiet", &format!("{name}:1")]).ok();
    let search = format!("{}/", instance.address());
    assert_eq!(machine.podman(&["search", "--format", "{{.Name}}", &search]).ok(), name);
}

fn copy_all(machine: &Machine, from: &str, to: &str) {
    machine.skopeo(&["copy", "--quiet", "--all", from, to]).ok();
}

fn raw(machine: &Machine, name: &str) -> Vec<u8> {
    machine.skopeo(&["inspect", "--raw", name]).ok().into_bytes()
}
