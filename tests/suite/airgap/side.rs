//! A registry in a network of its own, which leads nowhere, and what is done in it.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{panic, thread};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use crate::support::binary::{Instance, program};
use crate::support::http::Client;
use crate::support::process::{Run, run};

/// One side of the gap: a registry that serves, and a network with nothing but a loopback in it.
pub(super) struct Side {
    instance: Instance,
}

impl Side {
    /// A side whose registry serves.
    pub(super) fn start() -> Self {
        let mut instance = Instance::new().apart("true");
        instance.start();
        Self { instance }
    }

    /// A path of this side, for what belongs to nobody's data.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.instance.root().join(name)
    }

    /// Does something in this network, as a client of this registry. The threads that it starts are
    /// there, too.
    pub(super) fn inside<T: Send>(&self, work: impl FnOnce(&Client) -> T + Send) -> T {
        let network = File::open(self.network()).expect("the network of a server that runs");
        let client = self.instance.client();
        let done = thread::scope(|scope| {
            let there = move || {
                let kind = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(network.as_fd(), kind).expect("the way into a network");
                work(&client)
            };
            scope.spawn(there).join()
        });
        done.unwrap_or_else(|panic| panic::resume_unwind(panic))
    }

    /// The program with these words, on this registry and in this network: what is to run it, such
    /// as strace, comes before. It is the child itself.
    pub(super) fn command(&self, runner: &[&str], words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.network().display())).args(runner);
        command.arg(program()).args(words).arg("--data-dir").arg(self.instance.data());
        command
    }

    /// Runs the program with these words.
    pub(super) fn run(&self, words: &[&str]) -> Run {
        run(&mut self.command(&[], words))
    }

    /// Runs the program with these words, of which one is `--json`, and returns what it reports.
    #[track_caller]
    pub(super) fn report(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.run(words).ok()).expect("JSON")
    }

    /// Whether the other side can be reached from here.
    pub(super) fn reaches(&self, other: &Self) -> bool {
        let other = other.instance.client();
        self.inside(move |_| other.try_connect().is_ok())
    }

    /// The interfaces of this network.
    pub(super) fn interfaces(&self) -> Vec<String> {
        let listed = self.inside(|_| fs::read_to_string("/proc/thread-self/net/dev"));
        let listed = listed.expect("the interfaces");
        let names = listed.lines().filter_map(|line| line.split_once(':'));
        names.map(|(name, _)| name.trim().to_owned()).collect()
    }

    /// What lies in the directory of the uploads.
    pub(super) fn uploads(&self) -> usize {
        fs::read_dir(self.instance.data().join("uploads")).expect("the uploads").count()
    }

    fn network(&self) -> PathBuf {
        Path::new("/proc").join(self.instance.pid().to_string()).join("ns/net")
    }
}
