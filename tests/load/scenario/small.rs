//! Small blobs, by few clients and by many.

use anyhow::{Result, ensure};

use crate::client::Target;
use crate::data::Blob;
use crate::measure::{Client, Done};

/// Deals the blobs out to `count` clients, which push them.
pub(crate) async fn push(
    target: &Target,
    blobs: &[Blob],
    count: usize,
    looks_first: bool,
) -> Result<Vec<Client>> {
    dealt(target, REPOSITORY, blobs, count, looks_first).await
}

/// Deals blobs out to `count` clients, each with a connection. A client that `looks_first` asks
/// for each blob before it pushes it.
pub(crate) async fn dealt(
    target: &Target,
    repository: &'static str,
    blobs: &[Blob],
    count: usize,
    looks_first: bool,
) -> Result<Vec<Client>> {
    let mut clients: Vec<Client> = Vec::new();
    for first in 0..count {
        let share: Vec<Blob> = blobs.iter().skip(first).step_by(count).cloned().collect();
        let mut connection = target.connect().await?;
        clients.push(Box::pin(async move {
            let mut bytes = 0;
            for blob in &share {
                if looks_first {
                    let known = connection.has_blob(repository, blob).await?;
                    ensure!(!known, "{} is in a fresh {repository} already", blob.digest());
                }
                connection.push_blob(repository, blob).await?;
                bytes += blob.bytes();
            }
            Ok(Done::over(&mut connection, bytes, share.len() as u64))
        }));
    }
    Ok(clients)
}

const REPOSITORY: &str = "load/small";
