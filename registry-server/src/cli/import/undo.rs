//! `registry import --undo`: what an import did to tags is taken back.

use std::path::Path;

use anyhow::bail;
use oci::{Digest, ImageName};
use serde::Serialize;
use storage::ImportNumber;

use crate::cli::pages::each_page;
use crate::command::import::{UndoImport, UndoneTag};
use crate::control;
use crate::text::format::counted;
use crate::text::{Lines, note, print, print_json};

/// What became of a tag, as it is printed as JSON.
#[derive(Serialize)]
struct Printed {
    image: ImageName,
    /// What the import let it name.
    from: Option<Digest>,
    /// What it named before.
    to: Option<Digest>,
    /// What it names now.
    names: Option<Digest>,
    is_back: bool,
    refused: Option<String>,
}

/// Takes back an import, and tells of each tag.
pub(super) fn run(data: &Path, import: ImportNumber, json: bool) -> anyhow::Result<()> {
    let (mut back, mut stay, mut all) = (0, 0, Vec::new());
    let ask = |before| control::run(data, UndoImport { import, before });
    each_page(ask, |page: Vec<UndoneTag>| {
        let here = page.iter().filter(|tag| tag.is_back()).count() as u64;
        (back, stay) = (back + here, stay + page.len() as u64 - here);
        match json {
            true => all.extend(page.into_iter().map(printed)),
            false => print(&page.iter().map(line).collect())?,
        }
        Ok(())
    })?;
    if json {
        print_json(&all)?;
    } else if back + stay == 0 {
        note(&format!("import {import} moved no tag of which that is still known"));
    } else {
        print(&Lines::of(format_args!(
            "{} as before import {import}; what it brought stays until collection takes it",
            counted(back, "tag")
        )))?;
    }
    match stay {
        0 => Ok(()),
        stay => bail!("{} could not be taken back: it says above why", counted(stay, "tag")),
    }
}

fn printed(tag: UndoneTag) -> Printed {
    let is_back = tag.is_back();
    let UndoneTag { image, from, to, names, refused } = tag;
    Printed { image, from, to, names, is_back, refused }
}

fn line(tag: &UndoneTag) -> String {
    let UndoneTag { image, names, refused, .. } = tag;
    match (refused, names) {
        (Some(why), _) => format!("{image} stays: {why}"),
        (None, Some(digest)) if tag.is_back() => format!("{image} names {digest} again"),
        (None, None) if tag.is_back() => format!("{image} is gone again"),
        (None, Some(digest)) => {
            format!("{image} stays: it was changed since, and names {digest}")
        }
        (None, None) => format!("{image} stays: it was removed since"),
    }
}
