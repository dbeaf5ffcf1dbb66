//! How a command reaches the owner of a store.
//!
//! A server takes commands at the socket in its data directory, one a connection: a line of JSON
//! in, a line of JSON out. A command that takes long sends lines about its progress before, says
//! now and then that it is at it, and stops when whoever gave it is gone. When no server runs, the
//! command opens the store itself.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use storage::HostUser;

use crate::command::Progress;

mod client;
mod lease;
mod line;
mod person;
mod place;
mod session;
mod socket;

pub use client::{Leased, Refused, own, run, run_leased, run_long};
pub(crate) use client::{allow_network_fs, check_medium, is_network_fs_allowed, open_options};
pub use lease::Lease;
pub(crate) use person::remember_user;
pub use session::Session;
pub use socket::Socket;

/// A command, as it travels.
///
/// A command line and a server of different versions meet between an upgrade and the restart after
/// it. So from schema 7 on a server passes over fields that it does not know, and over a person
/// whom it cannot read: they say more of whoever asks, and decide nothing. What is asked stands in
/// the arguments alone, and those know all of their fields.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    /// What it is called.
    command: String,
    /// What it asks.
    arguments: Box<RawValue>,
    /// Who gives it on the host. The mode of the socket lets nobody but root and the owner of the
    /// data connect, and whoever may do everything with them is believed.
    #[serde(default, deserialize_with = "as_far_as_it_reads")]
    by: Option<HostUser>,
}

fn as_far_as_it_reads<'de, D: Deserializer<'de>>(from: D) -> Result<Option<HostUser>, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    Ok(HostUser::deserialize(value).ok())
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
