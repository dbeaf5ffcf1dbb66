//! Receipts, and what is left out by them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;

use serde_json::Value;

use super::{export, export_run, large, put};
use crate::support::binary::Instance;
use crate::support::clients::Curl;
use crate::support::images::sha256;
use crate::support::layout::{Layout, is_signed, volumes};

#[test]
fn a_second_export_has_the_difference_and_its_size_shows_it() {
    let (near, far) = (Instance::started(), Instance::started());
    let (to_near, to_far) = (Curl::of(&near), Curl::of(&far));
    for number in 0..8 {
        put(&to_near, "app", &number.to_string(), &large(number));
        put(&to_far, "elsewhere", &number.to_string(), &large(number));
    }
    put(&to_near, "app", "new", &large(8));
    // What is lost on the other side is not there.
    let lost = large(3);
    fs::remove_file(super::blob(&far, &lost.layer)).expect("a blob");
    far.command(&["verify"], &[]).fails(1);
    let place = tempfile::tempdir().expect("a directory");
    let receipt = place.path().join("receipt");
    let path = receipt.display().to_string();
    let told = far.command(&["receipt"], &[&path]).ok();
    assert!(told.contains("0 bundles and 15 blobs"), "{told}");
    let text = fs::read_to_string(&receipt).expect("a receipt");
    assert!(text.starts_with("registry receipt 1\nregistry "), "{text}");
    assert!(text.contains(&format!("\n{}\n", &sha256(&large(0).layer)[7..][..16])), "{text}");
    // On standard output, the same but for when it was written.
    let printed = far.command(&["receipt"], &["-"]).ok();
    assert_eq!(printed.lines().count(), text.lines().count());

    let (all, rest) = (place.path().join("all"), place.path().join("rest"));
    let whole = export(&near, &all, &[]);
    let report = export(&near, &rest, &["--since", &path]);
    assert_eq!((&report["left_out_blobs"], &report["blobs"]), (&15.into(), &3.into()));
    assert_eq!(
        report["receipt"]["registry"],
        text.lines().nth(1).expect("it")["registry ".len()..]
    );
    assert_eq!(report["manifests"], whole["manifests"]);
    let bytes = |report: &Value, name: &str| report[name].as_u64().expect("a number");
    assert_eq!(bytes(&report, "bytes") + bytes(&report, "left_out_bytes"), bytes(&whole, "bytes"));
    assert!(bytes(&report, "bytes") < 700_000, "{report}");
    let lacking: BTreeSet<String> = (0..8)
        .map(large)
        .flat_map(|image| [sha256(&image.layer), sha256(&image.config)])
        .filter(|digest| *digest != sha256(&lost.layer))
        .collect();
    let layout = Layout::read(&volumes(&rest), &lacking);
    // Each is named, and its manifest is there.
    assert_eq!(layout.names.len(), 9);
    assert!(layout.blobs.contains_key(&sha256(&lost.layer)));
    assert!(layout.blobs.contains_key(&sha256(&large(8).layer)));
    assert!(lacking.iter().all(|digest| !layout.blobs.contains_key(digest)));
    assert!(is_signed(&rest, report["key"].as_str().expect("a key")));
    let base = &layout.documents[0]["bases"][0];
    assert_eq!(
        (&base["left_out"], &base["checksum"]),
        (&15.into(), &{
            let sum = text.lines().last().expect("a line");
            Value::from(sum)
        })
    );
}

#[test]
fn a_receipt_replaces_an_older_one_and_nothing_else() {
    let instance = Instance::started();
    let place = tempfile::tempdir().expect("a directory");
    let at = |name: &str| place.path().join(name);
    let receipt = |name: &str| instance.command(&["receipt"], &[&at(name).display().to_string()]);
    fs::write(at("empty"), "").expect("a file");
    fs::write(at("empty.part"), "somebody's").expect("a file");
    receipt("empty").ok();
    receipt("empty").ok();
    assert_eq!(fs::read_to_string(at("empty.part")).expect("a file"), "somebody's");
    fs::write(at("notes"), "somebody's").expect("a file");
    symlink(at("empty"), at("link")).expect("a link");
    fs::create_dir(at("directory")).expect("a directory");
    for name in ["notes", "link", "directory"] {
        let said = receipt(name).fails(1);
        assert!(said.contains(" is there and no receipt: choose another name"), "{said}");
    }
    assert_eq!(fs::read_to_string(at("notes")).expect("a file"), "somebody's");
    // What a run left that was cut short goes, wherever it leads.
    symlink(at("notes"), at("new.new")).expect("a link");
    receipt("new").ok();
    assert_eq!(fs::read_to_string(at("notes")).expect("a file"), "somebody's");
}

#[test]
fn a_receipt_that_was_changed_or_is_none_is_refused() {
    let instance = Instance::started();
    put(&Curl::of(&instance), "app", "1", &large(0));
    let place = tempfile::tempdir().expect("a directory");
    let (receipt, root) = (place.path().join("receipt"), place.path().join("bundle"));
    let path = receipt.display().to_string();
    let refused = |text: &[u8]| {
        fs::write(&receipt, text).expect("a file");
        let said = export_run(&instance, &root, &["--since", &path]).fails(1);
        assert!(!root.exists());
        said
    };
    instance.command(&["receipt"], &[&path]).ok();
    let text = fs::read_to_string(&receipt).expect("a receipt");
    let cut = refused(&text.as_bytes()[..text.len() - 9]);
    assert!(cut.contains("not as it was written") && cut.contains("copy it again"), "{cut}");
    let changed = refused(text.replacen("made 1", "made 2", 1).as_bytes());
    assert!(changed.contains("not as it was written"), "{changed}");
    assert!(refused(b"").contains("this is no receipt"));
    assert!(refused(&[0xff; 100]).contains("this is no receipt"));
    let later = text.replacen("receipt 1", "receipt 9", 1);
    assert!(refused(later.as_bytes()).contains("a newer registry reads it"));
    fs::remove_file(&receipt).expect("it goes");
    let said = export_run(&instance, &root, &["--since", &path]).fails(1);
    assert!(said.contains("there is no receipt"), "{said}");
    // A whole one of the registry itself leaves out all blobs, which is told: it may be a mistake.
    instance.command(&["receipt"], &[&path]).ok();
    let told = export_run(&instance, &root, &["--since", &path]).ok();
    assert!(told.contains(" in 1 manifest and 0 blobs\n"), "{told}");
    assert!(told.contains(" by this registry itself or a copy of it: is it the"), "{told}");
}
