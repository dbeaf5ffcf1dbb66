//! Blobs that go from the registry while an import is under way that relies on them.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{blob_path, import, is_whole, layout::Layout, named, stagings};
use crate::support::binary::{Instance, program};
use crate::support::content::{Manifest, noise};
use crate::support::process::wait_until;

/// Large enough that it is read later than what was asked for before it.
const SHARED_BYTES: usize = 64 << 20;
const OTHERS: u64 = 12;
const OTHER_BYTES: usize = 16 << 20;
/// Images that are whole wait so long for others to become visible with them.
const GROUP_TIME: Duration = Duration::from_secs(1);

#[test]
fn a_blob_that_goes_after_it_was_found_is_read_and_the_images_behind_it_come_too() {
    let mut instance = Instance::started();
    let shared = noise(1, SHARED_BYTES);
    let before = Layout::new();
    before.name(&before.image(&shared), "team/before:1");
    import(&instance, &[before.path()], 0);
    let layout = Layout::new();
    layout.name(&layout.image(&noise(2, 1000)), "team/first:1");
    layout.name(&layout.image(&shared), "team/shared:1");
    let others: Vec<Manifest> =
        (0..OTHERS).map(|number| layout.image(&noise(3 + number, OTHER_BYTES))).collect();
    for (number, image) in others.iter().enumerate() {
        layout.name(image, &format!("team/other{number}:1"));
    }
    let mut running = Command::new(program())
        .args(["import", "--data-dir"])
        .arg(instance.data())
        .arg(layout.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("an import");
    let pid = Pid::from_child(&running);
    wait_until("the first image is visible", || named(&instance, "team/first:1").is_some());
    // The second one waits for others now, and its layer was there when it was looked for.
    kill_process(pid, Signal::STOP).expect("to stop it");
    let stopped = Instant::now();
    fs::remove_file(instance.data().join(blob_path(&shared))).expect("the layer");
    wait_until("it has waited long enough", || stopped.elapsed() > GROUP_TIME);
    kill_process(pid, Signal::CONT).expect("to go on");
    assert!(running.wait().expect("its end").success());
    for (number, image) in others.iter().enumerate() {
        assert_eq!(named(&instance, &format!("team/other{number}:1")), Some(image.digest()));
    }
    assert!(is_whole(&instance, "team/shared:1"));
    assert_eq!(stagings(&instance), 0);
    instance.stop();
}
