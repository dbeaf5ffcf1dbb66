//! Collection and verification beside the load, as an administrator runs them, and what they must
//! leave at the end.

use std::collections::BTreeSet;

use oci::Digest;
use serde_json::Value;

use super::Load;
use super::files::Files;
use crate::support::binary::Instance;

/// Collects what nobody used for so many seconds, once. A server that dies meanwhile takes the
/// command with it, or leaves the work to it.
pub(crate) fn collect(instance: &Instance, seconds: u64) -> bool {
    let time = format!("{seconds}s");
    let flags = ["--grace", &time, "--undo-time", &time];
    instance.command(&["gc"], &flags).code() == Some(0)
}

/// Reads everything again, which must find nothing wrong. Whether it came to its end: a server that
/// dies meanwhile takes the command with it, or leaves the work to it.
#[track_caller]
pub(crate) fn verify(instance: &Instance) -> bool {
    let run = instance.command(&["verify"], &["--json"]);
    let Ok(report) = serde_json::from_slice::<Value>(&run.out) else { return false };
    let found = report["found"].as_array().expect("what it found");
    assert!(found.is_empty() && run.code() == Some(0), "{run}");
    true
}

impl Load {
    /// Collects all that is nobody's and checks that nothing else went, and that nothing of it is
    /// left: neither files nor rows.
    #[track_caller]
    pub(crate) fn settle(&mut self, instance: &Instance) {
        self.set_grace(Some(0));
        assert!(collect(instance, 0), "collection failed: {}", instance.errors());
        self.check(true);
        self.check_files(instance, &self.open_uploads());
        self.check_rows(instance);
        assert!(verify(instance), "verification failed: {}", instance.errors());

        self.end_uploads().expect("a server that answers");
        instance.command(&["gc"], &["--uploads-after", "0s"]).ok();
        self.check_files(instance, &BTreeSet::new());
        self.check(true);
    }

    /// Checks that the store has the blobs of all images and no other. Of uploads, those that are
    /// given are there, and beside them at most those of requests that broke, and notes of some
    /// that are finished.
    #[track_caller]
    fn check_files(&self, instance: &Instance, open: &BTreeSet<String>) {
        let files = Files::read(instance.data());
        let blobs = self.needed();
        let missing: Vec<&Digest> = blobs.difference(&files.blobs).collect();
        assert!(missing.is_empty(), "blobs without files: {missing:?}");
        let left: Vec<&Digest> = files.blobs.difference(&blobs).collect();
        assert!(left.is_empty(), "{} files that are nobody's: {left:?}", left.len());

        let missing: Vec<&String> = open.difference(&files.uploads).collect();
        assert!(missing.is_empty(), "uploads without files: {missing:?}");
        let left = files.uploads.difference(open);
        // Of those that have become blobs a note is left, for whoever did not hear of it.
        let is_note = |name: &&String| {
            name.strip_suffix(".meta").is_some_and(|upload| !files.uploads.contains(upload))
        };
        let (notes, left): (Vec<&String>, Vec<&String>) = left.partition(is_note);
        let broken = if open.is_empty() { 0 } else { self.broken_uploads() };
        let most = if open.is_empty() { 0 } else { FINISHED_UPLOADS + broken };
        assert!(notes.len() <= most, "{} finished uploads are remembered", notes.len());
        assert!(left.len() <= 2 * broken, "more files than of {broken} broken uploads: {left:?}");
    }

    /// Checks that the store counts what is known to be there.
    #[track_caller]
    fn check_rows(&self, instance: &Instance) {
        let status = instance.command(&["status"], &["--json"]).ok();
        let status: Value = serde_json::from_str(&status).expect("JSON");
        let counts = ["repositories", "tags", "manifests", "blobs"];
        let counted = counts.map(|what| (what, status[what].as_u64().unwrap_or_default()));
        let known = self.counts().map(|count| count as u64);
        assert_eq!(counted.map(|(_, count)| count), known, "{counts:?}");
    }
}

/// Finished uploads of one user, as all clients here are, that the server remembers at the most.
const FINISHED_UPLOADS: usize = 256;
