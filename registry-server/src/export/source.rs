//! The registry that is exported, as its owner sees it.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use anyhow::Context;
use archive::bundle::{BlobFault, RegistryId, SIGNATURE_BYTES};
use certs::{BundleKey, PublicKey};
use durable::{Links, open_regular};
use oci::Digest;
use storage::Layout;

use crate::bundle_notes::identity;
use crate::command::image::ReadManifest;
use crate::control::Session;

/// What is at work as the owner of the data.
pub(super) struct Source {
    layout: Layout,
    session: Session,
    key: Option<BundleKey>,
}

/// A blob, or the bytes of a manifest.
pub(super) enum Opened {
    /// The file of a blob.
    File(File),
    /// The bytes of a manifest.
    Bytes(Vec<u8>),
}

impl Source {
    /// Begins with the running server or with the store, of which nothing goes from here on.
    pub(super) fn begin(data: &Path, allow_network_fs: bool) -> anyhow::Result<Self> {
        let session = Session::begin_with_hold(data, allow_network_fs)?;
        Ok(Self { layout: Layout::new(data), session, key: None })
    }

    /// Who answers questions.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// What tells the registry from others.
    pub(super) fn identity(&self) -> anyhow::Result<RegistryId> {
        identity(&self.session)
    }

    /// The public half of the key that signs bundles, which is made if there is none.
    pub(super) fn public_key(&mut self) -> anyhow::Result<PublicKey> {
        let key = BundleKey::ensure(&self.layout.tls())?;
        let public = key.public();
        self.key = Some(key);
        Ok(public)
    }

    /// Signs a text, once the key is there.
    pub(super) fn sign(&self, text: &[u8]) -> anyhow::Result<[u8; SIGNATURE_BYTES]> {
        Ok(self.key.as_ref().context("there is no key")?.sign(text)?)
    }

    /// Opens a blob, or reads a manifest.
    pub(super) fn open(&self, digest: &Digest, is_manifest: bool) -> Result<Opened, BlobFault> {
        let unreadable = |error: &dyn std::fmt::Display| BlobFault::Unreadable(error.to_string());
        if !is_manifest {
            let found = open_regular(&self.layout.blob_file(digest), Links::Refuse);
            let found = found.map_err(|error| unreadable(&error))?;
            return found.map(Opened::File).ok_or(BlobFault::Gone);
        }
        let reply = self.session.ask(ReadManifest { digest: *digest });
        let reply = reply.map_err(|error| unreadable(&error))?;
        let bytes = reply.as_deref().and_then(ReadManifest::bytes);
        bytes.map(Opened::Bytes).ok_or(BlobFault::Gone)
    }

    /// Whether nobody holds deletions off any more.
    pub(super) fn is_lost(&mut self) -> bool {
        self.session.is_lost()
    }
}

impl Opened {
    /// What reads it.
    pub(super) fn reader(self) -> Box<dyn Read> {
        match self {
            Self::File(file) => Box::new(file),
            Self::Bytes(bytes) => Box::new(Cursor::new(bytes)),
        }
    }
}
