//! What can go wrong on a host, as a closed enum that callers match and tests compare.

use std::path::PathBuf;

use durable::IoError;
use thiserror::Error;

/// Why something cannot be installed or removed. Each names the next step.
#[expect(missing_docs, reason = "fields whose names say what they are")]
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InstallError {
    /// The process is not root.
    #[error("this changes the host and needs root: type it again behind `sudo`")]
    NotRoot,
    /// The host was not booted with systemd.
    #[error("this host does not run systemd, so there is nothing to install a service in")]
    NoSystemd,
    /// Another installation is under way.
    #[error("another `registry install` or `uninstall` runs on this host: wait until it ends")]
    Busy,
    /// The operating system refused an operation.
    #[error(transparent)]
    Io(#[from] IoError),
    /// A program of the host failed.
    #[error("`{line}` failed: {message}")]
    Command {
        /// The program and its arguments.
        line: String,
        /// How it ended; none if it was never started, or a signal ended it.
        code: Option<i32>,
        /// Its own words.
        message: String,
    },
    /// A file that would be written is there and was not installed by this program.
    #[error(
        "{} is there already and was not put there by `registry install`: move it away if nothing \
         needs it, then install again", .0.display()
    )]
    ForeignFile(PathBuf),
    /// What should be a file is something else.
    #[error(
        "{} is no regular file, or a very large one: move it away, then try again", .0.display()
    )]
    NoFile(PathBuf),
    /// A directory cannot be written in.
    #[error(
        "nothing can be written in {}: it is read-only, or forbidden; mount it for writing, or \
         choose another place", .0.display()
    )]
    ReadOnly(PathBuf),
    /// What should be a directory is something else.
    #[error("{} is no directory: move it away, then install again", .0.display())]
    NoDirectory(PathBuf),
    /// The service of this name belongs to somebody else.
    #[error(
        "the service {unit} is there already and was not put there by `registry install` ({}): if \
         nothing needs it, type `systemctl disable --now {unit}` and move that file away, then \
         install again", .path.display()
    )]
    ForeignUnit {
        unit: String,
        /// The file that defines it.
        path: PathBuf,
    },
    /// The administrator has forbidden the service.
    #[error("the service {0} is masked: type `systemctl unmask {0}`, then install again")]
    Masked(String),
    /// The user is a person's account.
    #[error(
        "the user {name} is there already and looks like a person's account (its number is \
         {uid}): rename it, then install again"
    )]
    ForeignUser {
        /// The user's name.
        name: String,
        /// Its number.
        uid: u32,
    },
    /// A directory above does not let the service's user pass.
    #[error(
        "{} does not let other users pass, so the user {user} could not reach {}: choose another \
         place, or type `chmod o+x {}`", .closed.display(), .path.display(), .closed.display()
    )]
    Unreachable {
        /// The user of the service.
        user: String,
        /// What it must reach.
        path: PathBuf,
        /// The directory above that is closed.
        closed: PathBuf,
    },
    /// A file to be moved is at its new place too, with another content.
    #[error(
        "{} and {} both exist and differ: move away the one that is wrong", .from.display(),
        .to.display()
    )]
    Differ {
        /// Where it was found.
        from: PathBuf,
        /// Where it belongs.
        to: PathBuf,
    },
    /// The service does not start.
    #[error(
        "it does not start: mend what it says, then install again (`journalctl -u {unit}` has all \
         of it){}", said(.log)
    )]
    Service {
        unit: String,
        /// What it logged.
        log: Vec<String>,
    },
    /// The caller's part of a step failed.
    #[error("{0}")]
    Caller(String),
    /// A signal came.
    #[error("it was interrupted")]
    Interrupted,
    /// The record of what is installed cannot be read.
    #[error(
        "{} cannot be read as a record of what is installed ({message}): restore it from a \
         backup; without one, move it away and remove by hand what it names", .path.display()
    )]
    Record {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The record was written by a later program.
    #[error("{} was written by a later version of this program: use that", .0.display())]
    NewerRecord(PathBuf),
    /// A step failed; what was done before it has been undone.
    #[error("cannot {step}: {cause}{}", left(.not_undone))]
    Step {
        /// What the step is about.
        step: String,
        /// Why it failed.
        cause: Box<Self>,
        /// What could not be undone, and why; empty when the host is as it was.
        not_undone: Vec<String>,
    },
}

fn said(log: &[String]) -> String {
    match log {
        [] => String::new(),
        lines => format!(":\n    {}", lines.join("\n    ")),
    }
}

fn left(not_undone: &[String]) -> String {
    match not_undone {
        [] => "\nThe host is as it was before.".to_owned(),
        rest => format!(
            "\nNot all of it could be undone; type the same again once this is mended:\n    {}",
            rest.join("\n    ")
        ),
    }
}
