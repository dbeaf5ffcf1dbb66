//! The `.meta` file of a session: whose it is and when it was used, in a second line, which blob it
//! becomes, and in a third, that it has.
//!
//! The first line is written over when it was used again, in one piece that is as long as what it
//! covers, so that the death of the process leaves one or the other.
//!
//! The second line is written before the bytes lose their name in `uploads/`, in place and in one
//! call, so a process that is killed leaves a file that can be read. It is not synced, as little
//! as the session is. Without the bytes it tells where they went; beside them it means nothing.
//!
//! The third line comes in the same way, behind the blob's row: without it nobody has heard yet
//! that the session became the blob.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use durable::{At, Links, read_within};
use oci::{Algorithm, RepoName};
use serde::{Deserialize, Serialize};

use crate::account::{Account, UserId};
use crate::content::SizedDigest;
use crate::error::{StorageError, Trouble};

/// What a `.meta` file says.
pub(super) struct Meta {
    pub(super) repository: RepoName,
    pub(super) user: Account,
    pub(super) algorithm: Algorithm,
    /// When somebody used it, as `used` notes it; none if an older program wrote the file.
    pub(super) used_tick: Option<i64>,
    /// The blob that the session becomes.
    pub(super) becoming: Option<SizedDigest>,
    /// Whether it has become that blob.
    pub(super) is_published: bool,
    /// The length of the first line, behind which the second begins.
    pub(super) first_bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct FirstLine {
    repository: String,
    user: String,
    /// None of a user who has none; so the line of an older program keeps its length, too.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    user_id: String,
    algorithm: String,
    /// Always as many digits, so that the line keeps its length.
    #[serde(default)]
    used_tick: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct SecondLine {
    digest: String,
    size: u64,
}

impl Meta {
    /// Writes the first line; returns its length.
    pub(super) fn write(
        file: &File,
        path: &Path,
        repository: &RepoName,
        user: &Account,
        algorithm: Algorithm,
        used_tick: i64,
    ) -> Result<u64, StorageError> {
        let line = FirstLine {
            repository: repository.to_string(),
            user: user.name.to_string(),
            user_id: user.id.as_str().to_owned(),
            algorithm: algorithm.to_string(),
            used_tick: Some(format!("{used_tick:020}")),
        };
        let line = text(&line)?;
        file.write_all_at(&line, 0).at("write", path)?;
        Ok(line.len() as u64)
    }

    /// Reads a file; none if it is not there or says nothing that can be understood.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let bytes = read_within(path, MOST_BYTES, Links::Refuse).ok()??;
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let line = lines.next()?;
        let first: FirstLine = serde_json::from_slice(line).ok()?;
        Some(Self {
            repository: first.repository.parse().ok()?,
            user: Account { name: first.user.parse().ok()?, id: UserId::kept(first.user_id) },
            algorithm: first.algorithm.parse().ok()?,
            used_tick: first.used_tick.and_then(|tick| tick.parse().ok()),
            becoming: lines.next().and_then(becoming),
            is_published: lines.next() == Some(PUBLISHED),
            first_bytes: line.len() as u64,
        })
    }
}

/// Writes the second line of the file at `path`, or writes it anew: what a longer one left behind
/// it is never read, and no third line stays.
pub(super) fn note(
    path: &Path,
    first_bytes: u64,
    becoming: SizedDigest,
) -> Result<(), StorageError> {
    let line = second_line(becoming)?;
    write(path, first_bytes, &[b"\n", line.as_slice(), b"\n\n"].concat())
}

/// Writes the third line behind the second, which says `becoming`.
pub(super) fn note_published(
    path: &Path,
    first_bytes: u64,
    becoming: SizedDigest,
) -> Result<(), StorageError> {
    let before = b"\n\n".len() + second_line(becoming)?.len();
    write(path, first_bytes.saturating_add(before as u64), &[PUBLISHED, b"\n"].concat())
}

fn write(path: &Path, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
    let file = OpenOptions::new().write(true).open(path).at("open", path)?;
    Ok(file.write_all_at(bytes, offset).at("write", path)?)
}

fn second_line(SizedDigest { digest, size }: SizedDigest) -> Result<Vec<u8>, StorageError> {
    text(&SecondLine { digest: digest.to_string(), size })
}

fn becoming(line: &[u8]) -> Option<SizedDigest> {
    let second: SecondLine = serde_json::from_slice(line).ok()?;
    Some(SizedDigest { digest: second.digest.parse().ok()?, size: second.size })
}

fn text(line: &impl Serialize) -> Result<Vec<u8>, StorageError> {
    serde_json::to_vec(line)
        .map_err(|error| StorageError::Failed(Trouble::Database(error.to_string())))
}

/// The third line.
const PUBLISHED: &[u8] = b"published";

/// More bytes than there are in such a file: the names of a repository and of a user, two digests.
const MOST_BYTES: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::fs;

    use oci::Digest;

    use super::*;

    #[test]
    fn what_a_session_becomes_is_noted_anew_and_whatever_is_torn_in_it_costs_only_itself() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("meta");
        let (name, user) = ("a/b".parse().unwrap(), "pusher".parse().unwrap());
        let user = Account { name: user, id: UserId::random().unwrap() };
        let file = File::create(&path).unwrap();
        let first = Meta::write(&file, &path, &name, &user, Algorithm::Sha256, 7).unwrap();
        let read = || Meta::read(&path).unwrap();
        assert_eq!((read().becoming, read().first_bytes), (None, first));
        for (algorithm, size) in [(Algorithm::Sha512, 123_456), (Algorithm::Sha256, 7)] {
            let becoming = SizedDigest { digest: Digest::of(algorithm, b"content"), size };
            note(&path, first, becoming).unwrap();
            assert_eq!((read().becoming, read().first_bytes), (Some(becoming), first));
            assert!(!read().is_published);
            note_published(&path, first, becoming).unwrap();
            assert!(read().is_published && read().becoming == Some(becoming));
        }
        for length in first..fs::metadata(&path).unwrap().len() {
            let torn = fs::read(&path).unwrap()[..usize::try_from(length).unwrap()].to_vec();
            let other = directory.path().join("torn");
            fs::write(&other, torn).unwrap();
            let torn = Meta::read(&other).unwrap();
            assert_eq!((torn.repository, torn.user), (name.clone(), user.clone()));
            assert!(torn.becoming.is_none_or(|becoming| Some(becoming) == read().becoming));
            assert!(!torn.is_published || torn.becoming.is_some());
        }
    }
}
