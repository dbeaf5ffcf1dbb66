//! The catalog and tag lists: every entry once, in order, whatever the page size and whoever
//! writes meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};

use oci::{RepoName, Tag};
use storage::Store;

use crate::support::{directory, index, open, push, repo, tag};

fn all_tags(store: &Store, name: &RepoName, page: usize) -> Vec<Tag> {
    let (mut all, mut last) = (Vec::new(), None::<String>);
    loop {
        let found = store.tags(name, last.as_deref(), page).unwrap().unwrap();
        assert!(found.len() <= page);
        let Some((end, _)) = found.last() else { return all };
        last = Some(end.to_string());
        all.extend(found.into_iter().map(|(tag, _)| tag));
    }
}

fn all_repositories(store: &Store, page: usize) -> Vec<RepoName> {
    let (mut all, mut last) = (Vec::new(), None::<String>);
    loop {
        let found = store.repositories(last.as_deref(), page).unwrap();
        assert!(found.len() <= page);
        let Some(end) = found.last() else { return all };
        last = Some(end.to_string());
        all.extend(found);
    }
}

#[test]
fn pages_of_tags_cover_every_tag_once_in_ascii_order() {
    let home = directory();
    let store = open(home.path());
    let name = repo("a");
    let mut tags: Vec<Tag> = (0..40)
        .map(|n| tag(&format!("v{n}")))
        .chain(["A", "_", "a.b", "a-b", "Z9"].map(tag))
        .collect();
    store.push_manifest(&name, index("x"), tags.clone(), None).unwrap();
    // Tags of a neighbour do not get in.
    store.push_manifest(&repo("a/b"), index("x"), vec![tag("neighbour")], None).unwrap();
    tags.sort();
    for page in [1, 2, 7, 44, 45, 46, 1000] {
        assert_eq!(all_tags(&store, &name, page), tags, "pages of {page}");
    }
    assert_eq!(store.tags(&name, None, 0), Ok(Some(vec![])));
    // A page may begin after what is not there, or is no tag at all.
    let after = |after| store.tags(&name, Some(after), 1).unwrap().unwrap();
    assert_eq!(after("v390")[0].0, tag("v4"));
    assert_eq!(after("\u{fffd}/ ' --"), []);
    assert_eq!(store.tags(&repo("unknown"), None, 10), Ok(None));
}

#[test]
fn pages_of_the_catalog_cover_every_repository_that_holds_a_manifest() {
    let home = directory();
    let store = open(home.path());
    let mut names: Vec<RepoName> = ["b", "a", "a/b", "a-b", "a/b/c", "z0"].map(repo).to_vec();
    for name in &names {
        store.push_manifest(name, index("x"), vec![], None).unwrap();
    }
    push(&store, &repo("blobs-only"), b"content");
    store.push_manifest(&repo("emptied"), index("x"), vec![], None).unwrap();
    assert_eq!(store.delete_manifest(&repo("emptied"), index("x").digest(), None), Ok(true));
    names.sort();
    for page in [1, 2, 5, 6, 7] {
        assert_eq!(all_repositories(&store, page), names, "pages of {page}");
    }
    assert_eq!(store.repository_exists(&repo("blobs-only")), Ok(true));
    assert_eq!(store.repository_exists(&repo("unknown")), Ok(false));
    assert_eq!(store.counts().unwrap().repositories, 6);
}

#[test]
fn pages_lose_and_repeat_nothing_while_others_push() {
    let home = directory();
    let store = open(home.path());
    let name = repo("a");
    let number = |n: u32| tag(&format!("t{n:04}"));
    let before: Vec<Tag> = (0..400).step_by(2).map(number).collect();
    store.push_manifest(&name, index("x"), before.clone(), None).unwrap();
    let (is_done, start) = (AtomicBool::new(false), std::sync::Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            start.wait();
            for n in (1..400).rev().step_by(2) {
                store.push_manifest(&name, index("y"), vec![number(n)], None).unwrap();
                store.push_manifest(&repo(&format!("r{n}")), index("y"), vec![], None).unwrap();
            }
            is_done.store(true, Ordering::SeqCst);
        });
        start.wait();
        while !is_done.load(Ordering::SeqCst) {
            let found = all_tags(&store, &name, 7);
            assert!(found.is_sorted_by(|a, b| a < b), "an entry came twice or out of order");
            let kept = found.iter().filter(|found| before.binary_search(found).is_ok()).count();
            assert_eq!(kept, before.len(), "an entry that was there all the time was left out");
            let repositories = all_repositories(&store, 7);
            assert!(repositories.is_sorted_by(|a, b| a < b));
        }
    });
    let all: Vec<Tag> = (0..400).map(number).collect();
    assert_eq!(all_tags(&store, &name, 9), all);
    assert_eq!(all_repositories(&store, 9).len(), 201);
}
