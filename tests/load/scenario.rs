//! The five scenarios: what is prepared, what the clients do while the clock runs, and what is
//! read from the server before and after.

use std::pin::Pin;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clap::ValueEnum;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::{Connection, Target};
use crate::data::{Blob, Sha256};
use crate::server::{Kind, Server};
use crate::usage;
use crate::work::{TAG, Workload};

/// How long one scenario may take before it counts as hanging.
const SCENARIO_LIMIT: Duration = Duration::from_secs(1800);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scenario {
    /// Large blobs, one after the other, over one connection.
    Push,
    /// The same blobs back.
    Pull,
    /// Many small blobs by a few clients.
    Small,
    /// One manifest by its tag, again and again, over many connections.
    Manifests,
    /// Many large blobs at once, each over its own connection.
    Parallel,
}

impl Scenario {
    /// All of them, in the order in which they run.
    pub(crate) const ALL: [Self; 5] =
        [Self::Push, Self::Pull, Self::Small, Self::Manifests, Self::Parallel];

    /// The word for it in the output.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Pull => "pull",
            Self::Small => "small",
            Self::Manifests => "manifests",
            Self::Parallel => "parallel",
        }
    }

    /// Each scenario has a repository of its own; pull reads the one that push filled.
    fn repository(self) -> &'static str {
        match self {
            Self::Push | Self::Pull => "load/large",
            Self::Small => "load/small",
            Self::Manifests => "load/image",
            Self::Parallel => "load/parallel",
        }
    }

    /// Runs the scenario once. Connections are opened and content that must be there already is
    /// pushed before the clock starts. Fails at the first request that is not answered as it
    /// should be, with the end of the server's output.
    pub(crate) async fn run(self, work: &Workload, server: &Server) -> Result<Measurement> {
        self.run_once(work, server).await.map_err(|cause| {
            let (scenario, server_name) = (self.name(), server.kind().name());
            anyhow!("{scenario} against {server_name}: {cause:#}\n{}", server.last_words())
        })
    }

    async fn run_once(self, work: &Workload, server: &Server) -> Result<Measurement> {
        let clients = self.prepare(work, server).await?;
        let measurement = measure(server, clients).await?;
        if self == Self::Pull && work.check_digests {
            check_digests(work, server.target()).await?;
        }
        Ok(measurement)
    }

    async fn prepare(self, work: &Workload, server: &Server) -> Result<Vec<Client>> {
        let target = server.target();
        let repository = self.repository();
        match self {
            Self::Push => push_clients(target, repository, &work.large, 1, false).await,
            Self::Parallel => {
                let each = work.parallel.len();
                push_clients(target, repository, &work.parallel, each, false).await
            }
            Self::Small => {
                push_clients(target, repository, &work.small, work.sizes.small_clients, true).await
            }
            Self::Pull => {
                let mut connection = target.connect().await?;
                push_absent(&mut connection, repository, &work.large).await?;
                Ok(vec![Box::pin(pull(connection, repository, work.large.clone()))])
            }
            Self::Manifests => {
                push_image(target, repository, work).await?;
                manifest_clients(target, repository, work, server.kind()).await
            }
        }
    }
}

/// What one server used for one scenario.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Measurement {
    /// Seconds on the clock, from the first request to the last answer.
    pub(crate) wall_seconds: f64,
    /// Processor seconds of the server's process.
    pub(crate) cpu_seconds: f64,
    /// Processor seconds of the load generator itself in the same time.
    pub(crate) client_cpu_seconds: f64,
    /// The most memory that the server had resident, in bytes.
    pub(crate) peak_bytes: u64,
    /// Whether the peak is this scenario's alone; otherwise it is the server's since its start.
    pub(crate) peak_is_own: bool,
    /// Bytes of blobs or manifests that were moved.
    pub(crate) bytes: u64,
    /// Requests that were answered.
    pub(crate) requests: u64,
}

/// What one client does while the clock runs.
type Client = Pin<Box<dyn Future<Output = Result<Done>> + Send>>;

/// What one client has done.
#[derive(Clone, Copy, Default)]
struct Done {
    bytes: u64,
    requests: u64,
}

async fn measure(server: &Server, clients: Vec<Client>) -> Result<Measurement> {
    let (pid, own_pid) = (server.pid(), std::process::id());
    let peak_is_own = usage::reset_peak(pid);
    let own_cpu_before = usage::cpu_seconds(own_pid)?;
    let cpu_before = usage::cpu_seconds(pid)?;
    let begin = Instant::now();
    let done = timeout(SCENARIO_LIMIT, run_all(clients))
        .await
        .with_context(|| format!("not done after {} s", SCENARIO_LIMIT.as_secs()))??;
    let wall_seconds = begin.elapsed().as_secs_f64();
    Ok(Measurement {
        wall_seconds,
        cpu_seconds: usage::cpu_seconds(pid)? - cpu_before,
        client_cpu_seconds: usage::cpu_seconds(own_pid)? - own_cpu_before,
        peak_bytes: usage::peak_bytes(pid)?,
        peak_is_own,
        bytes: done.bytes,
        requests: done.requests,
    })
}

/// Runs the clients at once; the first failure ends them all.
async fn run_all(clients: Vec<Client>) -> Result<Done> {
    let mut running: JoinSet<Result<Done>> = clients.into_iter().collect();
    let mut total = Done::default();
    while let Some(ended) = running.join_next().await {
        let done = ended.context("a client panicked")??;
        total.bytes += done.bytes;
        total.requests += done.requests;
    }
    Ok(total)
}

/// Deals the blobs out to `count` clients. With `look_first` each asks for the blob before.
async fn push_clients(
    target: &Target,
    repository: &'static str,
    blobs: &[Blob],
    count: usize,
    look_first: bool,
) -> Result<Vec<Client>> {
    let mut clients: Vec<Client> = Vec::new();
    for first in 0..count {
        let share = blobs.iter().skip(first).step_by(count).cloned().collect();
        clients.push(Box::pin(push(target.connect().await?, repository, share, look_first)));
    }
    Ok(clients)
}

async fn push(
    mut connection: Connection,
    repository: &'static str,
    blobs: Vec<Blob>,
    look_first: bool,
) -> Result<Done> {
    let before = connection.requests();
    let mut bytes = 0;
    for blob in &blobs {
        if look_first {
            let known = connection.has_blob(repository, blob).await?;
            ensure!(!known, "{} is in a fresh {repository} already", blob.digest());
        }
        connection.push_blob(repository, blob).await?;
        bytes += blob.bytes();
    }
    Ok(Done { bytes, requests: connection.requests() - before })
}

async fn push_absent(connection: &mut Connection, repository: &str, blobs: &[Blob]) -> Result<()> {
    for blob in blobs {
        if !connection.has_blob(repository, blob).await? {
            connection.push_blob(repository, blob).await?;
        }
    }
    Ok(())
}

async fn pull(
    mut connection: Connection,
    repository: &'static str,
    blobs: Vec<Blob>,
) -> Result<Done> {
    let before = connection.requests();
    let mut bytes = 0;
    for blob in &blobs {
        let path = format!("/v2/{repository}/blobs/{}", blob.digest());
        let length = connection.get(&path, |_| {}).await?;
        ensure!(length == blob.bytes(), "GET {path}: {length} bytes, not {}", blob.bytes());
        bytes += length;
    }
    Ok(Done { bytes, requests: connection.requests() - before })
}

/// Pulls once more, off the clock, and hashes what comes.
async fn check_digests(work: &Workload, target: &Target) -> Result<()> {
    let repository = Scenario::Pull.repository();
    let mut connection = target.connect().await?;
    for blob in &work.large {
        let path = format!("/v2/{repository}/blobs/{}", blob.digest());
        let mut hasher = Sha256::new();
        connection.get(&path, |data| hasher.update(data)).await?;
        check_digest(&path, hasher, blob)?;
    }
    Ok(())
}

fn check_digest(path: &str, hasher: Sha256, blob: &Blob) -> Result<()> {
    let digest = hasher.finish();
    ensure!(digest == blob.digest(), "GET {path}: the bytes hash to {digest}");
    Ok(())
}

pub(crate) async fn push_image(target: &Target, repository: &str, work: &Workload) -> Result<()> {
    let mut connection = target.connect().await?;
    push_absent(&mut connection, repository, &work.image.parts).await?;
    let manifest = &work.image.manifest;
    connection.push_manifest(repository, TAG, work.image.media_type, manifest).await?;
    let path = manifest_path(repository);
    let mut hasher = Sha256::new();
    connection.get_manifest(&path, |data| hasher.update(data)).await?;
    check_digest(&path, hasher, manifest)
}

async fn manifest_clients(
    target: &Target,
    repository: &str,
    work: &Workload,
    kind: Kind,
) -> Result<Vec<Client>> {
    let total = match kind {
        Kind::Ours => work.sizes.manifest_gets_ours,
        Kind::Peer => work.sizes.manifest_gets_peer,
    };
    let connections = work.sizes.manifest_connections;
    let mut clients: Vec<Client> = Vec::new();
    for first in 0..connections {
        let share = (first..total).step_by(connections).len();
        let path = manifest_path(repository);
        let bytes = work.image.manifest.bytes();
        clients.push(Box::pin(get_manifest(target.connect().await?, path, bytes, share)));
    }
    Ok(clients)
}

async fn get_manifest(
    mut connection: Connection,
    path: String,
    expected: u64,
    times: usize,
) -> Result<Done> {
    let before = connection.requests();
    let mut bytes = 0;
    for _ in 0..times {
        let length = connection.get_manifest(&path, |_| {}).await?;
        ensure!(length == expected, "GET {path}: {length} bytes, not {expected}");
        bytes += length;
    }
    Ok(Done { bytes, requests: connection.requests() - before })
}

pub(crate) fn manifest_path(repository: &str) -> String {
    format!("/v2/{repository}/manifests/{TAG}")
}
