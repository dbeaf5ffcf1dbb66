//! What stays without a tag is counted by what keeps it.

use super::*;

fn kept(store: &Store, keep: &Keep) -> KeptUntagged {
    let mut on_step = |_: &Collected| ControlFlow::Continue(());
    let promised = store.collect(keep, true, &mut on_step).unwrap();
    let done = collect(store, keep);
    assert_eq!(promised.untagged_kept, done.untagged_kept);
    done.untagged_kept.unwrap()
}

/// The bytes of manifests and of blobs.
fn bytes(manifests: &[&Manifest], blobs: u64) -> u64 {
    manifests.iter().map(|manifest| manifest.bytes().len() as u64).sum::<u64>() + blobs
}

#[test]
fn what_no_tag_leads_to_is_told_with_what_keeps_it_and_a_rule_takes_just_that() {
    let (_directory, store) = open();
    // Older rows have the wall clock's time, near which the store's own clock begins then.
    let now = u64::try_from(crate::clock::wall_seconds()).unwrap();
    store.database.clock().pass(Duration::from_secs(now));
    let document =
        |n| image(&[vec![1; n], vec![0; 100]].map(|content| push(&store, "a", &content)));
    let tagged = document(1);
    // What a tag leads to, however far it is, is none of it.
    let below = index(&[put(&store, "a", &tagged, &[])], None);
    let above = put(&store, "a", &index(&[put(&store, "a", &below, &[])], None), &["all"]);
    put(&store, "a", &index(&[], Some(&above)), &[]);
    assert_eq!(kept(&store, &NOTHING), KeptUntagged::default());

    let [lone, listed, once, attested] = [2, 3, 4, 5].map(document);
    put(&store, "a", &lone, &[]);
    put(&store, "a", &once, &["moving"]);
    put(&store, "a", &tagged, &["moving"]);
    let subject = put(&store, "a", &attested, &[]);
    let bill = index(&[], Some(&subject));
    put(&store, "a", &bill, &[]);
    let list = index(&[put(&store, "a", &listed, &[])], None);
    put(&store, "a", &list, &[]);
    let share = |manifests: &[&Manifest], blobs| Share {
        manifests: manifests.len() as u64,
        bytes: bytes(manifests, blobs),
    };
    let keep = Keep { history: 1000 * HOUR, ..NOTHING };
    let expected = KeptUntagged {
        never_tagged: share(&[&lone, &attested, &list], 2 + 5),
        once_tagged: share(&[&once], 4),
        listed: share(&[&listed], 3),
        referrers: share(&[&bill], 0),
        recent: Share::default(),
    };
    store.database.clock().pass(HOUR);
    assert_eq!(kept(&store, &keep), expected);
    // Within the undo time the tag can go back, and what was just pushed may still get one.
    let can_move = kept(&store, &Keep { deleted: 2 * HOUR, ..keep });
    assert_eq!((can_move.recent, can_move.once_tagged), (expected.once_tagged, Share::default()));
    put(&store, "a", &lone, &[]);
    let young = kept(&store, &Keep { grace: HOUR / 2, ..keep });
    assert_eq!(young.recent, share(&[&lone], 2));
    // The sum is what goes by a rule for all of them.
    let rule = collect(&store, &Keep { untagged: Some(Duration::ZERO), ..keep });
    assert_eq!(rule.untagged_kept, Some(KeptUntagged::default()));
    assert_eq!(rule.untagged_manifests, expected.all().manifests);
    let manifests = [&lone, &once, &attested, &bill, &list, &listed];
    assert_eq!(rule.blob_bytes + bytes(&manifests, 0), expected.all().bytes);
}

#[test]
fn images_of_a_list_that_can_be_restored_wait_for_the_undo_time() {
    let (_directory, store) = open();
    let child = image(&[push(&store, "a", b"child")]);
    let list = put(&store, "a", &index(&[put(&store, "a", &child, &[])], None), &["list"]);
    store.delete_manifest(&repo("a"), &list, None).unwrap();
    let waiting = kept(&store, &Keep { deleted: HOUR, ..NOTHING });
    let share = Share { manifests: 1, bytes: bytes(&[&child], 5) };
    assert_eq!(waiting, KeptUntagged { recent: share, ..KeptUntagged::default() });
    assert_eq!(kept(&store, &NOTHING), KeptUntagged::default());
}

#[test]
fn what_an_earlier_program_noted_of_its_last_run_is_understood() {
    let (_directory, store) = open();
    let summary = serde_json::to_value(Collected { blobs: 3, ..Collected::default() }).unwrap();
    let mut summary = summary.as_object().unwrap().clone();
    summary.remove("untagged_kept");
    let summary = serde_json::to_string(&summary).unwrap();
    let note = move |c: &crate::db::Transaction<'_>| c.note_upkeep(COLLECTION, &summary);
    store.database.write(note).unwrap();
    let (_, last) = store.last_collection().unwrap().unwrap();
    assert_eq!((last.blobs, last.untagged_kept), (3, None));
}
