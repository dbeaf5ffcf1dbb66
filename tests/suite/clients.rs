//! podman, skopeo, buildah and curl against the binary, over TLS that each of them verifies.

use std::net::{Ipv6Addr, TcpListener};
use std::process::{Command, Stdio};

use crate::support::binary::{Instance, PASSWORD, USER};
use crate::support::clients::{Curl, Machine, directory};
use crate::support::images::{Family, Image, debian, noise, write_directory};
use crate::support::process::run;
use crate::support::report::skip;

#[test]
fn a_debian_root_file_system_goes_there_and_back() {
    let mut instance = Instance::started();
    let (address, name) = (instance.address(), format!("{}/base/debian:12", instance.address()));
    let here = Machine::new();
    here.trust(&instance, "127.0.0.1");
    here.login(&address, USER, "not the password").fails(125);
    here.login(&address, USER, &instance.password()).ok();
    let archive = debian().to_str().expect("a path in UTF-8");
    let id = here.podman(&["import", "--quiet", archive, &name]).ok();
    here.podman(&["push", "--quiet", &name]).ok();

    let there = Machine::of(&instance);
    assert_eq!(format!("sha256:{}", there.podman(&["pull", "--quiet", &name]).ok()), id);
    instance.stop();
    instance.start();
    let later = Machine::of(&instance);
    assert_eq!(format!("sha256:{}", later.podman(&["pull", "--quiet", &name]).ok()), id);

    let shown = format!("docker://{name}");
    let digest = later.skopeo(&["inspect", "--format", "{{.Digest}}", &shown]).ok();
    let by_digest = format!("{address}/base/debian@{digest}");
    later.podman(&["rmi", "--force", &id]).ok();
    assert_eq!(format!("sha256:{}", later.podman(&["pull", "--quiet", &by_digest]).ok()), id);

    let other = format!("docker://{address}/base/by-buildah:12");
    here.buildah(&["push", "--quiet", &name, &other]).ok();
    let config = later.skopeo(&["inspect", "--raw", &other]).ok();
    assert!(config.contains(&id), "buildah pushed another image: {config}");
}

#[test]
fn what_was_pushed_is_searched_listed_inspected_and_deleted() {
    let instance = Instance::started();
    let (machine, address) = (Machine::of(&instance), instance.address());
    let [kept, deleted] = ["kept", "deleted"].map(|text| {
        let image = Image::new(Family::Oci, "amd64", text.as_bytes());
        push(&machine, &image, &format!("{address}/team/app:{text}"));
        image.manifest.digest()
    });
    push(&machine, &Image::new(Family::Docker, "amd64", b"x"), &format!("{address}/tool:1"));

    let names = machine.podman(&["search", "--format", "{{.Name}}", &format!("{address}/")]).ok();
    assert_eq!(names, format!("{address}/team/app\n{address}/tool"));
    let app = format!("docker://{address}/team/app");
    assert_eq!(tags(&machine, &app), ["deleted", "kept"]);
    let inspect = |tag: &str| {
        machine.skopeo(&["inspect", "--format", "{{.Digest}}", &format!("{app}:{tag}")])
    };
    assert_eq!(inspect("kept").ok(), kept);
    assert_eq!(inspect("deleted").ok(), deleted);
    machine.skopeo(&["delete", &format!("{app}:deleted")]).ok();
    assert_eq!(tags(&machine, &app), ["kept"]);
    inspect("deleted").fails(1);
    machine.skopeo(&["inspect", &format!("{app}@{deleted}")]).fails(1);
    assert_eq!(inspect("kept").ok(), kept);
}

#[test]
fn two_clients_push_the_same_blob_at_once() {
    let instance = Instance::started();
    let machine = Machine::of(&instance);
    let image = Image::new(Family::Oci, "amd64", &noise(1, 8 << 20));
    let source = machine.path("image");
    write_directory(&source, &image.manifest, std::slice::from_ref(&image));
    for round in 0..3 {
        // The same repository, and another one that then holds the blob as well.
        let pushes = ["same", "same", "other"].map(|repository| {
            let target = format!("docker://{}/{repository}{round}:1", instance.address());
            let mut skopeo = machine.command("skopeo");
            skopeo.args(["copy", "--quiet", &directory(&source), &target]);
            skopeo.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("skopeo")
        });
        for push in pushes {
            let output = push.wait_with_output().expect("its output");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        for repository in ["same", "other"] {
            let name = format!("docker://{}/{repository}{round}:1", instance.address());
            let target = directory(&machine.path(&format!("{repository}{round}")));
            // skopeo checks every digest of what it copies.
            machine.skopeo(&["copy", "--quiet", &name, &target]).ok();
        }
    }
}

#[test]
fn open_pulls_need_no_login_and_everything_else_does() {
    let mut instance = Instance::new().with_flags(&["--open-pulls"]);
    instance.start();
    let image = Image::new(Family::Oci, "amd64", b"open");
    let name = format!("{}/open/image:1", instance.address());
    push(&Machine::of(&instance), &image, &name);

    let nobody = Machine::new();
    nobody.trust(&instance, "127.0.0.1");
    nobody.podman(&["pull", "--quiet", &name]).ok();
    nobody.skopeo(&["inspect", &format!("docker://{name}")]).ok();
    let refused = nobody.podman(&["push", &name, &format!("{name}-again")]).fails(125);
    assert!(refused.contains("unauthorized: "), "{refused}");
    // oc and docker send their login only to a registry that asks at the first request.
    let error = Curl::without_login(&instance).request("GET", "/v2/").expect(401).error();
    assert_eq!(error.0, "UNAUTHORIZED");
}

#[test]
fn roles_reach_as_far_as_they_say() {
    let instance = Instance::started();
    let name = format!("docker://{}/roles/image:1", instance.address());
    instance.add_user("reader", "pull");
    instance.add_user("writer", "push");
    let [reader, writer] = ["reader", "writer"].map(|user| {
        let machine = Machine::new();
        machine.trust(&instance, "127.0.0.1");
        machine.login(&instance.address(), user, PASSWORD).ok();
        machine
    });
    push(&writer, &Image::new(Family::Oci, "amd64", b"x"), name.trim_start_matches("docker://"));
    reader.skopeo(&["inspect", &name]).ok();
    let copied = directory(&reader.path("copy"));
    reader.skopeo(&["copy", "--quiet", &name, &copied]).ok();
    let refused = reader.skopeo(&["copy", &copied, &name.replace("image", "other")]).fails(1);
    assert!(refused.contains("may not push"), "{refused}");
    let refused = writer.skopeo(&["delete", &name]).fails(1);
    assert!(refused.contains("may not delete"), "{refused}");
    Machine::of(&instance).skopeo(&["delete", &name]).ok();
}

#[test]
fn every_client_accepts_the_chain_under_every_name() {
    let has_ipv6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    let mut instance = Instance::new().listening_on(if has_ipv6 { "[::]" } else { "0.0.0.0" });
    instance.start();
    let (machine, port) = (Machine::new(), instance.port());
    for host in ["127.0.0.1", "localhost", "[::1]"] {
        if host == "[::1]" && !has_ipv6 {
            skip("this machine has no IPv6");
            continue;
        }
        let address = format!("{host}:{port}");
        Curl::of(&instance).reaching(host, port).request("GET", "/v2/").expect(200);
        // Without the CA there is no connection, so the test would notice if nobody looked.
        let stranger = machine.login(&address, USER, &instance.password()).fails(125);
        assert!(stranger.contains("certificate signed by unknown authority"), "{stranger}");
        machine.trust(&instance, host);
        machine.login(&address, USER, &instance.password()).ok();
        // Debian's skopeo and podman know no image names that begin with an IPv6 address.
        if host != "[::1]" {
            let name = format!("{address}/a:1");
            push(&machine, &Image::new(Family::Oci, "amd64", b"x"), &name);
            machine.skopeo(&["inspect", &format!("docker://{name}")]).ok();
        }
    }
    // A Go program with nothing but the system's store of CAs.
    let other = Machine::new();
    let mut skopeo = other.command("skopeo");
    let login = format!("{USER}:{}", instance.password());
    skopeo.env("SSL_CERT_FILE", instance.ca()).env("SSL_CERT_DIR", "/nonexistent");
    skopeo.args(["list-tags", "--creds", &login, &format!("docker://localhost:{port}/a")]);
    run(&mut skopeo).ok();
    let (ca, address) = (instance.ca(), format!("localhost:{port}"));
    let mut openssl = Command::new("openssl");
    openssl.args(["s_client", "-verify_return_error", "-verify_hostname", "localhost", "-CAfile"]);
    openssl.arg(ca).args(["-connect", &address]);
    let seen = run(&mut openssl).ok();
    assert!(seen.contains("Verify return code: 0 (ok)"), "{seen}");
}

fn push(machine: &Machine, image: &Image, name: &str) {
    let source = machine.path(&image.manifest.digest().replace(':', "-"));
    write_directory(&source, &image.manifest, std::slice::from_ref(image));
    machine.skopeo(&["copy", "--quiet", &directory(&source), &format!("docker://{name}")]).ok();
}

fn tags(machine: &Machine, repository: &str) -> Vec<String> {
    let listed = machine.skopeo(&["list-tags", repository]).ok();
    let document: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    serde_json::from_value(document["Tags"].clone()).expect("tags")
}
