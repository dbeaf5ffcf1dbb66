//! Across an air gap: two registries, each in a network that leads nowhere, and a disk that is
//! carried from one to the other and back. What stands on both sides in the end is the same,
//! whatever was killed on the way, and the second time only the difference is carried.

use std::collections::BTreeMap;
use std::fs;

use fastrand::Rng;
use serde_json::{Value, json};

use crate::kill::number;
use crate::listen::can_be_apart;
use crate::support::process::Run;
use crate::support::report::tell;

mod disk;
mod page;
mod release;
mod shown;
mod side;
mod ssh;
mod strike;

use disk::Disk;
use release::IMAGES;
use shown::{look, shown};
use side::Side;
use strike::Calls;

#[test]
fn a_release_goes_across_and_a_month_later_only_the_difference() {
    if !can_be_apart() {
        return;
    }
    let seed = number("AIRGAP_SEED", fastrand::u64(..));
    tell(&format!("across the air gap: AIRGAP_SEED={seed}"));
    let mut random = Rng::with_seed(seed);
    let (online, inside) = (Side::start(), Side::start());
    for (side, other) in [(&online, &inside), (&inside, &online)] {
        assert_eq!(side.interfaces(), ["lo"]);
        assert!(side.reaches(side) && !side.reaches(other));
    }

    let (first, mut disk) = (release::first(), Disk::new(&online));
    online.inside(|client| release::push(client, &first));
    let all = export_with_kills(&online, &disk, &mut random);
    disk.carry_to(&inside);
    let there = online.inside(shown);
    import_with_kills(&inside, &disk, &there, &mut random);
    check(&online, &inside, &first);

    inside.run(&["receipt", &disk.path("receipt")]).ok();
    let second = release::second();
    online.inside(|client| release::push(client, &second));
    disk.carry_to(&online);
    let receipt = disk.path("receipt");
    let rest = online.report(&[&export(&disk.path("second")), &["--since", &receipt][..]].concat());
    disk.carry_to(&inside);
    let taken = inside.report(&import(&disk.volumes("second")));
    check(&online, &inside, &second);

    // Of blobs exactly those went that were not there; manifests always go.
    let (known, mut lacking) = (release::blobs(&first), release::blobs(&second));
    lacking.retain(|digest, _| !known.contains_key(digest));
    assert_eq!((&rest["blobs"], &rest["left_out_blobs"]), (&json!(lacking.len()), &all["blobs"]));
    assert_eq!(taken["read_blobs"], json!(lacking.len()), "{taken}");
    let [whole, part] = ["first", "second"].map(|name| disk.bytes(name));
    assert!(part * 4 < whole, "{part} bytes after {whole}");
    tell(&format!(
        "across the air gap: {IMAGES} names in {} volumes of {whole} bytes; then {} that are new \
         or others in {part} bytes",
        disk.volumes("first").len(),
        second.len(),
    ));
}

/// Exports, killed ten times on the way; returns what is reported at the end.
fn export_with_kills(online: &Side, disk: &Disk, random: &mut Rng) -> Value {
    let (undisturbed, first) = (disk.path("undisturbed"), disk.path("first"));
    let (calls, run) = Calls::of(online, &export(&undisturbed));
    let expected: Value = serde_json::from_str(&run.ok()).expect("JSON");
    // Struck when all was there and nobody was told yet, the same again says so, and it is so.
    let check_whole = |run: Run| {
        let said = run.fails(1);
        assert!(said.contains("holds a bundle already"), "{said}");
        assert_eq!(disk.names("first"), disk.names("undisturbed"), "nothing else is left");
        let taken = Side::start().report(&import(&disk.volumes("first")));
        assert_eq!(taken["images"], expected["images"], "{taken}");
        assert_eq!((&taken["missing"], &taken["left"]), (&json!([]), &json!([])), "{taken}");
    };
    let begin_again = |run: Run| {
        check_whole(run);
        fs::remove_dir_all(&first).expect("the bundle goes");
    };
    let mut kills = 0;
    while kills < KILLS {
        match calls.moment(random, 1).strike(online, &export(&first)) {
            None => kills += 1,
            Some(run) if run.code() == Some(0) => fs::remove_dir_all(&first).expect("it goes"),
            Some(run) => begin_again(run),
        }
    }
    let mut run = online.run(&export(&first));
    if run.code() != Some(0) {
        begin_again(run);
        run = online.run(&export(&first));
    }
    let report: Value = serde_json::from_str(&run.ok()).expect("JSON");
    for field in ["checksum", "images", "manifests", "blobs", "bytes", "volumes"] {
        assert_eq!(report[field], expected[field], "{field}");
    }
    check_whole(online.run(&export(&first)));
    assert!(disk.volumes("first").len() > 2, "it is split");
    fs::remove_dir_all(undisturbed).expect("it goes");
    report
}

/// Imports, killed again and again on the way: what is there by then is right and whole.
fn import_with_kills(
    inside: &Side,
    disk: &Disk,
    there: &BTreeMap<String, String>,
    random: &mut Rng,
) {
    let volumes = disk.volumes("first");
    let words = import(&volumes);
    let (calls, run) = Calls::of(&Side::start(), &words);
    run.ok();
    let (mut kills, mut here) = (0, BTreeMap::new());
    for _ in 0..KILLS {
        let moment = calls.moment(random, PARTS);
        kills += usize::from(moment.strike(inside, &words).is_none());
        inside.inside(|client| look(client, &mut here));
        let wrong = here.iter().find(|(key, value)| there.get(*key) != Some(*value));
        assert_eq!(wrong, None, "after {moment:?}");
    }
    tell(&format!("across the air gap: imports that were cut short: {kills} of {KILLS}"));
    assert!(kills >= PARTS, "most came to their end before they were killed");
    let report = inside.report(&words);
    assert_eq!((&report["missing"], &report["left"]), (&json!([]), &json!([])), "{report}");
}

/// Checks that both sides have the same, these images among it, and that all of it is good.
#[track_caller]
fn check(online: &Side, inside: &Side, images: &[release::Image]) {
    let [there, here] = [online, inside].map(|side| side.inside(shown));
    let wrong = there.iter().find(|(key, value)| here.get(*key) != Some(*value));
    assert_eq!((wrong, there.len()), (None, here.len()));
    for (name, digest) in release::names(images) {
        assert_eq!(here.get(&name), Some(&digest), "{name}");
    }
    for side in [online, inside] {
        side.run(&["verify"]).ok();
    }
    assert_eq!(inside.uploads(), 0, "imports left something");
}

/// The words of an export to archives that fit on small disks.
fn export(to: &str) -> Vec<&str> {
    vec!["export", to, "--json", "--tar", "--volume-size", "4MB"]
}

/// The words of an import.
fn import(volumes: &[String]) -> Vec<&str> {
    ["import", "--json"].into_iter().chain(volumes.iter().map(String::as_str)).collect()
}

/// How often each of the two is killed.
const KILLS: usize = 10;
/// An import is killed before it has done one of so many parts of all its work, so that the first
/// kills come before the end, and the last ones near it.
const PARTS: usize = 6;
