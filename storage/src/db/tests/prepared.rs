//! Statements are parsed and planned once for each connection: what is asked again with other
//! parameters only runs.

use std::sync::atomic::{AtomicUsize, Ordering};

use rusqlite::hooks::{AuthContext, Authorization};

use super::*;

#[test]
fn what_is_asked_again_is_not_prepared_again() {
    let (_directory, database, mut connection) = filled();
    drop(database);
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    // SQLite asks whenever it prepares a statement, also one that it has to prepare anew.
    connection
        .authorizer(Some(move |_: AuthContext<'_>| {
            counter.fetch_add(1, Ordering::Relaxed);
            Authorization::Allow
        }))
        .unwrap();
    let reader = Reader::new(&connection);
    let ask = |n: usize| {
        let name: RepoName = format!("r{n}").parse().unwrap();
        let blob = digest(&n.to_string());
        let manifest = index(&digest("subject"), &format!("a/{n}"));
        let tag: Tag = format!("t{n}").parse().unwrap();
        for reference in [Reference::Tag(tag.clone()), Reference::Digest(*manifest.digest())] {
            assert!(reader.manifest(&name, &reference).unwrap().is_some());
            assert!(reader.long_manifest(&name, &reference, 9999, |_| false).unwrap().is_none());
        }
        assert_eq!(reader.held_blobs(&name, &[blob]).unwrap().len(), 1);
        assert!(reader.stored_blob(&blob).unwrap().is_some());
        assert!(reader.kept_media_type(&name, manifest.digest()).unwrap().is_some());
        let change = reader.change_by_push(&name, &manifest, &[tag]).unwrap();
        assert_eq!(change, repeated_push::Change::Nothing);
        reader.tags(&name, None, 10.into()).unwrap();
        reader.referrers(&name, &digest("subject"), None, None, 9.into()).unwrap();
    };
    ask(1);
    assert!(asked.swap(0, Ordering::Relaxed) > 0);
    (2..9).for_each(ask);
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}
