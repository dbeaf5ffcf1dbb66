//! `registry restore`: a data directory from a backup, whole or not at all.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use installer::paths::{CONFIG_FILE, OWN_CERTIFICATE, OWN_KEY};
use serde::Serialize;
use storage::shell_word;

use super::data_dir::DataDir;
use super::progress::ProgressLine;
use crate::backup::{self, RestoreReport, RestoreSummary, name_in_backup};
use crate::config::{Settings, is_installed};
use crate::control::is_network_fs_allowed;
use crate::text::format::{bytes, counted, duration, quoted, time};
use crate::text::{Lines, print, print_json};

/// The flags of `restore`.
#[derive(Args)]
pub(super) struct RestoreArgs {
    #[command(flatten)]
    data: DataDir,
    /// The directory that `registry backup` wrote
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was done, as it is printed as JSON.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    summary: &'a RestoreSummary,
    /// What to type next.
    next: &'a str,
}

/// Fills the data directory, which must be empty or not there yet, and tells what to type next.
pub(super) fn run(args: RestoreArgs) -> anyhow::Result<()> {
    let directory = std::path::absolute(&args.directory)?;
    let data = std::path::absolute(args.data.path()?)?;
    let line = ProgressLine::new();
    let outcome = backup::restore(&directory, &data, &line.listener());
    line.end();
    let RestoreReport { summary, data, settings } = outcome?;
    let next = next(&data, &directory, settings.as_deref())?;
    match args.json {
        true => print_json(&Document { summary: &summary, next: &next })?,
        false => print(&text(&summary, &next, &data, &directory))?,
    }
    match summary.missing.as_slice() {
        [] => Ok(()),
        missing => bail!(
            "the registry is restored but for {} that the backup has not, or not with the \
             right bytes: {}; after the start type `registry verify`, which tells what they belong \
             to, and push that again",
            counted(missing.len() as u64, "blob"),
            missing.join(", ")
        ),
    }
}

fn text(summary: &RestoreSummary, next: &str, data: &Path, directory: &Path) -> Lines {
    let made_at = summary.made_at.map(time).unwrap_or_default();
    let rows = [
        ("backup of", made_at),
        ("blobs copied", format!("{}, {}", summary.copied_blobs, bytes(summary.copied_bytes))),
        ("already there", summary.present_blobs.to_string()),
        ("time", duration(summary.seconds)),
    ];
    let (data, directory) = (data.display(), directory.display());
    let mut lines = Lines::of(format_args!("{data} is restored from {directory}"));
    rows.iter().for_each(|(name, value)| lines.line(format_args!("{name:<14}{value}")));
    lines.line("Next, type:");
    lines.line(format_args!("  {next}"));
    lines.line(
        "The first backup into that directory needs --take-over: the registry that wrote it may \
         live on.",
    );
    lines
}

/// What starts the registry that was restored, for root to type: what the backup's settings say is
/// words of it, whatever they are.
fn next(data: &Path, directory: &Path, settings: Option<&[u8]>) -> anyhow::Result<String> {
    let program = std::env::args().next().unwrap_or_else(|| "registry".to_owned());
    let program = shell_word(&program);
    let network_fs = if is_network_fs_allowed(data) { NETWORK_FS } else { "" };
    if is_installed(data) {
        return Ok(format!("{program} install{network_fs}"));
    }
    let Some(settings) = settings else {
        return Ok(format!("{program} serve --data-dir {}{network_fs}", quoted(data)));
    };
    let at = |path: &str| directory.join(name_in_backup(path));
    let settings = Settings::parse(&String::from_utf8_lossy(settings), &at(CONFIG_FILE))?;
    let mut line = format!("{program} install --data-dir {}", quoted(data));
    settings.hostname.iter().for_each(|name| line += &flag("--hostname", name));
    settings.listen.iter().for_each(|address| line += &flag("--listen", &address.to_string()));
    if let Some(user) = settings.init_user {
        line += &flag("--init-user", &user);
    }
    if settings.open_pulls == Some(true) {
        line += " --open-pulls";
    }
    if settings.tls_cert.is_some() {
        let (certificate, key) = (quoted(&at(OWN_CERTIFICATE)), quoted(&at(OWN_KEY)));
        line += &format!(" --tls-cert {certificate} --tls-key {key}");
    }
    if settings.allow_network_fs == Some(true) || !network_fs.is_empty() {
        line += NETWORK_FS;
    }
    Ok(line)
}

/// A flag with its value, which is no flag itself, whatever it begins with.
fn flag(name: &str, value: &str) -> String {
    match value.starts_with('-') {
        true => format!(" {}", shell_word(&format!("{name}={value}"))),
        false => format!(" {name} {}", shell_word(value)),
    }
}

const NETWORK_FS: &str = " --allow-network-fs";
