//! What a registry remembers of bundles: an export notes what it wrote, an import what it took, and
//! a receipt and the next export read both. What is forgotten only makes an export larger.

use std::collections::BTreeMap;

use anyhow::Context;
use archive::bundle::{BundleDocument, RegistryId, TakenBundle, checksum_of, prefix_of};
use oci::Digest;
use storage::ImportNumber;

use crate::command::bundle::{
    FoundBundle, ListBundles, NoteStep, NoteVolume, NotedDigest, ReadNote, WholeVolume,
};
use crate::command::data::Identify;
use crate::control::Session;

/// What tells this registry from others: who wrote a bundle, and whom a receipt is of.
///
/// # Errors
/// Trouble on the way to the owner of the store.
pub(crate) fn identity(session: &Session) -> anyhow::Result<RegistryId> {
    let text = session.ask(Identify {})?;
    text.parse().context("the running server's answer makes no sense")
}

/// What is noted of a volume by its description.
pub(crate) fn volume_of(document: &BundleDocument) -> WholeVolume {
    WholeVolume {
        bundle: document.bundle,
        checksum: document.checksum,
        registry: document.registry.clone(),
        made: document.made,
        volume: document.volume,
        volumes: document.volumes,
    }
}

/// Notes a volume that an import took, or, without one, that an export wrote. False if there is no
/// room for so many digests.
///
/// # Errors
/// Trouble on the way to the owner of the store, and there.
pub(crate) fn note(
    session: &Session,
    volume: WholeVolume,
    digests: &[Digest],
    import: Option<ImportNumber>,
) -> anyhow::Result<bool> {
    let ask = |step| session.ask(NoteVolume { import, step });
    // One that is remembered needs no second note.
    let Some(note) = ask(NoteStep::Begin(volume))? else { return Ok(true) };
    for digests in digests.chunks(DIGESTS_AT_ONCE) {
        if ask(NoteStep::Add(note, digests.to_vec()))?.is_none() {
            return Ok(false);
        }
    }
    Ok(ask(NoteStep::End(note, digests.len() as u64))?.is_some())
}

/// Gives `take` what a bundle held, as long as it says that it goes on. Whether it heard of all.
///
/// # Errors
/// Trouble on the way to the owner of the store, and there.
pub(crate) fn read_notes(
    session: &Session,
    bundle: &FoundBundle,
    is_looked_up: bool,
    take: &mut dyn FnMut(NotedDigest) -> bool,
) -> anyhow::Result<bool> {
    for note in &bundle.notes {
        for page in 0.. {
            let Some(noted) = session.ask(ReadNote { note: *note, page, is_looked_up })? else {
                break;
            };
            if !noted.into_iter().all(&mut *take) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Bundles of which everything is there that they held.
#[derive(Default)]
pub(crate) struct WholeBundles {
    /// The bundles.
    pub(crate) bundles: Vec<TakenBundle>,
    /// The first bytes of what they held, in order.
    prefixes: Vec<u64>,
}

impl WholeBundles {
    /// Finds those that a receipt names: of the registry whose bundle came last, which is the one
    /// that the receipt is for. Nobody else knows what these held.
    pub(crate) fn find(session: &Session) -> anyhow::Result<Self> {
        let taken = session.ask(ListBundles { is_taken: true })?;
        let mut whole = Self::default();
        let Some(writer) = taken.first().map(|newest| newest.registry.clone()) else {
            return Ok(whole);
        };
        for bundle in taken.iter().filter(|bundle| bundle.registry == writer) {
            // Of two that have one number, at most one was written by that registry.
            let is_named = whole.bundles.iter().any(|named| named.number == bundle.bundle);
            if !is_named && let Some(held) = held_whole(session, bundle)? {
                let (number, checksum) = (bundle.bundle, bundle.checksum);
                whole.bundles.push(TakenBundle { number, checksum });
                whole.prefixes.extend(held.keys().map(prefix_of));
            }
        }
        whole.prefixes.sort_unstable();
        Ok(whole)
    }

    /// Whether a bundle held this. What only begins like that counts as well, and is sent again.
    pub(crate) fn held(&self, digest: &Digest) -> bool {
        self.prefixes.binary_search(&prefix_of(digest)).is_ok()
    }
}

/// What a bundle held, if all of it is there, and is what the registry that wrote it says: anybody
/// can give a number to a bundle of his own.
fn held_whole(
    session: &Session,
    bundle: &FoundBundle,
) -> anyhow::Result<Option<BTreeMap<Digest, u64>>> {
    let mut held = BTreeMap::new();
    if bundle.digests > NAMED_DIGESTS {
        return Ok(None);
    }
    let are_there = read_notes(session, bundle, true, &mut |NotedDigest { digest, size }| {
        size.is_some_and(|size| {
            held.insert(digest, size);
            true
        })
    })?;
    let is_whole = are_there && checksum_of(&held) == bundle.checksum;
    Ok(is_whole.then_some(held))
}

/// What is noted at once: so many digests fit into a command.
const DIGESTS_AT_ONCE: usize = 256;
/// The most digests of a bundle that a receipt names by its number: they are in memory together,
/// some 100 MB. What a larger one held is named blob by blob.
const NAMED_DIGESTS: u64 = 1 << 20;
