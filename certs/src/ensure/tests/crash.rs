//! Runs that are cut short, at each of their writes.

use durable::IoError;

use super::*;

/// A run is stopped at each of its writes by a directory that stands where the temporary file
/// would be made; this is the state that a crash before that write leaves.
fn cut_short_at_every_write(place: impl Fn() -> Place, writes: &[&str], names: &str) {
    for stop in writes {
        let place = place();
        let before = if place.path().exists() { place.content() } else { BTreeMap::new() };
        let obstacle = place.path().join(format!("{stop}.new"));
        fs::create_dir_all(obstacle.join("x")).unwrap();
        let error = place.ensure(names).unwrap_err();
        assert!(
            matches!(error, CertError::Io(IoError { action: "remove", .. })),
            "{stop}: {error}"
        );
        fs::remove_dir_all(obstacle).unwrap();
        let cut = place.content();
        let changed: BTreeSet<_> =
            ALL.into_iter().filter(|&file| cut.get(file) != before.get(file)).collect();
        let expected = writes.iter().copied().take_while(|file| file != stop).collect();
        assert_eq!(changed, expected, "what was written before {stop}");
        place.check(names);
        let is_there = place.content().contains_key("ca.key");
        assert_eq!(is_there, before.contains_key("ca.key") || writes.contains(&"ca.key"));
        if let Some(root) = cut.get("ca.crt") {
            assert_eq!(place.content()["ca.crt"], *root, "the root stays, stopped at {stop}");
        }
        if let Some(key) = cut.get("ca.key") {
            assert_eq!(place.content()["ca.key"], *key, "the root's key stays");
        }
    }
}

#[test]
fn a_first_run_cut_short_anywhere_is_finished_by_the_next() {
    cut_short_at_every_write(Place::new, &ALL, "a.example 10.0.0.5");
}

#[test]
fn a_change_of_names_cut_short_anywhere_is_finished_by_the_next() {
    cut_short_at_every_write(|| Place::made("a.example"), &ALL[2..], "a.example b.example");
}

#[test]
fn a_first_run_with_a_given_key_cut_short_anywhere_is_finished_by_the_next() {
    cut_short_at_every_write(given::place, &ALL[1..], "a.example 10.0.0.5");
}

#[test]
fn a_change_of_names_with_a_given_key_cut_short_anywhere_is_finished_by_the_next() {
    let made = || {
        let place = given::place();
        place.check("a.example");
        place
    };
    cut_short_at_every_write(made, &ALL[2..], "a.example b.example");
}

#[test]
fn a_renewal_cut_short_anywhere_is_finished_by_the_next_without_the_root_key() {
    let due = || {
        let mut place = Place::made("a.example");
        place.remove("ca.key");
        place.now += DAY * 300;
        place
    };
    cut_short_at_every_write(due, &ALL[4..], "a.example");
}

#[test]
fn what_a_crash_leaves_of_a_temporary_file_is_replaced() {
    let place = Place::made("a.example");
    place.write("server.key.new", b"half a k");
    place.remove("server.key");
    place.check("a.example");
    assert!(!place.content().contains_key("server.key.new"));
}
