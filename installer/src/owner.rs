//! Whom a process, or a part of its work, runs as: the owner of the directory it works on.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
use thiserror::Error;

/// Why the process does not run as the owner of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OwnerError {
    /// It is neither root nor the owner.
    #[error(
        "{} belongs to the user with number {owner}: run this command as that user or as root",
        .path.display()
    )]
    NotAllowed {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// The kernel refused to change the user.
    #[error("cannot become the owner of {}: {message}", .path.display())]
    Refused {
        /// The directory.
        path: PathBuf,
        /// The kernel's words.
        message: String,
    },
}

/// Makes the process the owner of `path`, for good, if it is root and somebody else owns it; so
/// nothing that it makes there belongs to root. A path that does not exist changes nothing.
///
/// Call it before any other thread exists: the kernel changes the user of the calling thread
/// only, and threads inherit it when they are made.
///
/// # Errors
/// [`OwnerError::NotAllowed`] if the process is neither root nor the owner.
pub fn become_owner_of(path: &Path) -> Result<(), OwnerError> {
    let Ok(metadata) = fs::metadata(path) else { return Ok(()) };
    let (owner, group) = (metadata.uid(), metadata.gid());
    let own = geteuid();
    if own.as_raw() == owner {
        return Ok(());
    }
    if !own.is_root() {
        return Err(OwnerError::NotAllowed { path: path.to_owned(), owner });
    }
    let (uid, gid) = (Uid::from_raw(owner), Gid::from_raw(group));
    // Groups first and the user last, since the right to change them goes with the user.
    set_thread_groups(&[])
        .and_then(|()| set_thread_gid(gid))
        .and_then(|()| set_thread_uid(uid))
        .map_err(|errno: Errno| OwnerError::Refused {
            path: path.to_owned(),
            message: errno.to_string(),
        })
}

/// Runs `work` as the owner of `path`, and gives its outcome, for a caller who stays root: `work`
/// has a thread of its own, which ends with it. A path that does not exist changes nobody.
///
/// Threads that `work` makes run as the owner too; threads that were there before, such as those
/// of a runtime, do not. A panic of `work` goes on in the caller.
///
/// # Errors
/// Those of [`become_owner_of`], and [`OwnerError::Refused`] if there can be no other thread;
/// then `work` did not begin.
pub fn as_owner_of<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> Result<T, OwnerError> {
    thread::scope(|scope| {
        let begun = thread::Builder::new().name("owner".to_owned()).spawn_scoped(scope, || {
            become_owner_of(path)?;
            Ok(work())
        });
        let begun = begun.map_err(|error| OwnerError::Refused {
            path: path.to_owned(),
            message: error.to_string(),
        })?;
        begun.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_ones_own_and_a_missing_one_change_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let before = geteuid();
        assert_eq!(become_owner_of(directory.path()), Ok(()));
        assert_eq!(become_owner_of(&directory.path().join("missing")), Ok(()));
        assert_eq!(geteuid(), before);
    }

    #[test]
    fn root_becomes_the_owner_and_another_user_is_told_so() {
        if !geteuid().is_root() {
            // Only root can own files for others; the suite in CI runs as root.
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        std::os::unix::fs::chown(&path, Some(4321), Some(4322)).unwrap();
        // On a thread of its own, since that is what the kernel changes.
        let inside = std::thread::spawn(move || {
            assert_eq!(become_owner_of(&path), Ok(()));
            let file = path.join("file");
            fs::write(&file, "x").unwrap();
            let made = fs::metadata(&file).unwrap();
            let other = become_owner_of(Path::new("/"));
            ((made.uid(), made.gid()), other)
        });
        let (made, other) = inside.join().unwrap();
        assert_eq!(made, (4321, 4322));
        assert_eq!(other, Err(OwnerError::NotAllowed { path: "/".into(), owner: 0 }));
    }

    /// A directory of the user 4321 and the group 4322; none if this process may not make one.
    fn foreign_directory() -> Option<tempfile::TempDir> {
        // Only root can own files for others; the suite in CI runs as root.
        geteuid().is_root().then(|| {
            let directory = tempfile::tempdir().unwrap();
            std::os::unix::fs::chown(directory.path(), Some(4321), Some(4322)).unwrap();
            directory
        })
    }

    #[test]
    fn work_runs_as_the_owner_and_its_caller_stays_root() {
        let Some(directory) = foreign_directory() else { return };
        let path = directory.path();
        let write = |name: &str| fs::write(path.join(name), "x");
        let outcome = as_owner_of(path, || {
            write("own").unwrap();
            // A thread that is made inside belongs to the owner as well.
            thread::scope(|scope| scope.spawn(|| write("inner").unwrap()).join().unwrap());
            (rustix::process::getegid().as_raw(), fs::metadata("/").unwrap().uid())
        });
        assert_eq!(outcome, Ok((4322, 0)));
        for name in ["own", "inner"] {
            let made = fs::metadata(path.join(name)).unwrap();
            assert_eq!((made.uid(), made.gid()), (4321, 4322), "{name}");
        }
        assert!(geteuid().is_root());
        write("later").unwrap();
        assert_eq!(fs::metadata(path.join("later")).unwrap().uid(), 0);
    }

    #[test]
    fn work_that_panics_panics_in_its_caller() {
        let directory = tempfile::tempdir().unwrap();
        let work = || -> () { panic!("the work's own words") };
        let caught = std::panic::catch_unwind(|| as_owner_of(directory.path(), work));
        let words = caught.unwrap_err().downcast_ref::<&str>().copied();
        assert_eq!(words, Some("the work's own words"));
    }

    #[test]
    fn work_does_not_begin_for_somebody_who_may_not() {
        let Some(directory) = foreign_directory() else { return };
        let path = directory.path();
        let refused = as_owner_of(path, || as_owner_of(Path::new("/"), || panic!("it began")));
        let error = OwnerError::NotAllowed { path: "/".into(), owner: 0 };
        assert_eq!(refused, Ok(Err::<(), _>(error)));
    }
}
