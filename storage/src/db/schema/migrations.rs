//! What the migrations do, part for part.

use super::Part;
use super::bytes;
use super::rows::Rows;

/// All migrations in order; the first has number 1.
///
/// What grows with the rows that there are is a part of its own: a part is one transaction, and all
/// that it changes has to fit into the log at once. On a full disk there is no more room for that
/// than the reserve has.
pub(in crate::db) const MIGRATIONS: &[&[Part]] = &[
    &[Part::Sql(FIRST)],
    &[Part::Large(UNDO, bytes::of_edges)],
    &[Part::Sql(IDENTITY)],
    &[
        Part::Sql(CLOCK),
        Part::Rows(Rows::Manifests),
        Part::Rows(Rows::DeletedManifests),
        Part::Large(DELETED_BY_TICK, bytes::of_deleted_manifests),
        Part::Rows(Rows::ChangesAhead),
        Part::Rows(Rows::SurplusChanges),
        Part::Large(HISTORY_BY_TICK, bytes::of_history),
    ],
    &[Part::Sql(PUSHED)],
    &[Part::Sql(USER_ID)],
    &[Part::Sql(HOST_USER)],
    &[Part::Sql(IMPORTS)],
    &[Part::Sql(BUNDLES)],
];

const FIRST: &str = "
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
";

const UNDO: &str = "
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
";

const IDENTITY: &str = "
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
";

/// It is followed by what it says of rows.
const CLOCK: &str = "
-- One row: where the store's own clock stands, in ticks, seconds during which the store was open.
-- It begins at the newest time that a program without it noted, so that what older rows say of
-- times can be compared with it; but for those that lie ahead of the wall clock, which was wrong
-- then, and whose rows are made as young as all that comes. repository_blobs.linked_at is a tick
-- from here on; where people read a time, the tick has a column of its own, which is NULL in older
-- rows.
CREATE TABLE clock (
    tick INTEGER NOT NULL
);
INSERT INTO clock SELECT coalesce(max(at), 0) FROM (
    SELECT max(changed_at) AS at FROM tag_history WHERE changed_at <= unixepoch()
    UNION ALL SELECT max(deleted_at) FROM deleted_manifests WHERE deleted_at <= unixepoch()
    UNION ALL SELECT max(pushed_at) FROM repository_manifests WHERE pushed_at <= unixepoch()
    UNION ALL SELECT max(ended_at) FROM upkeep WHERE ended_at <= unixepoch());

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
DROP INDEX deleted_manifests_by_time;
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

ALTER TABLE upkeep ADD COLUMN ended_tick INTEGER;
UPDATE upkeep SET ended_tick = min(ended_at, (SELECT tick FROM clock));

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
";

const DELETED_BY_TICK: &str =
    "CREATE INDEX deleted_manifests_by_tick ON deleted_manifests (deleted_tick)";

const HISTORY_BY_TICK: &str =
    "CREATE INDEX tag_history_by_tick ON tag_history (coalesce(changed_tick, changed_at))";

const PUSHED: &str = "
-- When a manifest that can be restored had been pushed last; NULL if a program before this one
-- deleted it.
ALTER TABLE deleted_manifests ADD COLUMN pushed_at INTEGER;
-- The same on the store's own clock, which that of a manifest may not have.
ALTER TABLE deleted_manifests ADD COLUMN pushed_tick INTEGER;

-- Nothing is forgotten of times that lie ahead, whatever a wall clock said.
UPDATE repositories SET forgotten_until = unixepoch() WHERE forgotten_until > unixepoch();
UPDATE upkeep SET ended_at = unixepoch() WHERE task = 'tag-history' AND ended_at > unixepoch();
";

const USER_ID: &str = "
-- What tells a user from others who had the name before or get it later: random digits, made when
-- the user is added. Users of older programs have none, and neither have their uploads.
ALTER TABLE users ADD COLUMN id TEXT NOT NULL DEFAULT '';
";

const HOST_USER: &str = "
-- Which person on the host gave the command that changed the tag; NULL if a client's user changed
-- it, and if a program that knew no such thing did.
ALTER TABLE tag_history ADD COLUMN changed_on_host TEXT;
";

const IMPORTS: &str = "
-- Each run of `registry import`: when, who gave the command, and what it was told to read, as a
-- list in JSON.
CREATE TABLE imports (
    id              INTEGER PRIMARY KEY,
    begun_at        INTEGER NOT NULL,
    -- NULL until it has come to its end.
    ended_at        INTEGER,
    begun_on_host   TEXT,
    sources         TEXT NOT NULL,
    -- The number and the checksum of the bundle, if it took one that a registry exported.
    bundle          TEXT,
    bundle_checksum TEXT
);
-- The import that changed the tag; NULL if it was none.
ALTER TABLE tag_history ADD COLUMN import_id INTEGER;
CREATE INDEX tag_history_by_import ON tag_history (import_id, id) WHERE import_id IS NOT NULL;
";

const BUNDLES: &str = "
-- Volumes of bundles: those that this registry wrote, and those that it took.
CREATE TABLE bundle_volumes (
    id        INTEGER PRIMARY KEY,
    bundle    TEXT NOT NULL,
    checksum  TEXT NOT NULL,
    -- Who wrote it, and when.
    registry  TEXT NOT NULL,
    made_at   INTEGER NOT NULL,
    volume    INTEGER NOT NULL,
    volumes   INTEGER NOT NULL,
    -- The import that took it; NULL if this registry wrote it.
    import_id INTEGER,
    -- NULL until all of its digests are noted, and once some of them are forgotten.
    noted_at  INTEGER
);
CREATE INDEX bundle_volumes_by_bundle ON bundle_volumes (bundle, volume);
-- The digests of a volume, some hundreds in a row: of each the number of its bytes, and these.
CREATE TABLE bundle_digests (
    volume_id INTEGER NOT NULL REFERENCES bundle_volumes (id),
    part      INTEGER NOT NULL,
    count     INTEGER NOT NULL,
    digests   BLOB NOT NULL,
    PRIMARY KEY (volume_id, part)
);
";
