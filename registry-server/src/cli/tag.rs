//! `registry tag`: what was done to tags, undoing it, and protecting them.

use std::path::Path;

use anyhow::bail;
use clap::Subcommand;
use oci::{Digest, ImageName, TagPattern};
use serde::Serialize;
use storage::{Actor, HostUser, ImportNumber, UserName, shell_word};

use super::data_dir::DataDir;
use crate::command::tag::{Change, ProtectTag, Protection, RestoreTag, RestoredTag, UnprotectTag};
use crate::control;
use crate::text::format::{seconds, time};
use crate::text::{Lines, note, print, print_json};

mod changes;
mod many;

use changes::{changes, or_nothing};

#[derive(Subcommand)]
pub(super) enum TagCommand {
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
        to: Option<Digest>,
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

pub(super) fn run(command: TagCommand) -> anyhow::Result<()> {
    match command {
        TagCommand::History { data, image, json } => history(&data.path()?, &image, json),
        TagCommand::Restore { data, image, to: None, before: None, all: false, since, json }
            if TagPattern::is_meant_by(&image) =>
        {
            many::restore_matching(&data.path()?, &image, since, json)
        }
        TagCommand::Restore { data, image, all: true, since, json, .. } => {
            many::restore_all(&data.path()?, &image, since, json)
        }
        TagCommand::Restore { all: false, since: Some(_), image, .. } => bail!(
            "--since is for what was removed together, and {image} is one tag: say --before, or \
             add --all and name a repository, or put a * into the tag"
        ),
        TagCommand::Restore { data, image, to, before, json, .. } => {
            let (data_dir, image) = (data.path()?, image.parse()?);
            let command = RestoreTag { image, to, before, only_if_gone: false };
            let restored = control::run(&data_dir, command)?;
            if json { print_json(&restored) } else { Ok(print(&describe(&restored))?) }
        }
        TagCommand::Protect { data, image } => {
            let (data_dir, image) = (data.path()?, image.parse()?);
            let Protection { image, is_change } = control::run(&data_dir, ProtectTag { image })?;
            let word = if is_change { "now" } else { "already" };
            Ok(print(&Lines::of(format_args!(
                "{image} is protected {word}: nobody moves or deletes it, or what it needs, until \
                 `registry tag unprotect {}`",
                shell_word(&image.to_string())
            )))?)
        }
        TagCommand::Unprotect { data, image } => {
            let (data_dir, image) = (data.path()?, image.parse()?);
            let Protection { image, is_change } = control::run(&data_dir, UnprotectTag { image })?;
            let word = if is_change { "no longer" } else { "not" };
            Ok(print(&Lines::of(format_args!("{image} is {word} protected")))?)
        }
    }
}

/// One change, as it is printed as JSON.
#[derive(Serialize)]
struct Printed {
    when: String,
    image: ImageName,
    from: Option<Digest>,
    to: Option<Digest>,
    /// A client's user.
    by: Option<UserName>,
    /// A person who gave a command on the host.
    host_user: Option<HostUser>,
    /// The import that it was a part of.
    import: Option<ImportNumber>,
}

fn history(data_dir: &Path, image: &str, json: bool) -> anyhow::Result<()> {
    let (mut all, mut is_empty) = (Vec::new(), true);
    changes(data_dir, &image.parse()?, |page| {
        is_empty &= page.is_empty();
        if json {
            all.extend(page.into_iter().map(printed));
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

fn printed(Change { image, from, to, changed_at, by, import, .. }: Change) -> Printed {
    let (by, host_user) = match by {
        Some(Actor::User(user)) => (Some(user), None),
        Some(Actor::Host(person)) => (None, Some(person)),
        None => (None, None),
    };
    Printed { when: time(changed_at), image, from, to, by, host_user, import }
}

fn line(Change { image, from, to, changed_at, by, import, .. }: Change) -> String {
    let (when, from, to) = (time(changed_at), or_nothing(from.as_ref()), or_nothing(to.as_ref()));
    let by = match by {
        Some(Actor::User(user)) => user.to_string(),
        Some(Actor::Host(person)) => format!("a command on the host ({person})"),
        None => "a command on the host".to_owned(),
    };
    let import = import.map(|number| format!(" in import {number}")).unwrap_or_default();
    format!("{when}  {image}  {from} -> {to}  by {by}{import}")
}

/// What a restoration did, and how it is undone.
fn describe(restored: &RestoredTag) -> Lines {
    let RestoredTag { image, from, to, manifests, also_gone } = restored;
    let mut lines = match (from, to) {
        (from, Some(to)) if from.as_ref() == Some(to) => {
            Lines::of(format_args!("{image} names {to}, as before"))
        }
        (from, Some(to)) => {
            let named = format!("{image} named {}", or_nothing(from.as_ref()));
            [named, format!("now it names {to}")].into_iter().collect()
        }
        (Some(from), None) => {
            let named = format!("{image} named {from}");
            let gone = "now it is gone, as before its last change; what it named stays".to_owned();
            [named, gone].into_iter().collect()
        }
        (None, None) => Lines::of(format_args!("{image} is not there, as before")),
    };
    match manifests {
        0 => {}
        1 => lines.line("1 manifest that was deleted is back"),
        more => lines.line(format_args!("{more} manifests that were deleted are back")),
    }
    for tag in also_gone {
        let command = format!("registry tag restore {}", shell_word(&tag.to_string()));
        lines.line(format_args!("{tag} went with it, and comes back with: {command}"));
    }
    if from != to {
        let word = shell_word(&image.to_string());
        lines.line(format_args!("to take this back: registry tag restore {word}"));
    }
    lines
}
