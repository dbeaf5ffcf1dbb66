//! The section "Undo" of docs/operations.md: its procedures run as they stand there, one after the
//! other on one registry, and print what the page says.

use std::fs;

use crate::support::binary::Instance;
use crate::support::clients::{Curl, Machine};
use crate::support::images::{Family, Image, sha256, write_directory};
use crate::support::page::{self, Exchange, Shell};
use crate::tag::push;

#[test]
fn undoing_goes_as_the_page_on_operations_says() {
    let instance = Instance::started();
    let (machine, address) = (Machine::of(&instance), instance.address());
    let [image, other] =
        ["one", "two"].map(|text| Image::new(Family::Oci, "amd64", text.as_bytes()));
    for tag in ["1", "latest"] {
        let name = format!("{address}/team/app:{tag}");
        push(&machine, &image.manifest, std::slice::from_ref(&image), &name);
    }
    write_directory(&machine.path("other"), &other.manifest, std::slice::from_ref(&other));
    let shell = Shell::new(&instance, &machine);
    let blocks = page::blocks("## Undo");
    assert_eq!(blocks.len(), 5);
    for Exchange { command, printed } in blocks.into_iter().flatten() {
        let told = without_since(&without_sizes(&shell.run(command)));
        assert_eq!(told.trim_end(), without_sizes(printed).trim_end(), "$ {command}");
    }
}

#[test]
fn blobs_that_were_deleted_after_their_manifest_come_back_with_it() {
    let instance = Instance::started();
    let (machine, curl) = (Machine::of(&instance), Curl::of(&instance));
    let image = Image::new(Family::Oci, "amd64", b"content");
    let name = format!("{}/app:1", instance.address());
    push(&machine, &image.manifest, std::slice::from_ref(&image), &name);
    let blobs = [&image.config, &image.layer].map(|content| sha256(content));
    let path = |digest: &String| format!("/v2/app/blobs/{digest}");
    let file = |digest: &String| {
        let hex = &digest["sha256:".len()..];
        instance.data().join("blobs/sha256").join(&hex[..2]).join(hex)
    };
    let delete_all = || {
        let manifest = format!("/v2/app/manifests/{}", image.manifest.digest());
        curl.request("DELETE", &manifest).expect(202);
        for digest in &blobs {
            curl.request("DELETE", &path(digest)).expect(202);
        }
    };
    delete_all();
    instance.command(&["gc"], &["--grace", "0s"]).ok();
    for digest in &blobs {
        curl.request("GET", &path(digest)).expect(404);
        curl.request("DELETE", &path(digest)).expect(404);
        let mount = format!("/v2/other/blobs/uploads/?mount={digest}&from=app");
        curl.request("POST", &mount).expect(202);
    }
    instance.command(&["tag", "restore"], &["app:1"]).ok();
    machine.podman(&["pull", "--quiet", &name]).ok();
    delete_all();
    instance.command(&["gc"], &["--grace", "0s", "--undo-time", "0s"]).ok();
    assert!(blobs.iter().all(|digest| fs::metadata(file(digest)).is_err()));
    instance.command(&["tag", "restore"], &["app:1"]).fails(1);
}

/// Replaces the time from which on a command that is told to type brings back.
fn without_since(text: &str) -> String {
    let line = |line: &str| match line.split_once(" --since ") {
        Some((before, _)) => format!("{before} --since 2026-01-01T00:00:00Z"),
        None => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Replaces the size of what goes, which depends on the gzip of the machine.
fn without_sizes(text: &str) -> String {
    let line = |line: &str| match line.split_once(" and ").zip(line.split_once(" B in ")) {
        Some(((before, _), (_, after))) => format!("{before} and SIZE in {after}"),
        None => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}
