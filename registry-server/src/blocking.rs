//! The only bridge from async code to code that blocks on the disk, and it is bounded.
//!
//! Each kind of work has a bound of its own: however many pushes wait for a sync, a pull finds a
//! thread. And of each kind one owner has a share: however much somebody asks for, there is a
//! thread for the others. What runs here never waits for a client.
//!
//! Closing a file is such work too: the last close of a file that was removed meanwhile gives its
//! space back. So a value that holds one is kept [`OnDisk`], whoever lets go of it.

use std::cell::Cell;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::limits::Limits;
use crate::share::{HeldShare, Owner, Pool};

/// Runs blocking work on other threads, at most so much at once, on behalf of somebody.
#[derive(Clone, Debug)]
pub struct Blocking {
    reads: Pool,
    writes: Pool,
    commits: Pool,
    heavy: Pool,
    longs: Pool,
    owner: Owner,
}

impl Blocking {
    /// Takes its bounds from the limits. What runs here is the server's own work.
    pub fn new(limits: &Limits) -> Self {
        let share = |all: usize| Pool::new(all, all.saturating_sub(all / OTHERS_SHARE));
        Self {
            reads: share(limits.reads),
            writes: share(limits.writes),
            commits: share(limits.commits),
            heavy: Pool::new(limits.heavy, 1),
            longs: share(limits.longs),
            owner: Owner::Server,
        }
    }

    /// The same bridge, for what somebody asked for.
    pub fn of(&self, owner: Owner) -> Self {
        Self { owner, ..self.clone() }
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

    /// Runs work that makes an upload a blob, which may wait long: for whoever does the same, or
    /// for all of a file to be read again.
    pub async fn commit<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        begin(&self.commits, &self.owner, work).await
    }

    /// Runs work that costs much memory and time of the processor, or of the thread that writes:
    /// few do at once, and of each owner one. It needs no other permit: who has this one is at
    /// work, and never waits among others of the same owner.
    pub async fn heavy<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        self.begin_heavy(work).await
    }

    /// Starts work that only reads, if there is room for it now; else it starts when its outcome
    /// is awaited.
    pub fn begin_read<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> RunningWork<T> {
        begin(&self.reads, &self.owner, work)
    }

    /// Starts work that writes, if there is room for it now; else it starts when its outcome is
    /// awaited.
    pub fn begin_write<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> RunningWork<T> {
        begin(&self.writes, &self.owner, work)
    }

    /// Starts work as [`Blocking::heavy`] does, if there is room for it now; else it starts when
    /// its outcome is awaited.
    pub fn begin_heavy<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> RunningWork<T> {
        begin(&self.heavy, &self.owner, work)
    }

    /// Starts work that takes minutes or hours, in steps of its own: upkeep of the store. It takes
    /// no room from requests.
    pub fn begin_long<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> RunningWork<T> {
        begin(&self.longs, &self.owner, work)
    }
}

/// Work that may go on while its task does something else.
///
/// Its owner may wait for a client meanwhile, so it must not stand in the queue for a permit: a
/// permit that is given to somebody who does not look holds up everybody. Either the permit is
/// there at once and goes to the thread, or the queue is joined when the outcome is awaited.
pub struct RunningWork<T>(State<T>);

enum State<T> {
    Running(JoinHandle<T>),
    Waiting(Pin<Box<dyn Future<Output = T> + Send>>),
}

impl<T> Future for RunningWork<T> {
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

/// A value whose end may wait for the disk: it ends on a thread of this bridge.
#[derive(Debug)]
pub struct OnDisk<T: Send + Sync + 'static> {
    value: Arc<T>,
    // After the value, because fields are dropped in order: this is the last reference.
    _last: Last<T>,
}

impl<T: Send + Sync + 'static> OnDisk<T> {
    /// Keeps a value. Call it where the value is made, so that no other thread ever ends it.
    pub fn new(value: T) -> Self {
        let value = Arc::new(value);
        Self { _last: Last(Some(Arc::clone(&value))), value }
    }
}

impl<T: Send + Sync + 'static> Deref for OnDisk<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

#[derive(Debug)]
struct Last<T: Send + Sync + 'static>(Option<Arc<T>>);

impl<T: Send + Sync + 'static> Drop for Last<T> {
    fn drop(&mut self) {
        let Some(value) = self.0.take() else { return };
        // Without a permit: there are no more of these than requests, and nobody awaits them.
        // Where no runtime is, nobody waits for this thread.
        if !IS_BRIDGE.get() && Handle::try_current().is_ok() {
            spawn(None, move || drop(value));
        }
    }
}

fn begin<T: Send + 'static>(
    pool: &Pool,
    owner: &Owner,
    work: impl FnOnce() -> T + Send + 'static,
) -> RunningWork<T> {
    if let Some(held) = pool.try_take(owner, 1) {
        return RunningWork(State::Running(spawn(Some(held), work)));
    }
    let (pool, owner) = (pool.clone(), owner.clone());
    RunningWork(State::Waiting(Box::pin(async move {
        let held = pool.take(&owner, 1).await;
        RunningWork(State::Running(spawn(Some(held), work))).await
    })))
}

#[allow(clippy::disallowed_methods)] // This is the bridge that the rule protects.
fn spawn<T: Send + 'static>(
    held: Option<HeldShare>,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    tokio::task::spawn_blocking(move || {
        let _held = held;
        IS_BRIDGE.set(true);
        work()
    })
}

/// Of each kind of work, one part in so many is kept from any single owner.
const OTHERS_SHARE: usize = 4;

thread_local! {
    /// Whether this thread does blocking work. Such a thread never does anything else.
    static IS_BRIDGE: Cell<bool> = const { Cell::new(false) };
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

    #[test]
    fn heavy_work_waits_for_no_other_work_of_its_owner_and_lasts_though_nobody_waits() {
        let limits = Limits { reads: 2, writes: 2, heavy: 1, ..Limits::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let [ann, bob] = ["ann", "bob"].map(|name| Owner::User(name.parse().unwrap()));
            let blocking = Blocking::new(&limits);
            let (ann, bob) = (blocking.of(ann), blocking.of(bob));
            let (release, held) = std::sync::mpsc::channel::<()>();
            let held = Arc::new(std::sync::Mutex::new(held));
            let wait = || {
                let held = Arc::clone(&held);
                move || held.lock().unwrap().recv().is_ok()
            };
            let crowd = (0..4).flat_map(|_| [ann.begin_read(wait()), ann.begin_write(wait())]);
            let crowd: Vec<RunningWork<bool>> = crowd.collect();
            // All that she has of the rest is taken, and others queue for it.
            assert_eq!(ann.heavy(|| 1).await, 1);
            assert_eq!(bob.heavy(|| 2).await, 2);
            let mut work = Box::pin(ann.heavy(wait()));
            let mut context = Context::from_waker(std::task::Waker::noop());
            assert!(work.as_mut().poll(&mut context).is_pending());
            drop(work);
            assert_eq!(blocking.heavy.free(), 0, "it is at work still");
            (0..=crowd.len()).for_each(|_| release.send(()).unwrap());
            assert_eq!(bob.heavy(|| 3).await, 3);
            for one in crowd {
                assert!(one.await);
            }
        });
    }

    /// Tells on which thread it ends.
    struct Tells(std::sync::mpsc::Sender<std::thread::ThreadId>);

    impl Drop for Tells {
        fn drop(&mut self) {
            let _ = self.0.send(std::thread::current().id());
        }
    }

    #[test]
    fn what_is_kept_on_disk_ends_on_a_thread_that_may_wait() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let blocking = Blocking::new(&Limits::default());
            let (teller, ended) = std::sync::mpsc::channel();
            let here = std::thread::current().id();
            let kept = OnDisk::new(Tells(teller.clone()));
            drop(kept);
            assert_ne!(ended.recv(), Ok(here));
            // Work that ends it does so where it runs.
            let kept = OnDisk::new(Tells(teller.clone()));
            let work = move || {
                drop(kept);
                std::thread::current().id()
            };
            let there = blocking.read(work).await;
            assert_eq!(ended.try_recv(), Ok(there));
            // A result that nobody takes was kept before it came.
            drop(blocking.begin_read(move || OnDisk::new(Tells(teller))));
            assert_ne!(ended.recv(), Ok(here));
        });
    }
}
