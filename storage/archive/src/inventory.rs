//! What was found in all sources, put together.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use oci::{Digest, Edge, EdgeKind, RepoName};

use crate::contents::{
    AbsentRevision, Contents, Format, ManifestFault, Missing, NamedImage, SourceReport,
    UnusableManifest,
};
use crate::damage::Damage;
use crate::findings::{Findings, MANIFEST_BYTES};
use crate::graph::{Faults, Graph};

mod layout_names;
mod rivals;
mod tree_names;

use rivals::{Claim, Rivals, Run};

/// What some sources hold together: the segments of an archive, or an increment and its base.
#[derive(Debug, Default)]
pub struct Inventory {
    sources: Vec<Findings>,
}

impl Inventory {
    /// Starts with no sources.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn add(&mut self, findings: Findings) {
        self.sources.push(findings);
    }

    /// What the sources come to. Which source holds a blob, the sources themselves say.
    pub fn contents(mut self) -> Contents {
        let is_oc_mirror = self.tell_segments();
        let mut rivals = Rivals::default();
        for (number, run) in self.runs().into_iter().enumerate() {
            self.claim(number, is_oc_mirror[number], &run, &mut rivals);
        }
        let (images, ambiguous, superseded) = rivals.settle();
        let revisions = self.revisions();
        let blobs = self.blobs();
        let (graph, faults) = self.graph(&blobs);
        let (missing, unusable) = hurts(&images, &graph, &faults);
        let absent_revisions = absent(revisions, &images, &missing, &blobs, &graph);
        let sources = self.sources.into_iter().map(report).collect();
        Contents {
            sources,
            images,
            blobs,
            missing,
            absent_revisions,
            unusable,
            ambiguous,
            superseded,
            graph,
        }
    }

    /// Tells of each source whether oc-mirror wrote it: only the first and the last segment of an
    /// archive have what says so.
    fn tell_segments(&mut self) -> Vec<bool> {
        let is_first = |source: &Findings| source.oc_mirror.is_some() || source.is_like_oc_mirror();
        let is_some = self.sources.iter().any(is_first);
        for source in &mut self.sources {
            let is_tree = source.formats.contains(&Format::Distribution);
            // What has names and says nothing of oc-mirror is somebody else's.
            let is_nameless = source.tags.is_empty() && source.revisions.is_empty();
            let may_be_segment = is_some && is_tree && is_nameless && !source.is_directory;
            if is_first(source) || may_be_segment {
                source.formats.remove(&Format::Distribution);
                source.formats.insert(Format::OcMirror);
            }
        }
        self.tell_unfinished();
        self.sources.iter().map(|source| source.formats.contains(&Format::OcMirror)).collect()
    }

    /// Tells which archives of oc-mirror have no end. Each has one tree, in its first segment.
    fn tell_unfinished(&mut self) {
        let is_finished = |source: &Findings| {
            source.oc_mirror.as_ref().is_some_and(|it| it.version.is_some() || it.time.is_some())
        };
        let is_such = |source: &Findings| source.formats.contains(&Format::OcMirror);
        let count = |is: &dyn Fn(&Findings) -> bool| {
            self.sources.iter().filter(|source| is_such(source) && is(source)).count()
        };
        let trees = count(&|source| !source.tags.is_empty());
        if count(&is_finished) >= trees.max(1) {
            return;
        }
        for source in &mut self.sources {
            let may_be_first = trees == 0 || !source.tags.is_empty();
            if is_such(source) && may_be_first && !is_finished(source) {
                source.damaged(Damage::Unfinished);
            }
        }
    }

    /// When oc-mirror wrote each source. Names are in the first segment of an archive and the time
    /// in the last, so it is known as long as one archive alone is in segments.
    fn runs(&self) -> Vec<Run> {
        let time = |source: &Findings| source.oc_mirror.as_ref().and_then(|it| it.time.clone());
        let is_open = |source: &&Findings| {
            let is_such = source.formats.contains(&Format::OcMirror);
            is_such && !source.tags.is_empty() && time(source).is_none()
        };
        let mut ends = self.sources.iter().filter(|source| source.tags.is_empty()).filter_map(time);
        let open = self.sources.iter().filter(is_open).count();
        let end = ends.next().filter(|_| ends.next().is_none() && open == 1);
        let run = |source| if is_open(&source) { end.clone() } else { time(source) };
        self.sources.iter().map(run).collect()
    }

    /// Lets one source say its names.
    fn claim(&mut self, number: usize, is_oc_mirror: bool, run: &Run, rivals: &mut Rivals) {
        let (mut claims, mut damage) = layout_names::of(&self.sources[number]);
        let (of_tree, wrong) = tree_names::of(&self.sources, number, is_oc_mirror);
        claims.extend(of_tree);
        damage.extend(wrong);
        let source = &mut self.sources[number];
        damage.into_iter().for_each(|damage| source.damaged(damage));
        for Claim { repository, tag, digest } in claims {
            let stem = source.stem.clone();
            rivals.add(NamedImage { source: number, repository, stem, tag, digest }, run);
        }
    }

    fn revisions(&self) -> BTreeSet<(RepoName, Digest)> {
        self.sources.iter().flat_map(|source| source.revisions.iter().cloned()).collect()
    }

    fn blobs(&self) -> BTreeMap<Digest, u64> {
        let mut blobs = BTreeMap::new();
        for (digest, size) in self.sources.iter().flat_map(|source| &source.blobs) {
            blobs.entry(*digest).or_insert(*size);
        }
        blobs
    }

    fn graph(&mut self, blobs: &BTreeMap<Digest, u64>) -> (Graph, BTreeMap<Digest, ManifestFault>) {
        let (mut nodes, mut faults) = (HashMap::<Digest, Vec<Edge>>::new(), BTreeMap::new());
        for source in &mut self.sources {
            nodes.extend(std::mem::take(&mut source.manifests));
            faults.extend(std::mem::take(&mut source.faults));
        }
        // It may be well in another source.
        faults.retain(|digest, _| !nodes.contains_key(digest));
        let of = |is_corrupt: bool| {
            let is_such =
                move |fault: &ManifestFault| (*fault == ManifestFault::Digest) == is_corrupt;
            faults.iter().filter(move |(_, fault)| is_such(fault)).map(|(digest, _)| *digest)
        };
        let both = Faults { corrupt: of(true).collect(), refused: of(false).collect() };
        let layouts = self.sources.iter().flat_map(|source| source.layouts.values());
        let entries = layouts.filter_map(|layout| layout.index.as_ref()).flatten();
        let promised = entries.map(|entry| entry.digest).collect();
        (Graph::new(nodes, blobs.keys().copied().collect(), promised, both), faults)
    }
}

/// What is missing or wrong, with the images that it hurts.
fn hurts(
    images: &[NamedImage],
    graph: &Graph,
    faults: &BTreeMap<Digest, ManifestFault>,
) -> (Vec<Missing>, Vec<UnusableManifest>) {
    let (mut missing, mut unusable) = (BTreeMap::new(), BTreeMap::new());
    let mut steps = MOST_STEPS;
    let mut by_digest = BTreeMap::<Digest, Vec<usize>>::new();
    for (number, image) in images.iter().enumerate() {
        by_digest.entry(image.digest).or_default().push(number);
    }
    for (image, numbers) in by_digest.iter().filter(|(image, _)| !graph.is_whole(image)) {
        let hurt = graph.hurt(image, &mut steps);
        for what in hurt.missing {
            missing.entry(what).or_insert_with(Vec::new).extend(within(numbers, &mut steps));
        }
        for what in hurt.faulty {
            unusable.entry(what).or_insert_with(Vec::new).extend(within(numbers, &mut steps));
        }
    }
    let sorted = |mut images: Vec<usize>| {
        images.sort_unstable();
        images
    };
    let missing = missing.into_iter().map(|((digest, is_manifest), images)| Missing {
        digest,
        is_manifest,
        images: sorted(images),
    });
    let unusable = unusable.into_iter().map(|(digest, images)| {
        let fault = faults.get(&digest).cloned();
        let fault = fault.unwrap_or(ManifestFault::NotOne { limit: MANIFEST_BYTES });
        UnusableManifest { digest, fault, images: sorted(images) }
    });
    (missing.collect(), unusable.collect())
}

/// As many of these as there are steps left; at least one, so that nothing is missing for nobody.
fn within<'a>(numbers: &'a [usize], steps: &mut usize) -> &'a [usize] {
    let count = numbers.len().min((*steps).max(1));
    *steps = steps.saturating_sub(count);
    &numbers[..count]
}

/// Revisions that no source holds, with the images that list them.
fn absent(
    revisions: BTreeSet<(RepoName, Digest)>,
    images: &[NamedImage],
    missing: &[Missing],
    blobs: &BTreeMap<Digest, u64>,
    graph: &Graph,
) -> Vec<AbsentRevision> {
    let named: BTreeSet<&Digest> = missing.iter().map(|it| &it.digest).collect();
    let is_absent = |digest: &Digest| !blobs.contains_key(digest) && !named.contains(digest);
    let absent: Vec<_> = revisions.into_iter().filter(|(_, digest)| is_absent(digest)).collect();
    let wanted: BTreeSet<Digest> = absent.iter().map(|(_, digest)| *digest).collect();
    let mut listed_by = BTreeMap::<(RepoName, Digest), Vec<usize>>::new();
    let mut steps = if wanted.is_empty() { 0 } else { MOST_STEPS };
    for (number, image) in images.iter().enumerate() {
        let Some(repository) = &image.repository else { continue };
        let manifests = graph.parts_within(&image.digest, &mut steps);
        let edges = manifests.iter().flat_map(|manifest| graph.edges(manifest));
        let children: BTreeSet<Digest> = edges
            .filter(|edge| edge.kind == EdgeKind::Child && wanted.contains(&edge.child))
            .map(|edge| edge.child)
            .collect();
        for child in children {
            listed_by.entry((repository.clone(), child)).or_default().push(number);
        }
    }
    let with_images = |(repository, digest): (RepoName, Digest)| {
        let images = listed_by.remove(&(repository.clone(), digest)).unwrap_or_default();
        AbsentRevision { repository, digest, images }
    };
    absent.into_iter().map(with_images).collect()
}

fn report(source: Findings) -> SourceReport {
    // A signature says nothing of what lies beside the bundle.
    let has_tree = !source.tags.is_empty() || !source.revisions.is_empty();
    let is_alone = source.layouts.len() == 1 && !has_tree;
    let mut layouts = source.layouts.into_values().filter(|_| is_alone);
    SourceReport {
        formats: source.formats,
        oc_mirror: source.oc_mirror,
        bundle: layouts.find_map(|layout| layout.bundle),
        damage: source.damage,
    }
}

/// The most edges that are walked to say which images something hurts; a mirror of five thousand
/// images has a tenth. Images behind that are not whole, and nothing says why.
const MOST_STEPS: usize = 4_000_000;
