//! What firewalld lets in.

use crate::command;

/// Whether firewalld runs on this host and lets nobody reach this TCP port from outside, as far as
/// its default zone says.
pub fn is_closed(port: u16) -> bool {
    command::exists("firewall-cmd")
        && command::run("firewall-cmd", &["--state"]).is_ok()
        && command::run("firewall-cmd", &[&format!("--query-port={port}/tcp")]).is_err()
}
