//! What the tests share: a store in a directory of its own, and content to fill it with.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use oci::{Algorithm, Digest, Manifest, MediaType, RepoName, Tag};
use storage::{Account, OnHeld, OpenError, OpenOptions, StorageError, Store, UserId, UserName};
use tempfile::TempDir;

/// Upload sessions that a user of these stores may have.
pub(crate) const UPLOADS_PER_USER: usize = 3;

pub(crate) fn directory() -> TempDir {
    tempfile::Builder::new().prefix("store-").tempdir().unwrap()
}

/// Opens a store, makes it if need be, and finishes it.
pub(crate) fn open(root: &Path) -> Store {
    let store = try_open(root, true).unwrap();
    store.finish_creation().unwrap();
    store
}

pub(crate) fn try_open(root: &Path, may_create: bool) -> Result<Store, OpenError> {
    open_with_reserve(root, may_create, 0)
}

/// Opens a store whose uploads leave so many bytes of the disk free.
pub(crate) fn open_with_reserve(
    root: &Path,
    may_create: bool,
    reserve_bytes: u64,
) -> Result<Store, OpenError> {
    let on_held = |_: &storage::LockHolder| OnHeld::GiveUp;
    Store::open(
        root,
        &OpenOptions {
            may_create,
            uploads_per_user: UPLOADS_PER_USER,
            reserve_bytes,
            idle_connections: 16,
            hot_manifest_bytes: 1 << 20,
            read_pause_time: std::time::Duration::from_secs(1),
            on_held: &on_held,
            allow_network_fs: false,
            on_fatal: fatal,
            on_trouble: |_| {},
        },
    )
}

pub(crate) fn fatal(error: &StorageError) -> ! {
    panic!("the database ended the process: {error}")
}

pub(crate) fn repo(name: &str) -> RepoName {
    name.parse().unwrap()
}

pub(crate) fn tag(name: &str) -> Tag {
    name.parse().unwrap()
}

pub(crate) fn user(name: &str) -> UserName {
    name.parse().unwrap()
}

/// A user whom an older program added, as far as uploads are concerned.
pub(crate) fn account(name: &str) -> Account {
    Account { name: user(name), id: UserId::default() }
}

pub(crate) fn sha256(content: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, content)
}

pub(crate) fn sha512(content: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha512, content)
}

/// Pushes a blob in one piece, as a user of the repository's own, whose sessions nobody else's end.
pub(crate) fn try_push(
    store: &Store,
    name: &RepoName,
    content: &[u8],
) -> Result<Digest, StorageError> {
    let (pusher, digest) = (account(&name.as_str().replace('/', ".")), sha256(content));
    let id = store.create_upload(name, &pusher, Algorithm::Sha256)?;
    let writer = store.open_upload(name, &pusher, id)?;
    writer.append(&[Bytes::copy_from_slice(content)])?;
    store.commit_upload(&writer, &digest)?;
    Ok(digest)
}

pub(crate) fn push(store: &Store, name: &RepoName, content: &[u8]) -> Digest {
    try_push(store, name, content).unwrap()
}

/// Reads a whole blob.
pub(crate) fn pull(store: &Store, name: &RepoName, digest: &Digest) -> Option<Vec<u8>> {
    let reader = store.open_blob(name, digest).unwrap()?;
    Some(reader.read_at(0, usize::MAX).unwrap())
}

/// An image manifest of this config and these layers.
pub(crate) fn image(config: &Digest, layers: &[Digest]) -> Manifest {
    let descriptor = |digest: &Digest| {
        format!(r#"{{"mediaType":"application/x","digest":"{digest}","size":1}}"#)
    };
    let layers: Vec<_> = layers.iter().map(descriptor).collect();
    let text = format!(
        r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#,
        descriptor(config),
        layers.join(",")
    );
    parse(text, MediaType::OCI_MANIFEST, Algorithm::Sha256)
}

/// An index that names nothing and differs from every other by `mark`.
pub(crate) fn index(mark: &str) -> Manifest {
    let text = format!(r#"{{"schemaVersion":2,"manifests":[],"annotations":{{"mark":"{mark}"}}}}"#);
    parse(text, MediaType::OCI_INDEX, Algorithm::Sha256)
}

pub(crate) fn parse(text: String, media_type: &str, algorithm: Algorithm) -> Manifest {
    Manifest::parse(Bytes::from(text), Some(media_type.parse().unwrap()), algorithm).unwrap()
}

/// Every file and directory below `root`, without `root`.
pub(crate) fn tree(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path.clone());
            }
            found.push(path);
        }
    }
    found
}

/// The files in `uploads/` or `blobs/`.
pub(crate) fn files(root: &Path, below: &str) -> Vec<PathBuf> {
    tree(&root.join(below)).into_iter().filter(|path| path.is_file()).collect()
}

/// The files of uploads that hold bytes: those of open ones.
pub(crate) fn open_files(root: &Path) -> Vec<PathBuf> {
    let mut found = files(root, "uploads");
    found.retain(|path| path.extension().is_none());
    found
}

/// Where the file of a blob is.
pub(crate) fn blob_path(root: &Path, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    root.join("blobs").join(digest.algorithm().name()).join(&hex[..2]).join(hex)
}
