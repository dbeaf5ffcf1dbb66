//! Many commands of one process to the owner of a store: the running server, or this process, which
//! then opens the store once for all of them.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use storage::{Actor, HostUser, Layout, Store};

use super::client::{Reached, Refused, ask, connect, connect_again};
use super::person::who_asks;
use crate::command::{Command, Context as CommandContext};
use crate::config::Upkeep;

/// The way to the owner of a store, for commands that are soon done.
pub struct Owner {
    data_dir: PathBuf,
    allow_network_fs: bool,
    by: HostUser,
    found: Found,
}

/// Who owned the store when it was asked first.
enum Found {
    /// It was not asked.
    Nobody,
    Server,
    /// This process, since no server ran.
    Store(Box<Store>),
}

impl Owner {
    /// Becomes the owner of the data. Who owns the store is found out with the first command: a
    /// server waits for none. The settings are for whoever may read them, who says what they say:
    /// whether the store may lie behind a network.
    ///
    /// # Errors
    /// There is no store, or this process may not become its owner.
    pub fn reach(data_dir: &Path, allow_network_fs: bool) -> anyhow::Result<Self> {
        let by = who_asks();
        installer::become_owner_of(data_dir)?;
        Layout::new(data_dir).require()?;
        Ok(Self { data_dir: data_dir.to_owned(), allow_network_fs, by, found: Found::Nobody })
    }

    /// Runs a command: in the running server, one connection each; or, where none runs, on the
    /// store, which is opened once. Then the next server waits for the end of this process. Where
    /// one ran, this waits for the next one.
    ///
    /// # Errors
    /// What the command refuses, and trouble on the way to it.
    pub fn run<C: Command>(&mut self, command: C) -> anyhow::Result<C::Reply> {
        let stream = match &self.found {
            Found::Store(store) => return self.run_on(store, command),
            Found::Server => connect_again(&self.data_dir)?,
            Found::Nobody => match connect(&self.data_dir, self.allow_network_fs)? {
                Reached::Server(stream) => {
                    self.found = Found::Server;
                    stream
                }
                Reached::Store(store) => {
                    let reply = self.run_on(&store, command);
                    self.found = Found::Store(store);
                    return reply;
                }
            },
        };
        let on_progress = &mut |_: &_| ControlFlow::Continue(());
        Ok(ask(stream, &command, self.by.clone(), on_progress)?.0)
    }

    fn run_on<C: Command>(&self, store: &Store, command: C) -> anyhow::Result<C::Reply> {
        let by = Some(Actor::Host(self.by.clone()));
        let (upkeep, on_progress) = (&Upkeep::default(), &mut |_: &_| ControlFlow::Continue(()));
        let mut context =
            CommandContext { store, by, running: None, upkeep, on_progress, kept: None };
        command.run(&mut context).map_err(|error| Refused::of(&error).into())
    }
}
