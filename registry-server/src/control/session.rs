//! Many commands of one process to the owner of a store: the running server, or this process, which
//! then opens the store once for all of them.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use storage::{HostUser, Layout, Store};

use super::client::{self, Reached, connect, connect_again, require_store, run_on, unheard};
use super::lease::Lease;
use super::person::who_asks;
use crate::command::Command;
use crate::command::data::HoldDeletions;
use crate::config::Upkeep;

/// The way to the owner of a store, for commands that are soon done.
pub struct Session {
    data_dir: PathBuf,
    allow_network_fs: bool,
    by: HostUser,
    /// Who owned the store when it was asked first.
    owner: OnceCell<Owner>,
}

/// Who owns the store.
enum Owner {
    /// A running server.
    Server,
    /// One that holds deletions off as long as it has the connection.
    Holding(Lease),
    /// This process, since no server ran. Nobody collects in it.
    Store(Box<Store>),
}

impl Session {
    /// Becomes the owner of the data. Who owns the store is found out with the first command: a
    /// server waits for none. The settings are for whoever may read them, who says what they say:
    /// whether the store may lie behind a network.
    ///
    /// # Errors
    /// There is no store, or this process may not become its owner.
    pub fn begin(data_dir: &Path, allow_network_fs: bool) -> anyhow::Result<Self> {
        let by = who_asks();
        installer::become_owner_of(data_dir)?;
        require_store(&Layout::new(data_dir))?;
        Ok(Self { data_dir: data_dir.to_owned(), allow_network_fs, by, owner: OnceCell::new() })
    }

    /// The same, and finds out at once who owns the store: as long as this lives, collection takes
    /// nothing that the store names.
    ///
    /// # Errors
    /// As those of [`Session::begin`], and trouble on the way to the owner.
    pub fn begin_with_hold(data_dir: &Path, allow_network_fs: bool) -> anyhow::Result<Self> {
        let session = Self::begin(data_dir, allow_network_fs)?;
        let owner = match connect(data_dir, allow_network_fs)? {
            Reached::Server(stream) => {
                let by = session.by.clone();
                let (_, stream) = client::ask(stream, &HoldDeletions {}, by, &mut unheard)?;
                Owner::Holding(Lease::new(stream))
            }
            Reached::Store(store) => Owner::Store(store),
        };
        Ok(Self { owner: OnceCell::from(owner), ..session })
    }

    /// Runs a command: in the running server, one connection each; or, where none runs, on the
    /// store, which is opened once. Then the next server waits for the end of this process. Where
    /// one ran and has ended, this waits for the next one; or, if it held deletions off, opens the
    /// store for the one command.
    ///
    /// # Errors
    /// What the command refuses, and trouble on the way to it.
    pub fn ask<C: Command>(&self, command: C) -> anyhow::Result<C::Reply> {
        self.go_on();
        let reached = match self.owner.get() {
            Some(Owner::Store(store)) => return self.run_here(store, command),
            Some(Owner::Server) => Reached::Server(connect_again(&self.data_dir)?),
            Some(Owner::Holding(_)) | None => connect(&self.data_dir, self.allow_network_fs)?,
        };
        match reached {
            Reached::Server(stream) => {
                self.owner.get_or_init(|| Owner::Server);
                Ok(client::ask(stream, &command, self.by.clone(), &mut unheard)?.0)
            }
            Reached::Store(store) => {
                let reply = self.run_here(&store, command);
                // Unless a server was found first: the next one need not wait.
                let _ = self.owner.set(Owner::Store(store));
                reply
            }
        }
    }

    /// Says that this process is at work, to whoever holds deletions off for it.
    pub fn go_on(&self) {
        if let Some(Owner::Holding(lease)) = self.owner.get() {
            lease.go_on();
        }
    }

    /// Whether nobody holds deletions off any more: something may be gone since.
    pub fn is_lost(&mut self) -> bool {
        match self.owner.get_mut() {
            Some(Owner::Holding(lease)) => lease.is_lost(),
            Some(Owner::Server | Owner::Store(_)) | None => false,
        }
    }

    fn run_here<C: Command>(&self, store: &Store, command: C) -> anyhow::Result<C::Reply> {
        run_on(store, command, self.by.clone(), &Upkeep::default(), &mut unheard)
    }
}
