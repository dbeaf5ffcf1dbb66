//! The recordings: a real server under strace, a load that drives it through everything that it
//! does, and which part of the record shows what.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use tempfile::TempDir;

use super::acts::{Acts, Key, now};
use super::load::{Load, Session, fresh_bytes};
use super::old;
use super::record::{Hand, Record, Recorder};
use super::scenes;
use super::strace;
use super::tree::{Change, Event};
use crate::fixture::{self, Fixture};
use crate::support::binary::{Instance, PASSWORD, USER};
use crate::support::content::noise;
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
    Collection,
    Restart,
    Migration,
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
    /// All recordings, made at the first call.
    pub(super) fn all() -> &'static [Self] {
        static ALL: OnceLock<Vec<Recording>> = OnceLock::new();
        ALL.get_or_init(|| {
            let migrations = fixture::ALL.iter().map(record_a_migration);
            [record_a_life()].into_iter().chain(migrations).collect()
        })
    }

    /// The last events before a cut, for people.
    pub(super) fn tell_near(&self, events: usize) -> String {
        let near = &self.record.events[events.saturating_sub(TOLD_EVENTS)..events];
        let line = |event: &Event| match &event.change {
            Change::Write { file, offset, bytes } => {
                format!("Write {{ file: {file}, offset: {offset}, {} bytes }}", bytes.len())
            }
            change => format!("{change:?}"),
        };
        near.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// A time before which everything happened that did so before this event, and after which
    /// this event and all later ones happened.
    pub(super) fn time_of(&self, event: usize) -> u64 {
        self.record.events.get(event).map_or(u64::MAX, |event| event.time)
    }
}

/// A server under strace, with what is known of it.
pub(super) struct Stage {
    pub(super) instance: Instance,
    trace: PathBuf,
    recorder: Recorder,
    pub(super) acts: Acts,
    /// What hands change on the disk while the server runs, in order.
    pub(super) hands: Vec<Hand>,
    marks: Vec<(Category, u64)>,
    sessions: Vec<Session>,
    // Last, so that it goes when nobody writes to it any more.
    _root: TempDir,
}

impl Stage {
    /// A stage on which the store is at `data` below a directory that `prepare` fills.
    pub(super) fn new(data: &str, prepare: impl FnOnce(&TempDir)) -> Self {
        let root = tempfile::Builder::new().prefix("registry-power-").tempdir();
        let root = root.expect("a directory");
        prepare(&root);
        let instance = Instance::new().with_data(root.path().join(data));
        let trace = instance.root().join("trace");
        let recorder = Recorder::new(root.path());
        let instance = instance.under(strace::prefix(&trace));
        let (acts, hands) = (Acts::default(), Vec::new());
        let (marks, sessions) = (Vec::new(), Vec::new());
        Self { instance, trace, recorder, acts, hands, marks, sessions, _root: root }
    }

    /// From now on the record shows this.
    fn mark(&mut self, category: Category) {
        self.marks.push((category, now()));
    }

    /// Lets a client do something.
    fn play<T>(&self, client: &Client, scene: impl FnOnce(&Load<'_>) -> T) -> T {
        scene(&Load { client, acts: &self.acts })
    }

    /// Stops the server in order.
    pub(super) fn stop(&mut self) {
        self.instance.stop();
        self.take_over();
    }

    /// Takes over what strace wrote of a program that has ended.
    pub(super) fn take_over(&mut self) {
        let mut text = String::new();
        wait_until("strace wrote everything", || {
            text = fs::read_to_string(&self.trace).unwrap_or_default();
            strace::is_whole(&text)
        });
        self.recorder.add(&text, &std::mem::take(&mut self.hands));
        fs::remove_file(&self.trace).expect("strace's file");
    }

    pub(super) fn client(&self, password: &str) -> Client {
        let address = self.instance.address().parse().expect("an address");
        Client::new(address, &self.instance.ca(), Some((USER, password)))
    }

    pub(super) fn finish(mut self, data: &'static str, made: u64) -> Recording {
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

/// A server from its first start on, which makes the store with the directories above it.
fn record_a_life() -> Recording {
    let mut stage = Stage::new(LIFE_DATA, |_| {});
    stage.mark(Category::Initialisation);
    stage.instance.start();
    let made = note_first_start(&stage);
    let client = stage.client(&stage.instance.password());
    stage.mark(Category::Blob);
    stage.play(&client, scenes::push_blobs);
    stage.sessions = vec![
        stage.play(&client, |load| load.session("open", &noise(1, 5000))),
        stage.play(&client, |load| load.session("left", &noise(2, 900))),
    ];
    stage.mark(Category::Manifest);
    stage.play(&client, scenes::push_manifests);
    stage.mark(Category::TagMove);
    stage.play(&client, scenes::move_tags);
    stage.mark(Category::Delete);
    stage.play(&client, scenes::delete);
    stage.mark(Category::Mount);
    stage.play(&client, scenes::mount);
    stage.mark(Category::Checkpoint);
    let database = stage.instance.data().join("registry.db");
    stage.play(&client, |load| scenes::fill_the_log(load, &database));
    stage.mark(Category::Collection);
    stage.play(&client, |load| scenes::collect(load, stage.instance.data()));
    stage.mark(Category::Restart);
    stage.stop();
    // The last to close the database removes the log, if it may write: a server has readers that
    // close later. What comes then makes a new one.
    let added = vec![(Key::User("other".to_owned()), Some("push".to_owned()))];
    stage.acts.take(added, || stage.instance.add_user("other", "push"));
    stage.take_over();
    scenes::import(&stage.instance, &stage.acts);
    stage.take_over();
    stage.instance.start();
    stage.play(&client, |load| load.finish(&stage.sessions[0], b"the end"));
    stage.play(&client, |load| push_images(load, "again"));
    stage.stop();
    let forgotten = vec![(Key::File("init-password".to_owned()), None)];
    stage.acts.take(forgotten, || {
        stage.instance.command_with_input(&["user", "passwd"], &[USER], PASSWORD).ok()
    });
    stage.take_over();
    stage.finish(LIFE_DATA, made)
}

/// This program's first start on a store that an older one left.
fn record_a_migration(fixture: &Fixture) -> Recording {
    let mut stage =
        Stage::new(MIGRATION_DATA, |root| fixture.unpack(&root.path().join(MIGRATION_DATA)));
    stage.acts.given(old::content(fixture));
    stage.sessions = old::sessions(fixture);
    stage.mark(Category::Migration);
    stage.instance.start();
    let client = stage.client(PASSWORD);
    stage.play(&client, |load| push_images(load, "old/app"));
    stage.stop();
    stage.finish(MIGRATION_DATA, 0)
}

fn push_images(load: &Load<'_>, repository: &str) {
    for number in 0..4 {
        load.image(repository, &fresh_bytes(), &[&format!("tag-{number}")]);
    }
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

/// Where a recorded store is below the root: some directories deep, which its first start makes.
const LIFE_DATA: &str = "new/parents/data";
/// And where one is that was there before.
const MIGRATION_DATA: &str = "data";
/// How much of the record before the end of a checkpoint counts as part of it.
const EVENTS_BEFORE_A_CHECKPOINT: usize = 60;
/// How many events are told.
const TOLD_EVENTS: usize = 12;
