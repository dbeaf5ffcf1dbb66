//! Who may push may build what lies deep or wide. What a run reads of it grows with the rows that
//! there are, and one read stays short: counted in steps of SQLite's machine.

use oci::TagPattern;

use super::*;
use crate::db::step_count::{self, Steps};

/// Builds something of this size.
type Build = fn(&Store, usize);

/// Fails if what `work` reads of something three times as large is much more than three times as
/// much, as it is nine times where it is squared, or if one of its reads grows.
fn assert_linear(what: &str, build: Build, work: impl Fn(&Store)) {
    let [small, large] = [SMALL, 3 * SMALL].map(|size| {
        let (_directory, store) = old();
        build(&store, size);
        step_count::of(|| work(&store)).1
    });
    let Steps { all, longest } = large;
    assert!(all <= 5 * small.all, "{what}: {small:?}, {large:?}");
    assert!(longest <= LONGEST, "{what}: {small:?}, {large:?}");
}

fn dry_run(store: &Store) {
    let mut on_step = |_: &Collected| ControlFlow::Continue(());
    assert!(store.collect(&UNTAGGED_TOO, true, &mut on_step).unwrap().is_whole);
    assert!(store.collect(&NOTHING, true, &mut on_step).unwrap().is_whole);
}

/// Indexes, each of which lists the one before; returns the last one.
fn chain(store: &Store, length: usize) -> Digest {
    let mut last = put(store, "a", &index(&[], None), &[]);
    for _ in 0..length {
        last = put(store, "a", &index(&[last], None), &[]);
    }
    last
}

/// As many indexes that list one image, which has as many layers.
fn fan(store: &Store, width: usize, tags: bool) -> Vec<Digest> {
    let layers: Vec<Digest> =
        (0..width).map(|layer| push(store, "a", format!("layer {layer}").as_bytes())).collect();
    let child = put(store, "a", &image(&layers), &[]);
    let list = |number: usize| {
        let other = Digest::of(Algorithm::Sha256, format!("other {number}").as_bytes());
        let tag = format!("t{number}");
        let tags: &[&str] = if tags { &[&tag] } else { &[] };
        put(store, "a", &index(&[child, other], None), tags)
    };
    (0..width).map(list).collect()
}

/// Images, as many as there are, that all have one layer.
fn shared_layer(store: &Store, width: usize) {
    let shared = push(store, "a", b"shared");
    for number in 0..width {
        let own = push(store, "a", number.to_string().as_bytes());
        put(store, "a", &image(&[own, shared]), &[]);
    }
}

#[test]
fn what_stays_without_a_tag_is_counted_in_steps_that_grow_with_it() {
    assert_linear(
        "a chain",
        |store, size| {
            chain(store, size);
        },
        dry_run,
    );
    assert_linear("a fan", |store, size| drop(fan(store, size, false)), dry_run);
    assert_linear("a shared layer", shared_layer, dry_run);
    let tagged: Build = |store, size| {
        let top = chain(store, size);
        put(store, "a", &index(&[top], None), &["t"]);
    };
    assert_linear("a chain with a tag", tagged, dry_run);
    assert_linear("a fan with tags", |store, size| drop(fan(store, size, true)), dry_run);
    let referrers: Build = |store, size| {
        let mut last = put(store, "a", &index(&[], None), &["t"]);
        for _ in 0..size {
            last = put(store, "a", &index(&[], Some(&last)), &[]);
        }
    };
    assert_linear("referrers of referrers", referrers, dry_run);
}

#[test]
fn indexes_in_indexes_are_walked_once_however_deep_they_lie() {
    let build: Build = |store, size| {
        let top = chain(store, size);
        store.delete_manifest(&repo("a"), &top, None).unwrap();
    };
    assert_linear("a chain that goes", build, |store| {
        assert!(collect(store, &NOTHING).untagged_manifests >= SMALL as u64);
    });
    assert_linear("a chain that would go", build, dry_run);
    let all: fn(&Store) = |store| {
        assert!(collect(store, &UNTAGGED_TOO).untagged_manifests >= SMALL as u64);
    };
    assert_linear("a fan that goes", |store, size| drop(fan(store, size, false)), all);
    assert_linear(
        "a chain that goes by its age",
        |store, size| {
            chain(store, size);
        },
        all,
    );
}

#[test]
fn removing_by_a_pattern_looks_once_at_what_keeps_an_image() {
    let pattern: TagPattern = "t*".parse().unwrap();
    let plan = |store: &Store| {
        let planned = store.plan_removal_of_tags(&repo("a"), &pattern).unwrap();
        assert!(planned.tags.len() >= SMALL && !planned.manifests.is_empty());
    };
    let tags: Build = |store, size| {
        let names: Vec<String> = (0..size).map(|number| format!("t{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        put(store, "a", &index(&[], None), &names);
    };
    assert_linear("tags of one image", tags, plan);
    assert_linear("indexes of one image", |store, size| drop(fan(store, size, true)), plan);
}

const SMALL: usize = 64;
/// Of a read of a few pages of 256 rows, in hundreds of steps.
const LONGEST: u64 = 200;
