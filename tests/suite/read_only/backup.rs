//! Backups from a disk that is read-only: what is cut short is gone on with, and what was noted
//! nowhere is said to be so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{Pushed, a_disk};
use crate::support::binary::{Instance, program, registry};
use crate::support::content::push_blob;
use crate::support::process::run;

#[test]
fn a_backup_that_is_cut_short_is_gone_on_with_and_after_the_repair_by_the_flag() {
    let Some(disk) = a_disk() else { return };
    let mut instance = Instance::new().with_data(disk.path().join("data"));
    instance.start();
    let pushed = Pushed::to(&instance.client());
    let home = tempfile::tempdir().expect("a temporary directory");
    let begun_before = home.path().join("begun-before");
    cut_short(&instance, &begun_before);
    instance.stop();
    disk.remount("ro");
    let rested = home.path().join("rested");
    for directory in [&begun_before, &rested] {
        cut_short(&instance, directory);
        goes_on(&instance, directory);
    }
    instance.start();
    let served = home.path().join("served");
    cut_short(&instance, &served);
    goes_on(&instance, &served);
    pushed.can_be_pulled(&instance.client());
    instance.stop();

    disk.remount("rw");
    for (directory, is_started) in [(&rested, false), (&served, true)] {
        if is_started {
            instance.start();
        }
        let refused = backup(&instance, directory, &[]).fails(1);
        let wrote = format!("the registry in {}", instance.data().display());
        assert!(refused.contains(&wrote), "{refused}");
        let why = "while its disk was read-only, so that it could not be noted. If that was this \
            registry, type the same with --take-over, once";
        assert!(refused.contains(why), "{refused}");
        backup(&instance, directory, &["--take-over"]).ok();
        backup(&instance, directory, &[]).ok();
    }
    instance.stop();
}

#[test]
fn what_is_cut_short_while_it_copies_a_log_leaves_the_backup_before() {
    let Some(disk) = a_disk() else { return };
    let mut instance = Instance::new().with_data(disk.path().join("data"));
    instance.start();
    let pushed = Pushed::to(&instance.client());
    let home = tempfile::tempdir().expect("a temporary directory");
    let directory = home.path().join("backup");
    backup(&instance, &directory, &[]).ok();
    // Without an end in order, the log stays.
    push_blob(&instance.client(), "app", b"new");
    instance.kill();
    disk.remount("ro");
    let log = instance.data().join("registry.db-wal");
    assert!(fs::metadata(log).expect("a log").len() > 0);
    let names = ["registry.db-wal", "registry.wal.new"].map(|name| directory.join(name));
    killed_at("fsync", &names, &instance, &directory, &["--take-over"]);
    let before = home.path().join("before");
    let to = before.to_str().expect("a path in UTF-8");
    registry(&["restore", directory.to_str().expect("UTF-8"), "--data-dir", to]).ok();
    let mut restored = Instance::new().with_data(before);
    restored.start();
    pushed.can_be_pulled(&restored.client());
    restored.stop();
    backup(&instance, &directory, &["--take-over"]).ok();
    assert!(!directory.join("registry.wal.new").exists());
}

/// Kills a backup when all is copied and nothing passes for a backup yet.
#[track_caller]
fn cut_short(instance: &Instance, directory: &Path) {
    killed_at("fsync,rename", &[directory.join("registry.db.new")], instance, directory, &[]);
    let data = directory.with_extension("restored");
    let data = data.to_str().expect("a path in UTF-8");
    let from = directory.to_str().expect("a path in UTF-8");
    let refused = registry(&["restore", from, "--data-dir", data]).fails(1);
    assert!(refused.contains("if its last run was cut short, run it again"), "{refused}");
}

/// Kills a backup at the first of these calls on one of these paths.
#[track_caller]
fn killed_at(
    calls: &str,
    paths: &[PathBuf],
    instance: &Instance,
    directory: &Path,
    flags: &[&str],
) {
    let mut command = Command::new("strace");
    let kill = format!("inject={calls}:signal=KILL:when=1");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", &kill]);
    paths.iter().for_each(|path| {
        command.arg("-P").arg(path);
    });
    command.arg(program()).arg("backup").arg(directory).args(flags);
    command.arg("--data-dir").arg(instance.data());
    assert_eq!(run(&mut command).code(), None, "it was not killed");
}

/// The same again finds what the first run copied, and is whole; and then it is a backup like any
/// other, which is not gone on with by itself.
#[track_caller]
fn goes_on(instance: &Instance, directory: &Path) {
    let told = backup(instance, directory, &["--json"]).ok();
    let summary: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(summary["copied_blobs"], 0);
    assert_eq!(summary["present_blobs"], 3);
    let refused = backup(instance, directory, &[]).fails(1);
    assert!(refused.contains("which is read-only: choose an empty directory"), "{refused}");
}

fn backup(instance: &Instance, directory: &Path, flags: &[&str]) -> crate::support::process::Run {
    let directory = directory.to_str().expect("a path in UTF-8");
    instance.command(&["backup"], &[&[directory][..], flags].concat())
}
