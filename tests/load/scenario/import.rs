//! What lies on media, taken in by `registry import` beside a running server; and what it is held
//! against: openssl, which hashes the same bytes, and skopeo, which copies the same images into
//! such a server. All of it is read out of memory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::disk::{Disk, Format};
use crate::measure::{Client, Done, Measurement, measure as measure_server};
use crate::media::{Media, Set, warm, write_tree};
use crate::place::Place;
use crate::server::{OPENSSL, Process, Program, Role, SKOPEO, Server};
use crate::usage::Usage;
use crate::work::Workload;

/// Runs one of the programs on the archive, or else on the layout. skopeo reads no archive of
/// oc-mirror, and takes the layout both times.
pub(crate) async fn measure(
    work: &Workload,
    program: &Program,
    place: &Place,
    is_archive: bool,
) -> Result<Measurement> {
    let media = work.media.as_ref().context("there is nothing to be imported")?;
    let is_of_layout = !is_archive || matches!(program.role, Role::Skopeo(_));
    let (source, files) = match is_of_layout {
        false => (media.archive(), vec![media.archive()]),
        true => (media.layout(), media.layout_blobs()?),
    };
    warm(&files)?;
    let log = place.base().join(format!("{}-import.log", program.name));
    let ours = match &program.role {
        Role::Openssl => return hash(&files, &log).await,
        Role::Ours(ours) | Role::Skopeo(ours) => ours,
        Role::DockerRegistry(_) | Role::Nginx(_) | Role::Command(_) => bail!("it does not import"),
    };
    let label = format!("{}-import", program.name);
    let server = Server::start(&Program::ours(ours.clone()), place, &label, &work.image).await?;
    let commands = match program.is_ours() {
        true => vec![import(ours, &server, &source)],
        false => skopeo(media, &server),
    };
    let measured = with_commands(work, &server, place.disk(), &media.set, commands, &log).await?;
    server.stop().await?;
    Ok(measured)
}

/// Imports a docker-registry's directory on a disk of its own where files share their blocks; none
/// where such a disk cannot be made.
pub(crate) async fn measure_clone(
    work: &Workload,
    program: &Program,
    place: &Place,
) -> Result<Option<Measurement>> {
    let Role::Ours(ours) = &program.role else { bail!("it does not import") };
    let set = Set::generate(work.sizes.clone_images, work.sizes.import_divisor);
    let room = set.bytes() + set.bytes() / 8 + CLONE_ROOM_BYTES;
    let disk = match Disk::mount(place.base(), Format::Xfs, room) {
        Ok(disk) => disk,
        Err(error) => {
            println!("       no XFS of our own: {error:#}");
            return Ok(None);
        }
    };
    let tree = disk.path().join("source");
    write_tree(&tree, &set)?;
    let own = Place::new(Some(disk.path()), None)?;
    let server = Server::start(program, &own, "clone", &work.image).await?;
    disk.settle()?;
    let before = disk.free_bytes()?;
    let (commands, log) = (vec![import(ours, &server, &tree)], place.base().join("clone.log"));
    let measured = with_commands(work, &server, Some(&disk), &set, commands, &log).await?;
    let grown_bytes = Some(before.saturating_sub(disk.free_bytes()?));
    server.stop().await?;
    Ok(Some(Measurement { grown_bytes, ..measured }))
}

/// What commands cost that run one after the other beside a server, and what it costs the server.
async fn with_commands(
    work: &Workload,
    server: &Server,
    disk: Option<&Disk>,
    set: &Set,
    commands: Vec<Command>,
    log: &Path,
) -> Result<Measurement> {
    let (bytes, blobs, log) = (set.bytes(), set.blobs().len() as u64, log.to_owned());
    let peak = Arc::new(AtomicU64::new(0));
    let own_peak = Arc::clone(&peak);
    let client: Client = Box::pin(async move {
        for command in commands {
            let peak_bytes = Process::spawn(command, &log)?.finish().await?;
            own_peak.fetch_max(peak_bytes, Ordering::Relaxed);
        }
        Ok(Done { bytes, blobs, ..Done::default() })
    });
    let before = Usage::of_ended_children()?;
    let measured = measure_server(server, disk, work.rest(), vec![client], Vec::new()).await?;
    Ok(Measurement {
        cpu_seconds: measured.cpu_seconds + Usage::of_ended_children()? - before,
        peak_bytes: measured.peak_bytes + peak.load(Ordering::Relaxed),
        ..measured
    })
}

/// What openssl needs to hash these files.
async fn hash(files: &[PathBuf], log: &Path) -> Result<Measurement> {
    let bytes = files.iter().map(|path| Ok(path.metadata()?.len())).sum::<Result<u64>>()?;
    let mut command = Command::new(OPENSSL);
    command.args(["dgst", "-sha256"]).args(files);
    let (before, begin) = (Usage::of_ended_children()?, Instant::now());
    let peak_bytes = Process::spawn(command, log)?.finish().await?;
    Ok(Measurement {
        wall_seconds: begin.elapsed().as_secs_f64(),
        cpu_seconds: Usage::of_ended_children()? - before,
        peak_bytes,
        peak_is_own: true,
        bytes,
        ..Measurement::default()
    })
}

fn import(ours: &Path, server: &Server, source: &Path) -> Command {
    let mut command = Command::new(ours);
    command.args(["import", "--data-dir"]).arg(server.store()).arg(source);
    command
}

/// Copies the images of a layout, one after the other, as they are.
fn skopeo(media: &Media, server: &Server) -> Vec<Command> {
    let login = server.login();
    let copy = |name: String| {
        let mut command = Command::new(SKOPEO);
        command.args(["copy", "--quiet", "--all", "--preserve-digests", "--dest-creds"]);
        command.arg(format!("{}:{}", login.user, login.password));
        command.arg(format!("oci:{}:{name}", media.layout().display()));
        command.arg(format!("docker://{}/{name}", login.address));
        command.env("SSL_CERT_FILE", login.ca);
        command
    };
    media.set.images.iter().map(|image| copy(image.name())).collect()
}

/// What an XFS takes for itself, and the server for its database, in bytes.
const CLONE_ROOM_BYTES: u64 = 1 << 30;
