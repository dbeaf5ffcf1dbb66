//! Repositories, and which blobs they hold.

use oci::{Digest, RepoName};
use rusqlite::{CachedStatement, OptionalExtension, params};

use super::column::{Text, parsed};
use super::key::RepoId;
use super::repeated_push::RENEWED_TICKS;
use super::transaction::{Reader, Transaction};
use crate::error::StorageError;

impl Transaction<'_> {
    /// The row of a repository, made if it is missing: the first push makes a repository.
    pub(super) fn ensure_repository(&self, name: &RepoName) -> Result<RepoId, StorageError> {
        if let Some(id) = self.repository_id(name)? {
            return Ok(id);
        }
        self.prepare_cached("INSERT INTO repositories (name) VALUES (?1)")?
            .execute(params![Text(&name)])?;
        Ok(RepoId::kept(self.last_insert_rowid()))
    }
}

impl Reader<'_> {
    /// The row of a repository.
    pub(crate) fn repository_id(&self, name: &RepoName) -> Result<Option<RepoId>, StorageError> {
        let mut statement = self.prepare_cached("SELECT id FROM repositories WHERE name = ?1")?;
        Ok(statement.query_row(params![Text(&name)], |row| row.get(0)).optional()?)
    }

    /// The name of a repository whose row is known.
    pub(crate) fn repository_name(&self, repository: RepoId) -> Result<RepoName, StorageError> {
        let mut statement = self.prepare_cached("SELECT name FROM repositories WHERE id = ?1")?;
        Ok(statement.query_row([repository], |row| parsed(row, 0))?)
    }

    /// Whether a repository of this name exists.
    pub(crate) fn repository_exists(&self, name: &RepoName) -> Result<bool, StorageError> {
        Ok(self.repository_id(name)?.is_some())
    }
}

/// What is known of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeldBlob {
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Whether it has no good file.
    pub(crate) is_lost: bool,
}

impl Reader<'_> {
    /// A blob that the repository holds, also if it is lost.
    pub(crate) fn held_blob(
        &self,
        name: &RepoName,
        digest: &Digest,
    ) -> Result<Option<HeldBlob>, StorageError> {
        Ok(self.held_blobs(name, std::slice::from_ref(digest))?.pop().flatten())
    }

    /// The blobs of these that the repository holds, in their order, also those that are lost.
    pub(crate) fn held_blobs(
        &self,
        name: &RepoName,
        digests: &[Digest],
    ) -> Result<Vec<Option<HeldBlob>>, StorageError> {
        let Some(id) = self.repository_id(name)? else { return Ok(vec![None; digests.len()]) };
        let mut statement = self.prepare_cached(
            "SELECT b.size, EXISTS (SELECT 1 FROM lost_blobs x WHERE x.digest = b.digest)
             FROM repository_blobs l JOIN blobs b ON b.digest = l.digest
             WHERE l.repository_id = ?1 AND l.digest = ?2",
        )?;
        let row =
            |row: &rusqlite::Row<'_>| Ok(HeldBlob { size: row.get(0)?, is_lost: row.get(1)? });
        let mut held = |digest: &Digest| {
            Ok(statement.query_row(params![id, Text(&digest)], row).optional()?)
        };
        digests.iter().map(&mut held).collect()
    }

    /// The sizes of blobs and manifests that the repository holds, in the order of the digests.
    pub(crate) fn held_sizes(
        &self,
        name: &RepoName,
        digests: &[Digest],
    ) -> Result<Vec<Option<u64>>, StorageError> {
        let Some(id) = self.repository_id(name)? else { return Ok(vec![None; digests.len()]) };
        let mut statement = self.prepare_cached(
            "SELECT size FROM repository_manifests WHERE repository_id = ?1 AND digest = ?2
             UNION ALL
             SELECT b.size FROM repository_blobs l JOIN blobs b ON b.digest = l.digest
             WHERE l.repository_id = ?1 AND l.digest = ?2",
        )?;
        let mut size = |digest: &Digest| {
            Ok(statement.query_row(params![id, Text(&digest)], |row| row.get(0)).optional()?)
        };
        digests.iter().map(&mut size).collect()
    }

    /// A blob of the store, whoever holds it; none if it has no row.
    pub(crate) fn stored_blob(&self, digest: &Digest) -> Result<Option<HeldBlob>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT size, EXISTS (SELECT 1 FROM lost_blobs x WHERE x.digest = b.digest)
             FROM blobs b WHERE digest = ?1",
        )?;
        let row =
            |row: &rusqlite::Row<'_>| Ok(HeldBlob { size: row.get(0)?, is_lost: row.get(1)? });
        Ok(statement.query_row(params![Text(&digest)], row).optional()?)
    }

    /// The size of a blob that the store holds, in whatever repository; none if it is lost.
    pub(crate) fn sound_size(&self, digest: &Digest) -> Result<Option<u64>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT size FROM blobs b WHERE digest = ?1
             AND NOT EXISTS (SELECT 1 FROM lost_blobs x WHERE x.digest = b.digest)",
        )?;
        Ok(statement.query_row(params![Text(&digest)], |row| row.get(0)).optional()?)
    }
}

impl Transaction<'_> {
    /// Records a blob whose file is in place and synced, and gives it to a repository. A row that
    /// is there is looked at as the disk holds it.
    pub(crate) fn add_blob(
        &self,
        name: &RepoName,
        digest: &Digest,
        size: u64,
    ) -> Result<(), StorageError> {
        if self.stored_blob(digest)?.is_some() {
            self.forget_pages()?;
        }
        let mut statement = self.prepare_cached(
            "INSERT INTO blobs (digest, size, created_at) VALUES (?1, ?2, ?3)
             ON CONFLICT (digest) DO UPDATE SET size = excluded.size
             WHERE size IS NOT excluded.size",
        )?;
        statement.execute(params![Text(&digest), size, self.now()])?;
        self.regain_blob(digest)?;
        link(self, name, digest)
    }

    /// Gives a blob that the store has to a repository, whose user has pushed the same bytes. Says
    /// whether its row is sound: whether it is not lost, and of this size; none if it has no row.
    pub(crate) fn link_stored(
        &self,
        name: &RepoName,
        digest: &Digest,
        size: u64,
    ) -> Result<Option<bool>, StorageError> {
        let Some(blob) = self.stored_blob(digest)? else { return Ok(None) };
        link(self, name, digest)?;
        Ok(Some(blob == HeldBlob { size, is_lost: false }))
    }

    /// Gives a blob of another repository to this one; false if it is lost, or if `from` does not
    /// hold it, or, without `from`, no repository does.
    pub(crate) fn mount_blob(
        &self,
        from: Option<&RepoName>,
        name: &RepoName,
        digest: &Digest,
    ) -> Result<bool, StorageError> {
        let is_held = match from {
            Some(from) => self.held_blob(from, digest)?.is_some_and(|blob| !blob.is_lost),
            None => self
                .prepare_cached(
                    "SELECT 1 FROM repository_blobs WHERE digest = ?1
                     AND NOT EXISTS (SELECT 1 FROM lost_blobs WHERE digest = ?1)",
                )?
                .exists(params![Text(&digest)])?,
        };
        if is_held {
            link(self, name, digest)?;
        }
        Ok(is_held)
    }

    /// Takes a blob out of a repository; false if it was not there. A deleted manifest that names
    /// it keeps its file, and can be restored with it.
    pub(crate) fn remove_blob(
        &self,
        name: &RepoName,
        digest: &Digest,
    ) -> Result<bool, StorageError> {
        let Some(id) = self.repository_id(name)? else { return Ok(false) };
        // What is listed as a child may be a blob: the parts of a build cache are, which buildkit
        // lists in an index. Who names a subject does not need it.
        let manifest = self
            .prepare_cached(
                "SELECT e.parent FROM repository_blobs l
                 JOIN edges e ON e.repository_id = l.repository_id AND e.child = l.digest
                 JOIN repository_manifests m
                   ON m.repository_id = e.repository_id AND m.digest = e.parent
                 WHERE l.repository_id = ?1 AND l.digest = ?2 AND e.kind <> 'subject' LIMIT 1",
            )?
            .query_row(params![id, Text(&digest)], |row| parsed(row, 0))
            .optional()?;
        if let Some(manifest) = manifest {
            return Err(StorageError::BlobInUse { manifest });
        }
        let mut statement = self.prepare_cached(
            "DELETE FROM repository_blobs WHERE repository_id = ?1 AND digest = ?2",
        )?;
        let is_gone = statement.execute(params![id, Text(&digest)])? > 0;
        if is_gone {
            self.keep_deleted_link(id, digest)?;
        }
        Ok(is_gone)
    }
}

impl<'a> Transaction<'a> {
    /// A statement that lets a repository hold blobs. That changes an answer only where one of them
    /// is lost and an index lists it.
    pub(super) fn link_statement(
        &self,
        repository: RepoId,
        sql: &str,
    ) -> Result<CachedStatement<'a>, StorageError> {
        Ok(match self.is_anything_lost()? {
            true => self.change(repository, sql)?,
            false => self.prepare_noted(sql)?,
        })
    }
}

/// Gives a blob to a repository. A link that is there and young stays as it is: a push that changes
/// nothing writes nothing. One that lies ahead was made by a clock that was wrong.
fn link(
    transaction: &Transaction<'_>,
    name: &RepoName,
    digest: &Digest,
) -> Result<(), StorageError> {
    let id = transaction.ensure_repository(name)?;
    let mut statement = transaction.link_statement(
        id,
        "INSERT INTO repository_blobs (repository_id, digest, linked_at) VALUES (?1, ?2, tick())
         ON CONFLICT (repository_id, digest) DO UPDATE SET linked_at = excluded.linked_at
         WHERE linked_at <= excluded.linked_at - ?3 OR linked_at > excluded.linked_at",
    )?;
    statement.execute(params![id, Text(&digest), RENEWED_TICKS])?;
    Ok(())
}
