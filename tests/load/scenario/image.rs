//! One image's manifest, asked for again and again: over connections that stay open, and over a
//! new one each time.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::large::{check_digest, push_absent};
use crate::client::{Connection, Target};
use crate::data::Sha256;
use crate::measure::{Client, Done};
use crate::work::{Image, MANIFEST_PATH, TAG, Workload};

/// Pushes the image to its tag, and looks whether it comes back.
pub(crate) async fn push(target: &Target, repository: &str, image: &Image) -> Result<()> {
    let mut connection = target.connect().await?;
    push_absent(&mut connection, repository, &image.parts).await?;
    connection.push_manifest(repository, TAG, image.media_type, &image.manifest).await?;
    let path = format!("/v2/{repository}/manifests/{TAG}");
    let mut hasher = Sha256::new();
    connection.get_manifest(&path, |data| hasher.update(data)).await?;
    check_digest(&path, hasher, &image.manifest)
}

/// Clients that ask for the manifest over connections that stay open, `total` times in all.
pub(crate) async fn gets(target: &Target, work: &Workload, total: usize) -> Result<Vec<Client>> {
    let connections = work.sizes.manifest_connections;
    let mut clients: Vec<Client> = Vec::new();
    for first in 0..connections {
        let share = (first..total).step_by(connections).len();
        let expected = work.image.manifest.bytes();
        let mut connection = target.connect().await?;
        clients.push(Box::pin(async move {
            for _ in 0..share {
                get(&mut connection, expected).await?;
            }
            Ok(Done::over(&mut connection, share as u64 * expected, 0))
        }));
    }
    Ok(clients)
}

/// Clients that open a connection for each time that they ask for it; what they wait for includes
/// that.
pub(crate) fn connects(target: &Target, work: &Workload, total: usize) -> Vec<Client> {
    let client = |first: usize| -> Client {
        let share = (first..total).step_by(CONNECTING_CLIENTS).len();
        let (target, expected) = (target.clone(), work.image.manifest.bytes());
        Box::pin(async move {
            let mut done = Done { resumed: Some(0), ..Done::default() };
            for _ in 0..share {
                let begin = Instant::now();
                let mut connection = target.connect().await?;
                get(&mut connection, expected).await?;
                let (waits, resumed) = (vec![begin.elapsed()], connection.is_resumed().into());
                done.add(Done { bytes: expected, blobs: 0, waits, resumed: Some(resumed) });
            }
            Ok(done)
        })
    };
    (0..CONNECTING_CLIENTS).map(client).collect()
}

async fn get(connection: &mut Connection, expected: u64) -> Result<()> {
    let length = connection.get_manifest(MANIFEST_PATH, |_| {}).await?;
    ensure!(length == expected, "GET {MANIFEST_PATH}: {length} bytes, not {expected}");
    Ok(())
}

/// Where the image is, as [`MANIFEST_PATH`] says.
pub(crate) const REPOSITORY: &str = "load/image";

/// Clients that open connections at once.
const CONNECTING_CLIENTS: usize = 4;
