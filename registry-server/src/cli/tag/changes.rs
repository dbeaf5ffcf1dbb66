//! Going through the history of tags.

use std::path::Path;

use oci::{Digest, PastedImage};

use crate::cli::pages::each_page;
use crate::command::tag::{Change, ShowHistory};
use crate::control;

/// Goes through the changes of tags page by page, the newest first.
pub(super) fn changes(
    data_dir: &Path,
    image: &PastedImage,
    on_page: impl FnMut(Vec<Change>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let ask = |before| control::run(data_dir, ShowHistory { image: image.clone(), before });
    each_page(ask, on_page)
}

/// A digest that a tag names, or that it names none.
pub(super) fn or_nothing(digest: Option<&Digest>) -> String {
    digest.map_or_else(|| "nothing".to_owned(), Digest::to_string)
}
