//! Why a service finds no registry in its data directory: most often because a file system is not
//! mounted, or because another one hides it. The refusal says which, before anything is written.
//!
//! The table of mounts says where a directory lies now, but nothing about where it should: that is
//! what the setting `data-mount` is for.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use durable::IoError;
use storage::{Layout, OpenError, StorageError, Trouble};
use thiserror::Error;

use crate::advice::told;
use crate::config::Config;
use crate::text::format::quoted;

/// Why there is no registry where one should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DataError {
    /// Nothing is known of the file system that it should lie on.
    #[error(
        "{} holds no registry (there is no FORMAT in it), and lies on the file system mounted at \
         {}. If another one belongs there, mount it; if the registry is elsewhere, name that \
         directory with --data-dir", .data.display(), .now.display()
    )]
    Absent {
        /// The data directory.
        data: PathBuf,
        /// Where the file system is mounted that it lies on.
        now: PathBuf,
    },
    /// The file system that it should lie on is not the one that it lies on.
    #[error(
        "{} holds no registry. It was installed on the file system mounted at {}: mount it, and \
         the service starts by itself", .data.display(), .installed.display()
    )]
    NotMounted {
        /// The data directory.
        data: PathBuf,
        /// Where its file system was mounted when it was installed.
        installed: PathBuf,
    },
    /// Something is mounted between its file system and the directory.
    #[error(
        "{} holds no registry. It was installed on the file system mounted at {}, and what is \
         mounted over that at {} hides it: unmount it, and the service starts by itself",
        .data.display(), .installed.display(), .now.display()
    )]
    Hidden {
        /// The data directory.
        data: PathBuf,
        /// Where its file system was mounted when it was installed.
        installed: PathBuf,
        /// Where the file system is mounted that it lies on now.
        now: PathBuf,
    },
    /// Something is mounted where its file system was, perhaps that very one.
    #[error(
        "{} holds no registry. It was installed on the file system mounted at {}: another one that \
         is mounted over it hides it, or somebody moved or removed it. See what is there with \
         `findmnt --target {}`",
        .data.display(), .installed.display(), quoted(.data)
    )]
    Gone {
        /// The data directory.
        data: PathBuf,
        /// Where its file system was mounted when it was installed.
        installed: PathBuf,
    },
    /// A restore into the directory was cut short.
    #[error("{}", told(.0))]
    HalfRestored(OpenError),
    /// The directory cannot be read at all.
    #[error(
        "{cause}. The registry was installed on the file system mounted at {}: see to it, and the \
         service starts by itself", .installed.display()
    )]
    Unreachable {
        /// What the system says.
        cause: IoError,
        /// Where its file system was mounted when it was installed.
        installed: PathBuf,
    },
}

/// Checks that a registry that must be there is there. Writes nothing.
///
/// # Errors
/// Every [`DataError`]. What else is wrong with the directory shows when it is opened.
pub fn check(config: &Config) -> Result<(), DataError> {
    if !config.must_exist() {
        return Ok(());
    }
    let data = config.data_dir.clone();
    match (Layout::new(&data).require(), &config.settings.data_mount) {
        (Err(cause @ OpenError::HalfRestored(_)), _) => Err(DataError::HalfRestored(cause)),
        (Err(OpenError::NoStore(_)), installed) => {
            let now = installer::mount_point(&data);
            Err(absent(data, installed.as_deref(), now))
        }
        (Err(OpenError::Storage(StorageError::Failed(Trouble::Io(error)))), installed) => {
            match (error.kind, installed) {
                // Who may not read it is told whose it is by who wants to become the owner.
                (ErrorKind::PermissionDenied, _) | (_, None) => Ok(()),
                (_, Some(installed)) => {
                    Err(DataError::Unreachable { cause: error, installed: installed.clone() })
                }
            }
        }
        _ => Ok(()),
    }
}

fn absent(data: PathBuf, installed: Option<&Path>, now: PathBuf) -> DataError {
    match installed.map(Path::to_owned) {
        None => DataError::Absent { data, now },
        Some(installed) if installed == now => DataError::Gone { data, installed },
        Some(installed) if now.starts_with(&installed) => {
            DataError::Hidden { data, installed, now }
        }
        Some(installed) => DataError::NotMounted { data, installed },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_names_the_mount_that_is_missing_or_too_many() {
        let refusal = |installed: Option<&str>, now: &str| {
            absent("/srv/data/registry".into(), installed.map(Path::new), now.into()).to_string()
        };
        let unknown = refusal(None, "/srv");
        assert!(unknown.contains("lies on the file system mounted at /srv."), "{unknown}");
        assert_eq!(
            refusal(Some("/srv/data"), "/"),
            "/srv/data/registry holds no registry. It was installed on the file system mounted at \
             /srv/data: mount it, and the service starts by itself"
        );
        assert_eq!(
            refusal(Some("/"), "/srv/data"),
            "/srv/data/registry holds no registry. It was installed on the file system mounted at \
             /, and what is mounted over that at /srv/data hides it: unmount it, and the service \
             starts by itself"
        );
        let gone = refusal(Some("/"), "/");
        assert!(gone.contains("is mounted over it hides it"), "{gone}");
        assert!(gone.ends_with("`findmnt --target /srv/data/registry`"), "{gone}");
    }
}
