//! What crosses the gap again and again: receipts name the bundles that were taken whole, and what
//! is missing is named with the receipt by which it was left out.

use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{import, instance, is_whole, serve};
use crate::support::binary::Instance;
use crate::support::content::{noise, push_image, sha256};

/// The place between two registries.
struct Stick(TempDir);

impl Stick {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(PathBuf::from(self.path(name))).expect("a text")
    }

    /// Writes a receipt, and says how many bundles and blobs it names.
    #[track_caller]
    fn receipt(&self, far: &Instance, name: &str) -> (u64, u64) {
        let told = far.command(&["receipt", "--json"], &[&self.path(name)]).ok();
        let told: Value = serde_json::from_str(&told).expect("JSON");
        let count = |name: &str| told[name].as_u64().expect("a number");
        (count("bundles"), count("blobs"))
    }

    #[track_caller]
    fn export(&self, near: &Instance, name: &str, rest: &[&str]) -> Value {
        let told = near.command(&["export", "--json"], &[&[&*self.path(name)], rest].concat());
        serde_json::from_str(&told.ok()).expect("JSON")
    }
}

/// Pushes images of these numbers.
fn push(instance: &Instance, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let layer = noise(number, 4000);
        push_image(&instance.client(), "team/app", &number.to_string(), &layer);
    }
}

#[test]
fn a_receipt_names_what_was_taken_whole_and_the_next_bundle_has_the_rest() {
    for is_served in [true, false] {
        let (mut near, mut far) = (instance(true), instance(is_served));
        let stick = Stick::new();
        push(&near, 0..8);
        let first = stick.export(&near, "first", &[]);
        import(&far, &[&stick.path("first")], 0);
        assert_eq!(stick.receipt(&far, "receipt"), (1, 0));
        let number = first["bundle"].as_str().expect("a number");
        let sum = first["checksum"].as_str().expect("a sum");
        let text = stick.text("receipt");
        assert!(text.contains(&format!("\nbundle {number} {sum}\nsha256:")), "{text}");

        push(&near, 8..10);
        if !is_served {
            near.stop();
        }
        let since = ["--since", &stick.path("receipt")];
        let second = stick.export(&near, "second", &since);
        let counts = ["left_out_blobs", "blobs", "unknown_bundles", "ambiguous_blobs"];
        assert_eq!(counts.map(|name| second[name].as_u64()), [9, 2, 0, 0].map(Some), "{second}");
        // To another registry the number says nothing, and it leaves out nothing.
        let third = Instance::started();
        push(&third, 0..8);
        let others = stick.export(&third, "others", &since);
        assert_eq!(counts.map(|name| others[name].as_u64()), [0, 9, 1, 0].map(Some), "{others}");

        let key = second["key"].as_str().expect("a key");
        let report = import(&far, &["--require-signer", key, &stick.path("second")], 0);
        assert_eq!((&report["images"], &report["read_blobs"]), (&json!(10), &json!(2)));
        assert_eq!(stick.receipt(&far, "receipt"), (2, 0));
        let report = stick.export(&near, "nothing", &since);
        assert_eq!(counts.map(|name| report[name].as_u64()), [11, 0, 0, 0].map(Some), "{report}");
        // The same again is no other bundle, and one of another registry is named blob by blob,
        // until its bundle is the newest.
        import(&far, &[&stick.path("first")], 0);
        assert_eq!(stick.receipt(&far, "receipt"), (2, 0));
        push(&third, 20..21);
        stick.export(&third, "third", &[]);
        import(&far, &[&stick.path("third")], 0);
        let (bundles, blobs) = stick.receipt(&far, "receipt");
        assert_eq!((bundles, blobs), (1, 2), "{}", stick.text("receipt"));
        serve(&mut far, is_served);
        assert!(is_whole(&far, "team/app:9") && is_whole(&far, "team/app:20"));
        far.stop();
    }
}

#[test]
fn what_is_gone_is_named_by_no_number_and_comes_again() {
    let (near, far) = (Instance::started(), Instance::started());
    let stick = Stick::new();
    push(&near, 0..5);
    stick.export(&near, "first", &[]);
    import(&far, &[&stick.path("first")], 0);
    far.command(&["rm"], &["team/app:0"]).ok();
    far.command(&["gc"], &["--grace", "0s", "--undo-time", "0s"]).ok();
    assert_eq!(stick.receipt(&far, "receipt"), (0, 5), "{}", stick.text("receipt"));
    let second = stick.export(&near, "second", &["--since", &stick.path("receipt")]);
    assert_eq!((&second["left_out_blobs"], &second["blobs"]), (&json!(5), &json!(1)));
    import(&far, &[&stick.path("second")], 0);
    assert!(is_whole(&far, "team/app:0"));
    assert_eq!(stick.receipt(&far, "receipt"), (2, 0));
    // So is what is lost.
    let layer = noise(3, 4000);
    std::fs::remove_file(far.data().join(super::blob_path(&layer))).expect("a blob");
    far.command(&["verify"], &[]).fails(1);
    assert_eq!(stick.receipt(&far, "receipt"), (1, 4));
}

#[test]
fn what_did_not_come_whole_is_named_by_no_number() {
    let (near, far) = (Instance::started(), Instance::started());
    let stick = Stick::new();
    push(&near, 0..6);
    let told = stick.export(&near, "bundle", &["--volume-size", "70KB"]);
    let volumes: Vec<String> = told["volumes"]
        .as_array()
        .expect("volumes")
        .iter()
        .map(|name| stick.path(&format!("bundle/{}", name.as_str().expect("a name"))))
        .collect();
    assert!(volumes.len() > 2, "{told}");
    let all: Vec<&str> = volumes.iter().map(String::as_str).collect();
    let (_, rest) = all.split_last().expect("volumes");
    import(&far, rest, 0);
    let (bundles, blobs) = stick.receipt(&far, "receipt");
    assert_eq!(bundles, 0);
    assert!(blobs > 3, "{blobs}");
    // With a blob that is cut out its image does not come, and the last volume names it.
    let layer = noise(5, 4000);
    let hex = sha256(&layer).replacen("sha256:", "", 1);
    let path = |volume: &&str| PathBuf::from(volume).join("blobs/sha256").join(&hex);
    let path = all.iter().map(path).find(|path| path.exists()).expect("a volume with the blob");
    std::fs::remove_file(&path).expect("a blob");
    import(&far, &all, 1);
    assert_eq!(stick.receipt(&far, "receipt").0, 0);
    std::fs::write(&path, layer).expect("the blob");
    import(&far, &all, 0);
    assert_eq!(stick.receipt(&far, "receipt"), (1, 0));
}

#[test]
fn a_number_that_somebody_else_gives_to_his_blobs_is_not_believed() {
    let (near, far) = (Instance::started(), Instance::started());
    let stick = Stick::new();
    push(&near, 0..3);
    let first = stick.export(&near, "first", &["team/app:0"]);
    let second = stick.export(&near, "second", &[]);
    // What has one image says that it is what has three.
    let document = PathBuf::from(stick.path("first")).join("registry-bundle.json");
    let mut text = std::fs::read_to_string(&document).expect("a text");
    for name in ["bundle", "checksum"] {
        let [from, to] = [&first, &second].map(|it| it[name].as_str().expect("a text"));
        assert!(text.contains(from), "{text}");
        text = text.replace(from, to);
    }
    std::fs::write(&document, text).expect("a file");
    std::fs::remove_file(document.with_extension("sig")).expect("a signature");
    import(&far, &[&stick.path("first")], 0);
    assert_eq!(stick.receipt(&far, "receipt"), (0, 2));
}

#[test]
fn what_a_bundle_leaves_out_is_named_with_the_receipt_and_the_commands() {
    let [near, far, other] = [(); 3].map(|()| Instance::started());
    let stick = Stick::new();
    push(&near, 0..2);
    stick.export(&near, "first", &[]);
    import(&far, &[&stick.path("first")], 0);
    stick.receipt(&far, "receipt");
    push(&near, 2..3);
    let second = stick.export(&near, "second", &["--since", &stick.path("receipt")]);
    let receipt = stick.text("receipt").lines().last().expect("a sum").to_owned();
    let [near_id, far_id] = [&second["registry"], &second["receipt"]["registry"]];
    let near_id = near_id.as_str().expect("it");
    let far_id = far_id.as_str().expect("it");
    // It was meant for somebody else.
    for flags in [&["--dry-run"][..], &[]] {
        let report = import(&other, &[flags, &[&*stick.path("second")]].concat(), 1);
        let base = &report["bases"][0];
        assert_eq!(base["receipt"], json!(receipt), "{report}");
        let (of, this) = (&base["receipt_of"], &base["this_registry"]);
        assert!(*of == json!(far_id) && *this != *of, "{base}");
        let names = json!(["team/app:0", "team/app:1", "team/app:2"]);
        assert_eq!((&base["written_by"], &base["images"]), (&json!(near_id), &names));
    }
    let run = other.command(&["import"], &[&stick.path("second")]);
    let text = String::from_utf8_lossy(&run.out).into_owned();
    let meant = format!("by the registry {far_id}, for which the bundle is meant");
    assert!(text.contains(&meant) && text.contains(&receipt), "{text}");
    let commands = format!(
        "to get it whole, type here: registry receipt FILE; on the registry {near_id}: registry \
         export DEST --since FILE team/app:0 team/app:1 team/app:2; and here: registry import DEST"
    );
    assert!(text.contains(&commands), "{text}");
    assert!(!text.contains("give all segments of an archive"), "{text}");
    // It was meant for this one, which has lost something since. The commands say what to do.
    far.command(&["rm"], &["team/app:1"]).ok();
    far.command(&["gc"], &["--grace", "0s", "--undo-time", "0s"]).ok();
    let run = far.command(&["import"], &[&stick.path("second")]);
    assert_eq!(run.code(), Some(1), "{run}");
    let text = String::from_utf8_lossy(&run.out).into_owned();
    assert!(text.contains(" by this registry, which has not all of that any more"), "{text}");
    assert!(text.contains("--since FILE team/app:1; and here"), "{text}");
    stick.receipt(&far, "again");
    stick.export(&near, "rest", &["--since", &stick.path("again"), "team/app:1"]);
    import(&far, &[&stick.path("rest")], 0);
    assert!(is_whole(&far, "team/app:1"));
    // What names no base is told as before.
    let report = import(&other, &["--dry-run", &stick.path("first")], 0);
    assert_eq!(report["bases"], json!([]));
}
