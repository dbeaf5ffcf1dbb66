//! What to type next. The crates below say what is the matter; which command or flag of this
//! program helps stands here, behind the same sentence.

use std::error::Error;
use std::path::PathBuf;

use certs::{CertError, OwnProblem};
use installer::InstallError;
use storage::{BackupError, OpenError, StorageError};

use crate::text::format::quoted;

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
        StorageError::NoImport(_) => {
            ": `registry tag history REPO` shows which import changed a tag".to_owned()
        }
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
        | StorageError::NotStaged(_)
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
            quoted(path)
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
            let old = PathBuf::from(format!("{}.old", path.display()));
            format!(
                ": to put the backup in its place, stop it and move it away first (mv {} {})",
                quoted(path),
                quoted(&old)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn says(error: &(dyn Error + 'static), sentence: &str) {
        assert_eq!(told(error), sentence);
    }

    #[test]
    fn what_the_store_refuses_says_which_command_helps() {
        let (repository, tag) = ("team/app".parse().unwrap(), "1".parse().unwrap());
        let digest = oci::Digest::of(oci::Algorithm::Sha256, b"");
        says(
            &StorageError::NoTag { repository, tag },
            "there is no tag team/app:1: see `registry ls team/app`, or what it named with \
             `registry tag history team/app:1`",
        );
        let repository = "team/app".parse().unwrap();
        says(
            &StorageError::NoManifest { repository, digest },
            &format!(
                "there is no manifest team/app@{digest}: see `registry ls team/app`, or what was \
                 deleted with `registry tag history team/app`"
            ),
        );
        let (repository, tag) = ("team/app".parse().unwrap(), "1".parse().unwrap());
        says(
            &StorageError::NotThereThen { repository, tag },
            "team/app:1 did not exist at that time: choose one from `registry tag history \
             team/app:1`, or remove the tag with `registry rm team/app:1`",
        );
        let (repository, tag) = ("team/app".parse().unwrap(), "1".parse().unwrap());
        says(
            &StorageError::NothingToUndo { repository, tag },
            "no change of team/app:1 is known that could be undone, and what is long past is \
             forgotten: see `registry tag history team/app`, say with --to what it is to name, or \
             push it again",
        );
        says(
            &StorageError::UserExists,
            "this user exists already: change the password with `registry user passwd`",
        );
        says(&StorageError::Closed, "the registry is stopping: try again in a moment");
    }

    #[test]
    fn what_opening_and_a_backup_meet_says_which_command_helps() {
        let path = || PathBuf::from("/srv/my data");
        says(
            &OpenError::NoStore(path()),
            "/srv/my data holds no registry (there is no FORMAT in it): if it is a mount point, \
             mount its file system; if the registry is elsewhere, name that directory with \
             --data-dir",
        );
        says(
            &OpenError::IsBackup(path()),
            "/srv/my data is a backup: to look into it, restore it somewhere else (registry \
             restore '/srv/my data' --data-dir DIR); `registry serve` makes it a registry of its \
             own",
        );
        says(
            &BackupError::Open(OpenError::HalfRestored(path())),
            "a restore into /srv/my data was cut short: run `registry restore` again, which goes \
             on with it",
        );
        says(
            &BackupError::NoBackup(path()),
            "/srv/my data holds no whole backup: name the directory that `registry backup` wrote; \
             if its last run was cut short, run it again, where the registry still is",
        );
        says(
            &BackupError::StoreThere(path()),
            "/srv/my data holds a registry: to put the backup in its place, stop it and move it \
             away first (mv '/srv/my data' '/srv/my data.old')",
        );
        let what = "page 7".to_owned();
        says(
            &BackupError::DamagedDatabase { path: path(), what },
            "/srv/my data is damaged (page 7), so no backup was made, and an earlier one is as it \
             was: type `registry verify`, which says what this hurts, and restore the registry \
             from an earlier backup",
        );
    }

    #[test]
    fn what_a_host_and_a_certificate_lack_says_which_command_helps() {
        says(
            &InstallError::NoSystemd,
            "this host does not run systemd, so there is nothing to install a service in: run \
             `registry serve` instead",
        );
        says(
            &CertError::NoNames,
            "a certificate needs a name: give the host name that clients use with --hostname",
        );
    }

    #[test]
    fn of_a_chain_each_error_says_what_helps() {
        let error = anyhow::Error::new(StorageError::UserExists).context("cannot add ann");
        assert_eq!(
            told_whole(&error),
            "cannot add ann: this user exists already: change the password with `registry user \
             passwd`"
        );
    }
}
