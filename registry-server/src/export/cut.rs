//! What goes into which volume, and what is left out because the other side has it.

use std::collections::{BTreeMap, HashSet};

use archive::bundle::{Base, Blob, Form, Named, NamedManifest, SplitError, split};
use oci::Digest;

use super::plan::{Item, Plan};
use super::since::Since;
use crate::text::format::bytes;

/// What goes into which volume.
pub(super) struct Cut {
    /// What is written, in its order.
    pub(super) items: Vec<Item>,
    /// The same for each volume, with the images that are whole with it.
    pub(super) volumes: Vec<(Vec<Blob>, Vec<NamedManifest>)>,
    /// The receipt by which blobs are left out.
    pub(super) base: Option<Base>,
    /// What is left out.
    pub(super) left_out: Vec<Blob>,
    /// Blobs that the receipt may name, or not.
    pub(super) ambiguous: u64,
    /// Bundles that the receipt names, and of which is not known here what they held.
    pub(super) unknown_bundles: u64,
}

impl Cut {
    /// Cuts a plan into volumes of at most so many bytes, if there may be several.
    pub(super) fn of(
        plan: &Plan,
        since: Option<&Since>,
        volume_bytes: Option<u64>,
        form: Form,
    ) -> anyhow::Result<Self> {
        let mut cut = Self {
            items: plan.items().to_vec(),
            volumes: Vec::new(),
            base: None,
            left_out: Vec::new(),
            ambiguous: 0,
            unknown_bundles: 0,
        };
        if let Some(since) = since {
            cut.leave_out(since);
        }
        let places: BTreeMap<Digest, usize> =
            cut.items.iter().enumerate().map(|(place, item)| (item.blob.digest, place)).collect();
        let place = |image: &NamedManifest| places.get(&image.manifest.digest).copied();
        let images: Vec<(NamedManifest, usize)> =
            plan.images().filter_map(|(image, _)| place(&image).map(|at| (image, at))).collect();
        let named = |(image, item): &(NamedManifest, usize)| {
            let text_bytes = image.name.to_string().len().saturating_add(image.media_type.len());
            Named { item: *item, text_bytes }
        };
        let named: Vec<Named> = images.iter().map(named).collect();
        let blobs: Vec<Blob> = cut.items.iter().map(|item| item.blob).collect();
        let splits = split(&blobs, &named, volume_bytes, form);
        for range in splits.map_err(|error| too_small(plan, &error))? {
            let here = images.iter().filter(|(_, place)| range.contains(place));
            let here = here.map(|(image, _)| image.clone()).collect();
            cut.volumes.push((blobs.get(range).unwrap_or_default().to_vec(), here));
        }
        Ok(cut)
    }

    /// Leaves out the blobs that a receipt names. Manifests go along: they are small, and with all
    /// of them whoever takes the bundle can tell what is missing, and which images that hurts.
    fn leave_out(&mut self, since: &Since) {
        let blobs = self.items.iter().filter(|item| !item.is_manifest);
        let digests: Vec<Digest> = blobs.map(|item| item.blob.digest).collect();
        let (held, ambiguous) = since.held(&digests);
        let (mut rest, mut left_out) = (Vec::new(), Vec::new());
        for item in std::mem::take(&mut self.items) {
            match !item.is_manifest && held.contains(&item.blob.digest) {
                true => left_out.push(item.blob),
                false => rest.push(item),
            }
        }
        self.base = Some(Base {
            registry: since.receipt.registry().clone(),
            made: since.receipt.made(),
            checksum: since.checksum,
            left_out: left_out.len() as u64,
        });
        (self.items, self.left_out, self.ambiguous) = (rest, left_out, ambiguous);
        self.unknown_bundles = since.unknown_bundles;
    }

    /// Which of what is written are manifests.
    pub(super) fn manifests(&self) -> HashSet<Digest> {
        let manifests = self.items.iter().filter(|item| item.is_manifest);
        manifests.map(|item| item.blob.digest).collect()
    }

    /// The blobs that are no manifests, with their sizes.
    pub(super) fn sizes(&self) -> BTreeMap<Digest, u64> {
        let blobs = self.items.iter().filter(|item| !item.is_manifest);
        blobs.map(|item| (item.blob.digest, item.blob.size)).collect()
    }

    /// The bytes of all that is written.
    pub(super) fn bytes(&self) -> u64 {
        self.items.iter().fold(0, |sum, item| sum.saturating_add(item.blob.size))
    }
}

fn too_small(plan: &Plan, error: &SplitError) -> anyhow::Error {
    match error {
        SplitError::TooSmall { digest, needed_bytes } => {
            let (names, _) = plan.images_of(digest);
            anyhow::anyhow!(
                "{digest} of {} does not fit into such a volume: choose a --volume-size of at \
                 least {needed_bytes} bytes ({})",
                names.join(", "),
                bytes(*needed_bytes)
            )
        }
        SplitError::TooMany { .. } => anyhow::anyhow!("{error}: choose a larger --volume-size"),
    }
}
