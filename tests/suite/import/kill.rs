//! Imports that are killed: what they brought by then is whole, and the same command again brings
//! the rest.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::{fs, thread};

use serde_json::json;

use super::{import, is_whole, layout::Layout, named, stagings};
use crate::support::binary::{Instance, program};
use crate::support::content::{Manifest, noise};
use crate::support::process::wait_until;
use crate::support::report::tell;

const IMAGES: usize = 60;
const KILLS: usize = 10;

fn begin(instance: &Instance, layout: &Layout) -> Child {
    let mut command = Command::new(program());
    command.args(["import", "--data-dir"]).arg(instance.data()).arg(layout.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("an import")
}

fn blobs(data: &Path) -> usize {
    let shards = fs::read_dir(data.join("blobs/sha256")).expect("the blobs");
    let count = |shard: fs::DirEntry| fs::read_dir(shard.path()).map_or(0, Iterator::count);
    shards.map(|shard| count(shard.expect("a shard"))).sum()
}

#[test]
fn an_import_that_is_killed_at_any_moment_goes_on_to_the_end() {
    for is_served in [true, false] {
        let mut instance = Instance::started();
        if !is_served {
            instance.stop();
        }
        let layout = Layout::new();
        let images: Vec<Manifest> =
            (0..IMAGES).map(|number| layout.image(&noise(number as u64, 150_000))).collect();
        for (number, image) in images.iter().enumerate() {
            layout.name(image, &format!("team/app{}:{number}", number % 7));
        }
        let (mut random, mut cut) = (fastrand::Rng::with_seed(7), 0);
        for kill in 0..KILLS {
            let mut running = begin(&instance, &layout);
            // From the first step of the first image to somewhere among all of them.
            let until = blobs(instance.data()) + random.usize(0..2 * IMAGES / KILLS);
            let mut ended = None;
            wait_until("the import comes so far", || {
                ended = running.try_wait().expect("its state");
                ended.is_some() || blobs(instance.data()) >= until.min(IMAGES)
            });
            if kill % 3 == 0 {
                thread::yield_now();
            }
            let _ = running.kill();
            let status = running.wait().expect("its end");
            cut += usize::from(!status.success());
            for (number, image) in images.iter().enumerate() {
                let name = format!("team/app{}:{number}", number % 7);
                if is_served && named(&instance, &name).is_some() {
                    assert_eq!(named(&instance, &name), Some(image.digest()));
                }
            }
        }
        tell(&format!("imports that were cut short: {cut} of {KILLS}"));
        assert!(cut > 1, "nearly all imports ended before they were killed");
        if is_served {
            // And the server amid one: the import stops, or goes on with the next server.
            let mut running = begin(&instance, &layout);
            instance.kill();
            instance.start();
            running.wait().expect("its end");
        }
        let report = import(&instance, &[layout.path()], 0);
        assert_eq!(report["images"], json!(IMAGES), "{report}");
        assert_eq!(stagings(&instance), 0);
        if !is_served {
            instance.start();
        }
        for (number, image) in images.iter().enumerate() {
            let name = format!("team/app{}:{number}", number % 7);
            assert_eq!(named(&instance, &name), Some(image.digest()));
            assert!(is_whole(&instance, &name), "{name}");
        }
        instance.command(&["verify"], &[]).ok();
        instance.stop();
    }
}
