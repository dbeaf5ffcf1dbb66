//! The load generator: our server and others on the same work, one after the other, and the
//! ratios of what they used.
//!
//! It prints and never judges: it fails only when something could not be run, and a request to
//! ours that is not answered as it should be is such a thing. What a peer fails at is printed.

// A program for developers whose only output is what it prints.
#![allow(clippy::print_stdout)]

mod args;
mod client;
mod collection;
mod data;
mod disk;
mod facts;
mod figure;
mod measure;
mod media;
mod peer;
mod place;
mod run;
mod scenario;
mod server;
mod statistics;
mod table;
mod usage;
mod work;

use std::fs;

use anyhow::{Context, Result, bail};
use clap::Parser as _;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Args;
use crate::collection::Collection;
use crate::facts::Facts;
use crate::media::{Media, Set};
use crate::place::Place;
use crate::server::Program;
use crate::table::Record;
use crate::work::Workload;

/// The raw figures.
#[derive(Serialize)]
struct Report<'a> {
    facts: &'a Facts,
    records: &'a [Record],
    collection: Option<&'a Collection>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        // A signal must end the program by returning, so that the servers are killed, the disk
        // is unmounted and the data is removed.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        tokio::select! {
            result = measure(&args) => result,
            _ = interrupt.recv() => bail!("interrupted"),
            _ = terminate.recv() => bail!("terminated"),
            _ = hang_up.recv() => bail!("hung up"),
        }
    })
}

async fn measure(args: &Args) -> Result<()> {
    let versions = args.programs()?.into_iter().map(|program| {
        let version = program.version()?;
        Ok((program, version))
    });
    let versions: Vec<(Program, Option<String>)> = versions.collect::<Result<_>>()?;
    let place = Place::new(args.work_dir.as_deref(), args.disk_bytes())?;
    let facts = Facts::gather(args, &versions, &place)?;
    facts.print();
    let installed = versions.into_iter().filter(|(_, version)| version.is_some());
    let programs: Vec<Program> = installed.map(|(program, _)| program).collect();

    let mut work = Workload::generate(args.sizes(), args.check_digests);
    let groups = args.groups();
    if groups.concat().iter().any(|scenario| scenario.needs_media()) {
        let set = Set::generate(work.sizes.import_images, work.sizes.import_divisor);
        work.media = Some(Media::write(place.base(), set)?);
    }
    println!("{}", table::LINE_HEAD);
    let records = run::all(&work, &programs, &place, &groups, args.rounds()).await?;
    println!("\n{}", table::render(&records, &programs, !args.short));
    let ours = programs.iter().find(|program| program.is_ours());
    let collection = match ours.filter(|_| args.collection()) {
        Some(program) => Some(Collection::measure(program, &place, &work).await?),
        None => None,
    };
    if let Some(collection) = &collection {
        println!("{}", collection.render());
    }
    if let Some(path) = &args.json {
        let collection = collection.as_ref();
        let report = Report { facts: &facts, records: &records, collection };
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
