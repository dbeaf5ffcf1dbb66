//! Commands: what a person on the host, and later others, can ask of a registry.
//!
//! Each command has a file of its own, with what it asks, what it brings back and what it does, in
//! a folder of what it is about. It does the same whether a server owns the store or nobody does:
//! `control` carries it to the owner. `all::ALL` is the only place that knows all of them.

use std::ops::ControlFlow;
use std::time::{Instant, SystemTime};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use storage::{Actor, DeletionHold, Snapshot, Store};

use crate::config::Upkeep;

pub(crate) mod all;
pub mod bundle;
pub mod data;
mod error;
pub mod image;
pub mod import;
mod names;
pub mod tag;
pub mod user;

pub use error::CommandError;
pub use storage::Page;

/// Something that can be asked of a registry.
pub trait Command: Serialize + DeserializeOwned + Send + 'static {
    /// What it brings back.
    type Reply: Serialize + DeserializeOwned + Send + 'static;

    /// What it is called as it travels. No two have the same name.
    const NAME: &'static str;
    /// Whether it may take longer than a client's request: it has a thread of its own then, and
    /// tells how far it is.
    const IS_LONG: bool = false;

    /// The words of the command line that it belongs to, for the log.
    fn words(&self) -> &'static str;

    /// The user, repository, tag or image that it is about, for the log.
    fn subject(&self) -> Option<String> {
        None
    }

    /// Whether it goes on with what another one began, and is logged more quietly. Whatever changes
    /// something is no such, unless what it goes on with was logged and what it changes says so.
    fn is_continued(&self) -> bool {
        false
    }

    /// Does it.
    ///
    /// # Errors
    /// What the store or the state of things refuses.
    fn run(self, context: &mut Context<'_>) -> Result<Self::Reply, CommandError>;
}

/// What a command works with.
pub struct Context<'a> {
    /// The store, which this process owns.
    pub store: &'a Store,
    /// Who asks; none if a program that knew no such thing passed it on.
    pub by: Option<Actor>,
    /// The server that runs, if one does.
    pub running: Option<&'a Running>,
    /// What the settings say of upkeep.
    pub upkeep: &'a Upkeep,
    /// Hears how far it is.
    pub on_progress: OnProgress<'a>,
    /// What is to be kept until whoever gave the command is gone.
    pub kept: Option<Kept>,
}

/// What a command takes for whoever gave it, and what ends with the connection.
#[derive(Debug)]
pub enum Kept {
    /// A snapshot of the database.
    Snapshot(Snapshot),
    /// Deletions are held off.
    Hold(DeletionHold),
}

/// How far a command is that takes long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What it is at, as in "reading blobs".
    pub task: String,
    /// How much of it is done.
    pub done: u64,
    /// How much there is to do; none if that is not known.
    pub total: Option<u64>,
    /// Whether that is counted in bytes, and else in things.
    #[serde(default)]
    pub is_bytes: bool,
}

/// Hears about progress, and says whether to go on.
pub type OnProgress<'a> = &'a mut dyn FnMut(&Progress) -> ControlFlow<()>;

/// What a running server knows about itself.
#[derive(Clone, Debug)]
pub struct Running {
    /// Where it is reached.
    pub address: String,
    /// When it started.
    pub since: Instant,
    /// When the certificate expires, if it is not the one in the data directory: the
    /// administrator's own, or one that is in memory alone.
    pub certificate_expires: Option<SystemTime>,
    /// What its settings say about upkeep.
    pub upkeep: Upkeep,
}

/// Entries of one page of a list. A page is one read transaction.
pub const PAGE_ENTRIES: usize = 1000;
