//! Root makes and restores backups of what others wrote, with no more rights than those have.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;
use std::process::Command;

use super::{arguments, backup, blob, directory, image, open_to_all, push, restore};
use crate::support::binary::{Instance, program};
use crate::support::clients::Curl;
use crate::support::disk::SmallDisk;
use crate::support::images::sha256;
use crate::support::process::run;
use crate::support::report::skip;

const OWNER: u32 = 12345;

#[test]
fn root_copies_a_database_and_opens_none() {
    let Some(mut instance) = owned() else { return };
    push(&Curl::of(&instance), 0);
    for flags in [&[][..], &["--stopped"]] {
        if !flags.is_empty() {
            instance.stop();
        }
        let trace = instance.root().join("trace");
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-s", "4096", "-e", "trace=openat", "-o"]).arg(&trace);
        run(command.arg(program()).args(arguments(&instance, flags))).ok();
        let trace = fs::read_to_string(trace).expect("a trace");
        let root = trace.split(' ').next().expect("the first thread");
        let below = |path: &Path, name: &str| format!("\"{}/{name}", path.display());
        let (data, database) =
            (below(instance.data(), ""), below(&directory(&instance), "registry.db"));
        let opened = |path: &str| trace.lines().filter(|line| line.contains(path)).count();
        assert!(opened(&data) > 2 && opened(&database) == 1, "{trace}");
        for line in trace.lines() {
            let is_roots = line.split(' ').next() == Some(root);
            assert!(!(is_roots && line.contains(&data)), "{line}");
            assert!(!line.contains(&database) || line.contains("O_EXCL"), "{line}");
        }
    }
}

#[test]
fn a_blob_that_grows_is_wrong_and_takes_no_more_of_the_backups_disk_than_was_announced() {
    let Some(disk) = SmallDisk::mount() else {
        skip("this machine lets nobody mount a small disk to fill");
        return;
    };
    let instance = Instance::started();
    let curl = Curl::of(&instance);
    (0..2).for_each(|number| push(&curl, number));
    let digest = sha256(&image(0).layer);
    let file = fs::File::options().write(true).open(blob(instance.data(), &digest));
    file.expect("a blob").set_len(1 << 40).expect("a file with a hole");
    let to = disk.path().join("backup").display().to_string();
    let said = instance.command(&["backup"], &[&to]).fails(1);
    assert!(said.contains("whole but for 1 blob whose bytes are wrong") && said.contains(&digest));
    assert!(blob(&disk.path().join("backup"), &sha256(&image(1).layer)).exists());
}

#[test]
fn what_the_owner_of_a_backup_lays_there_leads_root_nowhere() {
    let Some(instance) = owned() else { return };
    push(&Curl::of(&instance), 0);
    backup(&instance, &[]).ok();
    let theirs = directory(&instance);
    run(Command::new("chown").args(["-R", &OWNER.to_string()]).arg(&theirs)).ok();
    let secrets = instance.root().join("secrets");
    fs::create_dir(&secrets).expect("a directory");
    fs::write(secrets.join("root.key"), "secret").expect("a file");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(&secrets, mode).expect("a mode");
    restore(&instance, "before").ok();
    fs::rename(theirs.join("tls"), theirs.join("tls.old")).expect("their directory");
    symlink(&secrets, theirs.join("tls")).expect("a link");
    let said = restore(&instance, "after").fails(1);
    assert!(said.contains("tls: Permission denied"), "{said}");
    assert!(!instance.root().join("after/tls/root.key").exists());
}

/// A registry that belongs to somebody else than root; none if this is not root.
fn owned() -> Option<Instance> {
    if !rustix::process::geteuid().is_root() {
        skip("only root can give a directory to somebody else");
        return None;
    }
    let mut instance = Instance::new();
    open_to_all(instance.root());
    fs::create_dir(instance.data()).expect("a directory");
    chown(instance.data(), Some(OWNER), Some(OWNER)).expect("root may do that");
    instance.start();
    Some(instance)
}
