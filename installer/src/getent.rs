//! What names stand for, as this host sees it.
//!
//! Our binary is static, and glibc looks names up with libraries of the host (`nsswitch.conf` says
//! which), made for another glibc than the one inside of us: the process may die of that. So the
//! host's own `getent` is asked, which goes the way that all programs of the host go.

use std::net::IpAddr;

use crate::command;
use crate::error::InstallError;

/// The addresses of a name, the preferred one first, each once; none if neither the host's files
/// nor its name servers know it, or if those do not answer. An address that holds on one link of
/// this host only (`fe80::1%eth0`) is none.
///
/// It blocks for as long as the host's resolver takes.
///
/// # Errors
/// [`InstallError::Command`] if `getent` is not there or fails.
pub fn addresses_of(name: &str) -> Result<Vec<IpAddr>, InstallError> {
    Ok(entry("ahosts", name)?.map_or_else(Vec::new, |printed| addresses(&printed)))
}

/// What a database of the host (`passwd`, `group`, `ahosts`) holds for a name; `None` if nothing.
pub(crate) fn entry(database: &str, name: &str) -> Result<Option<String>, InstallError> {
    match command::run("getent", &[database, "--", name]) {
        Ok(printed) => Ok(Some(printed)),
        Err(InstallError::Command { code: Some(NO_SUCH_KEY), .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a database of the host holds for a name, where another host may keep it, which is given so
/// many seconds; `None` if nothing.
///
/// # Errors
/// Those of [`entry`], and that nothing came in time.
pub(crate) fn entry_within(
    seconds: u8,
    database: &str,
    name: &str,
) -> Result<Option<String>, InstallError> {
    let seconds = seconds.to_string();
    match command::run("timeout", &["-k", "1", &seconds, "getent", database, "--", name]) {
        Ok(printed) => Ok(Some(printed)),
        Err(InstallError::Command { code: Some(NO_SUCH_KEY), .. }) => Ok(None),
        Err(error) => Err(error),
    }
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
        assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback), "{found:?}");
        assert_eq!(addresses_of("192.0.2.7"), Ok(vec![Ipv4Addr::new(192, 0, 2, 7).into()]));
    }

    #[test]
    fn a_name_that_cannot_be_has_none() {
        // Labels end at 63 characters, so no name server is asked; nor is it taken for a flag.
        for name in ["x".repeat(64) + ".invalid", "--help".repeat(12)] {
            assert_eq!(addresses_of(&name), Ok(Vec::new()));
        }
        assert!(entry("no-such-database", "root").is_err());
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
