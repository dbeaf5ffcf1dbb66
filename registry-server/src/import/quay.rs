//! What a Quay calls its images: the store reads it out of the database, and the formats are told.

use anyhow::Context;
use archive::Source;
use storage::{QuayNames, UnnamedTag};

use super::report::LeftImage;

/// Gives a source that is the store of a Quay the names of its images. Returns what has none under
/// which it could be imported.
///
/// # Errors
/// The database cannot be read.
pub(super) fn name(source: &mut Source) -> anyhow::Result<Vec<LeftImage>> {
    let Some(database) = source.database() else { return Ok(Vec::new()) };
    let names = QuayNames::read(database);
    let names = names.with_context(|| format!("{} is refused", source.path().display()))?;
    source.name(names.images.into_iter().map(|it| (it.repository, it.tag, it.digest)).collect());
    let left = |UnnamedTag { called, fault }| LeftImage { image: called, why: fault.to_string() };
    Ok(names.unnamed.into_iter().map(left).collect())
}
