//! docs/airgap.md: its lines are typed as they stand there, in their order, on the host that each
//! is for, and what the page says of them is so.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::binary::{Instance, PASSWORD, USER};
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
    let (online, inside) = (Instance::started(), Instance::started());
    // Both as the README leaves a host, with root logged in. The page brings the CA itself.
    let (there, here) = (Machine::of(&online), Machine::of(&inside));
    fs::remove_dir_all(here.path(".config/containers/certs.d")).expect("what was trusted");
    here.write("password", PASSWORD);
    fs::create_dir(there.path("disk")).expect("the disk");
    let mut desk = Desk::new((&online, &there), (&inside, &here));
    let mut typed = Vec::new();
    for title in PAGE.lines().filter(|line| line.starts_with("## ")) {
        // It has a test of its own.
        if title == "## Two hosts that see each other" {
            continue;
        }
        desk.prepare(title);
        for line in lines(title) {
            let told = desk.typed(line.host, line.command).ok();
            if line.command.contains("--since") {
                assert!(told.contains("\nleft out "), "{told}");
            }
            typed.push(line.command);
        }
        desk.check(title);
    }
    assert!(typed.len() > 17, "{typed:?}");
    inside.command(&["inspect"], &["redhat/redhat-operator-index:v4.99"]).ok();
}

/// Where the page is typed.
struct Desk<'a> {
    peer: Peer,
    online: (&'a Instance, &'a Machine, Shell<'a>),
    inside: (&'a Instance, &'a Machine, Shell<'a>),
    /// What is called otherwise here.
    names: Vec<(&'static str, String)>,
}

impl<'a> Desk<'a> {
    /// One with both hosts, and with what the first of them fetches.
    fn new(online: (&'a Instance, &'a Machine), inside: (&'a Instance, &'a Machine)) -> Self {
        let ((online, there), (inside, here)) = (online, inside);
        let peer = Peer::start();
        there.allow_plain_http(&peer.address());
        for tag in ["1.0", "1.1", "1.2"] {
            put(there, &format!("docker://{}/team/app:{tag}", peer.address()), tag);
        }
        let names = vec![
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
        ];
        let online = (online, there, Shell::new(online, there));
        Self { peer, online, inside: (inside, here, Shell::new(inside, here)), names }
    }

    /// Types a line on one of the hosts.
    fn typed(&self, host: &str, command: &str) -> Run {
        let mut command = command.to_owned();
        for (name, here) in &self.names {
            command = command.replace(name, here);
        }
        match host {
            "online" => self.online.2.typed(&command),
            "inside" => self.inside.2.typed(&command),
            other => panic!("the page is typed on no host called {other}"),
        }
    }

    /// Lets happen what a section is for.
    fn prepare(&mut self, title: &str) {
        let there = self.online.1;
        match title {
            "## When a disk is lost" => {
                let to = format!("docker://{}/team/app:1.2", self.online.0.address());
                let from = format!("docker://{}/team/app:1.2", self.peer.address());
                there.skopeo(&["copy", "--all", "--quiet", &from, &to]).ok();
                let lost = "registry export /mnt/disk/lost --tar --since /mnt/disk/receipt";
                self.typed("online", lost).ok();
                fs::remove_dir_all(there.path("disk/lost")).expect("the disk that is lost");
                self.lacks_the_last();
            }
            "## When an archive of oc-mirror is all there is" => {
                let to = there.path("disk/mirror_000001.tar");
                fs::copy(archive(), to).expect("an archive of oc-mirror");
            }
            "## Only what our registry wrote" => self.refuse_others(),
            _ => {}
        }
    }

    /// Checks what a section says of both sides.
    fn check(&self, title: &str) {
        let images = match title {
            "## The first time" => 1,
            "## A month later" => 2,
            "## When a disk is lost" | "## Only what our registry wrote" => 3,
            "## The cluster" => {
                let address = self.inside.0.address();
                let login = self.inside.1.podman(&["login", "--get-login", &address]).ok();
                return assert_eq!(login, USER, "the login that was there before");
            }
            "## When something else went wrong" => {
                // Its tag is gone, and what it named stays for a while.
                self.lacks_the_last();
                // As an export finds it that was cut short when all was there; what is there is
                // imported below.
                let lost = lines("## When a disk is lost");
                let again = lost.iter().find(|line| line.host == "online").expect("an export");
                let said = self.typed(again.host, again.command).fails(1);
                return assert!(said.contains("holds a bundle already"), "{said}");
            }
            _ => return,
        };
        let [there, here] = [self.online.0, self.inside.0].map(listed);
        assert_eq!((there.lines().count(), &there), (images, &here), "{title}");
    }

    /// Checks that no key but that of the registry that wrote it lets a bundle in, and that its key
    /// lets nothing else in. From here on it is known by its name on the page.
    fn refuse_others(&mut self) {
        let status = self.typed("online", "registry status").ok();
        let key = status.lines().find_map(|line| line.strip_prefix("signs with"));
        let key = key.expect("the key of the registry").trim();
        let own = self.inside.1.path("own").display().to_string();
        let told = self.inside.0.command(&["export"], &[&own, "--json"]).ok();
        let told: Value = serde_json::from_str(&told).expect("JSON");
        let other = told["key"].as_str().expect("the key of the other registry");
        for (key, source, why) in [
            (other, "/mnt/disk/again/*.tar", "it is signed with the key "),
            (key, "/mnt/disk/mirror_000001.tar", "it is no bundle that a registry exported"),
            (key, "/mnt/disk/again/*.tar /mnt/disk/mirror_000001.tar", "it is no bundle"),
        ] {
            let import = format!("registry import --require-signer {key} {source}");
            let said = self.typed("inside", &import).fails(1);
            assert!(said.contains("nothing is imported, since ") && said.contains(why), "{said}");
        }
        self.lacks_the_last();
        self.names.push(("KEY", key.to_owned()));
    }

    /// Checks that the last image is online alone.
    fn lacks_the_last(&self) {
        let [there, here] = [self.online.0, self.inside.0].map(listed);
        assert!(there.contains("  1.2") && !here.contains("  1.2"), "{there}\n{here}");
    }
}

/// The images of a registry.
fn listed(instance: &Instance) -> String {
    instance.command(&["ls"], &["team/app"]).ok()
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
