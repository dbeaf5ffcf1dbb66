//! docs/operations.md: the commands that its sections show, and running them as they stand there.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::binary::{Instance, program};
use super::clients::Machine;
use super::process::{Run, run};
use crate::guide::{without_digests, without_times};

/// A command of the page, and what the page says it prints.
pub(crate) struct Exchange {
    /// What is typed.
    pub(crate) command: &'static str,
    /// What is printed.
    pub(crate) printed: &'static str,
}

/// The text of a section, whose title is given with its marks, with the sections below it.
pub(crate) fn section(title: &str) -> &'static str {
    let text = PAGE.split(&format!("\n{title}\n")).nth(1).expect("the section");
    let text = text.split("\n## ").next().expect("its text");
    if title.starts_with("## ") {
        return text;
    }
    text.split("\n### ").next().expect("its text")
}

/// The blocks of a section.
pub(crate) fn blocks(title: &str) -> Vec<Vec<Exchange>> {
    let exchange = |text: &'static str| {
        let (command, printed) = text.split_once('\n').expect("a line");
        Exchange { command, printed }
    };
    let block = |text: &'static str| text.split("$ ").skip(1).map(exchange).collect();
    texts(title).map(block).collect()
}

/// The blocks of a section as they are written.
pub(crate) fn texts(title: &str) -> impl Iterator<Item = &'static str> {
    let blocks = section(title).split("```console\n").skip(1);
    blocks.map(|block| block.split("```").next().expect("its text"))
}

/// A shell of the registry's administrator, in which everything is named as on the page.
pub(crate) struct Shell<'a> {
    machine: &'a Machine,
    address: String,
    data: String,
    path: String,
}

impl<'a> Shell<'a> {
    /// One on the host of `instance`, with the home of `machine`.
    pub(crate) fn new(instance: &Instance, machine: &'a Machine) -> Self {
        let data = instance.data().display().to_string();
        let program = program().display();
        let script = format!("#!/bin/sh\nexec '{program}' \"$@\" --data-dir '{data}'\n");
        machine.write("bin/registry", &script);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(machine.path("bin/registry"), mode).expect("a program");
        let path = std::env::var("PATH").expect("a path");
        let path = format!("{}:{path}", machine.path("bin").display());
        Self { machine, address: instance.address(), data, path }
    }

    /// Types a line as it is.
    pub(crate) fn typed(&self, command: &str) -> Run {
        let mut shell = self.machine.command("sh");
        shell.env("PATH", &self.path).env("SUDO_USER", SUDO_USER);
        run(shell.args(["-c", command]))
    }

    /// What a command prints, without what is different each time.
    pub(crate) fn run(&self, command: &str) -> String {
        let printed = self.typed(&format!("{} 2>&1", command.replace(REGISTRY, &self.address)));
        let printed = String::from_utf8_lossy(&printed.out).replace(&self.address, REGISTRY);
        without_login(&without_times(&without_digests(&printed.replace(&self.data, DATA))))
    }
}

/// Leaves out as whom whoever runs the tests logged in.
fn without_login(text: &str) -> String {
    let line = |line: &str| match line.split_once(" on the host (") {
        Some((before, person)) if person.ends_with(&format!("{SUDO_USER} as root)")) => {
            format!("{before} on the host ({SUDO_USER} as root)")
        }
        _ => line.to_owned(),
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

const PAGE: &str = include_str!("../../../docs/operations.md");
/// How the page calls the registry, and where its data are.
pub(crate) const REGISTRY: &str = "mirror.example.com:8443";
const DATA: &str = "/var/lib/registry";
/// Who types the commands of the page behind `sudo`.
const SUDO_USER: &str = "alice";
