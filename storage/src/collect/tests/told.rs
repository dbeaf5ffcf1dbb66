//! What clients were told of lately stays, and is forgotten with what it is about.

use super::*;

#[test]
fn what_was_pushed_mounted_or_told_lately_stays() {
    let (_directory, store) = old();
    let keep = Keep { grace: 24 * HOUR, ..NOTHING };
    let [told, asked, forgotten, source] =
        ["told", "asked", "forgotten", "source"].map(|c| push(&store, "a", c.as_bytes()));
    age(&store, 25 * HOUR);
    let young = push(&store, "a", b"young");
    assert!(store.mount_blob(Some(&repo("a")), &repo("b"), &source).unwrap());
    assert_eq!(store.tell_blob_size(&repo("a"), &told), Ok(Some(4)));
    // Somebody who may not push asks, and what is told of one repository counts for that one.
    assert_eq!(store.blob_size(&repo("a"), &asked), Ok(Some(5)));
    assert_eq!(store.tell_blob_size(&repo("b"), &forgotten), Ok(None));
    assert_eq!(collect(&store, &keep).blobs, 2);
    let left = [told, young].map(|digest| has(&store, "a", &digest));
    assert_eq!(left, [true, true]);
    assert!(has(&store, "b", &source) && !has(&store, "a", &source));
    assert!(!has(&store, "a", &asked) && !has(&store, "a", &forgotten));
    // The promise of the answer holds.
    put(&store, "a", &image(&[told]), &["latest"]);
    age(&store, 25 * HOUR);
    assert_eq!(collect(&store, &keep).blobs, 2);
    assert!(has(&store, "a", &told));
}

#[test]
fn a_process_that_is_younger_than_the_grace_time_removes_no_blob() {
    let (directory, store) = open();
    let blob = push(&store, "a", b"content");
    age(&store, 100 * HOUR);
    let store = again(&directory, store, false);
    let done = collect(&store, &Keep { grace: HOUR, ..NOTHING });
    // The second that has begun does not count.
    assert!((3599..=3601).contains(&done.blobs_wait_seconds), "{done:?}");
    assert!(has(&store, "a", &blob));
    assert_eq!(collect(&store, &NOTHING).blobs, 1);
}

#[test]
fn what_a_push_brings_now_is_not_taken_by_a_rule_for_untagged_manifests() {
    let (_directory, store) = old();
    let child = put(&store, "a", &image(&[push(&store, "a", b"config")]), &[]);
    let keep = Keep { grace: HOUR, ..UNTAGGED_TOO };
    assert_eq!(collect(&store, &keep).untagged_manifests, 0);
    // Rows that are older than they should be do not count against what this process remembers.
    let statements = "UPDATE repository_blobs SET linked_at = 1;
                      UPDATE repository_manifests SET pushed_tick = 1;";
    store.database.write(move |transaction| transaction.run(statements)).unwrap();
    assert_eq!(collect(&store, &keep).links, 0);
    assert_eq!(collect(&store, &keep).untagged_manifests, 0);
    assert!(has_manifest(&store, "a", &child));
    assert!(has(&store, "a", &Digest::of(Algorithm::Sha256, b"config")));
}

#[test]
fn an_untagged_manifest_that_somebody_was_told_of_stays_until_an_index_names_it() {
    let (_directory, store) = old();
    let layer = push(&store, "a", b"layer");
    let [told, other] = ["told", "other"].map(|content| {
        let config = push(&store, "a", content.as_bytes());
        put(&store, "a", &image(&[config, layer]), &[])
    });
    age(&store, 100 * HOUR);
    // As if an earlier process had taken them in.
    [told, other].iter().for_each(|digest| store.told.take_back("a", digest));
    let keep = Keep { grace: 24 * HOUR, untagged: Some(HOUR), ..NOTHING };
    let found = store.open_manifest(&repo("a"), &Reference::Digest(told), 0, true, |_| false);
    assert!(found.unwrap().is_some());
    assert_eq!(collect(&store, &keep).untagged_manifests, 1);
    assert!(!has_manifest(&store, "a", &other));
    put(&store, "a", &index(&[told], None), &["latest"]);
    assert_eq!(collect(&store, &Keep { grace: Duration::ZERO, ..keep }).untagged_manifests, 0);
    assert!(has_manifest(&store, "a", &told) && has(&store, "a", &layer));
}

#[test]
fn nothing_is_remembered_of_what_is_gone() {
    let (_directory, store) = open();
    let remembered = || store.told.len();
    for round in 0..3 {
        let [config, loose] = ["config", "loose"].map(|name| {
            let digest = push(&store, "a", format!("{name} {round}").as_bytes());
            assert!(store.blob_size(&repo("a"), &digest).unwrap().is_some());
            digest
        });
        let image = put(&store, "a", &image(&[config]), &["latest"]);
        let found = store.open_manifest(&repo("a"), &Reference::Digest(image), 0, true, |_| true);
        assert!(found.unwrap().is_some());
        assert_eq!(remembered(), 3);
        assert_eq!(store.delete_blob(&repo("a"), &loose), Ok(true));
        match round {
            0 => assert_eq!(store.delete_manifest(&repo("a"), &image, None), Ok(true)),
            1 => drop(store.remove_image(&repo("a"), &Reference::Digest(image), None).unwrap()),
            _ => while store.remove_some(&repo("a"), None).unwrap() != RemovalStep::default() {},
        }
        assert_eq!(remembered(), 1);
        assert_eq!(collect(&store, &NOTHING).blobs, 2);
        assert_eq!(remembered(), 0);
    }
}
