//! The history of tags, restoring what they named, and protecting them: with real clients, and
//! over HTTP.

use std::collections::BTreeSet;

use oci::Tag;
use registry_server::command::tag::{ProtectTag, Protection};
use serde_json::Value;
use storage::{OnHeld, OpenOptions, Store};

use crate::support::binary::{Instance, PASSWORD};
use crate::support::clients::{Machine, directory};
use crate::support::content::{Manifest, push_blob, push_image};
use crate::support::images::{self, Family, Image, write_directory};
use crate::support::server::Server;

/// Pushes one image, or a list with all its images, with skopeo.
pub(crate) fn push(machine: &Machine, top: &images::Manifest, images: &[Image], name: &str) {
    let source = machine.path(&top.digest().replace(':', "-"));
    write_directory(&source, top, images);
    let target = format!("docker://{name}");
    machine.skopeo(&["copy", "--all", "--quiet", &directory(&source), &target]).ok();
}

#[test]
fn what_skopeo_deleted_comes_back_with_one_command() {
    let mut instance = Instance::started();
    let (machine, name) = (Machine::of(&instance), format!("{}/team/app", instance.address()));
    let images = Image::of_platforms(Family::Oci, &["amd64", "arm64"]);
    let [amd64, arm64] = [&images[0].manifest, &images[1].manifest];
    let list = images::Manifest::list(Family::Oci, &[amd64, arm64]);
    for tag in ["1", "latest"] {
        push(&machine, &list, &images, &format!("{name}:{tag}"));
    }
    let shown = format!("docker://{name}:1");
    machine.skopeo(&["delete", &shown]).ok();
    for digest in [amd64.digest(), arm64.digest()] {
        machine.skopeo(&["delete", &format!("docker://{name}@{digest}")]).ok();
    }
    machine.podman(&["pull", "--quiet", &format!("{name}:1")]).fails(125);

    // Pasted with the name of the registry before it, as people do.
    let pasted = format!("{name}:1");
    let told = instance.command(&["tag", "restore"], &[&pasted]).ok();
    let digest = list.digest();
    let expected = format!(
        "team/app:1 named nothing\nnow it names {digest}\n3 manifests that were deleted are back\n\
         team/app:latest went with it, and comes back with: registry tag restore team/app:latest\n\
         to take this back: registry tag restore team/app:1"
    );
    assert_eq!(told, expected);
    machine.podman(&["pull", "--quiet", &format!("{name}:1")]).ok();
    // skopeo checks every digest of what it copies.
    let copy = directory(&machine.path("copy"));
    machine.skopeo(&["copy", "--all", "--quiet", &shown, &copy]).ok();
    let inspected = instance.command(&["inspect"], &["team/app:1"]).ok();
    assert!(inspected.ends_with("complete"), "{inspected}");

    // Doing it twice takes it back, and a restart changes nothing of that.
    instance.stop();
    let told = instance.command(&["tag", "restore"], &["team/app:1", "--json"]).ok();
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((&told["from"], &told["to"]), (&Value::from(digest), &Value::Null));
    instance.start();
    machine.podman(&["pull", "--quiet", &format!("{name}:1")]).fails(125);
    for tag in ["1", "latest"] {
        instance.command(&["tag", "restore"], &[&format!("team/app:{tag}")]).ok();
        machine.podman(&["pull", "--quiet", &format!("{name}:{tag}")]).ok();
    }
}

#[test]
fn a_protected_tag_refuses_every_client_with_the_same_sentence() {
    let mut instance = Instance::started();
    let (machine, name) = (Machine::of(&instance), format!("{}/stable", instance.address()));
    let images = Image::of_platforms(Family::Oci, &["amd64", "arm64"]);
    let list = images::Manifest::list(Family::Oci, &[&images[0].manifest, &images[1].manifest]);
    push(&machine, &list, &images, &format!("{name}:1"));
    push(&machine, &images[0].manifest, &images[..1], &format!("{name}:other"));
    instance.command(&["tag", "protect"], &["stable:absent"]).fails(1);
    let told = instance.command(&["tag", "protect"], &["stable:1"]).ok();
    assert!(told.starts_with("stable:1 is protected now: "), "{told}");
    let listed = instance.command(&["ls"], &["stable"]).ok();
    let expected =
        format!("{}  1  protected\n{}  other", list.digest(), images[0].manifest.digest());
    assert_eq!(listed, expected);
    let listed: Value =
        serde_json::from_str(&instance.command(&["ls"], &["stable", "--json"]).ok()).expect("JSON");
    assert_eq!((&listed[0]["protected"], &listed[1]["protected"]), (&true.into(), &false.into()));

    let sentence = "the tag stable:1 is protected, and with it all that it names: on the \
                    registry's host, `registry tag unprotect stable:1` ends that";
    machine.podman(&["pull", "--quiet", &format!("{name}:other")]).ok();
    let (other, own) = (format!("{name}:other"), format!("{name}:1"));
    let refused = machine.podman(&["push", &other, &own]).fails(125);
    assert!(refused.contains(&format!("denied: {sentence}")), "{refused}");
    // The list, and an image that it lists, by digest as skopeo and oc-mirror delete.
    let refused = machine.skopeo(&["delete", &format!("docker://{own}")]).fails(1);
    assert!(refused.contains(sentence), "{refused}");
    let refused = machine.skopeo(&["delete", &format!("docker://{other}")]).fails(1);
    assert!(refused.contains(sentence), "{refused}");
    let child = format!("stable@{}", images[1].manifest.digest());
    let commands: [(&[&str], &[&str]); 6] = [
        (&["rm"], &["stable:1"]),
        (&["rm"], &["stable:1", "--dry-run"]),
        (&["rm"], &[&child]),
        (&["rm"], &["stable", "--all"]),
        (&["tag", "restore"], &["stable:1"]),
        (&["tag", "restore"], &["stable:1", "--to", &images[0].manifest.digest()]),
    ];
    for (words, rest) in commands {
        assert_eq!(instance.command(words, rest).fails(1), format!("registry: {sentence}\n"));
    }
    // The same image again is no change.
    push(&machine, &list, &images, &own);
    instance.stop();
    assert_eq!(
        instance.command(&["rm"], &["stable:1"]).fails(1),
        format!("registry: {sentence}\n")
    );
    instance.start();
    instance.command(&["tag", "unprotect"], &["stable:1"]).ok();
    machine.podman(&["push", &other, &own]).ok();
    machine.skopeo(&["delete", &format!("docker://{own}")]).ok();
}

#[test]
fn protection_is_told_with_a_code_that_makes_no_client_convert() {
    let server = Server::start();
    let client = server.administrator();
    let manifest = push_image(&client, "a", "1", b"one");
    push_image(&client, "a", "2", b"two");
    protect(&server, "a:1");
    let other = Manifest::image(b"{}", b"two");
    other.put(&client, "a", "1").refused(403, "DENIED");
    // Neither a digest with tags nor a tag with more of them is a way around it.
    let path = format!("/v2/a/manifests/{}?tag=3&tag=1", other.digest());
    let kind = [("Content-Type", other.media_type.as_str())];
    client.request("PUT", &path, &kind, &other.bytes).refused(403, "DENIED");
    client.get("/v2/a/manifests/3").expect(404);
    let digest = manifest.digest();
    for reference in ["1", digest.as_str()] {
        client.delete(&format!("/v2/a/manifests/{reference}")).refused(403, "DENIED");
        client.get(&format!("/v2/a/manifests/{reference}")).expect(200);
    }
    manifest.put(&client, "a", "1").expect(201);
    // Another repository's tag of this name is another tag.
    push_blob(&client, "b", b"{}");
    push_blob(&client, "b", b"two");
    other.put(&client, "b", "1").expect(201);
    client.delete("/v2/b/manifests/1").expect(202);
    client.delete("/v2/a/manifests/2").expect(202);
}

#[test]
fn history_tells_who_changed_what_and_when() {
    let instance = Instance::started();
    instance.add_user("robot", "push");
    let robot = Machine::new();
    robot.trust(&instance, "127.0.0.1");
    robot.login(&instance.address(), "robot", PASSWORD).ok();
    let name = format!("{}/app", instance.address());
    let [one, two] = ["one", "two"].map(|text| Image::new(Family::Oci, "amd64", text.as_bytes()));
    push(&robot, &one.manifest, std::slice::from_ref(&one), &format!("{name}:1"));
    push(&robot, &two.manifest, std::slice::from_ref(&two), &format!("{name}:1"));
    Machine::of(&instance).skopeo(&["delete", &format!("docker://{name}:1")]).ok();
    instance.command(&["tag", "restore"], &["app:1", "--to", &one.manifest.digest()]).ok();
    let [one, two] = [one, two].map(|image| image.manifest.digest());
    let expected = [
        ("nothing", one.as_str(), "a command on the host"),
        (two.as_str(), "nothing", "init"),
        (one.as_str(), two.as_str(), "robot"),
        ("nothing", one.as_str(), "robot"),
    ];
    for image in ["app", "app:1"] {
        let told = instance.command(&["tag", "history"], &[image]).ok();
        let lines: Vec<_> = told.lines().filter_map(|line| line.split_once("Z  ")).collect();
        // Which person that is depends on who runs the tests.
        let told = |rest: &str| rest.split_once(" (").map_or(rest, |(it, _)| it).to_owned();
        let lines: Vec<_> = lines.into_iter().map(|(_, rest)| told(rest)).collect();
        let line = |(from, to, by): &(&str, &str, &str)| format!("app:1  {from} -> {to}  by {by}");
        assert_eq!(lines, expected.iter().map(line).collect::<Vec<_>>());
    }
    let json = instance.command(&["tag", "history"], &["app:1", "--json"]).ok();
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&json[1]["by"], &json[1]["to"]), (&"init".into(), &Value::Null));
    // The time of a change is one to go back before.
    let first = json[3]["when"].as_str().expect("a time");
    let refused = instance.command(&["tag", "restore"], &["app:1", "--before", first]).fails(1);
    assert!(refused.contains("did not exist at that time"), "{refused}");
    let later = ["app:1", "--before", "2100-01-01T00:00:00+02:00"];
    let told = instance.command(&["tag", "restore"], &later).ok();
    assert_eq!(told, format!("app:1 names {one}, as before"));
    instance.command(&["tag", "restore"], &["app:1", "--before", "yesterday"]).fails(2);
    let both = ["app:1", "--before", first, "--to", &one];
    instance.command(&["tag", "restore"], &both).fails(2);
    for (image, part) in [
        ("absent", "there is no repository absent"),
        ("app@sha256:12", "a digest is"),
        (&format!("app@{one}"), "names no tag"),
    ] {
        let refused = instance.command(&["tag", "history"], &[image]).fails(1);
        assert!(refused.contains(part), "{refused}");
    }
    instance.command(&["tag", "restore"], &["app"]).fails(1);
    let refused = instance.command(&["tag", "restore"], &["app:never"]).fails(1);
    assert!(refused.contains("registry tag history app"), "{refused}");
}

#[test]
fn a_long_history_comes_in_pages_and_names_each_change_once() {
    let mut instance = Instance::started();
    instance.stop();
    let store = Store::open(
        instance.data(),
        &OpenOptions {
            may_create: false,
            uploads_per_user: 1,
            reserve_bytes: 0,
            idle_connections: 16,
            hot_manifest_bytes: 1 << 20,
            read_pause_time: std::time::Duration::from_secs(1),
            on_held: &|_| OnHeld::GiveUp,
            allow_network_fs: false,
            on_fatal: |error| panic!("{error}"),
            on_trouble: |_| {},
        },
    );
    let (store, text) = (store.expect("the store"), br#"{"schemaVersion":2,"manifests":[]}"#);
    let kind = oci::MediaType::OCI_INDEX.parse().expect("a type");
    let manifest = oci::Manifest::parse(text.as_slice().into(), Some(kind), oci::Algorithm::Sha256);
    // Tags such as tools make of digests, more than two pages of them.
    let tags: Vec<Tag> =
        (0..2001).map(|number| format!("sha256-{number:064}").parse().expect("a tag")).collect();
    let name = "app".parse().expect("a name");
    store.push_manifest(&name, manifest.expect("an index"), tags.clone(), None).expect("a push");
    drop(store);
    let told = |instance: &Instance| instance.command(&["tag", "history"], &["app"]).ok();
    let alone = told(&instance);
    let named: BTreeSet<&str> =
        alone.lines().filter_map(|line| line.split("  ").nth(1)?.strip_prefix("app:")).collect();
    assert_eq!(alone.lines().count(), 2001);
    assert_eq!(named, tags.iter().map(Tag::as_str).collect());
    instance.start();
    assert_eq!(told(&instance), alone);
}

fn protect(server: &Server, image: &str) {
    let command = ProtectTag { image: image.parse().expect("a tag") };
    let done = Protection { image: image.parse().expect("a tag"), is_change: true };
    assert_eq!(server.command(command), done);
}
