//! What a server has used, as the kernel counts it: processor time, memory and switches between
//! threads, of all processes of its process group.
//!
//! It reads `/proc` and nothing else; how the processes came to be running is not its business.
//! What a process or a thread used that has ended meanwhile is not seen, but that the processor
//! time of an ended thread stays with its process.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, ensure};

/// The processes of a group.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    pids: Vec<u32>,
}

impl Usage {
    /// The processes whose group is called `group`, as they are now. Fails when there is none.
    pub(crate) fn of_group(group: u32) -> Result<Self> {
        let entries = fs::read_dir("/proc").context("reading /proc")?;
        let pid = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
        let is_of = |pid: &u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
            stat.is_ok_and(|stat| runs(&stat) && field(&stat, GROUP_FIELD) == Some(group.into()))
        };
        let pids: Vec<u32> = entries.flatten().filter_map(pid).filter(is_of).collect();
        ensure!(!pids.is_empty(), "no process of the group {group} runs");
        Ok(Self { pids })
    }

    /// How many processes there are.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.pids.len()
    }

    /// One process.
    pub(crate) fn of_process(pid: u32) -> Self {
        Self { pids: vec![pid] }
    }

    /// This process.
    pub(crate) fn own() -> Self {
        Self::of_process(std::process::id())
    }

    /// The processor seconds, user and system, that all threads have used.
    ///
    /// The kernel counts in clock ticks, so the figure is a multiple of 10 ms on most machines.
    /// Fails when a process is gone.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let ticks = self.sum("stat", cpu_ticks)?;
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// The processor seconds of all children of this process that have ended and were waited for,
    /// and of those that they waited for.
    pub(crate) fn of_ended_children() -> Result<f64> {
        let ticks = Self::own().sum("stat", children_ticks)?;
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// The most memory, in bytes, that was resident at once since the processes began or since
    /// [`Usage::reset_peak`]. Fails when one is gone.
    pub(crate) fn peak_bytes(&self) -> Result<u64> {
        self.sum("status", |status| kib(status, "VmHWM:"))
    }

    /// The memory that is resident now, in bytes. Fails when a process is gone.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        self.sum("status", |status| kib(status, "VmRSS:"))
    }

    /// Starts the count of peak memory anew; `false` where the kernel does not permit it, and
    /// then the peak goes on counting from the start of the process.
    pub(crate) fn reset_peak(&self) -> bool {
        // The value 5 resets the high-water mark only, see proc_pid_clear_refs(5).
        self.pids.iter().all(|pid| fs::write(format!("/proc/{pid}/clear_refs"), "5").is_ok())
    }

    /// How often each thread that is there gave up its processor and lost it.
    pub(crate) fn switches(&self) -> Switches {
        let mut threads = BTreeMap::new();
        for pid in &self.pids {
            for entry in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
                // A thread that ends meanwhile is as one that ended before.
                let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
                if let Some(counted) = thread_switches(&status) {
                    threads.insert(entry.file_name().to_string_lossy().into_owned(), counted);
                }
            }
        }
        Switches { threads }
    }

    fn sum(&self, file: &str, parse: impl Fn(&str) -> Option<u64>) -> Result<u64> {
        let mut sum = 0;
        for pid in &self.pids {
            let path = format!("/proc/{pid}/{file}");
            let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
            sum += parse(&text).with_context(|| format!("{path} has another form: {text}"))?;
        }
        Ok(sum)
    }
}

/// The switches of each thread, voluntary and not, by its number.
#[derive(Debug, Default)]
pub(crate) struct Switches {
    threads: BTreeMap<String, (u64, u64)>,
}

impl Switches {
    /// Those since `before`, voluntary and not. All of a thread's count where it is new.
    pub(crate) fn since(&self, before: &Self) -> (u64, u64) {
        let mut sum = (0, 0);
        for (thread, now) in &self.threads {
            let then = before.threads.get(thread).copied().unwrap_or_default();
            sum.0 += now.0.saturating_sub(then.0);
            sum.1 += now.1.saturating_sub(then.1);
        }
        sum
    }
}

/// Whether `/proc/PID/stat` is of a process that has not ended.
fn runs(stat: &str) -> bool {
    stat.rsplit_once(')').is_some_and(|(_, after_name)| !after_name.starts_with(" Z"))
}

/// A number in `/proc/PID/stat`, by its place as proc_pid_stat(5) counts them, from 3 on.
fn field(stat: &str, place: usize) -> Option<u64> {
    // The second field is the program's name in parentheses and may hold spaces and
    // parentheses itself, so counting begins behind the last one, at field 3.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(place.checked_sub(3)?)?.parse().ok()
}

/// User and system time, added.
fn cpu_ticks(stat: &str) -> Option<u64> {
    field(stat, 14)?.checked_add(field(stat, 15)?)
}

/// The same of those that have ended.
fn children_ticks(stat: &str) -> Option<u64> {
    field(stat, 16)?.checked_add(field(stat, 17)?)
}

/// A value of `/proc/PID/status` in bytes, which the kernel writes in KiB. A process that has
/// ended and was not waited for has no memory and no such line.
fn kib(status: &str, name: &str) -> Option<u64> {
    let Some(value) = value(status, name) else {
        return status.contains("State:\tZ").then_some(0);
    };
    let kib: u64 = value.strip_suffix("kB")?.trim_end().parse().ok()?;
    kib.checked_mul(1024)
}

fn thread_switches(status: &str) -> Option<(u64, u64)> {
    let count = |name: &str| value(status, name)?.parse().ok();
    Some((count("voluntary_ctxt_switches:")?, count("nonvoluntary_ctxt_switches:")?))
}

fn value<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// The place of the process group in `/proc/PID/stat`.
const GROUP_FIELD: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_counted_behind_the_name() {
        let rest = "S 1 42 42 0 -1 4194304 900 0 3 0 120 34 5 6 20 0 9 0 1000 2000 300";
        assert_eq!(cpu_ticks(&format!("42 (registry) {rest}")), Some(154));
        assert_eq!(cpu_ticks(&format!("42 (odd ) name (x) {rest}")), Some(154));
        assert_eq!(children_ticks(&format!("42 (registry) {rest}")), Some(11));
        assert_eq!(field(&format!("42 (registry) {rest}"), GROUP_FIELD), Some(42));
    }

    #[test]
    fn what_has_ended_does_not_run() {
        assert!(runs("42 (a) Z b) S 1 42 42 0"));
        assert!(!runs("42 (registry) Z 1 42 42 0"));
    }

    #[test]
    fn a_short_or_foreign_stat_is_none() {
        for stat in ["", "42 (registry)", "42 (registry) S 1 42", "42 registry S 1 2 3 4 5 6 7 8"] {
            assert_eq!(cpu_ticks(stat), None, "{stat:?}");
        }
        let words = "42 (registry) S 1 42 42 0 -1 4194304 900 0 3 0 many 34";
        assert_eq!(cpu_ticks(words), None);
    }

    #[test]
    fn memory_is_in_bytes() {
        let status = "Name:\tregistry\nVmPeak:\t  999 kB\nVmHWM:\t   12345 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(kib(status, "VmHWM:"), Some(12_345 * 1024));
        assert_eq!(kib(status, "VmRSS:"), Some(1024));
        assert_eq!(kib("Name:\tkthreadd\n", "VmHWM:"), None);
        assert_eq!(kib("VmHWM:\t 12 pages\n", "VmHWM:"), None);
        assert_eq!(kib("Name:\tsh\nState:\tZ (zombie)\n", "VmHWM:"), Some(0));
    }

    #[test]
    fn switches_are_those_of_threads_that_are_there_now() {
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t3\n";
        assert_eq!(thread_switches(status), Some((7, 3)));
        assert_eq!(thread_switches("Name:\tx\n"), None);
        let switches = |threads: &[(&str, (u64, u64))]| Switches {
            threads: threads.iter().map(|(name, counts)| ((*name).to_owned(), *counts)).collect(),
        };
        let before = switches(&[("1", (10, 1)), ("2", (5, 5))]);
        let after = switches(&[("1", (15, 2)), ("3", (4, 0))]);
        assert_eq!(after.since(&before), (9, 1));
    }

    #[test]
    fn this_process_can_be_read() {
        let usage = Usage::own();
        assert!(usage.cpu_seconds().unwrap() >= 0.0);
        assert!(usage.peak_bytes().unwrap() >= usage.resident_bytes().unwrap() / 2);
        assert!(usage.switches().since(&Switches::default()).0 > 0);
    }
}
