//! What happens while an export is at work: a death, pushes, removal and collection.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use super::{blob, export, image, large, put};
use crate::support::binary::{Instance, program};
use crate::support::clients::Curl;
use crate::support::images::{Family, Image, noise};
use crate::support::layout::{Layout, unpacked, volumes};
use crate::support::process::wait_until;
use crate::support::report::tell;

/// Exports that are killed, in each form.
const KILLS: usize = 10;

#[test]
fn an_export_that_is_killed_passes_for_nothing_and_is_gone_on_with() {
    let mut instance = Instance::started();
    let curl = Curl::of(&instance);
    for number in 0..12 {
        put(&curl, "app", &number.to_string(), &large(number));
    }
    let place = tempfile::tempdir().expect("a directory");
    for flags in [&[][..], &["--tar"], &["--volume-size", "1MB"]] {
        let began = Instant::now();
        let whole = place.path().join("whole");
        let report = export(&instance, &whole, flags);
        let length = began.elapsed();
        fs::remove_dir_all(&whole).expect("it goes");
        let (root, mut killed) = (place.path().join("bundle"), 0);
        for round in 0..KILLS {
            // Every other one while the registry rests.
            match round % 2 {
                1 => instance.stop(),
                _ if round > 0 => instance.start(),
                _ => {}
            }
            let mut command = Command::new(program());
            command.arg("export").arg("--data-dir").arg(instance.data()).arg(&root).args(flags);
            let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
            let mut run = quiet.spawn().expect("an export");
            thread::sleep(length.mul_f64(fastrand::f64()));
            let _ = run.kill();
            let is_whole = run.wait().expect("its end").success();
            let is_marked = root.join("registry-bundle.unfinished").exists();
            if is_whole {
                assert!(!is_marked);
                Layout::read(&volumes(&root), &BTreeSet::new());
                fs::remove_dir_all(&root).expect("it goes");
            } else {
                killed += 1;
                // Before its first step, before its end, or after its last step.
                let is_empty = !root.exists() || fs::read_dir(&root).expect("it").count() == 0;
                assert!(is_marked || is_empty || volumes(&root)[0].join("oci-layout").exists());
            }
            if round % 3 == 0 && is_marked {
                assert_eq!(export(&instance, &root, flags)["blobs"], report["blobs"]);
                Layout::read(&volumes(&root), &BTreeSet::new());
                fs::remove_dir_all(&root).expect("it goes");
            }
            if root.exists() && !root.join("registry-bundle.unfinished").exists() {
                fs::remove_dir_all(&root).expect("it goes");
            }
        }
        instance.start();
        tell(&format!("killed {killed} of {KILLS} exports with {flags:?}"));
        assert!(killed > 0, "every export ended before its kill");
        assert_eq!(export(&instance, &root, flags)["checksum"], report["checksum"]);
        assert_eq!(Layout::read(&volumes(&root), &BTreeSet::new()).names.len(), 12);
        fs::remove_dir_all(&root).expect("it goes");
    }
}

#[test]
fn what_is_removed_and_collected_meanwhile_is_written_all_the_same() {
    let instance = Instance::started();
    let curl = Curl::of(&instance);
    // More than a pipe and what is read ahead take.
    put(&curl, "a", "1", &Image::new(Family::Oci, "amd64", &noise(1, 6 << 20)));
    put(&curl, "b", "1", &image(2));
    let place = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(program());
    command.args(["export", "-", "--data-dir"]).arg(instance.data()).stdout(Stdio::piped());
    let mut run = command.stderr(Stdio::null()).spawn().expect("an export");
    let mut out = run.stdout.take().expect("a pipe");
    let mut first = [0; 512];
    out.read_exact(&mut first).expect("the first header");
    // All that was to be exported is listed by now, and waits for this test.
    for image in ["a:1", "b:1"] {
        instance.command(&["rm"], &[image]).ok();
    }
    let collect = || instance.command(&["gc"], &["--undo-time", "0s", "--grace", "0s"]).ok();
    collect();
    collect();
    let later = image(2);
    assert!(blob(&instance, &later.layer).exists(), "it was collected while it was exported");
    let path = place.path().join("piped.tar");
    let mut file = File::create(&path).expect("a file");
    std::io::copy(&mut &first[..], &mut file).expect("room");
    std::io::copy(&mut out, &mut file).expect("room");
    assert!(run.wait().expect("its end").success());
    let layout = Layout::read(&[unpacked(&path)], &BTreeSet::new());
    assert_eq!(layout.names.keys().collect::<Vec<_>>(), ["a:1", "b:1"]);
    // Nothing holds it any more.
    wait_until("what was removed is collected", || {
        collect();
        !blob(&instance, &later.layer).exists()
    });
}

#[test]
fn whoever_ends_the_pipe_ends_the_export() {
    let instance = Instance::started();
    put(&Curl::of(&instance), "a", "1", &Image::new(Family::Oci, "amd64", &noise(1, 6 << 20)));
    let mut command = Command::new(program());
    command.args(["export", "-", "--data-dir"]).arg(instance.data());
    let mut run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("an export");
    drop(run.stdout.take());
    let mut said = String::new();
    run.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
    assert_eq!(run.wait().expect("its end").code(), Some(1));
    assert!(said.contains("whoever read the pipe ended before its end"), "{said}");
}
