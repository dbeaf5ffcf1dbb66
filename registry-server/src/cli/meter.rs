//! How far a command is that takes long: one line on a terminal that is written over, and nothing
//! at all elsewhere.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::words::bytes;
use crate::command::{Command, Progress};
use crate::control;
use crate::text;

/// Runs a command that takes long, and shows how far it is.
pub(super) fn run_shown<C: Command>(data_dir: &Path, command: C) -> anyhow::Result<C::Reply> {
    let meter = Meter::new();
    let reply = control::run_long(data_dir, command, &mut |progress| {
        meter.show(progress);
        ControlFlow::Continue(())
    });
    meter.end();
    reply
}

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
        Self { is_terminal: text::is_watched(), state: Mutex::default() }
    }

    /// Begins a task of so many bytes.
    pub(super) fn begin(&self, task: &str, total: u64) {
        self.change(|state| *state = State { task: task.to_owned(), total, ..State::default() });
    }

    /// So many bytes more are done.
    pub(super) fn advance(&self, count: u64) {
        self.change(|state| state.done += count);
    }

    /// Shows how far the running server, or the store, is with a command.
    fn show(&self, progress: &Progress) {
        self.write_now_and_then(|| {
            let total = progress.total.map(|total| format!(" of {total}")).unwrap_or_default();
            format!("{}: {}{total}", progress.task, progress.done)
        });
    }

    /// Takes the line away.
    pub(super) fn end(&self) {
        self.write("");
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.write_now_and_then(|| {
            let state = self.lock();
            match state.total {
                0 => state.task.clone(),
                total => format!("{}: {} of {}", state.task, bytes(state.done), bytes(total)),
            }
        });
    }

    fn write_now_and_then(&self, text: impl FnOnce() -> String) {
        let shown = self.lock().shown;
        if shown.is_none_or(|shown| shown.elapsed() >= PAUSE) {
            self.lock().shown = Some(Instant::now());
            self.write(&text());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, line: &str) {
        if self.is_terminal {
            text::write_over(line);
        }
    }
}

/// How often the line changes.
const PAUSE: Duration = Duration::from_millis(200);
