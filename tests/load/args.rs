//! The command line.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::Parser;

use crate::scenario::Scenario;
use crate::server::Program;
use crate::work::Sizes;

const ABOUT: &str = "\
Measures our registry against any number of others on the same work: pushes and pulls of large \
and small blobs, manifests, a release and the nodes that pull it, starts and rest; and imports.";

const LONG_ABOUT: &str = "\
Measures our registry against any number of others on the same work: pushes and pulls of large \
and small blobs, manifests, a release and the nodes that pull it, starts and rest. Imports of ours \
run beside openssl, which hashes the same bytes, and skopeo, which copies them into a server of \
ours; their processor time is the command's and the server's. At the end, what clients of ours \
wait for with and without a collection. It prints, and judges nothing.

Debian's docker-registry is built in, and nginx with the manifest as a static file; one that is \
not installed is left out. Within each round every group of scenarios runs on one server after \
the other, each alone, on a fresh data directory, with TLS 1.3, HTTP/1.1 and a login, and another \
one begins in each round. Processor time, memory and switches are those of the server's processes, \
from /proc. Connections are open and digests computed before a clock starts. Ratios are taken \
within a round; the table shows their median, least and most.

As root, the data lies on a loop device of its own, so that flushes and bytes written can be \
counted; otherwise they are not.

It needs the file that we give away (the recipe `release` of the justfile) and Debian's packages \
docker-registry, nginx-light, apache2-utils, e2fsprogs, xfsprogs, openssl and skopeo. The full \
form takes about three quarters of an hour, 22 GiB of disk, of which all but 5 are for imports, \
and 1 GiB of memory beside the servers', and more so that what is imported lies in memory.";

const PEER_HELP: &str = "\
Another registry: a name, and a line for sh that starts it, may be given more than once.

The line must keep its processes in its process group, end at SIGTERM, and serve HTTPS with these:
  LOAD_PORT, LOAD_ADDRESS  where to listen, on 127.0.0.1
  LOAD_DATA                an empty directory for its data
  LOAD_CERT, LOAD_KEY      certificate (ECDSA P-256) and key in PEM; LOAD_CA is what issued it
  LOAD_HTPASSWD            a password file of htpasswd, bcrypt at cost 5
  LOAD_USER, LOAD_PASSWORD the login, which may push and pull everywhere
  LOAD_CONFIG              a configuration of docker-registry that says all of this
The server's answer 401 says whether the login goes with each request (Basic) or fetches tokens \
(Bearer). For example:
  --peer 'two=exec docker-registry serve $LOAD_CONFIG'";

/// What the command line asks for.
#[derive(Debug, Parser)]
#[command(name = "load", version, about = ABOUT, long_about = LONG_ABOUT)]
pub(crate) struct Args {
    /// The binary of our server [default: the file that is given away, where its recipe puts it]
    #[arg(long, value_name = "PATH")]
    registry: Option<PathBuf>,
    /// The binary of docker-registry
    #[arg(long, value_name = "PATH", default_value = "docker-registry")]
    docker_registry: PathBuf,
    /// The binary of nginx
    #[arg(long, value_name = "PATH", default_value = "/usr/sbin/nginx")]
    nginx: PathBuf,
    /// Another registry, started by a line for sh
    #[arg(
        long = "peer", value_name = "NAME=COMMAND", value_parser = Program::peer,
        long_help = PEER_HELP
    )]
    peers: Vec<Program>,
    /// Where data directories are made and removed, and where the servers' output stays. Take a
    /// disk, not a tmpfs, or syncing costs nothing [default: a temporary directory, removed]
    #[arg(long, value_name = "DIR")]
    pub(crate) work_dir: Option<PathBuf>,
    /// Puts the data into that directory itself, and counts nothing of the disk
    #[arg(long)]
    no_disk: bool,
    /// How often each server runs [default: 3, and 1 with --short]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: Option<u16>,
    /// Less work, for a quick look and for CI; the figures are rough
    #[arg(long)]
    pub(crate) short: bool,
    /// Runs these servers alone, by their names, separated by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Runs these scenarios alone, separated by commas [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    scenarios: Vec<Scenario>,
    /// With scenarios named, measures what clients wait during a collection as well
    #[arg(long)]
    collection: bool,
    /// After each pull, pulls once more off the clock and checks the digests
    #[arg(long)]
    pub(crate) check_digests: bool,
    /// Writes the raw figures to a file as well
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

impl Args {
    /// How much work there is.
    pub(crate) fn sizes(&self) -> Sizes {
        if self.short { Sizes::SHORT } else { Sizes::FULL }
    }

    /// How often each server runs.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.map_or(if self.short { 1 } else { 3 }, usize::from)
    }

    /// The size of the disk that is to be made, if one is.
    pub(crate) fn disk_bytes(&self) -> Option<u64> {
        (!self.no_disk).then_some(self.sizes().disk_bytes)
    }

    /// What to run, each group on one server; whatever the order asked for, in its own.
    pub(crate) fn groups(&self) -> Vec<Vec<Scenario>> {
        let asked =
            |scenario: &Scenario| self.scenarios.is_empty() || self.scenarios.contains(scenario);
        let groups = Scenario::GROUPS.iter();
        let groups = groups.map(|group| group.iter().copied().filter(asked).collect());
        groups.filter(|group: &Vec<Scenario>| !group.is_empty()).collect()
    }

    /// Whether the waits during a collection are measured.
    pub(crate) fn collection(&self) -> bool {
        self.scenarios.is_empty() || self.collection
    }

    /// The servers of a round. Fails when two go by one name, or one is asked for that is none.
    pub(crate) fn programs(&self) -> Result<Vec<Program>> {
        let ours = match &self.registry {
            Some(path) => path.clone(),
            None => given_away(&std::env::current_exe()?),
        };
        let mut programs = vec![
            Program::ours(ours.clone()),
            Program::docker_registry(self.docker_registry.clone()),
            Program::nginx(self.nginx.clone()),
            Program::openssl(),
            Program::skopeo(ours),
        ];
        programs.splice(2..2, self.peers.iter().cloned());
        for (index, program) in programs.iter().enumerate() {
            let is_new = programs[..index].iter().all(|other| other.name != program.name);
            ensure!(is_new, "two servers go by the name {}", program.name);
        }
        for name in &self.only {
            let is_known = programs.iter().any(|program| program.name == *name);
            ensure!(is_known, "no server goes by the name {name}");
        }
        programs.retain(|program| self.only.is_empty() || self.only.contains(&program.name));
        Ok(programs)
    }
}

/// The file that is given away, in the same target directory as this program, which is there by
/// its profile.
fn given_away(own: &Path) -> PathBuf {
    let target = own.ancestors().nth(2).unwrap_or(own);
    target.join("x86_64-unknown-linux-gnu/release/registry")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::server::PeerError;

    fn args(line: &str) -> Args {
        Args::try_parse_from(line.split_whitespace()).unwrap()
    }

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
        assert_eq!(args("load").rounds(), 3);
        assert_eq!(args("load --short").rounds(), 1);
        assert_eq!(args("load --short --rounds 5").rounds(), 5);
        assert!(Args::try_parse_from(["load", "--rounds", "0"]).is_err());
        assert_eq!(args("load --no-disk").disk_bytes(), None);
    }

    #[test]
    fn scenarios_run_in_their_order_whatever_the_order_asked_for() {
        assert_eq!(args("load").groups(), Scenario::GROUPS.map(<[_]>::to_vec));
        let asked = args("load --scenarios stream8,pull,push").groups();
        assert_eq!(asked, [vec![Scenario::Push, Scenario::Pull], vec![Scenario::Stream8]]);
        assert!(args("load").collection());
        assert!(!args("load --scenarios push").collection());
    }

    #[test]
    fn ours_is_the_file_that_is_given_away() {
        let own = Path::new("/build/target/release/load");
        let expected = "/build/target/x86_64-unknown-linux-gnu/release/registry";
        assert_eq!(given_away(own), Path::new(expected));
    }

    #[test]
    fn peers_by_command_join_those_that_are_built_in() {
        let names = |line: &str| -> Result<Vec<String>> {
            Ok(args(line).programs()?.into_iter().map(|program| program.name).collect())
        };
        let expected = ["ours", "docker-registry", "nginx", "openssl", "skopeo"];
        assert_eq!(names("load").unwrap(), expected);
        let expected = ["ours", "docker-registry", "a", "b", "nginx", "openssl", "skopeo"];
        assert_eq!(names("load --peer a=x --peer b=y").unwrap(), expected);
        assert_eq!(names("load --peer a=x --only a,ours").unwrap(), ["ours", "a"]);
        assert!(names("load --peer ours=x").is_err());
        assert!(names("load --only another").is_err());
    }

    #[test]
    fn what_is_no_peer_is_refused_with_its_reason() {
        let error = Args::try_parse_from(["load", "--peer", "a"]).unwrap_err().to_string();
        assert!(error.contains(&PeerError::NoCommand.to_string()), "{error}");
    }
}
