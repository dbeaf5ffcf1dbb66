//! `registry status`.

use std::path::Path;

use anyhow::bail;
use storage::ByteCount;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::verify::counted;
use super::{print, print_json};
use crate::admin::{self, Command, Reply, Status};

pub(super) fn run(data_dir: &Path, json: bool) -> anyhow::Result<()> {
    let Reply::Status(status) = admin::run(data_dir, Command::Status)? else {
        bail!("the running server's answer makes no sense")
    };
    if json { print_json(&status) } else { print(&table(&status)) }
}

fn table(status: &Status) -> String {
    let running = match (&status.address, status.uptime_seconds) {
        (Some(address), Some(seconds)) => format!("{address}, for {}", duration(seconds)),
        _ => "not running".to_owned(),
    };
    let expires = status.certificate_expires.and_then(moment);
    let rows = [
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
        ("collection", last_collection(status)),
        ("verified", verified(status)),
        ("open uploads", status.open_uploads.to_string()),
        ("certificate", expires.map_or_else(|| "not ours".into(), |at| format!("expires {at}"))),
    ];
    rows.iter().map(|(name, value)| format!("{name:<14}{value}\n")).collect()
}

fn last_collection(status: &Status) -> String {
    let Some(last) = &status.last_collection else { return "not yet".to_owned() };
    let at = moment(last.ended_at).unwrap_or_default();
    format!("{at}, {} gone", bytes(last.did.bytes()))
}

fn verified(status: &Status) -> String {
    let at = status.last_verified.and_then(moment).unwrap_or_else(|| "not yet".to_owned());
    match (status.lost_blobs, status.lost_manifests) {
        (0, 0) => at,
        (blobs, manifests) => format!(
            "{at}; LOST: {} and {}, `registry verify` says what to push again",
            counted(blobs, "blob"),
            counted(manifests, "manifest")
        ),
    }
}

fn moment(seconds: i64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp(seconds).ok()?.format(&Rfc3339).ok()
}

/// A time for people.
pub(super) fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// A size for people.
pub(super) fn bytes(count: u64) -> String {
    ByteCount(count).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_for_people() {
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(3700), "1 h 1 min");
        assert_eq!(duration(90000), "1 d 1 h");
    }
}
