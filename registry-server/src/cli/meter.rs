//! How far a command is that takes long: one line on a terminal that is written over, and nothing
//! at all elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::plain;
use super::status::bytes;

/// A line that says how much is done.
pub(super) struct Meter {
    is_terminal: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    task: String,
    done: u64,
    total: u64,
    shown: Option<Instant>,
}

impl Meter {
    /// A meter that shows nothing yet.
    pub(super) fn new() -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        Self { is_terminal, state: Mutex::default() }
    }

    /// Begins a task of so many bytes.
    pub(super) fn begin(&self, task: &str, total: u64) {
        self.change(|state| *state = State { task: task.to_owned(), total, ..State::default() });
    }

    /// So many bytes more are done.
    pub(super) fn advance(&self, count: u64) {
        self.change(|state| state.done += count);
    }

    /// Takes the line away.
    pub(super) fn end(&self) {
        self.write("");
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        if state.shown.is_none_or(|shown| shown.elapsed() >= PAUSE) {
            state.shown = Some(Instant::now());
            let done = bytes(state.done);
            self.write(&match state.total {
                0 => state.task.clone(),
                total => format!("{}: {done} of {}", state.task, bytes(total)),
            });
        }
    }

    fn write(&self, text: &str) {
        if self.is_terminal {
            // Standard error may be closed; there is nobody left to tell then.
            let _ = write!(std::io::stderr(), "\r\x1b[K{}", plain(text));
        }
    }
}

/// How often the line changes.
const PAUSE: Duration = Duration::from_millis(200);
