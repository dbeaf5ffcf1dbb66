//! The recordings: a real server under strace, a load that drives it through everything that it
//! does, and which part of the record shows what.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::thread;

use serde_json::json;
use storage::Algorithm;
use tempfile::TempDir;

use super::acts::{Acts, Key, now};
use super::load::{Load, Session, Way, fresh_bytes};
use super::record::{Record, Recorder};
use super::strace;
use super::tree::Change;
use crate::support::binary::{Instance, USER};
use crate::support::content::{Manifest, noise};
use crate::support::http::Client;
use crate::support::process::wait_until;

/// What a part of a record shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Category {
    Initialisation,
    Blob,
    Manifest,
    TagMove,
    Delete,
    Mount,
    Checkpoint,
    Restart,
}

/// A record with what clients know of it.
pub(super) struct Recording {
    pub(super) record: Record,
    pub(super) acts: Acts,
    /// Where the store is below the root.
    pub(super) data: &'static str,
    /// When a store had been there, or was made.
    pub(super) made: u64,
    /// For each category, the events with which it begins and ends.
    pub(super) spans: Vec<(Category, usize, usize)>,
    /// Uploads that were begun and ended late or never.
    pub(super) sessions: Vec<Session>,
}

impl Recording {
    /// The recording of a server's life from its first start on.
    pub(super) fn of_a_life() -> &'static Self {
        static LIFE: OnceLock<Recording> = OnceLock::new();
        LIFE.get_or_init(record_a_life)
    }

    /// A time before which everything happened that did so before this event, and after which
    /// this event and all later ones happened.
    pub(super) fn time_of(&self, event: usize) -> u64 {
        self.record.events.get(event).map_or(u64::MAX, |event| event.time)
    }
}

/// A server under strace, with what is known of it.
struct Stage {
    instance: Instance,
    trace: PathBuf,
    recorder: Recorder,
    acts: Acts,
    marks: Vec<(Category, u64)>,
    sessions: Vec<Session>,
    // Last, so that it goes when nobody writes to it any more.
    _root: TempDir,
}

impl Stage {
    /// A stage on which the store is at `data` below a directory that `prepare` fills.
    fn new(data: &str, prepare: impl FnOnce(&TempDir)) -> Self {
        let root = tempfile::Builder::new().prefix("registry-power-").tempdir();
        let root = root.expect("a directory");
        prepare(&root);
        let instance = Instance::new().with_data(root.path().join(data));
        let trace = instance.root().join("trace");
        let recorder = Recorder::new(root.path());
        let instance = instance.under(strace::prefix(&trace));
        let (acts, marks, sessions) = (Acts::default(), Vec::new(), Vec::new());
        Self { instance, trace, recorder, acts, marks, sessions, _root: root }
    }

    /// From now on the record shows this.
    fn mark(&mut self, category: Category) {
        self.marks.push((category, now()));
    }

    /// Stops the server in order.
    fn stop(&mut self) {
        self.instance.stop();
        self.collect();
    }

    /// Takes over what strace wrote of a program that has ended.
    fn collect(&mut self) {
        let mut text = String::new();
        wait_until("strace wrote everything", || {
            text = fs::read_to_string(&self.trace).unwrap_or_default();
            strace::is_whole(&text)
        });
        self.recorder.add(&text);
        fs::remove_file(&self.trace).expect("strace's file");
    }

    fn client(&self, password: &str) -> Client {
        let address = self.instance.address().parse().expect("an address");
        Client::new(address, &self.instance.ca(), Some((USER, password)))
    }

    fn finish(mut self, data: &'static str, made: u64) -> Recording {
        self.marks.push((Category::Restart, u64::MAX));
        let record = self.recorder.finish();
        let event_at = |time| record.events.partition_point(|event| event.time < time);
        let mut spans: Vec<_> = self
            .marks
            .windows(2)
            .map(|marks| (marks[0].0, event_at(marks[0].1), event_at(marks[1].1)))
            .collect();
        for (category, first, end) in &mut spans {
            if *category == Category::Checkpoint {
                // Until the log is moved, it is as in any other part.
                let events = &record.events[*first..*end];
                let moves = |change: &Change| {
                    matches!(change, Change::Sync { path, .. }
                    if path.ends_with("registry.db"))
                };
                let moved = events.iter().position(|event| moves(&event.change));
                let moved = *first + moved.expect("the log to be moved into the database");
                *first = moved.saturating_sub(EVENTS_BEFORE_A_CHECKPOINT).max(*first);
            }
        }
        let Self { acts, sessions, .. } = self;
        Recording { record, acts, data, made, spans, sessions }
    }
}

fn record_a_life() -> Recording {
    // The store is made with the directories above it.
    let mut stage = Stage::new(DATA, |_| {});
    stage.mark(Category::Initialisation);
    stage.instance.start();
    let made = note_first_start(&stage);
    let client = stage.client(&stage.instance.password());
    stage.mark(Category::Blob);
    push_blobs(&Load { client: &client, acts: &stage.acts });
    let load = Load { client: &client, acts: &stage.acts };
    let sessions =
        vec![load.session("open", &noise(1, 5000)), load.session("left", &noise(2, 900))];
    stage.sessions = sessions;
    stage.mark(Category::Manifest);
    push_manifests(&Load { client: &client, acts: &stage.acts });
    stage.mark(Category::TagMove);
    move_tags(&Load { client: &client, acts: &stage.acts });
    stage.mark(Category::Delete);
    delete(&Load { client: &client, acts: &stage.acts });
    stage.mark(Category::Mount);
    mount(&Load { client: &client, acts: &stage.acts });
    stage.mark(Category::Checkpoint);
    fill_the_log(
        &Load { client: &client, acts: &stage.acts },
        &stage.instance.data().join("registry.db"),
    );
    stage.mark(Category::Restart);
    stage.stop();
    // The last to close the database removes the log, if it may write: a server has readers that
    // close later. What comes then makes a new one.
    let added = vec![(Key::User("other".to_owned()), Some("push".to_owned()))];
    stage.acts.take(added, || stage.instance.add_user("other", "push"));
    stage.collect();
    stage.instance.start();
    let load = Load { client: &client, acts: &stage.acts };
    load.finish(&stage.sessions[0], b"the end");
    for number in 0..4 {
        load.image("again", &fresh_bytes(), &[&format!("tag-{number}")]);
    }
    stage.stop();
    stage.finish(DATA, made)
}

/// What a first start made must last from the moment on at which it said that it is ready.
fn note_first_start(stage: &Stage) -> u64 {
    let names = ["FORMAT", "init-password", "tls/ca.crt", "tls/ca.key", "tls/issuing.crt"];
    let names = names.into_iter().chain(["tls/issuing.key", "tls/server.crt", "tls/server.key"]);
    let read = |name| fs::read_to_string(stage.instance.data().join(name)).expect("a file");
    let files = names.map(|name| (Key::File(name.to_owned()), Some(read(name))));
    let user = (Key::User(USER.to_owned()), Some("administrator".to_owned()));
    stage.acts.take(files.chain([user]).collect(), now)
}

/// Several clients at once, each in all ways; some push the same.
fn push_blobs(load: &Load<'_>) {
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

fn push_manifests(load: &Load<'_>) {
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

fn move_tags(load: &Load<'_>) {
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

fn delete(load: &Load<'_>) {
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

fn mount(load: &Load<'_>) {
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
fn fill_the_log(load: &Load<'_>, database: &std::path::Path) {
    let modified = || fs::metadata(database).and_then(|file| file.modified()).expect("a time");
    let before = modified();
    let push = |number: usize| {
        let layer = fresh_bytes();
        load.blob("long", &layer, Way::Put, Algorithm::Sha256);
        let text = "long ".repeat(6000);
        let annotations = json!({ "annotations": { "text": text, "number": number.to_string() } });
        let manifest = Manifest::image_with(b"{}", &layer, &annotations);
        load.manifest("long", &manifest, &[&format!("n{number}")]);
    };
    load.blob("long", b"{}", Way::Post, Algorithm::Sha256);
    let mut number = 0;
    while modified() == before {
        push(number);
        number += 1;
        assert!(number < 500, "the log is never moved");
    }
    for number in number..number + 8 {
        push(number);
    }
}

/// Where a recorded store is below the root: some directories deep, which its first start makes.
const DATA: &str = "new/parents/data";
/// How much of the record before the end of a checkpoint counts as part of it.
const EVENTS_BEFORE_A_CHECKPOINT: usize = 60;
