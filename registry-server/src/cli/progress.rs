//! How far a command is that takes long: one line on a terminal that is written over, and nothing
//! at all elsewhere.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::backup::{Event, Listener};
use crate::command::{Command, Progress};
use crate::control;
use crate::text::escaped;

/// Runs a command that takes long, and shows how far it is.
pub(super) fn run_shown<C: Command>(data_dir: &Path, command: C) -> anyhow::Result<C::Reply> {
    let line = ProgressLine::new();
    let reply = control::run_long(data_dir, command, &mut |progress| {
        line.show(progress);
        ControlFlow::Continue(())
    });
    line.end();
    reply
}

/// A line that says how much is done, how fast, and how long the rest takes.
#[derive(Clone)]
pub(super) struct ProgressLine(ProgressBar);

impl ProgressLine {
    /// A line that shows nothing yet. It has no thread of its own, since a process that is about
    /// to become another user may have none.
    pub(super) fn new() -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(CHANGES_PER_SECOND);
        Self(ProgressBar::with_draw_target(None, target))
    }

    /// Shows how far a backup or a restore is.
    pub(super) fn listener(&self) -> Listener {
        let line = self.clone();
        Arc::new(move |event| match event {
            Event::Begins { task, bytes } => line.be_at(task, bytes, bytes.is_some()),
            Event::Copied(bytes) => line.0.inc(bytes),
        })
    }

    /// Takes the line away.
    pub(super) fn end(&self) {
        self.0.finish_and_clear();
    }

    /// Shows how far the running server, or the store, is with a command.
    fn show(&self, progress: &Progress) {
        self.be_at(&progress.task, progress.total, progress.is_bytes);
        self.0.set_position(progress.done);
    }

    /// Shows a task from its beginning on, unless it is shown already.
    fn be_at(&self, task: &str, total: Option<u64>, is_bytes: bool) {
        let task = escaped(task);
        if self.0.message() != task {
            let template = match (total, is_bytes) {
                (None, _) => "{msg}",
                (Some(_), false) => "{msg}: {pos} of {len}, {eta} left",
                (Some(_), true) => BYTES,
            };
            // Only what is no template fails.
            let style = ProgressStyle::with_template(template);
            self.0.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            // None of these draws: the line changes once, as a whole.
            let line = self.0.clone().with_message(task.into_owned()).with_position(0);
            line.reset_elapsed();
        }
        match total {
            Some(total) => self.0.set_length(total),
            None => self.0.tick(),
        }
    }
}

/// What is shown of a task whose bytes are counted.
const BYTES: &str =
    "{msg}: {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";
/// How often the line changes at most.
const CHANGES_PER_SECOND: u8 = 5;
