//! `registry rm`.

use std::path::Path;

use anyhow::bail;
use serde::Serialize;
use storage::{TagPattern, shell_word};

use super::words::{bytes, counted, now, time};
use crate::admin::{
    self, AllEntry, Command, ImageCommand, ImageReply, Refused, RemovedEntry, Reply,
};
use crate::text::{Page, note, print, print_json};

mod matching;

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
    let command = ImageCommand::Remove { image: image.to_owned(), dry_run };
    let ImageReply::Removed(removed) = ask(data_dir, command)? else {
        bail!("the running server's answer makes no sense")
    };
    if json { print_json(&removed) } else { Ok(print(&told(&removed))?) }
}

/// Gives a command about images.
pub(super) fn ask(data_dir: &Path, command: ImageCommand) -> anyhow::Result<ImageReply> {
    match admin::run(data_dir, Command::Image(command))? {
        Reply::Image(reply) => Ok(reply),
        _ => bail!("the running server's answer makes no sense"),
    }
}

/// What went with an image, and how to get it back.
fn told(removed: &RemovedEntry) -> Page {
    let (goes, go) = words(removed.dry_run);
    let mut page = tags(removed);
    for digest in &removed.manifests {
        page.line(format!("manifest  {digest}"));
    }
    page.append(&more(removed.manifests.len(), removed.manifest_count, "manifests"));
    if let Some(keeper) = &removed.kept_by {
        page.line(format!("only the tag {goes}: {keeper} keeps what it named"));
    } else {
        for index in &removed.sparse {
            page.line(format!("{}@{index} stays, without what {goes}", removed.repository));
        }
        page.append(&sum(removed, go));
    }
    if !removed.dry_run {
        page.append(&restoring(removed));
    }
    page
}

/// The tags, a line each.
fn tags(removed: &RemovedEntry) -> Page {
    let mut page: Page = removed.tags.iter().map(|tag| format!("tag       {tag}")).collect();
    page.append(&more(removed.tags.len(), removed.tag_count, "tags"));
    page
}

/// How much goes, and when its space comes back.
fn sum(removed: &RemovedEntry, go: &str) -> Page {
    let mut page = Page::of(format_args!(
        "{go}: {}, {}, and {} in {} that nothing else holds",
        counted(removed.tag_count, "tag"),
        counted(removed.manifest_count, "manifest"),
        bytes(removed.blob_bytes),
        counted(removed.blobs, "blob"),
    ));
    page.line(SPACE);
    page
}

fn restoring(removed: &RemovedEntry) -> Page {
    if removed.tags.is_empty() {
        let RemovedEntry { repository, manifests, .. } = removed;
        let digest = manifests.first().map_or("DIGEST", String::as_str);
        let (image, digest) = (shell_word(&format!("{repository}:TAG")), shell_word(digest));
        let command = format!("registry tag restore {image} --to {digest}");
        return Page::of(format_args!("to undo it: {command}"));
    }
    let line = |tag: &String| format!("to undo it: registry tag restore {}", shell_word(tag));
    removed.tags.iter().map(line).collect()
}

/// What goes with a whole repository, as it is printed as JSON.
#[derive(Serialize)]
struct Whole {
    repository: String,
    dry_run: bool,
    tag_count: u64,
    manifest_count: u64,
    blobs: u64,
    blob_bytes: u64,
}

fn remove_all(data_dir: &Path, text: &str, dry_run: bool, json: bool) -> anyhow::Result<()> {
    let command = ImageCommand::PlanAll { repository: text.to_owned() };
    let ImageReply::All(AllEntry { repository, tags, manifests }) = ask(data_dir, command)? else {
        bail!("the running server's answer makes no sense")
    };
    let (blobs, blob_bytes) = space(data_dir, &repository)?;
    let undo =
        format!("registry tag restore --all {} --since {}", shell_word(&repository), time(now()));
    let (tag_count, manifest_count) = match dry_run {
        true => (tags, manifests),
        false => {
            let mut went = (0, 0);
            let outcome = remove_in_steps(data_dir, &repository, &mut went);
            outcome.inspect_err(|error| tell_rest(error, went, &undo))?;
            went
        }
    };
    let whole = Whole { repository, dry_run, tag_count, manifest_count, blobs, blob_bytes };
    if json {
        return print_json(&whole);
    }
    let mut page = Page::of(format_args!(
        "{}: {}, {}, and {} in {} that no other repository holds",
        words(dry_run).1,
        counted(tag_count, "tag"),
        counted(manifest_count, "manifest"),
        bytes(blob_bytes),
        counted(blobs, "blob"),
    ));
    page.line(SPACE);
    if !dry_run {
        page.line(format_args!("to undo it: {undo}"));
    }
    Ok(print(&page)?)
}

/// Says how what went is undone, after something kept the rest from going.
fn tell_rest(error: &anyhow::Error, went: (u64, u64), undo: &str) {
    match went {
        // What is refused changes nothing: each step is one transaction.
        (0, 0) if error.is::<Refused>() => {}
        (0, 0) => note(&format!("whether anything went is not known; to undo it: {undo}")),
        _ => note(&format!("not all of them went; to undo what did: {undo}")),
    }
}

/// Removes what a repository holds, and counts it: a push may have added something meanwhile.
fn remove_in_steps(data_dir: &Path, repository: &str, went: &mut (u64, u64)) -> anyhow::Result<()> {
    loop {
        let command = ImageCommand::RemoveSome { repository: repository.to_owned() };
        match ask(data_dir, command)? {
            ImageReply::Step { tags: 0, manifests: 0 } => return Ok(()),
            ImageReply::Step { tags, manifests } => {
                *went = (went.0.saturating_add(tags), went.1.saturating_add(manifests));
            }
            _ => bail!("the running server's answer makes no sense"),
        }
    }
}

fn space(data_dir: &Path, repository: &str) -> anyhow::Result<(u64, u64)> {
    let (mut all, mut after) = ((0_u64, 0_u64), None);
    loop {
        let command = ImageCommand::SpaceOfAll { repository: repository.to_owned(), after };
        let ImageReply::Space { blobs, bytes, last } = ask(data_dir, command)? else {
            bail!("the running server's answer makes no sense")
        };
        all = (all.0.saturating_add(blobs), all.1.saturating_add(bytes));
        if last.is_none() {
            return Ok(all);
        }
        after = last;
    }
}

/// How it is said that something goes, in the middle of a sentence and at its beginning.
fn words(dry_run: bool) -> (&'static str, &'static str) {
    if dry_run { ("would go", "would remove") } else { ("went", "removed") }
}

fn more(shown: usize, count: u64, what: &str) -> Page {
    match count.saturating_sub(shown as u64) {
        0 => Page::default(),
        more => Page::of(format_args!("and {more} more {what}")),
    }
}

/// When the space of what was removed comes back.
const SPACE: &str = "the space comes back when the time for undoing it is over and collection has \
                     run; at once, and for good, with `registry gc --undo-time 0s --grace 0s` \
                     while nobody pushes";
