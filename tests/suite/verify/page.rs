//! The section "Verification" of docs/operations.md: its procedures run as they stand there, one
//! after the other on one registry, and print what the page says.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{blob_path, flip};
use crate::guide::{without_digests, without_times};
use crate::support::binary::{Instance, program};
use crate::support::clients::{Machine, directory};
use crate::support::images::{Family, Image, sha256, write_directory};
use crate::support::process::run;

const PAGE: &str = include_str!("../../../docs/operations.md");
/// How the page calls the registry, and where its data are.
const REGISTRY: &str = "mirror.example.com:8443";
const DATA: &str = "/var/lib/registry";

#[test]
fn verification_goes_as_the_page_on_operations_says() {
    let instance = Instance::started();
    let (machine, address) = (Machine::of(&instance), instance.address());
    let images = ["image", "other"].map(|name| {
        let image = Image::new(Family::Oci, "amd64", name.as_bytes());
        let path = machine.path(name);
        write_directory(&path, &image.manifest, std::slice::from_ref(&image));
        let to = format!("docker://{address}/team/{}:1", name.replace("image", "app"));
        machine.skopeo(&["copy", "--quiet", &directory(&path), &to]).ok();
        image
    });
    let (program, data) = (program().display(), instance.data().display().to_string());
    let script = format!("#!/bin/sh\nexec '{program}' \"$@\" --data-dir '{data}'\n");
    machine.write("bin/registry", &script);
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(machine.path("bin/registry"), mode).expect("a program");
    let path = std::env::var("PATH").expect("a path");
    let path = format!("{}:{path}", machine.path("bin").display());

    let section = PAGE.split("## Verification\n").nth(1).expect("the section");
    let section = section.split("\n## ").next().expect("its text");
    let blocks: Vec<&str> = section.split("```console\n").skip(1).collect();
    assert_eq!(blocks.len(), 3);
    for (number, block) in blocks.into_iter().enumerate() {
        if number == 1 {
            flip(&blob_path(instance.data(), &sha256(&images[0].layer)));
        }
        let block = block.split("```").next().expect("its text");
        for exchange in block.split("$ ").skip(1) {
            let (command, expected) = exchange.split_once('\n').expect("a line");
            let command = command.replace(REGISTRY, &address);
            let mut shell = machine.command("sh");
            let printed = run(shell.env("PATH", &path).args(["-c", &format!("{command} 2>&1")]));
            let printed = String::from_utf8_lossy(&printed.out).replace(&address, REGISTRY);
            let printed = without_times(&without_digests(&printed.replace(&data, DATA)));
            let printed = without_put_aside(&without_sizes(&printed));
            assert_eq!(printed.trim_end(), expected.trim_end(), "$ {command}");
        }
    }
}

/// Replaces the size of everything, which depends on the gzip of the machine.
fn without_sizes(text: &str) -> String {
    let line = |line: &str| match line.split_once(" blobs, ") {
        Some((before, _)) if before.starts_with("read ") => format!("{before} blobs, SIZE"),
        _ => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Replaces the digits in the name of a file that was put aside.
fn without_put_aside(text: &str) -> String {
    let line = |line: &str| match line.split_once("/damaged/sha256-") {
        Some((before, _)) => format!("{before}/damaged/sha256-<digest>"),
        None => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}
