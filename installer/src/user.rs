//! The user that the service runs as.

use crate::command;
use crate::error::InstallError;
use crate::getent::entry;
use crate::paths::NO_SHELL;

/// The numbers of a user and its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Ids {
    /// The superuser.
    pub(crate) const ROOT: Self = Self { uid: 0, gid: 0 };
}

/// The numbers of the user of this name; `None` if there is none.
pub(crate) fn find(name: &str) -> Result<Option<Ids>, InstallError> {
    Ok(entry("passwd", name)?.and_then(|line| ids(&line)))
}

/// Makes a user that nobody can log in as, with a group of the same name.
pub(crate) fn add(name: &str, comment: &str) -> Result<(), InstallError> {
    let mut arguments = vec!["--system", "--no-create-home", "--home-dir", "/"];
    arguments.extend(["--shell", NO_SHELL, "--comment", comment]);
    match entry("group", name)? {
        Some(_) => arguments.extend(["--gid", name]),
        None => arguments.push("--user-group"),
    }
    arguments.push(name);
    command::run("useradd", &arguments).map(|_| ())
}

/// The number of the group of this name; `None` if there is none.
pub(crate) fn group(name: &str) -> Result<Option<u32>, InstallError> {
    let line = entry("group", name)?;
    Ok(line.and_then(|line| line.split(':').nth(2)?.parse().ok()))
}

/// Removes a user, if there is such a one, and the group that came with it. A group of the same
/// name that was there before stays; `group` is its number.
pub(crate) fn remove(name: &str, group: Option<u32>) -> Result<(), InstallError> {
    if find(name)?.is_some() {
        command::run("userdel", &[name])?;
    }
    match (group, self::group(name)?) {
        // userdel takes it along when it is empty.
        (Some(gid), None) => {
            command::run("groupadd", &["--gid", &gid.to_string(), name]).map(|_| ())
        }
        _ => Ok(()),
    }
}

/// Reads `name:password:uid:gid:…`.
fn ids(line: &str) -> Option<Ids> {
    let mut fields = line.split(':').skip(2);
    let mut number = || fields.next()?.parse().ok();
    Some(Ids { uid: number()?, gid: number()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name() {
        assert_eq!(find("root"), Ok(Some(Ids::ROOT)));
        assert_eq!(find("no-such-user"), Ok(None));
        assert_eq!(ids("a:x:5:6:::"), Some(Ids { uid: 5, gid: 6 }));
        assert_eq!(ids("a:x:many:6"), None);
    }
}
