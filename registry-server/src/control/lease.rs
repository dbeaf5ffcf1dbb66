//! What a command is given to work with, as long as it holds the connection: a snapshot, or that
//! nothing is deleted.

use std::cell::Cell;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// What a running server keeps for this process. It ends when this is dropped, the process dies, or
/// it gives no sign of life for a long time.
pub struct Lease {
    connection: BufReader<UnixStream>,
    /// When the server heard last that this process is at work.
    heard: Cell<Instant>,
}

impl Lease {
    pub(super) fn new(connection: BufReader<UnixStream>) -> Self {
        Self { connection, heard: Cell::new(Instant::now()) }
    }

    /// Whether the server keeps it no more: blobs may be gone since.
    pub fn is_lost(&mut self) -> bool {
        if self.connection.get_ref().set_nonblocking(true).is_err() {
            return true;
        }
        // The server has nothing more to say.
        let said = self.connection.read(&mut [0]);
        !matches!(said, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Says that this process is at work. Whoever asks or copies does it again and again, and the
    /// server hears of it now and then: one that got stuck loses what is kept.
    pub fn go_on(&self) {
        if self.heard.get().elapsed() < SIGN_TIME {
            return;
        }
        self.heard.set(Instant::now());
        // If nobody takes it, the lease is lost.
        let _ = self.connection.get_ref().write(&[0]);
    }
}

impl Drop for Lease {
    /// Gives it back and waits until it is given back, so that the next command can have it.
    fn drop(&mut self) {
        let connection = self.connection.get_ref();
        // A server that has ended has given it back too.
        let _ = connection
            .set_nonblocking(false)
            .and_then(|()| connection.set_read_timeout(Some(PATIENCE)))
            .and_then(|()| connection.shutdown(Shutdown::Write))
            .and_then(|()| self.connection.read(&mut [0]));
    }
}

/// How often the server hears that this process is at work.
const SIGN_TIME: Duration = Duration::from_secs(60);
/// How long a server may take to remove a file.
const PATIENCE: Duration = Duration::from_secs(10);
