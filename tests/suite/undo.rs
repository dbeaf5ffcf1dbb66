//! The section "Undo" of docs/operations.md: its procedures run as they stand there, one after the
//! other on one registry, and print what the page says.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::guide::{without_digests, without_times};
use crate::support::binary::{Instance, program};
use crate::support::clients::Machine;
use crate::support::images::{Family, Image, write_directory};
use crate::support::process::run;
use crate::tag::push;

const PAGE: &str = include_str!("../../docs/operations.md");
/// How the page calls the registry.
const REGISTRY: &str = "mirror.example.com:8443";

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
    let (program, data) = (program().display(), instance.data().display());
    let script = format!("#!/bin/sh\nexec '{program}' \"$@\" --data-dir '{data}'\n");
    machine.write("bin/registry", &script);
    fs::set_permissions(machine.path("bin/registry"), fs::Permissions::from_mode(0o755))
        .expect("a program");
    let path = std::env::var("PATH").expect("a path");
    let path = format!("{}:{path}", machine.path("bin").display());

    let section = PAGE.split("## Undo\n").nth(1).expect("the section");
    let section = section.split("\n## ").next().expect("its text");
    let blocks: Vec<&str> = section.split("```console\n").skip(1).collect();
    assert_eq!(blocks.len(), 4);
    for block in blocks {
        let block = block.split("```").next().expect("its text");
        for exchange in block.split("$ ").skip(1) {
            let (command, expected) = exchange.split_once('\n').expect("a line");
            let command = command.replace(REGISTRY, &address);
            let mut shell = machine.command("sh");
            let printed = run(shell.env("PATH", &path).args(["-c", &format!("{command} 2>&1")]));
            let printed = String::from_utf8_lossy(&printed.out).replace(&address, REGISTRY);
            let printed = without_sizes(&without_times(&without_digests(&printed)));
            assert_eq!(printed.trim_end(), without_sizes(expected).trim_end(), "$ {command}");
        }
    }
}

/// Replaces the size of what goes, which depends on the gzip of the machine.
fn without_sizes(text: &str) -> String {
    let line = |line: &str| match line.split_once(" and ").zip(line.split_once(" B in ")) {
        Some(((before, _), (_, after))) => format!("{before} and SIZE in {after}"),
        None => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}
