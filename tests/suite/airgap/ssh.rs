//! From one host to another over ssh, as the page on the air gap types it: to a host that boots,
//! with an SSH server and an installed registry.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::page::lines;
use crate::support::binary::{Instance, program};
use crate::support::clients::Machine;
use crate::support::content::{noise, push_image};
use crate::support::host::{Host, NAME, Started};
use crate::support::process::{Run, run, wait_gently_until};

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

    break_off(&sender, &host);

    let page = lines("## Two hosts that see each other");
    let [first, rest @ .., by_sudo] = page.as_slice() else { panic!("the section has no lines") };
    assert!(page.iter().all(|line| line.host == "online") && rest.len() == 2);
    sender.typed(first.command).ok();
    let there = online.command(&["ls"], &["team/app"]).ok();
    assert_eq!(listed(&host), there.lines().collect::<Vec<_>>());
    push_image(&client, "team/app", "next", &noise(IMAGES, LAYER_BYTES));
    let told: Vec<Run> = rest.iter().map(|line| sender.typed(line.command)).collect();
    let report = &told[1].err;
    assert!(report.contains("left out ") && report.contains("13 blobs"), "{}", told[1]);
    told.into_iter().for_each(|run| drop(run.ok()));
    push_image(&client, "team/app", "last", &noise(IMAGES + 1, LAYER_BYTES));
    sender.typed(by_sudo.command).ok();
    let there = online.command(&["ls"], &["team/app"]).ok();
    assert_eq!(listed(&host), there.lines().collect::<Vec<_>>());
    host.run(&["registry", "verify"]).ok();
    let unowned = host.shell("find /var/lib/registry ! -user registry").ok();
    assert_eq!(unowned, "");
}

/// Sends until a part went through, and kills what holds the connection on the other host while
/// the rest is still to come.
fn break_off(sender: &Sender, host: &Host) {
    sender.machine.client("mkfifo", &["held"]).ok();
    let sending = Started::new(&mut sender.shell(
        "registry export - 2> export.err | { head -c 1500000; cat held; cat; } | \
         ssh root@mirror.example.com 'echo $PPID > session; exec registry import -' 2> ssh.err; \
         echo ${PIPESTATUS[0]} ${PIPESTATUS[2]}",
    ));
    // What comes through a pipe can be pulled when the pipe has ended.
    wait_gently_until("layers have come", || {
        let come = "find /var/lib/registry/uploads -type f -size +250k";
        host.shell(come).ok().lines().count() > 2
    });
    host.shell("grep -q ^sshd /proc/$(cat /root/session)/comm; kill -KILL $(cat /root/session)")
        .ok();
    sender.machine.client("sh", &["-c", ": > held"]).ok();
    assert_eq!(sending.wait().ok(), "1 255");
    let said = |name: &str| fs::read_to_string(sender.machine.path(name)).expect("what it said");
    let (export, ssh) = (said("export.err"), said("ssh.err"));
    assert!(export.contains("whoever read the pipe ended before its end"), "{export}");
    assert!(!ssh.contains("registry:"), "nobody hears the other side: {ssh}");
    wait_gently_until("the import has ended", || {
        host.shell("ls /var/lib/registry/uploads").ok().is_empty()
    });
    let here = listed(host);
    assert!((1..IMAGES as usize).contains(&here.len()), "{here:?}");
    host.run(&["registry", "verify"]).ok();
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
        host.shell_with_input(AUTHORIZE, key.as_bytes()).ok();
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
        run(&mut self.shell(command))
    }

    fn shell(&self, command: &str) -> Command {
        let mut shell = self.machine.command("bash");
        let path = std::env::var("PATH").expect("a path");
        shell.env("PATH", format!("{}:{path}", self.machine.path("bin").display()));
        shell.args(["-o", "pipefail", "-c", command]);
        shell
    }
}

/// The images that are sent, and the length of the layer of each.
const IMAGES: u64 = 12;
const LAYER_BYTES: usize = 300_000;
/// Lets a key in as root, and as somebody who may run the registry as root.
const AUTHORIZE: &str = r#"
useradd --create-home --shell /bin/sh admin
echo 'admin ALL = (root) NOPASSWD: /usr/local/bin/registry' >/etc/sudoers.d/admin
chmod 440 /etc/sudoers.d/admin
umask 077
mkdir -p /root/.ssh /home/admin/.ssh
tee /root/.ssh/authorized_keys >/home/admin/.ssh/authorized_keys
chown -R admin: /home/admin/.ssh
systemctl start ssh
"#;
