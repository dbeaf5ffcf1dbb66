//! One measurement: what is read from the server and its disk before and after the clients work,
//! and what the clients tell.

use std::pin::Pin;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::client::Connection;
use crate::disk::{Counts, Disk};
use crate::server::Server;
use crate::statistics::percentile;
use crate::usage::{Switches, Usage};

/// What one server used for one scenario.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Measurement {
    /// Seconds on the clock, from the first request to the last answer.
    pub(crate) wall_seconds: f64,
    /// Processor seconds of the server's processes.
    pub(crate) cpu_seconds: f64,
    /// Processor seconds of the load generator itself in the same time.
    pub(crate) client_cpu_seconds: f64,
    /// The most memory that the server had resident, in bytes.
    pub(crate) peak_bytes: u64,
    /// Whether the peak is this scenario's alone; otherwise it is the server's since its start.
    pub(crate) peak_is_own: bool,
    /// What it has resident after a rest, in bytes.
    pub(crate) rest_bytes: Option<u64>,
    /// How often the disk was flushed, where it is the servers' own.
    pub(crate) flushes: Option<u64>,
    /// What was written to it, once all was at rest, in bytes.
    pub(crate) written_bytes: Option<u64>,
    /// By how much the disk of an import is fuller afterwards that shares the blocks of its source,
    /// in bytes.
    pub(crate) grown_bytes: Option<u64>,
    /// How often the server's threads gave up a processor.
    pub(crate) voluntary_switches: u64,
    /// How often they lost one.
    pub(crate) involuntary_switches: u64,
    /// The middle one of what requests took, in milliseconds, unless they are too few to tell.
    pub(crate) p50_ms: Option<f64>,
    /// What the slowest of a hundred took.
    pub(crate) p99_ms: Option<f64>,
    /// Bytes of blobs or manifests that were moved.
    pub(crate) bytes: u64,
    /// Blobs that were pushed.
    pub(crate) blobs: u64,
    /// Requests that were answered.
    pub(crate) requests: u64,
    /// Connections among those that clients noted which went on with a session from before.
    pub(crate) resumed: Option<u64>,
}

/// What one client does while the clock runs.
pub(crate) type Client = Pin<Box<dyn Future<Output = Result<Done>> + Send>>;

/// What one client has done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    /// Bytes of content that were moved.
    pub(crate) bytes: u64,
    /// Blobs that were pushed.
    pub(crate) blobs: u64,
    /// What each request took.
    pub(crate) waits: Vec<Duration>,
    /// Connections that went on with a session from before, where that is what it is about.
    pub(crate) resumed: Option<u64>,
}

impl Done {
    /// What was done over one connection.
    pub(crate) fn over(connection: &mut Connection, bytes: u64, blobs: u64) -> Self {
        Self { bytes, blobs, waits: connection.take_waits(), resumed: None }
    }

    /// Adds what another client has done.
    pub(crate) fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.blobs += other.blobs;
        self.waits.extend(other.waits);
        if let Some(resumed) = other.resumed {
            *self.resumed.get_or_insert(0) += resumed;
        }
    }
}

/// Lets the clients work and reads what that cost. Those `beside` them work as long, and what
/// they do is not counted.
pub(crate) async fn measure(
    server: &Server,
    disk: Option<&Disk>,
    rest: Duration,
    clients: Vec<Client>,
    beside: Vec<Client>,
) -> Result<Measurement> {
    let beside: JoinSet<Result<Done>> = beside.into_iter().collect();
    if !beside.is_empty() {
        sleep(WARM_UP).await;
    }
    let mut before = Reading::take(server, disk)?;
    if let Some(disk) = disk {
        disk.settle()?;
        before.disk = Some(disk.counts()?);
    }
    let peak_is_own = before.usage.reset_peak();
    let begin = Instant::now();
    let done = timeout(LIMIT, run_all(clients))
        .await
        .with_context(|| format!("not done after {} s", LIMIT.as_secs()))??;
    let wall = begin.elapsed();
    let after = Reading::take(server, disk)?;
    drop(beside);
    // What is written until all is at rest counts, the flushes that this takes do not.
    let written = disk.map(|disk| disk.settle().and_then(|()| disk.counts())).transpose()?;
    sleep(rest).await;
    let of_disk = |later: Option<Counts>, figure: fn(Counts) -> u64| {
        Some(figure(later?) - figure(before.disk?))
    };
    let mut waits = done.waits;
    waits.sort_unstable();
    let at = |percent| percentile(&waits, percent).filter(|_| waits.len() >= FEWEST_WAITS);
    let (voluntary_switches, involuntary_switches) = after.switches.since(&before.switches);
    Ok(Measurement {
        wall_seconds: wall.as_secs_f64(),
        cpu_seconds: after.cpu_seconds - before.cpu_seconds,
        client_cpu_seconds: after.own_cpu_seconds - before.own_cpu_seconds,
        peak_bytes: after.peak_bytes,
        peak_is_own,
        rest_bytes: Some(after.usage.resident_bytes()?),
        flushes: of_disk(after.disk, |counts| counts.flushes),
        written_bytes: of_disk(written, |counts| counts.written_bytes),
        grown_bytes: None,
        voluntary_switches,
        involuntary_switches,
        p50_ms: at(50),
        p99_ms: at(99),
        bytes: done.bytes,
        blobs: done.blobs,
        requests: waits.len() as u64,
        resumed: done.resumed,
    })
}

/// What has been used until now.
struct Reading {
    usage: Usage,
    cpu_seconds: f64,
    own_cpu_seconds: f64,
    peak_bytes: u64,
    switches: Switches,
    disk: Option<Counts>,
}

impl Reading {
    fn take(server: &Server, disk: Option<&Disk>) -> Result<Self> {
        // The disk first, and what its reading costs us last.
        let disk = disk.map(Disk::counts).transpose()?;
        let usage = server.usage()?;
        Ok(Self {
            cpu_seconds: usage.cpu_seconds()?,
            own_cpu_seconds: Usage::own().cpu_seconds()?,
            peak_bytes: usage.peak_bytes()?,
            switches: usage.switches(),
            disk,
            usage,
        })
    }
}

/// Runs the clients at once; the first failure ends them all.
async fn run_all(clients: Vec<Client>) -> Result<Done> {
    let mut running: JoinSet<Result<Done>> = clients.into_iter().collect();
    let mut total = Done::default();
    while let Some(ended) = running.join_next().await {
        total.add(ended.context("a client panicked")??);
    }
    Ok(total)
}

/// How long one measurement may take before it counts as hanging.
const LIMIT: Duration = Duration::from_secs(1800);
/// Of fewer requests than so many, the slowest of a hundred would only be the slowest.
const FEWEST_WAITS: usize = 40;
/// How long those who work beside the clients work alone.
const WARM_UP: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_clients_do_is_added_up() {
        let client = |bytes: u64, resumed: Option<u64>| -> Client {
            let waits = vec![Duration::from_millis(bytes)];
            Box::pin(async move { Ok(Done { bytes, blobs: 1, waits, resumed }) })
        };
        let done = run_all(vec![client(1, None), client(2, Some(3)), client(4, Some(0))]).await;
        let done = done.unwrap();
        assert_eq!((done.bytes, done.blobs, done.resumed), (7, 3, Some(3)));
        assert_eq!(done.waits.len(), 3);
        assert_eq!(run_all(Vec::new()).await.unwrap().resumed, None);
    }

    #[tokio::test]
    async fn the_first_failure_ends_all() {
        let clients: Vec<Client> =
            vec![Box::pin(std::future::pending()), Box::pin(async { anyhow::bail!("it failed") })];
        assert_eq!(run_all(clients).await.unwrap_err().to_string(), "it failed");
    }
}
