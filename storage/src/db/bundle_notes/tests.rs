//! Notes of bundles in a database in memory.

use std::path::Path;

use oci::Algorithm;
use rusqlite::Connection;

use super::*;
use crate::db::schema;
use crate::layout::Layout;

fn database() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    connection.pragma_update(None, "foreign_keys", true).unwrap();
    schema::migrate(&mut connection, &Layout::new(Path::new("/data")), &|| u64::MAX).unwrap();
    connection
}

fn on(connection: &Connection) -> Transaction<'_> {
    Transaction::new(connection, 5)
}

fn digest(number: u64) -> Digest {
    let algorithm = if number.is_multiple_of(3) { Algorithm::Sha512 } else { Algorithm::Sha256 };
    Digest::of(algorithm, &number.to_le_bytes())
}

fn volume(bundle: u64, volume: u32, volumes: u32) -> BundleVolume {
    let (registry, checksum) = ("0a".to_owned(), Digest::of(Algorithm::Sha256, b"sum"));
    BundleVolume { bundle: bundle.to_string(), checksum, registry, made: 9, volume, volumes }
}

fn taken() -> Option<ImportNumber> {
    ImportNumber::of_row(1)
}

/// Notes a volume with these digests.
#[track_caller]
fn note(connection: &Connection, volume: &BundleVolume, digests: &[Digest]) -> VolumeNote {
    let note = on(connection).begin_note(volume, taken()).unwrap().unwrap();
    for digests in digests.chunks(2) {
        assert_eq!(on(connection).add_to_note(note, digests), Ok(true));
    }
    assert_eq!(on(connection).end_note(note, digests.len() as u64), Ok(true));
    note
}

#[track_caller]
fn known(connection: &Connection) -> Vec<String> {
    let known = Reader::new(connection).known_bundles(true).unwrap();
    known.into_iter().map(|bundle| bundle.bundle).collect()
}

fn forget(connection: &Connection) {
    while on(connection).forget_of_oldest_note().unwrap() {}
}

#[test]
fn a_bundle_is_known_once_all_of_its_volumes_are_noted_whole() {
    let connection = database();
    let digests: Vec<Digest> = (0..5).map(digest).collect();
    let first = note(&connection, &volume(7, 1, 2), &digests);
    assert_eq!(known(&connection), [""; 0]);
    let second = on(&connection).begin_note(&volume(7, 2, 2), taken()).unwrap().unwrap();
    on(&connection).add_to_note(second, &digests[..1]).unwrap();
    assert_eq!(known(&connection), [""; 0]);
    assert_eq!(on(&connection).end_note(second, 2), Ok(false), "one is missing");
    assert_eq!(on(&connection).end_note(second, 1), Ok(true));
    note(&connection, &volume(8, 1, 1), &[]);
    assert_eq!(known(&connection), ["8", "7"]);
    let found = Reader::new(&connection).known_bundles(true).unwrap().pop().unwrap();
    assert_eq!((found.digests, found.volumes.as_slice()), (6, &[first, second][..]));
    let read = |note, part| Reader::new(&connection).noted_digests(note, part).unwrap();
    let parts: Vec<Digest> = (0..).map_while(|part| read(first, part)).flatten().collect();
    assert_eq!(parts, digests);
    assert_eq!(read(second, 1), None);
    // What was written here is another matter, and so is one of another sum.
    assert_eq!(Reader::new(&connection).known_bundles(false), Ok(Vec::new()));
    assert_eq!(on(&connection).begin_note(&volume(7, 1, 2), taken()), Ok(None));
    let other = BundleVolume { checksum: digest(9), ..volume(7, 1, 2) };
    assert!(on(&connection).begin_note(&other, taken()).unwrap().is_some());
    let own = on(&connection).begin_note(&volume(7, 1, 2), None).unwrap().unwrap();
    assert_eq!(on(&connection).end_note(own, 0), Ok(true));
    // A note that is whole takes no more, and ends once.
    assert_eq!(on(&connection).add_to_note(first, &digests), Ok(false));
    assert_eq!(on(&connection).end_note(first, 5), Ok(false));
}

#[test]
fn the_import_knows_which_bundle_it_took() {
    let connection = database();
    on(&connection).begin_import(&[], None).unwrap();
    note(&connection, &volume(7, 1, 1), &[]);
    let query = "SELECT bundle || ' ' || bundle_checksum FROM imports WHERE id = 1";
    let found: String = connection.query_row(query, [], |row| row.get(0)).unwrap();
    assert_eq!(found, format!("7 {}", volume(7, 1, 1).checksum));
}

#[test]
fn the_oldest_volumes_are_forgotten_and_no_more_of_them() {
    let connection = database();
    for number in 0..REMEMBERED_VOLUMES + 2 {
        note(&connection, &volume(number, 1, 1), &[digest(number)]);
        forget(&connection);
    }
    let left = known(&connection);
    assert_eq!(left.len() as u64, REMEMBERED_VOLUMES);
    assert_eq!(left.last().map(String::as_str), Some("2"));
    let rows = "SELECT count(*) FROM bundle_digests";
    assert_eq!(connection.query_row(rows, [], |row| row.get(0)), Ok(REMEMBERED_VOLUMES));
}

#[test]
fn no_more_digests_are_remembered_than_there_is_room_for() {
    let connection = database();
    let rows = |count: u64| {
        let of = volume(count, 1, 1);
        let note = on(&connection).begin_note(&of, taken()).unwrap().unwrap();
        let transaction = connection.unchecked_transaction().unwrap();
        for number in 0..count {
            on(&connection).add_to_note(note, &[digest(number)]).unwrap();
        }
        transaction.commit().unwrap();
        forget(&connection);
        on(&connection).end_note(note, count).unwrap()
    };
    assert!(rows(200) && rows(300) && rows(REMEMBERED_ROWS - 400));
    // A part of the oldest had to go, so all of it is nobody's.
    assert_eq!(known(&connection), [(REMEMBERED_ROWS - 400).to_string(), "300".to_owned()]);
    // What has more by itself does not count, and leaves room for the next.
    assert!(!rows(REMEMBERED_ROWS + 1));
    assert_eq!(known(&connection), [""; 0]);
    assert!(rows(10));
    assert_eq!(known(&connection), ["10"]);
}

#[test]
fn a_row_that_makes_no_sense_is_damage() {
    let connection = database();
    let note = note(&connection, &volume(7, 1, 1), &[digest(0)]);
    for bytes in ["x'20'", "x'0101'", "x'ff00'"] {
        let damage = format!("UPDATE bundle_digests SET digests = {bytes}");
        connection.execute_batch(&damage).unwrap();
        let found = Reader::new(&connection).noted_digests(note, 0);
        let is_damage = matches!(found, Err(StorageError::Failed(Trouble::DatabaseDamaged(_))));
        assert!(is_damage, "{found:?}");
    }
}
