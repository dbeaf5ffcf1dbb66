use std::os::unix::fs::symlink;

use oci::Algorithm;
use rusqlite::{Connection, params};

use super::*;
use crate::clock::wall_seconds;

/// The columns that are read, as a Quay has them.
const SCHEMA: &str = r#"
    CREATE TABLE "user" (id INTEGER NOT NULL PRIMARY KEY, username VARCHAR(255) NOT NULL,
        enabled BOOLEAN DEFAULT 1 NOT NULL);
    CREATE TABLE repository (id INTEGER NOT NULL PRIMARY KEY, namespace_user_id INTEGER,
        name VARCHAR(255) NOT NULL, state INTEGER DEFAULT '0' NOT NULL);
    CREATE TABLE manifest (id INTEGER NOT NULL PRIMARY KEY, repository_id INTEGER NOT NULL,
        digest VARCHAR(255) NOT NULL, manifest_bytes TEXT NOT NULL);
    CREATE TABLE deletednamespace (id INTEGER NOT NULL PRIMARY KEY, namespace_id INTEGER NOT NULL);
    CREATE TABLE tag (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(255) NOT NULL,
        repository_id INTEGER NOT NULL, manifest_id INTEGER, lifetime_end_ms BIGINT,
        hidden BOOLEAN DEFAULT (0) NOT NULL);
    CREATE INDEX tag_by_name ON tag (repository_id, name);
    INSERT INTO user VALUES (1, 'team', 1), (2, 'Team!', 1);
    INSERT INTO repository VALUES (1, 1, 'app', 0), (2, 1, 'going', 3), (3, 2, 'app', 0),
        (4, 1, 'deep/er', 1), (5, 9, 'app', 0), (6, NULL, 'app', 0), (7, 1, '../up', 0);
    INSERT INTO manifest VALUES (1, 1, 'sha256:' || hex64('a'), zeroblob(5000000)),
        (2, 1, 'sha256:' || hex64('b'), ''), (3, 1, 'sha256:b', ''), (4, 1, hex64('a'), '');
"#;

/// A database that this was done to, in a directory whose name is hard to say.
fn database(done: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::Builder::new().prefix("50%? #a").tempdir().unwrap();
    let path = directory.path().join("quay.db");
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    let schema = SCHEMA.replace("hex64('a')", &quoted("a")).replace("hex64('b')", &quoted("b"));
    connection.execute_batch(&schema).unwrap();
    connection.execute_batch(done).unwrap();
    (directory, path)
}

fn quoted(letter: &str) -> String {
    format!("'{}'", letter.repeat(64))
}

/// What is read where every manifest has a file.
fn names_in(path: &Path) -> Result<QuayNames, QuayError> {
    QuayNames::read(path, &|_| true)
}

/// What is read of a database that has these tags.
fn read(tags: &str) -> QuayNames {
    let (_directory, path) = database(&format!("INSERT INTO tag VALUES {tags}"));
    names_in(&path).unwrap()
}

fn image(repository: &str, tag: &str, letter: &str) -> QuayImage {
    QuayImage {
        repository: repository.parse().unwrap(),
        tag: tag.parse().unwrap(),
        digest: format!("sha256:{}", letter.repeat(64)).parse().unwrap(),
    }
}

fn refusal(done: &str) -> QuayError {
    let (_directory, path) = database(done);
    names_in(&path).unwrap_err()
}

#[test]
fn tags_that_live_are_read_and_no_others() {
    let later = wall_seconds() * 1000 + 3_600_000;
    let names = read(&format!(
        "(1, '2', 1, 2, NULL, 0), (2, '1', 1, 1, 1000, 0), (3, '1', 1, 1, {later}, 0),
         (4, 'hidden', 1, 1, NULL, 1), (5, 'old', 1, 1, 1000, 0), (6, '1', 2, 1, NULL, 0),
         (7, '1', 4, 1, NULL, 0)"
    ));
    let images =
        [image("team/app", "1", "a"), image("team/app", "2", "b"), image("team/deep/er", "1", "a")];
    assert_eq!(names, QuayNames { images: images.into(), ..QuayNames::default() });
}

#[test]
fn what_no_image_can_be_called_is_told() {
    let names = read(
        "(1, '1', 3, 1, NULL, 0), (2, 'a b', 1, 1, NULL, 0), (3, '1', 5, 1, NULL, 0),
         (4, '1', 6, 1, NULL, 0), (5, '1', 8, 1, NULL, 0), (6, 'a', 1, NULL, NULL, 0),
         (7, 'b', 1, 9, NULL, 0), (8, 'c', 1, 3, NULL, 0), (9, 'd', 1, 4, NULL, 0),
         (10, x'31', 1, 1, NULL, 0), (11, replace(hex(zeroblob(5000)), '0', 'e'), 1, 1, NULL, 0),
         (12, '1', 7, 1, NULL, 0), (13, 'twice', 1, 1, NULL, 0), (14, 'twice', 1, 2, NULL, 0),
         (15, 'again', 1, 1, NULL, 0), (16, 'again', 1, 1, NULL, 0)",
    );
    let told: Vec<_> = names.unnamed.iter().map(|it| (it.called.as_str(), it.fault)).collect();
    let expected = [
        ("Team!/app:1", QuayFault::Name),
        ("team/app:a b", QuayFault::Name),
        ("?/app:1", QuayFault::Repository),
        ("?/app:1", QuayFault::Repository),
        ("?/?:1", QuayFault::Repository),
        ("team/app:a", QuayFault::Manifest),
        ("team/app:b", QuayFault::Manifest),
        ("team/app:c", QuayFault::Manifest),
        ("team/app:d", QuayFault::Manifest),
        ("team/app:?", QuayFault::Name),
        ("team/app:?", QuayFault::Name),
        ("team/../up:1", QuayFault::Name),
        ("team/app:twice", QuayFault::Twice),
    ];
    assert_eq!(told, expected);
    assert_eq!(names.images, [image("team/app", "again", "a")]);
}

#[test]
fn what_is_told_ends() {
    let tags: Vec<String> =
        (0..1500).map(|number| format!("({number}, ' {number}', 1, 1, NULL, 0)")).collect();
    let names = read(&tags.join(","));
    assert_eq!((names.unnamed.len(), names.more_unnamed), (QuayNames::MOST_UNNAMED, 500));
}

#[test]
fn a_table_or_a_column_that_is_none_is_named() {
    let computed = "ALTER TABLE tag DROP COLUMN lifetime_end_ms;
                    ALTER TABLE tag ADD COLUMN lifetime_end_ms AS (length(hex(zeroblob(1000))))";
    let made_up = "DROP INDEX tag_by_name; PRAGMA writable_schema = ON;
                   UPDATE sqlite_schema SET rootpage = 0, sql = 'CREATE VIRTUAL TABLE tag USING x'
                   WHERE name = 'tag'";
    let no_column = |table, column| QuayError::NoColumn { table, column };
    for (done, error) in [
        ("DROP TABLE tag", QuayError::NoTable("tag")),
        ("DROP TABLE user; CREATE VIEW user AS SELECT 1 AS id", QuayError::NoTable("user")),
        (
            "ALTER TABLE tag RENAME TO t; CREATE VIEW tag AS SELECT * FROM t",
            QuayError::NoTable("tag"),
        ),
        (made_up, QuayError::NoTable("tag")),
        ("ALTER TABLE repository DROP COLUMN state", no_column("repository", "state")),
        (
            "DROP TABLE deletednamespace; CREATE VIEW deletednamespace AS SELECT 1 AS namespace_id",
            QuayError::NoTable("deletednamespace"),
        ),
        ("ALTER TABLE manifest RENAME digest TO d", no_column("manifest", "digest")),
        (computed, no_column("tag", "lifetime_end_ms")),
    ] {
        assert_eq!(refusal(done), error, "{done}");
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("empty");
    fs::write(&path, "").unwrap();
    assert_eq!(names_in(&path), Err(QuayError::NoTable("tag")));
}

#[test]
fn what_is_no_database_is_refused() {
    let unreadable = |path: &Path| {
        let error = names_in(path).unwrap_err();
        assert!(matches!(error, QuayError::Unreadable(_)), "{error:?}");
    };
    let (directory, path) = database("INSERT INTO tag VALUES (1, '1', 1, 1, NULL, 0)");
    let whole = fs::read(&path).unwrap();
    for bytes in [&whole[..whole.len() / 2], &whole[1..], &b"no database ".repeat(1000)] {
        fs::write(&path, bytes).unwrap();
        unreadable(&path);
    }
    let (_directory, wrong) = database("INSERT INTO tag VALUES (1, '1', 'one', 1, NULL, 0)");
    unreadable(&wrong);
    let other = |name: &str| directory.path().join(name);
    symlink(&wrong, other("link")).unwrap();
    fs::create_dir(other("directory")).unwrap();
    for name in ["link", "directory"] {
        let refused = QuayError::File(ReadError::NotRegular(other(name)));
        assert_eq!(names_in(&other(name)), Err(refused));
    }
    let gone = other("gone");
    assert_eq!(names_in(&gone), Err(QuayError::NotThere(gone)));
}

#[test]
fn one_that_is_written_to_is_refused_and_none_is_changed() {
    let (directory, path) = database("INSERT INTO tag VALUES (1, '1', 1, 1, NULL, 0)");
    let listed = || {
        let entries = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap());
        let mut all: Vec<_> = entries
            .map(|entry| {
                let changed = entry.metadata().unwrap().modified().unwrap();
                (entry.file_name(), fs::read(entry.path()).unwrap(), changed)
            })
            .collect();
        all.sort();
        all
    };
    let before = listed();
    assert_eq!(before.len(), 1);
    assert_eq!(names_in(&path).unwrap().images, [image("team/app", "1", "a")]);
    assert_eq!(listed(), before);
    let beside = |end: &str| directory.path().join(format!("quay.db{end}"));
    for end in ["-wal", "-journal"] {
        fs::write(beside(end), "").unwrap();
        assert_eq!(names_in(&path).unwrap().images.len(), 1);
        fs::write(beside(end), "something").unwrap();
        assert_eq!(names_in(&path), Err(QuayError::InUse(beside(end))));
        fs::remove_file(beside(end)).unwrap();
    }
    let writer = Connection::open(&path).unwrap();
    writer.execute_batch("INSERT INTO tag VALUES (2, '2', 1, 1, NULL, 0)").unwrap();
    let before = listed();
    assert_eq!(names_in(&path), Err(QuayError::InUse(beside("-wal"))));
    assert_eq!(listed(), before);
}

#[test]
fn what_somebody_makes_too_large_ends() {
    let tags: Vec<String> =
        (0..2000).map(|number| format!("({number}, '{number}', 1, 1, NULL, 0)")).collect();
    let (_directory, path) = database(&format!("INSERT INTO tag VALUES {}", tags.join(",")));
    assert_eq!(names_in(&path).unwrap().images.len(), 2000);
    let held = |bounds: Bounds| QuayNames::read_within(&path, &|_| true, &bounds);
    let too_many = |what, limit| Err(QuayError::TooMany { what, limit });
    for (bounds, error) in [
        (Bounds { steps: 10_000, ..BOUNDS }, Err(QuayError::Endless { limit_steps: 10_000 })),
        (Bounds { time: Duration::ZERO, ..BOUNDS }, Err(QuayError::Slow { limit_seconds: 0 })),
        (Bounds { tags: 1999, ..BOUNDS }, too_many("tags that live", 1999)),
        (Bounds { rows: 1999, ..BOUNDS }, too_many("rows in one table", 1999)),
        (Bounds { text_bytes: 6000, ..BOUNDS }, too_many("bytes of names", 6000)),
    ] {
        assert_eq!(held(bounds), error);
    }
    let views: Vec<String> =
        (0..2100).map(|number| format!("CREATE VIEW v{number} AS SELECT 1")).collect();
    let long = format!("CREATE TABLE long (x DEFAULT '{}')", "x".repeat(40_000));
    for done in [views.join(";"), long] {
        let error = refusal(&done);
        assert!(matches!(error, QuayError::Unreadable(_)), "{error:?}");
    }
}

/// A database with these manifests in these repositories, and a tag of the first one.
fn with_manifests(manifests: &[(i64, &str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let (directory, path) = database("INSERT INTO tag VALUES (1, '1', 1, 10, NULL, 0)");
    let connection = Connection::open(&path).unwrap();
    for (id, (repository, content, bytes)) in (10_i64..).zip(manifests) {
        let digest = Digest::of(Algorithm::Sha256, content.as_bytes()).to_string();
        let insert = "INSERT INTO manifest VALUES (?1, ?2, ?3, ?4)";
        connection.execute(insert, params![id, repository, digest, bytes]).unwrap();
    }
    (directory, path)
}

#[test]
fn manifests_without_a_file_come_out_of_the_database() {
    let long = " ".repeat(4 << 20);
    let too_long = " ".repeat((4 << 20) + 1);
    let (_directory, path) = with_manifests(&[
        (1, "tagged", "tagged"),
        (1, "child", "child"),
        (1, "in a file", "in a file"),
        (1, "wrong", "other bytes"),
        (1, &long, &long),
        (1, &too_long, &too_long),
        (4, "of a repository without tags", "of a repository without tags"),
    ]);
    let digest = |content: &str| Digest::of(Algorithm::Sha256, content.as_bytes());
    let has_file = |asked: &Digest| *asked == digest("in a file");
    let names = QuayNames::read(&path, &has_file).unwrap();
    let expected = ["tagged", "child", &long]
        .map(|content| (digest(content), Bytes::copy_from_slice(content.as_bytes())));
    assert_eq!(names.manifests, BTreeMap::from(expected));
    assert_eq!(names.images.len(), 1);
    let bounds = Bounds { manifest_bytes: 4 << 20, ..BOUNDS };
    let error = QuayNames::read_within(&path, &has_file, &bounds).unwrap_err();
    assert_eq!(error, QuayError::TooMany { what: "bytes of manifests", limit: 4 << 20 });
}

#[test]
fn who_writes_and_ends_while_it_is_read_is_noticed() {
    let (_directory, path) = with_manifests(&[(1, "tagged", "tagged")]);
    let write = |_: &Digest| {
        let writer = Connection::open(&path).unwrap();
        let longer = "CREATE TABLE IF NOT EXISTS longer AS SELECT zeroblob(100000) AS v;
                      INSERT OR IGNORE INTO tag VALUES (2, '2', 1, 1, NULL, 0)";
        writer.execute_batch(longer).unwrap();
        true
    };
    assert_eq!(QuayNames::read(&path, &write), Err(QuayError::Changed(path.clone())));
    assert_eq!(names_in(&path).unwrap().images.len(), 2);
}

#[test]
fn namespaces_that_were_deleted_are_left_and_disabled_ones_told() {
    let tags = "INSERT INTO user VALUES (3, '3f0e', 0), (4, 'off', 0);
                INSERT INTO repository VALUES (8, 3, 'app', 0), (9, 4, 'app', 0);
                INSERT INTO tag VALUES (1, '1', 8, 1, NULL, 0), (2, '1', 9, 1, NULL, 0);";
    let off = UnnamedTag { called: "off/app:1".to_owned(), fault: QuayFault::Disabled };
    let deleted = UnnamedTag { called: "3f0e/app:1".to_owned(), ..off.clone() };
    for (done, unnamed) in [
        ("INSERT INTO deletednamespace VALUES (1, 3)", vec![off.clone()]),
        ("DROP TABLE deletednamespace", vec![deleted, off]),
    ] {
        let (_directory, path) = database(&format!("{tags} {done}"));
        let names = names_in(&path).unwrap();
        assert_eq!(names, QuayNames { unnamed, ..QuayNames::default() }, "{done}");
    }
}
