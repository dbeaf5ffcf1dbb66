//! Large blobs: pushed one after the other and at once, pulled, in parts, and beside clients that
//! read slowly.

use anyhow::{Result, ensure};

use crate::client::{Connection, Target};
use crate::data::{Blob, Sha256};
use crate::measure::{Client, Done};

/// Deals the blobs out to `count` clients, which push them.
pub(crate) async fn push(target: &Target, blobs: &[Blob], count: usize) -> Result<Vec<Client>> {
    super::small::dealt(target, REPOSITORY, blobs, count, false).await
}

/// One client that pulls all of them.
pub(crate) async fn pull(target: &Target, blobs: &[Blob]) -> Result<Vec<Client>> {
    let mut connection = target.connect().await?;
    push_absent(&mut connection, REPOSITORY, blobs).await?;
    connection.take_waits();
    let blobs = blobs.to_vec();
    Ok(vec![Box::pin(async move {
        let mut bytes = 0;
        for blob in &blobs {
            bytes += pull_blob(&mut connection, REPOSITORY, blob).await?;
        }
        Ok(Done::over(&mut connection, bytes, 0))
    })])
}

/// Clients that ask for parts of the first blob, `total` in all.
pub(crate) async fn ranges(target: &Target, blobs: &[Blob], total: usize) -> Result<Vec<Client>> {
    let blob = &blobs[0];
    ensure!(blob.bytes() > RANGE_BYTES, "the blob is not longer than a part of it");
    push_absent(&mut target.connect().await?, REPOSITORY, &blobs[..1]).await?;
    let mut clients: Vec<Client> = Vec::new();
    for first in 0..RANGE_CLIENTS {
        let share = (first..total).step_by(RANGE_CLIENTS).len();
        let mut connection = target.connect().await?;
        let path = blob_path(REPOSITORY, blob);
        let last = blob.bytes() - RANGE_BYTES;
        // Anywhere in the blob, as files are read in a container, and the same for every server.
        let mut random = fastrand::Rng::with_seed(first as u64);
        clients.push(Box::pin(async move {
            for _ in 0..share {
                connection.get_range(&path, random.u64(0..=last), RANGE_BYTES).await?;
            }
            Ok(Done::over(&mut connection, share as u64 * RANGE_BYTES, 0))
        }));
    }
    Ok(clients)
}

/// Clients that pull the first blob and read so slowly that they are never done.
pub(crate) async fn slow_clients(
    target: &Target,
    blobs: &[Blob],
    count: usize,
) -> Result<Vec<Client>> {
    push_absent(&mut target.connect().await?, REPOSITORY, &blobs[..1]).await?;
    let target = target.with_receive_bytes(SLOW_RECEIVE_BYTES);
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..count {
        let mut connection = target.connect().await?;
        let path = blob_path(REPOSITORY, &blobs[0]);
        clients.push(Box::pin(async move {
            connection.get_slowly(&path, SLOW_BYTES_PER_SECOND).await?;
            Ok(Done::default())
        }));
    }
    Ok(clients)
}

/// Pulls once more, off the clock, and hashes what comes.
pub(crate) async fn check_digests(target: &Target, blobs: &[Blob]) -> Result<()> {
    let mut connection = target.connect().await?;
    for blob in blobs {
        let path = blob_path(REPOSITORY, blob);
        let mut hasher = Sha256::new();
        connection.get(&path, |data| hasher.update(data)).await?;
        check_digest(&path, hasher, blob)?;
    }
    Ok(())
}

/// Fails unless what was hashed is the blob.
pub(crate) fn check_digest(path: &str, hasher: Sha256, blob: &Blob) -> Result<()> {
    let digest = hasher.finish();
    ensure!(digest == blob.digest(), "GET {path}: the bytes hash to {digest}");
    Ok(())
}

/// Pulls a blob and checks its length, which is returned.
pub(crate) async fn pull_blob(
    connection: &mut Connection,
    repository: &str,
    blob: &Blob,
) -> Result<u64> {
    let path = blob_path(repository, blob);
    let length = connection.get(&path, |_| {}).await?;
    ensure!(length == blob.bytes(), "GET {path}: {length} bytes, not {}", blob.bytes());
    Ok(length)
}

/// Pushes those that a repository does not hold.
pub(crate) async fn push_absent(
    connection: &mut Connection,
    repository: &str,
    blobs: &[Blob],
) -> Result<()> {
    for blob in blobs {
        if !connection.has_blob(repository, blob).await? {
            connection.push_blob(repository, blob).await?;
        }
    }
    Ok(())
}

fn blob_path(repository: &str, blob: &Blob) -> String {
    format!("/v2/{repository}/blobs/{}", blob.digest())
}

const REPOSITORY: &str = "load/large";
/// What is asked for at once by a client that pulls lazily, in bytes.
const RANGE_BYTES: u64 = 64 * 1024;
/// Connections of such a client.
const RANGE_CLIENTS: usize = 4;
/// How fast a slow client reads.
const SLOW_BYTES_PER_SECOND: u32 = 64 * 1024;
/// How much may wait for it in its kernel, in bytes.
const SLOW_RECEIVE_BYTES: u32 = 64 * 1024;
