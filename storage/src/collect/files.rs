//! Files among the blobs that have no row: what a crash between a file and its row leaves.

use std::fs;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::Path;

use durable::{At, IoError, remove};
use oci::{Algorithm, Digest};

use super::seen::damaged_name;
use super::{Flow, Run};
use crate::db::key::STEP_ROWS;
use crate::error::StorageError;
use crate::layout::Layout;

impl Run<'_> {
    /// Removes the files that have no row and have been known for the grace time.
    pub(super) fn stray_files(&mut self) -> Flow {
        for (algorithm, prefix) in Layout::shards() {
            let shard = self.store.layout.shard(algorithm, prefix);
            let (digests, foreign) = named_files(&shard, algorithm)?;
            self.done.foreign_files += foreign;
            for step in digests.chunks(STEP_ROWS) {
                self.stray_step(step)?;
                if self.step()?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Removes what was put aside because it is damaged, after the time in which anything else
    /// that was removed could be had back.
    pub(super) fn damaged_files(&mut self) -> Result<(), StorageError> {
        let directory = self.store.layout.damaged();
        let (mut files, mut names) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&directory).at("list", &directory)? {
            let path = entry.at("list", &directory)?.path();
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            let name = path.file_name().and_then(|name| name.to_str()).map(damaged_name);
            // No other name is ours.
            if let (true, Some(name)) = (metadata.is_file(), name) {
                files.push((path, metadata.len()));
                names.push(name);
            }
        }
        let may_go = self.store.known_for(&names, self.keep.deleted, self.is_dry_run)?;
        for ((path, size), _) in files.into_iter().zip(may_go).filter(|(_, may_go)| *may_go) {
            // Another run may have been here.
            if !self.is_dry_run && !remove(&path)? {
                continue;
            }
            self.done.damaged_files += 1;
            self.done.damaged_bytes += size;
        }
        Ok(())
    }

    fn stray_step(&mut self, digests: &[Digest]) -> Result<(), StorageError> {
        let without_rows =
            |digests: &[Digest]| self.store.database.read(|reader| reader.without_rows(digests));
        let suspects = without_rows(digests)?;
        if suspects.is_empty() {
            return Ok(());
        }
        let Some(_unlinking) = self.store.begin_unlinking() else { return Ok(()) };
        // A commit puts the file in place before it writes the row, so only with the claim is it
        // certain that no row is on its way.
        let claim = self.store.claims.claim_free(suspects);
        let strays = without_rows(claim.digests())?;
        let names: Vec<String> = strays.iter().map(Digest::to_string).collect();
        let may_go = self.store.known_for(&names, self.keep.grace, self.is_dry_run)?;
        for (digest, _) in strays.iter().zip(may_go).filter(|(_, may_go)| *may_go) {
            let path = self.store.layout.blob(digest);
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            if !self.is_dry_run {
                fs::remove_file(&path).at("remove", &path)?;
            }
            self.done.stray_files += 1;
            self.done.stray_bytes += metadata.len();
        }
        Ok(())
    }
}

/// The files of a shard that are named as blobs are, and how much else is there.
pub(crate) fn named_files(
    shard: &Path,
    algorithm: Algorithm,
) -> Result<(Vec<Digest>, u64), StorageError> {
    let (mut digests, mut foreign) = (Vec::new(), 0);
    for entry in fs::read_dir(shard).at("list", shard)? {
        let entry = entry.at("list", shard)?;
        let is_file = match entry.file_type() {
            Ok(kind) => kind.is_file(),
            // It went meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(IoError::new("look at", &entry.path(), &error).into());
            }
        };
        let name = entry.file_name();
        let digest = format!("{algorithm}:{}", name.to_string_lossy()).parse::<Digest>();
        match digest {
            Ok(digest) if is_file && shard.ends_with(&digest.hex()[..2]) => digests.push(digest),
            _ => foreign += 1,
        }
    }
    Ok((digests, foreign))
}
