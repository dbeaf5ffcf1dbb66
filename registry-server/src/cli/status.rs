//! `registry status`.

use std::path::Path;

use storage::StorageError;

use super::gc::{manifests, reasons};
use crate::command::data::{LookAtState, State};
use crate::control;
use crate::text::format::{bytes, counted, duration, time};
use crate::text::{Lines, print, print_json};

pub(super) fn run(data_dir: &Path, json: bool) -> anyhow::Result<()> {
    let status = control::run(data_dir, LookAtState {})?;
    if json { print_json(&status) } else { Ok(print(&table(&status))?) }
}

fn table(status: &State) -> Lines {
    let running = match (&status.address, status.uptime_seconds) {
        (Some(address), Some(seconds)) => format!("{address}, for {}", duration(seconds)),
        _ => "not running".to_owned(),
    };
    let expires = status.certificate_expires.map(time);
    let mut rows = vec![
        ("version", status.version.clone()),
        ("server", running),
        (
            "disk",
            format!("{} free of {}", bytes(status.disk_free_bytes), bytes(status.disk_total_bytes)),
        ),
        ("repositories", status.repositories.to_string()),
        ("tags", status.tags.to_string()),
        ("manifests", status.manifests.to_string()),
        ("blobs", format!("{}, {}", status.blobs, bytes(status.blob_bytes))),
        ("untagged", untagged(status)),
        ("collection", last_collection(status)),
        ("verified", verified(status)),
        ("open uploads", status.open_uploads.to_string()),
        ("certificate", expires.map_or_else(|| "not ours".into(), |at| format!("expires {at}"))),
    ];
    if let Some(key) = &status.bundle_key {
        rows.push(("signs with", key.clone()));
    }
    if status.read_only {
        rows.insert(3, ("writes", format!("refused: {}", StorageError::ReadOnly)));
    }
    let mut lines = Lines::default();
    for (name, value) in rows {
        lines.line(format_args!("{name:<14}{value}"));
        if name == "untagged" {
            untagged_reasons(status)
                .iter()
                .for_each(|why| lines.line(format_args!("{:14}{why}", "")));
        }
    }
    lines
}

fn last_collection(status: &State) -> String {
    let Some(last) = &status.last_collection else { return "not yet".to_owned() };
    format!("{}, {} gone", time(last.ended_at), bytes(last.did.bytes()))
}

/// What the last collection left to which no tag leads, and why.
fn untagged(status: &State) -> String {
    let kept = status.last_collection.as_ref().and_then(|last| last.did.untagged_kept);
    let Some(kept) = kept else { return "not counted yet: `registry gc` does".to_owned() };
    if kept.all().manifests == 0 {
        return "0".to_owned();
    }
    format!("{}, when collection last ran", manifests(kept.all()))
}

/// Why these stay, a line each.
fn untagged_reasons(status: &State) -> Vec<String> {
    let kept = status.last_collection.as_ref().and_then(|last| last.did.untagged_kept);
    let reason = |(share, why)| format!("{} {why}", manifests(share));
    kept.iter().flat_map(reasons).map(reason).collect()
}

fn verified(status: &State) -> String {
    let at = status.last_verified.map_or_else(|| "not yet".to_owned(), time);
    match (status.lost_blobs, status.lost_manifests) {
        (0, 0) => at,
        (blobs, manifests) => format!(
            "{at}; LOST: {} and {}, `registry verify` says what to push again",
            counted(blobs, "blob"),
            counted(manifests, "manifest")
        ),
    }
}
