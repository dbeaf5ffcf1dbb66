//! `registry tag`: what was done to tags, undoing it, and protecting them.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use anyhow::bail;
use clap::Subcommand;
use serde::Serialize;

use super::words::{counted, seconds, time};
use super::{DataDir, note, print, print_json};
use crate::admin::{
    self, ChangeEntry, LIST_PAGE_ENTRIES, Reply, RestoredEntry, TagCommand, TagReply,
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Show what tags named, when that changed and who changed it, the newest first
    History {
        #[command(flatten)]
        data: DataDir,
        /// A repository, or one tag of it
        #[arg(value_name = "REPO[:TAG]")]
        image: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Let a tag name again what it named before its last change
    ///
    /// A manifest that was deleted comes back with it, and so does what was deleted with that.
    /// Restoring is a change too: doing it twice changes nothing.
    Restore {
        #[command(flatten)]
        data: DataDir,
        /// The tag, or with --all the repository
        #[arg(value_name = "REPO:TAG")]
        image: String,
        /// The digest that the tag is to name
        #[arg(long, value_name = "DIGEST", conflicts_with = "before")]
        to: Option<storage::Digest>,
        /// Let the tag name what it named before this time, as `tag history` prints times
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        before: Option<i64>,
        /// Bring back all that was removed from the repository: tags, and images without one
        #[arg(long, conflicts_with_all = ["to", "before"])]
        all: bool,
        /// With --all, only what was removed at this time or later
        #[arg(long, value_name = "TIME", value_parser = seconds, requires = "all")]
        since: Option<i64>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Let nobody move or delete a tag, or delete what it needs
    Protect {
        #[command(flatten)]
        data: DataDir,
        /// The tag
        #[arg(value_name = "REPO:TAG")]
        image: String,
    },
    /// Let a tag be moved and deleted again
    Unprotect {
        #[command(flatten)]
        data: DataDir,
        /// The tag
        #[arg(value_name = "REPO:TAG")]
        image: String,
    },
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::History { data, image, json } => history(&data.path()?, &image, json),
        Command::Restore { data, image, all: true, since, json, .. } => {
            restore_all(&data.path()?, &image, since, json)
        }
        Command::Restore { data, image, to, before, json, .. } => {
            let to = to.map(|to| to.to_string());
            let command = TagCommand::Restore { image, to, before, only_if_gone: false };
            let restored = restore(&data.path()?, command)?;
            if json { print_json(&restored) } else { print(&told(&restored)) }
        }
        Command::Protect { data, image } => {
            let (image, is_change) = protection(&data.path()?, TagCommand::Protect { image })?;
            let word = if is_change { "now" } else { "already" };
            print(&format!(
                "{image} is protected {word}: nobody moves or deletes it, or what it needs, until \
                 `registry tag unprotect {image}`\n"
            ))
        }
        Command::Unprotect { data, image } => {
            let (image, is_change) = protection(&data.path()?, TagCommand::Unprotect { image })?;
            let word = if is_change { "no longer" } else { "not" };
            print(&format!("{image} is {word} protected\n"))
        }
    }
}

fn ask(data_dir: &Path, command: TagCommand) -> anyhow::Result<TagReply> {
    match admin::run(data_dir, admin::Command::Tag(command))? {
        Reply::Tag(reply) => Ok(reply),
        _ => bail!("the running server's answer makes no sense"),
    }
}

fn protection(data_dir: &Path, command: TagCommand) -> anyhow::Result<(String, bool)> {
    match ask(data_dir, command)? {
        TagReply::Protection { image, is_change } => Ok((image, is_change)),
        _ => bail!("the running server's answer makes no sense"),
    }
}

/// One change, as it is printed as JSON.
#[derive(Serialize)]
struct Change {
    when: String,
    image: String,
    from: Option<String>,
    to: Option<String>,
    by: Option<String>,
}

fn restore(data_dir: &Path, command: TagCommand) -> anyhow::Result<RestoredEntry> {
    match ask(data_dir, command)? {
        TagReply::Restored(restored) => Ok(restored),
        _ => bail!("the running server's answer makes no sense"),
    }
}

/// What was brought back of a repository.
#[derive(Default, Serialize)]
struct Back {
    tags: Vec<RestoredEntry>,
    manifests: u64,
    /// Why the rest cannot come back.
    failed: BTreeSet<String>,
}

/// Brings back the manifests and the tags of a repository that are gone, one after the other: what
/// can no longer come back keeps nothing else from it.
fn restore_all(
    data_dir: &Path,
    repository: &str,
    since: Option<i64>,
    json: bool,
) -> anyhow::Result<()> {
    let mut back = Back::default();
    let repository = restore_manifests(data_dir, repository, since, &mut back)?;
    for (image, digest) in gone(data_dir, &repository, since)? {
        let to = Some(digest);
        match restore(data_dir, TagCommand::Restore { image, to, before: None, only_if_gone: true })
        {
            // Somebody pushed it meanwhile.
            Ok(entry) if entry.from.is_some() => {}
            Ok(entry) => {
                if !json {
                    let names = or_nothing(entry.to.as_deref());
                    print(&format!("{} names {names} again\n", entry.image))?;
                }
                back.manifests += entry.manifests;
                back.tags.push(entry);
            }
            Err(error) => drop(back.failed.insert(format!("{error:#}"))),
        }
    }
    let Back { tags, manifests, failed } = &back;
    if tags.is_empty() && *manifests == 0 && failed.is_empty() {
        bail!(
            "nothing of {repository} is gone{} that can come back: `registry tag history \
             {repository}` shows what was done to its tags",
            since.map(|since| format!(" since {}", time(since))).unwrap_or_default()
        );
    }
    if json {
        print_json(&back)?;
    } else {
        let counts = (counted(tags.len() as u64, "tag"), counted(*manifests, "manifest"));
        print(&format!("back: {} and {}\n", counts.0, counts.1))?;
    }
    if failed.is_empty() {
        return Ok(());
    }
    failed.iter().for_each(|reason| note(reason));
    bail!("not all is back, for the reasons above: what comes back no more must be pushed again")
}

/// Brings back the manifests; the name of the repository comes back.
fn restore_manifests(
    data_dir: &Path,
    repository: &str,
    since: Option<i64>,
    all: &mut Back,
) -> anyhow::Result<String> {
    let (repository, since, mut after) = (repository.to_owned(), since.unwrap_or(i64::MIN), None);
    loop {
        let repository = repository.clone();
        let command = TagCommand::RestoreManifests { repository, since, after };
        let TagReply::RestoredManifests { repository, back, failed, last } =
            ask(data_dir, command)?
        else {
            bail!("the running server's answer makes no sense")
        };
        all.manifests += back;
        all.failed.extend(failed);
        if last.is_none() {
            return Ok(repository);
        }
        after = last;
    }
}

/// The tags of a repository whose last change removed them, the first removed first, with what
/// they named.
fn gone(
    data_dir: &Path,
    repository: &str,
    since: Option<i64>,
) -> anyhow::Result<Vec<(String, String)>> {
    let (mut seen, mut gone) = (HashSet::new(), Vec::new());
    changes(data_dir, repository, &mut |page| {
        for change in page {
            if seen.insert(change.image.clone())
                && since.is_none_or(|since| change.changed_at >= since)
                && let (Some(from), None) = (change.from, change.to)
            {
                gone.push((change.image, from));
            }
        }
        Ok(())
    })?;
    gone.reverse();
    Ok(gone)
}

/// Goes through the changes of tags page by page, the newest first.
fn changes(
    data_dir: &Path,
    image: &str,
    on_page: &mut dyn FnMut(Vec<ChangeEntry>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut before = None;
    loop {
        let command = TagCommand::History { image: image.to_owned(), before };
        let TagReply::History(page) = ask(data_dir, command)? else {
            bail!("the running server's answer makes no sense")
        };
        let is_last = page.len() < LIST_PAGE_ENTRIES;
        before = page.last().map(|change| change.id);
        on_page(page)?;
        if is_last {
            return Ok(());
        }
    }
}

fn history(data_dir: &Path, image: &str, json: bool) -> anyhow::Result<()> {
    let (mut all, mut is_empty) = (Vec::new(), true);
    changes(data_dir, image, &mut |page| {
        is_empty &= page.is_empty();
        if json {
            all.extend(page.into_iter().map(change));
            return Ok(());
        }
        print(&page.into_iter().map(line).collect::<String>())
    })?;
    if json {
        return print_json(&all);
    }
    if is_empty {
        note(&format!("no change of {image} is known"));
    }
    Ok(())
}

fn change(entry: ChangeEntry) -> Change {
    let when = time(entry.changed_at);
    Change { when, image: entry.image, from: entry.from, to: entry.to, by: entry.by }
}

fn line(entry: ChangeEntry) -> String {
    let Change { when, image, from, to, by } = change(entry);
    let (from, to) = (or_nothing(from.as_deref()), or_nothing(to.as_deref()));
    let by = by.as_deref().unwrap_or("a command on the host");
    format!("{when}  {image}  {from} -> {to}  by {by}\n")
}

/// What a restoration did, and how it is undone.
fn told(restored: &RestoredEntry) -> String {
    let RestoredEntry { image, from, to, manifests, also_gone } = restored;
    let mut text = match (from, to) {
        (from, Some(to)) if from.as_ref() == Some(to) => format!("{image} names {to}, as before\n"),
        (from, Some(to)) => {
            format!("{image} named {}\nnow it names {to}\n", or_nothing(from.as_deref()))
        }
        (Some(from), None) => format!(
            "{image} named {from}\nnow it is gone, as before its last change; what it named stays\n"
        ),
        (None, None) => format!("{image} is not there, as before\n"),
    };
    match manifests {
        0 => {}
        1 => text += "1 manifest that was deleted is back\n",
        more => text += &format!("{more} manifests that were deleted are back\n"),
    }
    for tag in also_gone {
        text += &format!("{tag} went with it, and comes back with: registry tag restore {tag}\n");
    }
    if from != to {
        text += &format!("to take this back: registry tag restore {image}\n");
    }
    text
}

fn or_nothing(digest: Option<&str>) -> &str {
    digest.unwrap_or("nothing")
}
