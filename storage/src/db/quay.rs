//! The names of images in the database of a Quay, whose store is taken over: which tags live, and
//! what they name.
//!
//! The file is another program's, and may be made by somebody who means harm. So it is opened for
//! reading and as one that nobody writes to, which makes no file beside it and waits for nobody;
//! what is called like a table has to be one, so that nothing is computed; each table is read once
//! from its beginning to its end, with no join that could grow and no index that could lie; and
//! texts, rows, parts of the schema, memory, steps of SQLite's machine and time are bounded: one
//! step alone may follow a text through a file that leads in circles.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use durable::{At, IoError, Links, ReadError, open_regular};
use oci::{Digest, RepoName, Tag};
use rusqlite::ErrorCode;

use super::open::open_foreign;
use crate::error::{QuayError, QuayFault};

mod shape;
mod tables;
#[cfg(test)]
mod tests;

use tables::Tables;

/// What the database of a Quay calls its images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuayNames {
    /// The tags that live, each once, in the order of their names.
    pub images: Vec<QuayImage>,
    /// What cannot be called here as it is there. Ends after [`QuayNames::MOST_UNNAMED`].
    pub unnamed: Vec<UnnamedTag>,
    /// How many more there are.
    pub more_unnamed: usize,
    /// The manifests of their repositories that lie in the database alone, each with the bytes that
    /// its digest says.
    pub manifests: BTreeMap<Digest, Bytes>,
}

/// A tag that lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuayImage {
    /// Its namespace and its repository.
    pub repository: RepoName,
    /// The tag.
    pub tag: Tag,
    /// The digest of the manifest that it names.
    pub digest: Digest,
}

/// A tag that lives and that no image can have here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnnamedTag {
    /// What it is called there, as far as that can be read.
    pub called: String,
    /// Why it is none here.
    pub fault: QuayFault,
}

impl QuayNames {
    /// The most that is told of what has no name here.
    pub const MOST_UNNAMED: usize = 1000;

    /// Reads the names, and the manifests that no file has: those of a Quay that was migrated from
    /// the one written in Python. `has_file` says of a digest whether it has one. Changes nothing,
    /// neither in the database nor beside it.
    ///
    /// # Errors
    /// Every [`QuayError`].
    pub fn read(path: &Path, has_file: &dyn Fn(&Digest) -> bool) -> Result<Self, QuayError> {
        Self::read_within(path, has_file, &BOUNDS)
    }

    fn read_within(
        path: &Path,
        has_file: &dyn Fn(&Digest) -> bool,
        bounds: &Bounds,
    ) -> Result<Self, QuayError> {
        let before = at_rest(path)?;
        let clock = Clock { began: Instant::now(), limit: bounds.time };
        let names = Self::read_file(&before.path, has_file, bounds, clock);
        let names = names.map_err(|error| match error {
            QuayError::Endless { .. } if clock.is_over() => clock.fault(),
            QuayError::Endless { .. } => QuayError::Endless { limit_steps: bounds.steps },
            error => error,
        })?;
        // Who began to write meanwhile, or wrote and has ended, may have changed what was read.
        match at_rest(path)? == before {
            true => Ok(names),
            false => Err(QuayError::Changed(path.to_owned())),
        }
    }

    fn read_file(
        path: &Path,
        has_file: &dyn Fn(&Digest) -> bool,
        bounds: &Bounds,
        clock: Clock,
    ) -> Result<Self, QuayError> {
        let (mut steps, most_steps) = (0, bounds.steps);
        let is_enough = move || {
            steps += u64::from(STEPS_AT_ONCE.unsigned_abs());
            steps > most_steps || clock.is_over()
        };
        let connection = open_foreign(path, STEPS_AT_ONCE, is_enough)?;
        let has_deleted = shape::check(&connection)?;
        let tables = Tables::read(&connection, has_deleted, has_file, bounds, clock)?;
        Ok(tables.names())
    }

    fn unnamed(&mut self, called: String, fault: QuayFault) {
        if self.unnamed.len() < Self::MOST_UNNAMED {
            self.unnamed.push(UnnamedTag { called, fault });
        } else {
            self.more_unnamed += 1;
        }
    }
}

/// How long it has taken, and may.
#[derive(Clone, Copy, Debug)]
struct Clock {
    began: Instant,
    limit: Duration,
}

impl Clock {
    fn is_over(&self) -> bool {
        self.began.elapsed() >= self.limit
    }

    fn fault(&self) -> QuayError {
        QuayError::Slow { limit_seconds: self.limit.as_secs() }
    }
}

/// A database that nobody writes to, and what changes when somebody does.
#[derive(Debug, PartialEq, Eq)]
struct AtRest {
    /// Without links.
    path: PathBuf,
    /// Its device, its number there, and its bytes.
    file: [u64; 3],
    /// When it was written to, and when anything of it was changed, in seconds and nanoseconds.
    times: [i64; 4],
}

/// The database, if it is a file that nobody writes to. What its log or its journal holds would be
/// left out.
fn at_rest(path: &Path) -> Result<AtRest, QuayError> {
    let Some(file) = open_regular(path, Links::Refuse)? else {
        return Err(QuayError::NotThere(path.to_owned()));
    };
    for beside in ["-wal", "-journal"] {
        let mut beside_it: OsString = path.as_os_str().to_owned();
        beside_it.push(beside);
        let beside_it = PathBuf::from(beside_it);
        if fs::symlink_metadata(&beside_it).is_ok_and(|it| it.len() > 0) {
            return Err(QuayError::InUse(beside_it));
        }
    }
    let it = file.metadata().at("look at", path)?;
    Ok(AtRest {
        path: fs::canonicalize(path).at("look for", path)?,
        file: [it.dev(), it.ino(), it.len()],
        times: [it.mtime(), it.mtime_nsec(), it.ctime(), it.ctime_nsec()],
    })
}

impl From<rusqlite::Error> for QuayError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => Self::Endless { limit_steps: BOUNDS.steps },
            _ => Self::Unreadable(error.to_string()),
        }
    }
}

impl From<IoError> for QuayError {
    fn from(error: IoError) -> Self {
        Self::File(ReadError::Io(error))
    }
}

/// How much of a file is read.
#[derive(Debug)]
struct Bounds {
    /// The most tags that live: as many names as any other source may have.
    tags: usize,
    /// The most rows of a table: a tag leaves one whenever it moves.
    rows: usize,
    /// The most bytes of all names that are kept.
    text_bytes: usize,
    /// The most bytes of all manifests that are kept. Twenty-five thousand of an OpenShift mirror
    /// have some 100 MB.
    manifest_bytes: usize,
    /// The most steps of SQLite's machine: some twenty for each row that may be there.
    steps: u64,
    /// The most time, since a step may take long.
    time: Duration,
}

const BOUNDS: Bounds = Bounds {
    tags: 1_000_000,
    rows: 4 << 20,
    text_bytes: 64 << 20,
    manifest_bytes: 256 << 20,
    steps: 500_000_000,
    time: Duration::from_secs(300),
};
/// How many steps are taken before they are counted: about those of one row.
const STEPS_AT_ONCE: i32 = 20;
