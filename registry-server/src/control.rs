//! How a command reaches the owner of a store.
//!
//! A server takes commands at the socket in its data directory, one a connection: a line of JSON
//! in, a line of JSON out. A command that takes long sends lines about its progress before, says
//! now and then that it is at it, and stops when whoever gave it is gone. When no server runs, the
//! command opens the store itself.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::command::Progress;

mod client;
mod lease;
mod line;
mod place;
mod socket;

pub use client::{Leased, Refused, own, run, run_leased, run_long};
pub(crate) use client::{
    allow_network_fs, check_medium, end_process, is_network_fs_allowed, log_trouble,
};
pub use lease::Lease;
pub use socket::Socket;

/// A command, as it travels.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    /// What it is called.
    command: String,
    /// What it asks.
    arguments: Box<RawValue>,
}

/// A line of the answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line<R> {
    /// It is done, and brings back this.
    Done(R),
    /// It cannot be done; the sentence says why.
    Failed(String),
    /// How far it is. The outcome follows.
    Progress(Progress),
    /// The server is at it, and has no other news.
    Working,
}
