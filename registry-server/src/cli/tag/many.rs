//! Bringing back at once what was removed together: a repository, or the images whose tags are like
//! a pattern.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::path::Path;

use anyhow::bail;
use serde::Serialize;
use storage::{Tag, TagPattern, shell_word};

use super::{ask, changes, or_nothing, restore};
use crate::admin::{RestoredEntry, TagCommand, TagReply};
use crate::cli::words::{counted, time};
use crate::text::{Page, note, print, print_json};

/// What was brought back of a repository.
#[derive(Default, Serialize)]
struct Back {
    tags: Vec<RestoredEntry>,
    manifests: u64,
    /// Why the rest cannot come back.
    failed: BTreeSet<String>,
}

impl Back {
    /// Brings back one tag that is gone, with its manifest. Returns other tags that went with that
    /// and are not there.
    fn bring(
        &mut self,
        data_dir: &Path,
        (image, digest): (String, String),
        json: bool,
    ) -> anyhow::Result<Vec<String>> {
        let to = Some(digest);
        match restore(data_dir, TagCommand::Restore { image, to, before: None, only_if_gone: true })
        {
            // Somebody pushed it meanwhile.
            Ok(entry) if entry.from.is_some() => Ok(Vec::new()),
            Ok(entry) => {
                if !json {
                    let names = or_nothing(entry.to.as_deref());
                    print(&Page::of(format_args!("{} names {names} again", entry.image)))?;
                }
                self.manifests += entry.manifests;
                let also_gone = entry.also_gone.clone();
                self.tags.push(entry);
                Ok(also_gone)
            }
            Err(error) => {
                self.failed.insert(format!("{error:#}"));
                Ok(Vec::new())
            }
        }
    }

    /// Tells what is back of `what`, which is or is in `repository`.
    fn tell(
        &self,
        what: &str,
        repository: &str,
        since: Option<i64>,
        json: bool,
    ) -> anyhow::Result<()> {
        let Self { tags, manifests, failed } = self;
        if tags.is_empty() && *manifests == 0 && failed.is_empty() {
            bail!(
                "nothing of {what} is gone{} that can come back: `registry tag history {}` \
                 shows what was done to its tags",
                since.map(|since| format!(" since {}", time(since))).unwrap_or_default(),
                shell_word(repository)
            );
        }
        if json {
            print_json(self)?;
        } else {
            let counts = (counted(tags.len() as u64, "tag"), counted(*manifests, "manifest"));
            print(&Page::of(format_args!("back: {} and {}", counts.0, counts.1)))?;
        }
        if failed.is_empty() {
            return Ok(());
        }
        failed.iter().for_each(|reason| note(reason));
        bail!(
            "not all is back, for the reasons above: what comes back no more must be pushed again"
        )
    }
}

/// Brings back the manifests and the tags of a repository that are gone, one after the other: what
/// can no longer come back keeps nothing else from it.
pub(super) fn restore_all(
    data_dir: &Path,
    repository: &str,
    since: Option<i64>,
    json: bool,
) -> anyhow::Result<()> {
    let mut back = Back::default();
    let repository = restore_manifests(data_dir, repository, since, &mut back)?;
    for gone in gone(data_dir, &repository, since)? {
        back.bring(data_dir, gone, json)?;
    }
    back.tell(&repository, &repository, since, json)
}

/// Brings back the tags of a repository that are gone and for which a pattern stands, with what
/// went with them, tags of signatures too.
pub(super) fn restore_matching(
    data_dir: &Path,
    image: &str,
    since: Option<i64>,
    json: bool,
) -> anyhow::Result<()> {
    let (repository, pattern) = TagPattern::after_repository(image)?;
    let tag = |image: &str| image.rsplit_once(':').and_then(|(_, tag)| tag.parse::<Tag>().ok());
    let is_like = |image: &str| tag(image).is_some_and(|tag| pattern.matches(&tag));
    let is_signature = |image: &str| tag(image).is_some_and(|tag| tag.as_str().starts_with(SIGNED));
    let (wanted, others): (Vec<_>, Vec<_>) =
        gone(data_dir, repository, since)?.into_iter().partition(|(image, _)| is_like(image));
    let (mut wanted, mut others) = (VecDeque::from(wanted), HashMap::<_, _>::from_iter(others));
    let mut back = Back::default();
    while let Some(gone) = wanted.pop_front() {
        for image in back.bring(data_dir, gone, json)?.into_iter().filter(|it| is_signature(it)) {
            wanted.extend(others.remove_entry(&image));
        }
    }
    back.tell(image, repository, since, json)
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

/// With what the tags begin under which cosign keeps what belongs to a manifest.
const SIGNED: &str = "sha256-";
