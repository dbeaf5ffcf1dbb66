//! What was found in one source: entry by entry, whatever their order, and of any format.
//!
//! A source is read once, so a blob is looked at when it comes: what begins like a JSON object and
//! is as short as a manifest is read as one, and its digest checked first.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use oci::{Algorithm, Digest, Edge, RepoName};

use crate::contents::{Format, ManifestFault, OcMirror, SourceReport};
use crate::damage::Damage;
use crate::documents;
use crate::error::ScanError;
use crate::path::EntryPath;
use crate::role::{self, LayoutDocument, Role};
use crate::tar::{Entry, EntryKind, TarError};

mod blobs;
mod layouts;
mod links;
mod tags;

pub(crate) use blobs::{MANIFEST_BYTES, may_be_manifest};
pub(crate) use layouts::Layout;
pub(crate) use tags::{Filters, Tags};

use layouts::INDEX_BYTES;

/// What one source holds.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// The repository that the source's file gives its name to.
    pub(crate) stem: Option<RepoName>,
    pub(crate) is_directory: bool,
    /// Whether the names come that a database has of this source's images.
    pub(crate) has_database: bool,
    /// Whether entries may be there that nobody saw.
    pub(crate) is_cut: bool,
    pub(crate) formats: BTreeSet<Format>,
    pub(crate) damage: Vec<Damage>,
    /// Every blob with its size in bytes.
    pub(crate) blobs: BTreeMap<Digest, u64>,
    pub(crate) manifests: HashMap<Digest, Vec<Edge>>,
    /// Which manifest a manifest refers to.
    pub(crate) subjects: BTreeMap<Digest, Digest>,
    pub(crate) faults: BTreeMap<Digest, ManifestFault>,
    pub(crate) layouts: BTreeMap<String, Layout>,
    pub(crate) tags: Tags,
    /// Which manifests a repository says that it has.
    pub(crate) revisions: BTreeSet<(RepoName, Digest)>,
    pub(crate) oc_mirror: Option<OcMirror>,
    pub(crate) filters: Filters,
    /// Whether the first entry is one of a registry's tree, and nothing is a directory.
    begins_like_oc_mirror: Option<bool>,
    is_docker_archive: bool,
    kept: usize,
    text_bytes: usize,
    edges: usize,
    document_bytes: usize,
}

/// What is to be read of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// It is of no format, or of no use.
    Nothing,
    /// It was there already, or is another name.
    Known,
    /// The whole content, for [`Findings::document`].
    Document(Role),
    /// The content of a blob that was not there yet, for [`Findings::add_blob`].
    Blob(Digest),
}

impl Findings {
    pub(crate) fn new(stem: Option<RepoName>) -> Self {
        Self { stem, ..Self::default() }
    }

    /// Looks at the next entry.
    ///
    /// # Errors
    /// [`ScanError::Twice`], [`ScanError::TwoSizes`], [`ScanError::TooMany`].
    pub(crate) fn look(&mut self, entry: &Entry) -> Result<Want, ScanError> {
        let begins =
            self.begins_like_oc_mirror.get_or_insert_with(|| role::is_of_tree(&entry.path));
        *begins &= entry.kind != EntryKind::Other;
        let Some(role) = Role::of(&entry.path) else { return Ok(Want::Nothing) };
        match role {
            Role::Tag { .. } | Role::Revision { .. } => {
                self.formats.insert(Format::Distribution);
            }
            Role::WorkingDirectory
            | Role::Version
            | Role::Filter(_)
            | Role::Configuration { .. } => drop(self.oc_mirror.get_or_insert_default()),
            _ => {}
        }
        match &entry.kind {
            EntryKind::Other => Ok(Want::Nothing),
            EntryKind::Link { target, said } => {
                self.look_at_link(&entry.path, role, target.as_ref(), said).map(|()| Want::Known)
            }
            EntryKind::File { size, .. } => self.look_at_file(&entry.path, role, *size),
        }
    }

    /// Takes a document. Says the digest of one that is a blob by itself and was not there yet.
    ///
    /// # Errors
    /// [`ScanError::Twice`], [`ScanError::TooMany`].
    pub(crate) fn document(
        &mut self,
        path: &EntryPath,
        role: Role,
        bytes: &[u8],
    ) -> Result<Option<Digest>, ScanError> {
        if bytes.len() as u64 > LINK_BYTES {
            self.document_bytes = self.document_bytes.saturating_add(bytes.len());
        }
        if self.document_bytes > DOCUMENTS_BYTES {
            let what = "bytes of documents";
            return Err(ScanError::TooMany { what, limit: DOCUMENTS_BYTES });
        }
        let read = match role {
            Role::Tag { repository, tag } => match documents::link(bytes) {
                Ok(digest) => return self.tag(path, repository, tag, digest).map(|()| None),
                Err(fault) => Err(fault),
            },
            Role::Revision { digest, .. } => match documents::link(bytes) {
                Ok(said) if said == digest => Ok(()),
                Ok(said) => Err(format!("it says {said}")),
                Err(fault) => Err(fault),
            },
            // Links were followed when it was packed.
            Role::OcTag { repository, tag } => {
                let digest = Digest::of(Algorithm::Sha256, bytes);
                self.oc_tag(path, repository, tag, digest)?;
                return Ok(Some(digest).filter(|digest| !self.blobs.contains_key(digest)));
            }
            Role::Filter(of) => match filter_digest(bytes) {
                Ok(filtered) => return self.filter(path, of, filtered).map(|()| None),
                Err(fault) => Err(fault),
            },
            Role::Version => documents::oc_mirror_version(bytes).map(|version| {
                let version = version.chars().take(SHORT_CHARS).collect();
                self.oc_mirror.get_or_insert_default().version = Some(version);
            }),
            Role::Configuration { time } => {
                let renames = documents::renames_catalogs(bytes);
                let oc_mirror = self.oc_mirror.get_or_insert_default();
                oc_mirror.renames_catalogs |= renames;
                let time = time.chars().take(SHORT_CHARS).collect();
                oc_mirror.time = oc_mirror.time.take().max(Some(time));
                Ok(())
            }
            Role::DockerManifest => {
                self.is_docker_archive = documents::is_docker_archive(bytes);
                Ok(())
            }
            Role::Layout { layout, document } => {
                return self.layout_document(path, layout, document, bytes).map(|()| None);
            }
            Role::Blob { .. }
            | Role::LayoutBlob { .. }
            | Role::OcManifest { .. }
            | Role::WorkingDirectory => Ok(()),
        };
        if let Err(fault) = read {
            self.damaged(Damage::Document { path: path.as_str().to_owned(), fault });
        }
        Ok(None)
    }

    /// Whether oc-mirror wrote the source, as far as its beginning says: the tree comes first, and
    /// no directories, unlike in what `tar` packs. What a failed run leaves has nothing else.
    pub(crate) fn is_like_oc_mirror(&self) -> bool {
        !self.is_directory && self.begins_like_oc_mirror == Some(true)
    }

    /// Notes what is wrong with the source.
    pub(crate) fn damaged(&mut self, damage: Damage) {
        if self.damage.len() < SourceReport::MOST_DAMAGE {
            self.damage.push(damage);
        }
    }

    /// Takes why an archive is not read any further. A broken copy or a bad disk is damage, and
    /// what was read counts; what somebody packed so that it cannot be trusted is refused.
    ///
    /// # Errors
    /// [`ScanError::NothingKnown`], [`ScanError::Tar`].
    pub(crate) fn ended(&mut self, error: TarError) -> Result<(), ScanError> {
        let damage = match error {
            TarError::NoHeader { at: 0 } => return Err(ScanError::NothingKnown),
            TarError::Truncated { at } => Damage::Truncated { at },
            TarError::Read { at, message, .. } => Damage::Unreadable { at, fault: message },
            TarError::GoesOn { at } => Damage::GoesOn { at },
            TarError::NoHeader { at } | TarError::Checksum { at } if at > 0 => {
                Damage::Header(error)
            }
            error => return Err(error.into()),
        };
        // Told however much is.
        self.damage.push(damage);
        self.is_cut = true;
        Ok(())
    }

    /// Looks at what was found when the source is at its end.
    ///
    /// # Errors
    /// [`ScanError::DockerArchive`], [`ScanError::NothingKnown`].
    pub(crate) fn finish(&mut self) -> Result<(), ScanError> {
        if !self.finish_layouts() && self.is_docker_archive {
            return Err(ScanError::DockerArchive);
        }
        // The last segment of an archive may be a working directory alone; but a directory with one
        // is where oc-mirror wrote its archives.
        let is_segment = self.oc_mirror.is_some() && !self.is_directory;
        match self.formats.is_empty() && self.damage.is_empty() && !is_segment {
            true => Err(ScanError::NothingKnown),
            false => Ok(()),
        }
    }

    fn look_at_file(&mut self, path: &EntryPath, role: Role, size: u64) -> Result<Want, ScanError> {
        match role {
            Role::Blob { format: Format::Quay, .. } if !self.has_database => {
                Err(ScanError::NamesInDatabase)
            }
            Role::Blob { digest, format } => {
                self.formats.insert(format);
                self.blob(path, digest, size)
            }
            Role::LayoutBlob { digest, layout } => {
                self.layout(layout)?.has_blobs = true;
                self.blob(path, digest, size)
            }
            Role::OcManifest { repository, digest } => {
                self.formats.insert(Format::OcDirectory);
                self.revision(repository, digest)?;
                self.blob(path, digest, size)
            }
            Role::WorkingDirectory => Ok(Want::Nothing),
            role => {
                // The path says it all; a file that is empty or cannot be read was not deleted.
                if let Role::Revision { repository, digest } = &role {
                    self.revision(repository.clone(), *digest)?;
                }
                if let Role::Layout { layout, document: LayoutDocument::Index } = &role {
                    self.layout(layout.clone())?.has_index = true;
                }
                let most = most_bytes(&role);
                if size <= most {
                    return Ok(Want::Document(role));
                }
                let fault = format!("it has more than {most} bytes");
                self.damaged(Damage::Document { path: path.as_str().to_owned(), fault });
                Ok(Want::Nothing)
            }
        }
    }

    /// Counts something that is kept, with the bytes of its texts.
    fn keep(&mut self, text_bytes: usize) -> Result<(), ScanError> {
        self.kept += 1;
        self.text_bytes = self.text_bytes.saturating_add(text_bytes);
        if self.kept > MOST_KEPT {
            return Err(ScanError::TooMany { what: "blobs and names", limit: MOST_KEPT });
        }
        match self.text_bytes > MOST_TEXT_BYTES {
            true => Err(ScanError::TooMany { what: "bytes of names", limit: MOST_TEXT_BYTES }),
            false => Ok(()),
        }
    }
}

fn filter_digest(bytes: &[u8]) -> Result<Digest, String> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    let digest = if text.contains(':') { text.parse() } else { format!("sha256:{text}").parse() };
    digest.map_err(|error: oci::DigestError| error.to_string())
}

/// How long a document may be, in bytes.
fn most_bytes(role: &Role) -> u64 {
    match role {
        Role::Tag { .. } | Role::Revision { .. } | Role::Filter(_) => LINK_BYTES,
        Role::OcTag { .. } => MANIFEST_BYTES,
        Role::Version | Role::Configuration { .. } => SMALL_BYTES,
        Role::Layout { document: LayoutDocument::Mark | LayoutDocument::Signature, .. } => {
            SMALL_BYTES
        }
        _ => INDEX_BYTES,
    }
}

/// The longest configuration of oc-mirror, and of what else is short.
const SMALL_BYTES: u64 = 1 << 20;
/// The longest link: a digest, and the end of a line.
const LINK_BYTES: u64 = 256;
/// The most bytes of all documents of one source that are longer than a link.
const DOCUMENTS_BYTES: usize = 128 << 20;
/// The most blobs and names of one source: a mirror of five thousand images has a tenth.
const MOST_KEPT: usize = 1_000_000;
/// The most bytes of their names, and of what is said of them.
const MOST_TEXT_BYTES: usize = 64 << 20;
/// How much is kept of a version or a time.
const SHORT_CHARS: usize = 64;
