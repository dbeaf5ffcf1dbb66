//! Databases of earlier numbers, as programs left them and as crashes do.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use rusqlite::hooks::Wal;

use super::*;
use crate::actor::Actor;
use crate::clock::wall_seconds;
use crate::db::copy;
use crate::error::{OpenError, Trouble};

/// Makes the tables of this number.
pub(in crate::db) fn make(connection: &Connection, number: u32) {
    for (part, of) in parts().filter(|_| number > 0) {
        connection.execute_batch(part.statements()).unwrap();
        if of == number {
            break;
        }
    }
    connection.pragma_update(None, "user_version", number).unwrap();
}

fn plenty() -> u64 {
    u64::MAX
}

fn upgrade(connection: &mut Connection) {
    migrate(connection, &Layout::new("/data".as_ref()), &plenty).unwrap();
}

/// A database in memory of this number, with these rows.
fn of(number: u32, rows: &str) -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection.pragma_update(None, "foreign_keys", true).unwrap();
    make(&connection, number);
    connection.execute_batch(rows).unwrap();
    connection
}

fn number(connection: &Connection, query: &str) -> i64 {
    connection.query_row(query, [], |row| row.get(0)).unwrap()
}

#[test]
fn migrating_twice_changes_nothing_and_a_later_database_is_refused() {
    let mut connection = Connection::open_in_memory().unwrap();
    let layout = Layout::new("/data".as_ref());
    upgrade(&mut connection);
    upgrade(&mut connection);
    // One that nobody knows, and one on the way to it.
    for found in [999, 1 << PARTS_BITS | 999, 99 << PARTS_BITS | 4] {
        connection.pragma_update(None, "user_version", found).unwrap();
        let refusal = StorageError::Failed(Trouble::NewerFormat {
            path: "/data".into(),
            found,
            known: known(),
        });
        assert_eq!(migrate(&mut connection, &layout, &plenty), Err(refusal.into()));
    }
}

#[test]
fn a_note_that_a_manifest_is_lost_goes_with_the_manifest_of_an_older_database_too() {
    let mut connection = of(2, "INSERT INTO manifests VALUES ('a', x'00')");
    upgrade(&mut connection);
    connection.execute_batch("INSERT INTO lost_manifests VALUES ('a', 1)").unwrap();
    assert!(connection.execute_batch("INSERT INTO lost_manifests VALUES ('b', 1)").is_err());
    connection.execute_batch("DELETE FROM manifests").unwrap();
    assert_eq!(number(&connection, "SELECT count(*) FROM lost_manifests"), 0);
}

#[test]
fn what_no_list_shows_is_kept_no_second_time_of_an_older_database() {
    let rows = "INSERT INTO repositories VALUES (1, 'r');
                INSERT INTO manifests VALUES ('a', x''), ('b', x''), ('c', x'');
                INSERT INTO repository_manifests VALUES (1, 'a', 't', 1, NULL, 'x', '{}', 5);
                INSERT INTO repository_manifests VALUES (1, 'b', 't', 1, 'a', 'x', '{}', 5);
                INSERT INTO repository_manifests VALUES (1, 'c', 't', 1, NULL, NULL, NULL, 5);";
    let mut connection = of(3, rows);
    upgrade(&mut connection);
    let query = "SELECT group_concat(digest) FROM repository_manifests
                 WHERE artifact_type = 'x' AND annotations = '{}'";
    let kept: String = connection.query_row(query, [], |row| row.get(0)).unwrap();
    assert_eq!(kept, "b");
    let query = "SELECT count(*) FROM repository_manifests
                 WHERE artifact_type IS NULL AND annotations IS NULL";
    assert_eq!(number(&connection, query), 2);
}

#[test]
fn what_is_restored_from_an_older_program_remembers_that_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::new(directory.path());
    let connection = Connection::open(layout.database()).unwrap();
    make(&connection, 3);
    drop(connection);
    copy::begin_anew(&layout, &[]).unwrap();
    let connection = Connection::open(layout.database()).unwrap();
    assert_eq!(number(&connection, "SELECT restored_at > 0 FROM identity"), 1);
}

/// Rows of schema 3 as of a registry that was last used an hour ago, and once for a while with a
/// clock that was ahead by 100 years.
fn ahead() -> String {
    let (then, ahead) = (wall_seconds() - 3600, wall_seconds() + 100 * 365 * 24 * 3600);
    let digest = |mark: char| format!("'sha256:{}'", mark.to_string().repeat(64));
    let [list, child, own, old] = ['a', 'b', 'c', 'd'].map(digest);
    let early = ahead - 5000;
    format!(
        "INSERT INTO repositories VALUES (1, 'r');
         INSERT INTO manifests VALUES ({list}, x''), ({child}, x''), ({own}, x''), ({old}, x'');
         INSERT INTO repository_manifests (repository_id, digest, media_type, size, pushed_at)
             VALUES (1, {list}, 't', 1, {ahead}), (1, {child}, 't', 1, {early}),
                    (1, {own}, 't', 1, {ahead}), (1, {old}, 't', 1, {then} - 90);
         INSERT INTO edges VALUES (1, {list}, 'child', {child});
         INSERT INTO deleted_manifests VALUES (1, {old}, 't', {then}), (1, {own}, 't', {ahead});
         INSERT INTO tag_history (repository_id, name, after, changed_at)
             VALUES (1, 't', {old}, {then} - 60), (1, 't', {own}, {ahead}),
                    (1, 't', {old}, {then} - 30);
         INSERT INTO upkeep VALUES ('collection', {then} - 5, ''), ('verify', {ahead}, '');"
    )
}

#[test]
fn one_row_from_a_clock_that_was_ahead_ages_nothing_at_the_upgrade() {
    let mut connection = of(3, &ahead());
    upgrade(&mut connection);
    let tick = number(&connection, "SELECT tick FROM clock");
    assert_eq!(tick, number(&connection, "SELECT min(deleted_at) FROM deleted_manifests"));
    // All that lies ahead is as young as what comes now, and what does not is as old as it was.
    for (column, table) in [
        ("coalesce(pushed_tick, pushed_at)", "repository_manifests"),
        ("deleted_tick", "deleted_manifests"),
        ("coalesce(changed_tick, changed_at)", "tag_history"),
        ("coalesce(ended_tick, ended_at)", "upkeep"),
    ] {
        let [oldest, newest] = ["min", "max"]
            .map(|of| number(&connection, &format!("SELECT {of}({column}) FROM {table}")) - tick);
        assert!((-90..=0).contains(&oldest) && (0..10).contains(&newest), "{table}: {oldest}");
    }
    // In their order, and what was pushed before an index by what was known of both.
    let order = "SELECT group_concat(id) FROM (SELECT id FROM tag_history
                 ORDER BY coalesce(changed_tick, changed_at))";
    let order: String = connection.query_row(order, [], |row| row.get(0)).unwrap();
    assert_eq!(order, "1,3,2");
    let ages = "SELECT max(listed_age) FROM repository_manifests";
    assert_eq!(number(&connection, ages), 5000);
}

#[test]
fn a_clock_that_is_behind_at_the_upgrade_ages_nothing_either() {
    // To a clock that stands at 1970 all of them lie ahead.
    let then = wall_seconds() + 1000;
    let rows = format!(
        "INSERT INTO repositories VALUES (1, 'r');
         INSERT INTO tag_history (repository_id, name, changed_at) VALUES (1, 't', {then});"
    );
    let mut connection = of(3, &rows);
    upgrade(&mut connection);
    assert_eq!(number(&connection, "SELECT tick FROM clock"), 0);
    assert!(number(&connection, "SELECT changed_tick FROM tag_history") < 10);
}

#[test]
fn what_a_clock_that_was_ahead_let_be_forgotten_for_years_is_forgotten_until_now() {
    let rows = "INSERT INTO repositories (id, name, forgotten_until) VALUES (1, 'a', 9e9);
                INSERT INTO repositories (id, name, forgotten_until) VALUES (2, 'b', 7);
                INSERT INTO upkeep (task, ended_at, summary) VALUES ('tag-history', 9e9, '');
                INSERT INTO upkeep (task, ended_at, summary) VALUES ('verify', 8e9, '');";
    let mut connection = of(4, rows);
    upgrade(&mut connection);
    let latest = number(&connection, "SELECT max(forgotten_until) FROM repositories");
    assert!((wall_seconds() - 100..=wall_seconds()).contains(&latest));
    assert_eq!(number(&connection, "SELECT min(forgotten_until) FROM repositories"), 7);
    let noted = "SELECT ended_at FROM upkeep WHERE task = 'tag-history'";
    assert!(number(&connection, noted) <= wall_seconds());
    assert_eq!(number(&connection, "SELECT max(ended_at) FROM upkeep"), 8_000_000_000);
}

/// A database of schema 3 in a file, as a registry opens it, and the most pages that its log has
/// had.
fn in_file(rows: &str) -> (tempfile::TempDir, Connection, Arc<AtomicI32>) {
    let directory = tempfile::tempdir().unwrap();
    let mut connection = Connection::open(directory.path().join("db")).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.pragma_update(None, "synchronous", "OFF").unwrap();
    make(&connection, 3);
    connection.execute_batch(rows).unwrap();
    empty_log(&connection).unwrap();
    let most = Arc::new(AtomicI32::new(0));
    let pages = Arc::clone(&most);
    let hook = move |_: &mut Wal, now: i32| {
        pages.fetch_max(now, Ordering::Relaxed);
        Ok(())
    };
    connection.wal_hook(Some(hook)).unwrap();
    (directory, connection, most)
}

/// Manifests with annotations, deleted manifests, and a history: `per_tag` changes of each of its
/// tags.
fn many(manifests: u32, deleted: u32, tags: u32, per_tag: u32) -> String {
    let count = |n: u32| {
        format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {n})")
    };
    format!(
        "BEGIN;
         INSERT INTO repositories VALUES (1, 'r');
         INSERT INTO manifests {} SELECT 'm' || i, x'' FROM n;
         INSERT INTO repository_manifests
             {} SELECT 1, 'm' || i, 't', 1, NULL, NULL, hex(zeroblob(1500)), 5 FROM n;
         INSERT INTO deleted_manifests {} SELECT 1, 'm' || i, 't', 5 FROM n;
         INSERT INTO tag_history (repository_id, name, before, after, changed_at)
             {} SELECT 1, 't' || (i % {tags}), 'm1', 'm2', i FROM n;
         COMMIT;",
        count(manifests.max(deleted)),
        count(manifests),
        count(deleted),
        count(tags * per_tag)
    )
}

#[test]
fn an_upgrade_takes_no_more_of_the_log_at_once_than_the_reserve_has_room_for() {
    let (_directory, mut connection, most) = in_file(&many(5000, 5000, 500, 600));
    let room = 4_000_000;
    migrate(&mut connection, &Layout::new("/data".as_ref()), &|| room).unwrap();
    assert_eq!(number(&connection, "PRAGMA user_version"), i64::from(known()));
    let pages = most.load(Ordering::Relaxed);
    // Of 4 KiB: the reserve has room for four times as many.
    assert!(pages <= 1024, "{pages} pages");
    // So much of the history is forgotten that its index had room, and no more: the oldest.
    let left = number(&connection, "SELECT count(*) FROM tag_history");
    assert!((199_000..=200_000).contains(&left), "{left}");
    assert!(number(&connection, "SELECT min(id) FROM tag_history") > 99_000);
    // It is known to be forgotten, and the manifests remember that they had the tags.
    let marks = "SELECT count(*) FROM tag_history h WHERE forgotten_until > 0
                 AND id = (SELECT min(id) FROM tag_history o WHERE o.name = h.name)";
    assert_eq!(number(&connection, marks), 500);
    let tagged = "SELECT count(*) FROM deleted_manifests WHERE was_tagged = 1";
    assert_eq!(number(&connection, tagged), 2);
    assert_eq!(number(&connection, "SELECT count(annotations) FROM repository_manifests"), 0);
    assert_eq!(number(&connection, "SELECT min(deleted_tick) FROM deleted_manifests"), 5);
}

#[test]
fn what_is_kept_of_each_tag_is_not_forgotten_for_want_of_room() {
    let rows = format!(
        "{} INSERT INTO tag_history (repository_id, name, changed_at) VALUES (1, 'rare', 5);",
        many(0, 0, 2, 5000)
    );
    let (_directory, mut connection, _) = in_file(&rows);
    migrate(&mut connection, &Layout::new("/data".as_ref()), &|| 513 * 20).unwrap();
    let query = "SELECT group_concat(n) FROM
                 (SELECT count(*) AS n FROM tag_history GROUP BY name ORDER BY name)";
    let left: String = connection.query_row(query, [], |row| row.get(0)).unwrap();
    assert_eq!(left, "1,256,256");
}

#[test]
fn with_plenty_of_room_an_upgrade_forgets_nothing() {
    let (_directory, mut connection, _) = in_file(&many(10, 10, 2, 1000));
    upgrade(&mut connection);
    assert_eq!(number(&connection, "SELECT count(*) FROM tag_history"), 2000);
}

#[test]
fn what_cannot_fit_is_said_before_anything_is_changed() {
    let layout = Layout::new("/data".as_ref());
    for (rows, needed_bytes) in
        [(many(1, 0, 3000, 1), 3000 * 20), (many(0, 1000, 1, 1), 1000 * 110)]
    {
        let (_directory, mut connection, most) = in_file(&rows);
        let free_bytes = 50_000;
        let refusal = OpenError::NoRoomToUpgrade { path: "/data".into(), needed_bytes, free_bytes };
        assert_eq!(migrate(&mut connection, &layout, &|| free_bytes), Err(refusal));
        assert_eq!(number(&connection, "PRAGMA user_version"), 3);
        assert_eq!(most.load(Ordering::Relaxed), 0, "nothing was written");
        // With the room it goes on.
        migrate(&mut connection, &layout, &|| needed_bytes).unwrap();
    }
}

#[test]
fn an_upgrade_that_was_cut_short_at_any_part_goes_on_from_there() {
    for cut in 1..parts().count() {
        let rows = ahead();
        let mut connection = of(3, &rows);
        // The process dies behind so many parts.
        let mut numbers = parts().map(|(_, number)| number).skip_while(|number| *number != 3);
        let Some(last) = numbers.nth(cut) else { break };
        let stopped = parts().skip_while(|(_, number)| *number != 3).skip(1);
        for (part, number) in stopped.take_while(|(_, number)| *number != last) {
            match part {
                Part::Rows(rows) => change_rows(&mut connection, rows, number, &plenty).unwrap(),
                _ => {
                    connection.execute_batch(part.statements()).unwrap();
                    connection.pragma_update(None, "user_version", number).unwrap();
                }
            }
        }
        upgrade(&mut connection);
        let mut whole = of(3, &rows);
        upgrade(&mut whole);
        for query in [
            "SELECT count(*) FROM tag_history WHERE changed_tick IS NOT NULL",
            "SELECT sum(deleted_tick) / 100 FROM deleted_manifests",
            "SELECT max(listed_age) FROM repository_manifests",
            "PRAGMA user_version",
        ] {
            assert_eq!(number(&connection, query), number(&whole, query), "{cut}: {query}");
        }
    }
}

#[test]
fn users_of_an_older_database_have_no_number_and_keep_the_rest() {
    let mut connection = of(5, "INSERT INTO users VALUES ('ann', 'hash', 'push', 1, 2)");
    upgrade(&mut connection);
    let query = "SELECT count(*) FROM users WHERE name = 'ann' AND role = 'push' AND id = ''";
    assert_eq!(number(&connection, query), 1);
}

#[test]
fn changes_of_tags_in_an_older_database_are_those_of_its_users_and_of_nobody_who_is_known() {
    let rows = "INSERT INTO repositories (id, name) VALUES (1, 'r');
                INSERT INTO tag_history (repository_id, name, changed_at, changed_by)
                    VALUES (1, 't', 1, 'ann'), (1, 't', 2, NULL);";
    let mut connection = of(6, rows);
    upgrade(&mut connection);
    let reader = Reader::new(&connection);
    let changes = reader.tag_changes(&"r".parse().unwrap(), None, None, 9);
    let told: Vec<_> = changes.unwrap().unwrap().into_iter().map(|it| it.changed_by).collect();
    assert_eq!(told, [None, Some(Actor::User("ann".parse().unwrap()))]);
}

#[test]
fn an_older_database_remembers_no_bundle_and_its_imports() {
    let rows = "INSERT INTO imports (begun_at, sources, bundle) VALUES (1, '[]', 'a')";
    let mut connection = of(8, rows);
    upgrade(&mut connection);
    for is_taken in [true, false] {
        assert_eq!(Reader::new(&connection).known_bundles(is_taken), Ok(Vec::new()));
    }
    assert_eq!(number(&connection, "SELECT count(*) FROM imports WHERE bundle = 'a'"), 1);
}
