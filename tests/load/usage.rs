//! What a process has used, as the kernel counts it: processor time and peak memory.
//!
//! It reads `/proc` and nothing else; how a process came to be running is not its business.

use std::fs;

use anyhow::{Context, Result};

/// The processor seconds, user and system, that all threads of a process have used.
///
/// The kernel counts in clock ticks, so the figure is a multiple of 10 ms on most machines.
/// Fails when the process is gone.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let ticks = cpu_ticks(&stat).with_context(|| format!("{path} has another form: {stat}"))?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The most memory, in bytes, that was resident at once since the process began or since
/// [`reset_peak`]. Fails when the process is gone.
pub(crate) fn peak_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    high_water_bytes(&status).with_context(|| format!("{path} has no line VmHWM"))
}

/// Starts the count of peak memory anew; `false` where the kernel does not permit it, and then
/// the peak goes on counting from the start of the process.
pub(crate) fn reset_peak(pid: u32) -> bool {
    // The value 5 resets the high-water mark only, see proc_pid_clear_refs(5).
    fs::write(format!("/proc/{pid}/clear_refs"), "5").is_ok()
}

/// Fields 14 and 15 of `/proc/PID/stat`, added.
fn cpu_ticks(stat: &str) -> Option<u64> {
    // The second field is the program's name in parentheses and may hold spaces and
    // parentheses itself, so counting begins behind the last one, at field 3.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(14 - 3);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

/// The value of `VmHWM` in `/proc/PID/status`, which the kernel writes in KiB.
fn high_water_bytes(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_counted_behind_the_name() {
        let rest = "S 1 42 42 0 -1 4194304 900 0 3 0 120 34 5 6 20 0 9 0 1000 2000 300";
        assert_eq!(cpu_ticks(&format!("42 (registry) {rest}")), Some(154));
        assert_eq!(cpu_ticks(&format!("42 (odd ) name (x) {rest}")), Some(154));
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
    fn the_high_water_mark_is_in_bytes() {
        let status = "Name:\tregistry\nVmPeak:\t  999 kB\nVmHWM:\t   12345 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(high_water_bytes(status), Some(12_345 * 1024));
        assert_eq!(high_water_bytes("Name:\tkthreadd\n"), None);
        assert_eq!(high_water_bytes("VmHWM:\t 12 pages\n"), None);
    }

    #[test]
    fn this_process_can_be_read() {
        let pid = std::process::id();
        assert!(cpu_seconds(pid).unwrap() >= 0.0);
        assert!(peak_bytes(pid).unwrap() > 0);
    }
}
