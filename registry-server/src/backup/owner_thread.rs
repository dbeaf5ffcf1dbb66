//! Working on both sides of a border of rights: this thread as whoever runs the command, and
//! another as the owner of the data. Opened files go across, paths do not: what the owner could
//! have laid in the data leads nobody with more rights anywhere.

use std::path::Path;
use std::sync::mpsc;
use std::thread;

use anyhow::Context;

/// What one side asks of the other.
type Errand<T> = Box<dyn FnOnce(&mut T) + Send>;

/// The way to the owner's side, where a `T` is at work.
pub(crate) struct OwnerThread<T>(mpsc::Sender<Errand<T>>);

impl<T: 'static> OwnerThread<T> {
    /// Runs `work` on the owner's side and waits for its outcome.
    ///
    /// # Errors
    /// The other side has ended, which it does only when it panics.
    pub(crate) fn ask<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> anyhow::Result<R> {
        let (reply, outcome) = mpsc::sync_channel(1);
        let errand = Box::new(move |at_work: &mut T| drop(reply.send(work(at_work))));
        let ended = "the work on the data ended before its time";
        self.0.send(errand).ok().context(ended)?;
        outcome.recv().context(ended)
    }
}

/// Begins as the owner of `whose`, or as whoever this is where none is named, then runs `work`
/// here. What `begin` gives lives and ends on the owner's side.
///
/// # Errors
/// Those of `begin` and of `work`, and that this process may not become the owner.
pub(crate) fn with_owner_thread<T: 'static, R>(
    whose: Option<&Path>,
    begin: impl FnOnce() -> anyhow::Result<T> + Send,
    work: impl FnOnce(&OwnerThread<T>) -> anyhow::Result<R>,
) -> anyhow::Result<R> {
    let (errands, queue) = mpsc::channel::<Errand<T>>();
    let (begun, beginning) = mpsc::sync_channel(1);
    thread::scope(|scope| {
        let owner = scope.spawn(move || {
            let serve = move || {
                let mut at_work = begin()?;
                let _ = begun.send(());
                queue.into_iter().for_each(|errand| errand(&mut at_work));
                anyhow::Ok(())
            };
            match whose {
                // The owner is found out once: a path may lead to another's directory later.
                Some(whose) => installer::as_owner_of(whose, serve)?,
                None => serve(),
            }
        });
        let outcome = beginning.recv().ok().map(|()| work(&OwnerThread(errands)));
        owner.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        outcome.context("the work on the other side did not begin")?
    })
}
