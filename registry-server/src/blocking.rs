//! The only bridge from async code to code that blocks on the disk, and it is bounded.
//!
//! Reads and writes have bounds of their own: however many pushes wait for a sync, a pull finds a
//! thread. What runs here never waits for a client.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::limits::Limits;

/// Runs blocking work on other threads, at most so many at once.
#[derive(Clone, Debug)]
pub struct Blocking {
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
}

impl Blocking {
    /// Takes its two bounds from the limits.
    pub fn new(limits: &Limits) -> Self {
        Self {
            reads: Arc::new(Semaphore::new(limits.reads)),
            writes: Arc::new(Semaphore::new(limits.writes)),
        }
    }

    /// Runs work that only reads.
    pub async fn read<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        self.begin_read(work).await
    }

    /// Runs work that writes and may wait for a sync. It runs to its end even if nobody waits for
    /// it any more.
    pub async fn write<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        self.begin_write(work).await
    }

    /// Starts work that only reads, if there is room for it now; else it starts when its outcome
    /// is awaited.
    pub fn begin_read<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Begun<T> {
        begin(&self.reads, work)
    }

    /// Starts work that writes, if there is room for it now; else it starts when its outcome is
    /// awaited.
    pub fn begin_write<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Begun<T> {
        begin(&self.writes, work)
    }
}

/// Work that may go on while its task does something else.
///
/// Its owner may wait for a client meanwhile, so it must not stand in the queue for a permit: a
/// permit that is given to somebody who does not look holds up everybody. Either the permit is
/// there at once and goes to the thread, or the queue is joined when the outcome is awaited.
pub struct Begun<T>(State<T>);

enum State<T> {
    Running(JoinHandle<T>),
    Waiting(Pin<Box<dyn Future<Output = T> + Send>>),
}

impl<T> Future for Begun<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match &mut self.0 {
            State::Waiting(work) => work.as_mut().poll(context),
            State::Running(task) => match ready!(Pin::new(task).poll(context)) {
                Ok(outcome) => Poll::Ready(outcome),
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The runtime is going down, and with it whoever would take the outcome.
                    Err(_) => Poll::Pending,
                },
            },
        }
    }
}

fn begin<T: Send + 'static>(
    bound: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Begun<T> {
    match Arc::clone(bound).try_acquire_owned() {
        Ok(permit) => Begun(State::Running(spawn(Some(permit), work))),
        Err(_) => {
            let bound = Arc::clone(bound);
            Begun(State::Waiting(Box::pin(async move {
                // The semaphores are never closed; were one, unbounded is the lesser evil.
                let permit = bound.acquire_owned().await.ok();
                Begun(State::Running(spawn(permit, work))).await
            })))
        }
    }
}

#[allow(clippy::disallowed_methods)] // This is the bridge that the rule protects.
fn spawn<T: Send + 'static>(
    permit: Option<OwnedSemaphorePermit>,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_nobody_awaits_holds_nobody_up() {
        let limits = Limits { reads: 1, ..Limits::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let blocking = Blocking::new(&limits);
            let (release, held) = std::sync::mpsc::channel::<()>();
            let first = blocking.begin_read(move || held.recv().is_ok());
            // There is no room for this one, and its owner looks elsewhere.
            let forgotten = blocking.begin_read(|| 2);
            release.send(()).unwrap();
            assert!(first.await);
            assert_eq!(blocking.read(|| 3).await, 3);
            assert_eq!(forgotten.await, 2);
        });
    }
}
