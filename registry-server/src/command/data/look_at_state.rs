//! What a registry holds, what it lies on and how its upkeep goes.

use std::time::SystemTime;

use durable::DiskSpace;
use serde::{Deserialize, Serialize};
use storage::Collected;

use crate::command::{Command, CommandError, Context};

/// Asks for the state of the registry.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookAtState {}

/// The state of a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The version of the program that answers.
    pub version: String,
    /// Where the server is reached; none if no server runs.
    pub address: Option<String>,
    /// How long the server has run, in seconds; none if no server runs.
    pub uptime_seconds: Option<u64>,
    /// The size of the data directory's file system.
    pub disk_total_bytes: u64,
    /// How much of it is free.
    pub disk_free_bytes: u64,
    /// Whether it is read-only: pulls go on, and everything else is refused.
    #[serde(default)]
    pub read_only: bool,
    /// Repositories that hold a manifest.
    pub repositories: u64,
    /// Tags of all repositories.
    pub tags: u64,
    /// Manifests, each once.
    pub manifests: u64,
    /// Blobs, each once.
    pub blobs: u64,
    /// The bytes of all blobs.
    pub blob_bytes: u64,
    /// Upload sessions that are open.
    pub open_uploads: u64,
    /// How collection last ended; none if it never did.
    pub last_collection: Option<LastRun<Collected>>,
    /// When every stored byte was last read and checked, in seconds since 1970; none if it never
    /// was.
    pub last_verified: Option<i64>,
    /// Blobs that are lost: only a push brings them back.
    pub lost_blobs: u64,
    /// Manifests that are lost.
    pub lost_manifests: u64,
    /// The public half of the key that signs bundles, as base64; none before the first export.
    #[serde(default)]
    pub bundle_key: Option<String>,
    /// When the server's certificate expires, in seconds since 1970; none if it is not known.
    pub certificate_expires: Option<i64>,
}

/// How a task of upkeep ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun<T> {
    /// When, in seconds since 1970.
    pub ended_at: i64,
    /// What it did.
    pub did: T,
}

impl Command for LookAtState {
    type Reply = State;

    const NAME: &'static str = "status";

    fn words(&self) -> &'static str {
        "status"
    }

    fn run(self, context: &mut Context<'_>) -> Result<State, CommandError> {
        let (store, running) = (context.store, context.running);
        let counts = store.counts()?;
        let space = DiskSpace::of(store.layout().root())?;
        let ours = || Some(certs::Expiry::read(&store.layout().tls()).ok()?.server?.not_after());
        let expires = running.and_then(|running| running.certificate_expires).or_else(ours);
        let lost = store.lost()?;
        Ok(State {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            address: running.map(|running| running.address.clone()),
            uptime_seconds: running.map(|running| running.since.elapsed().as_secs()),
            disk_total_bytes: space.total_bytes,
            disk_free_bytes: space.free_bytes,
            read_only: store.is_read_only(),
            repositories: counts.repositories,
            tags: counts.tags,
            manifests: counts.manifests,
            blobs: counts.blobs,
            blob_bytes: counts.blob_bytes,
            open_uploads: store.open_uploads() as u64,
            last_collection: store
                .last_collection()?
                .map(|(ended_at, did)| LastRun { ended_at, did }),
            last_verified: store.last_verified()?,
            lost_blobs: lost.blobs,
            lost_manifests: lost.manifests,
            bundle_key: certs::BundleKey::read_public(&store.layout().tls())
                .ok()
                .flatten()
                .map(|key| key.to_string()),
            certificate_expires: expires.map(unix),
        })
    }
}

fn unix(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
