//! The wall clock was wrong when something was noted: what people then ask for by a time.

use super::*;
use crate::clock::wall_seconds;

const YEARS: i64 = 100 * 365 * 24 * 3600;
const DAY: i64 = 24 * 3600;

/// Lets the changes of a tag have come at these seconds, in their order.
fn came_at(store: &Store, tag: &str, seconds: &[i64]) {
    let query = format!("SELECT id FROM tag_history WHERE name = '{tag}' ORDER BY id");
    let ids: Vec<(i64,)> = store.database.read(|reader| reader.rows(&query)).unwrap();
    assert_eq!(ids.len(), seconds.len());
    let set = |((id,), at): (&(i64,), &i64)| {
        format!("UPDATE tag_history SET changed_at = {at} WHERE id = {id};")
    };
    let statements: String = ids.iter().zip(seconds).map(set).collect();
    store.database.write(move |transaction| transaction.run(&statements)).unwrap();
}

/// What becomes of a tag that is to name again what it named before a time; no trace of it stays.
fn asked(store: &Store, tag: &str, time: i64) -> Result<Option<Digest>, StorageError> {
    let last = number(store, "SELECT max(id) FROM tag_history");
    let then = restored(store, tag, time);
    let forget = format!("DELETE FROM tag_history WHERE id > {last}");
    store.database.write(move |transaction| transaction.run(&forget)).unwrap();
    then
}

/// Collects, and returns how many changes older than this were forgotten.
fn forget(store: &Store, history: Duration) -> u64 {
    let keep = Keep {
        grace: Duration::MAX,
        untagged: None,
        listed_within: Duration::ZERO,
        deleted: Duration::ZERO,
        history,
        uploads: Duration::MAX,
    };
    store.collect(&keep, false, &mut |_| ControlFlow::Continue(())).unwrap().tag_changes
}

#[test]
fn a_push_while_the_clock_was_ahead_ends_restoring_by_a_time_for_nobody() {
    let (_home, store) = open();
    let [one, two, three] = ["1", "2", "3"].map(index);
    let now = wall_seconds();
    put(&store, "other", &one, "ahead");
    put(&store, "a", &one, "ahead");
    spoil(&store, "UPDATE tag_history SET changed_at = changed_at + 3153600000");
    assert!(number(&store, "SELECT min(changed_at) FROM tag_history") >= now + YEARS);
    store.database.clock().pass(Duration::from_secs(10 * DAY as u64));
    assert_eq!(forget(&store, Duration::from_secs(DAY as u64)), 2);
    // By now it is right, and time passes.
    for manifest in [&one, &two, &three] {
        put(&store, "a", manifest, "t");
    }
    came_at(&store, "t", &[now - 30, now - 20, now - 10]);
    assert_eq!(asked(&store, "t", now - 25), Ok(Some(*one.digest())));
    assert_eq!(asked(&store, "t", now - 15), Ok(Some(*two.digest())));
    // What is forgotten is, and of the tag itself nothing is known before its next change.
    assert_eq!(asked(&store, "t", now - DAY), Err(nothing_to_undo("t")));
    assert_eq!(asked(&store, "ahead", now), Err(nothing_to_undo("ahead")));
    put(&store, "a", &two, "ahead");
    came_at(&store, "ahead", &[now - 5]);
    assert_eq!(asked(&store, "ahead", now - 4), Ok(Some(*two.digest())));
}

#[test]
fn changes_are_in_the_order_in_which_they_came_whatever_the_clock_said() {
    let (_home, store) = open();
    let [one, two, three] = ["1", "2", "3"].map(index);
    for manifest in [&one, &two, &three] {
        put(&store, "a", manifest, "t");
    }
    // The first one, while the clock was ahead.
    came_at(&store, "t", &[1000 + YEARS, 2000, 3000]);
    assert_eq!(asked(&store, "t", 2500), Ok(Some(*two.digest())));
    assert_eq!(asked(&store, "t", 3500), Ok(Some(*three.digest())));
    // The second one.
    came_at(&store, "t", &[1000, 2000 + YEARS, 3000]);
    assert_eq!(asked(&store, "t", 3500), Ok(Some(*three.digest())));
    // When that one came nobody knows, but before the third.
    assert_eq!(asked(&store, "t", 1500), Err(nothing_to_undo("t")));
    came_at(&store, "t", &[1000, 2000, 3000]);
    assert_eq!(asked(&store, "t", 1500), Ok(Some(*one.digest())));
}

#[test]
fn what_bounds_the_history_notes_no_time_that_lies_ahead() {
    let (_home, store) = open();
    put(&store, "a", &index("1"), "t");
    spoil(
        &store,
        "INSERT INTO tag_history (repository_id, name, after, changed_at, changed_tick)
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100100)
         SELECT 1, 'gone' || (i % 1000), 'x', 4000000000, 4000000000 FROM n",
    );
    assert_eq!(forget(&store, Duration::MAX), 101);
    let latest = "SELECT max((SELECT max(forgotten_until) FROM repositories),
                             (SELECT max(forgotten_until) FROM tag_history))";
    assert!(number(&store, latest) <= wall_seconds());
    // The oldest one was the only one of its tag; its manifest is as young as now.
    let pushed = number(&store, "SELECT max(pushed_tick) FROM repository_manifests");
    assert!(pushed <= store.database.clock().now());
}

#[test]
fn a_time_that_an_earlier_program_noted_ahead_hides_only_what_is_not_known() {
    let (_home, store) = open();
    let [one, two] = ["1", "2"].map(index);
    for manifest in [&one, &two] {
        put(&store, "a", manifest, "t");
    }
    came_at(&store, "t", &[1000, 2000]);
    spoil(&store, "INSERT INTO upkeep (task, ended_at, summary) VALUES ('tag-history', 9e9, '')");
    assert_eq!(restored(&store, "t", 1500), Ok(Some(*one.digest())));
    assert_eq!(restored(&store, "t", 500), Err(nothing_to_undo("t")));
}
