//! The text of the service's unit: what systemd promises the service, and what it keeps from it.
//!
//! The oldest systemd that matters is 239, of RHEL 8. It warns about directives that it does not
//! know and ignores them, so those of later versions stand here too.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::paths::HOMES;

/// What a unit is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// What the service is, for people.
    pub description: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The user of the service, in that user's own group.
    pub user: String,
    /// The one directory that the service may write in.
    pub writable: PathBuf,
    /// The directory below `/run` that it has while it runs.
    pub runtime: String,
    /// Where the file system of that directory is mounted, unless it is the root's.
    pub mount_point: Option<PathBuf>,
    /// What the service must not see, whatever its rights.
    pub hidden: Vec<PathBuf>,
    /// Whether it listens on a port below 1024.
    pub low_port: bool,
    /// Whether it can only start once the host's addresses are up.
    pub needs_network: bool,
}

impl Unit {
    /// The unit as systemd reads it.
    pub fn text(&self) -> String {
        let writable = quoted(&self.writable.to_string_lossy());
        let optional = quoted(&format!("-{}", self.writable.display()));
        let hidden = self.hidden.iter().map(|path| quoted(&format!("-{}", path.display())));
        let capability = if self.low_port { "CAP_NET_BIND_SERVICE" } else { "" };
        // Only in a command line does `$` begin something.
        let command = self.command.iter().map(|word| quoted(word).replace('$', "$$"));
        let command: Vec<_> = command.collect();
        let network = match self.needs_network {
            true => "Wants=network-online.target\nAfter=network-online.target",
            // Where the cable is out, waiting for the network would only cost minutes.
            false => "After=network.target",
        };
        let mut text = format!(
            "# Written by `registry install`. Your own settings belong into a drop-in, by\n\
             # `systemctl edit`: this file is written again.\n\
             [Unit]\nDescription={}\n\
             {network}\n\
             # The data's own file system is mounted first.\n\
             RequiresMountsFor={writable}\n\
             # However often it fails, it is tried again: what it waits for may come at any time.\n\
             StartLimitIntervalSec=0\n\n\
             [Service]\nType=notify\nNotifyAccess=main\n\
             User={}\nExecStart={}\n\
             Restart=always\nRestartSec={RESTART_SECONDS}\n\
             TimeoutStartSec={START_SECONDS}\nTimeoutStopSec={STOP_SECONDS}\n\
             WatchdogSec={WATCHDOG_SECONDS}\n\
             LimitNOFILE={OPEN_FILES}\n\
             # The C library would keep eight heaps for each core.\n\
             Environment=MALLOC_ARENA_MAX={HEAPS}\n\
             # A core would hold keys and passwords.\n\
             LimitCORE=0\n\n",
            self.description,
            self.user,
            command.join(" "),
        );
        // For the socket, where the directory takes none because its disk is read-only.
        let _ = writeln!(text, "RuntimeDirectory={}\nRuntimeDirectoryMode=0700", self.runtime);
        // A missing directory must not keep the program from saying what is missing.
        let _ = write!(text, "ReadWritePaths={optional}\n{}\n", home(&self.writable, &optional));
        for path in hidden {
            let _ = writeln!(text, "InaccessiblePaths={path}");
        }
        let _ = writeln!(text, "CapabilityBoundingSet={capability}");
        let _ = writeln!(text, "AmbientCapabilities={capability}");
        // A mount that fails at boot takes the service down with it; one that comes later, by
        // whatever hand, brings it up.
        let mount = self.mount_point.as_deref().map(|path| format!(" {}", mount_unit(path)));
        let mount = mount.unwrap_or_default();
        text + CONFINEMENT + &format!("\n[Install]\nWantedBy=multi-user.target{mount}\n")
    }
}

/// Whether systemd can carry this text in a unit: one line, and no characters without a glyph.
pub fn can_carry(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// Home directories are hidden. Where the data lies in one, it alone is let in.
fn home(writable: &Path, optional: &str) -> String {
    // A home may be a link, as on systems whose root is an image.
    let is_in = |home: &&str| {
        let real = Path::new(home).canonicalize();
        writable.starts_with(home) || real.is_ok_and(|real| writable.starts_with(real))
    };
    if HOMES.iter().any(is_in) {
        format!("ProtectHome=tmpfs\nBindPaths={optional}")
    } else {
        "ProtectHome=yes".to_owned()
    }
}

/// The name of the unit of a mount point, escaped as `systemd-escape --path` does.
fn mount_unit(path: &Path) -> String {
    let text = path.to_string_lossy();
    let mut name = String::new();
    for (index, byte) in text.trim_matches('/').bytes().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if index == 0 => name += "\\x2e",
            b'_' | b'.' | b':' => name.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => name.push(char::from(byte)),
            byte => name += &format!("\\x{byte:02x}"),
        }
    }
    // A unit's file knows specifiers, and names of units have none.
    name.replace('%', "%%") + ".mount"
}

/// A word as systemd takes it: `%` begins a specifier.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-_.,:=@+[]".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    format!("\"{escaped}\"")
}

/// Between the end of the process and its next start.
const RESTART_SECONDS: u32 = 5;
/// For a start; while it opens or migrates a store the service asks for more.
const START_SECONDS: u32 = 120;
/// For a stop. The service gives running requests 60 s, and needs a moment for the rest.
const STOP_SECONDS: u32 = 90;
/// Without a sign of life from its event loop for so long the service is started anew.
const WATCHDOG_SECONDS: u32 = 120;
/// Heaps that the threads share: as much memory on a large machine as on a small one.
const HEAPS: u32 = 2;
/// Connections and the files behind them.
const OPEN_FILES: u32 = 65536;

/// What the service gets along without. It needs its directory, its sockets and the clock.
///
/// System calls that are filtered do not exist for the service, rather than being forbidden: an
/// old systemd does not know the newer ones, `clone3` among them, and glibc falls back to the
/// older ones only then.
const CONFINEMENT: &str = "\
NoNewPrivileges=yes
UMask=0077
ProtectSystem=strict
PrivateTmp=yes
PrivateDevices=yes
PrivateMounts=yes
ProtectProc=invisible
ProcSubset=pid
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=ENOSYS
";

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(writable: &str) -> Unit {
        Unit {
            description: "A service".to_owned(),
            command: ["/usr/local/bin/a", "b", "--c", "50% $x"].map(str::to_owned).to_vec(),
            user: "somebody".to_owned(),
            writable: writable.into(),
            runtime: "a".to_owned(),
            mount_point: None,
            hidden: vec!["/etc/a/pki".into()],
            low_port: false,
            needs_network: false,
        }
    }

    fn lines(unit: &Unit, key: &str) -> Vec<String> {
        let text = unit.text();
        let values = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        values.map(str::to_owned).collect()
    }

    #[test]
    fn a_low_port_takes_one_capability_and_a_high_one_none() {
        let mut unit = unit("/srv/a");
        for key in ["CapabilityBoundingSet", "AmbientCapabilities"] {
            assert_eq!(lines(&unit, key), [""]);
        }
        unit.low_port = true;
        for key in ["CapabilityBoundingSet", "AmbientCapabilities"] {
            assert_eq!(lines(&unit, key), ["CAP_NET_BIND_SERVICE"]);
        }
    }

    #[test]
    fn only_a_service_with_an_address_of_its_own_waits_for_the_network() {
        let mut unit = unit("/srv/a");
        assert_eq!(lines(&unit, "After"), ["network.target"]);
        unit.needs_network = true;
        assert_eq!(lines(&unit, "After"), ["network-online.target"]);
        assert_eq!(lines(&unit, "Wants"), ["network-online.target"]);
    }

    #[test]
    fn data_in_a_home_is_let_in_alone() {
        assert_eq!(lines(&unit("/srv/a"), "ProtectHome"), ["yes"]);
        assert_eq!(lines(&unit("/srv/a"), "BindPaths"), [""; 0]);
        assert_eq!(lines(&unit("/home/u/a"), "ProtectHome"), ["tmpfs"]);
        assert_eq!(lines(&unit("/home/u/a"), "BindPaths"), ["-/home/u/a"]);
        assert_eq!(lines(&unit("/homeland"), "ProtectHome"), ["yes"]);
    }

    #[test]
    fn a_mount_that_comes_late_brings_the_service_up() {
        let mut unit = unit("/srv/a");
        assert_eq!(lines(&unit, "WantedBy"), ["multi-user.target"]);
        unit.mount_point = Some("/srv/my-data/a b".into());
        let mount = r"srv-my\x2ddata-a\x20b.mount";
        assert_eq!(lines(&unit, "WantedBy"), [format!("multi-user.target {mount}")]);
        assert_eq!(mount_unit(Path::new("/.a/é")), r"\x2ea-\xc3\xa9.mount");
    }

    #[test]
    fn words_are_quoted_as_systemd_reads_them() {
        let unit = unit("/srv/my data/50%");
        assert_eq!(lines(&unit, "ReadWritePaths"), ["\"-/srv/my data/50%%\""]);
        assert_eq!(lines(&unit, "RequiresMountsFor"), ["\"/srv/my data/50%%\""]);
        assert_eq!(quoted("a\"b\\"), "\"a\\\"b\\\\\"");
        assert_eq!(lines(&unit, "ExecStart"), ["/usr/local/bin/a b --c \"50%% $$x\""]);
        assert!(can_carry("/srv/my data") && !can_carry("/srv/a\nUser=root"));
    }

    #[test]
    fn what_lasts_as_long_as_the_service_runs_is_for_it_alone() {
        assert_eq!(lines(&unit("/srv/a"), "RuntimeDirectory"), ["a"]);
        assert_eq!(lines(&unit("/srv/a"), "RuntimeDirectoryMode"), ["0700"]);
    }

    #[test]
    fn memory_does_not_grow_with_the_cores() {
        assert_eq!(lines(&unit("/srv/a"), "Environment"), ["MALLOC_ARENA_MAX=2"]);
    }

    #[test]
    fn what_must_not_be_seen_is_hidden() {
        assert_eq!(lines(&unit("/srv/a"), "InaccessiblePaths"), ["-/etc/a/pki"]);
    }
}
