//! The log: who was refused and why, who pushed and mounted what, no more lines than are good for a
//! disk, and what systemd's journal wants of a line.

use std::fs;
use std::io::Read;

use registry_server::limits::Limits;

use crate::support::binary::{Instance, PASSWORD, USER};
use crate::support::content::{Manifest, push_blob, push_image, sha256};
use crate::support::http::{Client, basic};
use crate::support::process::wait_until;

/// Waits for a line of the log that has all of this in it.
#[track_caller]
fn line_with(instance: &Instance, parts: &[&str]) -> String {
    let mut found = None;
    wait_until(&format!("a line with {parts:?}"), || {
        let log = instance.errors();
        found = log
            .lines()
            .find(|line| parts.iter().all(|part| line.contains(part)))
            .map(str::to_owned);
        found.is_some()
    });
    found.expect("a line")
}

fn as_user(client: &Client, user: &str, password: &str) -> Client {
    client.with_login(Some((user, password)))
}

#[test]
fn logins_that_fail_are_logged_with_the_user_and_why() {
    let instance = Instance::started();
    let client = instance.client();
    for (user, password, name, reason) in [
        (USER, "wrong password", "user=\"init\"", "the password is wrong"),
        ("nobody", PASSWORD, "user=\"nobody\"", "there is no such user"),
        // What may be a password in the wrong field is not repeated.
        ("no user name!", PASSWORD, "user=\"-\"", "what came as a name is none"),
        ("line\nbreak", PASSWORD, "user=\"-\"", "what came as a name is none"),
    ] {
        as_user(&client, user, password).get("/v2/").expect(401);
        let line = line_with(&instance, &["a login failed", name, reason]);
        assert!(line.contains("WARN") && line.contains("address=127.0.0.1"), "{line}");
    }
    client.with_authorization(Some("Bearer secret".into())).get("/v2/").expect(401);
    line_with(&instance, &["a login failed", "what came is no Basic login"]);
    // Who sends no login is asked for one, and that is all.
    client.with_login(None).get("/v2/").expect(401);
    let log = instance.errors();
    assert_eq!(log.matches("a login failed").count(), 5, "{log}");
    for secret in ["wrong password", PASSWORD, "secret", "no user name", &basic(USER, PASSWORD)] {
        assert!(!log.contains(secret), "{secret}");
    }
}

#[test]
fn what_is_denied_is_logged_with_the_user_and_why() {
    let instance = Instance::started();
    let client = instance.client();
    push_image(&client, "a", "1", b"layer");
    instance.command(&["tag", "protect"], &["a:1"]).ok();
    instance.add_user("reader", "pull");
    let reader = as_user(&client, "reader", PASSWORD);
    reader.request("POST", "/v2/a/blobs/uploads/", &[], b"").expect(403);
    let parts = ["denied", "user=\"reader\"", "method=POST", "path=\"/v2/a/blobs/uploads/\""];
    let line = line_with(&instance, &parts);
    assert!(line.contains("WARN") && line.contains("peer=127.0.0.1:"), "{line}");
    assert!(line.contains("the role of this user is pull, which may not push"), "{line}");
    reader.delete("/v2/a/manifests/1").expect(403);
    line_with(&instance, &["denied", "user=\"reader\"", "method=DELETE", "may not delete"]);
    client.delete("/v2/a/manifests/1").expect(403);
    line_with(&instance, &["denied", "user=\"init\"", "the tag a:1 is protected"]);
}

#[test]
fn what_is_pushed_and_mounted_is_logged_with_the_user() {
    let instance = Instance::started();
    let client = instance.client();
    instance.add_user("writer", "push");
    let writer = as_user(&client, "writer", PASSWORD);
    let digest = push_blob(&writer, "a", b"layer");
    let digest_part = format!("digest=\"{digest}\"");
    let by = "user=\"writer\"";
    let line = line_with(&instance, &["method=POST", by, &digest_part]);
    assert!(line.contains("INFO") && line.contains("status=201"), "{line}");
    assert!(line.contains("path=\"/v2/a/blobs/uploads/\"") && line.contains("pushed"), "{line}");
    let mount = |query: &str| {
        let path = format!("/v2/team/b/blobs/uploads/?mount={digest}{query}");
        writer.request("POST", &path, &[], b"")
    };
    mount("&from=a").expect(201);
    line_with(&instance, &["method=POST", by, &digest_part, "mounted from a"]);
    // An upload that only begins has changed nothing.
    let path = format!("/v2/c/blobs/uploads/?mount={}&from=a", sha256(b"absent"));
    let location = writer.request("POST", &path, &[], b"").expect(202).location();
    let closing = format!("{location}?digest={digest}");
    writer.request("PUT", &closing, &[], b"layer").expect(201);
    line_with(&instance, &["method=PUT", by, &digest_part]);
    push_blob(&writer, "a", b"{}");
    let image = Manifest::image(b"{}", b"layer");
    image.put(&writer, "a", "1").expect(201);
    line_with(&instance, &["method=PUT", by, &format!("digest=\"{}\"", image.digest())]);
    assert!(!instance.errors().contains("/v2/c/blobs/uploads/\" status=202"));
}

#[test]
fn an_attack_fills_no_disk_with_lines_and_what_is_left_out_is_counted() {
    const REQUESTS: usize = 500;
    let mut instance = Instance::started();
    let client = instance.client();
    instance.add_user("reader", "pull");
    let reader = as_user(&client, "reader", PASSWORD);
    let guesser = client.with_authorization(Some("Basic x".into()));
    let push = format!("/v2/a/blobs/uploads/?digest={}", sha256(b"x"));
    let endless = client.head_of("POST", &push, &[("Content-Length", "100000000000000000")]);
    for _ in 0..REQUESTS {
        let mut connection = client.connect();
        connection.send(&endless);
        connection.response("POST").expect(507);
        guesser.get("/v2/").expect(401);
        reader.request("POST", "/v2/a/blobs/uploads/", &[], b"").expect(403);
    }
    instance.stop();
    let log = instance.errors();
    // Another minute may have begun meanwhile.
    let most = Limits::default().refusal_lines_per_minute;
    for (line, about) in [
        ("a login failed", "logins that failed"),
        ("a request was denied", "requests that were denied"),
        ("a request failed", "pushes for which there was no room"),
    ] {
        let told = log.matches(line).count();
        let left_out = log.lines().filter(|line| line.contains(about));
        let left_out = left_out.map(|line| {
            let (_, count) = line.split_once("left_out=").expect("a number");
            count.trim().parse::<usize>().expect("a number")
        });
        let minutes = left_out.clone().count().max(1);
        assert!(told >= most && told <= most * (minutes + 1), "{told} times {line}");
        assert_eq!(told + left_out.sum::<usize>(), REQUESTS, "{about}: {log}");
    }
    assert!(log.len() < 200_000, "{} bytes", log.len());
}

/// A server whose log goes to a stream that systemd says is the journal's, unless it says so of
/// another one.
fn in_the_journal(stream: &str) -> Instance {
    Instance::new().with_variable("JOURNAL_STREAM", stream)
}

#[test]
fn the_journal_gets_priorities_and_no_time() {
    // The shell that sets the variable has the same standard error as the server.
    let mut instance = in_the_journal("$(stat -L -c %d:%i /proc/self/fd/2)");
    instance.start();
    let client = instance.client();
    as_user(&client, USER, "wrong password").get("/v2/").expect(401);
    push_blob(&client, "a", b"layer");
    instance.stop();
    let log = instance.errors();
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines.iter().any(|line| line.starts_with("<4>") && line.contains("a login failed")));
    assert!(lines.iter().any(|line| line.starts_with("<6>") && line.contains("method=POST")));
    for line in lines {
        let rest = line.strip_prefix('<').and_then(|line| line.split_once('>'));
        let (priority, rest) = rest.unwrap_or_else(|| panic!("{line}"));
        assert!(["3", "4", "6", "7"].contains(&priority), "{line}");
        // A time begins with a year.
        assert!(!rest.trim_start().starts_with("20"), "{line}");
    }
}

#[test]
fn a_stream_that_is_not_the_journals_gets_times_and_no_priorities() {
    for stream in ["$(stat -L -c %d:%i /)", "1:2:3", "x", ""] {
        let mut instance = in_the_journal(stream);
        instance.start();
        as_user(&instance.client(), USER, "wrong password").get("/v2/").expect(401);
        let line = line_with(&instance, &["a login failed"]);
        assert!(line.starts_with("20"), "{line}");
        instance.stop();
    }
}

#[test]
fn what_a_service_says_last_is_an_error_in_the_journal() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let log = directory.path().join("log");
    let script = "exec 2>\"$1\"; export JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2); \
                  exec \"$2\" serve --existing --data-dir \"$3\" --listen 127.0.0.1:0";
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(&log);
    shell.arg(crate::support::binary::program()).arg(directory.path().join("absent"));
    crate::support::process::run(&mut shell).fails(1);
    let mut said = String::new();
    fs::File::open(&log).expect("the log").read_to_string(&mut said).expect("text");
    assert!(said.starts_with("<3>registry: ") && said.contains("holds no registry"), "{said}");
}
