//! What the other side has, by its receipt and by what this registry remembers of its own bundles.

use std::collections::HashSet;

use archive::bundle::{Receipt, TakenBundle};
use oci::Digest;

use crate::bundle_notes::read_notes;
use crate::command::bundle::{FoundBundle, ListBundles};
use crate::control::Session;

/// What the other side has.
pub(super) struct Since {
    pub(super) receipt: Receipt,
    /// The sum of the receipt.
    pub(super) checksum: Digest,
    /// Blobs that it has by bundles of this registry.
    held: HashSet<Digest>,
    /// Bundles of which this registry does not know what they held.
    pub(super) unknown_bundles: u64,
}

impl Since {
    /// Looks up, of these blobs, which the bundles of a receipt held.
    pub(super) fn of(
        (receipt, checksum): (Receipt, Digest),
        blobs: &HashSet<Digest>,
        session: &Session,
    ) -> anyhow::Result<Self> {
        let mut since = Self { receipt, checksum, held: HashSet::new(), unknown_bundles: 0 };
        if since.receipt.bundles().is_empty() {
            return Ok(since);
        }
        let written = session.ask(ListBundles { is_taken: false })?;
        for TakenBundle { number, checksum } in since.receipt.bundles() {
            // Who made one of his own under a number of ours has another sum.
            let is_it =
                |known: &&FoundBundle| (known.bundle, known.checksum) == (*number, *checksum);
            let Some(known) = written.iter().find(is_it) else {
                since.unknown_bundles += 1;
                continue;
            };
            read_notes(session, known, false, &mut |noted| {
                if blobs.contains(&noted.digest) {
                    since.held.insert(noted.digest);
                }
                true
            })?;
        }
        Ok(since)
    }

    /// Of each of these blobs, whether it is there, and how many may be there or not.
    pub(super) fn held(&self, blobs: &[Digest]) -> (HashSet<Digest>, u64) {
        let rest = blobs.iter().filter(|digest| !self.held.contains(*digest));
        let rest: Vec<Digest> = rest.copied().collect();
        let by_prefix = self.receipt.held(&rest);
        let is_held = rest.into_iter().zip(by_prefix.is_held).filter(|(_, is_held)| *is_held);
        let held = is_held.map(|(digest, _)| digest).chain(self.held.iter().copied());
        (held.collect(), by_prefix.ambiguous)
    }
}
