//! What the load reads: bytes, which it compares, and lists, which must name what is there.

use std::collections::BTreeSet;
use std::io;

use oci::Digest;

use super::content::{Content, Document};
use super::worker::{OWN, Place, SHARED, Worker, own_name, shared_name};
use crate::support::http::Response;

impl Worker {
    /// Pulls a manifest by its tag or its digest, and the blobs that it names.
    pub(super) fn pull_image(&mut self, index: usize) -> io::Result<()> {
        let own = &self.own[index];
        let tags: Vec<(String, Digest)> =
            own.tags.iter().map(|(tag, digest)| (tag.clone(), *digest)).collect();
        let (reference, document) = match self.one_of(&tags).filter(|_| self.rng.bool()) {
            Some((tag, digest)) => (tag, self.own[index].manifests[&digest].clone()),
            None => match self.any_manifest(index) {
                Some(document) => (document.digest.to_string(), document),
                None => return Ok(()),
            },
        };
        let path = format!("/v2/{}/manifests/{reference}", self.name(Place::Own(index)));
        let answer = self.ask("GET manifest", "GET", &path, &[], b"")?.expect(200);
        is_document(&answer, &document);
        for blob in &document.blobs {
            self.pull(index, blob)?;
        }
        Ok(())
    }

    /// Pulls a blob or a part of it.
    pub(super) fn pull_blob(&mut self, index: usize) -> io::Result<()> {
        let held: Vec<Content> = self.own[index].blobs.values().map(|held| held.content).collect();
        let Some(content) = self.one_of(&held) else { return Ok(()) };
        if content.length == 0 || self.rng.bool() {
            return self.pull(index, &content);
        }
        let first = self.rng.usize(0..content.length);
        let last = self.rng.usize(first..content.length);
        let path = format!("/v2/{}/blobs/{}", self.name(Place::Own(index)), content.digest);
        let range = format!("bytes={first}-{last}");
        let answer = self.ask("GET range", "GET", &path, &[("Range", &range)], b"")?;
        self.saw_blob(index, &content.digest, answer.status != 404);
        if answer.status != 404 {
            let is_right = answer.expect(206).body == content.bytes()[first..=last];
            assert!(is_right, "{range} of {content:?} are other bytes");
        }
        Ok(())
    }

    fn pull(&mut self, index: usize, content: &Content) -> io::Result<()> {
        let path = format!("/v2/{}/blobs/{}", self.name(Place::Own(index)), content.digest);
        let answer = self.ask("GET blob", "GET", &path, &[], b"")?;
        self.saw_blob(index, &content.digest, answer.status != 404);
        if answer.status != 404 {
            is_content(&answer.expect(200), &content.digest);
        }
        Ok(())
    }

    /// Asks for something that is there, and for something that never was.
    pub(super) fn ask_for_some(&mut self, index: usize) -> io::Result<()> {
        let place = Place::Own(index);
        let name = self.name(place);
        if let Some(document) = self.any_manifest(index) {
            let path = format!("/v2/{name}/manifests/{}", document.digest);
            let answer = self.ask("HEAD manifest", "HEAD", &path, &[], b"")?.expect(200);
            assert_eq!(answer.must("docker-content-digest"), document.digest.to_string());
        }
        let tag = self.any_tag();
        let named = self.own[index].tags.get(&tag).copied();
        let answer =
            self.ask("HEAD tag", "HEAD", &format!("/v2/{name}/manifests/{tag}"), &[], b"")?;
        let found = answer.header("docker-content-digest").map(str::to_owned);
        assert_eq!(found, named.map(|digest| digest.to_string()), "{name}:{tag}: {answer:?}");
        let blobs: Vec<Digest> = self.own[index].blobs.keys().copied().collect();
        if let Some(blob) = self.one_of(&blobs) {
            self.look(place, &blob)?;
        }
        let (blob, manifest) = (self.unknown(), self.unknown());
        for path in [format!("/v2/{name}/blobs/{blob}"), format!("/v2/{name}/manifests/{manifest}")]
        {
            self.ask("HEAD unknown", "HEAD", &path, &[], b"")?.expect(404);
        }
        Ok(())
    }

    /// Pulls from a repository that others change meanwhile: what is there is right.
    pub(super) fn pull_shared(&mut self) -> io::Result<()> {
        let name = shared_name(self.rng.usize(0..SHARED));
        let content = self.one_of(&self.world.common.clone()).expect("a content");
        let path = format!("/v2/{name}/blobs/{}", content.digest);
        let answer = self.ask("GET blob", "GET", &path, &[], b"")?;
        if answer.status != 404 {
            is_content(&answer.expect(200), &content.digest);
        }
        let path = format!("/v2/{name}/manifests/{}", self.any_tag());
        let answer = self.ask("GET manifest", "GET", &path, &[], b"")?;
        if answer.status != 404 {
            let answer = answer.expect(200);
            let documents = &self.world.shared.documents;
            let digest = answer.must("docker-content-digest");
            let document = documents.iter().find(|own| own.digest.to_string() == digest);
            is_document(&answer, document.expect("a document that was pushed there"));
        }
        Ok(())
    }

    /// Lists the tags of a repository of its own.
    pub(super) fn list_tags(&mut self, index: usize) -> io::Result<()> {
        assert_eq!(self.wrong_tags(index)?, None);
        Ok(())
    }

    /// What is wrong with the list of tags of a repository of its own.
    pub(super) fn wrong_tags(&mut self, index: usize) -> io::Result<Option<String>> {
        let path = format!("/v2/{}/tags/list", self.name(Place::Own(index)));
        let answer = self.ask("GET tags", "GET", &path, &[], b"")?;
        let found = match answer.status {
            // Nobody ever pushed anything there, or collection took the last of it.
            404 => BTreeSet::new(),
            _ => texts(&answer.expect(200).json()["tags"]),
        };
        let must = self.own[index].tags.keys().cloned().collect();
        Ok((found != must).then(|| format!("{path} is {found:?}, not {must:?}")))
    }

    /// Lists what refers to a manifest of its own.
    pub(super) fn list_referrers(&mut self, index: usize) -> io::Result<()> {
        let Some(subject) = self.any_manifest(index) else { return Ok(()) };
        let digest = subject.digest;
        let path = format!("/v2/{}/referrers/{digest}", self.name(Place::Own(index)));
        let list = self.ask("GET referrers", "GET", &path, &[], b"")?.expect(200).json();
        let entries = list["manifests"].as_array().expect("a list");
        let found: BTreeSet<String> = entries
            .iter()
            .filter_map(|entry| entry["digest"].as_str())
            .map(str::to_owned)
            .collect();
        let own = self.own[index].manifests.values();
        let refers = own.filter(|document| document.subject == Some(digest));
        assert_eq!(found, refers.map(|own| own.digest.to_string()).collect(), "{path}");
        Ok(())
    }

    /// Lists the repositories, and looks for its own.
    pub(super) fn list_catalog(&mut self) -> io::Result<()> {
        let list = self.ask("GET catalog", "GET", "/v2/_catalog?n=1000", &[], b"")?.expect(200);
        let found = texts(&list.json()["repositories"]);
        for index in 0..OWN {
            let name = own_name(self.number, index);
            let has_manifests = !self.own[index].manifests.is_empty();
            assert_eq!(found.contains(&name), has_manifests, "{name} in the catalog");
        }
        Ok(())
    }
}

/// Checks that an answer is a blob byte for byte.
#[track_caller]
pub(super) fn is_content(answer: &Response, digest: &Digest) {
    assert_eq!(Digest::of(digest.algorithm(), &answer.body), *digest, "other bytes");
}

/// Checks that an answer is a manifest byte for byte.
#[track_caller]
fn is_document(answer: &Response, document: &Document) {
    assert_eq!(answer.must("content-type"), document.media_type);
    assert_eq!(answer.must("docker-content-digest"), document.digest.to_string());
    assert!(answer.body == document.bytes, "{} has other bytes", document.digest);
}

fn texts(list: &serde_json::Value) -> BTreeSet<String> {
    let list = list.as_array().expect("a list");
    list.iter().map(|entry| entry.as_str().expect("a text").to_owned()).collect()
}
