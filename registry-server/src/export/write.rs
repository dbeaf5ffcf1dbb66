//! Writing what was planned.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, anyhow};
use archive::bundle::{
    Blob, BlobFault, BundleDocument, Draft, NamedManifest, OpenBlob, Volume, WriteError,
};
use oci::Digest;

use super::cut::Cut;
use super::destination::{Destination, to_pipe};
use super::names::volume_name;
use super::order::To;
use super::plan::Plan;
use super::source::Source;
use crate::backup::{Event, Listener, OwnerThread};
use crate::text::format::time;

/// The writing of one bundle.
pub(super) struct Writing<'a> {
    owner: &'a OwnerThread<Source>,
    plan: &'a Plan,
    cut: &'a Cut,
    about: BundleDocument,
    manifests: HashSet<Digest>,
    listener: &'a Listener,
}

impl<'a> Writing<'a> {
    /// What is to be written, with what all volumes say of it.
    pub(super) fn new(
        owner: &'a OwnerThread<Source>,
        plan: &'a Plan,
        cut: &'a Cut,
        about: BundleDocument,
        listener: &'a Listener,
    ) -> Self {
        Self { owner, plan, cut, about, manifests: cut.manifests(), listener }
    }

    /// Writes all volumes, and says what they are called.
    pub(super) fn write(&self, to: To, data: &Path) -> anyhow::Result<Vec<String>> {
        let volumes = self.about.volumes;
        let is_archive = !matches!(to, To::Directory(_));
        let names: Vec<Option<String>> =
            (1..=volumes).map(|volume| volume_name(volume, volumes, is_archive)).collect();
        let told: Vec<String> = names.iter().flatten().cloned().collect();
        self.check_documents()?;
        match to {
            To::Pipe(pipe) => {
                self.begin();
                for (volume, (blobs, images)) in (1..).zip(&self.cut.volumes) {
                    let volume = self.volume(volume, blobs, images)?;
                    let pipe = pipe.try_clone()?;
                    self.with_blobs(|open, tell| to_pipe(pipe, &volume, open, tell))?;
                }
                return Ok(Vec::new());
            }
            To::Directory(root) | To::Archives(root) => {
                let destination = Destination::take(&root, data)?;
                let is_layout = !is_archive && volumes == 1;
                let stays: &[String] = if is_archive { &[] } else { &told };
                destination.clear(stays, is_layout)?;
                destination.check_space(self.needed_bytes())?;
                self.begin();
                for ((volume, (blobs, images)), name) in (1..).zip(&self.cut.volumes).zip(&names) {
                    let volume = self.volume(volume, blobs, images)?;
                    self.with_blobs(|open, tell| match name {
                        Some(name) if is_archive => destination.archive(name, &volume, open, tell),
                        name => destination.directory(name.as_deref(), &volume, open, tell),
                    })?;
                }
                destination.finish()?;
            }
        }
        Ok(told)
    }

    fn begin(&self) {
        let bytes = Some(self.cut.bytes());
        (self.listener)(Event::Begins { task: "writing images", bytes });
    }

    /// What all of it takes, mostly.
    fn needed_bytes(&self) -> u64 {
        let blocks = (self.cut.items.len() as u64).saturating_mul(BLOB_EXTRA_BYTES);
        let documents = u64::from(self.about.volumes).saturating_mul(DOCUMENTS_BYTES);
        self.cut.bytes().saturating_add(blocks).saturating_add(documents)
    }

    /// Refuses, before anything is written, documents that nobody would read.
    fn check_documents(&self) -> anyhow::Result<()> {
        for (volume, (blobs, images)) in (1..).zip(&self.cut.volumes) {
            self.draft(volume, blobs, images).context(
                "nothing was written, because the bundle would be too large: export fewer \
                 repositories or images at once",
            )?;
        }
        Ok(())
    }

    /// Makes the documents of a volume.
    fn draft(
        &self,
        volume: u32,
        blobs: &[Blob],
        images: &[NamedManifest],
    ) -> anyhow::Result<Draft> {
        let about = BundleDocument { volume, ..self.about.clone() };
        Ok(Draft::new(about, &time(self.about.made), blobs, &self.manifests, images)?)
    }

    /// Makes the documents of a volume, and has them signed.
    fn volume(
        &self,
        volume: u32,
        blobs: &[Blob],
        images: &[NamedManifest],
    ) -> anyhow::Result<Volume> {
        let draft = self.draft(volume, blobs, images)?;
        let document = draft.document().to_vec();
        let signature = self.owner.ask(move |source| source.sign(&document))??;
        Ok(draft.signed(signature))
    }

    /// Writes something with the registry's blobs at hand.
    fn with_blobs(
        &self,
        write: impl FnOnce(OpenBlob<'_>, &mut dyn FnMut(u64)) -> Result<(), WriteError>,
    ) -> anyhow::Result<()> {
        let mut open = |digest: &Digest| {
            let (digest, is_manifest) = (*digest, self.manifests.contains(digest));
            let opened = self.owner.ask(move |source| source.open(&digest, is_manifest));
            let opened = opened.map_err(|error| BlobFault::Unreadable(error.to_string()))?;
            Ok(opened?.reader())
        };
        let mut tell = |count| {
            (self.listener)(Event::Copied(count));
            // Who has ended says so when a blob is opened.
            let _ = self.owner.ask(|source| source.session().go_on());
        };
        write(&mut open, &mut tell).map_err(|error| self.told(error))
    }

    /// What keeps a bundle from being whole, with what helps.
    fn told(&self, error: WriteError) -> anyhow::Error {
        match error {
            WriteError::Blob { digest, fault } => {
                if fault == BlobFault::Gone && self.owner.ask(Source::is_lost).unwrap_or(true) {
                    return anyhow!(
                        "the running server ended meanwhile or waited for too long, and what was \
                         to be exported may have been collected since: type the same again"
                    );
                }
                anyhow!("the bundle is not whole: {} ({fault}); {NEXT}", hurt(self.plan, &digest))
            }
            WriteError::Io(error) => {
                let next = match error.kind {
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                        "free some space there and type the same again, or choose another disk"
                    }
                    ErrorKind::FileTooLarge => {
                        "the file system there takes no file as large: --tar --volume-size 4GB \
                         makes smaller ones, unless a blob alone is larger"
                    }
                    ErrorKind::BrokenPipe => "whoever read the pipe ended before its end",
                    _ => "the same again makes it whole",
                };
                anyhow!("{error}; the bundle is not whole: {next}")
            }
        }
    }
}

/// A blob that is lost, and the images that it belongs to.
pub(super) fn hurt(plan: &Plan, digest: &Digest) -> String {
    let (names, count) = plan.images_of(digest);
    if names.is_empty() {
        // Whoever deleted its image did so after it was found.
        return format!("{digest}, whose image was deleted meanwhile, is lost in the registry");
    }
    let more = match count.saturating_sub(names.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{digest}, which belongs to {}{more}, is lost in the registry", names.join(", "))
}

/// What helps when something is lost.
pub(super) const NEXT: &str = "type `registry verify`, which finds all that is lost, push these \
                               images again, and export again; or name others to be exported";

/// What a blob takes beside its bytes, in bytes: the rest of its last block, and its name.
const BLOB_EXTRA_BYTES: u64 = 4096;
/// What the documents of a volume take, mostly, in bytes.
const DOCUMENTS_BYTES: u64 = 256 * 1024;
