//! What the tree of a registry, or what `oc` wrote, calls its images.
//!
//! oc-mirror's archives have the tree of its cache, which is not what a mirror shows: a catalog
//! that was filtered lies there under what the filter sums up to, and its tag still names the whole
//! catalog. On the mirror the tag names the filtered one, and the other tag is nowhere.

use std::collections::BTreeSet;

use oci::{Digest, EdgeKind, RepoName, Tag};

use super::rivals::Claim;
use crate::damage::Damage;
use crate::findings::Findings;

/// The images of a source, and what is wrong with their names.
pub(super) fn of(
    sources: &[Findings],
    number: usize,
    is_oc_mirror: bool,
) -> (Vec<Claim>, Vec<Damage>) {
    let source = &sources[number];
    let (mut claims, mut damage) = (Vec::new(), Vec::new());
    for (repository, tag, digest) in source.tags.iter() {
        let (repository, tag) = (repository.clone(), tag.clone());
        if !source.is_cut && !source.revisions.contains(&(repository.clone(), digest)) {
            damage.push(Damage::DeletedRevision { repository, tag, digest });
            continue;
        }
        let catalog = Catalog { sources, number, repository: &repository };
        if catalog.is_filter(&tag, digest) {
            continue;
        }
        if !source.is_directory && is_like_a_filter(&tag) {
            let (repository, tag) = (repository.clone(), tag.clone());
            damage.push(Damage::FilterAlone { repository, tag });
        }
        for digest in catalog.filtered(digest) {
            let (repository, tag) = (Some(repository.clone()), Some(tag.clone()));
            claims.push(Claim { repository, tag, digest });
        }
    }
    // oc-mirror never gives a mirror what has no tag.
    if !is_oc_mirror {
        claims.extend(untagged(source));
    }
    (claims, damage)
}

/// Manifests that no tag names and no index lists.
fn untagged(source: &Findings) -> Vec<Claim> {
    let tagged: BTreeSet<(&RepoName, Digest)> =
        source.tags.iter().map(|(repository, _, digest)| (repository, digest)).collect();
    let mut listed = BTreeSet::new();
    for (repository, digest) in &source.revisions {
        let edges = source.manifests.get(digest).into_iter().flatten();
        let children = edges.filter(|edge| edge.kind == EdgeKind::Child);
        listed.extend(children.map(|edge| (repository, edge.child)));
    }
    let is_alone = |(repository, digest): &&(RepoName, Digest)| {
        let key = (repository, *digest);
        source.blobs.contains_key(digest) && !tagged.contains(&key) && !listed.contains(&key)
    };
    let claim = |(repository, digest): &(RepoName, Digest)| Claim {
        repository: Some(repository.clone()),
        tag: None,
        digest: *digest,
    };
    source.revisions.iter().filter(is_alone).map(claim).collect()
}

/// A repository of an archive that may hold a catalog.
struct Catalog<'a> {
    sources: &'a [Findings],
    number: usize,
    repository: &'a RepoName,
}

impl Catalog<'_> {
    /// Whether a tag is what a filter sums up to.
    fn is_filter(&self, tag: &Tag, digest: Digest) -> bool {
        let key = (self.leaf().to_owned(), tag.as_str().to_owned(), digest);
        self.sources.iter().any(|source| source.filters.tags.contains(&key))
    }

    /// What a tag that names this catalog names on the mirror: the one that was filtered from it.
    /// If several were, at different times, the one that this archive brings; some of them if it
    /// brings none or more.
    fn filtered(&self, digest: Digest) -> Vec<Digest> {
        let source = &self.sources[self.number];
        let is_tagged = |filter: &str, filtered: Digest| {
            let tag = filter.parse().ok();
            tag.is_some_and(|tag| source.tags.get(self.repository, &tag) == Some(filtered))
        };
        let catalog = (self.leaf().to_owned(), digest);
        let known = self.sources.iter().filter_map(|source| source.filters.catalogs.get(&catalog));
        let all: BTreeSet<Digest> = known
            .flatten()
            .filter(|(filter, filtered)| is_tagged(filter, **filtered))
            .map(|(_, filtered)| *filtered)
            .collect();
        // What an archive brings is of what that run mirrored.
        let is_brought = |it: &&Digest| source.blobs.contains_key(it);
        let segments = || self.sources.iter().filter(|source| source.tags.is_empty());
        let is_in_segment = |it: &&Digest| segments().any(|source| source.blobs.contains_key(it));
        let brought: Vec<Digest> = all.iter().filter(is_brought).copied().collect();
        let in_segment: Vec<Digest> = all.iter().filter(is_in_segment).copied().collect();
        match (all.len(), brought.len(), in_segment.len()) {
            (0, ..) => vec![digest],
            (_, 1, _) => brought,
            (_, 0, 1) => in_segment,
            _ => all.into_iter().take(MOST_RIVALS).collect(),
        }
    }

    /// By what oc-mirror calls the catalog in its directories.
    fn leaf(&self) -> &str {
        self.repository.as_str().rsplit('/').next().unwrap_or_default()
    }
}

/// The most images that are told of a name which may be any of them: a million names may be such.
const MOST_RIVALS: usize = 4;

/// Whether a tag looks like an MD5 sum.
fn is_like_a_filter(tag: &Tag) -> bool {
    let is_hex = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
    tag.as_str().len() == 32 && tag.as_str().bytes().all(is_hex)
}
