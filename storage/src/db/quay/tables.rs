//! Reading the tables of a Quay one by one, and joining what they say.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use oci::{Digest, RepoName, Tag};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params_from_iter};

use super::{Bounds, Clock, QuayImage, QuayNames};
use crate::clock::wall_seconds;
use crate::error::{QuayError, QuayFault};

/// What was read of the tables.
#[derive(Debug, Default)]
pub(super) struct Tables {
    tags: Vec<LiveTag>,
    repositories: HashMap<i64, Option<Repository>>,
    namespaces: HashMap<i64, Option<Namespace>>,
    /// The digests of the manifests that tags name.
    digests: HashMap<i64, Option<Digest>>,
    /// Manifests that no file has.
    manifests: BTreeMap<Digest, Bytes>,
    text_bytes: usize,
    manifest_bytes: usize,
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

#[derive(Debug)]
struct Namespace {
    name: Option<String>,
    is_enabled: bool,
    is_being_deleted: bool,
}

impl Tables {
    /// Reads of each table what the one before asks for.
    pub(super) fn read(
        connection: &Connection,
        has_deleted: bool,
        has_file: &dyn Fn(&Digest) -> bool,
        bounds: &Bounds,
        clock: Clock,
    ) -> Result<Self, QuayError> {
        let mut tables = Self::default();
        let reading = Reading { connection, bounds, clock };
        tables.read_tags(&reading)?;
        tables.read_repositories(&reading)?;
        tables.read_namespaces(&reading, has_deleted)?;
        tables.read_manifests(&reading, has_file)?;
        Ok(tables)
    }

    fn read_tags(&mut self, reading: &Reading<'_>) -> Result<(), QuayError> {
        let now_ms = wall_seconds().saturating_mul(1000);
        reading.each(TAGS, &[MOST_NAME_BYTES], &mut |row| {
            let (end_ms, is_hidden): (Option<i64>, bool) = (row.get(2)?, row.get(3)?);
            if is_hidden || end_ms.is_some_and(|end| end <= now_ms) {
                return Ok(());
            }
            let name = self.text(row, 4, reading.bounds)?;
            let (repository, manifest) = (row.get(0)?, row.get(1)?);
            self.tags.push(LiveTag { repository, manifest, name });
            within(self.tags.len(), "tags that live", reading.bounds.tags)
        })?;
        self.repositories = self.tags.iter().map(|tag| (tag.repository, None)).collect();
        self.digests = self.tags.iter().filter_map(|tag| Some((tag.manifest?, None))).collect();
        Ok(())
    }

    fn read_repositories(&mut self, reading: &Reading<'_>) -> Result<(), QuayError> {
        reading.each(REPOSITORIES, &[MOST_NAME_BYTES], &mut |row| {
            let id: i64 = row.get(0)?;
            if self.repositories.contains_key(&id) {
                let (namespace, is_being_deleted) = (row.get(1)?, row.get::<_, i64>(2)? == DELETED);
                let name = self.text(row, 3, reading.bounds)?;
                let repository = Repository { namespace, name, is_being_deleted };
                self.repositories.insert(id, Some(repository));
            }
            Ok(())
        })
    }

    fn read_namespaces(
        &mut self,
        reading: &Reading<'_>,
        has_deleted: bool,
    ) -> Result<(), QuayError> {
        let namespaces = self.repositories.values().flatten().filter_map(|it| it.namespace);
        self.namespaces = namespaces.map(|id| (id, None)).collect();
        reading.each(NAMESPACES, &[MOST_NAME_BYTES], &mut |row| {
            let id: i64 = row.get(0)?;
            if self.namespaces.contains_key(&id) {
                let (name, is_enabled) = (self.text(row, 1, reading.bounds)?, row.get(2)?);
                let namespace = Namespace { name, is_enabled, is_being_deleted: false };
                self.namespaces.insert(id, Some(namespace));
            }
            Ok(())
        })?;
        if !has_deleted {
            return Ok(());
        }
        reading.each(DELETED_NAMESPACES, &[], &mut |row| {
            let namespace = self.namespaces.get_mut(&row.get(0)?).and_then(Option::as_mut);
            if let Some(namespace) = namespace {
                namespace.is_being_deleted = true;
            }
            Ok(())
        })
    }

    /// Reads which manifests tags name, and those that no file has. What a list names, or what
    /// refers to an image, has no tag; it is of the same repository.
    fn read_manifests(
        &mut self,
        reading: &Reading<'_>,
        has_file: &dyn Fn(&Digest) -> bool,
    ) -> Result<(), QuayError> {
        reading.each(MANIFESTS, &[MOST_NAME_BYTES, MOST_MANIFEST_BYTES], &mut |row| {
            let (id, repository): (i64, i64) = (row.get(0)?, row.get(1)?);
            let digest = short_text(row, 2)?.and_then(|text| text.parse::<Digest>().ok());
            if let Some(named) = self.digests.get_mut(&id) {
                *named = digest;
            }
            let Some(digest) = digest else { return Ok(()) };
            let is_wanted = self.repositories.contains_key(&repository);
            if !is_wanted || self.manifests.contains_key(&digest) || has_file(&digest) {
                return Ok(());
            }
            let (ValueRef::Text(bytes) | ValueRef::Blob(bytes)) = row.get_ref(3)? else {
                return Ok(());
            };
            if Digest::of(digest.algorithm(), bytes) != digest {
                return Ok(());
            }
            let kept_bytes = bytes.len().saturating_add(ENTRY_BYTES);
            self.manifest_bytes = self.manifest_bytes.saturating_add(kept_bytes);
            within(self.manifest_bytes, "bytes of manifests", reading.bounds.manifest_bytes)?;
            self.manifests.insert(digest, Bytes::copy_from_slice(bytes));
            Ok(())
        })
    }

    /// A text that is kept.
    fn text(
        &mut self,
        row: &Row<'_>,
        column: usize,
        bounds: &Bounds,
    ) -> Result<Option<String>, QuayError> {
        let text = short_text(row, column)?;
        self.text_bytes = self.text_bytes.saturating_add(text.as_ref().map_or(0, String::len));
        within(self.text_bytes, "bytes of names", bounds.text_bytes)?;
        Ok(text)
    }

    /// What the rows come to.
    pub(super) fn names(mut self) -> QuayNames {
        let manifests = std::mem::take(&mut self.manifests);
        let mut names = QuayNames { manifests, ..QuayNames::default() };
        let mut images: BTreeMap<(RepoName, Tag), Option<Digest>> = BTreeMap::new();
        for tag in &self.tags {
            let repository = self.repositories.get(&tag.repository).and_then(Option::as_ref);
            let namespace = self.namespace(repository);
            if repository.is_some_and(|it| it.is_being_deleted)
                || namespace.is_some_and(|it| it.is_being_deleted)
            {
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
        let namespace = self.namespace(Some(repository)).ok_or(QuayFault::Repository)?;
        if !namespace.is_enabled {
            return Err(QuayFault::Disabled);
        }
        let namespace = namespace.name.as_ref().ok_or(QuayFault::Repository)?;
        let name = repository.name.as_ref().ok_or(QuayFault::Name)?;
        let path = format!("{namespace}/{name}").parse().map_err(|_| QuayFault::Name)?;
        let tag_name = tag.name.as_ref().and_then(|name| name.parse().ok());
        let digest = tag.manifest.and_then(|id| self.digests.get(&id).copied().flatten());
        let digest = digest.ok_or(QuayFault::Manifest)?;
        Ok(((path, tag_name.ok_or(QuayFault::Name)?), digest))
    }

    fn namespace(&self, repository: Option<&Repository>) -> Option<&Namespace> {
        self.namespaces.get(&repository?.namespace?)?.as_ref()
    }

    /// What a tag is called there.
    fn called(&self, tag: &LiveTag, repository: Option<&Repository>) -> String {
        let namespace = self.namespace(repository).and_then(|it| it.name.as_deref());
        let name = repository.and_then(|it| it.name.as_deref());
        let tag = tag.name.as_deref();
        let [namespace, name, tag] = [namespace, name, tag].map(|part| part.unwrap_or(UNKNOWN));
        format!("{namespace}/{name}:{tag}")
    }
}

/// A database that is being read.
struct Reading<'a> {
    connection: &'a Connection,
    bounds: &'a Bounds,
    clock: Clock,
}

impl Reading<'_> {
    /// Reads a table from its beginning to its end, whatever its indexes say.
    fn each(
        &self,
        query: &str,
        most_bytes: &[i64],
        take: &mut dyn FnMut(&Row<'_>) -> Result<(), QuayError>,
    ) -> Result<(), QuayError> {
        let mut statement = self.connection.prepare(query)?;
        let mut rows = statement.query(params_from_iter(most_bytes))?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            count += 1;
            within(count, "rows in one table", self.bounds.rows)?;
            if self.clock.is_over() {
                return Err(self.clock.fault());
            }
            take(row)?;
        }
        Ok(())
    }
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

const TAGS: &str = "SELECT repository_id, manifest_id, lifetime_end_ms, hidden,
                           CASE WHEN octet_length(name) <= ?1 THEN name END
                    FROM tag NOT INDEXED";
const REPOSITORIES: &str = "SELECT id, namespace_user_id, state,
                                   CASE WHEN octet_length(name) <= ?1 THEN name END
                            FROM repository NOT INDEXED";
const NAMESPACES: &str = "SELECT id, CASE WHEN octet_length(username) <= ?1 THEN username END,
                                 enabled
                          FROM user NOT INDEXED";
const DELETED_NAMESPACES: &str = "SELECT namespace_id FROM deletednamespace NOT INDEXED";
const MANIFESTS: &str = "SELECT id, repository_id,
                                CASE WHEN octet_length(digest) <= ?1 THEN digest END,
                                CASE WHEN octet_length(manifest_bytes) <= ?2
                                     THEN manifest_bytes END
                         FROM manifest NOT INDEXED";

/// The state of a repository that is being deleted.
const DELETED: i64 = 3;
/// What stands for a part of a name that is not known.
const UNKNOWN: &str = "?";
/// The longest name or digest, in bytes; Quay has 255 characters for either.
const MOST_NAME_BYTES: i64 = 1024;
/// The longest manifest, in bytes: as long as the server takes.
const MOST_MANIFEST_BYTES: i64 = 4 << 20;
/// What is counted for one manifest besides its content, in bytes: many may be of a few each.
const ENTRY_BYTES: usize = 256;
