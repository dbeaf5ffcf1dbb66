//! `registry rm`.

use std::path::Path;

use anyhow::bail;
use oci::{Digest, ImageName, RepoName, TagPattern};
use serde::Serialize;
use storage::shell_word;

use super::df::sum_repository;
use crate::command::data::RepositorySum;
use crate::command::image::{
    PlanRemovalOfAll, RemoveImage, RemoveSome, RemovedImage, RemovedSome, RepositoryCounts,
};
use crate::control;
use crate::text::format::{bytes, counted, now, time};
use crate::text::{Lines, print, print_json};

mod matching;
mod report;

use report::{SPACE, more, sum, tags, tell_rest, words};

pub(super) fn run(
    data_dir: &Path,
    image: &str,
    all: bool,
    dry_run: bool,
    json: bool,
) -> anyhow::Result<()> {
    if TagPattern::is_meant_by(image) {
        if all {
            bail!("--all is for a whole repository, and {image} is not: leave out one of the two");
        }
        return matching::remove(data_dir, image, dry_run, json);
    }
    if all {
        return remove_all(data_dir, image, dry_run, json);
    }
    let removed = control::run(data_dir, RemoveImage { image: image.parse()?, dry_run })?;
    if json { print_json(&removed) } else { Ok(print(&describe(&removed))?) }
}

/// What went with an image, and how to get it back.
fn describe(removed: &RemovedImage) -> Lines {
    let (goes, go) = words(removed.dry_run);
    let mut lines = tags(removed);
    for digest in &removed.manifests {
        lines.line(format!("manifest  {digest}"));
    }
    lines.append(&more(removed.manifests.len(), removed.manifest_count, "manifests"));
    if let Some(keeper) = &removed.kept_by {
        lines.line(format!("only the tag {goes}: {keeper} keeps what it named"));
    } else {
        for index in &removed.sparse {
            lines.line(format!("{}@{index} stays, without what {goes}", removed.repository));
        }
        lines.append(&sum(removed, go));
    }
    if !removed.dry_run {
        lines.append(&restoring(removed));
    }
    lines
}

fn restoring(removed: &RemovedImage) -> Lines {
    if removed.tags.is_empty() {
        let RemovedImage { repository, manifests, .. } = removed;
        let digest = manifests.first().map_or_else(|| "DIGEST".to_owned(), Digest::to_string);
        let (image, digest) = (shell_word(&format!("{repository}:TAG")), shell_word(&digest));
        let command = format!("registry tag restore {image} --to {digest}");
        return Lines::of(format_args!("to undo it: {command}"));
    }
    let line = |tag: &ImageName| {
        format!("to undo it: registry tag restore {}", shell_word(&tag.to_string()))
    };
    removed.tags.iter().map(line).collect()
}

/// What goes with a whole repository, as it is printed as JSON.
#[derive(Serialize)]
struct RepositoryRemoval {
    repository: RepoName,
    dry_run: bool,
    tag_count: u64,
    manifest_count: u64,
    blobs: u64,
    blob_bytes: u64,
}

fn remove_all(data_dir: &Path, text: &str, dry_run: bool, json: bool) -> anyhow::Result<()> {
    let RepositoryCounts { repository, tags, manifests } =
        control::run(data_dir, PlanRemovalOfAll { repository: text.parse()? })?;
    let RepositorySum { own_blobs: blobs, own_bytes: blob_bytes, .. } =
        sum_repository(data_dir, &repository)?;
    let word = shell_word(repository.as_str());
    let undo = format!("registry tag restore --all {word} --since {}", time(now()));
    let (tag_count, manifest_count) = match dry_run {
        true => (tags, manifests),
        false => {
            let mut went = (0, 0);
            let outcome = remove_in_steps(data_dir, &repository, &mut went);
            outcome.inspect_err(|error| tell_rest(error, went, &undo))?;
            went
        }
    };
    let whole =
        RepositoryRemoval { repository, dry_run, tag_count, manifest_count, blobs, blob_bytes };
    if json {
        return print_json(&whole);
    }
    let mut lines = Lines::of(format_args!(
        "{}: {}, {}, and {} in {} that no other repository holds",
        words(dry_run).1,
        counted(tag_count, "tag"),
        counted(manifest_count, "manifest"),
        bytes(blob_bytes),
        counted(blobs, "blob"),
    ));
    lines.line(SPACE);
    if !dry_run {
        lines.line(format_args!("to undo it: {undo}"));
    }
    Ok(print(&lines)?)
}

/// Removes what a repository holds, and counts it: a push may have added something meanwhile.
fn remove_in_steps(
    data_dir: &Path,
    repository: &RepoName,
    went: &mut (u64, u64),
) -> anyhow::Result<()> {
    loop {
        let step = RemoveSome { repository: repository.clone() };
        let RemovedSome { tags, manifests } = control::run(data_dir, step)?;
        if (tags, manifests) == (0, 0) {
            return Ok(());
        }
        *went = (went.0.saturating_add(tags), went.1.saturating_add(manifests));
    }
}
