//! From one host to another over ssh, as the page on the air gap types it: to a host that boots,
//! with an SSH server and an installed registry.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::page::lines;
use crate::support::binary::{Instance, program};
use crate::support::clients::Machine;
use crate::support::content::{noise, push_image};
use crate::support::host::{Host, NAME};
use crate::support::process::{Run, run};

#[test]
fn a_registry_sends_to_another_over_ssh() {
    let Some(host) = Host::boot() else { return };
    host.copy_in(program(), "/root/registry");
    host.run(&["/root/registry", "install"]).ok();
    let online = Instance::started();
    let sender = Sender::new(&online, &host);
    let client = online.client();
    for number in 0..IMAGES {
        push_image(&client, "team/app", &number.to_string(), &noise(number, LAYER_BYTES));
    }

    // The connection breaks when a part went through.
    let broken = sender.typed(
        "registry export - 2> export.err | head -c 1500000 | \
         ssh root@mirror.example.com registry import - > import.out 2> import.err; \
         echo ${PIPESTATUS[0]} ${PIPESTATUS[2]}",
    );
    assert_eq!(broken.ok(), "1 1");
    let said = |name: &str| fs::read_to_string(sender.machine.path(name)).expect("what it said");
    let (export, import) = (said("export.err"), said("import.out") + &said("import.err"));
    assert!(export.contains("whoever read the pipe ended before its end"), "{export}");
    assert!(import.contains("in its middle: it was not written or copied whole"), "{import}");
    let here = listed(&host);
    assert!((1..IMAGES as usize).contains(&here.len()), "{here:?}\n{import}");
    assert_eq!(host.shell("ls /var/lib/registry/uploads").ok(), "");

    let page = lines("## Two hosts that see each other");
    let [first, rest @ ..] = page.as_slice() else { panic!("the section has no lines") };
    assert!(page.iter().all(|line| line.host == "online") && rest.len() == 2);
    sender.typed(first.command).ok();
    let there = online.command(&["ls"], &["team/app"]).ok();
    assert_eq!(listed(&host), there.lines().collect::<Vec<_>>());
    push_image(&client, "team/app", "next", &noise(IMAGES, LAYER_BYTES));
    let told: Vec<Run> = rest.iter().map(|line| sender.typed(line.command)).collect();
    let report = &told[1].err;
    assert!(report.contains("left out ") && report.contains("13 blobs"), "{}", told[1]);
    told.into_iter().for_each(|run| drop(run.ok()));
    let there = online.command(&["ls"], &["team/app"]).ok();
    assert_eq!(listed(&host), there.lines().collect::<Vec<_>>());
    host.run(&["registry", "verify"]).ok();
    let unowned = host.shell("find /var/lib/registry ! -user registry").ok();
    assert_eq!(unowned, "");
}

/// What the registry of the host holds.
fn listed(host: &Host) -> Vec<String> {
    let listed = host.run(&["registry", "ls", "team/app"]).ok();
    listed.lines().map(str::to_owned).collect()
}

/// Whoever types on the host that sends: with its registry, and with a key for the other host.
struct Sender {
    machine: Machine,
}

impl Sender {
    fn new(online: &Instance, host: &Host) -> Self {
        let machine = Machine::outside_of(host);
        let path = |name: &str| machine.path(name).display().to_string();
        let data = online.data().display().to_string();
        let registry = program().display();
        Self::write_program(
            &machine,
            "registry",
            &format!("exec '{registry}' \"$@\" --data-dir '{data}'"),
        );
        // ssh looks for its files where the user is at home, whatever HOME says.
        let own = format!(
            "-F none -i '{}' -o UserKnownHostsFile='{}' -o BatchMode=yes",
            path("key"),
            path("known_hosts")
        );
        Self::write_program(&machine, "ssh", &format!("exec /usr/bin/ssh {own} \"$@\""));
        let words = ["-q", "-t", "ed25519", "-N", "", "-f", &path("key")];
        machine.client("ssh-keygen", &words).ok();
        let key = fs::read_to_string(machine.path("key.pub")).expect("the key");
        host.shell_with_input(
            "umask 077; mkdir -p /root/.ssh; cat > /root/.ssh/authorized_keys; systemctl start ssh",
            key.as_bytes(),
        )
        .ok();
        let known = host.run(&["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]).ok();
        machine.write("known_hosts", &format!("{NAME} {known}\n"));
        Self { machine }
    }

    fn write_program(machine: &Machine, name: &str, line: &str) {
        machine.write(&format!("bin/{name}"), &format!("#!/bin/sh\n{line}\n"));
        let path = machine.path(&format!("bin/{name}"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a program");
    }

    /// Types a line. If one program of a pipe fails, all of it does.
    fn typed(&self, command: &str) -> Run {
        let mut shell = self.machine.command("bash");
        let path = std::env::var("PATH").expect("a path");
        shell.env("PATH", format!("{}:{path}", self.machine.path("bin").display()));
        run(shell.args(["-o", "pipefail", "-c", command]))
    }
}

/// The images that are sent, and the length of the layer of each.
const IMAGES: u64 = 12;
const LAYER_BYTES: usize = 300_000;
