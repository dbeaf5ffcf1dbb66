//! Remembering a volume of a bundle, some digests at a time.

use archive::bundle::{BundleNumber, RegistryId};
use oci::Digest;
use serde::{Deserialize, Serialize};
use storage::{BundleVolume, ImportNumber, VolumeNote};

use crate::command::{Command, CommandError, Context};

/// A step of remembering a volume.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoteVolume {
    /// The import that took it; none if this registry wrote it.
    pub import: Option<ImportNumber>,
    /// The step.
    pub step: NoteStep,
}

/// What is to be done.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoteStep {
    /// To begin, unless the volume is remembered.
    Begin(WholeVolume),
    /// To add some of its digests.
    Add(VolumeNote, Vec<Digest>),
    /// To end, with so many digests.
    End(VolumeNote, u64),
}

/// A volume that is whole on its medium, or was taken whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WholeVolume {
    /// The number of the bundle.
    pub bundle: BundleNumber,
    /// The sum over the blobs of all its volumes.
    pub checksum: Digest,
    /// The registry that wrote it.
    pub registry: RegistryId,
    /// When, in seconds since 1970.
    pub made: i64,
    /// Which volume it is, counted from 1.
    pub volume: u32,
    /// How many there are.
    pub volumes: u32,
}

impl Command for NoteVolume {
    /// The note, as long as it may be gone on with: none at the beginning if the volume is
    /// remembered, and none later if it was forgotten meanwhile.
    type Reply = Option<VolumeNote>;

    const NAME: &'static str = "bundle-note";

    fn words(&self) -> &'static str {
        if self.import.is_some() { "import" } else { "export" }
    }

    fn subject(&self) -> Option<String> {
        match &self.step {
            NoteStep::Begin(volume) => Some(volume.bundle.to_string()),
            NoteStep::Add(..) | NoteStep::End(..) => None,
        }
    }

    fn is_continued(&self) -> bool {
        true
    }

    fn run(self, context: &mut Context<'_>) -> Result<Self::Reply, CommandError> {
        let store = context.store;
        match self.step {
            NoteStep::Begin(volume) => {
                let WholeVolume { bundle, checksum, registry, made, volume, volumes } = volume;
                let (bundle, registry) = (bundle.to_string(), registry.to_string());
                let volume = BundleVolume { bundle, checksum, registry, made, volume, volumes };
                Ok(store.begin_volume_note(volume, self.import)?)
            }
            NoteStep::Add(note, digests) => {
                Ok(store.add_to_volume_note(note, &digests)?.then_some(note))
            }
            NoteStep::End(note, digests) => {
                Ok(store.end_volume_note(note, digests)?.then_some(note))
            }
        }
    }
}
