//! Reading everything that is stored again.

use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;

use oci::Digest;
use serde::{Deserialize, Serialize};
use storage::{Finding, Image, Missized, Store, Verification, Verified};

use crate::command::{Command, CommandError, Context, Progress};
use crate::upkeep::{log_findings, log_verified};

/// Reads everything that is stored again.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// Whether it only tells.
    pub dry_run: bool,
    /// How many MiB a second it reads at most.
    pub mib_per_second: Option<NonZeroU32>,
}

/// What verification read and found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Manifests that were read.
    pub manifests: u64,
    /// Blobs that were read.
    pub blobs: u64,
    /// The bytes of blobs that were read.
    pub blob_bytes: u64,
    /// What was wrong, the first of it.
    pub found: Vec<FoundEntry>,
    /// How much more was wrong.
    pub more_found: u64,
    /// Manifests that say other sizes than there are, a sentence each; the first of them. Nothing
    /// is lost by that, but some clients refuse them.
    #[serde(default)]
    pub missized: Vec<String>,
    /// How many more there are.
    #[serde(default)]
    pub more_missized: u64,
    /// Files among the blobs that have no row. Collection takes them.
    pub stray_files: u64,
    /// Their bytes.
    pub stray_bytes: u64,
    /// Blobs that are lost now, whenever that was found.
    pub lost_blobs: u64,
    /// Manifests that are lost now.
    pub lost_manifests: u64,
    /// The digests of these blobs; the first of them.
    pub lost_blob_digests: Vec<Digest>,
    /// The digests of these manifests; the first of them.
    pub lost_manifest_digests: Vec<Digest>,
    /// Images that cannot be pulled because of what is lost, or would be found to be after a dry
    /// run; the first of them.
    pub hurt: Vec<String>,
    /// How many more there are.
    pub more_hurt: u64,
}

/// One thing that was wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundEntry {
    /// What it is, in a sentence.
    pub what: String,
    /// Whether it is gone until somebody brings it back. Else it is mended.
    pub is_loss: bool,
    /// Where the file was put.
    pub put_aside: Option<PathBuf>,
}

impl VerifyReport {
    /// Whether something is gone that only somebody outside can bring back.
    pub fn is_bad(&self) -> bool {
        let is_lost = self.lost_blobs + self.lost_manifests + self.more_found > 0;
        is_lost || self.found.iter().any(|found| found.is_loss)
    }
}

impl Command for Verify {
    type Reply = VerifyReport;

    const NAME: &'static str = "verify";
    const IS_LONG: bool = true;

    fn words(&self) -> &'static str {
        "verify"
    }

    fn run(self, context: &mut Context<'_>) -> Result<VerifyReport, CommandError> {
        let (store, is_dry_run) = (context.store, self.dry_run);
        let counts = store.counts()?;
        let bytes_per_second = self.mib_per_second.map(bytes_of);
        let how = Verification { bytes_per_second, is_dry_run };
        // What a dry run finds stays as it is, and the log says what became of the store. A command
        // without a server keeps no log.
        let mut logged = 0;
        let mut log = |verified: &Verified| {
            if !is_dry_run {
                log_findings(verified, &mut logged);
            }
        };
        let verified = store.verify(&how, &mut |verified| {
            log(verified);
            let is_at_blobs = verified.blob_bytes > 0;
            let (task, done, total) = match is_at_blobs {
                true => ("reading blobs", verified.blob_bytes, counts.blob_bytes),
                false => ("reading manifests", verified.manifests, counts.manifests),
            };
            // What came meanwhile is read too.
            let total = Some(total.max(done));
            (context.on_progress)(&Progress {
                task: task.to_owned(),
                done,
                total,
                is_bytes: is_at_blobs,
            })
        })?;
        log(&verified);
        if !verified.is_done {
            return Err(CommandError::Stopped);
        }
        report(store, &verified, is_dry_run)
    }
}

/// Bytes of so many MiB.
pub(crate) fn bytes_of(mib: NonZeroU32) -> NonZeroU64 {
    NonZeroU64::from(mib).saturating_mul(NonZeroU64::MIN.saturating_add(MIB - 1))
}

fn report(
    store: &Store,
    verified: &Verified,
    is_dry_run: bool,
) -> Result<VerifyReport, CommandError> {
    let lost = store.lost()?;
    let hurt = store.broken_images(&verified.findings, HURT_IMAGES)?;
    if !is_dry_run {
        log_verified(verified, lost, &hurt);
    }
    let named = store.lost_digests(LOST_DIGESTS)?;
    Ok(VerifyReport {
        manifests: verified.manifests,
        blobs: verified.blobs,
        blob_bytes: verified.blob_bytes,
        found: verified.findings.iter().map(|finding| entry(finding, is_dry_run)).collect(),
        more_found: verified.more_findings,
        missized: verified.missized.iter().map(Missized::to_string).collect(),
        more_missized: verified.more_missized,
        stray_files: verified.stray_files,
        stray_bytes: verified.stray_bytes,
        lost_blobs: lost.blobs,
        lost_manifests: lost.manifests,
        lost_blob_digests: named.blobs,
        lost_manifest_digests: named.manifests,
        hurt: hurt.images.iter().map(Image::to_string).collect(),
        more_hurt: hurt.more,
    })
}

fn entry(finding: &Finding, is_dry_run: bool) -> FoundEntry {
    let put_aside = match finding {
        Finding::Blob { put_aside, .. } => put_aside.clone(),
        _ => None,
    };
    let what = match is_dry_run {
        true => finding.in_dry_run(),
        false => finding.to_string(),
    };
    FoundEntry { what, is_loss: finding.is_loss(), put_aside }
}

/// Lost blobs that a report names, and as many manifests.
const LOST_DIGESTS: usize = 100;
/// Images that a report names.
pub(crate) const HURT_IMAGES: usize = 100;
const MIB: u64 = 1024 * 1024;
