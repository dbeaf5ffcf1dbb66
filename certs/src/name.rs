//! The names that a server certificate is for, as an administrator types them.
//!
//! A name is a DNS name or an IP address, parsed once. Wildcards, patterns and ports are refused
//! here: a certificate is for names that somebody asked for, each of them.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

/// A DNS name or an IP address that clients reach the server by.
///
/// DNS names are in lower case and have no final dot. Letters, digits, `-` and `_` are allowed;
/// the underscore is no host name by RFC 1123, but people have such hosts, and Go and OpenSSL
/// accept it in certificates. A name whose last label is a number is refused, because clients
/// read it as a mistyped IPv4 address. IPv6 addresses that stand for IPv4 ones (`::ffff:…`)
/// become IPv4 addresses, since that is what clients compare.
///
/// [`Display`](fmt::Display) writes IPv6 addresses without brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerName(Kind);

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Dns(String),
    Address(IpAddr),
}

impl ServerName {
    /// The longest DNS name, in bytes, by RFC 1035.
    pub const MAX_BYTES: usize = 253;
    /// The longest label of a DNS name, in bytes, by RFC 1035.
    pub const MAX_LABEL_BYTES: usize = 63;

    /// Parses `NAME` or `NAME:PORT`, as mirror-registry's `--quayHostname` takes it, and gives
    /// the port apart.
    ///
    /// An IPv6 address needs brackets when a port follows; without brackets all of it is the
    /// address.
    ///
    /// # Errors
    /// Those of [`ServerName::from_str`], and a port that is not a number from 1 to 65535.
    pub fn from_host_port(text: &str) -> Result<(Self, Option<u16>), NameError> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        let port = match port.map(str::parse) {
            None => None,
            Some(Ok(0) | Err(_)) => return Err(NameError::PortNumber),
            Some(Ok(port)) => Some(port),
        };
        Ok((host.parse()?, port))
    }

    /// The name and a port as they stand in a URL: an IPv6 address is in brackets.
    pub fn with_port(&self, port: u16) -> String {
        match self.0 {
            Kind::Address(IpAddr::V6(address)) => format!("[{address}]:{port}"),
            _ => format!("{self}:{port}"),
        }
    }

    /// Whether an image name may begin with it: podman, skopeo and oc take no `_` there, and no
    /// IPv6 address (`docker/reference` of containers/image: letters, digits and hyphens between
    /// dots).
    pub fn fits_image_names(&self) -> bool {
        match &self.0 {
            Kind::Dns(name) => !name.contains('_'),
            Kind::Address(address) => address.is_ipv4(),
        }
    }

    /// The DNS name, unless this is an address.
    pub fn dns(&self) -> Option<&str> {
        match &self.0 {
            Kind::Dns(name) => Some(name),
            Kind::Address(_) => None,
        }
    }

    /// The IP address, unless this is a DNS name.
    pub fn address(&self) -> Option<IpAddr> {
        match self.0 {
            Kind::Dns(_) => None,
            Kind::Address(address) => Some(address),
        }
    }

    /// Takes a DNS name only: in a certificate, the text `10.0.0.1` in a field for DNS names
    /// does not stand for that address.
    pub(crate) fn from_dns(text: &str) -> Result<Self, NameError> {
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > Self::MAX_BYTES {
            return Err(NameError::TooLong);
        }
        for label in name.split('.') {
            check_label(label)?;
        }
        let last = name.rsplit('.').next().unwrap_or(name);
        if last.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NameError::Address);
        }
        Ok(Self(Kind::Dns(name.to_ascii_lowercase())))
    }

    /// Takes an address that a server can be reached by.
    pub(crate) fn from_address(address: IpAddr) -> Result<Self, NameError> {
        let address = address.to_canonical();
        if address.is_unspecified() || address.is_multicast() {
            return Err(NameError::NoHost);
        }
        Ok(Self(Kind::Address(address)))
    }
}

impl FromStr for ServerName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(NameError::Address)?;
            return parse_ipv6(inner);
        }
        if let Ok(address) = text.parse() {
            return Self::from_address(address);
        }
        match text.split_once(':') {
            Some((_, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                Err(NameError::Port)
            }
            Some(_) if text.contains('/') => Err(NameError::Character('/')),
            Some(_) => parse_ipv6(text),
            None => Self::from_dns(text),
        }
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Dns(name) => f.write_str(name),
            Kind::Address(address) => address.fmt(f),
        }
    }
}

/// Why a text is not a [`ServerName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("the name is empty: give the host name or address that clients use")]
    Empty,
    /// The DNS name is longer than [`ServerName::MAX_BYTES`].
    #[error("the name is longer than {} bytes, which DNS does not allow", ServerName::MAX_BYTES)]
    TooLong,
    /// A label is empty, too long, or begins or ends with a hyphen.
    #[error(
        "between two dots stand 1 to {} letters, digits, `-` and `_`, and no `-` first or last",
        ServerName::MAX_LABEL_BYTES
    )]
    Label,
    /// A character that DNS names do not have.
    #[error(
        "{0:?} cannot be part of a host name: give only the name, with letters outside ASCII in \
         their xn-- form"
    )]
    Character(char),
    /// A wildcard.
    #[error("a wildcard is no host: give each name that clients use, one by one")]
    Wildcard,
    /// What looks like an IP address is none.
    #[error("this looks like an IP address, but is none: check its numbers")]
    Address,
    /// An IPv6 address with a zone, which has a meaning on one machine only.
    #[error("an address with a zone (`%…`) means nothing to other machines: give a global one")]
    Zone,
    /// The address of no single host.
    #[error("this address stands for no single host: give the one that clients use")]
    NoHost,
    /// A port where only a name belongs.
    #[error("give the name without the port")]
    Port,
    /// What follows the colon is not a port.
    #[error("the port is a number from 1 to 65535")]
    PortNumber,
}

fn parse_ipv6(text: &str) -> Result<ServerName, NameError> {
    if text.contains('%') {
        return Err(NameError::Zone);
    }
    let address: Ipv6Addr = text.parse().map_err(|_| NameError::Address)?;
    ServerName::from_address(address.into())
}

fn check_label(label: &str) -> Result<(), NameError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match label.chars().find(|&c| !allowed(c)) {
        Some('*') => return Err(NameError::Wildcard),
        Some(other) => return Err(NameError::Character(other)),
        None => {}
    }
    let edges = label.starts_with('-') || label.ends_with('-');
    if label.is_empty() || label.len() > ServerName::MAX_LABEL_BYTES || edges {
        return Err(NameError::Label);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
