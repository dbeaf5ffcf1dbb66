//! What is restored is what it was: as old, and pushed for itself or for an index.

use super::*;

fn change(store: &Store, statements: String) {
    store.database.write(move |transaction| transaction.run(&statements)).unwrap();
}

fn remove_all(store: &Store) -> u64 {
    let mut manifests = 0;
    loop {
        match store.remove_some(&repo("a"), None).unwrap() {
            step if step == RemovalStep::default() => return manifests,
            step => manifests += step.manifests,
        }
    }
}

#[test]
fn what_was_pushed_for_itself_is_so_when_all_was_removed_and_an_index_is_restored() {
    let (_directory, store) = open();
    pass(&store, 1000 * HOUR);
    let [early, with] = ["early", "with"].map(|content| child(&store, content));
    let list = put(&store, "a", &index(&[early, with], None), &["t"]);
    // As a program before this one left them, the one long before the index.
    change(
        &store,
        format!(
            "UPDATE repository_manifests SET pushed_tick = NULL, listed_age = NULL,
                                             pushed_at = 1000000;
             UPDATE repository_manifests SET pushed_at = 100 WHERE digest = '{early}';"
        ),
    );
    assert_eq!(remove_all(&store), 3);
    let tag = tags(&["t"]).remove(0);
    let restored = store.restore_tag(&repo("a"), &tag, RestorePoint::LastChange, None).unwrap();
    assert_eq!(restored.manifests.len(), 3);
    delete(&store, &list);
    pass(&store, 1000 * HOUR);
    assert_eq!(collect(&store, &NOTHING).untagged_manifests, 1);
    assert!(has_manifest(&store, "a", &early) && !has_manifest(&store, "a", &with));
}

#[test]
fn removing_all_notes_what_came_for_a_long_index_in_steps() {
    let (_directory, store) = open();
    let children: Vec<Digest> = (0..600).map(|n| child(&store, &n.to_string())).collect();
    put(&store, "a", &index(&children, None), &["t"]);
    change(&store, "UPDATE repository_manifests SET listed_age = NULL".to_owned());
    // Steps change 256 rows at most, which `step_to_free` holds them to.
    assert_eq!(remove_all(&store), 601);
    let noted = "SELECT count(listed_age) FROM deleted_manifests";
    let noted = store.database.read(|reader| reader.number(noted)).unwrap();
    assert_eq!(noted, 600);
}

#[test]
fn what_is_restored_is_as_old_as_it_was() {
    let (_directory, store) = open();
    let early = child(&store, "early");
    let pushed = || -> (i64, i64) {
        let query = "SELECT pushed_tick, pushed_at FROM repository_manifests";
        store.database.read(|reader| reader.row(query)).unwrap()
    };
    change(&store, "UPDATE repository_manifests SET pushed_at = 1000".to_owned());
    let before = pushed();
    pass(&store, 5 * HOUR);
    delete(&store, &early);
    assert_eq!(store.restore_manifest(&repo("a"), &early), Ok(vec![early]));
    assert_eq!(pushed(), before);
    // So it was there long before an index that lists it comes.
    let list = put(&store, "a", &index(&[early], None), &["t"]);
    delete(&store, &list);
    pass(&store, 1000 * HOUR);
    assert_eq!(collect(&store, &NOTHING).untagged_manifests, 0);
    assert!(has_manifest(&store, "a", &early));
    // Who pushes what is deleted pushes it now.
    delete(&store, &early);
    child(&store, "early");
    assert!(pushed().0 > before.0 && pushed().1 > before.1);
}

#[test]
fn what_a_program_before_deleted_is_restored_as_young_as_what_is_pushed_now() {
    let (_directory, store) = open();
    let early = child(&store, "early");
    delete(&store, &early);
    change(&store, "UPDATE deleted_manifests SET pushed_at = NULL, pushed_tick = NULL".to_owned());
    pass(&store, 5 * HOUR);
    store.restore_manifest(&repo("a"), &early).unwrap();
    let keep = Keep { grace: HOUR, ..UNTAGGED_TOO };
    store.told.take_back("a", &early);
    assert_eq!(collect(&store, &keep).untagged_manifests, 0);
}

#[test]
fn what_is_restored_by_its_digest_stays_for_the_grace_time_whatever_its_age() {
    let (_directory, store) = old();
    let old = child(&store, "old");
    pass(&store, 100 * HOUR);
    delete(&store, &old);
    let keep = Keep { grace: HOUR, deleted: 1000 * HOUR, ..UNTAGGED_TOO };
    store.restore_manifest(&repo("a"), &old).unwrap();
    assert_eq!(collect(&store, &keep).untagged_manifests, 0);
    pass(&store, 2 * HOUR);
    assert_eq!(collect(&store, &keep).untagged_manifests, 1);
    // What is not there, nor was, is remembered of nobody.
    let before = store.told.len();
    let other = Digest::of(Algorithm::Sha256, b"other");
    assert_eq!(store.restore_manifest(&repo("a"), &other), Ok(Vec::new()));
    assert_eq!(store.told.len(), before);
}
