//! Logs: one line an event, on standard error, without secrets.
//!
//! Nothing here or elsewhere logs an `Authorization` header, a password or a hash; types that
//! hold them have no `Debug` that prints them.

use std::io::IsTerminal;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tracing::level_filters::LevelFilter;

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

/// Starts logging for the whole process. Called once, by the commands that run for long.
pub fn start(level: LogLevel) {
    let filter = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(filter)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .finish();
    // Fails only if logging was started before, as tests in one process do.
    let _ = tracing::subscriber::set_global_default(subscriber);
}
