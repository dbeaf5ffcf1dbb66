//! Going through a list page by page.

use crate::command::Page;

/// Asks for each page, from the first on, and hands on what is on it.
///
/// # Errors
/// What asking or handing on meets first.
pub(super) fn each_page<T, Cursor>(
    mut ask: impl FnMut(Option<Cursor>) -> anyhow::Result<Page<T, Cursor>>,
    mut on_page: impl FnMut(Vec<T>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut after = None;
    loop {
        let page = ask(after)?;
        on_page(page.entries)?;
        if page.next.is_none() {
            return Ok(());
        }
        after = page.next;
    }
}

/// All entries of a list.
///
/// # Errors
/// What asking meets first.
pub(super) fn all<T, Cursor>(
    ask: impl FnMut(Option<Cursor>) -> anyhow::Result<Page<T, Cursor>>,
) -> anyhow::Result<Vec<T>> {
    let mut all = Vec::new();
    each_page(ask, |page| {
        all.extend(page);
        Ok(())
    })?;
    Ok(all)
}
