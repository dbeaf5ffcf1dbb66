//! The network of a host: one cable, with the host at one end and its clients at the other. Both
//! ends lie in namespaces of the test, so that hosts with the same name and addresses run side by
//! side. The host sets up its own end itself, as a real one does: the root has its settings.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::keeper::Keeper;
use super::root::root;

/// The host's name, which resolves inside and outside of it.
pub(crate) const NAME: &str = "mirror.example.com";
/// The end of the cable that nspawn takes into the host.
pub(crate) const HOST_END: &str = "eth0";

/// The network outside of a host, for programs of this machine.
pub(crate) struct Outside {
    namespace: PathBuf,
}

impl Outside {
    /// The network around the host that lies in these namespaces.
    pub(crate) fn of(keeper: &Keeper) -> Self {
        Self { namespace: keeper.network() }
    }

    /// A program of this machine that reaches the host and nothing else, and knows its names. It is
    /// the child itself, in the directory and the environment that the command is given.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.namespace.display()));
        command.args(["unshare", "--mount", "sh", "-euc"]);
        command.arg(r#"mount --bind "$1" /etc/hosts; shift; exec "$@""#).arg("sh");
        command.arg(hosts()).arg(program);
        command
    }
}

/// Lays the cable for the next start of the host. What is left of the one before goes first, for a
/// network that has ended goes in its own time.
pub(crate) fn connect(keeper: &Keeper) {
    keeper.script(CABLE, &[Path::new(HOST_END)]);
}

/// The names that the host knows are those that its clients know.
fn hosts() -> PathBuf {
    root().join("etc/hosts")
}

const CABLE: &str = r#"
ip link set lo up
if ip link show outside >/dev/null 2>&1; then ip link delete outside; fi
ip link add outside type veth peer name "$1"
ip address add 192.0.2.2/24 dev outside
ip address add 2001:db8::2/64 dev outside nodad
ip link set outside up
"#;
