//! `registry df`.

use std::path::Path;

use oci::RepoName;
use serde::Serialize;

use super::ls::repositories;
use super::progress::run_shown;
use crate::command::data::{Collect, Collection, LookAtState, RepositorySum, State, SumRepository};
use crate::control;
use crate::text::format::{bytes, counted};
use crate::text::{Lines, print, print_json};

/// What the disk holds, as it is printed as JSON.
#[derive(Serialize)]
struct Usage {
    disk_total_bytes: u64,
    disk_free_bytes: u64,
    /// Blobs, each once.
    blobs: u64,
    /// Their bytes.
    blob_bytes: u64,
    /// What the blobs of all repositories would take if each had its own.
    logical_bytes: u64,
    /// What collection would free now.
    collectable_bytes: u64,
    repositories: Vec<Repository>,
}

/// What a repository takes.
#[derive(Serialize)]
struct Repository {
    repository: RepoName,
    blobs: u64,
    bytes: u64,
    /// Blobs that no other repository holds: what its removal would free.
    own_blobs: u64,
    own_bytes: u64,
}

pub(super) fn run(data_dir: &Path, json: bool) -> anyhow::Result<()> {
    let State { disk_total_bytes, disk_free_bytes, blobs, blob_bytes, .. } =
        control::run(data_dir, LookAtState {})?;
    let entry = |repository| {
        let RepositorySum { blobs, bytes, own_blobs, own_bytes, .. } =
            sum_repository(data_dir, &repository)?;
        anyhow::Ok(Repository { repository, blobs, bytes, own_blobs, own_bytes })
    };
    let mut repositories: Vec<Repository> =
        repositories(data_dir)?.into_iter().map(entry).collect::<Result<_, _>>()?;
    // Whoever is short of space looks for what takes most.
    repositories.sort_by_key(|it| std::cmp::Reverse(it.own_bytes));
    let command = Collect { dry_run: true, ..Collect::default() };
    let Collection { done, .. } = run_shown(data_dir, command)?;
    let usage = Usage {
        disk_total_bytes,
        disk_free_bytes,
        blobs,
        blob_bytes,
        logical_bytes: repositories.iter().map(|it| it.bytes).fold(0, u64::saturating_add),
        collectable_bytes: done.bytes(),
        repositories,
    };
    if json { print_json(&usage) } else { Ok(print(&table(&usage))?) }
}

/// Adds up what a repository holds, a part at a time.
pub(super) fn sum_repository(
    data_dir: &Path,
    repository: &RepoName,
) -> anyhow::Result<RepositorySum> {
    let mut all = RepositorySum::default();
    loop {
        let (repository, after) = (repository.clone(), all.next);
        let part = control::run(data_dir, SumRepository { repository, after })?;
        all.blobs = all.blobs.saturating_add(part.blobs);
        all.bytes = all.bytes.saturating_add(part.bytes);
        all.own_blobs = all.own_blobs.saturating_add(part.own_blobs);
        all.own_bytes = all.own_bytes.saturating_add(part.own_bytes);
        all.next = part.next;
        if all.next.is_none() {
            return Ok(all);
        }
    }
}

fn table(usage: &Usage) -> Lines {
    let mut lines = Lines::default();
    if !usage.repositories.is_empty() {
        lines.line(format_args!("{:>12}  {:>12}  repository", "holds", "alone"));
    }
    for it in &usage.repositories {
        lines.line(format_args!(
            "{:>12}  {:>12}  {}",
            bytes(it.bytes),
            bytes(it.own_bytes),
            it.repository
        ));
    }
    lines.line(format_args!(
        "stored: {} in {}, each once; the repositories hold {} together",
        bytes(usage.blob_bytes),
        counted(usage.blobs, "blob"),
        bytes(usage.logical_bytes)
    ));
    lines.line(format_args!(
        "`registry gc` would free {} now; {} of {} are free",
        bytes(usage.collectable_bytes),
        bytes(usage.disk_free_bytes),
        bytes(usage.disk_total_bytes)
    ));
    lines
}
