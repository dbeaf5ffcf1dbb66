//! Many nodes of a cluster, which pull the same images at once: each image's manifest, and of its
//! layers those that the node has not got from another image.

use std::collections::HashSet;

use anyhow::{Result, ensure};

use super::large::pull_blob;
use super::release::REPOSITORY;
use crate::client::{Connection, Target};
use crate::data::Blob;
use crate::measure::{Client, Done};
use crate::work::{ReleaseImage, Workload};

/// The nodes, each with three connections.
pub(crate) async fn clients(target: &Target, work: &Workload) -> Result<Vec<Client>> {
    let images: Vec<ReleaseImage> =
        work.release.images.iter().take(work.sizes.node_images).cloned().collect();
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..work.sizes.nodes {
        let connections =
            [target.connect().await?, target.connect().await?, target.connect().await?];
        clients.push(Box::pin(node(connections, images.clone())));
    }
    Ok(clients)
}

async fn node(mut connections: [Connection; 3], images: Vec<ReleaseImage>) -> Result<Done> {
    let (mut done, mut has) = (Done::default(), HashSet::new());
    for ReleaseImage { image, tag } in &images {
        let path = format!("/v2/{REPOSITORY}/manifests/{tag}");
        let length = connections[0].get_manifest(&path, |_| {}).await?;
        ensure!(length == image.manifest.bytes(), "GET {path}: {length} bytes");
        done.bytes += length;
        let parts = image.parts.iter();
        let absent: Vec<&Blob> = parts.filter(|blob| has.insert(blob.digest())).collect();
        let share = |index: usize| absent.iter().skip(index).step_by(3).copied().collect();
        let [first, second, third] = &mut connections;
        let pulled =
            tokio::try_join!(pull(first, share(0)), pull(second, share(1)), pull(third, share(2)))?;
        done.bytes += pulled.0 + pulled.1 + pulled.2;
    }
    for connection in &mut connections {
        done.add(Done::over(connection, 0, 0));
    }
    Ok(done)
}

async fn pull(connection: &mut Connection, blobs: Vec<&Blob>) -> Result<u64> {
    let mut bytes = 0;
    for blob in blobs {
        bytes += pull_blob(connection, REPOSITORY, blob).await?;
    }
    Ok(bytes)
}
