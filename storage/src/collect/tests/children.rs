//! What came for an index goes when that is gone for good, and nothing else that has no tag.

use super::*;

/// Which of these manifests are there.
fn there<const N: usize>(store: &Store, digests: [Digest; N]) -> [bool; N] {
    digests.map(|digest| has_manifest(store, "a", &digest))
}

#[test]
fn what_an_index_lists_goes_when_the_index_is_gone_for_good() {
    let (_directory, store) = open();
    let children = ["one", "two"].map(|content| child(&store, content));
    let [one, two] = children;
    pass(&store, HOUR / 2);
    let list = put(&store, "a", &index(&[one, two], None), &["list"]);
    pass(&store, 1000 * HOUR);
    assert_eq!(collect(&store, &NOTHING).untagged_manifests, 0);
    delete(&store, &list);
    // As long as the index can be restored, its images are there.
    let keep = Keep { deleted: HOUR, ..NOTHING };
    assert_eq!(collect(&store, &keep).untagged_manifests, 0);
    assert_eq!(there(&store, children), [true; 2]);
    let mut on_step = |_: &Collected| ControlFlow::Continue(());
    let promised = store.collect(&NOTHING, true, &mut on_step).unwrap();
    let done = collect(&store, &NOTHING);
    assert_eq!((done.deleted_manifests, done.untagged_manifests, done.blobs), (1, 2, 2));
    assert_eq!(promised, Collected { repositories: 0, ..done });
    assert!(sizes(&store).iter().all(|(_, size)| *size == 0), "{:?}", sizes(&store));
}

#[test]
fn indexes_in_indexes_go_down_to_the_last_image_in_steps() {
    let (_directory, store) = open();
    let children: Vec<_> = (0..300).map(|n| child(&store, &n.to_string())).collect();
    let inner = put(&store, "a", &index(&children, None), &[]);
    let outer = put(&store, "a", &index(&[inner], None), &["all"]);
    delete(&store, &outer);
    let before = sizes(&store);
    let mut on_step = |_: &Collected| ControlFlow::Continue(());
    let promised = store.collect(&NOTHING, true, &mut on_step).unwrap();
    assert_eq!(sizes(&store), before);
    let done = collect(&store, &NOTHING);
    assert_eq!((done.untagged_manifests, done.blobs), (301, 300));
    assert_eq!(promised, Collected { repositories: 0, ..done });
    assert_eq!(files(&store), 0);
}

#[test]
fn children_pushed_by_digest_then_a_collection_then_their_index_an_hour_later_are_all_there() {
    let (_directory, store) = old();
    let keep = Keep { grace: 24 * HOUR, listed_within: 24 * HOUR, deleted: HOUR, ..NOTHING };
    let children = ["one", "two"].map(|content| child(&store, content));
    pass(&store, 3 * HOUR);
    assert_eq!(collect(&store, &keep).untagged_manifests, 0);
    // Nor with what the guide tells to type when the disk is full.
    assert_eq!(collect(&store, &Keep { grace: Duration::ZERO, ..keep }).untagged_manifests, 0);
    pass(&store, HOUR);
    let list = put(&store, "a", &index(&children, None), &["list"]);
    assert_eq!(collect(&store, &keep).untagged_manifests, 0);
    assert_eq!(there(&store, children), [true; 2]);
    delete(&store, &list);
    let keep = Keep { deleted: Duration::ZERO, ..keep };
    pass(&store, 2 * HOUR);
    assert_eq!(collect(&store, &keep).untagged_manifests, 0, "pushed within the grace time");
    pass(&store, 24 * HOUR);
    assert!(children.iter().all(|digest| store.told.tell("a", digest)));
    assert_eq!(collect(&store, &keep).untagged_manifests, 0, "told within the grace time");
    children.iter().for_each(|digest| store.told.take_back("a", digest));
    assert_eq!(collect(&store, &keep).untagged_manifests, 2);
}

#[test]
fn what_was_pushed_for_itself_stays_when_an_index_that_listed_it_goes() {
    let (_directory, store) = open();
    let [early, again, tagged, moved, lone, signed] =
        ["early", "again", "tagged", "moved", "lone", "signed"].map(|it| child(&store, it));
    let signature = put(&store, "a", &index(&[], Some(&signed)), &[]);
    put(&store, "a", &image(&[push(&store, "a", b"tagged")]), &["kept"]);
    put(&store, "a", &image(&[push(&store, "a", b"moved")]), &["moving"]);
    put(&store, "a", &index(&[], None), &["moving"]);
    pass(&store, 2 * HOUR);
    // The one comes again for the index, and the other after it is gone.
    child(&store, "again");
    let list = index(&[early, again, tagged, moved], None);
    let list = put(&store, "a", &list, &["list"]);
    let keep = Keep { history: 1000 * HOUR, ..NOTHING };
    delete(&store, &list);
    assert_eq!(collect(&store, &keep).untagged_manifests, 1);
    let all = [early, again, tagged, moved, lone, signed, signature];
    assert_eq!(there(&store, all), [true, false, true, true, true, true, true]);
    let again = child(&store, "again");
    let list = put(&store, "a", &index(&[again], Some(&lone)), &["list"]);
    delete(&store, &list);
    child(&store, "again");
    assert_eq!(collect(&store, &keep).untagged_manifests, 0);
    assert_eq!(there(&store, [again]), [true]);
}

#[test]
fn what_another_index_lists_or_a_subject_keeps_stays_until_that_is_gone_too() {
    let (_directory, store) = open();
    let [shared, own, kept] = ["shared", "own", "kept"].map(|content| child(&store, content));
    // An attestation that is listed beside the image it refers to.
    let attested = put(&store, "a", &index(&[], Some(&kept)), &[]);
    let absent = Digest::of(Algorithm::Sha256, b"absent");
    let first = put(&store, "a", &index(&[shared, own, attested, absent], None), &["first"]);
    let second = put(&store, "a", &index(&[shared], None), &["second"]);
    // One that is pushed when an index lists it already came for that index.
    let late = {
        let config = Digest::of(Algorithm::Sha256, b"late");
        let document = image(&[config]);
        put(&store, "a", &index(&[*document.digest()], None), &["sparse"]);
        push(&store, "a", b"late");
        pass(&store, 100 * HOUR);
        put(&store, "a", &document, &[])
    };
    delete(&store, &first);
    assert_eq!(collect(&store, &NOTHING).untagged_manifests, 1);
    assert_eq!(there(&store, [shared, own, kept, attested]), [true, false, true, true]);
    delete(&store, &second);
    assert_eq!(collect(&store, &NOTHING).untagged_manifests, 1);
    assert_eq!(there(&store, [shared, kept, attested, late]), [false, true, true, true]);
    store.remove_image(&repo("a"), &Reference::Tag(tags(&["sparse"]).remove(0)), None).unwrap();
    delete(&store, &kept);
    collect(&store, &NOTHING);
    assert!(sizes(&store).iter().all(|(_, size)| *size == 0), "{:?}", sizes(&store));
}

#[test]
fn an_index_that_is_restored_has_its_images_and_they_go_with_it_later() {
    let (_directory, store) = open();
    let children = ["one", "two"].map(|content| child(&store, content));
    let list = put(&store, "a", &index(&children, None), &["list"]);
    let tag = tags(&["list"]).remove(0);
    pass(&store, 100 * HOUR);
    let keep = Keep { deleted: HOUR, ..NOTHING };
    // One goes with the index, the other stays without a tag.
    delete(&store, &list);
    delete(&store, &children[0]);
    assert_eq!(collect(&store, &keep).untagged_manifests, 0);
    store.restore_tag(&repo("a"), &tag, RestorePoint::LastChange, None).unwrap();
    assert_eq!(there(&store, children), [true; 2]);
    assert_eq!(collect(&store, &NOTHING).untagged_manifests, 0);
    delete(&store, &list);
    let done = collect(&store, &NOTHING);
    assert_eq!((done.untagged_manifests, done.blobs), (2, 2));
    // Pushed again, index and images are as at the first time.
    let children = ["one", "two"].map(|content| child(&store, content));
    let list = put(&store, "a", &index(&children, None), &["list"]);
    assert_eq!(collect(&store, &NOTHING).untagged_manifests, 0);
    delete(&store, &list);
    assert_eq!(collect(&store, &NOTHING).untagged_manifests, 2);
}

#[test]
fn an_index_that_lost_its_tag_to_another_keeps_what_it_lists() {
    let (_directory, store) = open();
    let [old, new] = ["old", "new"].map(|content| child(&store, content));
    let first = put(&store, "a", &index(&[old], None), &["latest"]);
    let second = put(&store, "a", &index(&[new], None), &["latest"]);
    pass(&store, 1000 * HOUR);
    assert_eq!(collect(&store, &NOTHING).untagged_manifests, 0);
    assert_eq!(there(&store, [first, old, second, new]), [true; 4]);
}

#[test]
fn of_older_rows_the_times_of_their_pushes_tell_what_came_for_an_index() {
    let (_directory, store) = open();
    let [early, with] = ["early", "with"].map(|content| child(&store, content));
    let list = put(&store, "a", &index(&[early, with], None), &["list"]);
    let other = put(&store, "a", &index(&[with], Some(&early)), &["other"]);
    // As a program before this one left them: the index a week after the one, and at once after
    // the other; and the other index long after both.
    let older = format!(
        "UPDATE repository_manifests SET pushed_tick = NULL, listed_age = NULL;
         UPDATE repository_manifests SET pushed_at = pushed_at - 604800 WHERE digest = '{early}';
         UPDATE repository_manifests SET pushed_at = pushed_at + 604800 WHERE digest = '{other}';"
    );
    store.database.write(move |transaction| transaction.run(&older)).unwrap();
    // Both are pushed again, which leaves the time at which they came.
    for content in ["early", "with"] {
        child(&store, content);
    }
    delete(&store, &other);
    delete(&store, &list);
    assert_eq!(collect(&store, &NOTHING).untagged_manifests, 1);
    assert_eq!(there(&store, [early, with]), [true, false]);
}
