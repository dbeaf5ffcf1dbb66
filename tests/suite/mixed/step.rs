//! What a client of the load does next: it pushes, mounts, moves and deletes so that what it holds
//! stays about as much as it is.

use std::io;
use std::sync::Arc;

use oci::{Algorithm, Digest};

use super::content::{Content, Document, any_algorithm};
use super::model::Change;
use super::worker::{OWN, Place, SHARED, Worker, own_name, shared_name};
use crate::support::content::sha256;

impl Worker {
    /// One thing that a client of a registry does, in one or more requests.
    pub(super) fn step(&mut self) -> io::Result<()> {
        let index = self.rng.usize(0..OWN);
        let place = match self.rng.u32(0..5) {
            0 => Place::Shared(self.rng.usize(0..SHARED)),
            _ => Place::Own(index),
        };
        match self.rng.u32(0..100) {
            0..18 if self.is_full(index) => self.shrink(index),
            0..12 => self.push_image(place),
            12..15 => self.push_index(index),
            15..18 => self.push_lonely_blob(place),
            18..23 => self.move_tag(index),
            23..25 => self.push_incomplete(index),
            25..33 => self.mount(place),
            33..38 if self.sessions.len() < LEFT_OPEN => {
                let content = Content::unique(&mut self.rng);
                self.leave_open(place, content)
            }
            33..40 if !self.sessions.is_empty() => self.go_on(),
            33..50 => self.delete(place),
            50..62 => self.pull_image(index),
            62..70 => self.pull_blob(index),
            70..78 => self.ask_for_some(index),
            78..84 => self.pull_shared(),
            84..91 => self.list_tags(index),
            91..96 => self.list_referrers(index),
            _ => self.list_catalog(),
        }
    }

    fn is_full(&self, index: usize) -> bool {
        let own = &self.own[index];
        own.manifests.len() > MANIFESTS || own.blobs.len() > BLOBS || own.tags.len() > TAGS
    }

    /// Deletes images and lonely blobs until there is room again.
    fn shrink(&mut self, index: usize) -> io::Result<()> {
        let place = Place::Own(index);
        while self.own[index].manifests.len() > MANIFESTS / 2 {
            let digests: Vec<Digest> = self.own[index].manifests.keys().copied().collect();
            let Some(digest) = self.one_of(&digests) else { break };
            self.delete_manifest(place, digest)?;
        }
        let blobs: Vec<Digest> = self.own[index].blobs.keys().copied().collect();
        for blob in blobs.into_iter().filter(|_| self.rng.bool()).collect::<Vec<_>>() {
            if !self.own[index].needs(&blob) {
                self.delete_blob(place, blob)?;
            }
        }
        Ok(())
    }

    fn push_image(&mut self, place: Place) -> io::Result<()> {
        let (document, tag) = match place {
            Place::Own(index) => (self.new_image(index), self.tag_or_none()),
            Place::Shared(_) => {
                let documents = self.world.shared.documents.clone();
                (self.one_of(&documents).expect("a document"), self.tag_or_none())
            }
        };
        for blob in document.blobs.clone() {
            // As clients do: whoever hears that a blob is there does not push it again.
            if !self.look(place, &blob.digest)? {
                self.push(place, blob)?;
            }
        }
        self.put(place, &document, tag).map(|_| ())
    }

    /// An image of contents of its own, of everybody's, and of those that the repository holds.
    fn new_image(&mut self, index: usize) -> Arc<Document> {
        let mut blobs: Vec<Content> = Vec::new();
        for _ in 0..self.rng.usize(2..4) {
            let held: Vec<Content> =
                self.own[index].blobs.values().map(|held| held.content).collect();
            let next = match self.rng.u32(0..4) {
                0 => self.one_of(&self.world.common.clone()),
                1 => self.one_of(&held),
                _ => None,
            };
            let next = next.unwrap_or_else(|| Content::unique(&mut self.rng));
            if blobs.iter().all(|blob| blob.digest != next.digest) {
                blobs.push(next);
            }
        }
        let subject = self.any_manifest(index).filter(|_| self.rng.u32(0..3) == 0);
        let algorithm = any_algorithm(&mut self.rng);
        Document::image(blobs, subject.as_deref(), algorithm)
    }

    /// Lists manifests that had a tag: collection takes others when the index is gone, and nobody
    /// could tell when.
    fn push_index(&mut self, index: usize) -> io::Result<()> {
        let own = &self.own[index];
        let tagged: Vec<Arc<Document>> =
            own.tagged.iter().filter_map(|digest| own.manifests.get(digest)).cloned().collect();
        let children: Vec<Arc<Document>> =
            (0..self.rng.usize(1..4)).filter_map(|_| self.one_of(&tagged)).collect();
        let document = Document::index(&children, any_algorithm(&mut self.rng));
        let tag = self.tag_or_none();
        self.put(Place::Own(index), &document, tag).map(|_| ())
    }

    /// Pushes a blob that no image will name.
    fn push_lonely_blob(&mut self, place: Place) -> io::Result<()> {
        let common = self.one_of(&self.world.common.clone()).expect("a content");
        let is_common =
            place == Place::Own(0) || self.rng.bool() || matches!(place, Place::Shared(_));
        let content = if is_common { common } else { Content::unique(&mut self.rng) };
        self.push(place, content)
    }

    /// Pushes a manifest again, under another tag.
    fn move_tag(&mut self, index: usize) -> io::Result<()> {
        let Some(document) = self.any_manifest(index) else { return Ok(()) };
        // A tag is pushed by bytes, and those are named by sha256.
        let document = match document.digest.algorithm() {
            Algorithm::Sha256 => document,
            Algorithm::Sha512 => return self.put(Place::Own(index), &document, None).map(|_| ()),
        };
        let tag = self.any_tag();
        self.put(Place::Own(index), &document, Some(tag)).map(|_| ())
    }

    /// Pushes an image without its blobs, which must be refused.
    fn push_incomplete(&mut self, index: usize) -> io::Result<()> {
        let blobs = vec![Content::unique(&mut self.rng)];
        let document = Document::image(blobs, None, Algorithm::Sha256);
        let tag = self.any_tag();
        let is_accepted = self.put(Place::Own(index), &document, Some(tag))?;
        assert!(!is_accepted, "an image without its blobs was accepted");
        Ok(())
    }

    fn put(
        &mut self,
        place: Place,
        document: &Arc<Document>,
        tag: Option<String>,
    ) -> io::Result<bool> {
        let tag = tag.filter(|_| document.digest.algorithm() == Algorithm::Sha256);
        let reference = tag.clone().unwrap_or_else(|| document.digest.to_string());
        let path = format!("/v2/{}/manifests/{reference}", self.name(place));
        let change = Change::Put(Arc::clone(document), tag);
        let headers = [("Content-Type", document.media_type)];
        self.attempt(place, &change, |worker| {
            worker.ask("PUT manifest", "PUT", &path, &headers, &document.bytes)
        })
        .map(|(is_done, _)| is_done)
    }

    /// Takes a blob over from another repository: of its own, of another client or of all.
    fn mount(&mut self, place: Place) -> io::Result<()> {
        let source = self.rng.usize(0..OWN);
        let from = match self.rng.u32(0..4) {
            0 => shared_name(self.rng.usize(0..SHARED)),
            1 => own_name(self.rng.usize(0..self.world.workers), source),
            _ => own_name(self.number, source),
        };
        let held: Vec<Content> = self.own[source].blobs.values().map(|held| held.content).collect();
        let common = self.world.common.clone();
        let wanted = if self.rng.bool() { self.one_of(&held) } else { self.one_of(&common) };
        let Some(content) = wanted else { return Ok(()) };
        let is_known = from == own_name(self.number, source);
        self.mount_from(place, content, &from, is_known.then_some(source))
    }

    fn mount_from(
        &mut self,
        place: Place,
        content: Content,
        from: &str,
        source: Option<usize>,
    ) -> io::Result<()> {
        let path =
            format!("/v2/{}/blobs/uploads/?mount={}&from={from}", self.name(place), content.digest);
        let must = source.map(|source| self.own[source].blobs.contains_key(&content.digest));
        let answer = self.attempt(place, &Change::Mount(content), |worker| {
            worker.ask("POST mount", "POST", &path, &[], b"")
        });
        self.strays += usize::from(answer.is_err());
        let (is_mounted, answer) = answer?;
        if let (Some(source), Some(must)) = (source, must) {
            let is_collected = || self.own[source].may_lack(&content.digest, self.world.grace());
            let is_right = is_mounted == must || (must && is_collected());
            assert!(is_right, "mount of {} from {from}: {is_mounted}", content.digest);
        }
        if is_mounted {
            return Ok(());
        }
        let begun = Self::session(place, content, &answer);
        self.cancel(begun)
    }

    fn delete(&mut self, place: Place) -> io::Result<()> {
        let Place::Own(index) = place else { return self.delete_shared(place) };
        let own = &self.own[index];
        let tags: Vec<String> = own.tags.keys().cloned().collect();
        let blobs: Vec<Digest> = own.blobs.keys().copied().collect();
        match self.rng.u32(0..4) {
            0 => match self.any_manifest(index) {
                Some(document) => self.delete_manifest(place, document.digest),
                None => Ok(()),
            },
            1 => match self.one_of(&blobs) {
                Some(blob) => self.delete_blob(place, blob),
                None => Ok(()),
            },
            2 => match self.one_of(&tags) {
                Some(tag) => self.delete_tag(place, tag),
                None => Ok(()),
            },
            // Perhaps none that is there.
            _ => {
                let tag = self.any_tag();
                self.delete_tag(place, tag)
            }
        }
    }

    fn delete_shared(&mut self, place: Place) -> io::Result<()> {
        let documents = self.world.shared.documents.clone();
        let document = self.one_of(&documents).expect("a document");
        match self.rng.u32(0..4) {
            0 => self.delete_manifest(place, document.digest),
            1 => {
                let tag = self.any_tag();
                self.delete_tag(place, tag)
            }
            _ => {
                let blob = self.one_of(&self.world.common.clone()).expect("a content");
                self.delete_blob(place, blob.digest)
            }
        }
    }

    fn delete_manifest(&mut self, place: Place, digest: Digest) -> io::Result<()> {
        let path = format!("/v2/{}/manifests/{digest}", self.name(place));
        self.ask_to_delete("DELETE manifest", place, &Change::Delete(digest), &path)
    }

    fn delete_tag(&mut self, place: Place, tag: String) -> io::Result<()> {
        let path = format!("/v2/{}/manifests/{tag}", self.name(place));
        self.ask_to_delete("DELETE tag", place, &Change::Untag(tag), &path)
    }

    fn delete_blob(&mut self, place: Place, digest: Digest) -> io::Result<()> {
        let path = format!("/v2/{}/blobs/{digest}", self.name(place));
        self.ask_to_delete("DELETE blob", place, &Change::Remove(digest), &path)
    }

    fn ask_to_delete(
        &mut self,
        kind: &'static str,
        place: Place,
        change: &Change,
        path: &str,
    ) -> io::Result<()> {
        self.attempt(place, change, |worker| worker.ask(kind, "DELETE", path, &[], b"")).map(|_| ())
    }

    /// A manifest of its own.
    pub(super) fn any_manifest(&mut self, index: usize) -> Option<Arc<Document>> {
        let manifests: Vec<Arc<Document>> = self.own[index].manifests.values().cloned().collect();
        self.one_of(&manifests)
    }

    pub(super) fn any_tag(&mut self) -> String {
        format!("tag-{}", self.rng.usize(0..TAGS))
    }

    /// Names that nobody ever pushed.
    pub(super) fn unknown(&mut self) -> String {
        sha256(&self.rng.u64(..).to_le_bytes())
    }

    fn tag_or_none(&mut self) -> Option<String> {
        let tag = self.any_tag();
        (self.rng.u32(0..3) > 0).then_some(tag)
    }
}

/// What a repository holds at most before its client deletes some of it.
const MANIFESTS: usize = 12;
const BLOBS: usize = 30;
const TAGS: usize = 8;
/// Uploads that one client leaves open at once.
const LEFT_OPEN: usize = 2;
