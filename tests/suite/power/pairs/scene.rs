//! What the repositories of one sequence hold: two images, of which the sequence pushes, deletes
//! and restores the first, whose layer also lies in a second repository.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::acts::{EITHER, Effects, Key, YES, now};
use super::super::load::{Load, fresh_bytes};
use super::step::Kind;
use crate::support::content::{Manifest, noise, push_blob, push_image, sha256};

/// One of the two images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Image {
    /// The one that comes and goes.
    First,
    /// The one that stays under a tag of its own.
    Second,
}

/// Whether the first image was deleted and can be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// It is there, was never there, or was collected.
    No,
    /// It must come back.
    Restorable,
    /// Its layer was deleted after it.
    PerhapsRestorable,
}

/// The file of the layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum File {
    /// No repository holds the blob.
    None,
    /// It is right.
    Good,
    /// It holds another byte, and nobody has noticed.
    Bad,
    /// It held another byte, and a verification has noticed.
    Lost,
}

/// What is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) is_image_there: bool,
    pub(super) gone: Gone,
    /// What the tag names.
    pub(super) tag: Option<Image>,
    /// What it named before its last change; none if that is not certain.
    pub(super) was: Option<Option<Image>>,
    pub(super) is_layer_there: bool,
    pub(super) is_layer_in_source: bool,
    pub(super) file: File,
}

/// The repositories of a sequence.
pub(super) struct Scene {
    pub(super) repository: String,
    pub(super) source: String,
    pub(super) layer: Vec<u8>,
    pub(super) first: Manifest,
    pub(super) second: Manifest,
    pub(super) held: Held,
}

impl Scene {
    /// Pushes and deletes until the first operation has something to work on.
    pub(super) fn prepare(load: &Load<'_>, number: usize, first: Kind) -> Self {
        let client = load.client;
        let (repository, source) = (format!("short/{number}"), format!("short/{number}/source"));
        let layer = [fresh_bytes().as_slice(), &noise(7, LAYER_BYTES)].concat();
        let second = push_image(client, &repository, "second", &fresh_bytes());
        let is_layer_in_source = first != Kind::Upload;
        let is_layer_there = !matches!(first, Kind::Upload | Kind::Mount);
        let is_image = is_layer_there && first != Kind::Manifest;
        let is_deleted = matches!(first, Kind::Collect | Kind::Restore);
        if is_layer_in_source {
            push_blob(client, &source, &layer);
        }
        if is_layer_there {
            push_blob(client, &repository, &layer);
        }
        let image = Manifest::image(b"{}", &layer);
        if is_image {
            image.put(client, &repository, TAG).expect(201);
        }
        if is_deleted {
            let path = format!("/v2/{repository}/manifests/{}", image.digest());
            client.delete(&path).expect(202);
        }
        let is_image_there = is_image && !is_deleted;
        let held = Held {
            is_image_there,
            gone: if is_deleted { Gone::Restorable } else { Gone::No },
            tag: is_image_there.then_some(Image::First),
            was: is_image.then_some(is_deleted.then_some(Image::First)),
            is_layer_there,
            is_layer_in_source,
            file: if is_layer_in_source { File::Good } else { File::None },
        };
        let scene = Self { repository, source, layer, first: image, second, held };
        load.acts.happened(now(), scene.seen().into_iter().collect());
        scene
    }

    /// What clients and administrators see of it.
    pub(super) fn seen(&self) -> BTreeMap<Key, Option<String>> {
        let (held, layer) = (self.held, sha256(&self.layer));
        let is_good = held.file == File::Good;
        let is_bad = matches!(held.file, File::Bad | File::Lost);
        let size = |is_so: bool| is_so.then(|| self.layer.len().to_string());
        let yes = |is_so: bool| is_so.then(|| YES.to_owned());
        let kind = |image: &Manifest| Some(image.media_type.clone());
        let undo = match held.gone {
            Gone::No => None,
            Gone::Restorable if is_good => yes(true),
            _ => Some(EITHER.to_owned()),
        };
        let is_image_seen = held.is_image_there && is_good;
        let tag = match held.tag {
            Some(Image::First) => is_good.then(|| self.first.digest()),
            Some(Image::Second) => Some(self.second.digest()),
            None => None,
        };
        let (repository, source) = (&self.repository, &self.source);
        let manifest = |image: &Manifest| Key::Manifest(repository.clone(), image.digest());
        let named = |tag: &str| Key::Tag(repository.clone(), tag.to_owned());
        BTreeMap::from([
            (self.layer_key(), size(held.is_layer_there && is_good)),
            (Key::Blob(source.clone(), layer.clone()), size(held.is_layer_in_source && is_good)),
            (manifest(&self.first), kind(&self.first).filter(|_| is_image_seen)),
            (manifest(&self.second), kind(&self.second)),
            (named("second"), Some(self.second.digest())),
            (named(TAG), tag),
            (Key::Undo(repository.clone(), self.first.digest()), undo),
            (Key::Bad(layer.clone()), yes(is_bad)),
            (Key::Lost(layer), yes(held.file == File::Lost)),
        ])
    }

    /// Changes what is held, and tells what of that is seen.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Held)) -> Effects {
        let before = self.seen();
        change(&mut self.held);
        self.seen().into_iter().filter(|(key, value)| before[key] != *value).collect()
    }

    /// The layer in the repository.
    pub(super) fn layer_key(&self) -> Key {
        Key::Blob(self.repository.clone(), sha256(&self.layer))
    }

    /// The path of the layer's file below the store.
    pub(super) fn layer_file(&self) -> PathBuf {
        let digest = sha256(&self.layer);
        let hex = digest.strip_prefix("sha256:").expect("a digest");
        PathBuf::from("blobs/sha256").join(&hex[..2]).join(hex)
    }

    /// The path of a tag or a digest over HTTP.
    pub(super) fn path(&self, reference: &str) -> String {
        format!("/v2/{}/manifests/{reference}", self.repository)
    }
}

/// The tag that moves.
pub(super) const TAG: &str = "t";
/// More than a sector, so that a write of it may be torn.
const LAYER_BYTES: usize = 1400;
