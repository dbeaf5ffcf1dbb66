//! Judging a state of the disk: laying it out, and starting what comes after a power cut.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use certs::RootKey;
use registry_server::auth::password;
use registry_server::config::Settings;
use registry_server::server::{self, OutsideFiles};
use tempfile::TempDir;

use super::check::{Verdict, check, open};
use super::checked::{Checked, said};
use super::disk::{Disk, Fates, State};
use super::recording::Recording;
use crate::support::binary::USER;

/// Lays a state out and checks it.
pub(super) fn judge(
    recording: &Recording,
    disk: &Disk<'_>,
    fates: &Fates,
    events: usize,
) -> Verdict {
    judge_state(recording, &disk.state(fates), recording.time_of(events))
}

/// The same for a state that the disk may be in at this time.
pub(super) fn judge_state(recording: &Recording, state: &State<'_>, time: u64) -> Verdict {
    let directory = scratch();
    state.lay_out(directory.path());
    let data = directory.path().join(recording.data);
    // In the way of the file that would hold some MiB of memory for nothing.
    let _ = fs::create_dir(data.join("reserve"));
    if time < recording.made {
        return check_first_start(&data);
    }
    check(&data, &recording.acts.expected_at(time), &recording.sessions)
}

/// Checks a store whose first start may have been cut short: the next one finishes it, and the
/// password that it leaves is the user's.
fn check_first_start(data: &Path) -> Verdict {
    let parent = data.parent().expect("a directory above the store");
    fs::create_dir_all(parent).expect("a directory");
    let settings = Settings {
        data_dir: Some(data.to_owned()),
        hostname: vec!["localhost".to_owned()],
        existing: Some(false),
        ..Settings::default()
    };
    let config = settings.with_defaults().check().expect("good settings");
    let given = OutsideFiles::read(&config).expect("what is given");
    server::initialize(&config, given, RootKey::InDirectory)
        .map_err(|error| format!("the next start fails: {error:#}"))?;
    let store = open(data)?;
    let users = store.users().map_err(said("list the users"))?;
    let [user] = users.as_slice() else { return Err(format!("not one user: {users:?}")) };
    let file = fs::read(store.layout().init_password()).map_err(said("read the password"))?;
    if user.name.as_str() != USER || !password::is_right(file.trim_ascii_end(), &user.password_hash)
    {
        return Err("the password in its file is not the first user's".to_owned());
    }
    let mut checked = Checked::new(&store, data);
    checked.verify(std::iter::empty())?;
    checked.collect(&BTreeMap::new())
}

/// A directory in memory, if this machine has one: thousands of states would wear a disk out.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("registry-power-").tempdir_in(parent).expect("a directory")
}
