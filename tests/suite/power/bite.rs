//! Whether the harness would notice: every kind of sync in the record is dropped in turn, and a
//! state must be found in which something is lost then.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::disk::{Disk, Fate, Fates};
use super::draw;
use super::judge::judge;
use super::recording::{Category, Recording};
use super::tree::Change;

/// Kinds of syncs that may be dropped without a loss, and why. Those that cover nothing that was
/// not durable before are not among the kinds.
const REDUNDANT: [(&str, &str); 21] = [
    ("first start, /registry.db-wal: a log's header", LOG_HEADER),
    ("serving, /registry.db-wal: a log's header", LOG_HEADER),
    ("restart, /registry.db-wal: a log's header", LOG_HEADER),
    ("migration, /registry.db-wal: a log's header", LOG_HEADER),
    ("first start, /tls: made ca.crt.new, renamed to ca.crt", NEXT_CERTIFICATE),
    ("first start, /tls: made issuing.crt.new, renamed to issuing.crt", NEXT_CERTIFICATE),
    ("first start, /tls: made issuing.key.new, renamed to issuing.key", NEXT_CERTIFICATE),
    ("first start, /tls: made server.key.new, renamed to server.key", NEXT_CERTIFICATE),
    ("first start, : made blobs, made damaged, made lock, made uploads", BEFORE_FORMAT),
    (
        "first start, : made registry.db-shm, made registry.db-wal, removed registry.db-journal",
        BEFORE_FORMAT,
    ),
    ("first start, : made tls", BEFORE_FORMAT),
    (
        "restart, : removed registry.db-shm, removed registry.db-wal",
        "SQLite removes its log when everything in it is in the database and synced: read again, \
         it changes nothing",
    ),
    ("restart, /promises.new: bytes", PROMISES),
    ("restart, : made promises.new, renamed to promises", PROMISES),
    ("restart, : made promises.new, removed promises, renamed to promises", PROMISES),
    (
        "restart, : removed init-password, removed promises",
        "a command that opens the store by itself leaves promises after it, whose sync of the same \
         directory comes before the command's end",
    ),
    ("migration, /promises.new: bytes", PROMISES),
    ("migration, : made promises.new, renamed to promises", PROMISES),
    ("migration, : made damaged, made lock", "each start makes what is missing of these"),
    ("migration, : made lock", "each start makes it where it is missing"),
    ("migration, : made registry.db-shm", "SQLite makes the index of its log anew"),
];

const LOG_HEADER: &str = "the sync of the commit that follows covers it; until then a header \
    without its frames, or frames without their header, are an empty log, and the database was \
    synced before its log was begun anew";
const NEXT_CERTIFICATE: &str = "the sync of the next file covers it; until then nobody has seen \
    what was made, and the next start makes again what does not fit (`certs::ensure`)";
const PROMISES: &str = "the database notes the digest of the file, so a torn one counts as none, \
    and without one the next process waits as after a crash; the old one goes after its note";
const BEFORE_FORMAT: &str = "a later sync of the same directory covers it before FORMAT gets its \
    name; until then the next start makes everything again";

/// The syncs of a record by their kinds: in which part of a server's life, of what, and what they
/// make durable.
pub(super) fn kinds(recording: &Recording) -> BTreeMap<String, Vec<usize>> {
    let mut kinds: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let mut disk = Disk::new(&recording.record, &[]);
    for (event, what) in recording.record.events.iter().enumerate() {
        let Change::Sync { path, .. } = &what.change else { continue };
        disk.advance_to(event);
        let covered = disk.covered_by(event);
        if covered.is_empty() {
            continue;
        }
        let mut parts: Vec<_> = covered.iter().map(|&part| describe(recording, part)).collect();
        parts.sort_unstable();
        parts.dedup();
        if parts.len() > 1 {
            // Bytes at the end bring a new length with them.
            parts.retain(|part| part != "length");
        }
        if parts.len() > 1 {
            // Collection waits for no sync: what it removed is made durable by whoever comes next.
            parts.retain(|part| part != "removed HEX");
        }
        let path = general(path.strip_prefix(recording.data).unwrap_or(path));
        let kind = format!("{}, {path}: {}", part_of_life(recording, event), parts.join(", "));
        kinds.entry(kind).or_default().push(event);
    }
    kinds
}

/// Why a kind needs no loss to be found; none if it does.
pub(super) fn excuse(kind: &str) -> Option<&'static str> {
    REDUNDANT.iter().find(|(name, _)| *name == kind).map(|(_, why)| *why)
}

/// All kinds that need no loss to be found.
pub(super) fn excused() -> impl Iterator<Item = &'static str> {
    REDUNDANT.iter().map(|(name, _)| *name)
}

/// Looks for a state in which something is lost because these syncs did not happen; tells the
/// first loss. First right after acknowledgements, which is where most losses show; then after
/// each of the next events, since some syncs are there for the order of things.
pub(super) fn loss_without(recording: &Recording, syncs: &[usize]) -> Option<String> {
    let acknowledgements = recording.acts.acknowledgements();
    let is_told = |events: usize| {
        let (from, to) = (recording.time_of(events - 1), recording.time_of(events));
        let told = acknowledgements.partition_point(|&time| time < from);
        acknowledgements.get(told).is_some_and(|&time| time <= to)
    };
    let first = syncs[0];
    let is_near = |events: usize| {
        let is_step = !matches!(recording.record.events[events - 1].change, Change::Write { .. });
        events - first <= NEAR_EVENTS && (is_step || events - first <= 6)
    };
    search(recording, syncs, is_told).or_else(|| search(recording, syncs, is_near))
}

/// Tries cuts after the syncs that were dropped, until others made durable what they covered.
fn search(
    recording: &Recording,
    syncs: &[usize],
    is_wanted: impl Fn(usize) -> bool,
) -> Option<String> {
    let mut disk = Disk::new(&recording.record, syncs);
    let (mut covered, mut cuts) = (Vec::new(), 0);
    for events in syncs[0]..=recording.record.events.len() {
        disk.advance_to(events);
        let unsynced = disk.unsynced();
        covered.retain(|event| unsynced.binary_search(event).is_ok());
        if syncs.contains(&events) {
            covered.extend(disk.covered_by(events));
        }
        if events > syncs[0] && covered.is_empty() || cuts == MOST_CUTS {
            return None;
        }
        if events == syncs[0] || !is_wanted(events) {
            continue;
        }
        cuts += 1;
        for fates in attempts(&covered, &unsynced, events) {
            if let Err(loss) = judge(recording, &disk, &fates, events) {
                return Some(loss);
            }
        }
    }
    None
}

/// The states that are tried at one cut.
fn attempts(covered: &[usize], unsynced: &[usize], seed: usize) -> Vec<Fates> {
    let mut random = Rng::with_seed(seed as u64);
    let mut torn = Fates::all(Fate::Lost);
    torn.own.extend(unsynced.iter().map(|&event| (event, draw::any(&mut random))));
    let mut attempts = vec![
        Fates::all(Fate::Lost),
        Fates::all(Fate::Applied).but(covered, Fate::Lost),
        Fates::all(Fate::Zeroed).but(covered, Fate::Lost),
        torn.but(covered, Fate::Lost),
    ];
    if (2..=3).contains(&covered.len()) {
        let alone = covered.chunks(1);
        attempts.extend(alone.map(|one| Fates::all(Fate::Zeroed).but(one, Fate::Lost)));
    }
    attempts
}

fn part_of_life(recording: &Recording, event: usize) -> &'static str {
    let span = recording.spans.iter().rev().find(|(_, first, _)| *first <= event);
    match span.map(|(category, ..)| category) {
        None | Some(Category::Initialisation) => "first start",
        Some(Category::Restart) => "restart",
        Some(Category::Migration) => "migration",
        Some(_) => "serving",
    }
}

/// What an event did, in words that are the same for all of its like.
fn describe(recording: &Recording, event: usize) -> String {
    match &recording.record.events[event].change {
        Change::Write { offset: 0, bytes, .. } if bytes.len() == LOG_HEADER_BYTES => {
            "a log's header".to_owned()
        }
        Change::Write { .. } => "bytes".to_owned(),
        Change::Resize { .. } => "length".to_owned(),
        Change::Make { name, .. } => format!("made {}", general(name)),
        Change::Remove { name, .. } => format!("removed {}", general(name)),
        Change::Rename { name, .. } => format!("renamed to {}", general(name)),
        Change::Rot { .. } | Change::Sync { .. } => unreachable!("it is durable at once"),
    }
}

/// A path without what differs from one upload or blob to the next.
fn general(path: &str) -> String {
    let part = |part: &str| {
        let is_hex = part.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        match part {
            "sha256" | "sha512" => "ALGORITHM".to_owned(),
            _ if part.starts_with("import-") => "IMPORT".to_owned(),
            _ if part.starts_with("sha256-") => "STAGED".to_owned(),
            _ if is_hex && part.len() == 2 => "XX".to_owned(),
            _ if is_hex && part.len() > 30 && part.contains('-') => "UPLOAD".to_owned(),
            _ if is_hex && part.len() > 30 => "HEX".to_owned(),
            _ => part.to_owned(),
        }
    };
    let parts: Vec<_> = path.split('/').map(part).collect();
    parts.join("/")
}

/// Cuts at so many events after the sync are tried when nothing was lost that was acknowledged.
const NEAR_EVENTS: usize = 40;
/// So many cuts are tried in each way before a sync counts as one that nobody misses.
const MOST_CUTS: usize = 16;
/// The length of the header of SQLite's log.
const LOG_HEADER_BYTES: usize = 32;
