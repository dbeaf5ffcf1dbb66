//! Many commands of one process to the owner of a store: the running server, or this process, which
//! then opens the store once for all of them.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::Context;
use storage::{Actor, HostUser, Layout, Store};

use super::client::{Reached, Refused, ask, connect, is_network_fs_allowed};
use super::person::who_asks;
use crate::command::{Command, Context as CommandContext};
use crate::config::Upkeep;

/// The way to the owner of a store, for commands that are soon done.
pub struct Owner {
    data_dir: PathBuf,
    allow_network_fs: bool,
    by: HostUser,
    /// The store, once no server was found.
    store: Option<Box<Store>>,
}

impl Owner {
    /// Becomes the owner of the data. Who owns the store is found out with the first command: a
    /// server waits for none.
    ///
    /// # Errors
    /// There is no store, or this process may not become its owner.
    pub fn reach(data_dir: &Path) -> anyhow::Result<Self> {
        let by = who_asks();
        // Before, because the owner may not be able to read the settings.
        let allow_network_fs = is_network_fs_allowed(data_dir);
        installer::become_owner_of(data_dir)?;
        Layout::new(data_dir).require()?;
        Ok(Self { data_dir: data_dir.to_owned(), allow_network_fs, by, store: None })
    }

    /// Runs a command: in the running server, one connection each; or, where none runs, on the
    /// store, which is opened once. Then the next server waits for the end of this process.
    ///
    /// # Errors
    /// What the command refuses, and trouble on the way to it.
    pub fn run<C: Command>(&mut self, command: C) -> anyhow::Result<C::Reply> {
        if self.store.is_none() {
            match connect(&self.data_dir, self.allow_network_fs)? {
                Reached::Server(stream) => {
                    let on_progress = &mut |_: &_| ControlFlow::Continue(());
                    return Ok(ask(stream, &command, self.by.clone(), on_progress)?.0);
                }
                Reached::Store(store) => self.store = Some(store),
            }
        }
        let store = self.store.as_ref().context("nobody owns the store")?;
        self.run_on(store, command)
    }

    fn run_on<C: Command>(&self, store: &Store, command: C) -> anyhow::Result<C::Reply> {
        let by = Some(Actor::Host(self.by.clone()));
        let (upkeep, on_progress) = (&Upkeep::default(), &mut |_: &_| ControlFlow::Continue(()));
        let mut context =
            CommandContext { store, by, running: None, upkeep, on_progress, kept: None };
        command.run(&mut context).map_err(|error| Refused::of(&error).into())
    }
}
