//! How long clients wait while our server collects: the slowest of a hundred requests, with and
//! without a collection that has much to do. Of ours alone: peers collect while they are stopped.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use crate::client::Target;
use crate::data::Blob;
use crate::place::Place;
use crate::scenario::image::{self, REPOSITORY};
use crate::server::{Program, Role, Server};
use crate::statistics::percentile;
use crate::work::{MANIFEST_PATH, Workload};

/// What clients waited for their answers, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Waits {
    requests: usize,
    median_ms: f64,
    p99_ms: f64,
}

/// The figures of both times.
#[derive(Debug, Serialize)]
pub(crate) struct Collection {
    blobs: usize,
    seconds: f64,
    /// Manifest by tag, small push and larger push: without collection, then with it.
    manifest: [Waits; 2],
    push: [Waits; 2],
    large_push: [Waits; 2],
}

impl Collection {
    /// Fills a fresh server with blobs that nothing needs, and collects them.
    pub(crate) async fn measure(program: &Program, place: &Place, work: &Workload) -> Result<Self> {
        let Role::Ours(path) = &program.role else { bail!("only ours collects while it runs") };
        let server = Server::start(program, place, "collection", &work.image).await?;
        let (target, blobs) = (server.target(), work.sizes.unneeded_blobs);
        image::push(target, REPOSITORY, &work.image).await?;
        fill(target, blobs).await?;

        let large = work.sizes.disk_bytes / SHARE_OF_DISK / LARGE.bytes as u64;
        let clients = Clients::start(target, 1, large);
        tokio::time::sleep(CALM).await;
        let calm = clients.stop().await?;

        let clients = Clients::start(target, 2, large);
        let begin = Instant::now();
        let flags = ["--grace", "0s", "--undo-time", "0s", "--json"];
        let mut gc = Command::new(path);
        gc.args(["gc", "--data-dir"]).arg(server.store()).args(flags);
        let (tell, told) = oneshot::channel();
        std::thread::spawn(move || tell.send(gc.output()));
        let outcome = told.await?.context("running registry gc")?;
        let seconds = begin.elapsed().as_secs_f64();
        let busy = clients.stop().await?;
        let told = String::from_utf8_lossy(&outcome.stdout).into_owned();
        ensure!(
            outcome.status.success(),
            "gc failed: {}",
            String::from_utf8_lossy(&outcome.stderr)
        );
        let told: serde_json::Value = serde_json::from_str(&told).context("reading gc's output")?;
        let gone = told["blobs"].as_u64().unwrap_or(0);
        ensure!(gone >= blobs as u64, "only {gone} of {blobs} blobs went");
        server.stop().await?;
        Ok(Self {
            blobs,
            seconds,
            manifest: [calm.manifest, busy.manifest],
            push: [calm.push, busy.push],
            large_push: [calm.large_push, busy.large_push],
        })
    }

    /// The figures for a person.
    pub(crate) fn render(&self) -> String {
        let mut text = format!(
            "A collection of {} blobs took {:.1} s. What three clients waited meanwhile, in ms:\n\n\
             {:<16}{:>24}{:>24}\n{:<16}{:>12}{:>12}{:>12}{:>12}\n",
            self.blobs, self.seconds, "", "without", "with", "", "median", "p99", "median", "p99"
        );
        for (what, [calm, busy]) in [
            ("manifest GET", self.manifest),
            ("small push", self.push),
            ("push of 16 MiB", self.large_push),
        ] {
            text += &format!(
                "{what:<16}{:>12.2}{:>12.2}{:>12.2}{:>12.2}\n",
                calm.median_ms, calm.p99_ms, busy.median_ms, busy.p99_ms
            );
        }
        text
    }
}

/// Pushes blobs that no manifest will name.
async fn fill(target: &Target, blobs: usize) -> Result<()> {
    let mut pushing = JoinSet::new();
    for client in 0..FILLERS {
        let mut connection = target.connect().await?;
        pushing.spawn(async move {
            for number in (client..blobs).step_by(FILLERS) {
                let blob = Blob::from(format!("unneeded {number}").into_bytes());
                connection.push_blob(UNNEEDED, &blob).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = pushing.join_next().await {
        ended.context("a client panicked")??;
    }
    Ok(())
}

/// Three clients that ask one request after the other and note what they wait.
struct Clients {
    is_over: Arc<AtomicBool>,
    manifest: JoinHandle<Result<Waits>>,
    push: JoinHandle<Result<Waits>>,
    large_push: JoinHandle<Result<Waits>>,
}

/// What all of them waited.
struct All {
    manifest: Waits,
    push: Waits,
    large_push: Waits,
}

impl Clients {
    /// The client of larger pushes sends at most so many.
    fn start(target: &Target, run: usize, large: u64) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, own) = (Arc::clone(&is_over), target.clone());
        let manifest = tokio::spawn(async move {
            let mut connection = own.connect().await?;
            let mut waits = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let begin = Instant::now();
                connection.get_manifest(MANIFEST_PATH, |_| {}).await?;
                waits.push(begin.elapsed());
            }
            Waits::of(waits)
        });
        let pushing = |pushes: Pushes| {
            let (over, own) = (Arc::clone(&is_over), target.clone());
            tokio::spawn(push_on(own, over, run, pushes))
        };
        let push = pushing(SMALL);
        let large_push = pushing(Pushes { at_most: large, ..LARGE });
        Self { is_over, manifest, push, large_push }
    }

    async fn stop(self) -> Result<All> {
        self.is_over.store(true, Ordering::Relaxed);
        Ok(All {
            manifest: self.manifest.await??,
            push: self.push.await??,
            large_push: self.large_push.await??,
        })
    }
}

/// What a client pushes.
#[derive(Clone, Copy)]
struct Pushes {
    /// The size of a blob.
    bytes: usize,
    /// From the end of a push to the next.
    rest: Duration,
    at_most: u64,
}

/// Pushes until it is over, or until it has pushed what it may.
async fn push_on(
    target: Target,
    is_over: Arc<AtomicBool>,
    run: usize,
    Pushes { bytes, rest, at_most }: Pushes,
) -> Result<Waits> {
    let mut connection = target.connect().await?;
    let mut waits = Vec::new();
    while !is_over.load(Ordering::Relaxed) && (waits.len() as u64) < at_most {
        // Another content each time, in both runs.
        let mut content = format!("push {} of run {run}", waits.len()).into_bytes();
        content.resize(bytes, 0);
        let blob = Blob::from(content);
        let begin = Instant::now();
        connection.push_blob(REPOSITORY, &blob).await?;
        waits.push(begin.elapsed());
        tokio::time::sleep(rest).await;
    }
    Waits::of(waits)
}

impl Waits {
    fn of(mut waits: Vec<Duration>) -> Result<Self> {
        waits.sort_unstable();
        let at = |percent| percentile(&waits, percent).context("no request was answered in time");
        Ok(Self { requests: waits.len(), median_ms: at(50)?, p99_ms: at(99)? })
    }
}

const UNNEEDED: &str = "load/unneeded";
/// Clients that fill the server.
const FILLERS: usize = 16;
/// How long the clients are watched without a collection.
const CALM: Duration = Duration::from_secs(5);
const SMALL: Pushes = Pushes { bytes: 1024, rest: Duration::ZERO, at_most: u64::MAX };
/// With a rest, since what they push stays: without one, a fast server's disk would be full before
/// the time is over.
const LARGE: Pushes =
    Pushes { bytes: 16 << 20, rest: Duration::from_millis(500), at_most: u64::MAX };
/// The larger pushes of each time fill at most one part in so many of the disk.
const SHARE_OF_DISK: u64 = 4;
