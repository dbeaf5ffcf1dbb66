//! The tags of a tree, and the catalogs of oc-mirror that some of them stand for.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use oci::{Digest, RepoName, Tag};

use super::Findings;
use crate::contents::Format;
use crate::error::ScanError;
use crate::path::EntryPath;
use crate::role::{FilterPath, QUAY_DATABASE};

/// Tags in the order in which they come, and what they name.
#[derive(Debug, Default)]
pub(crate) struct Tags {
    order: Vec<(RepoName, Tag)>,
    digests: HashMap<(RepoName, Tag), Digest>,
}

impl Tags {
    /// Adds a tag that is not there yet.
    pub(crate) fn insert(&mut self, repository: RepoName, tag: Tag, digest: Digest) {
        self.order.push((repository.clone(), tag.clone()));
        self.digests.insert((repository, tag), digest);
    }

    pub(crate) fn get(&self, repository: &RepoName, tag: &Tag) -> Option<Digest> {
        self.digests.get(&(repository.clone(), tag.clone())).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&RepoName, &Tag, Digest)> {
        self.order.iter().filter_map(|key| {
            let digest = self.digests.get(key)?;
            Some((&key.0, &key.1, *digest))
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

/// The catalogs that oc-mirror filtered.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    /// By the whole catalog: what each filter sums up to, and what came of it.
    pub(crate) catalogs: BTreeMap<(String, Digest), BTreeMap<String, Digest>>,
    /// The tags under which they lie in the cache, and what they name.
    pub(crate) tags: BTreeSet<(String, String, Digest)>,
}

impl Findings {
    pub(super) fn tag(
        &mut self,
        path: &EntryPath,
        repository: RepoName,
        tag: Tag,
        digest: Digest,
    ) -> Result<(), ScanError> {
        self.keep(repository.as_str().len() + tag.as_str().len())?;
        match self.tags.get(&repository, &tag) {
            Some(other) if other != digest => {
                return Err(ScanError::Twice { path: path.as_str().to_owned() });
            }
            Some(_) => {}
            None => {
                self.tags.insert(repository, tag, digest);
            }
        }
        Ok(())
    }

    pub(super) fn filter(
        &mut self,
        path: &EntryPath,
        of: FilterPath,
        filtered: Digest,
    ) -> Result<(), ScanError> {
        let FilterPath { catalog, whole, filter } = of;
        self.keep(catalog.len() + filter.len())?;
        self.filters.tags.insert((catalog.clone(), filter.clone(), filtered));
        let filters = self.filters.catalogs.entry((catalog, whole)).or_default();
        if filters.insert(filter, filtered).is_some_and(|other| other != filtered) {
            return Err(ScanError::Twice { path: path.as_str().to_owned() });
        }
        match filters.len() > MOST_FILTERS {
            true => Err(ScanError::TooMany { what: "filters of one catalog", limit: MOST_FILTERS }),
            false => Ok(()),
        }
    }

    /// A tag of `oc`, which is a link to the manifest of its repository.
    pub(super) fn oc_tag(
        &mut self,
        path: &EntryPath,
        repository: RepoName,
        tag: Tag,
        digest: Digest,
    ) -> Result<(), ScanError> {
        self.formats.insert(Format::OcDirectory);
        self.revision(repository.clone(), digest)?;
        self.tag(path, repository, tag, digest)
    }

    /// A tag that stands in the database of a store.
    ///
    /// # Errors
    /// [`ScanError::Twice`], [`ScanError::TooMany`].
    pub(crate) fn tag_of_database(
        &mut self,
        repository: RepoName,
        tag: Tag,
        digest: Digest,
    ) -> Result<(), ScanError> {
        self.formats.insert(Format::Quay);
        self.revision(repository.clone(), digest)?;
        self.tag(&EntryPath::default().join(QUAY_DATABASE), repository, tag, digest)
    }

    pub(super) fn revision(
        &mut self,
        repository: RepoName,
        digest: Digest,
    ) -> Result<(), ScanError> {
        self.keep(repository.as_str().len())?;
        self.revisions.insert((repository, digest));
        Ok(())
    }
}

/// The most filters of one catalog that oc-mirror's working directory remembers.
const MOST_FILTERS: usize = 100;
