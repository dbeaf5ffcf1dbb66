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
    let names = QuayNames::read(database, &|digest| source.has_file(digest));
    let names = names.with_context(|| format!("{} is refused", source.path().display()))?;
    let images = names.images.into_iter().map(|it| (it.repository, it.tag, it.digest)).collect();
    source.name(images, names.manifests);
    let left = |UnnamedTag { called, fault }| LeftImage { image: called, why: fault.to_string() };
    let mut left: Vec<LeftImage> = names.unnamed.into_iter().map(left).collect();
    if names.more_unnamed > 0 {
        let image = format!("and {} more", names.more_unnamed);
        let why = format!("only {} are told of one Quay", QuayNames::MOST_UNNAMED);
        left.push(LeftImage { image, why });
    }
    Ok(left)
}
