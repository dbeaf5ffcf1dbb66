//! What the index of a layout calls its images.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use oci::{Digest, EdgeKind, RepoName, Tag, signature_tags};

use super::rivals::Claim;
use crate::damage::Damage;
use crate::documents::{Annotations, IndexEntry};
use crate::findings::Findings;
use crate::names::Name;

/// The images of all layouts of a source, and which of their names are none.
pub(super) fn of(source: &Findings) -> (Vec<Claim>, Vec<Damage>) {
    let (mut claims, mut damage) = (Vec::new(), Vec::new());
    let mut room = Room { steps: MOST_STEPS, claims: MOST_CLAIMS };
    for (path, layout) in &source.layouts {
        let Some(entries) = &layout.index else { continue };
        // zot and olareg keep a layout for each repository, in directories of that name.
        let reading =
            Reading { source, home: path.parse().ok(), is_bundle: layout.bundle.is_some() };
        let named = reading.named(entries, &mut damage);
        let unnamed = reading.unnamed(entries, &named, &mut room);
        claims.extend(named);
        claims.extend(unnamed);
    }
    (claims, damage)
}

/// What is left for all layouts of a source together, each of which may name the same lists.
struct Room {
    steps: usize,
    claims: usize,
}

struct Reading<'a> {
    source: &'a Findings,
    /// The repository whose layout this is.
    home: Option<RepoName>,
    is_bundle: bool,
}

impl Reading<'_> {
    fn named(&self, entries: &[IndexEntry], damage: &mut Vec<Damage>) -> Vec<Claim> {
        let (mut claims, images) = (Vec::new(), images(entries));
        for entry in entries {
            let Some(annotations) = &entry.annotations else { continue };
            match self.name(annotations) {
                Ok(None) => {}
                Ok(Some(Name { repository, tag })) => {
                    let repository = repository.or_else(|| self.home.clone());
                    let tag = match kind(annotations) {
                        Kind::Image => tag,
                        Kind::Signature(end) => signature_tag(&images, annotations, end),
                        Kind::Referrer => None,
                    };
                    claims.push(Claim { repository, tag, digest: entry.digest });
                }
                Err(name) => damage.push(Damage::Name { name, digest: entry.digest }),
            }
        }
        claims
    }

    /// The images without a name. Some tools list what an image consists of beside it; and what
    /// refers to an image belongs to its repository.
    fn unnamed(&self, entries: &[IndexEntry], named: &[Claim], room: &mut Room) -> Vec<Claim> {
        let all: BTreeSet<Digest> = entries.iter().map(|entry| entry.digest).collect();
        let children = within(&mut room.steps, all.iter().flat_map(|image| self.children(image)));
        let listed: BTreeSet<Digest> = children.filter(|child| all.contains(child)).collect();
        let homes = self.homes(&all, named, &mut room.steps);
        let is_named = |entry: &&IndexEntry| {
            entry.annotations.as_ref().is_some_and(|it| !matches!(self.name(it), Ok(None)))
        };
        let mut claims = Vec::new();
        for entry in entries.iter().filter(|entry| !is_named(entry)) {
            let digest = entry.digest;
            let subject = self.source.subjects.get(&digest);
            match subject.and_then(|subject| homes.get(subject)) {
                Some(homes) if homes.len() <= room.claims => {
                    room.claims -= homes.len();
                    let homes = homes.iter().cloned();
                    claims.extend(homes.map(|repository| Claim { repository, tag: None, digest }));
                }
                _ if listed.contains(&digest) => {}
                _ => claims.push(Claim { repository: self.home.clone(), tag: None, digest }),
            }
        }
        claims
    }

    /// The repositories of what something in the layout refers to: those of its names, and of the
    /// lists that it stands in.
    fn homes<'a>(
        &'a self,
        all: &BTreeSet<Digest>,
        named: &'a [Claim],
        steps: &mut usize,
    ) -> BTreeMap<Digest, BTreeSet<Option<RepoName>>> {
        let subjects = all.iter().filter_map(|image| self.source.subjects.get(image));
        let subjects: BTreeSet<Digest> = subjects.copied().collect();
        let mut homes: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        let of = |claim: &'a Claim| {
            let images = iter::once(claim.digest).chain(self.children(&claim.digest));
            images.map(|image| (image, &claim.repository))
        };
        let pairs = named.iter().filter(|_| !subjects.is_empty()).flat_map(of);
        for (image, repository) in within(steps, pairs) {
            if subjects.contains(&image) {
                homes.entry(image).or_default().insert(repository.clone());
            }
        }
        homes
    }

    fn children(&self, image: &Digest) -> impl Iterator<Item = Digest> {
        let edges = self.source.manifests.get(image).map_or(&[][..], Vec::as_slice);
        edges.iter().filter(|edge| edge.kind == EdgeKind::Child).map(|edge| edge.child)
    }

    /// The name of an image: none if there is none, and the text if it is none that an image can
    /// have. A name with a repository is better than one that is a tag alone.
    fn name(&self, annotations: &Annotations) -> Result<Option<Name>, String> {
        let parse = if self.is_bundle { Name::parse_whole } else { Name::parse };
        let texts =
            [&annotations.containerd_name, &annotations.ref_name, &annotations.original_ref];
        let texts = texts.into_iter().flatten().filter(|text| !text.is_empty());
        let texts: Vec<&String> = texts.collect();
        let names: Vec<Name> = texts.iter().filter_map(|text| parse(text)).collect();
        let best = names.iter().find(|name| name.repository.is_some()).or(names.first());
        match (best, texts.first()) {
            (Some(best), _) => Ok(Some(best.clone())),
            (None, None) => Ok(None),
            (None, Some(text)) => Err(text.chars().take(NAME_CHARS).collect()),
        }
    }
}

/// What Hauler keeps something as.
enum Kind {
    Image,
    /// What cosign made, with the end of its tag.
    Signature(&'static str),
    Referrer,
}

fn kind(annotations: &Annotations) -> Kind {
    let kind = annotations.kind.as_deref().and_then(|kind| kind.split_once('/'));
    let Some((HAULER | HAULER_BEFORE, kind)) = kind else { return Kind::Image };
    match kind.split('/').next() {
        Some("sigs") => Kind::Signature(".sig"),
        Some("atts") => Kind::Signature(".att"),
        Some("sboms") => Kind::Signature(".sbom"),
        Some("referrers") => Kind::Referrer,
        _ => Kind::Image,
    }
}

/// What a layout calls an image, in both ways in which Hauler does.
type Names<'a> = (Option<&'a str>, Option<&'a str>);

fn names(annotations: &Annotations) -> Names<'_> {
    (annotations.ref_name.as_deref(), annotations.containerd_name.as_deref())
}

/// The images of a layout by their names; of one name, the first.
fn images(entries: &[IndexEntry]) -> BTreeMap<Names<'_>, Digest> {
    let mut images = BTreeMap::new();
    for entry in entries {
        if let Some(annotations) = &entry.annotations
            && matches!(kind(annotations), Kind::Image)
        {
            images.entry(names(annotations)).or_insert(entry.digest);
        }
    }
    images
}

/// The tag that cosign gives to what belongs to an image, which Hauler calls like the image.
fn signature_tag(
    images: &BTreeMap<Names<'_>, Digest>,
    annotations: &Annotations,
    end: &str,
) -> Option<Tag> {
    let subject = annotations.subject.or_else(|| images.get(&names(annotations)).copied())?;
    signature_tags(&subject).into_iter().find(|tag| tag.as_str().ends_with(end))
}

/// What Hauler's kinds begin with, and those of older versions.
const HAULER: &str = "dev.hauler";
const HAULER_BEFORE: &str = "dev.cosignproject.cosign";
/// As many as there are steps left.
fn within<T>(steps: &mut usize, all: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    all.take_while(|_| {
        *steps = steps.saturating_sub(1);
        *steps > 0
    })
}

/// The most names of what only refers to something. Of what is behind that, each counts once, in
/// the repository of its layout.
const MOST_CLAIMS: usize = 100_000;
/// The most that is looked at in lists. Behind that, what a list names counts by itself as well.
const MOST_STEPS: usize = 4_000_000;
/// How much of a name that is none is told.
const NAME_CHARS: usize = 256;
