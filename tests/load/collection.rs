//! How long clients wait while our server collects: the slowest of a hundred requests, with and
//! without a collection that has much to do.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use crate::client::Target;
use crate::data::Blob;
use crate::scenario::{manifest_path, push_image};
use crate::server::{Program, Server};
use crate::work::Workload;

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
    /// Manifest by tag and small push: without collection, then with it.
    manifest: [Waits; 2],
    push: [Waits; 2],
}

impl Collection {
    /// Fills a fresh server with blobs that nothing needs, and collects them.
    pub(crate) async fn measure(program: &Program, base: &Path, work: &Workload) -> Result<Self> {
        let server = Server::start(program, base, "collection").await?;
        let (target, blobs) = (server.target(), work.sizes.unneeded_blobs);
        push_image(target, REPOSITORY, work).await?;
        fill(target, blobs).await?;

        let clients = Clients::start(target, 1);
        tokio::time::sleep(CALM).await;
        let calm = clients.stop().await?;

        let clients = Clients::start(target, 2);
        let begin = Instant::now();
        let flags = ["--grace", "0s", "--undo-time", "0s", "--json"];
        let mut gc = Command::new(&program.path);
        gc.args(["gc", "--data-dir"]).arg(server.data().join("data")).args(flags);
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
        })
    }

    /// The figures for a person.
    pub(crate) fn render(&self) -> String {
        let mut text = format!(
            "A collection of {} blobs took {:.1} s. What two clients waited meanwhile, in ms:\n\n\
             {:<16}{:>24}{:>24}\n{:<16}{:>12}{:>12}{:>12}{:>12}\n",
            self.blobs, self.seconds, "", "without", "with", "", "median", "p99", "median", "p99"
        );
        for (what, [calm, busy]) in [("manifest GET", self.manifest), ("small push", self.push)] {
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

/// Two clients that ask one request after the other and note what they wait.
struct Clients {
    is_over: Arc<AtomicBool>,
    manifest: JoinHandle<Result<Waits>>,
    push: JoinHandle<Result<Waits>>,
}

/// What both of them waited.
struct Both {
    manifest: Waits,
    push: Waits,
}

impl Clients {
    fn start(target: &Target, run: usize) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, own) = (Arc::clone(&is_over), target.clone());
        let manifest = tokio::spawn(async move {
            let mut connection = own.connect().await?;
            let (path, mut waits) = (manifest_path(REPOSITORY), Vec::new());
            while !over.load(Ordering::Relaxed) {
                let begin = Instant::now();
                connection.get_manifest(&path, |_| {}).await?;
                waits.push(begin.elapsed());
            }
            Waits::of(waits)
        });
        let (over, own) = (Arc::clone(&is_over), target.clone());
        let push = tokio::spawn(async move {
            let mut connection = own.connect().await?;
            let mut waits = Vec::new();
            while !over.load(Ordering::Relaxed) {
                // Another content each time, in both runs.
                let mut content = format!("push {} of run {run}", waits.len()).into_bytes();
                content.resize(SMALL_BYTES, 0);
                let blob = Blob::from(content);
                let begin = Instant::now();
                connection.push_blob(REPOSITORY, &blob).await?;
                waits.push(begin.elapsed());
            }
            Waits::of(waits)
        });
        Self { is_over, manifest, push }
    }

    async fn stop(self) -> Result<Both> {
        self.is_over.store(true, Ordering::Relaxed);
        Ok(Both { manifest: self.manifest.await??, push: self.push.await?? })
    }
}

impl Waits {
    fn of(mut waits: Vec<Duration>) -> Result<Self> {
        ensure!(!waits.is_empty(), "no request was answered in the time");
        waits.sort_unstable();
        let at = |percent: usize| waits[(waits.len() * percent / 100).min(waits.len() - 1)];
        let ms = |wait: Duration| wait.as_secs_f64() * 1000.0;
        Ok(Self { requests: waits.len(), median_ms: ms(at(50)), p99_ms: ms(at(99)) })
    }
}

const REPOSITORY: &str = "load/image";
const UNNEEDED: &str = "load/unneeded";
/// Clients that fill the server.
const FILLERS: usize = 16;
/// How long the clients are watched without a collection.
const CALM: Duration = Duration::from_secs(5);
/// The size of a small push.
const SMALL_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_of_a_hundred_is_the_99th_percentile() {
        let waits = Waits::of((1..=200).map(Duration::from_millis).collect()).unwrap();
        assert_eq!((waits.requests, waits.median_ms, waits.p99_ms), (200, 101.0, 199.0));
        assert!(Waits::of(Vec::new()).is_err());
    }
}
