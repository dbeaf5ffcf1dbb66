//! What comes through a pipe, where the same is elsewhere too.

use std::process::Command;

use serde_json::json;

use super::layout::Layout;
use super::{import_piped, is_whole};
use crate::support::binary::Instance;
use crate::support::content::{noise, push_blob, sha256};

/// A layout as a tar.
fn packed(layout: &Layout) -> Vec<u8> {
    let mut tar = Command::new("tar");
    let packed = tar.args(["--create", "--directory", layout.path(), "."]).output();
    packed.expect("tar").stdout
}

#[test]
fn what_came_damaged_hurts_nobody_if_another_source_has_it() {
    let instance = Instance::started();
    let [whole, damaged] = [(); 2].map(|()| Layout::new());
    for layout in [&whole, &damaged] {
        layout.name(&layout.image(&noise(1, 3000)), "team/app:1");
    }
    damaged.put(&sha256(&noise(1, 3000)), &noise(9, 3000));
    let alone = import_piped(&instance, &["-"], &packed(&damaged), 1);
    assert_eq!(alone["missing"][0]["digest"], json!(sha256(&noise(1, 3000))), "{alone}");
    let report = import_piped(&instance, &[whole.path(), "-"], &packed(&damaged), 0);
    assert_eq!(report["images"], json!(1), "{report}");
    assert!(is_whole(&instance, "team/app:1"));
}

#[test]
fn a_manifest_comes_that_somebody_has_pushed_as_a_blob() {
    let instance = Instance::started();
    let layout = Layout::new();
    let image = layout.image(&noise(1, 3000));
    layout.name(&image, "team/app:1");
    push_blob(&instance.client(), "elsewhere", &image.bytes);
    let report = import_piped(&instance, &["-"], &packed(&layout), 0);
    assert_eq!((&report["images"], &report["left"]), (&json!(1), &json!([])), "{report}");
    assert!(is_whole(&instance, "team/app:1"));
}
