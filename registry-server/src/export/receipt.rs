//! Receipts: what this registry has, for another that is to send it the rest.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, bail};
use archive::bundle::{MAX_RECEIPT_BYTES, Receipt, prefix_of};
use durable::{At, Links, ReadError, open_regular, read_within, remove, sync_parent, unfinished};
use oci::Algorithm;
use serde::Serialize;

use super::source::Source;
use crate::backup::with_owner_thread;
use crate::bundle_notes::WholeBundles;
use crate::command::data::ListBlobs;
use crate::control::is_network_fs_allowed;
use crate::text::format::now;

/// A receipt, and what it says.
#[derive(Debug, Serialize)]
pub(crate) struct ReceiptReport {
    /// The registry that has it.
    pub(crate) registry: String,
    /// Bundles that were taken whole.
    pub(crate) bundles: u64,
    /// Other blobs.
    pub(crate) blobs: u64,
    /// Its text.
    #[serde(skip)]
    pub(crate) text: String,
}

/// Writes down which blobs the registry in `data` has.
///
/// # Errors
/// Trouble with the registry.
pub(crate) fn make_receipt(data: &Path) -> anyhow::Result<ReceiptReport> {
    // Here, because the owner may not be able to read the settings.
    let allow_network_fs = is_network_fs_allowed(data);
    with_owner_thread(
        Some(data),
        || Source::begin(data, allow_network_fs),
        |owner| {
            let receipt = owner.ask(|source| read(source))??;
            Ok(ReceiptReport {
                registry: receipt.registry().to_string(),
                bundles: receipt.bundles().len() as u64,
                blobs: receipt.blobs() as u64,
                text: receipt.to_text(),
            })
        },
    )
}

/// Writes a receipt to a file, whole or not at all, as whoever asks: no mode is set that the file
/// system of a stick could not keep. An older receipt is replaced, and nothing else.
///
/// # Errors
/// Something else in its place, and trouble with the disk.
pub(crate) fn write_receipt(path: &Path, report: &ReceiptReport) -> anyhow::Result<()> {
    if !may_be_replaced(path)? {
        bail!("{} is there and no receipt: choose another name", path.display());
    }
    let part = unfinished(path);
    remove(&part)?;
    let created = OpenOptions::new().write(true).create_new(true).open(&part);
    let mut file = created.at("create", &part)?;
    file.write_all(report.text.as_bytes()).at("write", &part)?;
    file.sync_all().at("sync", &part)?;
    fs::rename(&part, path).at("rename", &part)?;
    Ok(sync_parent(path)?)
}

/// Whether there is nothing, nothing yet, or a receipt. A link could lead to anything.
fn may_be_replaced(path: &Path) -> anyhow::Result<bool> {
    let mut file = match open_regular(path, Links::Refuse) {
        Ok(None) => return Ok(true),
        Ok(Some(file)) => file.take(BEGINNING_BYTES),
        Err(ReadError::Io(error)) => return Err(error.into()),
        Err(_) => return Ok(false),
    };
    let mut beginning = Vec::new();
    file.read_to_end(&mut beginning).at("read", path)?;
    Ok(beginning.is_empty() || Receipt::is_begun_by(&beginning))
}

/// The bytes of a receipt.
///
/// # Errors
/// No such file, one that is larger than any receipt, and trouble with the disk.
pub(crate) fn read_receipt(path: &Path) -> anyhow::Result<Vec<u8>> {
    let found = read_within(path, MAX_RECEIPT_BYTES as u64, Links::Follow)?;
    found.with_context(|| format!("there is no receipt {}", path.display()))
}

fn read(source: &Source) -> anyhow::Result<Receipt> {
    let (registry, made) = (source.identity()?, now());
    let whole = WholeBundles::find(source.session())?;
    let mut prefixes = Vec::new();
    for algorithm in Algorithm::ALL {
        for first_byte in 0..=u8::MAX {
            let is_sha512 = algorithm == Algorithm::Sha512;
            let blobs = source.session().ask(ListBlobs { is_sha512, first_byte })?;
            let others = blobs.iter().filter(|digest| !whole.held(digest));
            prefixes.extend(others.map(prefix_of));
        }
    }
    Ok(Receipt::new(registry, made, whole.bundles, prefixes))
}

/// What is read of a file to tell whether it is a receipt, in bytes.
const BEGINNING_BYTES: u64 = 64;
