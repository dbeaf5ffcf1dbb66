//! `registry ls`.

use std::path::Path;

use anyhow::bail;

use crate::admin::{self, Command, LIST_PAGE_ENTRIES, Reply, TagEntry};
use crate::text::{Page, print, print_json};

pub(super) fn run(data_dir: &Path, repository: Option<&str>, json: bool) -> anyhow::Result<()> {
    match repository {
        Some(repository) => {
            let tags = tags(data_dir, repository)?;
            let lines = tags.iter().map(|entry| {
                let word = if entry.protected { "  protected" } else { "" };
                format!("{}  {}{word}", entry.digest, entry.tag)
            });
            if json { print_json(&tags) } else { Ok(print(&lines.collect())?) }
        }
        None => {
            let names = repositories(data_dir)?;
            if json { print_json(&names) } else { Ok(print(&names.iter().collect::<Page>())?) }
        }
    }
}

fn repositories(data_dir: &Path) -> anyhow::Result<Vec<String>> {
    let mut all: Vec<String> = Vec::new();
    loop {
        let command = Command::Repositories { after: all.last().cloned() };
        let Reply::Repositories(page) = admin::run(data_dir, command)? else {
            bail!("the running server's answer makes no sense")
        };
        let is_last = page.len() < LIST_PAGE_ENTRIES;
        all.extend(page);
        if is_last {
            return Ok(all);
        }
    }
}

fn tags(data_dir: &Path, repository: &str) -> anyhow::Result<Vec<TagEntry>> {
    let mut all: Vec<TagEntry> = Vec::new();
    loop {
        let after = all.last().map(|entry| entry.tag.clone());
        let command = Command::Tags { repository: repository.to_owned(), after };
        let Reply::Tags(page) = admin::run(data_dir, command)? else {
            bail!("the running server's answer makes no sense")
        };
        let is_last = page.len() < LIST_PAGE_ENTRIES;
        all.extend(page);
        if is_last {
            return Ok(all);
        }
    }
}
