//! The person behind a process: as whom it runs, and as whom that person came to the host.
//!
//! All of it is for people to read and decides nothing. So nothing here fails, and what cannot be
//! found out is left out.

use std::ffi::OsStr;
use std::path::Path;

use durable::{Links, read_within};

use crate::getent;
use crate::paths::PASSWD;

/// The users of the host as whom a person came to a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// As whom the person logged in, which the kernel remembers whatever the person becomes; none
    /// where nobody logged in, as in a service, or where the host does not keep it.
    pub logged_in: Option<String>,
    /// Who typed `sudo`, as the environment says, which whoever runs the process can change.
    pub sudo: Option<String>,
    /// As whom the process was begun.
    pub user: String,
}

impl Person {
    /// The person behind this process, which was begun as the user of this number.
    ///
    /// A user who is not in the host's own file is asked for where the host's other users are kept,
    /// for two seconds; one who is not found is called by the number. Who logged in is asked for
    /// there only where the answer to the first question came.
    pub fn of_this_process(uid: u32) -> Self {
        let sudo = std::env::var_os("SUDO_USER").filter(|name| !name.is_empty());
        let sudo = sudo.as_deref().map(OsStr::to_string_lossy).map(Into::into);
        let (user, is_answered) = name_of(uid, true);
        let logged_in = login_uid(Path::new(LOGIN_UID)).map(|login| match login == uid {
            true => user.clone(),
            // Whoever did not answer in time is not waited for again.
            false => name_of(login, is_answered).0,
        });
        Self { logged_in, sudo, user }
    }
}

/// What a user is called, and whether those who were asked answered; `may_ask` says whether any
/// may be that could keep a command waiting.
fn name_of(uid: u32, may_ask: bool) -> (String, bool) {
    let users = read_within(Path::new(PASSWD), PASSWD_BYTES, Links::Follow).ok().flatten();
    let found = users.and_then(|users| name_in(&String::from_utf8_lossy(&users), uid));
    let number = || format!("uid {uid}");
    match found {
        Some(name) => (name, true),
        None if !may_ask => (number(), false),
        None => match getent::entry_within(LOOKUP_SECONDS, "passwd", &uid.to_string()) {
            Ok(entry) => (entry.and_then(|it| name_in(&it, uid)).unwrap_or_else(number), true),
            Err(_) => (number(), false),
        },
    }
}

/// The name of the first user of this number in lines such as `name:password:uid:gid:…`.
fn name_in(users: &str, uid: u32) -> Option<String> {
    let name = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    };
    users.lines().find_map(name)
}

/// The number of the user as whom somebody logged in, from the kernel's file about it.
fn login_uid(file: &Path) -> Option<u32> {
    let text = read_within(file, LOGIN_BYTES, Links::Follow).ok()??;
    let uid = std::str::from_utf8(&text).ok()?.trim().parse().ok()?;
    (uid != NOBODY_LOGGED_IN).then_some(uid)
}

/// Where the kernel keeps it, unless it was built without audit.
const LOGIN_UID: &str = "/proc/self/loginuid";
/// What it says of a process to which nobody has logged in.
const NOBODY_LOGGED_IN: u32 = u32::MAX;
const LOGIN_BYTES: u64 = 32;
const PASSWD_BYTES: u64 = 1 << 20;
/// How long a directory server may take to say what a user is called. `timeout` gives it a second
/// more to end.
const LOOKUP_SECONDS: u8 = 2;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn users_have_their_names_and_those_whom_nobody_knows_their_numbers() {
        assert_eq!(name_of(0, false), ("root".to_owned(), true));
        let nobody = "uid 3999999999".to_owned();
        assert_eq!(name_of(3_999_999_999, true), (nobody.clone(), true));
        assert_eq!(name_of(3_999_999_999, false), (nobody, false));
        let users = "+::::::\nroot:x:0:0:root:/root:/bin/sh\n:x:5:5::/:\nann:x:5:5\nbob:x:5:6:::";
        assert_eq!(name_in(users, 5).as_deref(), Some("ann"));
        assert_eq!(name_in(users, 6), None);
    }

    #[test]
    fn whoever_has_not_logged_in_has_no_name() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("loginuid");
        assert_eq!(login_uid(&file), None);
        for (text, uid) in [
            ("4294967295", None),
            ("1000", Some(1000)),
            ("0\n", Some(0)),
            ("", None),
            ("-1", None),
            (&"1".repeat(40), None),
        ] {
            fs::write(&file, text).unwrap();
            assert_eq!(login_uid(&file), uid, "{text}");
        }
    }

    #[test]
    fn this_process_has_somebody_behind_it() {
        assert_eq!(Person::of_this_process(0).user, "root");
    }
}
