//! What tables and indexes a database has: those that the migrations of its number make, word for
//! word, and nothing beside them.
//!
//! A trigger, a view or a column that is computed is a program that somebody else would run as
//! whoever opens the file. SQLite keeps the text that made each part of a schema, so this compares
//! texts: what the migrations make in an empty database of this very SQLite is what must be there.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use rusqlite::Connection;

use super::schema;
use super::schema_fault::SchemaFault;
use crate::error::{StorageError, Trouble};

/// Refuses a database whose schema is not the one of its number.
///
/// # Errors
/// [`Trouble::ForeignSchema`], [`Trouble::NewerFormat`].
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), StorageError> {
    let number: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let shapes = shapes()?;
    let Some(expected) = shapes.get(&number) else {
        let (path, known) = (path.parent().unwrap_or(path).to_owned(), schema::known());
        return Err(StorageError::Failed(Trouble::NewerFormat { path, found: number, known }));
    };
    match fault(connection, expected)? {
        Some(fault) => {
            Err(StorageError::Failed(Trouble::ForeignSchema { path: path.to_owned(), fault }))
        }
        None => Ok(()),
    }
}

/// Kind and text of each part of a schema, by its name.
type Shape = BTreeMap<String, (String, Option<String>)>;

/// The first thing that is wrong, if anything is. No more is read than there should be.
fn fault(connection: &Connection, expected: &Shape) -> Result<Option<SchemaFault>, StorageError> {
    let mut missing: BTreeMap<&str, &str> =
        expected.iter().map(|(name, (kind, _))| (name.as_str(), kind.as_str())).collect();
    let mut statement = connection.prepare(PARTS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (kind, name): (String, String) = (row.get(0)?, row.get(1)?);
        let Some(part) = expected.get(&name) else {
            return Ok(Some(SchemaFault::Foreign { kind, name }));
        };
        if *part != (kind.clone(), row.get(2)?) {
            return Ok(Some(SchemaFault::Altered { kind: part.0.clone(), name }));
        }
        // One name twice is one thing too many.
        if missing.remove(name.as_str()).is_none() {
            return Ok(Some(SchemaFault::Foreign { kind, name }));
        }
    }
    let first = missing.into_iter().next();
    Ok(first.map(|(name, kind)| SchemaFault::Missing { kind: kind.into(), name: name.into() }))
}

/// What the migrations make up to each number, from none on.
fn shapes() -> Result<&'static BTreeMap<u32, Shape>, StorageError> {
    if let Some(shapes) = SHAPES.get() {
        return Ok(shapes);
    }
    let connection = Connection::open_in_memory()?;
    let mut shapes = BTreeMap::from([(0, shape(&connection)?)]);
    for (part, number) in schema::parts() {
        connection.execute_batch(part.statements())?;
        shapes.insert(number, shape(&connection)?);
    }
    Ok(SHAPES.get_or_init(|| shapes))
}

fn shape(connection: &Connection) -> rusqlite::Result<Shape> {
    let mut statement = connection.prepare(PARTS)?;
    let parts = statement.query_map([], |row| Ok((row.get(1)?, (row.get(0)?, row.get(2)?))))?;
    parts.collect()
}

static SHAPES: OnceLock<BTreeMap<u32, Shape>> = OnceLock::new();
/// What begins a text that is longer than any of ours differs from each of ours.
const PARTS: &str = "SELECT substr(type, 1, 32), substr(name, 1, 128), substr(sql, 1, 4096)
                     FROM sqlite_schema";

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::db::copy::{BlobIndex, begin_anew, settle};
    use crate::db::open::{open_frozen, open_to_read, open_to_write};
    use crate::db::schema::tests::make;
    use crate::layout::Layout;

    /// A database with the migrations up to this number, to which somebody did something.
    fn database(number: u32, done: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("registry.db");
        let connection = Connection::open(&path).unwrap();
        make(&connection, number);
        connection.execute_batch(done).unwrap();
        (directory, path)
    }

    fn foreign(kind: &str, name: &str) -> SchemaFault {
        SchemaFault::Foreign { kind: kind.into(), name: name.into() }
    }

    fn altered(kind: &str, name: &str) -> SchemaFault {
        SchemaFault::Altered { kind: kind.into(), name: name.into() }
    }

    const TRIGGER: &str = "CREATE TRIGGER slow AFTER INSERT ON lost_blobs BEGIN
         INSERT INTO users VALUES ('mallory', '', 'administrator', 0, 0); END";

    #[test]
    fn every_number_of_migrations_passes_and_a_later_one_is_refused() {
        for number in schema::parts().map(|(_, number)| number).chain([0]) {
            let (_directory, path) = database(number, "");
            open_to_read(&path).unwrap();
            open_to_write(&path).unwrap();
        }
        let (directory, path) = database(1, "PRAGMA user_version = 999");
        let known = schema::known();
        let later = StorageError::Failed(Trouble::NewerFormat {
            path: directory.path().into(),
            found: 999,
            known,
        });
        assert_eq!(open_to_read(&path).map(drop), Err(later));
    }

    #[test]
    fn what_no_migration_makes_is_refused_by_its_name() {
        let text = |new: &str| {
            format!(
                "PRAGMA writable_schema = ON;
                 UPDATE sqlite_schema SET sql = replace(sql, 'role IN', '{new} OR role IN')"
            )
        };
        for (done, fault) in [
            (TRIGGER, foreign("trigger", "slow")),
            ("CREATE VIEW v AS SELECT 1", foreign("view", "v")),
            ("CREATE TABLE \"a\n\u{1b}[2J\" (x)", foreign("table", "a\n\u{1b}[2J")),
            ("CREATE INDEX i ON blobs (abs(size))", foreign("index", "i")),
            ("ANALYZE", foreign("table", "sqlite_stat1")),
            ("DROP TABLE blobs; CREATE VIEW blobs AS SELECT 1", altered("table", "blobs")),
            ("ALTER TABLE blobs ADD COLUMN x AS (abs(size))", altered("table", "blobs")),
            ("ALTER TABLE blobs DROP COLUMN created_at", altered("table", "blobs")),
            (&text("length(name)"), altered("table", "users")),
            (
                "DROP INDEX edges_by_child",
                SchemaFault::Missing { kind: "index".into(), name: "edges_by_child".into() },
            ),
        ] {
            let (_directory, path) = database(schema::known(), done);
            let refusal =
                StorageError::Failed(Trouble::ForeignSchema { path: path.clone(), fault });
            assert!(!refusal.to_string().contains(['\n', '\u{1b}']), "{refusal}");
            for opened in [
                open_to_read(&path).map(drop),
                open_frozen(&path).map(drop),
                open_to_write(&path).map(drop),
                BlobIndex::open(&path).map(drop),
                settle(&path),
            ] {
                assert_eq!(opened, Err(refusal.clone()), "{done}");
            }
            let begun = begin_anew(&Layout::new(path.parent().unwrap()), &[]);
            assert_eq!(begun, Err(refusal.into()), "{done}");
        }
    }

    #[test]
    fn a_virtual_table_of_another_sqlite_is_refused_by_its_name() {
        let virtual_table = "PRAGMA writable_schema = ON;
             INSERT INTO sqlite_schema VALUES
                 ('table', 'v', 'v', 0, 'CREATE VIRTUAL TABLE v USING fts5(x)')";
        let (_directory, path) = database(1, virtual_table);
        let refusal = StorageError::Failed(Trouble::ForeignSchema {
            path: path.clone(),
            fault: foreign("table", "v"),
        });
        assert_eq!(open_to_read(&path).map(drop), Err(refusal));
    }

    #[test]
    fn a_trigger_that_comes_later_does_not_run() {
        let (_directory, path) = database(schema::known(), "");
        let connection = open_to_write(&path).unwrap();
        Connection::open(&path).unwrap().execute_batch(TRIGGER).unwrap();
        let row = "INSERT INTO blobs VALUES ('a', 1, 1); INSERT INTO lost_blobs VALUES ('a', 1)";
        connection.execute_batch(row).unwrap();
        let users = "SELECT count(*) FROM users";
        assert_eq!(connection.query_row(users, [], |row| row.get(0)), Ok(0));
    }
}
