//! The service manager's end of sd_notify(3): a socket that keeps what a server says.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tempfile::TempDir;

use super::process::wait_until;

/// A manager that listens; it ends with the test.
pub(crate) struct Manager {
    directory: TempDir,
    messages: Arc<Mutex<Vec<String>>>,
    listening: Option<JoinHandle<()>>,
}

impl Manager {
    /// Listens at a socket of its own.
    pub(crate) fn listen() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let socket = UnixDatagram::bind(directory.path().join("notify")).expect("a socket");
        let messages = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&messages);
        let listening = thread::spawn(move || {
            let mut message = [0; 4096];
            // An empty message is this end's own.
            while let Ok(length @ 1..) = socket.recv(&mut message) {
                let text = String::from_utf8_lossy(&message[..length]).into_owned();
                kept.lock().expect("nobody panicked").push(text);
            }
        });
        Self { directory, messages, listening: Some(listening) }
    }

    /// What NOTIFY_SOCKET is to be.
    pub(crate) fn address(&self) -> PathBuf {
        self.directory.path().join("notify")
    }

    /// What came so far.
    pub(crate) fn messages(&self) -> Vec<String> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many messages came with this line in them.
    pub(crate) fn count(&self, line: &str) -> usize {
        let has = |message: &&String| message.lines().any(|said| said == line);
        self.messages().iter().filter(has).count()
    }

    /// Waits until so many messages came with this line in them.
    #[track_caller]
    pub(crate) fn wait_for(&self, line: &str, count: usize) {
        wait_until(&format!("the server says {line}"), || self.count(line) >= count);
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // Both fail only when the thread has ended already.
        let _ = UnixDatagram::unbound().and_then(|own| own.send_to(b"", self.address()));
        let _ = self.listening.take().map(JoinHandle::join);
    }
}
