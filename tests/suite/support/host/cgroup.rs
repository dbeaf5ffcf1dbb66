//! A control group of one's own for every host. The systemd in a host manages the groups below the
//! one in which it finds itself: two that shared one would end each other's services.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// A control group: a directory in every hierarchy in which systemd keeps groups. It is removed
/// when it is dropped, after the last of its processes.
pub(crate) struct Cgroup {
    directories: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes a group below that of the tests.
    ///
    /// # Errors
    ///
    /// What the system says where control groups are read-only, as in some containers.
    pub(crate) fn new(name: &str) -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let mut group = Self { directories: Vec::new() };
        for hierarchy in mounts.lines().filter_map(|line| hierarchy(line, &own)) {
            let directory = hierarchy.join(name);
            fs::create_dir(&directory)?;
            group.directories.push(directory);
        }
        if group.directories.is_empty() {
            return Err(io::Error::other("no control groups are mounted"));
        }
        Ok(group)
    }

    /// Lines of a shell script by which the shell enters the group.
    pub(crate) fn entry(&self) -> String {
        let line = |path: &PathBuf| format!("echo 0 >'{}/cgroup.procs'\n", path.display());
        self.directories.iter().map(line).collect()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for directory in &self.directories {
            // The last of its processes may be known as dead and still be a member.
            for _ in 0..20 {
                if remove(directory).is_ok() {
                    break;
                }
                thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// Where our own group lies in the hierarchy that is mounted here, if it is one of systemd's: the
/// unified one, or the one named systemd.
fn hierarchy(mount: &str, own: &str) -> Option<PathBuf> {
    let (place, kind) = mount.split_once(" - ")?;
    let point = place.split(' ').nth(4)?;
    let prefix = match kind.split(' ').next()? {
        "cgroup2" => "0::/",
        "cgroup" if kind.contains("name=systemd") => ":name=systemd:/",
        _ => return None,
    };
    let group = own.lines().find_map(|line| {
        let (number, group) = line.split_once(prefix)?;
        number.chars().all(|digit| digit.is_ascii_digit()).then_some(group)
    })?;
    Some(Path::new(point).join(group))
}

/// Removes a group and those below it.
fn remove(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(directory)
}
