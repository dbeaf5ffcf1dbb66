//! The names of images in the database of a Quay, whose store is taken over: which tags live, and
//! what they name.
//!
//! The file is another program's, and may be made by somebody who means harm. So it is opened for
//! reading and as one that nobody writes to, which makes no file beside it and waits for nobody;
//! what is called like a table has to be one, so that nothing is computed; each table is read once
//! from its beginning to its end, with no join that could grow and no index that could lie; and
//! texts, rows, parts of the schema and steps of SQLite's machine are bounded.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use durable::{At, IoError, Links, ReadError, open_regular};
use oci::{Digest, RepoName, Tag};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, Row, params};

use super::open::open_foreign;
use crate::clock::wall_seconds;
use crate::error::{QuayError, QuayFault};

mod shape;
#[cfg(test)]
mod tests;

/// What the database of a Quay calls its images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuayNames {
    /// The tags that live, each once, in the order of their names.
    pub images: Vec<QuayImage>,
    /// What cannot be called here as it is there. Ends after [`QuayNames::MOST_UNNAMED`].
    pub unnamed: Vec<UnnamedTag>,
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

    /// Reads the names. Changes nothing, neither in the file nor beside it.
    ///
    /// # Errors
    /// Every [`QuayError`].
    pub fn read(path: &Path) -> Result<Self, QuayError> {
        Self::read_within(path, MOST_STEPS)
    }

    /// Reads the names, in no more steps of SQLite's machine than these.
    fn read_within(path: &Path, most_steps: u64) -> Result<Self, QuayError> {
        let mut connection = open_foreign(&at_rest(path)?)?;
        let mut steps = 0;
        let count = move || {
            steps += u64::from(STEPS_AT_ONCE.unsigned_abs());
            steps > most_steps
        };
        connection.progress_handler(STEPS_AT_ONCE, Some(count))?;
        shape::check(&connection)?;
        let names = Tables::read(&connection)?.names();
        // Who began to write meanwhile may have changed what was being read.
        at_rest(path)?;
        Ok(names)
    }

    fn unnamed(&mut self, called: String, fault: QuayFault) {
        if self.unnamed.len() < Self::MOST_UNNAMED {
            self.unnamed.push(UnnamedTag { called, fault });
        }
    }
}

/// The path of the database without links, if it is a file that nobody writes to. What its log or
/// its journal holds would be left out.
fn at_rest(path: &Path) -> Result<PathBuf, QuayError> {
    if open_regular(path, Links::Refuse)?.is_none() {
        return Err(QuayError::NotThere(path.to_owned()));
    }
    for beside in ["-wal", "-journal"] {
        let mut beside_it: OsString = path.as_os_str().to_owned();
        beside_it.push(beside);
        let beside_it = PathBuf::from(beside_it);
        if fs::symlink_metadata(&beside_it).is_ok_and(|it| it.len() > 0) {
            return Err(QuayError::InUse(beside_it));
        }
    }
    Ok(fs::canonicalize(path).at("look for", path)?)
}

/// What was read of the tables.
#[derive(Debug, Default)]
struct Tables {
    tags: Vec<LiveTag>,
    repositories: HashMap<i64, Option<Repository>>,
    namespaces: HashMap<i64, Option<String>>,
    /// The digests of the manifests that tags name.
    digests: HashMap<i64, Option<Digest>>,
    text_bytes: usize,
}

#[derive(Debug)]
struct LiveTag {
    repository: i64,
    manifest: Option<i64>,
    /// None if it is no text, or longer than any.
    name: Option<String>,
}

#[derive(Debug)]
struct Repository {
    namespace: Option<i64>,
    name: Option<String>,
    is_being_deleted: bool,
}

impl Tables {
    /// Reads of each table what the one before asks for.
    fn read(connection: &Connection) -> Result<Self, QuayError> {
        let mut tables = Self::default();
        let now_ms = wall_seconds().saturating_mul(1000);
        each(connection, TAGS, &mut |row| {
            let (end_ms, is_hidden): (Option<i64>, bool) = (row.get(2)?, row.get(3)?);
            if is_hidden || end_ms.is_some_and(|end| end <= now_ms) {
                return Ok(());
            }
            let name = tables.text(row, 4)?;
            let (repository, manifest) = (row.get(0)?, row.get(1)?);
            tables.tags.push(LiveTag { repository, manifest, name });
            within(tables.tags.len(), "tags that live", MOST_TAGS)
        })?;
        tables.repositories = tables.tags.iter().map(|tag| (tag.repository, None)).collect();
        tables.digests = tables.tags.iter().filter_map(|tag| Some((tag.manifest?, None))).collect();
        each(connection, REPOSITORIES, &mut |row| {
            let id: i64 = row.get(0)?;
            if tables.repositories.contains_key(&id) {
                let (namespace, is_being_deleted) = (row.get(1)?, row.get::<_, i64>(2)? == DELETED);
                let name = tables.text(row, 3)?;
                let repository = Repository { namespace, name, is_being_deleted };
                tables.repositories.insert(id, Some(repository));
            }
            Ok(())
        })?;
        let namespaces = tables.repositories.values().flatten().filter_map(|it| it.namespace);
        tables.namespaces = namespaces.map(|id| (id, None)).collect();
        each(connection, NAMESPACES, &mut |row| {
            let id: i64 = row.get(0)?;
            if tables.namespaces.contains_key(&id) {
                let name = tables.text(row, 1)?;
                tables.namespaces.insert(id, name);
            }
            Ok(())
        })?;
        each(connection, MANIFESTS, &mut |row| {
            let id: i64 = row.get(0)?;
            if let Some(digest) = tables.digests.get_mut(&id) {
                *digest = short_text(row, 1)?.and_then(|text| text.parse().ok());
            }
            Ok(())
        })?;
        Ok(tables)
    }

    /// A text that is kept.
    fn text(&mut self, row: &Row<'_>, column: usize) -> Result<Option<String>, QuayError> {
        let text = short_text(row, column)?;
        self.text_bytes = self.text_bytes.saturating_add(text.as_ref().map_or(0, String::len));
        within(self.text_bytes, "bytes of names", MOST_TEXT_BYTES)?;
        Ok(text)
    }

    /// What the rows come to.
    fn names(&self) -> QuayNames {
        let mut names = QuayNames::default();
        let mut images: BTreeMap<(RepoName, Tag), Option<Digest>> = BTreeMap::new();
        for tag in &self.tags {
            let repository = self.repositories.get(&tag.repository).and_then(Option::as_ref);
            if repository.is_some_and(|it| it.is_being_deleted) {
                continue;
            }
            match self.name(tag, repository) {
                Ok((name, digest)) => {
                    let named = images.entry(name).or_insert(Some(digest));
                    *named = named.filter(|named| *named == digest);
                }
                Err(fault) => names.unnamed(self.called(tag, repository), fault),
            }
        }
        for ((repository, tag), digest) in images {
            match digest {
                Some(digest) => names.images.push(QuayImage { repository, tag, digest }),
                None => names.unnamed(format!("{repository}:{tag}"), QuayFault::Twice),
            }
        }
        names
    }

    /// What a tag is called here, and what it names.
    fn name(
        &self,
        tag: &LiveTag,
        repository: Option<&Repository>,
    ) -> Result<((RepoName, Tag), Digest), QuayFault> {
        let repository = repository.ok_or(QuayFault::Repository)?;
        let namespace = repository.namespace.and_then(|id| self.namespaces.get(&id));
        let namespace = namespace.and_then(Option::as_ref).ok_or(QuayFault::Repository)?;
        let name = repository.name.as_ref().ok_or(QuayFault::Name)?;
        let path = format!("{namespace}/{name}").parse().map_err(|_| QuayFault::Name)?;
        let tag_name = tag.name.as_ref().and_then(|name| name.parse().ok());
        let digest = tag.manifest.and_then(|id| self.digests.get(&id).copied().flatten());
        let digest = digest.ok_or(QuayFault::Manifest)?;
        Ok(((path, tag_name.ok_or(QuayFault::Name)?), digest))
    }

    /// What a tag is called there.
    fn called(&self, tag: &LiveTag, repository: Option<&Repository>) -> String {
        let namespace = repository.and_then(|it| self.namespaces.get(&it.namespace?)?.as_deref());
        let name = repository.and_then(|it| it.name.as_deref());
        let tag = tag.name.as_deref();
        let [namespace, name, tag] = [namespace, name, tag].map(|part| part.unwrap_or(UNKNOWN));
        format!("{namespace}/{name}:{tag}")
    }
}

/// Reads a table from its beginning to its end, whatever its indexes say.
fn each(
    connection: &Connection,
    query: &str,
    take: &mut dyn FnMut(&Row<'_>) -> Result<(), QuayError>,
) -> Result<(), QuayError> {
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query(params![MOST_NAME_BYTES])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        count += 1;
        within(count, "rows in one table", MOST_ROWS)?;
        take(row)?;
    }
    Ok(())
}

fn within(count: usize, what: &'static str, limit: usize) -> Result<(), QuayError> {
    if count > limit { Err(QuayError::TooMany { what, limit }) } else { Ok(()) }
}

/// A text, of which the query gives none that is longer than a name.
fn short_text(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
        _ => None,
    })
}

impl From<rusqlite::Error> for QuayError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => Self::Endless { limit_steps: MOST_STEPS },
            _ => Self::Unreadable(error.to_string()),
        }
    }
}

impl From<IoError> for QuayError {
    fn from(error: IoError) -> Self {
        Self::File(ReadError::Io(error))
    }
}

const TAGS: &str = "SELECT repository_id, manifest_id, lifetime_end_ms, hidden,
                           CASE WHEN octet_length(name) <= ?1 THEN name END
                    FROM tag NOT INDEXED";
const REPOSITORIES: &str = "SELECT id, namespace_user_id, state,
                                   CASE WHEN octet_length(name) <= ?1 THEN name END
                            FROM repository NOT INDEXED";
const NAMESPACES: &str = "SELECT id, CASE WHEN octet_length(username) <= ?1 THEN username END
                          FROM user NOT INDEXED";
const MANIFESTS: &str = "SELECT id, CASE WHEN octet_length(digest) <= ?1 THEN digest END
                         FROM manifest NOT INDEXED";

/// The state of a repository that is being deleted.
const DELETED: i64 = 3;
/// What stands for a part of a name that is not known.
const UNKNOWN: &str = "?";
/// The longest name or digest, in bytes; Quay has 255 characters for either.
const MOST_NAME_BYTES: i64 = 1024;
/// The most tags that live: as many names as any other source may have.
const MOST_TAGS: usize = 1_000_000;
/// The most rows of a table: a tag leaves one whenever it moves.
const MOST_ROWS: usize = 4 << 20;
/// The most bytes of all names that are kept.
const MOST_TEXT_BYTES: usize = 64 << 20;
/// The most steps of SQLite's machine: some twenty for each row that may be there, and a minute or
/// so where a file leads in circles.
const MOST_STEPS: u64 = 500_000_000;
/// How many of them are taken before they are counted.
const STEPS_AT_ONCE: i32 = 1000;
