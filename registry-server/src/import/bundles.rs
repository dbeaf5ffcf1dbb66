//! The sources that a registry exported: whose they are, what of them is not there, and that they
//! were taken. Whether they may come in says `judge`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use archive::NamedImage;
use archive::bundle::{Base, BundleDocument, BundleNumber};
use certs::PublicKey;
use oci::{Digest, ImageName, Reference};
use storage::ImportNumber;

use super::report::{ImportReport, MissingBase, TakenVolume};
use super::site::Site;
use super::sources::Sources;
use crate::backup::OwnerThread;
use crate::bundle_notes::volume_of;
use crate::command::bundle::FoundBundle;
use crate::text::format::{counted, time};

mod judge;

use judge::{Refusal, judge};

/// The sources that are volumes of bundles.
pub(super) struct Bundles {
    volumes: Vec<Volume>,
    /// Descriptions that cannot be read, and whose sources count as plain layouts.
    unread: Vec<String>,
}

/// A source that is a volume of a bundle.
struct Volume {
    /// The number of the source.
    source: usize,
    /// The source, as it was typed.
    name: String,
    document: BundleDocument,
    /// Whose signature it has, if it has one.
    signer: Option<PublicKey>,
    /// Blobs of which the source has not as many bytes as the description says.
    incomplete: u64,
}

impl Bundles {
    /// Looks at the descriptions of all sources. If there are `signers`, each source must be a
    /// volume that one of them has signed.
    ///
    /// # Errors
    /// A source that may not come in; then none may.
    pub(super) fn judge(sources: &Sources, signers: &[PublicKey]) -> anyhow::Result<Self> {
        let mut bundles = Self { volumes: Vec::new(), unread: Vec::new() };
        let named = sources.contents.sources().iter().zip(&sources.names);
        for (number, (source, name)) in named.enumerate() {
            let (document, signer) = match judge(source.bundle.as_ref(), signers) {
                Ok(Some(judged)) => judged,
                Ok(None) => continue,
                Err(Refusal::Description(error)) if signers.is_empty() => {
                    bundles.unread.push(format!("{name}: {error}"));
                    continue;
                }
                Err(refusal) => {
                    return Err(refusal)
                        .with_context(|| format!("nothing is imported, since {name} is refused"));
                }
            };
            let blobs = sources.contents.blobs();
            let is_other = |(digest, size): &(&Digest, &u64)| blobs.get(*digest) != Some(*size);
            let described = document.manifests.iter().chain(&document.blobs);
            let incomplete = described.filter(is_other).count() as u64;
            let name = name.clone();
            bundles.volumes.push(Volume { source: number, name, document, signer, incomplete });
        }
        Ok(bundles)
    }

    /// Tells what they are, what of them is not there, and which of them are older than what came
    /// before: a signature does not say that it is the newest.
    ///
    /// # Errors
    /// Trouble on the way to the owner of the store.
    pub(super) fn tell(
        &self,
        owner: &OwnerThread<Site>,
        report: &mut ImportReport,
    ) -> anyhow::Result<()> {
        report.bundles.extend(self.volumes.iter().map(Volume::told));
        report.damage.extend(self.unread.iter().cloned());
        for Volume { name, incomplete, .. } in self.volumes.iter().filter(|it| it.incomplete > 0) {
            report.remarks.push(format!(
                "{name}: of {} that its description names, it has not all bytes: it was not \
                 copied whole",
                counted(*incomplete, "blob")
            ));
        }
        for ((bundle, volumes), absent) in self.absent_volumes() {
            let which = match absent.as_slice() {
                [] => continue,
                [one] => format!("volume {one} is"),
                _ => format!("volumes {} are", absent.join(", ")),
            };
            report.remarks.push(format!(
                "of the {volumes} volumes of the bundle {bundle}, {which} not here: an image that \
                 lies in several takes all of them at once"
            ));
        }
        if self.volumes.is_empty() {
            return Ok(());
        }
        let taken = owner.ask(Site::taken_bundles)??;
        for Volume { name, document, .. } in &self.volumes {
            let others = self.volumes.iter().map(|other| &other.document);
            let mut newer = others
                .filter(|other| other.registry == document.registry && other.made > document.made);
            let told = |newer: &BundleNumber, made: i64, then: &str| {
                let (of, newer_of) = (time(document.made), time(made));
                format!(
                    "{name}: it is of {of}, and older than the bundle {newer} of {newer_of}, {then}"
                )
            };
            if let Some(newer) = newer.next() {
                let then = "which comes with it: import them one after the other if it is wanted \
                            at all";
                report.remarks.push(told(&newer.bundle, newer.made, then));
            }
            let is_newer = |taken: &&FoundBundle| {
                taken.registry == document.registry && taken.made > document.made
            };
            if let Some(newer) = taken.iter().find(is_newer) {
                let then = "which was taken before: tags go back to what they named then";
                report.remarks.push(told(&newer.bundle, newer.made, then));
            }
        }
        Ok(())
    }

    /// Of each bundle, which of how many volumes are not here.
    fn absent_volumes(&self) -> BTreeMap<(BundleNumber, u32), Vec<String>> {
        let mut found = BTreeMap::<(BundleNumber, u32), BTreeSet<u32>>::new();
        for Volume { document, .. } in &self.volumes {
            let BundleDocument { bundle, volume, volumes, .. } = document;
            found.entry((*bundle, *volumes)).or_default().insert(*volume);
        }
        let absent = |((bundle, volumes), here): (_, BTreeSet<u32>)| {
            // No description says that there are more than a thousand.
            let absent = (1..=volumes).filter(|volume| !here.contains(volume));
            ((bundle, volumes), absent.map(|volume| volume.to_string()).collect())
        };
        found.into_iter().map(absent).collect()
    }

    /// Tells by which receipts the bundles leave out what is missing here. What a volume holds that
    /// is not here, or should hold itself, is left out by none.
    ///
    /// # Errors
    /// Trouble on the way to the owner of the store.
    pub(super) fn tell_bases(
        &self,
        owner: &OwnerThread<Site>,
        sources: &Sources,
        report: &mut ImportReport,
    ) -> anyhow::Result<()> {
        let nowhere = report.missing.iter().filter(|missing| missing.is_nowhere);
        let nowhere: BTreeSet<Digest> = nowhere.map(|missing| missing.digest).collect();
        let missing = sources.contents.missing().iter();
        let is_described = |digest: &Digest| {
            let mut documents = self.volumes.iter().map(|volume| &volume.document);
            documents.any(|it| it.blobs.contains_key(digest) || it.manifests.contains_key(digest))
        };
        let is_left_out = |digest: &Digest| nowhere.contains(digest) && !is_described(digest);
        let missing = missing.filter(|missing| is_left_out(&missing.digest));
        let absent = self.absent_volumes();
        let is_whole = |of: &&Volume| {
            let number = (of.document.bundle, of.document.volumes);
            absent.get(&number).is_none_or(Vec::is_empty)
        };
        let hurt: BTreeSet<usize> = missing.flat_map(|missing| missing.images.clone()).collect();
        let mut bases = BTreeMap::<_, (&BundleDocument, &Base, Vec<String>)>::new();
        for Volume { source, document, .. } in self.volumes.iter().filter(is_whole) {
            let images = hurt.iter().filter_map(|number| sources.contents.images().get(*number));
            let images = images.filter(|image| image.source == *source);
            let names: Vec<String> = images.filter_map(name_of).collect();
            for base in document.bases.iter().filter(|_| !names.is_empty()) {
                let key = (document.bundle, base.checksum);
                let (.., all) = bases.entry(key).or_insert((document, base, Vec::new()));
                all.extend(names.iter().cloned());
            }
        }
        if bases.is_empty() {
            return Ok(());
        }
        let this_registry = owner.ask(Site::identity)??;
        report.bases.extend(bases.into_values().map(|(document, base, images)| MissingBase {
            bundle: document.bundle,
            written_by: document.registry.clone(),
            receipt: base.checksum,
            receipt_of: base.registry.clone(),
            made: base.made,
            this_registry: this_registry.clone(),
            images,
        }));
        Ok(())
    }

    /// Remembers the volumes all of whose images are there now, for the next receipt.
    pub(super) fn remember(
        &self,
        owner: &OwnerThread<Site>,
        import: ImportNumber,
        sources: &Sources,
        report: &mut ImportReport,
    ) {
        // Which source a name is of that stands for two images, nobody knows.
        if !sources.contents.ambiguous().is_empty() {
            return;
        }
        let is_lacking = |image: &&NamedImage| !report.brought.contains(&image.digest);
        let lacking = sources.contents.images().iter().filter(is_lacking);
        let lacking: BTreeSet<usize> = lacking.map(|image| image.source).collect();
        for Volume { name, document, .. } in
            self.volumes.iter().filter(|volume| !lacking.contains(&volume.source))
        {
            let volume = volume_of(document);
            let digests: Vec<Digest> = document.blobs.keys().copied().collect();
            let noted = owner.ask(move |site| site.note(volume, &digests, import));
            let why = match noted.and_then(|noted| noted) {
                Ok(true) => continue,
                Ok(false) => "it holds more than there is room for".to_owned(),
                Err(error) => format!("{error:#}"),
            };
            report.remarks.push(format!(
                "{name}: this registry does not remember that it took it, so the next receipt \
                 names its blobs one by one: {why}"
            ));
        }
    }
}

impl Volume {
    fn told(&self) -> TakenVolume {
        let BundleDocument { bundle, registry, made, volume, volumes, .. } = &self.document;
        TakenVolume {
            source: self.name.clone(),
            bundle: *bundle,
            registry: registry.clone(),
            made: *made,
            volume: *volume,
            volumes: *volumes,
            key: self.signer.map(|key| key.to_string()),
        }
    }
}

/// What a bundle calls an image.
fn name_of(image: &NamedImage) -> Option<String> {
    let NamedImage { repository, tag, digest, .. } = image;
    let reference = tag.clone().map_or(Reference::Digest(*digest), Reference::Tag);
    Some(ImageName::new(repository.clone()?, Some(reference)).to_string())
}
