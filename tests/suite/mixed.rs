//! A mixed load with a model: many clients that push, pull, mount, move, list and delete at once,
//! and know what must be there then, whether all of them were answered or the server died.
//!
//! Each client has repositories of its own, of which it knows everything; contents, and two more
//! repositories, are everybody's. It runs in bursts ([`Load::run`]); between two of them the
//! server is held against what is known ([`Load::check`]). What the clients do is in `step`,
//! `session` and `pull`; what they know is in `model` and `shared`.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::support::http::Client;

mod check;
mod content;
mod files;
mod model;
mod pull;
mod session;
mod shared;
mod step;
mod tally;
mod tests;
mod upkeep;
mod worker;

use content::Content;
use shared::Shared;
pub(crate) use tally::Tally;
pub(crate) use upkeep::Upkeep;
use worker::{Worker, World};

/// Clients and what they know.
#[derive(Debug)]
pub(crate) struct Load {
    workers: Vec<Worker>,
    world: Arc<World>,
    client: Client,
}

impl Load {
    /// So many clients like `client`, which do the same for the same seed as far as the server
    /// answers alike. Collection that runs meanwhile has this grace time.
    pub(crate) fn new(client: &Client, workers: usize, seed: u64, grace: Option<Duration>) -> Self {
        let common = Content::common();
        let shared = Shared::new(&common);
        let world = Arc::new(World { common, shared, tally: Tally::default(), workers, grace });
        let worker = |number| Worker::new(number, seed, client.again(), Arc::clone(&world));
        let workers = (0..workers).map(worker).collect();
        Self { workers, world, client: client.again() }
    }

    /// What was counted so far.
    pub(crate) fn tally(&self) -> &Tally {
        &self.world.tally
    }

    /// Lets all clients work while `meanwhile` runs; each ends after the step it is at, or when
    /// the server is dead.
    pub(crate) fn run<T>(&mut self, meanwhile: impl FnOnce(&Tally) -> T) -> T {
        let tally = &self.world.tally;
        tally.set_over(false);
        thread::scope(|scope| {
            for worker in &mut self.workers {
                scope.spawn(|| worker.run());
            }
            let _end = End(tally);
            meanwhile(tally)
        })
    }

    /// Compares what changed since the last check, or everything, with what must be there.
    #[track_caller]
    pub(crate) fn check(&mut self, everything: bool) {
        let faults = self.faults(everything).expect("a server that answers");
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    }

    /// The same; returns what is wrong.
    pub(crate) fn faults(&mut self, everything: bool) -> io::Result<Vec<String>> {
        let mut faults = thread::scope(|scope| {
            let checks: Vec<_> = self
                .workers
                .iter_mut()
                .map(|worker| scope.spawn(|| worker.check(everything)))
                .collect();
            let faults = checks.into_iter().map(|check| check.join().expect("a check"));
            Ok::<_, io::Error>(faults.collect::<io::Result<Vec<_>>>()?.concat())
        })?;
        faults.extend(check::check_shared(&self.world, &self.client)?);
        Ok(faults)
    }
}

/// Ends the clients' work, also when what runs meanwhile fails.
struct End<'a>(&'a Tally);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.set_over(true);
    }
}
