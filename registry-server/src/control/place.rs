//! Where the socket of a server lies whose data directory takes none, because its disk is
//! read-only: in a directory for what lasts as long as the host runs, under a name that only this
//! data directory has.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use installer::paths::{RUNTIME, RUNTIME_DIR};

/// Where the server on `data` puts its socket: in the first directory that is its own, or can be
/// made.
///
/// # Errors
/// What is wrong with each of them.
pub(super) fn to_bind(data: &Path) -> io::Result<PathBuf> {
    let name = name(data)?;
    let mut reasons = Vec::new();
    for directory in directories() {
        match make_private(&directory) {
            Ok(()) => return Ok(directory.join(name)),
            Err(error) => reasons.push(format!("{}: {error}", directory.display())),
        }
    }
    Err(io::Error::other(reasons.join("; ")))
}

/// Where the socket of a server on `data` may lie: nobody else could have put one there.
pub(super) fn to_reach(data: &Path) -> Vec<PathBuf> {
    let Ok(name) = name(data) else { return Vec::new() };
    let own = directories().into_iter().filter(|directory| check_private(directory).is_ok());
    own.map(|directory| directory.join(&name)).collect()
}

/// What tells a data directory from all others of this host, whatever path leads to it.
fn name(data: &Path) -> io::Result<String> {
    let found = data.metadata()?;
    Ok(format!("{:x}-{:x}.sock", found.dev(), found.ino()))
}

/// The directories that may be there for this: a service is told its own by systemd, root has
/// the one of that name, and everybody else what the session gave him.
fn directories() -> Vec<PathBuf> {
    let told = std::env::var_os("RUNTIME_DIRECTORY").and_then(|told| {
        // There may be several, with colons between them.
        std::env::split_paths(&told).next()
    });
    let session = std::env::var_os("XDG_RUNTIME_DIR").map(|told| Path::new(&told).join(RUNTIME));
    let all = [told, Some(RUNTIME_DIR.into()), session];
    all.into_iter().flatten().filter(|path| path.is_absolute()).collect()
}

/// Makes the directory unless it is there.
fn make_private(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(MODE).create(directory) {
        // Whatever the umask.
        Ok(()) => fs::set_permissions(directory, Permissions::from_mode(MODE))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    check_private(directory)
}

/// Checks that the directory is ours alone: in another's, the socket could be another's.
fn check_private(directory: &Path) -> io::Result<()> {
    let found = directory.symlink_metadata()?;
    let is_ours = found.uid() == rustix::process::geteuid().as_raw();
    if found.is_dir() && is_ours && found.mode() & OTHERS == 0 {
        return Ok(());
    }
    Err(io::Error::other("it is no directory that belongs to this user and is closed to others"))
}

/// The mode of the directory.
const MODE: u32 = 0o700;
/// The bits of a mode that are about others.
const OTHERS: u32 = 0o077;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_others_can_reach_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("run");
        make_private(&directory).unwrap();
        make_private(&directory).unwrap();
        fs::set_permissions(&directory, Permissions::from_mode(0o750)).unwrap();
        assert!(make_private(&directory).is_err());
        let link = home.path().join("link");
        std::os::unix::fs::symlink(home.path(), &link).unwrap();
        assert!(check_private(&link).is_err());
    }

    #[test]
    fn each_data_directory_has_its_own_name_by_whatever_path() {
        let home = tempfile::tempdir().unwrap();
        let (first, second) = (home.path().join("a"), home.path().join("b"));
        fs::create_dir(&first).unwrap();
        fs::create_dir(&second).unwrap();
        let link = home.path().join("link");
        std::os::unix::fs::symlink(&first, &link).unwrap();
        assert_eq!(name(&first).unwrap(), name(&link).unwrap());
        assert_ne!(name(&first).unwrap(), name(&second).unwrap());
        assert!(name(&home.path().join("missing")).is_err());
    }
}
