//! What is to be done of a plan, given what the sources hold and what the registry has.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use oci::{Digest, RepoName};

use super::plan::{Plan, PlannedImage, Unnamed};
use super::report::{ImportReport, LeftImage, MissingPart, TagMove};
use super::site::Site;
use super::sources::Sources;
use crate::backup::OwnerThread;

/// An image that can be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WantedImage {
    pub(super) image: PlannedImage,
    /// Blobs that it needs, that no source holds and the registry has.
    pub(super) from_registry: Vec<Digest>,
}

/// What is to be done.
pub(super) struct Survey {
    /// The images that can be imported, in their order.
    pub(super) images: Vec<WantedImage>,
    /// The blobs of these that the registry does not have.
    pub(super) lacking: HashSet<Digest>,
    /// What is known of the outcome.
    pub(super) report: ImportReport,
}

impl Survey {
    /// Holds the plan against the registry, of which it asks and changes nothing.
    pub(super) fn take(
        owner: &OwnerThread<Site>,
        sources: &Sources,
        plan: Plan,
    ) -> anyhow::Result<Self> {
        let mut report = ImportReport::default();
        tell_of_sources(sources, &mut report);
        let left = |Unnamed { image, why }| LeftImage { image, why };
        report.left.extend(plan.unnamed.iter().cloned().map(left));
        let unusable = unusable(sources, &plan, &mut report);
        let mut lacks = Lacks::of(sources, &plan);
        lacks.ask(owner, &plan)?;
        report.missing.extend(lacks.parts(&plan));
        let mut images = Vec::new();
        for (place, image) in plan.images.into_iter().enumerate() {
            let is_whole = sources.contents.is_whole(&image.digest);
            match lacks.of_image.get(&place) {
                _ if unusable.contains(&place) => {}
                None if is_whole => images.push(WantedImage { image, from_registry: Vec::new() }),
                // What it lacks was too much to be told.
                None => report.left.extend(image.names().iter().map(|name| LeftImage {
                    image: name.to_string(),
                    why: "some of it is missing".to_owned(),
                })),
                Some(lacking) if lacking.iter().any(|lack| lacks.is_nowhere(lack, &image)) => {}
                Some(lacking) => {
                    let blobs = lacking.iter().filter(|lack| !lack.is_manifest);
                    let from_registry = blobs.map(|lack| lack.digest).collect();
                    images.push(WantedImage { image, from_registry });
                }
            }
        }
        let lacking = count_blobs(owner, sources, &images, &mut report)?;
        Ok(Self { images, lacking, report })
    }

    /// Whether what is to be read can share its blocks with the source, as far as the first of it
    /// tells: then it needs no room.
    pub(super) fn can_clone(
        &self,
        owner: &OwnerThread<Site>,
        sources: &Sources,
    ) -> anyhow::Result<bool> {
        let first = self.lacking.iter().find_map(|digest| sources.blob(digest));
        match first {
            Some(Ok(bytes)) => owner.ask(move |site| {
                bytes.whole_file().map_or(Ok(false), |file| site.can_clone(file))
            })?,
            Some(Err(_)) | None => Ok(false),
        }
    }

    /// The report of a dry run.
    pub(super) fn foretell(mut self, owner: &OwnerThread<Site>) -> anyhow::Result<ImportReport> {
        self.report.is_dry_run = true;
        for WantedImage { image, .. } in self.images {
            self.report.images += 1;
            let (repository, tags) = (image.repository.clone(), image.tags.clone());
            let named = owner.ask(move |site| site.named_by(&repository, &tags))??;
            let names = image.names().into_iter().zip(named);
            let moved = names.filter(|(_, from)| *from != Some(image.digest));
            let to = image.digest;
            self.report.moved.extend(moved.map(|(image, from)| TagMove { image, from, to }));
        }
        let wanted = self.report.read_bytes;
        if let Err(error) = owner.ask(move |site| site.check_room(wanted))? {
            self.report.remarks.push(crate::advice::told(&error));
        }
        Ok(self.report)
    }
}

/// What the sources say of themselves that whoever imports them should know.
fn tell_of_sources(sources: &Sources, report: &mut ImportReport) {
    for (source, name) in sources.contents.sources().iter().zip(&sources.names) {
        report.damage.extend(source.damage.iter().map(|damage| format!("{name}: {damage}")));
        if source.oc_mirror.as_ref().is_some_and(|oc_mirror| oc_mirror.renames_catalogs) {
            report.remarks.push(format!(
                "{name}: its configuration gives catalogs another name on the mirror \
                 (targetCatalog, targetTag), and they are here under the name of their source"
            ));
        }
    }
    report.left.extend(sources.unnamed.iter().cloned());
    if sources.contents.images().is_empty() {
        report.damage.push("the sources name no image".to_owned());
    }
}

/// The images that name something as a manifest which is none, and tells of them.
fn unusable(sources: &Sources, plan: &Plan, report: &mut ImportReport) -> HashSet<usize> {
    let mut hurt = HashSet::new();
    for unusable in sources.contents.unusable() {
        let places = places(plan, &unusable.images);
        report.missing.push(MissingPart {
            digest: unusable.digest,
            why: unusable.fault.to_string(),
            is_nowhere: false,
            images: names(plan, &places),
        });
        hurt.extend(places);
    }
    for ambiguous in sources.contents.ambiguous() {
        let repository = ambiguous.repository.as_ref().or(ambiguous.stem.as_ref());
        let digests: Vec<String> = ambiguous.digests.iter().map(Digest::to_string).collect();
        report.left.push(LeftImage {
            image: match repository {
                Some(repository) => format!("{repository}:{}", ambiguous.tag),
                None => ambiguous.tag.to_string(),
            },
            why: format!("the sources call {} so: import one at a time", digests.join(" and ")),
        });
    }
    hurt
}

/// Where images of the contents are in the plan, each place once.
fn places(plan: &Plan, images: &[usize]) -> BTreeSet<usize> {
    images.iter().filter_map(|image| plan.places.get(*image).copied().flatten()).collect()
}

fn names(plan: &Plan, places: &BTreeSet<usize>) -> Vec<oci::ImageName> {
    places
        .iter()
        .filter_map(|place| plan.images.get(*place))
        .flat_map(PlannedImage::names)
        .collect()
}

/// Something that no source holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Lack {
    digest: Digest,
    /// Whether it is the image itself, or one that an index lists; else it is a blob.
    is_manifest: bool,
}

/// What no source holds.
#[derive(Default)]
struct Lacks {
    /// What each image lacks, by its place in the plan.
    of_image: BTreeMap<usize, BTreeSet<Lack>>,
    /// Which images lack something.
    hurt: BTreeMap<Lack, BTreeSet<usize>>,
    /// Blobs that the registry has not either.
    blobs_nowhere: HashSet<Digest>,
    /// Manifests that the repository has not either in which they are to be.
    manifests_nowhere: HashSet<(RepoName, Digest)>,
}

impl Lacks {
    fn of(sources: &Sources, plan: &Plan) -> Self {
        let mut lacks = Self::default();
        for missing in sources.contents.missing() {
            let lack = Lack { digest: missing.digest, is_manifest: missing.is_manifest };
            let places = places(plan, &missing.images);
            for place in &places {
                lacks.of_image.entry(*place).or_default().insert(lack);
            }
            lacks.hurt.entry(lack).or_default().extend(places);
        }
        lacks
    }

    /// Asks the registry for all of it: what an older archive brought is there.
    fn ask(&mut self, owner: &OwnerThread<Site>, plan: &Plan) -> anyhow::Result<()> {
        let blobs = self.hurt.keys().filter(|lack| !lack.is_manifest);
        let blobs: Vec<Digest> = blobs.map(|lack| lack.digest).collect();
        self.blobs_nowhere.extend(owner.ask(move |site| site.lacking(&blobs))??);
        let mut by_repository: BTreeMap<&RepoName, BTreeSet<Digest>> = BTreeMap::new();
        for (place, lacking) in &self.of_image {
            let Some(image) = plan.images.get(*place) else { continue };
            let manifests = lacking.iter().filter(|lack| lack.is_manifest);
            let asked = by_repository.entry(&image.repository).or_default();
            asked.extend(manifests.map(|lack| lack.digest));
        }
        for (repository, digests) in by_repository {
            let (name, digests) = (repository.clone(), Vec::from_iter(digests));
            let nowhere = owner.ask(move |site| site.lacking_manifests(&name, &digests))??;
            let nowhere = nowhere.into_iter().map(|digest| (repository.clone(), digest));
            self.manifests_nowhere.extend(nowhere);
        }
        Ok(())
    }

    /// Whether something that an image lacks is not to be had.
    fn is_nowhere(&self, lack: &Lack, image: &PlannedImage) -> bool {
        match lack.is_manifest {
            true => self.manifests_nowhere.contains(&(image.repository.clone(), lack.digest)),
            false => self.blobs_nowhere.contains(&lack.digest),
        }
    }

    /// What is not to be had, and whom that hurts.
    fn parts(&self, plan: &Plan) -> Vec<MissingPart> {
        let mut parts = Vec::new();
        for (lack, hurt) in &self.hurt {
            let is_hurt = |place: &&usize| {
                plan.images.get(**place).is_some_and(|image| self.is_nowhere(lack, image))
            };
            let hurt: BTreeSet<usize> = hurt.iter().filter(is_hurt).copied().collect();
            if !hurt.is_empty() {
                let why = "neither the sources nor the registry have it".to_owned();
                let (digest, images) = (lack.digest, names(plan, &hurt));
                parts.push(MissingPart { digest, why, is_nowhere: true, images });
            }
        }
        parts
    }
}

/// Finds out which blobs of these images the registry lacks, and adds up all of them.
fn count_blobs(
    owner: &OwnerThread<Site>,
    sources: &Sources,
    images: &[WantedImage],
    report: &mut ImportReport,
) -> anyhow::Result<HashSet<Digest>> {
    let mut seen = HashSet::new();
    let mut blobs = BTreeSet::new();
    for WantedImage { image, .. } in images {
        let parts = sources.contents.new_parts(&image.digest, &|it| seen.contains(it));
        blobs.extend(parts.blobs);
        seen.extend(parts.manifests);
    }
    let asked: Vec<Digest> = blobs.iter().copied().collect();
    let lacking = owner.ask(move |site| site.lacking(&asked))??;
    let lacking: HashSet<Digest> = lacking.into_iter().collect();
    for digest in &blobs {
        let size = sources.size(digest);
        let (count, bytes) = match lacking.contains(digest) {
            true => (&mut report.read_blobs, &mut report.read_bytes),
            false => (&mut report.present_blobs, &mut report.present_bytes),
        };
        *count += 1;
        *bytes = bytes.saturating_add(size);
    }
    Ok(lacking)
}
