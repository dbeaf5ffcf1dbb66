//! What a command is given to work with, as long as it holds the connection: a snapshot, or that
//! nothing is deleted.

use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// What a running server keeps for this process. It ends when this is dropped or the process dies.
pub struct Lease(pub(super) BufReader<UnixStream>);

impl Lease {
    /// Whether the server keeps it no more: blobs may be gone since.
    pub fn is_lost(&mut self) -> bool {
        if self.0.get_ref().set_nonblocking(true).is_err() {
            return true;
        }
        // The server has nothing more to say.
        !matches!(self.0.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Gives a sign of life, where the server waits for one.
    pub fn go_on(&self) {
        // If nobody takes it, the lease is lost.
        let _ = self.0.get_ref().write(&[0]);
    }
}

impl Drop for Lease {
    /// Gives it back and waits until it is given back, so that the next command can have it.
    fn drop(&mut self) {
        let connection = self.0.get_ref();
        // A server that has ended has given it back too.
        let _ = connection
            .set_nonblocking(false)
            .and_then(|()| connection.set_read_timeout(Some(PATIENCE)))
            .and_then(|()| connection.shutdown(Shutdown::Write))
            .and_then(|()| self.0.read(&mut [0]));
    }
}

/// How long a server may take to remove a file.
const PATIENCE: Duration = Duration::from_secs(10);
