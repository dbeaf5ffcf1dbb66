//! Whole images on the command line: looking at one to its leaves, and removing one with what
//! nothing else keeps.

use std::fs;
use std::time::UNIX_EPOCH;

use serde_json::{Value, json};

use crate::support::binary::Instance;
use crate::support::clients::{Curl, Machine};
use crate::support::images::{Family, Image, Manifest, sha256};
use crate::support::page::Shell;
use crate::support::process::wait_until;
use crate::tag::push;

/// Two platforms, and a list of both that is stored as `app:1`.
fn with_list(instance: &Instance, machine: &Machine) -> (Vec<Image>, Manifest) {
    let images = Image::of_platforms(Family::Oci, &["amd64", "arm64"]);
    let list = Manifest::list(Family::Oci, &[&images[0].manifest, &images[1].manifest]);
    push(machine, &list, &images, &format!("{}/app:1", instance.address()));
    (images, list)
}

/// Puts a manifest as a client does that has no other way.
fn put(instance: &Instance, reference: &str, kind: &str, document: &[u8]) {
    let path = format!("/v2/app/manifests/{reference}");
    Curl::of(instance).send("PUT", &path, kind, document).expect(201);
}

#[test]
fn removing_an_image_keeps_what_others_need_and_can_be_undone() {
    let mut instance = Instance::started();
    let machine = Machine::of(&instance);
    let (images, list) = with_list(&instance, &machine);
    let name = format!("{}/app", instance.address());
    // Another list has one of the images, and the other image is signed.
    let shared = Manifest::list(Family::Docker, &[&images[0].manifest]);
    push(&machine, &shared, &images[..1], &format!("{name}:2"));
    let own = &images[1];
    let signature = format!("sha256-{}.sig", &own.manifest.digest()["sha256:".len()..]);
    let signing = Image::new(Family::Oci, "amd64", b"signature");
    push(
        &machine,
        &signing.manifest,
        std::slice::from_ref(&signing),
        &format!("{name}:{signature}"),
    );

    let freed = own.layer.len() + own.config.len() + signing.layer.len() + signing.config.len();
    let before = instance.command(&["ls"], &["app"]).ok();
    let planned = instance.command(&["rm"], &["app:1", "--dry-run"]).ok();
    assert_eq!(instance.command(&["ls"], &["app"]).ok(), before);
    for part in [
        &format!("tag       app:1\ntag       app:{signature}\n"),
        &format!("manifest  {}\n", list.digest()),
        &format!("manifest  {}\n", own.manifest.digest()),
        &format!("manifest  {}\n", signing.manifest.digest()),
        &"would remove: 2 tags, 3 manifests, and ".to_owned(),
        &" in 4 blobs that nothing else holds\n".to_owned(),
        &"with `registry gc --undo-time 0s --grace 0s`".to_owned(),
    ] {
        assert!(planned.contains(part.as_str()), "{part:?}: {planned}");
    }
    assert!(!planned.contains(&images[0].manifest.digest()), "{planned}");
    let plan: Value = json_of(&instance, &["rm"], &["app:1", "--dry-run", "--json"]);
    assert_eq!((&plan["blob_bytes"], &plan["dry_run"]), (&json!(freed), &json!(true)));

    let removed = instance.command(&["rm"], &["app:1"]).ok();
    assert!(removed.contains("removed: 2 tags, 3 manifests, and "), "{removed}");
    assert!(removed.contains("to undo it: registry tag restore app:1\n"), "{removed}");
    machine.podman(&["pull", "--quiet", &format!("{name}:1")]).fails(125);
    let kept = format!("{name}@{}", images[0].manifest.digest());
    machine.podman(&["pull", "--quiet", &kept]).ok();
    instance.stop();
    let back = instance.command(&["tag", "restore"], &["app:1"]).ok();
    assert!(back.contains("2 manifests that were deleted are back\n"), "{back}");
    assert!(back.contains(&format!("registry tag restore app:{signature}\n")), "{back}");
    instance.command(&["tag", "restore"], &[&format!("app:{signature}")]).ok();
    assert_eq!(instance.command(&["ls"], &["app"]).ok(), before);
    instance.start();
    machine.podman(&["pull", "--quiet", &format!("{name}@{}", own.manifest.digest())]).ok();
}

#[test]
fn collection_frees_what_removing_promised_and_then_nothing_can_be_undone() {
    let instance = Instance::started();
    let machine = Machine::of(&instance);
    let (images, list) = with_list(&instance, &machine);
    let name = format!("{}/app", instance.address());
    push(&machine, &images[0].manifest, &images[..1], &format!("{name}:kept"));
    instance.command(&["tag", "protect"], &["app:kept"]).ok();
    wait_until("the log says what is protected", || {
        instance.errors().contains(r#"command="tag protect" object="app:kept""#)
    });
    let removed = json_of(&instance, &["rm"], &["app:1", "--json"]);
    assert_eq!((&removed["manifest_count"], &removed["blobs"]), (&json!(2), &json!(2)));
    let gc = |flags: &[&str]| json_of(&instance, &["gc"], &[&["--json"], flags].concat());
    let early = gc(&["--grace", "0s"]);
    assert_eq!((&early["blobs"], &early["deleted_manifests"]), (&json!(0), &json!(0)));
    instance.command(&["tag", "restore"], &["app:1"]).ok();
    instance.command(&["rm"], &["app:1"]).ok();
    let done = gc(&["--grace", "0s", "--undo-time", "0s"]);
    assert_eq!(done["blob_bytes"], removed["blob_bytes"]);
    assert_eq!((&done["blobs"], &done["deleted_manifests"]), (&json!(2), &json!(2)));
    let refused = instance.command(&["tag", "restore"], &["app:1"]).fails(1);
    assert!(refused.contains("collection took it"), "{refused}");
    let to = ["app:1", "--to", &list.digest()];
    let refused = instance.command(&["tag", "restore"], &to).fails(1);
    assert!(
        refused.contains("collection took it, or it never was here; push it again"),
        "{refused}"
    );
    machine.podman(&["pull", "--quiet", &format!("{name}:kept")]).ok();
    push(&machine, &list, &images, &format!("{name}:1"));
    instance.command(&["inspect"], &["app:1"]).ok();
}

#[test]
fn what_is_named_by_its_digest_goes_from_its_lists_too() {
    let instance = Instance::started();
    let machine = Machine::of(&instance);
    let (images, list) = with_list(&instance, &machine);
    let digest = images[0].manifest.digest();
    let removed = instance.command(&["rm"], &[&format!("app@{digest}")]).ok();
    let sparse = format!("app@{} stays, without what went\n", list.digest());
    assert!(removed.contains(&sparse), "{removed}");
    assert!(removed.contains(&format!("registry tag restore app:TAG --to {digest}")), "{removed}");
    let inspected = instance.command(&["inspect"], &["app:1"]).ok();
    assert!(inspected.contains(&format!("child  linux/amd64  {digest}")), "{inspected}");
    assert!(inspected.contains("absent (sparse)\n"), "{inspected}");
    assert!(inspected.ends_with("complete"), "{inspected}");
    instance.command(&["tag", "restore"], &["app:back", "--to", &digest]).ok();
    let only = instance.command(&["rm"], &["app:back"]).ok();
    let kept = format!("only the tag went: app@{} keeps what it named\n", list.digest());
    assert!(only.contains(&kept), "{only}");
    for (words, image, part) in [
        (["rm"], "app:back", "there is no tag app:back"),
        (["rm"], "app", "registry rm --all app"),
        (["inspect"], "app", "app is a whole repository"),
        (["inspect"], "app:back", "there is no image app:back"),
        (["inspect"], "app:1:2", "a tag is"),
    ] {
        let refused = instance.command(&words, &[image]).fails(1);
        assert!(refused.contains(part), "{refused}");
    }
    let refused = instance.command(&["rm"], &["app:1", "--all"]).fails(1);
    assert!(refused.contains("app:1 is one image"), "{refused}");
}

#[test]
fn a_whole_repository_goes_and_its_tags_come_back_with_one_command() {
    let instance = Instance::started();
    let machine = Machine::of(&instance);
    let (images, _) = with_list(&instance, &machine);
    let name = format!("{}/app", instance.address());
    push(&machine, &images[0].manifest, &images[..1], &format!("{name}:2"));
    push(&machine, &images[0].manifest, &images[..1], &format!("{}/other:1", instance.address()));
    push(&machine, &images[0].manifest, &images[..1], &format!("{name}:old"));
    instance.command(&["rm"], &["app:old"]).ok();
    let bare = Manifest::list(Family::Oci, &[&images[0].manifest]);
    put(&instance, &bare.digest(), bare.media_type, &bare.bytes);
    // The times of changes are whole seconds.
    let second = || UNIX_EPOCH.elapsed().expect("a time").as_secs();
    let before = second();
    wait_until("the next second", || second() > before);
    let plan = json_of(&instance, &["rm"], &["--all", "app", "--dry-run", "--json"]);
    let own = images[1].layer.len() + images[1].config.len();
    assert_eq!(plan["blob_bytes"], json!(own));
    assert_eq!((&plan["tag_count"], &plan["manifest_count"]), (&json!(2), &json!(4)));
    let removed = instance.command(&["rm"], &["--all", "app"]).ok();
    assert!(removed.starts_with("removed: 2 tags, 4 manifests, and "), "{removed}");
    assert_eq!(instance.command(&["ls"], &[]).ok(), "other");
    machine.podman(&["pull", "--quiet", &format!("{name}:1")]).fails(125);
    // What it tells to type brings back all of it, and nothing that was gone before.
    let undo = removed.lines().last().and_then(|line| line.strip_prefix("to undo it: registry "));
    let words: Vec<&str> = undo.expect("a command").split(' ').collect();
    let told = instance.command(&words[..2], &words[2..]).ok();
    assert!(told.ends_with("back: 2 tags and 4 manifests"), "{told}");
    for tag in ["1", "2"] {
        machine.podman(&["pull", "--quiet", &format!("{name}:{tag}")]).ok();
    }
    machine.podman(&["pull", "--quiet", &format!("{name}@{}", bare.digest())]).ok();
    machine.podman(&["pull", "--quiet", &format!("{name}:old")]).fails(125);
    let told = instance.command(&words[..2], &words[2..]).fails(1);
    assert!(told.starts_with("registry: nothing of app is gone since "), "{told}");
    instance.command(&["tag", "restore"], &["--all", "app"]).ok();
    machine.podman(&["pull", "--quiet", &format!("{name}:old")]).ok();
    instance.command(&["rm"], &["--all", "absent"]).fails(1);
}

#[test]
fn an_old_release_goes_by_a_pattern_and_comes_back_with_the_command_that_is_printed() {
    let instance = Instance::started();
    let machine = Machine::of(&instance);
    let (images, list) = with_list(&instance, &machine);
    let name = format!("{}/app", instance.address());
    for tag in ["4.14.1", "4.14.2"] {
        push(&machine, &list, &images, &format!("{name}:{tag}"));
    }
    // A release of its own, signed, and what stays.
    let own = Image::new(Family::Oci, "amd64", b"own");
    push(&machine, &own.manifest, std::slice::from_ref(&own), &format!("{name}:4.14.3"));
    let signature = format!("sha256-{}.sig", &own.manifest.digest()["sha256:".len()..]);
    let signing = Image::new(Family::Oci, "amd64", b"signature");
    let signed = format!("{name}:{signature}");
    push(&machine, &signing.manifest, std::slice::from_ref(&signing), &signed);
    push(&machine, &own.manifest, std::slice::from_ref(&own), &format!("{name}:4.14.gone"));
    instance.command(&["rm"], &["app:4.14.gone"]).ok();
    // The times of changes are whole seconds.
    let second = || UNIX_EPOCH.elapsed().expect("a time").as_secs();
    let begun = second();
    wait_until("the next second", || second() > begun);
    let before = instance.command(&["ls"], &["app"]).ok();

    for (image, flags, part) in [
        ("app:4.15.*", &["--json"][..], "no tag of app is like 4.15.*: `registry ls app` shows"),
        ("absent:4.*", &[], "there is no repository absent"),
        ("app:4.14.*", &["--all"], "--all is for a whole repository"),
        ("ap*", &[], "a pattern stands for tags of one repository, as in 'team/app:4.14.*'"),
        ("a?p:1", &[], "a pattern stands for tags of one repository"),
    ] {
        let refused = instance.command(&["rm"], &[&[image], flags].concat()).fails(1);
        assert!(refused.contains(part), "{refused}");
    }
    instance.command(&["tag", "protect"], &["app:4.14.3"]).ok();
    for flags in [&["--dry-run"][..], &[]] {
        let refused = instance.command(&["rm"], &[&["app:4.14.*"], flags].concat()).fails(1);
        assert!(refused.contains("the tag app:4.14.3 is protected"), "{refused}");
    }
    instance.command(&["tag", "unprotect"], &["app:4.14.3"]).ok();
    let address = format!("{name}:4.14.*");
    let planned = instance.command(&["rm"], &[&address, "--dry-run"]).ok();
    let lines = format!(
        "tag       app:4.14.1\ntag       app:4.14.2\ntag       app:4.14.3\n\
                         tag       app:{signature}\nwould remove: 4 tags, 2 manifests, and "
    );
    assert!(planned.starts_with(&lines), "{planned}");
    assert!(!planned.contains("to undo it"), "{planned}");
    assert_eq!(instance.command(&["ls"], &["app"]).ok(), before);
    let plan = json_of(&instance, &["rm"], &["app:4.14.?", "--dry-run", "--json"]);
    let freed: usize =
        [&own, &signing].map(|image| image.layer.len() + image.config.len()).iter().sum();
    assert_eq!((&plan["blob_bytes"], &plan["undo"]), (&json!(freed), &Value::Null));

    let removed = instance.command(&["rm"], &["app:4.14.*"]).ok();
    assert!(removed.contains("\nremoved: 4 tags, 2 manifests, and "), "{removed}");
    assert_eq!(instance.command(&["ls"], &["app"]).ok(), format!("{}  1", list.digest()));
    // The list stays, because another tag names it.
    machine.podman(&["pull", "--quiet", &format!("{name}:1")]).ok();
    let undo = removed.lines().last().and_then(|line| line.strip_prefix("to undo it: "));
    let undo = undo.expect("a command");
    assert!(undo.starts_with("registry tag restore 'app:4.14.*' --since "), "{undo}");
    // As it is typed, in a directory with a file that is like the pattern.
    let shell = Shell::new(&instance, &machine);
    machine.write("app:4.14.file", "");
    let told = shell.run(&format!("cd {} && {undo}", machine.path("").display()));
    assert!(told.ends_with("back: 4 tags and 2 manifests"), "{told}");
    assert_eq!(instance.command(&["ls"], &["app"]).ok(), before);
    machine.podman(&["pull", "--quiet", &format!("{name}:4.14.3")]).ok();
    let again = shell.run(undo);
    assert!(again.contains("registry: nothing of app:4.14.* is gone since "), "{again}");
    let everything = instance.command(&["tag", "restore"], &["app:4.14.g*"]).ok();
    assert!(everything.ends_with("back: 1 tag and 0 manifests"), "{everything}");
    let refused = instance.command(&["tag", "restore"], &["app:1", "--since", TIME]).fails(1);
    assert!(refused.contains("--since is for what was removed together"), "{refused}");
}

#[test]
fn what_is_too_late_to_restore_is_told_and_the_rest_comes_back() {
    let instance = Instance::started();
    let machine = Machine::of(&instance);
    let (_, name) = (with_list(&instance, &machine), format!("{}/app", instance.address()));
    let lone = Image::new(Family::Oci, "amd64", b"another");
    push(&machine, &lone.manifest, std::slice::from_ref(&lone), &format!("{name}:2"));
    instance.command(&["rm"], &["app:2"]).ok();
    let gc = ["--grace", "0s", "--undo-time", "0s"];
    instance.command(&["gc"], &gc).ok();
    instance.command(&["rm"], &["app:1"]).ok();
    let restored = instance.command(&["tag", "restore"], &["--all", "app"]);
    let told = String::from_utf8_lossy(&restored.out).into_owned();
    assert!(told.contains("app:1 names ") && told.contains("back: 1 tag and 3 man"), "{told}");
    let refused = restored.fails(1);
    assert!(refused.contains(&lone.manifest.digest()), "{refused}");
    assert!(refused.ends_with("what comes back no more must be pushed again\n"), "{refused}");
    machine.podman(&["pull", "--quiet", &format!("{name}:1")]).ok();
}

#[test]
fn inspecting_finds_what_is_missing_until_it_is_pushed_again() {
    let mut instance = Instance::started();
    let machine = Machine::of(&instance);
    let (images, list) = with_list(&instance, &machine);
    let name = format!("{}/app:1", instance.address());
    // A list within a list, an image twice, and something that refers to it.
    let outer = Manifest::list(Family::Oci, &[&list, &images[0].manifest]);
    put(&instance, "outer", outer.media_type, &outer.bytes);
    let referrer = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "artifactType": "application/x-bill", "manifests": [],
        "subject": { "mediaType": list.media_type, "digest": list.digest(), "size": 1 },
    });
    let referrer = referrer.to_string();
    put(&instance, "bill", "application/vnd.oci.image.index.v1+json", referrer.as_bytes());
    let inspected = instance.command(&["inspect"], &["app:outer"]).ok();
    let blobs: usize = images.iter().map(|image| image.layer.len() + image.config.len()).sum();
    let manifests = [&outer, &list, &images[0].manifest, &images[1].manifest];
    let bytes = blobs + manifests.iter().map(|it| it.bytes.len()).sum::<usize>();
    for part in [
        format!("index  {}", outer.digest()),
        format!("    image  {}", images[1].manifest.digest()),
        "see above\n".to_owned(),
        format!("referrer  {}", sha256(referrer.as_bytes())),
        "application/x-bill\n".to_owned(),
        "in 4 manifests and 4 blobs, each once\ncomplete".to_owned(),
    ] {
        assert!(inspected.contains(&part), "{part:?}: {inspected}");
    }
    let document = json_of(&instance, &["inspect"], &["app:outer", "--json"]);
    assert_eq!(document["bytes"], json!(bytes));
    let inner = &document["image"]["parts"][0]["manifest"];
    assert_eq!(inner["parts"][1]["platform"], json!("linux/arm64"));

    // A file goes behind the registry's back.
    let layer = sha256(&images[1].layer);
    let hex = &layer["sha256:".len()..];
    let file = instance.data().join("blobs/sha256").join(&hex[..2]).join(hex);
    fs::remove_file(file).expect("the file of the layer");
    let told = |instance: &Instance| {
        let run = instance.command(&["inspect"], &["app:1"]);
        let out = String::from_utf8(run.out.clone()).expect("text");
        let of = images[1].manifest.digest();
        assert!(out.contains(&format!("missing: the layer {layer} of {of} is lost\n")), "{out}");
        assert!(!out.contains("complete"), "{out}");
        assert!(run.fails(1).contains("app:1 is not complete: push it again"));
        out
    };
    let running = told(&instance);
    instance.stop();
    // One line for each time, however many manifests there are.
    let log = instance.errors();
    assert_eq!(log.matches(r#"command="inspect""#).count(), 3, "{log}");
    assert!(log.contains(r#"command="inspect" object="app:1""#), "{log}");
    assert_eq!(told(&instance), running);
    instance.start();
    push(&machine, &list, &images, &name);
    instance.command(&["inspect"], &["app:1"]).ok();
}

#[test]
fn a_manifest_of_many_parts_is_shown_whole() {
    let instance = Instance::started();
    // Layers that are nowhere, which is allowed of this type: more than two pages.
    let layers: Vec<Value> = (0..2001)
        .map(|number: u32| {
            json!({
                "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar",
                "digest": sha256(&number.to_le_bytes()), "size": 1,
                "urls": ["https://example.com/"],
            })
        })
        .collect();
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let path = format!("/v2/app/blobs/uploads/?digest={}", sha256(b"{}"));
    Curl::of(&instance).send("POST", &path, "application/octet-stream", b"{}").expect(201);
    let config = json!({ "mediaType": "a/b", "digest": sha256(b"{}"), "size": 2 });
    let document = json!({ "schemaVersion": 2, "config": config, "layers": layers });
    put(&instance, "many", kind, document.to_string().as_bytes());
    let inspected = instance.command(&["inspect"], &["app:many"]).ok();
    let lines = inspected.lines().filter(|line| line.contains("foreign: not in this registry"));
    assert_eq!(lines.count(), 2001);
    assert!(inspected.ends_with("complete"), "{}", inspected.len());
}

#[test]
fn indexes_within_indexes_are_followed_as_far_as_somebody_means_them() {
    let instance = Instance::started();
    let mut indexes = vec![Manifest::list(Family::Oci, &[])];
    for level in 0..40 {
        let index = Manifest::list(Family::Oci, &[&indexes[level]]);
        put(&instance, &format!("level-{level}"), index.media_type, &index.bytes);
        indexes.push(index);
    }
    instance.command(&["inspect"], &["app:level-20"]).ok();
    let refused = instance.command(&["inspect"], &["app:level-39"]).fails(1);
    assert!(refused.contains("lies below 32 indexes: inspect it by itself"), "{refused}");
}

fn json_of(instance: &Instance, words: &[&str], rest: &[&str]) -> Value {
    serde_json::from_str(&instance.command(words, rest).ok()).expect("JSON")
}

/// Some time.
const TIME: &str = "2026-01-31T08:15:00Z";
