//! Many commands of one process to the owner of a store: the running server, or this process, which
//! then opens the store once for all of them.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use storage::{Actor, HostUser, Store};

use super::client::{Reached, Refused, ask, connect, is_network_fs_allowed};
use super::person::who_asks;
use crate::command::{Command, Context};
use crate::config::Upkeep;

/// The way to the owner of a store, for commands that are soon done.
pub struct Owner {
    data_dir: PathBuf,
    allow_network_fs: bool,
    by: HostUser,
    /// What was reached and not used: a connection takes one command, a store all that follow.
    reached: Option<Reached>,
}

impl Owner {
    /// Becomes the owner of the data and finds out who owns the store.
    ///
    /// # Errors
    /// Trouble on the way to it.
    pub fn reach(data_dir: &Path) -> anyhow::Result<Self> {
        let by = who_asks();
        // Before, because the owner may not be able to read the settings.
        let allow_network_fs = is_network_fs_allowed(data_dir);
        installer::become_owner_of(data_dir)?;
        let reached = Some(connect(data_dir, allow_network_fs)?);
        Ok(Self { data_dir: data_dir.to_owned(), allow_network_fs, by, reached })
    }

    /// Runs a command. Where a server was reached that has ended, its successor is asked, or the
    /// store is opened: then the next server waits for the end of this process.
    ///
    /// # Errors
    /// What the command refuses, and trouble on the way to it.
    pub fn run<C: Command>(&mut self, command: C) -> anyhow::Result<C::Reply> {
        let reached = match self.reached.take() {
            Some(reached) => reached,
            None => connect(&self.data_dir, self.allow_network_fs)?,
        };
        match reached {
            Reached::Server(stream) => {
                let on_progress = &mut |_: &_| ControlFlow::Continue(());
                Ok(ask(stream, &command, self.by.clone(), on_progress)?.0)
            }
            Reached::Store(store) => {
                let outcome = self.run_on(&store, command);
                self.reached = Some(Reached::Store(store));
                outcome
            }
        }
    }

    fn run_on<C: Command>(&self, store: &Store, command: C) -> anyhow::Result<C::Reply> {
        let by = Some(Actor::Host(self.by.clone()));
        let (upkeep, on_progress) = (&Upkeep::default(), &mut |_: &_| ControlFlow::Continue(()));
        let mut context = Context { store, by, running: None, upkeep, on_progress, kept: None };
        command.run(&mut context).map_err(|error| Refused::of(&error).into())
    }
}
