//! What to type next. The crates below say what is the matter; which command or flag of this
//! program helps stands here, behind the same sentence.

use std::error::Error;

use certs::{CertError, OwnProblem};
use installer::InstallError;
use storage::{BackupError, OpenError, StorageError, shell_word};

/// What an error says, with what to type next where a command helps.
pub(crate) fn told(error: &(dyn Error + 'static)) -> String {
    format!("{error}{}", advice(error).unwrap_or_default())
}

/// What an error and all that caused it say, each with what to type next.
pub(crate) fn told_whole(error: &anyhow::Error) -> String {
    error.chain().map(told).collect::<Vec<_>>().join(": ")
}

/// What follows the sentence of an error; none where it says all.
fn advice(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<StorageError>() {
        of_storage(error)
    } else if let Some(error) = error.downcast_ref::<OpenError>() {
        of_opening(error)
    } else if let Some(error) = error.downcast_ref::<BackupError>() {
        of_backup(error)
    } else if let Some(error) = error.downcast_ref::<CertError>() {
        of_certificates(error)
    } else if let Some(InstallError::NoSystemd) = error.downcast_ref() {
        Some(": run `registry serve` instead".to_owned())
    } else {
        None
    }
}

fn of_storage(error: &StorageError) -> Option<String> {
    Some(match error {
        StorageError::TagProtected { repository, tag } => format!(
            ": on the registry's host, `registry tag unprotect {repository}:{tag}` ends that"
        ),
        StorageError::NoTag { repository, tag } => format!(
            ": see `registry ls {repository}`, or what it named with `registry tag history \
             {repository}:{tag}`"
        ),
        StorageError::NoManifest { repository, .. } => format!(
            ": see `registry ls {repository}`, or what was deleted with `registry tag history \
             {repository}`"
        ),
        StorageError::NothingToUndo { repository, .. } => format!(
            ": see `registry tag history {repository}`, say with --to what it is to name, or push \
             it again"
        ),
        StorageError::NotThereThen { repository, tag } => format!(
            ": choose one from `registry tag history {repository}:{tag}`, or remove the tag with \
             `registry rm {repository}:{tag}`"
        ),
        StorageError::UserExists => ": change the password with `registry user passwd`".to_owned(),
        StorageError::Full | StorageError::NoRoom { .. } => {
            ": delete images and run `registry gc` on its host, or enlarge the disk, then try again"
                .to_owned()
        }
        StorageError::DigestMismatch { .. }
        | StorageError::UploadUnknown
        | StorageError::UploadTaken
        | StorageError::MissingBlobs(_)
        | StorageError::BlobLost(_)
        | StorageError::ManifestLost { .. }
        | StorageError::BlobInUse { .. }
        | StorageError::Collected { .. }
        | StorageError::BlobsCollected { .. }
        | StorageError::ReadOnly
        | StorageError::Closed
        | StorageError::Failed(_) => return None,
    })
}

fn of_opening(error: &OpenError) -> Option<String> {
    Some(match error {
        OpenError::NoStore(_) => {
            "; if the registry is elsewhere, name that directory with --data-dir".to_owned()
        }
        OpenError::HalfRestored(_) => {
            ": run `registry restore` again, which goes on with it".to_owned()
        }
        OpenError::IsBackup(path) => format!(
            ": to look into it, restore it somewhere else (registry restore {} --data-dir DIR); \
             `registry serve` makes it a registry of its own",
            shell_word(&path.display().to_string())
        ),
        OpenError::ForeignDisk { .. } => {
            "; --allow-network-fs keeps the registry there even so".to_owned()
        }
        OpenError::Storage(error) => return of_storage(error),
        OpenError::ForeignDirectory { .. }
        | OpenError::SplitDisk { .. }
        | OpenError::Owned(_)
        | OpenError::OldAndReadOnly(_)
        | OpenError::NoRoomToUpgrade { .. } => return None,
    })
}

fn of_certificates(error: &CertError) -> Option<String> {
    match error {
        CertError::NoNames => Some(" with --hostname".to_owned()),
        CertError::Own { problem: OwnProblem::NotCovered { .. }, .. } => {
            Some(" of --hostname".to_owned())
        }
        _ => None,
    }
}

fn of_backup(error: &BackupError) -> Option<String> {
    Some(match error {
        BackupError::NoRoom { .. } => ": `systemctl stop registry`, the same command with \
                                       --stopped, then `systemctl start registry`"
            .to_owned(),
        BackupError::ReadOnly(_) => "; or, if no other copy of this registry backs up there, type \
                                     the same with --take-over, which goes on with it even so and \
                                     is needed once more after the repair"
            .to_owned(),
        BackupError::NoBackup(_) => ": name the directory that `registry backup` wrote; if its \
                                     last run was cut short, run it again, where the registry \
                                     still is"
            .to_owned(),
        BackupError::DamagedBackup { .. } => {
            ": type `registry restore` again with an older backup".to_owned()
        }
        BackupError::DamagedDatabase { .. } => ": type `registry verify`, which says what this \
                                                hurts, and restore the registry from an earlier \
                                                backup"
            .to_owned(),
        BackupError::StoreThere(path) => {
            let (path, old) = (path.display().to_string(), format!("{}.old", path.display()));
            format!(
                ": to put the backup in its place, stop it and move it away first (mv {} {})",
                shell_word(&path),
                shell_word(&old)
            )
        }
        BackupError::Open(error) => return of_opening(error),
        BackupError::Storage(error) => return of_storage(error),
        BackupError::Busy
        | BackupError::Stopped
        | BackupError::Foreign { .. }
        | BackupError::Store(_)
        | BackupError::Other(_)
        | BackupError::NotYours { .. }
        | BackupError::DamagedMark { .. }
        | BackupError::NotEmpty { .. }
        | BackupError::InUse { .. } => return None,
    })
}
