//! `registry tag`: what was done to tags, undoing it, and protecting them.

use std::path::Path;

use anyhow::bail;
use clap::Subcommand;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

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
        /// The tag
        #[arg(value_name = "REPO:TAG")]
        image: String,
        /// The digest that the tag is to name
        #[arg(long, value_name = "DIGEST", conflicts_with = "before")]
        to: Option<storage::Digest>,
        /// Let the tag name what it named before this time, as `tag history` prints times
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        before: Option<i64>,
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
        Command::Restore { data, image, to, before, json } => {
            let to = to.map(|to| to.to_string());
            let command = TagCommand::Restore { image, to, before };
            let TagReply::Restored(restored) = ask(&data.path()?, command)? else {
                bail!("the running server's answer makes no sense")
            };
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

fn history(data_dir: &Path, image: &str, json: bool) -> anyhow::Result<()> {
    let (mut changes, mut before, mut is_empty) = (Vec::new(), None, true);
    loop {
        let command = TagCommand::History { image: image.to_owned(), before };
        let TagReply::History(page) = ask(data_dir, command)? else {
            bail!("the running server's answer makes no sense")
        };
        let is_last = page.len() < LIST_PAGE_ENTRIES;
        before = page.last().map(|change| change.id);
        is_empty &= page.is_empty();
        if json {
            changes.extend(page.into_iter().map(change));
        } else {
            print(&page.into_iter().map(line).collect::<String>())?;
        }
        if is_last {
            break;
        }
    }
    if json {
        return print_json(&changes);
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

/// A time for people and for programs (RFC 3339).
pub(super) fn time(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| seconds.to_string())
}

fn seconds(text: &str) -> Result<i64, String> {
    let time = OffsetDateTime::parse(text, &Rfc3339);
    let time = time.map_err(|_| "write a time as 2026-01-31T08:15:00Z".to_owned())?;
    Ok(time.unix_timestamp())
}
