//! Commands that are killed at a moment that is drawn: on entering a system call, before it does
//! anything. Calls are counted and no clock takes part, so a fast machine and a slow one are struck
//! at the same.

use std::collections::BTreeMap;
use std::fs;

use fastrand::Rng;

use super::side::Side;
use crate::support::process::{Run, run};

/// How often a command that nobody disturbs makes each call: the most that one of its threads does,
/// since strace counts each for itself.
pub(super) struct Calls(BTreeMap<&'static str, usize>);

impl Calls {
    /// Runs a command to its end and counts.
    pub(super) fn of(side: &Side, words: &[&str]) -> (Self, Run) {
        let trace = side.path("calls");
        let path = trace.display().to_string();
        let run = traced(side, &path, &CALLS.join(","), &["--seccomp-bpf"], words);
        let lines = fs::read_to_string(&trace).expect("what strace wrote");
        let mut counts = BTreeMap::<_, usize>::new();
        for (thread, call) in lines.lines().filter_map(|line| line.split_once(' ')) {
            let name = call.trim_start().split('(').next().unwrap_or_default();
            if let Some(name) = CALLS.into_iter().find(|known| *known == name) {
                *counts.entry((name, thread)).or_default() += 1;
            }
        }
        let mut most = BTreeMap::new();
        for ((name, _), count) in counts {
            most.entry(name).and_modify(|most| *most = count.max(*most)).or_insert(count);
        }
        (Self(most), run)
    }

    /// A moment before one part in so many of all calls of a kind has been made. What is made less
    /// often than that tells nothing of how far the command is.
    pub(super) fn moment(&self, random: &mut Rng, parts: usize) -> Moment {
        let kinds: Vec<_> = self.0.iter().filter(|(_, most)| **most >= parts).collect();
        let (call, most) = kinds[random.usize(0..kinds.len())];
        Moment { call, number: random.usize(1..=most / parts) }
    }
}

/// The entrance to the n-th call of a kind.
#[derive(Debug)]
pub(super) struct Moment {
    call: &'static str,
    number: usize,
}

impl Moment {
    /// Runs a command until then; what comes of it only if it came to its end before.
    pub(super) fn strike(&self, side: &Side, words: &[&str]) -> Option<Run> {
        let Self { call, number } = self;
        let inject = format!("--inject={call}:signal=KILL:when={number}");
        let run = traced(side, "/dev/null", call, &[&inject], words);
        // strace ends as its program did.
        run.code().is_some().then_some(run)
    }
}

fn traced(side: &Side, file: &str, calls: &str, what: &[&str], words: &[&str]) -> Run {
    let calls = format!("--trace={calls}");
    let strace = ["strace", "-f", "--quiet=all", "-o", file, &calls];
    run(&mut side.command(&[&strace, what].concat(), words))
}

/// The calls at which a command is struck: that open, write, send, make, move, remove or sync.
const CALLS: [&str; 11] = [
    "fdatasync",
    "fsync",
    "ftruncate",
    "mkdir",
    "openat",
    "pwrite64",
    "rename",
    "rmdir",
    "sendto",
    "unlink",
    "write",
];
