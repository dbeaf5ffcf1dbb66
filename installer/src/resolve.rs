//! What names stand for, as this host sees it.
//!
//! Our binary is static, and glibc looks names up with libraries of the host (`nsswitch.conf` says
//! which), made for another glibc than the one inside of us: the process may die of that. So the
//! host's own `getent` is asked, which goes the way that all programs of the host go.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::process::{Command, Output};

use thiserror::Error;

/// Why no addresses of a name are known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ResolveError {
    /// Neither the host's files nor its name servers know the name.
    #[error("{0} has no address here: add it to the name server or to /etc/hosts")]
    NotFound(String),
    /// The host has no `getent`.
    #[error("names cannot be resolved without the program getent: install it (glibc brings it)")]
    NoGetent,
    /// `getent` did something else.
    #[error("getent cannot look up {name}: {message}")]
    Failed {
        /// The name.
        name: String,
        /// Its words, or how it ended.
        message: String,
    },
}

/// The addresses of a name, the preferred one first, each once; at least one. An address that
/// holds on one link of this host only (`fe80::1%eth0`) is none.
///
/// It blocks for as long as the host's resolver takes.
///
/// # Errors
/// [`ResolveError::NotFound`] also if the name servers do not answer: `getent` tells no
/// difference.
pub fn addresses_of(name: &str) -> Result<Vec<IpAddr>, ResolveError> {
    ask("getent", name)
}

fn ask(getent: &str, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
    let failed = |message: String| ResolveError::Failed { name: name.to_owned(), message };
    let mut command = Command::new(getent);
    let Output { status, stdout, stderr } =
        match command.env("LC_ALL", "C").args(["ahosts", "--", name]).output() {
            Ok(output) => output,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(ResolveError::NoGetent);
            }
            Err(error) => return Err(failed(error.to_string())),
        };
    match status.code() {
        Some(0) => {}
        Some(NO_SUCH_KEY) => return Err(ResolveError::NotFound(name.to_owned())),
        _ => {
            let words = String::from_utf8_lossy(&stderr).trim().to_owned();
            return Err(failed(if words.is_empty() { status.to_string() } else { words }));
        }
    }
    let found = addresses(&String::from_utf8_lossy(&stdout));
    if found.is_empty() { Err(ResolveError::NotFound(name.to_owned())) } else { Ok(found) }
}

/// The addresses in lines such as `192.0.2.1 STREAM name`, each of which comes once for each kind
/// of socket.
fn addresses(printed: &str) -> Vec<IpAddr> {
    let mut all = Vec::new();
    for word in printed.lines().filter_map(|line| line.split_whitespace().next()) {
        if let Ok(address) = word.parse()
            && !all.contains(&address)
        {
            all.push(address);
        }
    }
    all
}

/// How `getent` ends when it does not find a name.
const NO_SUCH_KEY: i32 = 2;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn this_host_has_an_address() {
        let found = addresses_of("localhost").unwrap();
        assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
        assert_eq!(addresses_of("192.0.2.7"), Ok(vec![Ipv4Addr::new(192, 0, 2, 7).into()]));
    }

    #[test]
    fn a_name_that_cannot_be_is_not_found() {
        // Labels end at 63 characters, so no name server is asked; nor is it taken for a flag.
        for name in ["x".repeat(64) + ".invalid", "--help".repeat(12)] {
            assert_eq!(addresses_of(&name), Err(ResolveError::NotFound(name)));
        }
    }

    #[test]
    fn a_host_without_getent_and_one_that_fails_are_told_apart() {
        assert_eq!(ask("/nowhere/getent", "a"), Err(ResolveError::NoGetent));
        let (name, message) = ("a".to_owned(), "exit status: 1".to_owned());
        assert_eq!(ask("false", "a"), Err(ResolveError::Failed { name, message }));
    }

    #[test]
    fn each_address_counts_once_and_those_of_one_link_do_not() {
        let printed = "2001:db8::1     STREAM a.example\n2001:db8::1     DGRAM  \n\
                       fe80::1%2       STREAM \n192.0.2.1       STREAM \n192.0.2.1       RAW    \n";
        let expected: [IpAddr; 2] = [
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
            Ipv4Addr::new(192, 0, 2, 1).into(),
        ];
        assert_eq!(addresses(printed), expected);
    }
}
