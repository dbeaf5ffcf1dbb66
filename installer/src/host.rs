//! What this host calls itself.

use std::fs;

use crate::error::InstallError;
use crate::systemd;

/// The names of this host: the one the kernel knows, and those that `/etc/hosts` gives together
/// with it, the full name in particular. Without names that mean "this host" everywhere.
///
/// The texts are as they stand there; whether they are usable names is the caller's to check.
/// No resolver is asked: behind an air gap it may be absent, and a start must not wait for it.
pub fn own_names() -> Vec<String> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
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

#[cfg(test)]
mod tests {
    use super::*;

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
