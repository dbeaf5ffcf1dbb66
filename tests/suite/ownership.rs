//! Whose the files below DATA are: always the owner's of DATA, whoever runs a command.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::initialize::initialize_as_owner;
use crate::support::binary::{Instance, PASSWORD, USER};
use crate::support::clients::Curl;
use crate::support::process::{run, wait_until};
use crate::support::report::skip;

pub(crate) const OWNER: (u32, u32) = (12345, 12346);

#[test]
fn nothing_below_data_belongs_to_anybody_but_its_owner() {
    let Some(mut instance) = owned(&[]) else { return };
    instance.start();
    let owner = fs::metadata(format!("/proc/{}", instance.pid())).expect("the process").uid();
    assert_eq!(owner, OWNER.0, "the server runs as the owner");
    check(instance.data());

    let curl = Curl::of(&instance);
    curl.begin_upload("app");
    instance.add_user("running", "push");
    check(instance.data());
    instance.stop();
    check(instance.data());
    // With no server the commands themselves open the database and make files.
    instance.add_user("stopped", "push");
    check(instance.data());
    instance.command(&["status"], &[]).ok();
    instance.command(&["ls"], &[]).ok();
    instance.command_with_input(&["user", "passwd"], &[USER], PASSWORD).ok();
    instance.command(&["user", "remove"], &["running"]).ok();
    check(instance.data());
    instance.start();
    instance.kill();
    instance.command(&["user", "list"], &[]).ok();
    check(instance.data());
}

#[test]
fn a_registry_that_root_makes_for_its_owner_is_the_owners() {
    let Some(mut instance) = owned(&["--existing"]) else { return };
    initialize_as_owner(&instance);
    check(instance.data());
    instance.start();
    check(instance.data());
}

#[test]
fn others_get_through_to_the_ca_and_cannot_lock_the_directory() {
    let Some(mut instance) = owned(&[]) else { return };
    instance.start();
    instance.stop();
    // As a program before this one left it: anybody may open it, and somebody has.
    open_to_all(instance.data());
    let data = instance.data().display().to_string();
    let lock = ["flock", "--shared", "--nonblock", "--no-fork", &data, "sleep", "600"];
    let mut holder = as_other(&lock).spawn().expect("setpriv runs");
    let is_locked = || run(as_other(&lock[..5]).arg("true")).code() == Some(0);
    wait_until("it is locked", || {
        let own = fs::File::open(&data).expect("the directory");
        own.try_lock().is_err()
    });
    instance.begin();
    let sentence = format!(
        "waiting for an unknown process (as root, `fuser -v {data}` or `lslocks` finds it), which \
         owns the data directory"
    );
    wait_until("it says that it waits", || instance.errors().contains(&sentence));
    let refused = instance.command(&["ls"], &[]).fails(1);
    assert!(refused.contains("an unknown process (as root, "), "{refused}");
    holder.kill().expect("it can be killed");
    holder.wait().expect("it ends");
    instance.wait_until_ready();
    instance.stop();
    assert!(!is_locked(), "somebody else locked it again");
    let ca = instance.data().join("tls/ca.crt");
    run(as_other(&["cat"]).arg(ca)).ok();
}

/// A registry whose empty data directory belongs to [`OWNER`]; none where nobody can give it away.
pub(crate) fn owned(flags: &[&str]) -> Option<Instance> {
    if !rustix::process::geteuid().is_root() {
        skip("only root can give a directory to somebody else, or act as one");
        return None;
    }
    let instance = Instance::new().with_flags(flags);
    // The owner must reach DATA; a file that only root reads lies outside of it.
    open_to_all(instance.root());
    fs::create_dir(instance.data()).expect("a directory");
    chown(instance.data(), Some(OWNER.0), Some(OWNER.1)).expect("root may do that");
    Some(instance)
}

/// A command that somebody types who has nothing to do with the registry.
fn as_other(words: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).args(words);
    command
}

/// Lets every user pass through a directory.
fn open_to_all(path: &Path) {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(path, mode).expect("the mode of an own directory");
}

/// Checks that everything belongs to the owner, DATA itself too.
pub(crate) fn check(data: &Path) {
    let mut left: Vec<PathBuf> = vec![data.to_owned()];
    let mut count = 0;
    while let Some(path) = left.pop() {
        let metadata = fs::symlink_metadata(&path).expect("its metadata");
        assert_eq!((metadata.uid(), metadata.gid()), OWNER, "{}", path.display());
        if metadata.is_dir() {
            let entries = fs::read_dir(&path).expect("its entries");
            left.extend(entries.map(|entry| entry.expect("an entry").path()));
        }
        count += 1;
    }
    assert!(count > 500, "the shards alone are more than {count}");
}
