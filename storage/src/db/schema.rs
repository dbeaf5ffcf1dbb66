//! The tables, as numbered migrations.
//!
//! `user_version` holds the number of the last migration that was applied. A migration is applied
//! in one transaction with its number, so a crash leaves the database before or after it, never
//! in between. A migration that was released is never changed.

use rusqlite::{Connection, TransactionBehavior};

use crate::error::StorageError;
use crate::layout::Layout;

/// Brings the database to the newest schema.
pub(super) fn migrate(connection: &mut Connection, layout: &Layout) -> Result<(), StorageError> {
    let applied = applied(connection, layout)?;
    for (number, statements) in (1..).zip(MIGRATIONS).skip(applied as usize) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(statements)?;
        transaction.pragma_update(None, "user_version", number)?;
        transaction.commit()?;
    }
    Ok(())
}

/// The number of the newest migration.
pub(super) fn known() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// Whether the database has the newest schema.
pub(super) fn is_current(connection: &Connection, layout: &Layout) -> Result<bool, StorageError> {
    Ok(applied(connection, layout)? == known())
}

/// The number of the last migration that was applied, if this program knows it.
fn applied(connection: &Connection, layout: &Layout) -> Result<u32, StorageError> {
    let applied: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = known();
    if applied > known {
        let path = layout.root().to_owned();
        return Err(StorageError::NewerFormat { path, found: applied, known });
    }
    Ok(applied)
}

/// All migrations in order; the first has number 1.
pub(super) const MIGRATIONS: &[&str] = &[
    "
CREATE TABLE repositories (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

-- A row says that the file of this digest is complete and synced.
CREATE TABLE blobs (
    digest     TEXT PRIMARY KEY,
    size       INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) WITHOUT ROWID;

-- Which repository holds which blob: a blob is reached only through a row of this table.
CREATE TABLE repository_blobs (
    repository_id INTEGER NOT NULL REFERENCES repositories (id),
    digest        TEXT NOT NULL REFERENCES blobs (digest),
    linked_at     INTEGER NOT NULL,
    PRIMARY KEY (repository_id, digest)
) WITHOUT ROWID;
CREATE INDEX repository_blobs_by_digest ON repository_blobs (digest);

-- The bytes of manifests, each once.
CREATE TABLE manifests (
    digest TEXT NOT NULL UNIQUE,
    bytes  BLOB NOT NULL
);

-- Which repository holds which manifest, and what lists show of it.
CREATE TABLE repository_manifests (
    repository_id INTEGER NOT NULL REFERENCES repositories (id),
    digest        TEXT NOT NULL REFERENCES manifests (digest),
    media_type    TEXT NOT NULL,
    size          INTEGER NOT NULL,
    subject       TEXT,
    artifact_type TEXT,
    annotations   TEXT,
    pushed_at     INTEGER NOT NULL,
    PRIMARY KEY (repository_id, digest)
) WITHOUT ROWID;
CREATE INDEX repository_manifests_by_digest ON repository_manifests (digest);
CREATE INDEX referrers ON repository_manifests (repository_id, subject, digest)
    WHERE subject IS NOT NULL;
CREATE INDEX referrers_by_type
    ON repository_manifests (repository_id, subject, artifact_type, digest)
    WHERE subject IS NOT NULL;

-- Which digests a manifest names, and as what.
CREATE TABLE edges (
    repository_id INTEGER NOT NULL REFERENCES repositories (id),
    parent        TEXT NOT NULL,
    kind          TEXT NOT NULL,
    child         TEXT NOT NULL,
    PRIMARY KEY (repository_id, parent, kind, child),
    FOREIGN KEY (repository_id, parent) REFERENCES repository_manifests (repository_id, digest)
        ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX edges_by_child ON edges (repository_id, child, kind);

CREATE TABLE tags (
    repository_id INTEGER NOT NULL REFERENCES repositories (id),
    name          TEXT NOT NULL,
    digest        TEXT NOT NULL,
    updated_at    INTEGER NOT NULL,
    PRIMARY KEY (repository_id, name),
    FOREIGN KEY (repository_id, digest) REFERENCES repository_manifests (repository_id, digest)
        ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX tags_by_digest ON tags (repository_id, digest);

CREATE TABLE users (
    name          TEXT PRIMARY KEY,
    password_hash TEXT NOT NULL,
    role          TEXT NOT NULL CHECK (role IN ('administrator', 'push', 'pull')),
    created_at    INTEGER NOT NULL,
    changed_at    INTEGER NOT NULL
) WITHOUT ROWID;
",
    "
-- Without a foreign key to its parent: the edges of a deleted manifest stay until collection takes
-- them, some at a time, and keep its blobs until then.
CREATE TABLE edges_without_key (
    repository_id INTEGER NOT NULL REFERENCES repositories (id),
    parent        TEXT NOT NULL,
    kind          TEXT NOT NULL,
    child         TEXT NOT NULL,
    PRIMARY KEY (repository_id, parent, kind, child)
) WITHOUT ROWID;
INSERT INTO edges_without_key SELECT repository_id, parent, kind, child FROM edges;
DROP TABLE edges;
ALTER TABLE edges_without_key RENAME TO edges;
CREATE INDEX edges_by_child ON edges (repository_id, child, kind);

-- Manifests that were deleted and can be restored: bytes and edges are there still.
CREATE TABLE deleted_manifests (
    repository_id INTEGER NOT NULL REFERENCES repositories (id),
    digest        TEXT NOT NULL REFERENCES manifests (digest),
    media_type    TEXT NOT NULL,
    deleted_at    INTEGER NOT NULL,
    PRIMARY KEY (repository_id, digest)
) WITHOUT ROWID;
CREATE INDEX deleted_manifests_by_digest ON deleted_manifests (digest);
CREATE INDEX deleted_manifests_by_time ON deleted_manifests (deleted_at);

-- Each change of a tag: what it named before and after, and who changed it (nobody: a command).
CREATE TABLE tag_history (
    id            INTEGER PRIMARY KEY,
    repository_id INTEGER NOT NULL REFERENCES repositories (id),
    name          TEXT NOT NULL,
    before        TEXT,
    after         TEXT,
    changed_at    INTEGER NOT NULL,
    changed_by    TEXT
);
CREATE INDEX tag_history_by_tag ON tag_history (repository_id, name, id);
CREATE INDEX tag_history_by_repository ON tag_history (repository_id, id);
CREATE INDEX tag_history_by_time ON tag_history (changed_at);
CREATE INDEX tag_history_before ON tag_history (repository_id, before);
CREATE INDEX tag_history_after ON tag_history (repository_id, after);

-- Tags that nobody may move or delete.
CREATE TABLE protected_tags (
    repository_id INTEGER NOT NULL REFERENCES repositories (id),
    name          TEXT NOT NULL,
    protected_at  INTEGER NOT NULL,
    PRIMARY KEY (repository_id, name)
) WITHOUT ROWID;

-- Blobs that have a row and links but no good file: a push brings them back.
CREATE TABLE lost_blobs (
    digest  TEXT PRIMARY KEY REFERENCES blobs (digest) ON DELETE CASCADE,
    lost_at INTEGER NOT NULL
) WITHOUT ROWID;

-- When each task of upkeep last ended, and what it did, as JSON.
CREATE TABLE upkeep (
    task     TEXT PRIMARY KEY,
    ended_at INTEGER NOT NULL,
    summary  TEXT NOT NULL
) WITHOUT ROWID;
",
    "
-- Manifests whose bytes are not those that their digest names: a push brings them back.
CREATE TABLE lost_manifests (
    digest  TEXT PRIMARY KEY REFERENCES manifests (digest) ON DELETE CASCADE,
    lost_at INTEGER NOT NULL
) WITHOUT ROWID;
-- One row: what tells this store and its copies from all others.
CREATE TABLE identity (
    id BLOB NOT NULL
);
INSERT INTO identity VALUES (randomblob(16));
",
    "
-- One row: where the store's own clock stands, in ticks, seconds during which the store was open.
-- It begins at the newest time that a program without it noted, so that what older rows say of
-- times can be compared with it. repository_blobs.linked_at is a tick from here on; where people
-- read a time, the tick has a column of its own, which is NULL in older rows.
CREATE TABLE clock (
    tick INTEGER NOT NULL
);
INSERT INTO clock SELECT coalesce(max(at), 0) FROM (
    SELECT max(changed_at) AS at FROM tag_history
    UNION ALL SELECT max(deleted_at) FROM deleted_manifests
    UNION ALL SELECT max(ended_at) FROM upkeep);

ALTER TABLE repository_manifests ADD COLUMN pushed_tick INTEGER;
-- How many ticks the manifest had been there when the first index that lists it came; NULL if none
-- did, or not since it was pushed for itself.
ALTER TABLE repository_manifests ADD COLUMN listed_age INTEGER;
-- Whether a tag named it of which the history knows no more.
ALTER TABLE repository_manifests ADD COLUMN was_tagged INTEGER NOT NULL DEFAULT 0;
-- Those that an index listed once: collection need not read the others.
CREATE INDEX listed_manifests ON repository_manifests (repository_id, digest)
    WHERE listed_age IS NOT NULL;

-- The same of those that can be restored.
ALTER TABLE deleted_manifests ADD COLUMN listed_age INTEGER;
ALTER TABLE deleted_manifests ADD COLUMN was_tagged INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deleted_manifests ADD COLUMN deleted_tick INTEGER NOT NULL DEFAULT 0;
UPDATE deleted_manifests SET deleted_tick = deleted_at;
DROP INDEX deleted_manifests_by_time;
CREATE INDEX deleted_manifests_by_tick ON deleted_manifests (deleted_tick);
-- Blobs that were deleted while a deleted manifest of the repository named them: nobody reaches
-- them, and what is restored brings them back.
CREATE TABLE deleted_links (
    repository_id INTEGER NOT NULL REFERENCES repositories (id),
    digest        TEXT NOT NULL REFERENCES blobs (digest),
    PRIMARY KEY (repository_id, digest)
) WITHOUT ROWID;
CREATE INDEX deleted_links_by_digest ON deleted_links (digest);

ALTER TABLE tag_history ADD COLUMN changed_tick INTEGER;
-- In the oldest row of a tag: up to which second since 1970 older changes of it are forgotten.
ALTER TABLE tag_history ADD COLUMN forgotten_until INTEGER;
DROP INDEX tag_history_by_time;
CREATE INDEX tag_history_by_tick ON tag_history (coalesce(changed_tick, changed_at));

ALTER TABLE upkeep ADD COLUMN ended_tick INTEGER;

-- Files that no row names, since when collection has known them.
CREATE TABLE seen_files (
    name      TEXT PRIMARY KEY,
    seen_tick INTEGER NOT NULL
) WITHOUT ROWID;

-- When the store was made from a backup, in seconds since 1970; NULL if it was not.
ALTER TABLE identity ADD COLUMN restored_at INTEGER;
-- Directories that hold a backup of this store: what the directory said of the run before when the
-- last run of this store began there, and what it says since; NULL after the first.
CREATE TABLE backups (
    target     TEXT PRIMARY KEY,
    generation TEXT NOT NULL,
    next       TEXT,
    begun_tick INTEGER NOT NULL
) WITHOUT ROWID;

-- Up to which second since 1970 changes of tags are forgotten of which no row is left.
ALTER TABLE repositories ADD COLUMN forgotten_until INTEGER;

-- What lists show of referrers, and nobody of what refers to nothing.
UPDATE repository_manifests SET artifact_type = NULL, annotations = NULL
WHERE subject IS NULL AND (artifact_type IS NOT NULL OR annotations IS NOT NULL);
",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::copy;

    #[test]
    fn migrating_twice_changes_nothing_and_a_later_database_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        let layout = Layout::new("/data".as_ref());
        migrate(&mut connection, &layout).unwrap();
        migrate(&mut connection, &layout).unwrap();
        connection.pragma_update(None, "user_version", 999).unwrap();
        let known = u32::try_from(MIGRATIONS.len()).unwrap();
        let refusal = StorageError::NewerFormat { path: "/data".into(), found: 999, known };
        assert_eq!(migrate(&mut connection, &layout), Err(refusal));
    }

    #[test]
    fn a_note_that_a_manifest_is_lost_goes_with_the_manifest_of_an_older_database_too() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "foreign_keys", true).unwrap();
        for (number, statements) in (1..=2).zip(MIGRATIONS) {
            connection.execute_batch(statements).unwrap();
            connection.pragma_update(None, "user_version", number).unwrap();
        }
        connection.execute_batch("INSERT INTO manifests VALUES ('a', x'00')").unwrap();
        migrate(&mut connection, &Layout::new("/data".as_ref())).unwrap();
        connection.execute_batch("INSERT INTO lost_manifests VALUES ('a', 1)").unwrap();
        assert!(connection.execute_batch("INSERT INTO lost_manifests VALUES ('b', 1)").is_err());
        connection.execute_batch("DELETE FROM manifests").unwrap();
        let count = "SELECT count(*) FROM lost_manifests";
        assert_eq!(connection.query_row(count, [], |row| row.get(0)), Ok(0));
    }

    #[test]
    fn what_no_list_shows_is_kept_no_second_time_of_an_older_database() {
        let mut connection = Connection::open_in_memory().unwrap();
        for (number, statements) in (1..=3).zip(MIGRATIONS) {
            connection.execute_batch(statements).unwrap();
            connection.pragma_update(None, "user_version", number).unwrap();
        }
        let rows = "INSERT INTO repositories VALUES (1, 'r');
                    INSERT INTO manifests VALUES ('a', x''), ('b', x''), ('c', x'');
                    INSERT INTO repository_manifests VALUES (1, 'a', 't', 1, NULL, 'x', '{}', 5);
                    INSERT INTO repository_manifests VALUES (1, 'b', 't', 1, 'a', 'x', '{}', 5);
                    INSERT INTO repository_manifests VALUES (1, 'c', 't', 1, NULL, NULL, NULL, 5);";
        connection.execute_batch(rows).unwrap();
        migrate(&mut connection, &Layout::new("/data".as_ref())).unwrap();
        let query = "SELECT group_concat(digest) FROM repository_manifests
                     WHERE artifact_type = 'x' AND annotations = '{}'";
        let kept: String = connection.query_row(query, [], |row| row.get(0)).unwrap();
        assert_eq!(kept, "b");
        let query = "SELECT count(*) FROM repository_manifests
                     WHERE artifact_type IS NULL AND annotations IS NULL";
        assert_eq!(connection.query_row(query, [], |row| row.get(0)), Ok(2));
    }

    #[test]
    fn what_is_restored_from_an_older_program_remembers_that_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path());
        let connection = Connection::open(layout.database()).unwrap();
        for statements in &MIGRATIONS[..3] {
            connection.execute_batch(statements).unwrap();
        }
        connection.pragma_update(None, "user_version", 3).unwrap();
        drop(connection);
        copy::begin_anew(&layout, &[]).unwrap();
        let connection = Connection::open(layout.database()).unwrap();
        let restored = "SELECT restored_at > 0 FROM identity";
        assert_eq!(connection.query_row(restored, [], |row| row.get(0)), Ok(true));
    }
}
