//! What may become of a disk at a cut, without drawing: each simple way.

use super::super::disk::{Fate, Fates};
use super::super::record::Record;
use super::super::tree::Change;

/// The ways in which the power may go: nothing that was not synced is there, or all of it; each
/// such change is the only one that is missing, and the only one that is there; and each write is
/// there in part, with and without all others, or reads as zeros. What had happened before `first`
/// is one change: the sequences before have looked at its parts.
pub(super) fn all(record: &Record, unsynced: &[usize], first: usize) -> Vec<Fates> {
    let (older, own) = unsynced.split_at(unsynced.partition_point(|&event| event < first));
    let mut ways = vec![Fates::all(Fate::Lost), Fates::all(Fate::Applied)];
    let changes = own.chunk_by(|&one, &next| is_one_change(record, one, next));
    for part in changes.chain((!older.is_empty()).then_some(older)) {
        ways.push(Fates::all(Fate::Applied).but(part, Fate::Lost));
        ways.push(Fates::all(Fate::Lost).but(part, Fate::Applied));
        let is_write = |&event: &usize| matches!(record.events[event].change, Change::Write { .. });
        if part[0] >= first && part.iter().all(is_write) {
            let torn = Fate::Torn(part[0] as u64);
            ways.push(Fates::all(Fate::Applied).but(part, Fate::Zeroed));
            ways.push(Fates::all(Fate::Applied).but(part, torn));
            ways.push(Fates::all(Fate::Lost).but(part, torn));
        }
    }
    ways
}

/// Whether an event goes on where another ended: SQLite writes a frame of its log in two calls.
fn is_one_change(record: &Record, one: usize, next: usize) -> bool {
    match [one, next].map(|event| &record.events[event].change) {
        [Change::Write { file, offset, bytes }, Change::Write { file: same, offset: end, .. }] => {
            file == same && offset + bytes.len() == *end && bytes.len() < SECTOR
        }
        _ => false,
    }
}

/// What a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;
