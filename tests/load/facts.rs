//! What was run on what: the head of the output, and of the raw figures.

use std::fs;

use anyhow::Result;
use serde::Serialize;

use crate::args::Args;
use crate::place::Place;
use crate::server::Program;
use crate::work::Sizes;

/// The machine, the programs and the work.
#[derive(Serialize)]
pub(crate) struct Facts {
    cores: usize,
    processor: String,
    kernel: String,
    memory: String,
    data: String,
    versions: Vec<(String, String)>,
    sizes: Sizes,
    rounds: usize,
}

impl Facts {
    /// Asks the machine and takes what the programs told of themselves.
    pub(crate) fn gather(
        args: &Args,
        versions: &[(Program, Option<String>)],
        place: &Place,
    ) -> Result<Self> {
        let version = |(program, version): &(Program, Option<String>)| {
            let version =
                version.clone().unwrap_or_else(|| String::from("not installed, left out"));
            (program.name.clone(), version)
        };
        let system = rustix::system::uname();
        let name = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        let unknown = || String::from("unknown");
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            processor: proc_value("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
            kernel: format!("{} {}", name(system.sysname()), name(system.release())),
            memory: proc_value("/proc/meminfo", "MemTotal").unwrap_or_else(unknown),
            data: place.describe(),
            versions: versions.iter().map(version).collect(),
            sizes: args.sizes(),
            rounds: args.rounds(),
        })
    }

    /// Prints them for a person.
    pub(crate) fn print(&self) {
        let line = |name: &str, text: &str| println!("{name:<15}  {text}");
        let (cores, processor, memory) = (self.cores, &self.processor, &self.memory);
        line("machine", &format!("{cores} cores ({processor}), {memory} memory"));
        line("kernel", &self.kernel);
        for (name, version) in &self.versions {
            line(name, version);
        }
        line("wire", "TLS 1.3 with AES-128-GCM, HTTP/1.1, the login with each request");
        line("data", &self.data);
        for (index, text) in self.sizes.describe().iter().enumerate() {
            line(if index == 0 { "work" } else { "" }, text);
        }
        line("rounds", &format!("{}\n", self.rounds));
    }
}

/// The value of the first line `key: value` in a file of `/proc`.
fn proc_value(path: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned())
}
