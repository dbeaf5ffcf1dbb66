//! `registry tag`: what was done to tags, undoing it, and protecting them.

use std::path::Path;

use anyhow::bail;
use clap::Subcommand;
use serde::Serialize;
use storage::{TagPattern, shell_word};

use super::DataDir;
use super::words::{seconds, time};
use crate::admin::{
    self, ChangeEntry, LIST_PAGE_ENTRIES, Reply, RestoredEntry, TagCommand, TagReply,
};
use crate::text::{Page, note, print, print_json};

mod many;

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
        /// The tag; with * and ? in it, in quotes, all that are gone and like that; with --all the
        /// repository
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
        /// With --all or * and ?, only what was removed at this time or later
        #[arg(long, value_name = "TIME", value_parser = seconds)]
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
        Command::Restore { data, image, to: None, before: None, all: false, since, json }
            if TagPattern::is_meant_by(&image) =>
        {
            many::restore_matching(&data.path()?, &image, since, json)
        }
        Command::Restore { data, image, all: true, since, json, .. } => {
            many::restore_all(&data.path()?, &image, since, json)
        }
        Command::Restore { all: false, since: Some(_), image, .. } => bail!(
            "--since is for what was removed together, and {image} is one tag: say --before, or \
             add --all and name a repository, or put a * into the tag"
        ),
        Command::Restore { data, image, to, before, json, .. } => {
            let to = to.map(|to| to.to_string());
            let command = TagCommand::Restore { image, to, before, only_if_gone: false };
            let restored = restore(&data.path()?, command)?;
            if json { print_json(&restored) } else { Ok(print(&told(&restored))?) }
        }
        Command::Protect { data, image } => {
            let (image, is_change) = protection(&data.path()?, TagCommand::Protect { image })?;
            let word = if is_change { "now" } else { "already" };
            Ok(print(&Page::of(format_args!(
                "{image} is protected {word}: nobody moves or deletes it, or what it needs, until \
                 `registry tag unprotect {}`",
                shell_word(&image)
            )))?)
        }
        Command::Unprotect { data, image } => {
            let (image, is_change) = protection(&data.path()?, TagCommand::Unprotect { image })?;
            let word = if is_change { "no longer" } else { "not" };
            Ok(print(&Page::of(format_args!("{image} is {word} protected")))?)
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
        Ok(print(&page.into_iter().map(line).collect())?)
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
    format!("{when}  {image}  {from} -> {to}  by {by}")
}

/// What a restoration did, and how it is undone.
fn told(restored: &RestoredEntry) -> Page {
    let RestoredEntry { image, from, to, manifests, also_gone } = restored;
    let mut page = match (from, to) {
        (from, Some(to)) if from.as_ref() == Some(to) => {
            Page::of(format_args!("{image} names {to}, as before"))
        }
        (from, Some(to)) => {
            let named = format!("{image} named {}", or_nothing(from.as_deref()));
            [named, format!("now it names {to}")].into_iter().collect()
        }
        (Some(from), None) => {
            let named = format!("{image} named {from}");
            let gone = "now it is gone, as before its last change; what it named stays".to_owned();
            [named, gone].into_iter().collect()
        }
        (None, None) => Page::of(format_args!("{image} is not there, as before")),
    };
    match manifests {
        0 => {}
        1 => page.line("1 manifest that was deleted is back"),
        more => page.line(format_args!("{more} manifests that were deleted are back")),
    }
    for tag in also_gone {
        let command = format!("registry tag restore {}", shell_word(tag));
        page.line(format_args!("{tag} went with it, and comes back with: {command}"));
    }
    if from != to {
        let word = shell_word(image);
        page.line(format_args!("to take this back: registry tag restore {word}"));
    }
    page
}

fn or_nothing(digest: Option<&str>) -> &str {
    digest.unwrap_or("nothing")
}
