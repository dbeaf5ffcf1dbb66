//! Bringing back at once what was removed together: a repository, or the images whose tags are like
//! a pattern.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::path::Path;

use anyhow::bail;
use oci::{
    Digest, ImageName, PastedImage, PastedPattern, Reference, RepoName, SIGNATURE_TAG_PREFIX, Tag,
};
use serde::Serialize;
use storage::shell_word;

use super::changes::{changes, or_nothing};
use crate::advice::told_whole;
use crate::command::tag::{RestoreManifests, RestoreTag, RestoredTag};
use crate::control;
use crate::text::format::{counted, time};
use crate::text::{Lines, note, print, print_json};

/// What was brought back of a repository.
#[derive(Default, Serialize)]
struct RestoreReport {
    tags: Vec<RestoredTag>,
    manifests: u64,
    /// Why the rest cannot come back.
    failed: BTreeSet<String>,
}

impl RestoreReport {
    /// Brings back one tag that is gone, with its manifest. Returns other tags that went with that
    /// and are not there.
    fn bring(
        &mut self,
        data_dir: &Path,
        (image, digest): (ImageName, Digest),
        json: bool,
    ) -> anyhow::Result<Vec<ImageName>> {
        let command =
            RestoreTag { image: image.into(), to: Some(digest), before: None, only_if_gone: true };
        match control::run(data_dir, command) {
            // Somebody pushed it meanwhile.
            Ok(restored) if restored.from.is_some() => Ok(Vec::new()),
            Ok(restored) => {
                if !json {
                    let names = or_nothing(restored.to.as_ref());
                    print(&Lines::of(format_args!("{} names {names} again", restored.image)))?;
                }
                self.manifests += restored.manifests;
                let also_gone = restored.also_gone.clone();
                self.tags.push(restored);
                Ok(also_gone)
            }
            Err(error) => {
                self.failed.insert(told_whole(&error));
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
            print(&Lines::of(format_args!("back: {} and {}", counts.0, counts.1)))?;
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
    let mut back = RestoreReport::default();
    let repository = restore_manifests(data_dir, &repository.parse()?, since, &mut back)?;
    for gone in gone(data_dir, &ImageName::new(repository.clone(), None).into(), since)? {
        back.bring(data_dir, gone, json)?;
    }
    back.tell(repository.as_str(), repository.as_str(), since, json)
}

/// Brings back the tags of a repository that are gone and for which a pattern stands, with what
/// went with them, tags of signatures too.
pub(super) fn restore_matching(
    data_dir: &Path,
    image: &str,
    since: Option<i64>,
    json: bool,
) -> anyhow::Result<()> {
    let tags: PastedPattern = image.parse()?;
    let is_like = |image: &ImageName| tag_of(image).is_some_and(|tag| tags.pattern().matches(tag));
    let is_signature = |image: &ImageName| {
        tag_of(image).is_some_and(|tag| tag.as_str().starts_with(SIGNATURE_TAG_PREFIX))
    };
    let gone = gone(data_dir, tags.repository(), since)?;
    let (wanted, others): (Vec<_>, Vec<_>) = gone.into_iter().partition(|(it, _)| is_like(it));
    let (mut wanted, mut others) = (VecDeque::from(wanted), HashMap::<_, _>::from_iter(others));
    let mut back = RestoreReport::default();
    while let Some(gone) = wanted.pop_front() {
        for image in back.bring(data_dir, gone, json)?.into_iter().filter(|it| is_signature(it)) {
            wanted.extend(others.remove_entry(&image));
        }
    }
    back.tell(image, &tags.repository().to_string(), since, json)
}

fn tag_of(image: &ImageName) -> Option<&Tag> {
    match image.reference() {
        Some(Reference::Tag(tag)) => Some(tag),
        _ => None,
    }
}

/// Brings back the manifests; the name of the repository comes back.
fn restore_manifests(
    data_dir: &Path,
    repository: &PastedImage,
    since: Option<i64>,
    all: &mut RestoreReport,
) -> anyhow::Result<RepoName> {
    let (since, mut after) = (since.unwrap_or(i64::MIN), None);
    loop {
        let command = RestoreManifests { repository: repository.clone(), since, after };
        let restored = control::run(data_dir, command)?;
        all.manifests += restored.back;
        all.failed.extend(restored.failed);
        match restored.next {
            None => return Ok(restored.repository),
            next => after = next,
        }
    }
}

/// The tags of a repository whose last change removed them, the first removed first, with what
/// they named.
fn gone(
    data_dir: &Path,
    repository: &PastedImage,
    since: Option<i64>,
) -> anyhow::Result<Vec<(ImageName, Digest)>> {
    let (mut seen, mut gone) = (HashSet::new(), Vec::new());
    changes(data_dir, repository, |page| {
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
