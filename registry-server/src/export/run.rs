//! An export from its beginning to its end.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::bail;
use archive::bundle::{Base, BundleDocument, BundleNumber, Form, Receipt, checksum_of};
use certs::PublicKey;
use oci::{Digest, ImagePattern};
use serde::Serialize;
use storage::OpenError;

use super::cut::Cut;
use super::destination::Destination;
use super::order::{ExportOrder, To};
use super::plan::Plan;
use super::selection::select;
use super::since::Since;
use super::source::Source;
use super::walk::walk;
use super::write::{NEXT, Writing, hurt};
use crate::backup::{Event, Listener, OwnerThread, with_owner_thread};
use crate::bundle_notes::{note, volume_of};
use crate::command::bundle::WholeVolume;
use crate::control::is_network_fs_allowed;
use crate::text::format::now;

/// What an export did.
#[derive(Debug, Serialize)]
pub(crate) struct ExportReport {
    /// The number of the bundle.
    pub(crate) bundle: BundleNumber,
    /// The sum over the blobs of all its volumes.
    pub(crate) checksum: Digest,
    /// The registry that wrote it.
    pub(crate) registry: String,
    /// The key that its signature is checked with.
    pub(crate) key: String,
    /// The names of its volumes in the directory, if they have names of their own.
    pub(crate) volumes: Vec<String>,
    /// Images that are named.
    pub(crate) images: u64,
    /// Manifests, each once.
    pub(crate) manifests: u64,
    /// Other blobs, each once.
    pub(crate) blobs: u64,
    /// The bytes of both.
    pub(crate) bytes: u64,
    /// The receipt by which blobs were left out.
    pub(crate) receipt: Option<Base>,
    /// Blobs that were left out, since the receipt names them.
    pub(crate) left_out_blobs: u64,
    /// Their bytes.
    pub(crate) left_out_bytes: u64,
    /// Blobs that went along although the receipt may name them: others begin alike.
    pub(crate) ambiguous_blobs: u64,
    /// Bundles that the receipt names, and of which this registry does not know what they held.
    pub(crate) unknown_bundles: u64,
    /// Children of indexes that are not there, which is allowed.
    pub(crate) absent_children: u64,
    /// What else is to be said.
    pub(crate) remarks: Vec<String>,
    /// How long it took.
    pub(crate) seconds: u64,
}

/// Writes the images.
///
/// # Errors
/// What keeps the bundle from being whole.
pub(crate) fn make_export(order: ExportOrder, listener: &Listener) -> anyhow::Result<ExportReport> {
    let begun = Instant::now();
    let ExportOrder { data, patterns, to, volume_bytes, since } = order;
    let data = data.canonicalize().map_err(|_| OpenError::NoStore(data))?;
    let since = since.as_deref().map(Receipt::parse).transpose()?;
    let form = match &to {
        To::Directory(root) | To::Archives(root) => {
            // Before the work of finding all images.
            Destination::check(root, &data)?;
            if matches!(to, To::Directory(_)) { Form::Directory } else { Form::Tar }
        }
        To::Pipe(_) => Form::Tar,
    };
    let begin = {
        // Here, because the owner may not be able to read the settings.
        let (data, allow_network_fs) = (data.clone(), is_network_fs_allowed(&data));
        move || Source::begin(&data, allow_network_fs)
    };
    let mut report = with_owner_thread(Some(&data), begin, |owner| {
        listener(Event::Begins { task: "looking at images", bytes: None });
        let plan = owner.ask(move |source| look(source, &patterns))??;
        refuse_missing(&plan)?;
        let key = owner.ask(Source::public_key)??;
        let registry = owner.ask(|source| source.identity())??;
        let blobs = plan.blobs();
        let look_up = move |source: &mut Source| {
            since.map(|receipt| Since::of(receipt, &blobs, source.session())).transpose()
        };
        let since = owner.ask(look_up)??;
        let cut = Cut::of(&plan, since.as_ref(), volume_bytes, form)?;
        let about = BundleDocument {
            bundle: BundleNumber::random()?,
            registry,
            key: key.to_string().parse()?,
            made: now(),
            volume: 1,
            volumes: u32::try_from(cut.volumes.len())?,
            checksum: checksum_of(&cut.sizes()),
            bases: cut.base.iter().cloned().collect(),
            files: BTreeMap::new(),
            manifests: BTreeMap::new(),
            blobs: BTreeMap::new(),
        };
        let report = report(&cut, &plan, &about, key);
        let volumes = Writing::new(owner, &plan, &cut, about.clone(), listener).write(to, &data)?;
        let remarks = remember(owner, &cut, &about).err().map(|error| {
            format!(
                "{error:#}; so this registry does not remember what the bundle holds, and sends it \
                 again when a receipt names it"
            )
        });
        Ok(ExportReport { volumes, remarks: remarks.into_iter().collect(), ..report })
    })?;
    report.seconds = begun.elapsed().as_secs();
    Ok(report)
}

/// Notes what the bundle holds, now that it is whole: a receipt that names it will stand for that.
fn remember(owner: &OwnerThread<Source>, cut: &Cut, about: &BundleDocument) -> anyhow::Result<()> {
    let manifests = cut.manifests();
    for (volume, (blobs, _)) in (1..).zip(&cut.volumes) {
        let volume = WholeVolume { volume, ..volume_of(about) };
        // Manifests are never left out.
        let digests = blobs.iter().map(|blob| blob.digest);
        let digests: Vec<Digest> = digests.filter(|digest| !manifests.contains(digest)).collect();
        let is_noted =
            owner.ask(move |source| note(source.session(), volume, &digests, None))??;
        if !is_noted {
            bail!("it holds more than there is room for in what is remembered");
        }
    }
    Ok(())
}

/// Finds all that is to be exported.
fn look(source: &mut Source, patterns: &[ImagePattern]) -> anyhow::Result<Plan> {
    let mut plan = Plan::default();
    for chosen in select(source.session(), patterns)? {
        walk(source.session(), &chosen, &mut plan)?;
    }
    Ok(plan)
}

fn refuse_missing(plan: &Plan) -> anyhow::Result<()> {
    let missing = plan.missing();
    let Some(first) = missing.first() else { return Ok(()) };
    let others = match missing.len() {
        1 => String::new(),
        2 => ", and so is 1 other".to_owned(),
        more => format!(", and so are {} others", more - 1),
    };
    bail!("nothing was written: {}{others}; {NEXT}", hurt(plan, first))
}

/// What is told of it.
fn report(cut: &Cut, plan: &Plan, about: &BundleDocument, key: PublicKey) -> ExportReport {
    let manifests = cut.items.iter().filter(|item| item.is_manifest).count() as u64;
    ExportReport {
        bundle: about.bundle,
        checksum: about.checksum,
        registry: about.registry.to_string(),
        key: key.to_string(),
        volumes: Vec::new(),
        images: cut.volumes.iter().map(|(_, images)| images.len() as u64).sum(),
        manifests,
        blobs: cut.items.len() as u64 - manifests,
        bytes: cut.bytes(),
        receipt: cut.base.clone(),
        left_out_blobs: cut.left_out.len() as u64,
        left_out_bytes: cut.left_out.iter().fold(0, |sum, it| sum.saturating_add(it.size)),
        ambiguous_blobs: cut.ambiguous,
        unknown_bundles: cut.unknown_bundles,
        absent_children: plan.absent_children,
        remarks: Vec::new(),
        seconds: 0,
    }
}
