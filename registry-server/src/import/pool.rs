//! The threads that read blobs, hash them and write them into the import's directory: while one
//! hashes, another writes. They are the owner's, as the directory is; what they read was opened on
//! the other side. None of them waits for the disk: what they leave is synced when it is published,
//! many files at a time.

use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

use anyhow::anyhow;
use archive::BlobBytes;
use oci::Digest;
use storage::{CheckedFile, StagedFile, Staging, StorageError};

use super::sync::sync_all;
use crate::advice::told;
use crate::backup::{Event, Listener};

/// The threads, and the way to and from them. They end when this is dropped.
pub(super) struct Pool {
    jobs: Option<mpsc::Sender<Job>>,
    /// Whether nobody wants any of it any more.
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    checked: Arc<Checked>,
}

/// What was read, is right, and may not last: nobody has synced it.
type Checked = Mutex<HashMap<Digest, CheckedFile>>;

/// A blob that is to be read.
pub(super) struct Job {
    pub(super) digest: Digest,
    pub(super) bytes: BlobBytes,
}

/// A blob that was read.
pub(super) struct Done {
    pub(super) digest: Digest,
    pub(super) outcome: Outcome,
}

/// What became of a blob.
pub(super) enum Outcome {
    /// It lies in the import's directory, so many bytes of it, and they are right.
    Staged { bytes: u64, is_clone: bool },
    /// Its bytes are others than its digest says.
    Wrong,
    /// The source does not give it back.
    Unreadable(String),
    /// It cannot be written, and neither can others.
    Failed(StorageError),
}

impl Pool {
    /// Starts the threads, which tell `done` of each blob.
    ///
    /// # Errors
    /// There can be no more threads.
    pub(super) fn start(
        staging: &Arc<Staging>,
        done: &mpsc::Sender<Done>,
        listener: &Listener,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let is_over = Arc::new(AtomicBool::new(false));
        let checked = Arc::new(Checked::default());
        let mut pool = Self { jobs: Some(jobs), is_over, threads: Vec::new(), checked };
        for _ in 0..THREADS {
            let worker = Worker {
                staging: Arc::clone(staging),
                is_over: Arc::clone(&pool.is_over),
                checked: Arc::clone(&pool.checked),
                listener: Arc::clone(listener),
            };
            let (queue, done) = (Arc::clone(&queue), done.clone());
            let work = move || worker.work(&queue, &done);
            pool.threads.push(thread::Builder::new().name("import".to_owned()).spawn(work)?);
        }
        Ok(pool)
    }

    /// Syncs those of these blobs that nobody has synced yet, so that they can be published.
    ///
    /// # Errors
    /// Trouble with the disk: then there is none of them that may be published.
    pub(super) fn sync(&self, digests: &[Digest]) -> Result<(), StorageError> {
        let mut checked = lock(&self.checked);
        let files = digests.iter().filter_map(|digest| checked.remove(digest)).collect();
        drop(checked);
        sync_all(files)
    }

    /// Lays a file by that somebody else has filled, to be synced with others.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub(super) fn lay_by(&self, file: CheckedFile) -> Result<(), StorageError> {
        let mut checked = lock(&self.checked);
        checked.insert(*file.digest(), file);
        if checked.len() < MOST_UNSYNCED {
            return Ok(());
        }
        let files = std::mem::take(&mut *checked).into_values().collect();
        drop(checked);
        sync_all(files)
    }

    /// Has a blob read. Whoever asks bounds how many wait.
    pub(super) fn read(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(job);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs = None;
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// One of the threads.
struct Worker {
    staging: Arc<Staging>,
    is_over: Arc<AtomicBool>,
    checked: Arc<Checked>,
    listener: Listener,
}

impl Worker {
    fn work(&self, queue: &Mutex<mpsc::Receiver<Job>>, done: &mpsc::Sender<Done>) {
        loop {
            let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Job { digest, bytes }) = job else { return };
            let outcome = self.stage(&digest, bytes).unwrap_or_else(Outcome::Failed);
            // Nobody waits any more after a failure.
            if done.send(Done { digest, outcome }).is_err() {
                return;
            }
        }
    }

    fn stage(&self, digest: &Digest, mut bytes: BlobBytes) -> Result<Outcome, StorageError> {
        let mut file = self.staging.create(digest)?;
        if let Some(whole) = bytes.whole_file() {
            let mut tell = |count| (self.listener)(Event::Copied(count));
            if file.fill_as_clone(whole, &mut tell)? {
                return Ok(self.check(file, true));
            }
        }
        // A file may have become longer since its size was read, and there is room for no more.
        let mut rest = bytes.len();
        self.staging.check_own_room(rest)?;
        let mut piece = vec![0; PIECE_BYTES];
        while rest > 0 {
            let wanted = usize::try_from(rest).unwrap_or(usize::MAX).min(piece.len());
            match bytes.read(&mut piece[..wanted]) {
                _ if self.is_over.load(Ordering::Relaxed) => {
                    return Ok(Outcome::Unreadable("nobody wants it any more".to_owned()));
                }
                Ok(0) => return Ok(Outcome::Unreadable("it ends before its time".to_owned())),
                Ok(read) => {
                    file.write(&piece[..read])?;
                    rest -= read as u64;
                    (self.listener)(Event::Copied(read as u64));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Ok(Outcome::Unreadable(error.to_string())),
            }
        }
        Ok(self.check(file, false))
    }

    /// Lays it by to be synced, if its bytes are right.
    fn check(&self, file: StagedFile, is_clone: bool) -> Outcome {
        let Some(file) = file.checked() else { return Outcome::Wrong };
        let bytes = file.bytes();
        lock(&self.checked).insert(*file.digest(), file);
        Outcome::Staged { bytes, is_clone }
    }
}

fn lock(checked: &Checked) -> MutexGuard<'_, HashMap<Digest, CheckedFile>> {
    checked.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says what ends an import before its time.
pub(super) fn cut_short(error: &StorageError) -> anyhow::Error {
    anyhow!(
        "{}; what is imported by then stays, and the same command goes on with the rest",
        told(error)
    )
}

/// How many blobs are read at once: one that is hashed while another one is written, on hosts with
/// a few processors.
pub(super) const THREADS: usize = 4;
/// Files of a stream that are open and not synced, at most: nobody can say yet which of them are
/// published together.
const MOST_UNSYNCED: usize = 64;
/// How much of a blob each has in memory: no more than the processor's cache holds, since it is
/// copied, hashed and copied again.
const PIECE_BYTES: usize = 256 * 1024;
