//! Imports: what each was, the images that it brings, and taking back what it did to tags.

use oci::{Digest, Manifest, RepoName, Tag};
use rusqlite::{OptionalExtension, params};

use super::column::{Text, parsed};
use super::history::{TagChange, change};
use super::repeated_push::Change;
use super::restore::{RestorePoint, Restored};
use super::tag::Cause;
use super::transaction::{Reader, Transaction};
use crate::actor::{Actor, HostUser};
use crate::error::{StorageError, Trouble};
use crate::import_number::ImportNumber;

/// What became of a tag that an import brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagFate {
    /// It names what the import says, and named this before.
    Set(Option<Digest>),
    /// It is protected, and stays what it was.
    Protected,
}

/// A change of a tag that is part of an import, and what became of it when that was taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoneChange {
    /// The repository of the tag.
    pub repository: RepoName,
    /// The change.
    pub change: TagChange,
    /// What the tag names now; none if it is not there. Where that is not what it named before the
    /// import, it was changed since, and stays.
    pub names: Option<Digest>,
    /// Why it could not be taken back, though it names what the import said.
    pub refused: Option<StorageError>,
}

impl Transaction<'_> {
    /// Notes that an import begins, and what it is to read.
    pub(crate) fn begin_import(
        &self,
        sources: &[String],
        by: Option<&HostUser>,
    ) -> Result<ImportNumber, StorageError> {
        let unwritten = |what: String| StorageError::Failed(Trouble::Database(what));
        let sources =
            serde_json::to_string(sources).map_err(|error| unwritten(error.to_string()))?;
        self.execute(
            "INSERT INTO imports (begun_at, begun_on_host, sources) VALUES (?1, ?2, ?3)",
            params![self.now(), by.map(Text), sources],
        )?;
        ImportNumber::of_row(self.last_insert_rowid())
            .ok_or_else(|| unwritten("an import has no number".to_owned()))
    }

    /// Notes that an import has come to its end; false if there is none of this number.
    pub(crate) fn end_import(&self, import: ImportNumber) -> Result<bool, StorageError> {
        let mut statement =
            self.prepare_cached("UPDATE imports SET ended_at = ?2 WHERE id = ?1")?;
        Ok(statement.execute(params![import.row(), self.now()])? > 0)
    }

    /// Stores an image: its manifests, with what each of them changes, in this order, and then the
    /// tags that name it. A protected tag stays where it is and keeps nothing else back.
    pub(crate) fn put_image(
        &self,
        name: &RepoName,
        manifests: &[(Manifest, Change)],
        (image, tags): (&Digest, &[Tag]),
        cause: Cause<'_>,
    ) -> Result<Vec<TagFate>, StorageError> {
        let id = self.ensure_repository(name)?;
        for (manifest, change) in manifests {
            if *change == Change::Bytes {
                self.rewrite_manifest(manifest)?;
            }
            // Somebody may have deleted it since it was looked for.
            if *change != Change::Nothing || !self.holds_manifest(id, manifest.digest())? {
                self.put_manifest(name, manifest, &[], &[], cause.by)?;
            }
        }
        if !self.holds_manifest(id, image)? {
            return Err(StorageError::NoManifest { repository: name.clone(), digest: *image });
        }
        let set = |tag: &Tag| match self.set_tag(id, tag, image, cause) {
            Ok(before) => Ok(TagFate::Set(before)),
            Err(StorageError::TagProtected { .. }) => Ok(TagFate::Protected),
            Err(error) => Err(error),
        };
        tags.iter().map(set).collect()
    }

    /// Lets a tag name again what it named before a change, if it names what it named then, and
    /// brings back what was deleted of that. None if it names something else by now.
    pub(crate) fn undo_change(
        &self,
        name: &RepoName,
        change: &TagChange,
        by: Option<&Actor>,
        has_file: &dyn Fn(&Digest, u64) -> Result<bool, StorageError>,
    ) -> Result<Option<Restored>, StorageError> {
        if self.named_by(name, &change.tag)? != change.after {
            return Ok(None);
        }
        match change.before {
            Some(digest) => {
                let point = RestorePoint::Digest(digest);
                self.restore_tag(name, &change.tag, point, by, has_file).map(Some)
            }
            None => {
                self.remove_tag(name, &change.tag, by)?;
                let manifests = Vec::new();
                Ok(Some(Restored { before: change.after, after: None, manifests }))
            }
        }
    }
}

impl Reader<'_> {
    /// Of each of these manifests, whether the repository holds it and its bytes are not lost.
    pub(crate) fn sound_manifests(
        &self,
        name: &RepoName,
        digests: &[Digest],
    ) -> Result<Vec<bool>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT 1 FROM repositories r JOIN repository_manifests m ON m.repository_id = r.id
             WHERE r.name = ?1 AND m.digest = ?2
             AND NOT EXISTS (SELECT 1 FROM lost_manifests x WHERE x.digest = m.digest)",
        )?;
        let mut is_held =
            |digest: &Digest| Ok(statement.exists(params![Text(&name), Text(digest)])?);
        digests.iter().map(&mut is_held).collect()
    }

    /// Whether there is an import of this number.
    pub(crate) fn has_import(&self, import: ImportNumber) -> Result<bool, StorageError> {
        let mut statement = self.prepare_cached("SELECT 1 FROM imports WHERE id = ?1")?;
        Ok(statement.exists([import.row()])?)
    }

    /// The changes of tags that an import made and that are not forgotten, the newest first, older
    /// than the change `before`, `limit` at most.
    pub(crate) fn import_changes(
        &self,
        import: ImportNumber,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<(RepoName, TagChange)>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT h.id, h.name, h.before, h.after, h.changed_at, h.changed_by,
                    h.changed_on_host, h.import_id, r.name
             FROM tag_history h INDEXED BY tag_history_by_import
             JOIN repositories r ON r.id = h.repository_id
             WHERE h.import_id = ?1 AND h.id < ?2 ORDER BY h.id DESC LIMIT ?3",
        )?;
        let key = params![import.row(), before.unwrap_or(i64::MAX), limit];
        let rows = statement.query_map(key, |row| Ok((parsed(row, 8)?, change(row)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What a tag names, if it is there.
    pub(crate) fn named_by(
        &self,
        name: &RepoName,
        tag: &Tag,
    ) -> Result<Option<Digest>, StorageError> {
        let mut statement = self.prepare_cached(
            "SELECT t.digest FROM repositories r JOIN tags t ON t.repository_id = r.id
             WHERE r.name = ?1 AND t.name = ?2",
        )?;
        let digest = statement.query_row(params![Text(&name), Text(&tag)], |row| parsed(row, 0));
        Ok(digest.optional()?)
    }
}
