//! The only bridge from async code to code that blocks on the disk, and it is bounded.
//!
//! Reads and writes have bounds of their own: however many pushes wait for a sync, a pull finds a
//! thread. What runs here never waits for a client.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::Semaphore;

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
        run(Arc::clone(&self.reads), work).await
    }

    /// Runs work that writes and may wait for a sync. It runs to its end even if nobody waits for
    /// it any more.
    pub async fn write<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        run(Arc::clone(&self.writes), work).await
    }
}

/// Work that goes on while its task does something else.
pub enum Begun<T> {
    /// Not finished when it was last looked at.
    Running(Pin<Box<dyn Future<Output = T> + Send>>),
    /// Finished already.
    Done(T),
}

impl<T> Begun<T> {
    /// Waits for the outcome.
    pub async fn outcome(self) -> T {
        match self {
            Self::Running(work) => work.await,
            Self::Done(outcome) => outcome,
        }
    }
}

/// Starts blocking work without waiting for it: a future does nothing until it is polled, so it is
/// polled once. That costs no task of its own and no wake of another thread.
pub async fn begin<T>(work: impl Future<Output = T> + Send + 'static) -> Begun<T> {
    let mut work: Pin<Box<dyn Future<Output = T> + Send>> = Box::pin(work);
    match poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await {
        Poll::Ready(outcome) => Begun::Done(outcome),
        Poll::Pending => Begun::Running(work),
    }
}

#[allow(clippy::disallowed_methods)] // This is the bridge that the rule protects.
async fn run<T: Send + 'static>(
    bound: Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    // The semaphores are never closed; if one were, running unbounded is the lesser evil.
    let permit = bound.acquire_owned().await.ok();
    let task = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work()
    });
    match task.await {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going down, and with it whoever would take the outcome.
            Err(_) => std::future::pending().await,
        },
    }
}
