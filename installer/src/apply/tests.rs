use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::uninstall::Removal;

/// A place that stands for the host, and what is to be put there.
struct Host {
    directory: TempDir,
    content: &'static str,
}

impl Host {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), content: "first" }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn record(&self) -> PathBuf {
        self.path("etc/record")
    }

    fn steps(&self, is_due: bool) -> Vec<Step> {
        let directory =
            |name: &str, mode| Step::Directory { path: self.path(name), mode, owner: Owner::Root };
        vec![
            directory("data", 0o711),
            Step::Close { path: self.path("data") },
            directory("etc/private", 0o700),
            Step::Program { path: self.path("program") },
            Step::File {
                path: self.path("settings"),
                mode: 0o644,
                owner: Owner::Root,
                content: self.content.into(),
            },
            Step::Fill {
                path: self.path("data"),
                with: "what belongs there".to_owned(),
                replaces: vec![self.path("data/part")],
                need: if is_due { Need::Change } else { Need::Nothing },
            },
            Step::Move {
                inside: self.path("data"),
                from: self.path("data/key"),
                to: self.path("etc/private/key"),
            },
            Step::Check { what: "all is well".to_owned() },
        ]
    }

    fn plan(&self, is_due: bool) -> Plan {
        let record = Record::read(&self.record()).unwrap();
        Plan::new(self.steps(is_due), record.as_ref()).unwrap()
    }

    /// Applies a plan; `fails` is the step whose turn ends it, by an error or by a panic, which
    /// leaves what a crash leaves.
    fn apply(&self, is_due: bool, fails: Option<(usize, Fault)>) -> Result<(), InstallError> {
        let plan = self.plan(is_due);
        let (turn, asked) = (Cell::new(0), Cell::new(0));
        let caller = Caller {
            program: "test",
            keeps: vec!["the data".to_owned()],
            fill: &|| {
                fs::write(self.path("data/part.new"), self.content).unwrap();
                fs::rename(self.path("data/part.new"), self.path("data/part")).unwrap();
                if !self.path("etc/private/key").exists() {
                    fs::write(self.path("data/key"), "secret").unwrap();
                }
                Ok(())
            },
            check: &|| match fails {
                Some((LAST, Fault::Error)) => Err("not well".to_owned()),
                _ => Ok(()),
            },
            tell: &|_| {
                turn.set(turn.get() + 1);
                assert!(fails != Some((turn.get(), Fault::Crash)), "crash");
            },
            is_stopped: &|| {
                asked.set(asked.get() + 1);
                fails == Some((asked.get(), Fault::Error))
            },
        };
        apply(&plan, &self.record(), &caller)
    }

    /// Every path below, with its mode and a hash of its content.
    fn tree(&self) -> BTreeMap<PathBuf, (u32, u64)> {
        let (mut tree, mut left) = (BTreeMap::new(), vec![self.directory.path().to_owned()]);
        while let Some(path) = left.pop() {
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            if path.is_dir() {
                left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                tree.insert(path, (mode, 0));
            } else {
                let hash = hash(&fs::read(&path).unwrap());
                tree.insert(path, (mode, hash));
            }
        }
        tree
    }
}

fn hash(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Error,
    Crash,
}

/// The turn of the step of [`Host::steps`] that fills the directory, counted from 1: it is made, or
/// else closed.
const FILL: usize = 5;
/// The turn of the last step.
const LAST: usize = 7;

#[test]
fn what_is_applied_is_there_and_applying_again_changes_nothing() {
    let host = Host::new();
    host.apply(true, None).unwrap();
    let tree = host.tree();
    let mode = |name: &str| tree[&host.path(name)].0 & 0o7777;
    assert_eq!(mode("data"), 0o711);
    assert_eq!(mode("etc/private"), 0o700);
    assert_eq!(mode("etc/private/key"), 0o600);
    assert_eq!(mode("program"), 0o755);
    assert_eq!(mode("settings"), 0o644);
    assert_eq!(tree[&host.path("program")].1, hash(&fs::read(RUNNING_PROGRAM).unwrap()));
    assert_eq!(tree[&host.path("etc/private/key")].1, hash(b"secret"));
    assert!(!tree.contains_key(&host.path("data/key")));
    assert!(host.plan(false).is_nothing());
    host.apply(false, None).unwrap();
    assert_eq!(host.tree(), tree);
}

#[test]
fn whatever_step_fails_or_is_cut_short_the_host_is_as_it_was() {
    let faults = [(Fault::Error, false), (Fault::Crash, false), (Fault::Error, true)];
    let turns = (1..=LAST).flat_map(|step| faults.map(|(fault, is_there)| (fault, step, is_there)));
    for (fault, step, is_there) in turns {
        let mut host = Host::new();
        if is_there {
            // An administrator made it, and anybody may list it.
            fs::create_dir(host.path("data")).unwrap();
            fs::set_permissions(host.path("data"), Permissions::from_mode(0o755)).unwrap();
        }
        let mut before = host.tree();
        // First on an empty host, then on one whose installation changes, which takes fewer steps.
        for content in ["first", "second"] {
            host.content = content;
            let run = AssertUnwindSafe(|| host.apply(true, Some((step, fault))));
            let has_failed = match catch_unwind(run) {
                Ok(Ok(())) => false,
                Ok(Err(InstallError::Step { not_undone, .. })) => not_undone.is_empty(),
                Ok(Err(error)) => panic!("{error}"),
                Err(_) => recover(&host.record()).unwrap(),
            };
            assert!(has_failed || content == "second", "{fault:?} in step {step}");
            if has_failed {
                let mut tree = host.tree();
                // What was filled may have been used since the crash, so it stays.
                let is_kept = fault == Fault::Crash && step > FILL && content == "first";
                if is_kept {
                    assert!(tree.contains_key(&host.path("data/key")), "the key is back");
                    tree.retain(|path, _| !path.starts_with(host.path("data")));
                }
                assert!(tree == before, "{fault:?} in step {step} with {content}");
            }
            host.content = "first";
            host.apply(true, None).unwrap();
            before = host.tree();
        }
    }
}

#[test]
fn a_file_that_is_not_ours_is_refused_and_stays() {
    let host = Host::new();
    fs::write(host.path("settings"), "mine").unwrap();
    let refused = Plan::new(host.steps(true), None).unwrap_err();
    assert_eq!(refused, InstallError::ForeignFile(host.path("settings")));
    fs::remove_file(host.path("settings")).unwrap();
    fs::write(host.path("data"), "mine").unwrap();
    let refused = Plan::new(host.steps(true), None).unwrap_err();
    assert_eq!(refused, InstallError::NoDirectory(host.path("data")));
}

#[test]
fn a_key_that_differs_from_the_one_that_root_has_is_refused() {
    let host = Host::new();
    host.apply(true, None).unwrap();
    fs::write(host.path("data/key"), "another").unwrap();
    let record = Record::read(&host.record()).unwrap();
    let refused = Plan::new(host.steps(false), record.as_ref()).unwrap_err();
    let (from, to) = (host.path("data/key"), host.path("etc/private/key"));
    assert_eq!(refused, InstallError::Differ { from, to });
}

#[test]
fn a_record_that_cannot_be_written_in_the_end_is_a_step_that_fails() {
    let host = Host::new();
    let before = host.tree();
    let plan = host.plan(true);
    let blocked = host.path("etc/record.new");
    let caller = Caller {
        program: "test",
        keeps: Vec::new(),
        fill: &|| Ok(()),
        // The last thing before the record is written: something lies where it is written first.
        check: &|| {
            fs::create_dir(&blocked).unwrap();
            Ok(())
        },
        tell: &|_| {},
        is_stopped: &|| false,
    };
    let error = apply(&plan, &host.record(), &caller).unwrap_err();
    assert!(matches!(&error, InstallError::Step { step, .. } if step == RECORD), "{error}");
    assert!(host.path("data").read_dir().is_err() && !host.path("program").exists());
    fs::remove_dir(&blocked).unwrap();
    assert_eq!(recover(&host.record()), Ok(true));
    assert!(host.tree() == before);
}

#[test]
fn what_lies_in_a_directory_of_somebody_else_leads_root_nowhere() {
    let host = Host::new();
    host.apply(true, None).unwrap();
    let own = fs::metadata(host.path("data")).unwrap();
    if own.uid() != 0 {
        // Only root can give files away; the suite in CI runs as root.
        return;
    }
    // The owner of the data puts a link where the key goes, to where root keeps it.
    fs::set_permissions(host.directory.path(), Permissions::from_mode(0o755)).unwrap();
    chown(host.path("data"), Some(4321), Some(4321)).unwrap();
    let record = Record::read(&host.record()).unwrap().unwrap();
    let moved =
        record.made.iter().find(|made| matches!(made, InstalledItem::Moved { .. })).unwrap();
    let InstalledItem::Moved { to, .. } = moved else { panic!() };
    symlink(host.path("etc/private"), host.path("data/tls")).unwrap();
    let from = host.path("data/tls/key");
    // Not even when the directory has become root's again, and root has every right.
    for owner in [4321, 0] {
        chown(host.path("data"), Some(owner), Some(owner)).unwrap();
        assert_eq!(undo::move_back(&host.path("data"), &from, to), Ok(false));
        assert_eq!(fs::read(to).unwrap(), b"secret");
    }
    chown(host.path("data"), Some(4321), Some(4321)).unwrap();
    assert!(undo::move_to_root(&host.path("data"), &from, to).is_err());
    assert_eq!(fs::read(to).unwrap(), b"secret");
    // A pipe there is not waited for.
    let fifo = host.path("data/pipe");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    assert_eq!(file::read(&fifo), Err(InstallError::NoFile(fifo)));
}

#[test]
fn what_was_installed_goes_and_nothing_else() {
    let host = Host::new();
    host.apply(true, None).unwrap();
    let record = Record::read(&host.record()).unwrap().unwrap();
    let removal = Removal::of(&record);
    assert_eq!(removal.keeps, ["the data"]);
    let told = RefCell::new(Vec::new());
    let left = removal.run(&host.record(), &|made| told.borrow_mut().push(made.clone())).unwrap();
    assert_eq!(left, Vec::<String>::new());
    assert_eq!(told.borrow().len(), record.made.len());
    let names: Vec<_> = host.tree().into_keys().collect();
    let expected = ["", "data", "data/key", "data/part"].map(|name| host.path(name));
    assert_eq!(names[1..], expected[1..]);
    // It can be done again, as after a crash in the middle.
    removal.run(&host.record(), &|_| {}).unwrap();
}

#[test]
fn what_others_put_beside_it_stays_and_is_named() {
    let host = Host::new();
    host.apply(true, None).unwrap();
    fs::write(host.path("etc/private/mine"), "mine").unwrap();
    let record = Record::read(&host.record()).unwrap().unwrap();
    let left = Removal::of(&record).run(&host.record(), &|_| {}).unwrap();
    assert_eq!(left.len(), 1);
    assert!(left[0].contains("etc/private"), "{left:?}");
    assert!(host.path("etc/private/mine").exists() && !host.record().exists());
}

#[test]
fn the_key_stays_with_root_when_the_data_are_away() {
    let host = Host::new();
    host.apply(true, None).unwrap();
    fs::remove_dir_all(host.path("data")).unwrap();
    let record = Record::read(&host.record()).unwrap().unwrap();
    let left = Removal::of(&record).run(&host.record(), &|_| {}).unwrap();
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(fs::read(host.path("etc/private/key")).unwrap(), b"secret");
}
