//! Which repositories a transaction may have made answer otherwise, so that nobody is answered out
//! of memory what holds no more ([`crate::in_memory::versions`]).
//!
//! Nobody can forget to note a change: SQLite asks here about each statement that it prepares for
//! the connection that writes, and one that changes what an answer is made of is refused, unless it
//! came by a method of the transaction that notes whose answers it touches (`change` and
//! `change_all`, or `link_statement`, which knows when there is nothing to note). A table or a
//! column that is not known here counts as one of those.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use super::key::RepoId;
use crate::in_memory::versions::Touched;

/// What the transaction that is open has touched.
#[derive(Debug, Default)]
pub(super) struct Changes {
    touched: Cell<Touched>,
    /// Whether the statement that is being prepared was noted.
    is_noted: Arc<AtomicBool>,
}

impl Changes {
    /// Watches over the statements of a connection.
    pub(super) fn of(connection: &mut Connection) -> rusqlite::Result<Self> {
        let changes = Self::default();
        let is_noted = Arc::clone(&changes.is_noted);
        connection.authorizer(Some(move |asked: AuthContext<'_>| {
            match is_noted.load(Ordering::Relaxed) || !changes_answers(&asked.action) {
                true => Authorization::Allow,
                false => Authorization::Deny,
            }
        }))?;
        Ok(changes)
    }

    /// Notes a repository, or, with none, all of them.
    pub(super) fn note(&self, repository: Option<RepoId>) {
        let mut touched = self.touched.get();
        match repository {
            Some(repository) => touched.add(repository),
            None => touched.add_all(),
        }
        self.touched.set(touched);
    }

    /// Does what prepares a statement whose changes are noted.
    pub(super) fn noted<T>(&self, prepare: impl FnOnce() -> T) -> T {
        self.is_noted.store(true, Ordering::Relaxed);
        let prepared = prepare();
        self.is_noted.store(false, Ordering::Relaxed);
        prepared
    }

    /// What was noted since this was asked last.
    pub(super) fn take(&self) -> Touched {
        self.touched.take()
    }
}

/// Whether what a statement does may change which manifest is answered, or its type, or end it that
/// it is answered.
fn changes_answers(action: &AuthAction<'_>) -> bool {
    match *action {
        AuthAction::Insert { table_name } => match table_name {
            // What is lost is answered no more; that needs what it lists to be read as a blob.
            "tags"
            | "repository_manifests"
            | "edges"
            | "repository_blobs"
            | "lost_blobs"
            | "lost_manifests" => true,
            table => !is_harmless(table),
        },
        AuthAction::Update { table_name, column_name } => match (table_name, column_name) {
            // What lists and collection read.
            (
                "repository_manifests",
                "size" | "subject" | "artifact_type" | "annotations" | "pushed_at" | "pushed_tick"
                | "listed_age" | "was_tagged",
            )
            | ("repository_blobs", "linked_at")
            | ("repositories", "forgotten_until") => false,
            ("repositories", _) => true,
            (table, _) => !is_harmless(table),
        },
        AuthAction::Delete { table_name } => match table_name {
            // Fewer needs, and less that is lost, only let more be answered, which nobody remembers
            // not to be there.
            "edges" | "repository_blobs" | "lost_blobs" | "lost_manifests" => false,
            table => !is_harmless(table),
        },
        _ => false,
    }
}

/// Whether no row of a table changes an answer.
fn is_harmless(table: &str) -> bool {
    match table {
        // Bytes have one digest, and were held against it before they were remembered. A row that
        // goes has no repository that holds it: it is referred to.
        "manifests" | "blobs" => true,
        // One that comes holds nothing, and only one that holds nothing goes.
        "repositories" => true,
        "deleted_manifests" | "deleted_links" | "tag_history" | "protected_tags" | "users"
        | "upkeep" | "identity" | "clock" | "seen_files" | "backups" | "imports"
        | "bundle_volumes" | "bundle_digests" => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::schema;
    use crate::db::transaction::Transaction;
    use crate::layout::Layout;

    fn watched(more: &str) -> (tempfile::TempDir, Connection, Changes) {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path());
        let mut connection = Connection::open(layout.database()).unwrap();
        schema::migrate(&mut connection, &layout, &|| u64::MAX).unwrap();
        connection.execute_batch(more).unwrap();
        let changes = Changes::of(&mut connection).unwrap();
        (directory, connection, changes)
    }

    #[test]
    fn a_change_of_an_answer_that_was_not_noted_is_refused() {
        let (_directory, connection, changes) = watched("");
        let transaction = Transaction::noted_in(&changes, &connection, 0);
        let answers = [
            "INSERT INTO tags (repository_id, name, digest, updated_at) VALUES (1, 'a', 'b', 1)",
            "UPDATE tags SET digest = 'x'",
            "UPDATE tags SET updated_at = 1",
            "DELETE FROM tags",
            "UPDATE repository_manifests SET media_type = 'x', size = 1",
            "DELETE FROM repository_manifests",
            "INSERT INTO edges (repository_id, parent, kind, child) VALUES (1, 'a', 'b', 'c')",
            "INSERT INTO repository_blobs (repository_id, digest, linked_at) VALUES (1, 'a', 1)",
            "INSERT INTO lost_blobs (digest, lost_at) VALUES ('a', 1)",
            "INSERT INTO lost_manifests (digest, lost_at) VALUES ('a', 1) ON CONFLICT DO NOTHING",
            "UPDATE repositories SET name = 'a'",
        ];
        for sql in answers {
            assert!(transaction.prepare_cached(sql).is_err(), "{sql}");
            assert!(transaction.execute(sql, []).is_err(), "{sql}");
            assert_eq!(changes.take(), Touched::default());
            transaction.change(RepoId::kept(7), sql).map(drop).unwrap();
            let mut touched = Touched::default();
            touched.add(RepoId::kept(7));
            assert_eq!(changes.take(), touched);
            // What is kept of it now is nobody's who does not note it.
            assert!(transaction.prepare_cached(sql).is_err(), "{sql}");
            transaction.change_all(sql).map(drop).unwrap();
            assert_ne!(changes.take(), Touched::default());
        }
        for sql in [
            "INSERT INTO repositories (name) VALUES ('a')",
            "INSERT INTO manifests (digest, bytes) VALUES ('a', x'00')",
            "UPDATE repository_manifests SET listed_age = 1, pushed_tick = 1",
            "UPDATE repository_blobs SET linked_at = 1",
            "DELETE FROM repository_blobs",
            "DELETE FROM edges",
            "DELETE FROM lost_blobs",
            "DELETE FROM users",
        ] {
            transaction.prepare_cached(sql).map(drop).unwrap();
        }
    }

    #[test]
    fn what_a_table_that_comes_has_to_do_with_answers_must_be_said() {
        let (_directory, connection, changes) = watched("CREATE TABLE new (a)");
        let transaction = Transaction::noted_in(&changes, &connection, 0);
        for sql in ["INSERT INTO new VALUES (1)", "UPDATE new SET a = 1", "DELETE FROM new"] {
            assert!(transaction.prepare_cached(sql).is_err(), "{sql}");
        }
    }
}
