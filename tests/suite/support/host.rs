//! A host: Debian with systemd, a firewall, SSH and podman, booted for one test in about a second.
//! Root inside may do what root on a real host may, short of changing the kernel; everything
//! ends with the test. Clients reach it from outside: see [`Machine::outside_of`].
//!
//! [`Machine::outside_of`]: super::clients::Machine::outside_of

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use self::cgroup::Cgroup;
use self::disk::{Disk, unmount};
use self::keeper::{Keeper, children, is};
use self::network::{HOST_END, connect};
use super::process::{Run, run, run_with_input, wait_gently_until};
use super::report::{skip, tell};

mod cgroup;
mod disk;
mod keeper;
mod network;
mod root;
mod snapshot;
mod started;

pub(crate) use self::network::{NAME, Outside};
pub(crate) use self::snapshot::Snapshot;
pub(crate) use self::started::Started;

/// A host of one test. Its disk begins as that of all hosts, lives through reboots and ends with
/// the value, as do its processes, mounts and network. When the test has failed, the end of its
/// journal is printed first.
pub(crate) struct Host {
    running: Option<Running>,
    // In this order: processes end before their group, and both before their files go.
    keeper: Keeper,
    cgroup: Cgroup,
    disk: Disk,
}

/// A host that is on.
struct Running {
    /// The process that entered the keeper's namespaces to become the parent of nspawn.
    entered: Child,
    /// The host's first process.
    leader: u32,
    mounted: Vec<PathBuf>,
}

impl Host {
    /// A host that is on. None if this machine cannot boot one, which is said.
    pub(crate) fn boot() -> Option<Self> {
        let mut host = Self::powered_off()?;
        host.start();
        Some(host)
    }

    /// A host that has never been on, for what must be there at its first boot.
    pub(crate) fn powered_off() -> Option<Self> {
        Self::make().inspect_err(|reason| skip(&format!("no host boots here: {reason}"))).ok()
    }

    fn make() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root can do it".to_owned());
        }
        if Command::new("systemd-nspawn").arg("--version").output().is_err() {
            return Err("Debian's package systemd-container is not installed".to_owned());
        }
        let keeper = Keeper::start()?;
        keeper.script(NOTES, &[]);
        let disk = Disk::new(&keeper)?;
        let cgroup = Cgroup::new(&disk.name()).map_err(|error| error.to_string())?;
        Ok(Self { running: None, keeper, cgroup, disk })
    }

    /// Turns the host on and waits until everything that starts at boot has started.
    #[track_caller]
    pub(crate) fn start(&mut self) {
        assert!(self.running.is_none(), "the host is on already");
        connect(&self.keeper);
        let mounted = self.disk.mount(&self.keeper);
        let entered = self.spawn();
        let running = self.running.insert(Running { entered, leader: 0, mounted });
        let console = self.disk.console();
        wait_gently_until("the host has booted", || {
            let ended = running.entered.try_wait().expect("its state").is_some();
            assert!(!ended, "{}", fs::read_to_string(&console).unwrap_or_default());
            running.find_leader() && running.has_booted()
        });
        // The first moment at which the host can be reached from outside.
        self.run(&["/lib/systemd/systemd-networkd-wait-online", "--interface", HOST_END]).ok();
    }

    /// Shuts the host down in order.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        self.leave(&["systemctl", "poweroff"]);
    }

    /// Shuts the host down in order and starts it again.
    #[track_caller]
    pub(crate) fn reboot(&mut self) {
        // nspawn ends at a reboot and leaves it to its parent to start it again.
        self.leave(&["systemctl", "reboot"]);
        self.start();
    }

    /// Ends everything that runs in the host at once and without a word. What was written stays
    /// written, synced or not: it is processes that lose their power here, not the kernel.
    #[track_caller]
    pub(crate) fn cut_power(&mut self) {
        if self.running.as_mut().expect("a host that is on").find_leader() {
            kill(self.running().leader);
        }
        self.wait_until_off();
    }

    /// Waits until the host is off, after something in it has begun to shut it down or to reboot
    /// it; a reboot, too, ends here and goes on with [`Self::start`].
    #[track_caller]
    pub(crate) fn wait_until_off(&mut self) {
        let running = self.running.as_mut().expect("a host that is on");
        wait_gently_until("the host is off", || {
            running.entered.try_wait().expect("its state").is_some()
        });
        unmount(&self.keeper, &running.mounted);
        self.running = None;
    }

    /// Runs a program in the host as root.
    #[track_caller]
    pub(crate) fn run(&self, words: &[&str]) -> Run {
        run(self.command(words[0]).args(&words[1..]))
    }

    /// Runs a shell script in the host as root. It ends at the first command that fails.
    #[track_caller]
    pub(crate) fn shell(&self, script: &str) -> Run {
        self.shell_with_input(script, b"")
    }

    /// The same for a script that reads standard input.
    #[track_caller]
    pub(crate) fn shell_with_input(&self, script: &str, input: &[u8]) -> Run {
        run_with_input(self.command("sh").args(["-euc", script]), input)
    }

    /// Starts a shell script in the host as root, without waiting for its end. With `exec` before
    /// its last command, that one gets the signals.
    #[track_caller]
    pub(crate) fn start_shell(&self, script: &str) -> Started {
        Started::new(self.command("sh").args(["-euc", script]))
    }

    /// A program in the host that has not been started, for what the other functions do not do.
    /// It runs as root in /, with the environment of a login and without a terminal.
    #[track_caller]
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.running().leader.to_string());
        command.args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--", program]);
        command.env_clear().env("PATH", PATH).env("HOME", "/root").env("LANG", "C.UTF-8");
        command
    }

    /// A path of the host as the test reaches it, the same whether the host is on or off. What is
    /// mounted by [`Self::mount_at_boot`] is there while the host is on; what the host itself
    /// mounts, as it does /run, is not.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.keeper.path(&self.disk.path(Path::new(path)))
    }

    /// Copies a file with its mode into the host, and makes the directories above it.
    #[track_caller]
    pub(crate) fn copy_in(&self, from: &Path, to: &str) {
        let to = self.path(to);
        fs::create_dir_all(to.parent().expect("a directory")).expect("directories");
        fs::copy(from, to).expect("a copy");
    }

    /// Mounts a directory of the test at this path of the host at every boot from the next on. The
    /// directory to mount it on is made.
    pub(crate) fn mount_at_boot(&mut self, source: &Path, target: &str) {
        self.disk.add(source, target);
    }

    /// The same with a disk of its own, empty and of this size, which keeps its content over
    /// reboots.
    pub(crate) fn mount_disk_at_boot(&mut self, bytes: u64, target: &str) {
        self.disk.add_small(&self.keeper, bytes, target);
    }

    /// Lets nothing be mounted from the next boot on, as if the lines of /etc/fstab were lost.
    pub(crate) fn clear_mounts(&mut self) {
        self.disk.clear();
    }

    /// The network outside of the host.
    pub(crate) fn outside(&self) -> Outside {
        Outside::of(&self.keeper)
    }

    /// The last lines of the journal, of this boot and of those before.
    pub(crate) fn journal(&self) -> String {
        let mut journalctl = Command::new("journalctl");
        journalctl.args(["--quiet", "--no-pager", "--lines=60", "--directory"]);
        // A test that fails asks as well: nothing may fail here.
        match journalctl.arg(self.path("/var/log/journal")).output() {
            Ok(journal) => String::from_utf8_lossy(&journal.stdout).into_owned(),
            Err(error) => format!("journalctl: {error}"),
        }
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("a host that is on")
    }

    /// Starts nspawn and, in it, the host.
    fn spawn(&self) -> Child {
        let console = File::options().create(true).append(true).open(self.disk.console());
        let console = console.expect("a file");
        let errors = console.try_clone().expect("a file");
        let mut sh = self.keeper.command_that_ends_with_it("sh");
        sh.arg("-euc").arg(format!("{}{NSPAWN}", self.cgroup.entry())).arg("sh");
        sh.arg(self.disk.path(Path::new("/"))).args([&self.disk.name(), HOST_END, NAME]);
        sh.stdin(Stdio::null()).stdout(console).stderr(errors).spawn().expect("nsenter")
    }

    #[track_caller]
    fn leave(&mut self, words: &[&str]) {
        // The host may end before the command does.
        let _ = self.run(words);
        self.wait_until_off();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let console = fs::read_to_string(self.disk.console());
            tell(&format!("the host's console:\n{}", console.unwrap_or_default()));
            tell(&format!("the host's journal:\n{}", self.journal()));
        }
        if let Some(mut running) = self.running.take() {
            // nspawn tidies up when its host has ended; if it is too early or too late for that,
            // the keeper ends both.
            if running.find_leader() {
                kill(running.leader);
                let _ = running.entered.wait();
            }
        }
    }
}

impl Running {
    /// Finds the host's first process, and whether it is systemd by now: it is a child of nspawn.
    fn find_leader(&mut self) -> bool {
        let nspawn = children(self.entered.id());
        let leader = nspawn.into_iter().flat_map(children).find(|pid| is(*pid, "systemd"));
        self.leader = leader.unwrap_or(self.leader);
        leader.is_some()
    }

    fn has_booted(&self) -> bool {
        let mut systemctl = Command::new("nsenter");
        systemctl.arg("--target").arg(self.leader.to_string());
        systemctl.args(["--mount", "--pid", "--", "systemctl", "is-system-running"]);
        matches!(String::from_utf8_lossy(&run(&mut systemctl).out).trim(), "running" | "degraded")
    }
}

/// Kills a process that may have ended.
fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("the number of a process");
    let _ = kill_process(pid, Signal::KILL);
}

/// Gives nspawn a place of its own for what it notes about containers, so that it leaves nothing on
/// the machine.
const NOTES: &str = "mkdir -p /run/systemd/nspawn; mount -t tmpfs nspawn /run/systemd/nspawn";
/// Becomes nspawn, which boots the host at $1 called $2, gives it the end $3 of the cable and the
/// name $4. It sees its own processes in /proc; and a /sys that cannot be written tells it that no
/// udev will ever call the cable ready.
const NSPAWN: &str = r#"
exec unshare --mount --mount-proc --propagation slave sh -euc '
mount -o remount,bind,ro /sys
exec systemd-nspawn --quiet --boot --directory="$1" --machine="$2" --network-interface="$3" \
    --hostname="$4" --register=no --keep-unit --console=pipe \
    --resolv-conf=off --timezone=off --link-journal=no' sh "$@"
"#;
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
