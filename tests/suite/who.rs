//! Who changed a tag: a client's user, or a person on the host, with a server and without one.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::ownership::{OWNER, owned};
use crate::support::binary::{Instance, USER, program};
use crate::support::content::{Manifest, push_image};
use crate::support::process::{Run, run};

/// A command that somebody gave by way of sudo, or of nothing if the name is empty.
fn command(instance: &Instance, by: &str, words: &[&str]) -> Run {
    let mut command = Command::new(program());
    command.args(words).arg("--data-dir").arg(instance.data());
    match by {
        "" => command.env_remove("SUDO_USER"),
        by => command.env("SUDO_USER", by),
    };
    run(&mut command)
}

/// The changes of the tag `app:1`, the oldest first, as they are printed behind the time.
fn history(instance: &Instance) -> Vec<String> {
    let told = command(instance, "", &["tag", "history", "app:1"]).ok();
    let mut lines: Vec<_> = told.lines().map(|line| line[TIME..].to_owned()).collect();
    lines.reverse();
    lines
}

/// Checks that a line ends with this person. Whoever runs the tests may have logged in, and then
/// comes before.
#[track_caller]
fn is_by(line: &str, person: &str) {
    let (_, told) = line.split_once("  by a command on the host (").expect("a person on the host");
    let told = told.strip_suffix(')').expect("the end of it");
    assert!(told == person || told.ends_with(&format!(" as {person}")), "{line}");
}

/// An image `app:1` that the first user pushed to a registry whose data are not root's.
fn pushed() -> Option<(Instance, Manifest)> {
    let mut instance = owned(&[])?;
    instance.start();
    let manifest = push_image(&instance.client(), "app", "1", b"layer");
    Some((instance, manifest))
}

#[test]
fn each_change_of_a_tag_has_its_user_or_its_person_on_the_host() {
    let Some((mut instance, manifest)) = pushed() else { return };
    command(&instance, "alice", &["rm", "app:1"]).ok();
    command(&instance, "", &["tag", "restore", "app:1"]).ok();
    instance.stop();
    command(&instance, "bob", &["rm", "app", "--all"]).ok();
    command(&instance, "carol", &["tag", "restore", "app", "--all"]).ok();
    command(&instance, "dave", &["rm", "app:1*"]).ok();
    instance.start();
    command(&instance, "erin", &["tag", "restore", "app:*"]).ok();
    instance.client().delete("/v2/app/manifests/1").expect(202);
    instance.stop();

    let (lines, digest) = (history(&instance), manifest.digest());
    let (came, went) =
        (format!("app:1  nothing -> {digest}"), format!("app:1  {digest} -> nothing"));
    assert_eq!(lines.len(), 8, "{lines:?}");
    for (number, line) in lines.iter().enumerate() {
        assert!(line.starts_with(if number % 2 == 0 { &came } else { &went }), "{lines:?}");
    }
    assert_eq!(lines[0], format!("{came}  by {USER}"));
    assert_eq!(lines[7], format!("{went}  by {USER}"));
    let root_and_others = ["alice as root", "root", "bob as root", "carol as root", "dave as root"];
    for (line, person) in lines[1..].iter().zip(root_and_others.into_iter().chain(["erin as root"]))
    {
        is_by(line, person);
    }
    let json = command(&instance, "", &["tag", "history", "app:1", "--json"]).ok();
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&json[0]["by"], &json[0]["host_user"]), (&USER.into(), &Value::Null));
    assert_eq!(json[1]["by"], Value::Null);
    assert!(json[1]["host_user"].as_str().expect("a text").ends_with("erin as root"), "{json}");
}

#[test]
fn what_an_older_program_noted_of_a_command_is_a_command_of_nobody_who_is_known() {
    let Some((mut instance, _)) = pushed() else { return };
    command(&instance, "alice", &["rm", "app:1"]).ok();
    instance.stop();
    let script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(\
                  'UPDATE tag_history SET changed_on_host = NULL'); c.commit(); c.close()";
    let mut sqlite = Command::new("python3");
    run(sqlite.args(["-c", script]).arg(instance.data().join("registry.db"))).ok();
    let lines = history(&instance);
    assert!(lines[0].ends_with(&format!("  by {USER}")), "{lines:?}");
    assert!(lines[1].ends_with("  by a command on the host"), "{lines:?}");
    let json = command(&instance, "", &["tag", "history", "app:1", "--json"]).ok();
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&json[0]["by"], &json[0]["host_user"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_name_that_is_none_stops_no_command_and_ends_no_line() {
    let Some((mut instance, _)) = pushed() else { return };
    let long = "x".repeat(100_000);
    command(&instance, "evil\n2026-01-01T00:00:00Z\u{1b}[2J", &["rm", "app:1"]).ok();
    command(&instance, &long, &["tag", "restore", "app:1"]).ok();
    instance.stop();
    // Somebody whom nobody knows, to whom the data belong.
    let copy = instance.root().join("registry");
    fs::copy(program(), &copy).expect("a copy of the program");
    let owner = [format!("--reuid={}", OWNER.0), format!("--regid={}", OWNER.1)];
    let mut alone = Command::new("setpriv");
    alone.args(owner).arg("--clear-groups").arg(copy).args(["rm", "app:1", "--data-dir"]);
    run(alone.arg(instance.data()).env("SUDO_USER", "gr\u{f6}\u{df}er")).ok();
    let lines = history(&instance);
    assert_eq!(lines.len(), 4, "{lines:?}");
    is_by(&lines[1], "evil?2026-01-01T00:00:00Z?[2J as root");
    is_by(&lines[2], &format!("{}... as root", "x".repeat(37)));
    is_by(&lines[3], &format!("gr??er as uid {}", OWNER.0));
}

/// How many bytes the time takes, with what is between it and the tag.
const TIME: usize = "2026-01-01T00:00:00Z  ".len();
