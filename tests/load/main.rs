//! The load generator: our server and Debian's docker-registry on the same work, one after the
//! other, and the ratios of what they used.
//!
//! It prints and never judges: it fails only when something could not be run, and a request
//! that is not answered as it should be is such a thing.

// A program for developers whose only output is what it prints.
#![allow(clippy::print_stdout)]

mod client;
mod collection;
mod data;
mod peer;
mod scenario;
mod server;
mod table;
mod usage;
mod work;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Parser;
use serde::Serialize;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use crate::collection::Collection;
use crate::scenario::Scenario;
use crate::server::{Kind, Program, Server};
use crate::table::Record;
use crate::work::{Sizes, Workload};

const ABOUT: &str = "\
Measures our registry against Debian's docker-registry on the same work: push and pull of large \
blobs, many small blobs, one manifest asked for again and again, many pushes at once.";

const LONG_ABOUT: &str = "\
Measures our registry against Debian's docker-registry on the same work: push and pull of large \
blobs, many small blobs, one manifest asked for again and again, many pushes at once. At the end, \
what clients of ours wait for a manifest and a small push with and without a collection.

Each round starts ours, then docker-registry, each alone, on a fresh data directory, with TLS 1.3, \
HTTP/1.1 and a login (docker-registry: htpasswd's bcrypt). Processor time is the server process's \
own, from /proc/PID/stat; memory is its peak, VmHWM. Connections are open and digests computed \
before a clock starts. Ratios are taken within a round; the table shows their median.

It needs the file that we give away (the recipe `release` of the justfile) and Debian's packages \
docker-registry and apache2-utils. The full form takes some minutes, 2.5 GiB of disk and \
0.5 GiB of memory beside the servers'.";

/// What the command line asks for.
#[derive(Debug, Parser)]
#[command(name = "load", version, about = ABOUT, long_about = LONG_ABOUT)]
struct Args {
    /// The binary of our server [default: the file that is given away, where its recipe puts it]
    #[arg(long, value_name = "PATH")]
    registry: Option<PathBuf>,
    /// The binary of docker-registry
    #[arg(long, value_name = "PATH", default_value = "docker-registry")]
    peer: PathBuf,
    /// Where data directories are made and removed, and where the servers' output stays. Take a
    /// disk, not a tmpfs, or syncing costs nothing [default: a temporary directory, removed]
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// How often each server runs [default: 3, and 1 with --short]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: Option<u16>,
    /// Less work, for a quick look and for CI; the figures are rough
    #[arg(long)]
    short: bool,
    /// Runs one of the two servers, without ratios
    #[arg(long, value_name = "SERVER")]
    only: Option<Kind>,
    /// Runs these scenarios alone, separated by commas [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    scenarios: Vec<Scenario>,
    /// With scenarios named, measures what clients wait during a collection as well
    #[arg(long)]
    collection: bool,
    /// After each pull, pulls once more off the clock and checks the digests
    #[arg(long)]
    check_digests: bool,
    /// Writes the raw figures to a file as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Args {
    fn sizes(&self) -> Sizes {
        if self.short { Sizes::SHORT } else { Sizes::FULL }
    }

    fn rounds(&self) -> usize {
        self.rounds.map_or(if self.short { 1 } else { 3 }, usize::from)
    }

    fn scenarios(&self) -> Vec<Scenario> {
        let asked =
            |scenario: &Scenario| self.scenarios.is_empty() || self.scenarios.contains(scenario);
        Scenario::ALL.into_iter().filter(asked).collect()
    }

    /// The servers of a round, in the order in which they run.
    fn programs(&self) -> Result<Vec<Program>> {
        let ours = match &self.registry {
            Some(path) => path.clone(),
            None => given_away(&std::env::current_exe()?),
        };
        let ours = Program { kind: Kind::Ours, path: ours };
        let peer = Program { kind: Kind::Peer, path: self.peer.clone() };
        let asked = |program: &Program| self.only.is_none_or(|only| only == program.kind);
        Ok([ours, peer].into_iter().filter(asked).collect())
    }
}

/// The file that is given away, in the same target directory as this program, which is there by
/// its profile.
fn given_away(own: &Path) -> PathBuf {
    let target = own.ancestors().nth(2).unwrap_or(own);
    target.join("x86_64-unknown-linux-gnu/release/registry")
}

/// What was run on what; the head of the output, and of the raw figures.
#[derive(Serialize)]
struct Facts {
    cores: usize,
    processor: String,
    kernel: String,
    memory: String,
    work_dir: PathBuf,
    versions: Vec<(Kind, String)>,
    sizes: Sizes,
    rounds: usize,
}

/// The raw figures.
#[derive(Serialize)]
struct Report<'a> {
    facts: &'a Facts,
    records: &'a [Record],
    collection: Option<&'a Collection>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        // A signal must end the program by returning, so that the servers are killed and the
        // data is removed.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            result = run(&args) => result,
            _ = interrupt.recv() => bail!("interrupted"),
            _ = terminate.recv() => bail!("terminated"),
        }
    })
}

async fn run(args: &Args) -> Result<()> {
    let programs = args.programs()?;
    let base = Base::new(args.work_dir.as_deref())?;
    let facts = Facts::gather(args, &programs, base.path())?;
    facts.print();

    let work = Workload::generate(args.sizes(), args.check_digests);
    let mut records = Vec::new();
    println!("{}", table::LINE_HEAD);
    for round in 1..=args.rounds() {
        for program in &programs {
            let label = format!("{}-{round}", program.kind.name());
            let server = Server::start(program, base.path(), &label).await?;
            for scenario in args.scenarios() {
                let measurement = scenario.run(&work, &server).await?;
                let record = Record { round, server: program.kind, scenario, measurement };
                println!("{}", table::line(&record));
                records.push(record);
            }
            server.stop().await?;
        }
    }
    println!("\n{}", table::render(&records));
    let ours = programs.iter().find(|program| program.kind == Kind::Ours);
    let collection = match ours.filter(|_| args.scenarios.is_empty() || args.collection) {
        Some(program) => Some(Collection::measure(program, base.path(), &work).await?),
        None => None,
    };
    if let Some(collection) = &collection {
        println!("{}", collection.render());
    }
    if let Some(path) = &args.json {
        let collection = collection.as_ref();
        let report = Report { facts: &facts, records: &records, collection };
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// The directory for everything, removed at the end when it is our own.
enum Base {
    Given(PathBuf),
    Own(TempDir),
}

impl Base {
    fn new(given: Option<&Path>) -> Result<Self> {
        let Some(path) = given else {
            return Ok(Self::Own(tempfile::Builder::new().prefix("registry-load-").tempdir()?));
        };
        fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))?;
        let path = fs::canonicalize(path)?;
        Ok(Self::Given(path))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Own(dir) => dir.path(),
        }
    }
}

impl Facts {
    fn gather(args: &Args, programs: &[Program], work_dir: &Path) -> Result<Self> {
        let version = |program: &Program| Ok((program.kind, program.version()?));
        let system = rustix::system::uname();
        let name = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        let unknown = || String::from("unknown");
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            processor: proc_value("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
            kernel: format!("{} {}", name(system.sysname()), name(system.release())),
            memory: proc_value("/proc/meminfo", "MemTotal").unwrap_or_else(unknown),
            work_dir: work_dir.to_owned(),
            versions: programs.iter().map(version).collect::<Result<_>>()?,
            sizes: args.sizes(),
            rounds: args.rounds(),
        })
    }

    fn print(&self) {
        println!("machine   {} cores ({}), {} memory", self.cores, self.processor, self.memory);
        println!("kernel    {}", self.kernel);
        for (kind, version) in &self.versions {
            println!("{:<8}  {version}", kind.name());
        }
        println!("wire      TLS 1.3 with AES-128-GCM, HTTP/1.1, the login with each request");
        println!("data      {}", self.work_dir.display());
        for (index, line) in self.sizes.describe().iter().enumerate() {
            println!("{:<8}  {line}", if index == 0 { "work" } else { "" });
        }
        println!("rounds    {}\n", self.rounds);
    }
}

/// The value of the first line `key: value` in a file of `/proc`.
fn proc_value(path: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

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
    }

    #[test]
    fn scenarios_run_in_their_order_whatever_the_order_asked_for() {
        assert_eq!(args("load").scenarios(), Scenario::ALL);
        let asked = args("load --scenarios pull,push").scenarios();
        assert_eq!(asked, [Scenario::Push, Scenario::Pull]);
    }

    #[test]
    fn ours_is_the_file_that_is_given_away() {
        let own = Path::new("/build/target/release/load");
        let expected = "/build/target/x86_64-unknown-linux-gnu/release/registry";
        assert_eq!(given_away(own), Path::new(expected));
    }

    #[test]
    fn ours_runs_before_the_peer() {
        let kinds = |line: &str| -> Vec<Kind> {
            args(line).programs().unwrap().iter().map(|program| program.kind).collect()
        };
        assert_eq!(kinds("load"), [Kind::Ours, Kind::Peer]);
        assert_eq!(kinds("load --only peer"), [Kind::Peer]);
    }
}
