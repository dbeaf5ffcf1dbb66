//! Which images patterns stand for.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::bail;
use oci::{Digest, ImageName, ImagePattern, Reference, RepoName, SIGNATURE_TAG_PREFIX, Tag};

use crate::command::Page;
use crate::command::data::ListRepositories;
use crate::command::image::{ListManifests, LookAtManifest};
use crate::command::tag::ListTags;
use crate::control::Session;

/// What is meant of a repository.
#[derive(Debug)]
pub(super) struct Chosen {
    /// The repository.
    pub(super) repository: RepoName,
    /// Tags, with what they name.
    pub(super) tags: BTreeMap<Tag, Digest>,
    /// Manifests that are named by their digests.
    pub(super) digests: BTreeSet<Digest>,
    /// Manifests that may have no tag, where the whole repository is meant.
    pub(super) others: Vec<Digest>,
}

impl Chosen {
    /// The tags in the order in which they are exported: those of signatures last, since they
    /// belong to others.
    pub(super) fn tags(&self) -> Vec<(&Tag, &Digest)> {
        let mut tags: Vec<_> = self.tags.iter().collect();
        tags.sort_by_key(|(tag, _)| tag.as_str().starts_with(SIGNATURE_TAG_PREFIX));
        tags
    }
}

/// Finds what patterns stand for, in their order: everything, if there is none.
///
/// # Errors
/// A pattern that stands for nothing.
pub(super) fn select(session: &Session, patterns: &[ImagePattern]) -> anyhow::Result<Vec<Chosen>> {
    let names = all(|after| session.ask(ListRepositories { after }))?;
    let everything = "*".parse::<ImagePattern>();
    let patterns = match patterns {
        [] => std::slice::from_ref(everything.as_ref().map_err(|error| *error)?),
        some => some,
    };
    let (mut chosen, mut places) = (Vec::new(), HashMap::new());
    for pattern in patterns {
        let is_meant = |it: &ImagePattern| names.iter().any(|name| it.matches_repository(name));
        let shorter = pattern.shorter().filter(|shorter| !is_meant(pattern) && is_meant(shorter));
        let meant = shorter.as_ref().unwrap_or(pattern);
        let mut count = 0;
        for name in names.iter().filter(|name| meant.matches_repository(name)) {
            let place = *places.entry(name).or_insert_with(|| {
                let (repository, tags) = (name.clone(), BTreeMap::new());
                let (digests, others) = (BTreeSet::new(), Vec::new());
                chosen.push(Chosen { repository, tags, digests, others });
                chosen.len() - 1
            });
            if let Some(chosen) = chosen.get_mut(place) {
                count += choose(session, meant, chosen)?;
            }
        }
        if count == 0 && names.is_empty() {
            bail!("the registry holds no image yet");
        }
        if count == 0 {
            bail!(
                "no image is like {pattern}: `registry ls` shows the repositories, and `registry \
                   ls REPOSITORY` the tags of one"
            );
        }
    }
    Ok(chosen)
}

/// Adds what a pattern means of a repository; says how much that is.
fn choose(session: &Session, pattern: &ImagePattern, to: &mut Chosen) -> anyhow::Result<usize> {
    let name = to.repository.clone();
    if let Some(reference) = pattern.reference() {
        // Many may be named one by one, of a repository that has many more.
        let image = ImageName::new(name, Some(reference.clone())).into();
        let Some(entry) = session.ask(LookAtManifest { image, is_part: true })? else {
            return Ok(0);
        };
        match reference {
            Reference::Tag(tag) => drop(to.tags.insert(tag, entry.digest)),
            Reference::Digest(digest) => drop(to.digests.insert(digest)),
        }
        return Ok(1);
    }
    let mut count = 0;
    let tags =
        all(|after| session.ask(ListTags { repository: name.clone(), after, is_part: true }))?;
    for entry in tags.into_iter().filter(|entry| pattern.matches_tag(&entry.tag)) {
        to.tags.insert(entry.tag, entry.digest);
        count += 1;
    }
    if pattern.is_whole() {
        to.others = all(|after| session.ask(ListManifests { repository: name.clone(), after }))?;
        count += to.others.len();
    }
    Ok(count)
}

/// All entries of a list, page by page.
pub(super) fn all<T, Cursor>(
    mut ask: impl FnMut(Option<Cursor>) -> anyhow::Result<Page<T, Cursor>>,
) -> anyhow::Result<Vec<T>> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = ask(after)?;
        all.extend(page.entries);
        if all.len() > MAX_ENTRIES {
            bail!("there are more than {MAX_ENTRIES} of them: export a part of the repositories");
        }
        after = page.next;
        if after.is_none() {
            return Ok(all);
        }
    }
}

/// The most entries of a list that are kept in memory: a hundred times what large registries have.
const MAX_ENTRIES: usize = 4_000_000;
