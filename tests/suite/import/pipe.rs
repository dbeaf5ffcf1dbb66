//! What comes through a pipe, where the same is elsewhere too.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;

use super::layout::Layout;
use super::{import_piped, is_whole, stagings};
use crate::support::binary::{Instance, program};
use crate::support::content::{noise, push_blob, sha256};
use crate::support::process::wait_until;

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
fn a_server_that_starts_again_amid_an_import_waits_for_no_end_of_it() {
    let mut instance = Instance::started();
    let layout = Layout::new();
    layout.name(&layout.image(&noise(1, 3 << 20)), "team/app:1");
    let mut command = Command::new(program());
    command.args(["import", "--data-dir"]).arg(instance.data()).arg("-");
    let mut running = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("import");
    let mut input = running.stdin.take().expect("a pipe");
    wait_until("the import begins", || stagings(&instance) == 1);
    instance.stop();
    let packed = packed(&layout);
    // As much as a pipe holds: nobody may read it before the next server runs.
    let (first, rest) = packed.split_at(32 << 10);
    input.write_all(first).expect("somebody who reads");
    // The import has not all of its input, so it lives longer than this.
    instance.start();
    input.write_all(rest).expect("somebody who reads");
    drop(input);
    assert!(running.wait().expect("its end").success());
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
