//! What a command believes of whoever listens at the socket: the user of the service owns the
//! directory that it lies in, and root may be the one who types.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::thread;

use crate::support::binary::{Instance, PASSWORD, USER};
use crate::support::process::run;

#[test]
fn an_answer_without_an_end_is_not_read_to_its_end() {
    let instance = rested();
    listen(&instance, |_, mut stream| {
        let piece = [b'x'; 1 << 16];
        while stream.write_all(&piece).is_ok() {}
    });
    for (words, rest) in [
        (&["status"][..], &[][..]),
        (&["gc"], &[]),
        (&["verify"], &[]),
        (&["backup", "--same-file-system"], &["/tmp/never-made"]),
    ] {
        let refused = instance.command(words, rest).fails(1);
        assert!(refused.contains("the running server's answer has no end"), "{refused}");
    }
}

#[test]
fn news_are_waited_for_and_skipped() {
    let instance = rested();
    listen(&instance, |_, mut stream| {
        for line in ["\"working\"", PROGRESS, "\"working\"", "{\"failed\":\"so far\"}"] {
            writeln!(stream, "{line}").expect("somebody reads");
        }
    });
    assert_eq!(instance.command(&["gc"], &[]).fails(1), "registry: so far\n");
}

#[test]
fn an_answer_does_nothing_to_a_terminal() {
    let instance = rested();
    listen(&instance, |command, mut stream| {
        let answer = match command {
            _ if command.contains("tag-list") => TAGS,
            _ if command.contains("image-manifest") => MANIFEST,
            _ if command.contains("image-") => "{\"done\":{\"entries\":[],\"next\":null}}",
            _ => "{\"failed\":\"no\\u001b[2Jway\\nregistry: all is well\"}",
        };
        writeln!(stream, "{answer}").expect("somebody reads");
    });
    let is_obeyed = |c: char| c.is_control() && c != '\n';
    // What is no tag is not taken for one.
    let refused = instance.command(&["ls"], &["app"]).fails(1);
    assert!(refused.starts_with("registry: the running server's answer makes no sense: a tag is"));
    assert!(!refused.contains(is_obeyed), "{refused:?}");
    // A media type may be anything that somebody pushed.
    let table = instance.command(&["inspect"], &["app:1"]).ok();
    assert!(table.contains("  1\\u001b[2J") && !table.contains(is_obeyed), "{table:?}");
    let json = instance.command(&["inspect"], &["app:1", "--json"]).ok();
    assert!(json.contains("1\\u001b[2J\\u009b1m") && !json.contains(is_obeyed), "{json:?}");
    let refused = instance.command(&["status"], &[]).fails(1);
    assert_eq!(refused, "registry: no\\u001b[2Jway\\nregistry: all is well\n");
}

#[test]
fn a_command_to_type_has_no_words_but_names() {
    let instance = rested();
    listen(&instance, |command, mut stream| {
        let answer = match command.contains("protect") {
            true => "{\"done\":{\"image\":\"app:1; id\",\"is_change\":true}}",
            false => REMOVED,
        };
        writeln!(stream, "{answer}").expect("somebody reads");
    });
    for words in [&["rm"][..], &["tag", "protect"]] {
        let refused = instance.command(words, &["app:1"]).fails(1);
        assert!(refused.contains("makes no sense: a tag is at most"), "{refused}");
    }
}

#[test]
fn a_snapshot_lies_in_the_data_directory_and_nowhere_else() {
    let instance = rested();
    listen(&instance, |_, mut stream| {
        let answer = "{\"done\":{\"name\":\"../elsewhere.db\",\"is_copy\":true}}";
        writeln!(stream, "{answer}").expect("somebody reads");
    });
    let directory = instance.root().join("backup");
    let directory = directory.to_str().expect("a path in UTF-8");
    let refused = instance.command(&["backup", "--same-file-system"], &[directory]).fails(1);
    assert_eq!(refused, "registry: the running server's answer makes no sense\n");
}

#[test]
fn a_pipe_in_the_place_of_the_first_password_is_not_waited_for() {
    let instance = rested();
    let path = instance.data().join("init-password");
    std::fs::remove_file(&path).expect("the password goes");
    run(Command::new("mkfifo").arg(&path)).ok();
    instance.command_with_input(&["user", "passwd"], &[USER], PASSWORD).ok();
}

/// A registry that no server runs of.
fn rested() -> Instance {
    let mut instance = Instance::started();
    instance.stop();
    instance
}

/// Takes the place of its server, and answers each command so.
fn listen(instance: &Instance, answer: impl Fn(&str, UnixStream) + Send + 'static) {
    let listener = UnixListener::bind(instance.data().join("registry.sock")).expect("a socket");
    // It ends with the test.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a command");
            let mut command = String::new();
            BufReader::new(&stream).read_line(&mut command).expect("a line");
            answer(&command, stream);
        }
    });
}

const PROGRESS: &str = "{\"progress\":{\"task\":\"looking\",\"done\":1,\"total\":null}}";
const REMOVED: &str = "{\"done\":{\"image\":\"app:1\",\"repository\":\"app\",\
    \"dry_run\":false,\"tags\":[\"app:1; id\"],\"tag_count\":1,\"manifests\":[],\
    \"manifest_count\":0,\"blobs\":0,\"blob_bytes\":0,\"kept_by\":null,\"sparse\":[]}}";
const TAGS: &str = "{\"done\":{\"entries\":[{\"tag\":\"1\\u001b[2J\",\"digest\":\"sha256:\
    e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\",\"protected\":false}],\
    \"next\":null}}";
const MANIFEST: &str = "{\"done\":{\"repository\":\"app\",\"digest\":\"sha256:\
    e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\",\
    \"media_type\":\"1\\u001b[2J\\u009b1m\",\"size\":1,\"pushed_at\":0,\"is_lost\":false,\
    \"tags\":[],\"signatures\":[]}}";
