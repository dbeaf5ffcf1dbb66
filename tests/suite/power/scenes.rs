//! The scenes of the load: what clients do while a part of the record shows it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use oci::Algorithm;
use registry_server::command::data::Collect;
use registry_server::config::ConfigDuration;
use registry_server::control;
use serde_json::json;

use super::acts::{Acts, Key, now};
use super::load::{Load, Way, fresh_bytes};
use crate::import::layout::Layout;
use crate::support::binary::Instance;
use crate::support::content::{Manifest, sha256};
use crate::support::process::run;

/// Several clients at once, each in all ways; some push the same.
pub(super) fn push_blobs(load: &Load<'_>) {
    let shared: Vec<Vec<u8>> = (0..3).map(|_| fresh_bytes()).collect();
    thread::scope(|scope| {
        for number in 0..3 {
            let shared = &shared;
            scope.spawn(move || {
                let repository = format!("blobs/{number}");
                for (way, same) in Way::ALL.into_iter().cycle().zip(shared) {
                    load.blob(&repository, same, way, Algorithm::Sha256);
                }
                for algorithm in Algorithm::ALL.into_iter().chain([Algorithm::Sha256]) {
                    for way in Way::ALL {
                        load.blob(&repository, &fresh_bytes(), way, algorithm);
                    }
                }
            });
        }
    });
}

pub(super) fn push_manifests(load: &Load<'_>) {
    thread::scope(|scope| {
        for number in 0..2 {
            scope.spawn(move || {
                let repository = format!("images/{number}");
                let images: Vec<_> = (0..5)
                    .map(|image| {
                        let (first, second) = (format!("v{image}"), format!("also-{image}"));
                        let tags = [first.as_str(), &second];
                        load.image(&repository, &fresh_bytes(), &tags[..image % 3])
                    })
                    .collect();
                let index = Manifest::index(&images.iter().collect::<Vec<_>>());
                load.manifest(&repository, &index, &["all"]);
                let subject = json!({ "subject": index.descriptor() });
                let layer = fresh_bytes();
                load.blob(&repository, &layer, Way::Post, Algorithm::Sha256);
                let referrer = Manifest::image_with(b"{}", &layer, &subject);
                load.manifest(&repository, &referrer, &[]);
            });
        }
    });
}

pub(super) fn move_tags(load: &Load<'_>) {
    let images: Vec<_> = (0..3).map(|_| load.image("moving", &fresh_bytes(), &[])).collect();
    thread::scope(|scope| {
        for number in 0..2 {
            let images = &images;
            scope.spawn(move || {
                let (own, other) = (format!("own-{number}"), format!("other-{number}"));
                for turn in 0..8 {
                    load.manifest("moving", &images[turn % 3], &[&own]);
                    if turn % 3 == 0 {
                        load.manifest("moving", &images[turn % 2], &[&own, &other]);
                    }
                }
            });
        }
    });
}

pub(super) fn delete(load: &Load<'_>) {
    thread::scope(|scope| {
        for number in 0..2 {
            scope.spawn(move || {
                let repository = format!("deleted/{number}");
                for turn in 0..4 {
                    let (tag, layer) = (format!("t{turn}"), fresh_bytes());
                    let image = load.image(&repository, &layer, &[&tag, "latest"]);
                    if turn % 2 == 0 {
                        load.delete_tag(&repository, &tag);
                        load.delete_manifest(&repository, &image, &["latest"]);
                    } else {
                        load.delete_manifest(&repository, &image, &[&tag, "latest"]);
                    }
                    load.delete_blob(&repository, &layer);
                    if turn == 3 {
                        load.image(&repository, &layer, &["back"]);
                    }
                }
            });
        }
    });
}

pub(super) fn mount(load: &Load<'_>) {
    let layers: Vec<_> = (0..4).map(|_| fresh_bytes()).collect();
    for layer in &layers {
        load.blob("source", layer, Way::Post, Algorithm::Sha256);
    }
    thread::scope(|scope| {
        for number in 0..2 {
            let layers = &layers;
            scope.spawn(move || {
                for (turn, layer) in layers.iter().enumerate() {
                    let repository = format!("mounted/{number}/{turn}");
                    load.mount("source", &repository, layer);
                    load.blob(&repository, b"{}", Way::Post, Algorithm::Sha256);
                    load.manifest(&repository, &Manifest::image(b"{}", layer), &["mounted"]);
                }
            });
        }
    });
}

/// Pushes until the server moves its log into the database, and then what overwrites the log.
pub(super) fn fill_the_log(load: &Load<'_>, database: &Path) {
    let modified = || fs::metadata(database).and_then(|file| file.modified()).expect("a time");
    let before = modified();
    let images: Vec<_> = (0..2).map(|_| load.image("long", &fresh_bytes(), &[])).collect();
    let push = |number: usize| {
        let tag = format!("n{}", number % 20);
        load.manifest("long", &images[number / 20 % 2], &[&tag]);
        if number.is_multiple_of(20) {
            load.blob("long", &fresh_bytes(), Way::Put, Algorithm::Sha256);
        }
    };
    let mut number = 0;
    while modified() == before {
        push(number);
        number += 1;
        assert!(number < 1000, "the log is never moved");
    }
    for number in number..number + 15 {
        push(number);
    }
}

/// Collects again and again while clients push, move and delete what collection must leave.
pub(super) fn collect(load: &Load<'_>, data: &Path) {
    let images: Vec<_> = (0..4).map(|_| load.image("shrinking", &fresh_bytes(), &["t"])).collect();
    let began = now();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                collect_once(data);
            }
        });
        for image in &images {
            load.manifest("shrinking", image, &["t", "u"]);
            load.manifest("moving", &Manifest::index(&[image]), &["own-0"]);
            load.delete_manifest("shrinking", image, &["t", "u"]);
        }
        is_over.store(true, Ordering::Relaxed);
    });
    // What was deleted since the last run began.
    collect_once(data);
    load.acts.collected(began);
}

fn collect_once(data: &Path) {
    let none = Some(ConfigDuration(Duration::ZERO));
    let command = Collect { grace: none, deleted: none, ..Collect::default() };
    control::run(data, command).expect("a collection");
}

/// Imports an archive while no server runs: each image of it comes whole, one after the other, and
/// its blobs before it.
pub(super) fn import(instance: &Instance, acts: &Acts) {
    let layout = Layout::new();
    let mut effects = Vec::new();
    for number in 0..4 {
        let (repository, layer) = (format!("imported/{}", number % 3), fresh_bytes());
        let (image, tag) = (layout.image(&layer), format!("v{number}"));
        layout.name(&image, &format!("{repository}:{tag}"));
        let blob = |bytes: &[u8]| {
            (Key::Blob(repository.clone(), sha256(bytes)), Some(bytes.len().to_string()))
        };
        let blobs = [blob(b"{}"), blob(&layer)];
        let key = Key::Manifest(repository.clone(), image.digest());
        acts.needs(key.clone(), blobs.iter().map(|(key, _)| key.clone()).collect());
        effects.extend(blobs.map(|blob| vec![blob]));
        let tag = (Key::Tag(repository.clone(), tag), Some(image.digest()));
        effects.push(vec![(key, Some(image.media_type.clone())), tag]);
    }
    // In an archive, since of a directory the files could be cloned.
    let archive = instance.root().join("layout.tar");
    run(Command::new("tar").arg("-cf").arg(&archive).args(["-C", layout.path(), "."])).ok();
    let archive = archive.to_str().expect("a path in UTF-8");
    acts.hear(|| {
        instance.command(&["import"], &[archive]).ok();
        (effects, ())
    });
}
