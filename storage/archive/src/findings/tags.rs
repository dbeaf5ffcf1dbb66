//! The tags of a tree, and the catalogs of oc-mirror that some of them stand for.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use oci::{Digest, RepoName, Tag};

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
