//! `registry ls`.

use std::path::Path;

use oci::RepoName;

use super::pages::all;
use crate::command::data::ListRepositories;
use crate::command::tag::{ListTags, TagEntry};
use crate::control;
use crate::text::{Lines, print, print_json};

pub(super) fn run(data_dir: &Path, repository: Option<&str>, json: bool) -> anyhow::Result<()> {
    match repository {
        Some(repository) => {
            let tags = tags(data_dir, &repository.parse()?)?;
            let lines = tags.iter().map(|entry| {
                let word = if entry.protected { "  protected" } else { "" };
                format!("{}  {}{word}", entry.digest, entry.tag)
            });
            if json { print_json(&tags) } else { Ok(print(&lines.collect())?) }
        }
        None => {
            let names = repositories(data_dir)?;
            if json { print_json(&names) } else { Ok(print(&names.iter().collect::<Lines>())?) }
        }
    }
}

/// All repositories that hold a manifest.
pub(super) fn repositories(data_dir: &Path) -> anyhow::Result<Vec<RepoName>> {
    all(|after| control::run(data_dir, ListRepositories { after }))
}

fn tags(data_dir: &Path, repository: &RepoName) -> anyhow::Result<Vec<TagEntry>> {
    all(|after| {
        let repository = repository.clone();
        control::run(data_dir, ListTags { repository, after, is_part: false })
    })
}
