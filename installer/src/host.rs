//! What this host calls itself, and where its file systems are mounted.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::error::InstallError;
use crate::paths::{HOSTS, MOUNTS};
use crate::systemd;

/// The names of this host: the one the kernel knows, and those that `/etc/hosts` gives together
/// with it, the full name in particular. Without names that mean "this host" everywhere.
///
/// The texts are as they stand there; whether they are usable names is the caller's to check.
/// No resolver is asked: behind an air gap it may be absent, and a start must not wait for it.
pub fn own_names() -> Vec<String> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let hosts = fs::read_to_string(HOSTS).unwrap_or_default();
    names(&name, &hosts)
}

/// Whether this process may install something on this host at all.
///
/// # Errors
/// [`InstallError::NotRoot`] and [`InstallError::NoSystemd`].
pub fn check_host() -> Result<(), InstallError> {
    if !rustix::process::geteuid().is_root() {
        return Err(InstallError::NotRoot);
    }
    if systemd::is_there() { Ok(()) } else { Err(InstallError::NoSystemd) }
}

/// Where the file system is mounted that `path` lies on, or would lie on once it is made.
///
/// A directory that is mounted onto itself, as systemd does inside a service, is no file system of
/// its own: the answer is the same inside a service and outside. Where the kernel does not tell,
/// it is `/`.
pub fn mount_point(path: &Path) -> PathBuf {
    let table = fs::read(MOUNTS).unwrap_or_default();
    let existing = path.ancestors().find_map(|ancestor| match ancestor.as_os_str().is_empty() {
        true => fs::canonicalize(".").ok(),
        false => fs::canonicalize(ancestor).ok(),
    });
    mount_point_in(&table, existing.as_deref().unwrap_or(Path::new("/")))
}

fn names(own: &str, hosts: &str) -> Vec<String> {
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    let entries = lines.map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>());
    let same_host = entries.filter(|names| names.contains(&own)).flatten();
    let mut all = vec![own.to_owned()];
    for name in same_host {
        let is_new = !all.iter().any(|known| known == name);
        if is_new && !name.starts_with("localhost") && !name.starts_with("ip6-") {
            all.push(name.to_owned());
        }
    }
    all
}

/// A line of /proc/self/mountinfo, see proc(5).
struct Mount {
    id: Vec<u8>,
    parent: Vec<u8>,
    device: Vec<u8>,
    /// The directory of the file system that is mounted.
    root: PathBuf,
    /// Where it is mounted.
    at: PathBuf,
}

impl Mount {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let mut field = || fields.next().map(unescaped);
        let path = |bytes| PathBuf::from(OsString::from_vec(bytes));
        let (id, parent, device) = (field()?, field()?, field()?);
        Some(Self { id, parent, device, root: path(field()?), at: path(field()?) })
    }

    /// Whether this is a directory of `other`, mounted at the very place where it is anyway.
    fn repeats(&self, other: &Self) -> bool {
        let below = (self.root.strip_prefix(&other.root), self.at.strip_prefix(&other.at));
        let is_same = matches!(below, (Ok(root), Ok(at)) if root == at);
        self.device == other.device && self.at != other.at && is_same
    }
}

/// Walks from the root as the kernel does, so that a mount that others hide does not count.
fn mount_point_in(table: &[u8], path: &Path) -> PathBuf {
    let mounts: Vec<_> = table.split(|byte| *byte == b'\n').filter_map(Mount::parse).collect();
    let is_known = |id: &[u8]| mounts.iter().any(|mount| mount.id == id);
    let is_first = |mount: &&Mount| mount.parent == mount.id || !is_known(&mount.parent);
    let mut next = mounts.iter().find(is_first);
    let mut found = next;
    while let Some(mount) = next {
        found = next;
        let inside = mounts.iter().filter(|other| other.parent == mount.id && other.id != mount.id);
        let on_the_way = inside.filter(|other| path.starts_with(&other.at));
        next = on_the_way.min_by_key(|other| other.at.components().count());
    }
    let original = |found: &Mount| mounts.iter().find(|other| found.repeats(other));
    while let Some(other) = found.and_then(original) {
        found = Some(other);
    }
    found.map_or_else(|| PathBuf::from("/"), |mount| mount.at.clone())
}

/// A field without its escapes: a backslash and three octal digits for a space, a tab, a line's
/// end and the backslash itself.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let (mut plain, mut rest) = (Vec::new(), field);
    while let [first, tail @ ..] = rest {
        let code = match rest {
            [b'\\', code @ ..] => code.get(..3).and_then(|code| std::str::from_utf8(code).ok()),
            _ => None,
        };
        let byte = code.and_then(|code| u8::from_str_radix(code, 8).ok());
        plain.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[3..] } else { tail };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
        22 27 0:21 / /proc rw,relatime - proc proc rw\n\
        27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard\n\
        40 27 254:1 / /srv/data rw - xfs /dev/vdb rw\n\
        41 40 254:2 / /srv/data/old rw - xfs /dev/vdc rw\n\
        42 27 254:3 / /mnt/a\\040b\\134c\\011 rw - ext4 /dev/vdd rw\n\
        43 27 254:4 / /hidden/below rw - ext4 /dev/vde rw\n\
        44 27 254:5 / /hidden rw - ext4 /dev/vdf rw\n\
        45 44 254:6 / /hidden rw - ext4 /dev/vdg rw\n\
        46 27 254:0 /var/other /srv/bound rw - ext4 /dev/vda rw\n";

    fn mounted(table: &str, path: &str) -> String {
        mount_point_in(table.as_bytes(), Path::new(path)).display().to_string()
    }

    #[test]
    fn the_deepest_mount_on_the_way_to_a_path_counts() {
        for (path, at) in [
            ("/", "/"),
            ("/srv", "/"),
            ("/srv/database", "/"),
            ("/srv/data", "/srv/data"),
            ("/srv/data/registry", "/srv/data"),
            ("/srv/data/old/x", "/srv/data/old"),
            ("/mnt/a b\\c\t/x", "/mnt/a b\\c\t"),
            ("/srv/bound/x", "/srv/bound"),
            // What is mounted over a mount hides what was mounted below it.
            ("/hidden/below/x", "/hidden"),
        ] {
            assert_eq!(mounted(TABLE, path), at, "{path}");
        }
        assert_eq!(mounted("", "/srv"), "/");
        assert_eq!(mounted("1 1 0:1 / / rw - rootfs rootfs rw\n", "/srv"), "/");
    }

    #[test]
    fn a_directory_that_is_mounted_onto_itself_is_no_file_system() {
        let inside = "\
            50 40 254:1 /registry /srv/data/registry rw - xfs /dev/vdb rw\n\
            51 27 254:0 /var/lib/registry /var/lib/registry rw - ext4 /dev/vda rw\n";
        let table = format!("{TABLE}{inside}");
        assert_eq!(mounted(&table, "/srv/data/registry"), "/srv/data");
        assert_eq!(mounted(&table, "/var/lib/registry/blobs"), "/");
    }

    #[test]
    fn escapes_are_read_and_what_is_none_stays() {
        assert_eq!(unescaped(b"a\\040b"), b"a b");
        assert_eq!(unescaped(b"\\134040"), b"\\040");
        assert_eq!(unescaped(b"\\9zz\\04"), b"\\9zz\\04");
        assert_eq!(unescaped(b"\\777"), b"\\777");
    }

    #[test]
    fn this_host_has_mounts() {
        assert_eq!(mount_point(Path::new("/proc/self")), Path::new("/proc"));
        assert_eq!(mount_point(Path::new("/proc/nothing/below")), Path::new("/proc"));
        assert_eq!(mount_point(Path::new("nothing")), mount_point(Path::new(".")));
    }

    #[test]
    fn the_full_name_comes_from_the_line_with_the_short_one() {
        let hosts = "127.0.0.1 localhost\n# 10.0.0.9 bastion\n10.0.0.2 other.example.com other\n\
                     10.0.0.1 bastion.example.com bastion # here\n::1 localhost bastion";
        assert_eq!(names("bastion", hosts), ["bastion", "bastion.example.com"]);
        assert_eq!(names("alone", ""), ["alone"]);
    }

    #[test]
    fn this_host_has_a_name() {
        assert!(!own_names()[0].is_empty());
    }
}
