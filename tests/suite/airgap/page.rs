//! docs/airgap.md: its lines are typed as they stand there, in their order, on the host that each
//! is for, and what the page says of them is so.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::binary::{Instance, PASSWORD};
use crate::support::clients::{Machine, directory};
use crate::support::images::{Family, Image, Manifest, write_directory};
use crate::support::page::Shell;
use crate::support::peer::Peer;
use crate::support::process::Run;

/// A line of the page, and on which host it is typed.
pub(super) struct Line {
    pub(super) host: &'static str,
    pub(super) command: &'static str,
}

/// The lines of a section.
pub(super) fn lines(title: &str) -> Vec<Line> {
    let section = PAGE.split(&format!("\n{title}\n")).nth(1).expect("the section");
    let section = section.split("\n## ").next().expect("its text");
    let blocks = section.split("```console\n").skip(1);
    let blocks = blocks.map(|block| block.split("```").next().expect("its text"));
    let line = |text: &'static str| {
        let (host, command) = text.split_once("$ ").expect("a host and what is typed on it");
        Line { host, command }
    };
    blocks.flat_map(str::lines).map(line).collect()
}

#[test]
fn the_page_on_the_air_gap_is_typed_from_its_beginning_to_its_end() {
    let peer = Peer::start();
    let (online, inside) = (Instance::started(), Instance::started());
    let (there, here) = (Machine::of(&online), Machine::new());
    there.allow_plain_http(&peer.address());
    for tag in ["1.0", "1.1", "1.2"] {
        put(&there, &format!("docker://{}/team/app:{tag}", peer.address()), tag);
    }
    here.write("password", PASSWORD);
    let desk = Desk {
        online: Shell::new(&online, &there),
        inside: Shell::new(&inside, &here),
        names: vec![
            ("quay.io", peer.address()),
            ("online.example.com:8443", online.address()),
            ("mirror.example.com:8443", inside.address()),
            ("/mnt/disk", there.path("disk").display().to_string()),
            ("/var/lib/registry", inside.data().display().to_string()),
            // Where podman looks below the home that it is given.
            (
                "/etc/containers/certs.d",
                here.path(".config/containers/certs.d").display().to_string(),
            ),
        ],
    };
    fs::create_dir(there.path("disk")).expect("the disk");
    let both = || [&online, &inside].map(|it| it.command(&["ls"], &["team/app"]).ok());
    let mut typed = Vec::new();
    for title in PAGE.lines().filter(|line| line.starts_with("## ")) {
        match title {
            "## When a disk is lost" => {
                let to = format!("docker://{}/team/app:1.2", online.address());
                let from = format!("docker://{}/team/app:1.2", peer.address());
                there.skopeo(&["copy", "--all", "--quiet", &from, &to]).ok();
                fs::remove_dir_all(there.path("disk/july")).expect("the disk that is lost");
            }
            "## When an archive of oc-mirror is all there is" => {
                let to = there.path("disk/mirror_000001.tar");
                fs::copy(archive(), to).expect("an archive of oc-mirror");
            }
            // It has a test of its own.
            "## Two hosts that see each other" => continue,
            _ => {}
        }
        for line in lines(title) {
            let told = desk.typed(&line).ok();
            if line.command.contains("--since") {
                assert!(told.contains("\nleft out "), "{told}");
            }
            typed.push(line.command);
        }
        let [online_has, inside_has] = both();
        match title {
            "## The first time" => assert_eq!(online_has.lines().count(), 1, "{online_has}"),
            "## A month later" => assert_eq!(online_has.lines().count(), 2, "{online_has}"),
            "## When a disk is lost" => assert_eq!(online_has.lines().count(), 3, "{online_has}"),
            // Its tag is gone, and what it named stays for a while.
            "## When something else went wrong" => {
                assert!(!inside_has.contains("  1.2"), "{inside_has}");
                continue;
            }
            _ => continue,
        }
        assert_eq!(online_has, inside_has, "{title}");
    }
    assert!(typed.len() > 15, "{typed:?}");
    inside.command(&["inspect"], &["redhat/redhat-operator-index:v4.99"]).ok();
}

/// Where the page is typed.
struct Desk<'a> {
    online: Shell<'a>,
    inside: Shell<'a>,
    /// What is called otherwise here.
    names: Vec<(&'static str, String)>,
}

impl Desk<'_> {
    fn typed(&self, line: &Line) -> Run {
        let mut command = line.command.to_owned();
        for (name, here) in &self.names {
            command = command.replace(name, here);
        }
        match line.host {
            "online" => self.online.typed(&command),
            "inside" => self.inside.typed(&command),
            other => panic!("the page is typed on no host called {other}"),
        }
    }
}

/// Puts a list of images where the page fetches it.
fn put(machine: &Machine, name: &str, text: &str) {
    let images =
        ["amd64", "arm64"].map(|it| Image::new(Family::Oci, it, format!("{text} {it}").as_bytes()));
    let list = Manifest::list(Family::Oci, &images.each_ref().map(|image| &image.manifest));
    let path = machine.path(&format!("image-{text}"));
    write_directory(&path, &list, &images);
    machine.skopeo(&["copy", "--all", "--quiet", &directory(&path), name]).ok();
}

/// An archive that oc-mirror wrote.
fn archive() -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/archives");
    fixtures.join("oc-mirror-a-operators/mirror_000001.tar")
}

const PAGE: &str = include_str!("../../../docs/airgap.md");
