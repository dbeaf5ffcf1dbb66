//! Many commands one after the other, for work that nothing may be collected under.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use storage::Store;

use super::client::{self, Leased};
use super::lease::Lease;
use crate::command::Command;
use crate::command::data::HoldDeletions;

/// The owner of a store, which is asked many things. While it lives, collection takes nothing that
/// the store names.
pub struct Session {
    data: PathBuf,
    owner: Owner,
    /// When the server heard last that this process is at work.
    heard: Cell<Instant>,
}

/// Who owns the store.
enum Owner {
    /// A running server, which holds deletions off as long as it has the connection.
    Server(Lease),
    /// This process. Nobody collects in it.
    Store(Box<Store>),
}

impl Session {
    /// Begins with the running server, or becomes the owner of the store where none runs, once for
    /// all that is asked.
    ///
    /// # Errors
    /// Trouble on the way to either.
    pub fn begin(data: &Path) -> anyhow::Result<Self> {
        let go_on = &mut |_: &_| ControlFlow::Continue(());
        let owner = match client::run_leased(data, &HoldDeletions {}, go_on)? {
            Leased::Server { lease, .. } => Owner::Server(lease),
            Leased::Store(store) => Owner::Store(store),
        };
        Ok(Self { data: data.to_owned(), owner, heard: Cell::new(Instant::now()) })
    }

    /// Asks one thing.
    ///
    /// # Errors
    /// What the command refuses, and trouble on the way to it.
    pub fn ask<C: Command>(&self, command: C) -> anyhow::Result<C::Reply> {
        self.go_on();
        match &self.owner {
            Owner::Server(_) => client::run(&self.data, command),
            Owner::Store(store) => client::run_on(store, command),
        }
    }

    /// Says that this process is at work, now and then, to whoever holds deletions off for it. Who
    /// asks or copies does it again and again: one that got stuck loses the hold.
    pub fn go_on(&self) {
        let Owner::Server(lease) = &self.owner else { return };
        if self.heard.get().elapsed() >= SIGN_TIME {
            self.heard.set(Instant::now());
            lease.go_on();
        }
    }

    /// Whether nobody holds deletions off any more: something may be gone since.
    pub fn is_lost(&mut self) -> bool {
        match &mut self.owner {
            Owner::Server(lease) => lease.is_lost(),
            Owner::Store(_) => false,
        }
    }
}

/// How often the server hears that this process is at work.
const SIGN_TIME: Duration = Duration::from_secs(60);
