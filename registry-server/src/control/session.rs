//! Many commands one after the other, for work that nothing may be collected under.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

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
        Ok(Self { data: data.to_owned(), owner })
    }

    /// Asks one thing.
    ///
    /// # Errors
    /// What the command refuses, and trouble on the way to it.
    pub fn ask<C: Command>(&self, command: C) -> anyhow::Result<C::Reply> {
        match &self.owner {
            Owner::Server(_) => client::run(&self.data, command),
            Owner::Store(store) => client::run_on(store, command),
        }
    }

    /// Whether the server has ended that held deletions off: something may be gone since.
    pub fn is_lost(&mut self) -> bool {
        match &mut self.owner {
            Owner::Server(lease) => lease.is_lost(),
            Owner::Store(_) => false,
        }
    }
}
