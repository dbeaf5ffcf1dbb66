//! Logs: one line an event, on standard error, without secrets.
//!
//! Nothing here or elsewhere logs an `Authorization` header, a password or a hash; types that
//! hold them have no `Debug` that prints them.
//!
//! Standard error is mostly a pipe or a socket, and whoever reads it may wait for a disk. So lines
//! go through a queue to a thread of their own: when the queue is full they are lost and counted,
//! and nobody who logs ever waits. Of lines that clients can bring about at will there are so many
//! a minute ([`quota`]).
//!
//! The queue is our own because the non-blocking writer of tracing-appender (0.2.5) cannot stand in
//! for it. It is bounded by lines and not by bytes, and a line may have 16 KiB; it counts what it
//! lost in one number for good, and says nothing in the place where the lines are missing. It is
//! flushed only by the drop of its guard, which ends its thread for good, and prints to standard
//! output where the queue is full just then; and where it gets no thread it panics.

use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

mod journal;
pub mod quota;

use journal::Priority;

use crate::limits::LOG_QUEUE_BYTES;
use crate::text::error_output;

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// Only what a person must look at.
    Error,
    /// Also what may need a look.
    Warn,
    /// Also every change: pushes, deletes, the start and the stop.
    #[default]
    Info,
    /// Also every request and connection.
    Debug,
}

/// Starts logging for the whole process. Called once, by the commands that run for long, after
/// the process became the user that it stays.
///
/// # Errors
/// Fails when there is no thread to be had.
pub fn start(level: LogLevel) -> io::Result<()> {
    let filter = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let is_journal = journal::is_connected();
    let thread = std::thread::Builder::new().name("log".to_owned());
    thread.spawn(move || QUEUE.write_to(error_output::write_log, is_journal))?;
    if is_journal {
        mark_panics();
    }
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(filter)
        .with_target(false)
        .with_writer(Lines { is_journal });
    // Fails only if logging was started before, as tests in one process do.
    let _ = match is_journal {
        true => tracing::subscriber::set_global_default(subscriber.without_time().finish()),
        false => tracing::subscriber::set_global_default(subscriber.finish()),
    };
    Ok(())
}

/// What a process says last on standard error, when it ends because something failed: with its
/// priority where that goes to the journal.
pub(crate) fn last_words(lines: &[u8]) -> Vec<u8> {
    match journal::is_connected() {
        true => Priority::ERROR.mark(lines),
        false => lines.to_owned(),
    }
}

/// Waits until what was logged is written, for as long as an end may be held up by that. For the
/// end of the process, also where it ends in the middle of its work.
pub fn flush() {
    QUEUE.flush(FLUSH_TIME);
}

/// Lets what a thread says that panics have its priority, too.
fn mark_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let text = format!("thread {}: {panic}", thread.name().unwrap_or("without a name"));
        // Around the queue, since the process may end with it.
        error_output::write_log(&Priority::ERROR.mark(&error_output::log_line(text.as_bytes())));
    }));
}

/// Takes what the subscriber writes.
struct Lines {
    is_journal: bool,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line(None)
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Line {
        Line(self.is_journal.then(|| Priority::of(*event.level())))
    }
}

/// Takes the lines of one event, which come at once.
struct Line(Option<Priority>);

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // What is logged may be what somebody sent: it is made harmless here, whoever logs it.
        let line = error_output::log_line(line);
        match self.0 {
            Some(priority) => QUEUE.push(&priority.mark(&line)),
            None => QUEUE.push(&line),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

static QUEUE: Queue = Queue::new();

/// Lines on their way to standard error.
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    lines: Vec<u8>,
    /// Lines that found no room since the thread last took some.
    lost: usize,
    /// Whether the thread has taken lines that it has not written yet.
    is_writing: bool,
}

impl Queue {
    const fn new() -> Self {
        let state = State { lines: Vec::new(), lost: 0, is_writing: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.lines.len() + line.len() > LOG_QUEUE_BYTES {
            state.lost += 1;
        } else {
            state.lines.extend_from_slice(line);
            self.changed.notify_all();
        }
    }

    /// Writes lines for ever.
    fn write_to(&self, mut out: impl FnMut(&[u8]), is_journal: bool) {
        loop {
            let mut state = self.lock();
            state.is_writing = false;
            self.changed.notify_all();
            while state.lines.is_empty() {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let mut lines = std::mem::take(&mut state.lines);
            let lost = std::mem::take(&mut state.lost);
            state.is_writing = true;
            drop(state);
            if lost > 0 {
                let notice = notice(lost);
                lines.extend(match is_journal {
                    true => Priority::WARNING.mark(notice.as_bytes()),
                    false => notice.into_bytes(),
                });
            }
            out(&lines);
        }
    }

    fn flush(&self, time: Duration) {
        let is_busy = |state: &mut State| state.is_writing || !state.lines.is_empty();
        let _ = self.changed.wait_timeout_while(self.lock(), time, is_busy);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What stands in the log in the place of lines that were lost.
fn notice(lost: usize) -> String {
    format!("registry: the log was not read in time; lines that are missing here: {lost}\n")
}

/// How long the end of the process waits for lines that are not written yet.
const FLUSH_TIME: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_log_that_nobody_reads_holds_nobody_up_and_says_what_it_lost() {
        let queue = Arc::new(Queue::new());
        let line = format!("{}\n", "x".repeat(1023));
        let room = LOG_QUEUE_BYTES / line.len();
        for _ in 0..room + 7 {
            queue.push(line.as_bytes());
        }
        queue.flush(Duration::ZERO);
        assert_eq!(queue.lock().lines.len(), room * line.len());
        let (mut reader, mut writer) = io::pipe().unwrap();
        let writing = Arc::clone(&queue);
        let write = move |lines: &[u8]| writer.write_all(lines).unwrap();
        std::thread::spawn(move || writing.write_to(write, false));
        let expected = line.repeat(room) + &notice(7);
        let mut written = vec![0; expected.len()];
        reader.read_exact(&mut written).unwrap();
        assert!(written == expected.as_bytes());
        // The loss is told once, and the end waits for the last line.
        queue.push(b"last\n");
        queue.flush(Duration::from_secs(60));
        let mut last = [0; 5];
        reader.read_exact(&mut last).unwrap();
        assert_eq!(&last, b"last\n");
        assert!(!queue.lock().is_writing);
    }
}
