//! A client that does everything that changes a registry, one step after the other; it tries
//! again what is refused, and knows what was acknowledged.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use crate::support::binary::{Instance, PASSWORD, USER};
use crate::support::content::{Manifest, OCTETS, noise, push_blob, sha256};
use crate::support::http::{Client, Header, Response};

/// What the disk does at times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is full.
    Full,
    /// It fails, but it does sync.
    Broken,
    /// It fails to sync.
    NotSynced,
}

/// The client, and the registry that it pushes to.
pub(super) struct Pusher {
    pub(super) instance: Instance,
    pub(super) client: Client,
    fault: Fault,
    /// The sha256 of what lies under each path; none for what was deleted.
    known: BTreeMap<String, Option<String>>,
    /// How often a request was refused.
    pub(super) refusals: usize,
    /// How often the server ended, and was started again.
    pub(super) ends: usize,
}

impl Pusher {
    /// A client of a new registry.
    pub(super) fn start(fault: Fault) -> Self {
        let instance = Instance::started();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, instance.port()));
        let client = Client::new(address, &instance.ca(), Some((USER, &instance.password())));
        Self { instance, client, fault, known: BTreeMap::new(), refusals: 0, ends: 0 }
    }

    /// Pushes two blobs in two ways and a manifest, moves tags, mounts, deletes each kind, and
    /// adds a user: everything of a number of its own.
    #[track_caller]
    pub(super) fn push(&mut self, number: usize) {
        let (name, other) = (format!("faults/{number}"), format!("faults/{number}/other"));
        let seed = number as u64;
        let (config, digest) = Self::config(number);
        let layer = noise(seed + 1_000_000, 150_000);
        self.whole(&name, &config);
        self.chunked(&name, &layer);
        let manifest = Manifest::image(&config, &layer);
        for tag in ["one", "two"] {
            self.put(&format!("/v2/{name}/manifests/{tag}"), &manifest);
        }
        let mount = format!("/v2/{other}/blobs/uploads/?mount={digest}&from={name}");
        self.attempt("POST", &mount, &[], b"", 201);
        self.delete(&format!("/v2/{other}/blobs/{digest}"));
        self.delete(&format!("/v2/{name}/manifests/two"));
        let index = Manifest::index(&[&manifest]);
        let path = format!("/v2/{name}/manifests/{}", index.digest());
        self.put(&path, &index);
        self.delete(&path);
        self.add_user(&format!("user{number}"));
    }

    /// The first blob of a push of this number, and its digest.
    pub(super) fn config(number: usize) -> (Vec<u8>, String) {
        let config = noise(number as u64, 3000);
        let digest = sha256(&config);
        (config, digest)
    }

    /// Pushes an image of two blobs and deletes it.
    #[track_caller]
    pub(super) fn litter(&mut self, number: usize) {
        let name = format!("litter/{number}");
        let seed = number as u64;
        let (config, layer) = (noise(seed + 2_000_000, 3000), noise(seed + 3_000_000, 3000));
        for blob in [&config, &layer] {
            push_blob(&self.client, &name, blob);
        }
        let manifest = Manifest::image(&config, &layer);
        manifest.put(&self.client, &name, "1").expect(201);
        self.client.delete(&format!("/v2/{name}/manifests/{}", manifest.digest())).expect(202);
    }

    /// The digest of a blob that was pushed.
    pub(super) fn blob(&self) -> String {
        let mut paths = self.known.keys().filter_map(|path| path.split("/blobs/").nth(1));
        paths.next_back().expect("a blob").to_owned()
    }

    /// Pushes a manifest to a path.
    #[track_caller]
    pub(super) fn put(&mut self, path: &str, manifest: &Manifest) {
        let kind = [("Content-Type", manifest.media_type.as_str())];
        self.attempt("PUT", path, &kind, &manifest.bytes, 201);
        self.known.insert(path.to_owned(), Some(manifest.digest()));
    }

    /// Checks everything that a push of this number left.
    #[track_caller]
    pub(super) fn verify(&self, number: usize) {
        self.verify_below(&format!("/v2/faults/{number}/"));
    }

    /// Checks everything.
    #[track_caller]
    pub(super) fn verify_all(&self) {
        self.verify_below("/v2/");
    }

    #[track_caller]
    fn verify_below(&self, prefix: &str) {
        for (path, digest) in self.known.iter().filter(|(path, _)| path.starts_with(prefix)) {
            let answer = self.client.request("GET", path, &[], b"");
            match digest {
                Some(digest) => assert_eq!(&sha256(&answer.expect(200).body), digest, "{path}"),
                None => drop(answer.expect(404)),
            }
        }
    }

    /// Pushes a blob in one request.
    #[track_caller]
    fn whole(&mut self, name: &str, content: &[u8]) {
        let digest = sha256(content);
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        self.attempt("POST", &path, &[OCTETS], content, 201);
        self.known.insert(format!("/v2/{name}/blobs/{digest}"), Some(digest));
    }

    /// Pushes a blob in pieces.
    #[track_caller]
    fn chunked(&mut self, name: &str, content: &[u8]) {
        let digest = sha256(content);
        let uploads = format!("/v2/{name}/blobs/uploads/");
        for _ in 0..TRIES {
            let upload = self.attempt("POST", &uploads, &[], b"", 202).location();
            if self.continue_to_end(&upload, content, &digest) {
                self.known.insert(format!("/v2/{name}/blobs/{digest}"), Some(digest));
                return;
            }
        }
        panic!("no upload came to its end");
    }

    /// Goes on where the server says that an upload stands; false if it ended before, as it may
    /// on a broken disk.
    #[track_caller]
    fn continue_to_end(&mut self, upload: &str, content: &[u8], digest: &str) -> bool {
        let middle = content.len() / 2;
        for _ in 0..TRIES {
            let Some(status) = self.once("GET", upload, &[], b"", 204) else { continue };
            if status.status == 404 {
                return false;
            }
            let last: usize = status.must("range")[2..].parse().expect("a range");
            let offset = if last == 0 { 0 } else { last + 1 };
            let end = if offset < middle { middle } else { content.len() };
            let range = format!("{offset}-{}", end.max(1) - 1);
            let (method, path, range, good) = match offset == content.len() {
                true => ("PUT", format!("{upload}?digest={digest}"), None, 201),
                false => ("PATCH", upload.to_owned(), Some(("Content-Range", &range[..])), 202),
            };
            let headers: Vec<Header<'_>> = [OCTETS].into_iter().chain(range).collect();
            match self.once(method, &path, &headers, &content[offset..end], good) {
                Some(answer) if answer.status == 201 => return true,
                Some(answer) if answer.status == 404 => return false,
                _ => {}
            }
        }
        panic!("the upload does not come to its end");
    }

    #[track_caller]
    fn delete(&mut self, path: &str) {
        // From here on it may be gone, whatever the answer is.
        let before = self.known.remove(path);
        for _ in 0..TRIES {
            if let Some(answer) = self.once("DELETE", path, &[], b"", 202) {
                // It was there, unless an attempt before this one did more than it could tell.
                assert!(answer.status == 202 || self.fault == Fault::NotSynced, "{before:?}");
                self.known.insert(path.to_owned(), None);
                return;
            }
        }
        panic!("{path} is never deleted");
    }

    #[track_caller]
    fn add_user(&mut self, name: &str) {
        for _ in 0..TRIES {
            let rest = [name, "--role", "pull"];
            let run = self.instance.command_with_input(&["user", "add"], &rest, PASSWORD);
            if run.code() == Some(0) {
                return;
            }
            let error = run.fails(1);
            match self.fault {
                Fault::Full => {
                    assert!(error.contains("the disk of the registry is full"), "{error}");
                }
                Fault::Broken => assert!(error.contains("database"), "{error}"),
                Fault::NotSynced if error.contains("exists already") => return,
                Fault::NotSynced => self.start_again(),
            }
        }
        panic!("{name} is never added");
    }

    /// Sends a request until it is not refused.
    #[track_caller]
    fn attempt(
        &mut self,
        method: &str,
        path: &str,
        headers: &[Header<'_>],
        body: &[u8],
        good: u16,
    ) -> Response {
        for _ in 0..TRIES {
            if let Some(answer) = self.once(method, path, headers, body, good) {
                return answer.expect(good);
            }
        }
        panic!("{method} {path} is always refused");
    }

    /// Sends a request; none if it was refused as it should be.
    #[track_caller]
    fn once(
        &mut self,
        method: &str,
        path: &str,
        headers: &[Header<'_>],
        body: &[u8],
        good: u16,
    ) -> Option<Response> {
        let Some(answer) = self.client.try_alone(method, path, headers, body) else {
            assert_eq!(self.fault, Fault::NotSynced, "{method} {path}: no answer");
            self.start_again();
            return None;
        };
        let may_be_over = self.fault != Fault::Full && answer.status == 404;
        if answer.status == good || may_be_over {
            return Some(answer);
        }
        let (status, sentence) = match self.fault {
            Fault::Full => (507, "the disk of the registry is full: "),
            _ => (500, "the registry failed inside: its log says why"),
        };
        let reason = answer.reason.clone();
        let (_, message) = answer.expect(status).error();
        assert!(message.starts_with(sentence) && message == reason, "{method} {path}: {message}");
        self.refusals += 1;
        None
    }

    /// Starts the server again that ended because it could not sync its database, as systemd does.
    #[track_caller]
    pub(super) fn start_again(&mut self) {
        assert_eq!(self.instance.wait().code(), Some(1));
        let log = self.instance.errors();
        assert!(log.contains("the database can no longer be trusted"), "{log}");
        self.instance.start();
        self.ends += 1;
        self.verify_all();
    }
}

/// More than there are faults that can lie ahead of one request: each of some dozens of threads has
/// one, for each call that is to fail.
const TRIES: usize = 500;
