//! A release, pushed as tools do that mirror one: several images at once, the layers of each at
//! once, a look before each push, and manifests by digest and by tag.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use super::large::push_absent;
use crate::client::{Connection, Target};
use crate::data::Blob;
use crate::measure::{Client, Done};
use crate::work::{Release, ReleaseImage};

/// Clients that take one image after the other until all are pushed.
pub(crate) async fn clients(target: &Target, release: &Release) -> Result<Vec<Client>> {
    push_absent(&mut target.connect().await?, ELSEWHERE, &release.elsewhere).await?;
    let shared = Arc::new(Shared::of(release));
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..IMAGES_AT_ONCE {
        let mut connections = Vec::new();
        for _ in 0..LAYERS_AT_ONCE {
            connections.push(target.connect().await?);
        }
        clients.push(Box::pin(client(Arc::clone(&shared), connections)));
    }
    Ok(clients)
}

/// Has all images there, whatever was there before.
pub(crate) async fn fill(target: &Target, release: &Release) -> Result<()> {
    let Some(last) = release.images.last() else { return Ok(()) };
    let path = format!("/v2/{REPOSITORY}/manifests/{}", last.tag);
    if target.connect().await?.get_manifest(&path, |_| {}).await.is_ok() {
        return Ok(());
    }
    let mut pushing: JoinSet<Result<Done>> = clients(target, release).await?.into_iter().collect();
    while let Some(ended) = pushing.join_next().await {
        ended.context("a client panicked")??;
    }
    Ok(())
}

/// What the clients share.
struct Shared {
    /// Images that nobody has taken, the next one last.
    images: Mutex<Vec<ReleaseImage>>,
    /// Held by whoever looks for a blob and pushes it: of two who want the same one, the second
    /// finds it, as within one tool, so that every run asks the same.
    blobs: HashMap<String, Slot>,
}

struct Slot {
    is_elsewhere: bool,
    lock: Arc<tokio::sync::Mutex<()>>,
}

impl Shared {
    fn of(release: &Release) -> Self {
        let slot = |digest: &str| Slot {
            is_elsewhere: release.elsewhere.iter().any(|blob| blob.digest() == digest),
            lock: Arc::default(),
        };
        let blobs = release.blobs().into_keys();
        Self {
            images: Mutex::new(release.images.iter().rev().cloned().collect()),
            blobs: blobs.map(|digest| (digest.to_owned(), slot(digest))).collect(),
        }
    }

    fn next(&self) -> Option<ReleaseImage> {
        self.images.lock().ok()?.pop()
    }
}

async fn client(shared: Arc<Shared>, mut connections: Vec<Connection>) -> Result<Done> {
    let mut done = Done::default();
    while let Some(ReleaseImage { image, tag }) = shared.next() {
        let layers = image.parts.get(1..).unwrap_or_default().to_vec();
        let mut pushing = JoinSet::new();
        for (index, mut connection) in connections.drain(..).enumerate() {
            let share = layers.iter().skip(index).step_by(LAYERS_AT_ONCE);
            let (share, shared): (Vec<Blob>, _) = (share.cloned().collect(), Arc::clone(&shared));
            pushing.spawn(async move {
                let mut pushed = Done::default();
                for blob in &share {
                    pushed.add(push(&shared, &mut connection, blob).await?);
                }
                anyhow::Ok((connection, pushed))
            });
        }
        while let Some(ended) = pushing.join_next().await {
            let (connection, pushed) = ended.context("a client panicked")??;
            connections.push(connection);
            done.add(pushed);
        }
        let connection = connections.first_mut().context("a client has connections")?;
        for config in image.parts.iter().take(1) {
            done.add(push(&shared, connection, config).await?);
        }
        for reference in [image.manifest.digest(), &tag] {
            let (kind, manifest) = (image.media_type, &image.manifest);
            connection.push_manifest(REPOSITORY, reference, kind, manifest).await?;
        }
        done.add(Done::over(connection, image.manifest.bytes(), 0));
    }
    Ok(done)
}

/// Looks for a blob, and pushes or mounts it when it is not there.
async fn push(shared: &Shared, connection: &mut Connection, blob: &Blob) -> Result<Done> {
    let slot = shared.blobs.get(blob.digest()).context("a blob of the release")?;
    let held = slot.lock.lock().await;
    let (mut bytes, mut blobs) = (0, 0);
    if !connection.has_blob(REPOSITORY, blob).await? {
        let is_mounted =
            slot.is_elsewhere && connection.mount_blob(REPOSITORY, blob, ELSEWHERE).await?;
        if !slot.is_elsewhere {
            connection.push_blob(REPOSITORY, blob).await?;
        }
        if !is_mounted {
            (bytes, blobs) = (blob.bytes(), 1);
        }
    }
    drop(held);
    Ok(Done::over(connection, bytes, blobs))
}

/// Where the images go.
pub(crate) const REPOSITORY: &str = "load/release";

/// Where some of the layers are already.
const ELSEWHERE: &str = "load/base";
const IMAGES_AT_ONCE: usize = 8;
const LAYERS_AT_ONCE: usize = 6;
