//! The operations of the sequences: what a client or an administrator does with a scene as it is,
//! and what must be so from then on.

use std::fs;
use std::path::Path;
use std::time::Duration;

use registry_server::command::data::{Collect, Verify};
use registry_server::command::tag::RestoreTag;
use registry_server::config::ConfigDuration;
use registry_server::control;

use super::super::acts::{Effects, Key, now};
use super::super::load::Load;
use super::super::record::Hand;
use super::DATA;
use super::scene::{File, Gone, Held, Image, Scene, TAG};
use crate::support::content::{OCTETS, begin_upload, sha256};

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Uploads the layer and finishes.
    Upload,
    /// Pushes the first image, and what the registry says that it lacks.
    Manifest,
    /// Moves the tag to the other image.
    Tag,
    /// Deletes the first image; if it is not there, its layer; and if that is not, the tag.
    Delete,
    /// Mounts the layer from the second repository, or uploads it if it is not there.
    Mount,
    /// Collects all that may be.
    Collect,
    /// Changes a byte of the layer's file on the disk, and verifies.
    Verify,
    /// Lets the tag name what it named before its last change.
    Restore,
    /// Changes a byte of the layer's file on the disk.
    Damage,
    /// Imports the first image while the server rests (`import.rs`): only at the end of a sequence.
    Import,
}

impl Kind {
    /// Those of which there are all sequences. Damage by itself is nothing that a registry does.
    pub(super) const ALL: [Self; 8] = [
        Self::Upload,
        Self::Manifest,
        Self::Tag,
        Self::Delete,
        Self::Mount,
        Self::Collect,
        Self::Verify,
        Self::Restore,
    ];
}

/// Does one operation with the last scene; returns what a hand changed on the disk meanwhile.
pub(super) fn play(kind: Kind, load: &Load<'_>, data: &Path, scenes: &mut [Scene]) -> Option<Hand> {
    let scene = scenes.last_mut().expect("a scene");
    match kind {
        Kind::Upload => upload(load, scene),
        Kind::Manifest => {
            let path = format!("/v2/{}/blobs/{}", scene.repository, sha256(&scene.layer));
            let is_there = load.client.request("HEAD", &path, &[], b"").status == 200;
            let held = scene.held;
            assert_eq!(is_there, held.is_layer_there && held.file != File::Lost, "{held:?}");
            if !is_there {
                upload(load, scene);
            }
            put(load, scene, Image::First);
        }
        Kind::Tag => {
            let is_there = scene.held.is_image_there && scene.held.file != File::Lost;
            let is_first = scene.held.tag == Some(Image::Second) && is_there;
            put(load, scene, if is_first { Image::First } else { Image::Second });
        }
        Kind::Delete => delete(load, scene),
        Kind::Mount => mount(load, scene),
        Kind::Collect => collect(load, data, scenes),
        Kind::Restore => restore(load, data, scene),
        Kind::Damage => return damage(load, data, scene),
        Kind::Import => unreachable!("it is played without a server"),
        Kind::Verify => {
            let hand = damage(load, data, scene);
            verify(load, data, scenes);
            return hand;
        }
    }
    None
}

fn upload(load: &Load<'_>, scene: &mut Scene) {
    let location = begin_upload(load.client, &scene.repository);
    finish(load, scene, &location);
}

/// Uploads the layer to a session that was begun.
fn finish(load: &Load<'_>, scene: &mut Scene, location: &str) {
    let layer = scene.layer.clone();
    let (first, rest) = layer.split_at(layer.len() / 2);
    load.client.request("PATCH", location, &[OCTETS], first).expect(202);
    let path = format!("{location}?digest={}", sha256(&scene.layer));
    load.acts.hear(|| {
        load.client.request("PUT", &path, &[OCTETS], rest).expect(201);
        let before = scene.held;
        let effects = scene.change(|held| {
            (held.is_layer_there, held.file) = (true, File::Good);
        });
        (in_steps(scene, before, effects), ())
    });
}

/// What a push over a bad file brings back comes with the file if nobody had noticed, and with the
/// row if somebody had; a new link comes with the row.
pub(super) fn in_steps(scene: &Scene, before: Held, effects: Effects) -> Vec<Effects> {
    let bad = Key::Bad(sha256(&scene.layer));
    let link = scene.layer_key();
    let (file, row) = effects.into_iter().partition(|(key, _)| match before.file {
        File::Lost => *key == bad,
        File::Bad => *key != link || before.is_layer_there,
        File::None | File::Good => false,
    });
    vec![file, row]
}

fn put(load: &Load<'_>, scene: &mut Scene, image: Image) {
    let manifest = if image == Image::First { &scene.first } else { &scene.second }.clone();
    load.acts.hear(|| {
        manifest.put(load.client, &scene.repository, TAG).expect(201);
        let effects = scene.change(|held| {
            held.was = (held.tag != Some(image)).then_some(held.tag);
            held.tag = Some(image);
            if image == Image::First {
                (held.is_image_there, held.gone) = (true, Gone::No);
            }
        });
        (vec![effects], ())
    });
}

fn delete(load: &Load<'_>, scene: &mut Scene) {
    let held = scene.held;
    let path = match held {
        Held { is_image_there: false, is_layer_there: true, .. } => {
            format!("/v2/{}/blobs/{}", scene.repository, sha256(&scene.layer))
        }
        Held { is_image_there: false, tag: Some(_), .. } => scene.path(TAG),
        _ => scene.path(&scene.first.digest()),
    };
    load.acts.hear(|| {
        let is_done = load.client.delete(&path).status == 202;
        let is_nothing = !held.is_image_there && !held.is_layer_there && held.tag.is_none();
        // What is lost is not there, and what is not there cannot be deleted.
        assert!(is_done != is_nothing || held.file == File::Lost, "{path}: {held:?}");
        if !is_done {
            return (Vec::new(), ());
        }
        let effects = scene.change(|held| {
            if held.is_image_there {
                (held.is_image_there, held.gone) = (false, Gone::Restorable);
                if held.tag == Some(Image::First) {
                    (held.was, held.tag) = (Some(held.tag), None);
                }
            } else if held.is_layer_there {
                held.is_layer_there = false;
                if held.gone == Gone::Restorable {
                    held.gone = Gone::PerhapsRestorable;
                }
            } else {
                (held.was, held.tag) = (Some(held.tag), None);
            }
        });
        (vec![effects], ())
    });
}

fn mount(load: &Load<'_>, scene: &mut Scene) {
    let (digest, source) = (sha256(&scene.layer), scene.source.clone());
    let path = format!("/v2/{}/blobs/uploads/?mount={digest}&from={source}", scene.repository);
    let begun = load.acts.hear(|| {
        let answer = load.client.request("POST", &path, &[], b"");
        let must = scene.held.is_layer_in_source && scene.held.file != File::Lost;
        assert_eq!(answer.status, if must { 201 } else { 202 }, "{:?}", scene.held);
        if !must {
            return (Vec::new(), Some(answer.location()));
        }
        (vec![scene.change(|held| held.is_layer_there = true)], None)
    });
    if let Some(location) = begun {
        finish(load, scene, &location);
    }
}

/// Collects, which is about all scenes.
fn collect(load: &Load<'_>, data: &Path, scenes: &mut [Scene]) {
    let none = Some(ConfigDuration(Duration::ZERO));
    let command = Collect { grace: none, deleted: none, ..Collect::default() };
    load.acts.hear(|| {
        control::run(data, command).expect("a collection");
        let effects = scenes.iter_mut().flat_map(|scene| {
            scene.change(|held| {
                (held.gone, held.is_layer_in_source) = (Gone::No, false);
                held.is_layer_there &= held.is_image_there;
                if !held.is_layer_there {
                    held.file = File::None;
                }
            })
        });
        (effects.map(|effect| vec![effect]).collect(), ())
    });
}

fn verify(load: &Load<'_>, data: &Path, scenes: &mut [Scene]) {
    load.acts.hear(|| {
        let command = Verify { dry_run: false, mib_per_second: None };
        control::run(data, command).expect("a verification");
        let notice = |held: &mut Held| {
            if held.file == File::Bad {
                held.file = File::Lost;
            }
        };
        (scenes.iter_mut().map(|scene| scene.change(notice)).collect(), ())
    });
}

fn restore(load: &Load<'_>, data: &Path, scene: &mut Scene) {
    let image = format!("{}:{TAG}", scene.repository).parse().expect("a tag");
    let command = RestoreTag { image, to: None, before: None, only_if_gone: false };
    load.acts.hear(|| {
        let told = control::run(data, command);
        let held = scene.held;
        let is_first_there = held.is_image_there || held.gone == Gone::Restorable;
        let must = match held.was {
            Some(Some(Image::First)) => is_first_there && held.file == File::Good,
            Some(_) => true,
            None => false,
        };
        let Ok(entry) = told else {
            assert!(!must, "{told:?}: {held:?}");
            return (Vec::new(), ());
        };
        let after = entry.to.map(|to| match to.to_string() == scene.first.digest() {
            true => Image::First,
            false => Image::Second,
        });
        assert!(held.was.is_none_or(|was| was == after), "{after:?}: {held:?}");
        let effects = scene.change(|held| {
            (held.was, held.tag) = (Some(held.tag), after);
            if after == Some(Image::First) {
                (held.is_image_there, held.gone, held.is_layer_there) = (true, Gone::No, true);
            }
        });
        (vec![effects], ())
    });
}

/// Changes a byte of the layer's file, if there is one that is good, and tells nobody.
fn damage(load: &Load<'_>, data: &Path, scene: &mut Scene) -> Option<Hand> {
    let (path, time) = (data.join(scene.layer_file()), now());
    if scene.held.file != File::Good {
        return None;
    }
    let mut bytes = fs::read(&path).expect("the layer's file");
    let offset = bytes.len() / 2;
    bytes[offset] ^= 1;
    let byte = bytes[offset];
    fs::write(&path, bytes).expect("the layer's file");
    // At once after it.
    load.acts.happened(time + 1, scene.change(|held| held.file = File::Bad));
    Some(Hand { time, path: Path::new(DATA).join(scene.layer_file()), offset, byte })
}
