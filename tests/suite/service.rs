//! The server as a service of systemd: what it tells the manager, what it does while a disk or the
//! log stalls, and what it says when its file system is missing.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;

use rustix::io::ioctl_fionread;

use crate::support::binary::{Instance, PASSWORD, program, registry};
use crate::support::clients::Curl;
use crate::support::disk::{OwnDisk, SmallDisk};
use crate::support::images::{noise, sha256};
use crate::support::notify::Manager;
use crate::support::process::{run, wait_until};
use crate::support::report::skip;

const MORE_TIME: &str = "EXTEND_TIMEOUT_USEC=60000000";
const ALIVE: &str = "WATCHDOG=1";
const OCTETS: &str = "application/octet-stream";

#[test]
fn the_manager_hears_when_the_server_is_ready_that_it_lives_and_when_it_stops() {
    let (mut instance, manager) = watched(Instance::new());
    instance.begin();
    manager.wait_for("READY=1", 1);
    let address = format!("listening on https://{}", instance.address());
    assert!(instance.output().lines().any(|line| line == address), "{}", instance.output());
    let ready = format!("READY=1\nSTATUS={address}\n");
    assert!(manager.messages().contains(&ready), "{:?}", manager.messages());
    Curl::of(&instance).request("GET", "/v2/").expect(200);
    manager.wait_for(ALIVE, manager.count(ALIVE) + 3);
    assert_eq!(manager.count("STOPPING=1"), 0);
    instance.stop();
    manager.wait_for("STOPPING=1", 1);
    assert_eq!(manager.count("READY=1"), 1);
}

#[test]
fn a_watchdog_for_another_process_is_not_fed() {
    let instance = Instance::new().with_variable("WATCHDOG_USEC", "3000");
    let instance = instance.with_variable("WATCHDOG_PID", "1");
    let manager = Manager::listen();
    let mut instance =
        instance.with_variable("NOTIFY_SOCKET", &manager.address().display().to_string());
    instance.start();
    instance.stop();
    manager.wait_for("STOPPING=1", 1);
    // The start alone lasted for many times 3 ms.
    assert_eq!(manager.count(ALIVE), 0);
}

#[test]
fn a_start_that_waits_asks_for_time_and_says_for_what() {
    let mut first = Instance::started();
    let (mut second, manager) = watched(Instance::new().with_data(first.data().to_owned()));
    second.begin();
    let holder = format!("process {} (registry serve)", first.pid());
    let status = format!("STATUS=waiting for {holder}, which owns the data directory");
    manager.wait_for(&status, 1);
    let asked = |manager: &Manager| {
        let alone = format!("{MORE_TIME}\n");
        manager.messages().iter().filter(|message| **message == alone).count()
    };
    wait_until("it asks for time again", || asked(&manager) >= 2);
    assert_eq!(manager.count("READY=1"), 0);
    first.stop();
    manager.wait_for("READY=1", 1);
}

#[test]
fn a_disk_that_stalls_kills_nobody_and_costs_no_push() {
    const PUSHES: u8 = 6;
    const READS: u8 = 4;
    let Some(disk) = OwnDisk::mount() else {
        skip("this machine lets nobody mount a disk to stall");
        return;
    };
    let (mut instance, manager) = watched(Instance::new().with_data(disk.path().join("data")));
    instance.start();
    let (curl, content) = (Curl::of(&instance), noise(1, 2 << 20));
    curl.request("GET", "/v2/").expect(200);
    let (first, rest) = content.split_at(content.len() / 2);
    let mut stream = curl.stream(&curl.begin_upload("stalled"));
    let mut send = |bytes| stream.stdin.as_mut().expect("a pipe").write_all(bytes);
    send(first).expect("the server reads");
    thread::scope(|scope| {
        // Inside, so that whatever fails here, those who wait for the disk end.
        let stall = disk.stall();
        let curl = &curl;
        let push = |number: u8| scope.spawn(move || push(curl, &noise(number.into(), 100_000)));
        let pushes: Vec<_> = (0..PUSHES).map(push).collect();
        let command = scope.spawn(|| instance.add_user("late", "pull"));
        // Whether these wait is the database's affair; that others do not is ours.
        let read = |_| scope.spawn(|| drop(curl.request("GET", "/v2/_catalog").expect(200)));
        let reads: Vec<_> = (0..READS).map(read).collect();
        send(rest).expect("the server reads");
        // Each push, the upload that went on, and the one thread that writes to the database.
        let waiting = usize::from(PUSHES) + 2;
        wait_until("all of them wait", || instance.threads_on_disk() >= waiting);
        manager.wait_for(ALIVE, manager.count(ALIVE) + 10);
        assert_eq!(curl.request("GET", "/healthz").expect(200).body, br#"{"status":"ok"}"#);
        curl.request("GET", "/v2/").expect(200);
        assert!(pushes.iter().all(|push| !push.is_finished()) && !command.is_finished());
        drop(stall);
        reads.into_iter().for_each(|read| read.join().expect("an answer"));
        for push in pushes {
            let digest = push.join().expect("an acknowledged push");
            let path = format!("/v2/stalled/blobs/{digest}");
            assert_eq!(sha256(&curl.request("GET", &path).expect(200).body), digest);
        }
    });
    assert_eq!(Curl::end_of_stream(stream).expect(202).offset(), content.len() as u64);
    Curl::with_login(&instance, "late", PASSWORD).request("GET", "/v2/").expect(200);
    instance.stop();
}

#[test]
fn what_an_upload_sent_before_it_rests_is_written_as_soon_as_there_is_a_thread() {
    let Some(disk) = OwnDisk::mount() else {
        skip("this machine lets nobody mount a disk to stall");
        return;
    };
    // So few that there is one thread for writes.
    let mut instance = Instance::new().with_data(disk.path().join("data")).with_open_files(68);
    instance.start();
    let curl = Curl::of(&instance);
    let uploads = [(); 3].map(|()| curl.begin_upload("resting"));
    let mut streams = uploads.each_ref().map(|location| curl.stream(location));
    // As much as is written at once: nobody waits for more of it.
    let content = noise(2, 1 << 20);
    let port = format!("( sport = :{} )", instance.port());
    let is_read = || {
        let mut ss = Command::new("ss");
        ss.args(["--tcp", "--no-header", "--numeric", "state", "established"]);
        let told = run(ss.arg(&port)).ok();
        told.lines().all(|line| line.split_whitespace().next() == Some("0"))
    };
    thread::scope(|scope| {
        let stall = disk.stall();
        for stream in &mut streams {
            let pipe = stream.stdin.as_mut().expect("a pipe");
            let content = &content;
            let sent = scope.spawn(move || pipe.write_all(content).map(|()| pipe.flush()));
            wait_until("it is sent", || sent.is_finished());
            wait_until("it waits", || instance.threads_on_disk() >= 1 && is_read());
        }
        drop(stall);
    });
    // The sources send no more meanwhile.
    for location in &uploads {
        wait_until("what came is in the session", || {
            curl.request("GET", location).expect(204).offset() == content.len() as u64
        });
    }
    for stream in streams {
        assert_eq!(Curl::end_of_stream(stream).expect(202).offset(), content.len() as u64);
    }
    instance.stop();
}

#[test]
fn a_log_that_nobody_reads_holds_nobody_up() {
    const REQUESTS: usize = 40;
    const LINE_BYTES: u64 = 30_000;
    let (mut log, pipe) = io::pipe().expect("a pipe");
    let instance = Instance::new().with_log_pipe(pipe).with_flags(&["--log-level", "debug"]);
    let (mut instance, manager) = watched(instance);
    instance.start();
    let curl = Curl::of(&instance);
    // Each leaves two long lines: more than the pipe takes, and more than waits for it.
    let requests = thread::spawn(move || {
        for _ in 0..REQUESTS {
            curl.request("GET", &format!("/{}", "x".repeat(LINE_BYTES as usize))).expect(404);
        }
    });
    wait_until("all are answered", || requests.is_finished());
    requests.join().expect("each with 404");
    // It takes 64 KiB, in pages of which each write begins another one.
    let left = (64 << 10) - ioctl_fionread(&log).expect("its fill");
    assert!(left < LINE_BYTES, "the log is not full: {left} bytes are left");
    manager.wait_for(ALIVE, manager.count(ALIVE) + 3);

    let reading = thread::spawn(move || {
        let mut text = String::new();
        log.read_to_string(&mut text).map(|_| text)
    });
    instance.stop();
    let text = reading.join().expect("no panic").expect("text");
    assert!(text.contains("the log was not read in time; lines that are missing here: "));
    // What is said last is there, although the process ended with it.
    assert!(text.contains(" stopped\n"), "{}", &text[text.len().saturating_sub(200)..]);
}

#[test]
fn a_missing_mount_is_named_and_nothing_is_written() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("mounted/registry");
    let before = directory.path().join("mounted");
    fs::create_dir(&before).expect("a directory");
    let data = data.to_str().expect("a path in UTF-8");
    let refusal = |mount: &str| {
        let start = ["serve", "--existing", "--data-dir", data, "--listen", "127.0.0.1:0"];
        let refused = registry(&[&start[..], &["--data-mount", mount]].concat()).fails(1);
        assert_eq!(fs::read_dir(&before).expect("a directory").count(), 0, "{mount}");
        refused
    };
    let before = before.to_str().expect("a path in UTF-8");
    assert_eq!(
        refusal(before),
        format!(
            "registry: {data} holds no registry. It was installed on the file system mounted at \
             {before}: mount it, and the service starts by itself\n"
        )
    );
    let hidden = refusal("/");
    assert!(hidden.contains("mounted at /") && hidden.contains("hides it"), "{hidden}");
}

#[test]
fn a_registry_whose_disk_is_mounted_again_starts_again() {
    let Some(disk) = SmallDisk::mount() else {
        skip("this machine lets nobody mount a small disk");
        return;
    };
    let mount = disk.path().to_str().expect("a path in UTF-8").to_owned();
    let flags = ["--existing", "--data-mount", &mount];
    let mut instance = Instance::new().with_data(disk.path().to_owned());
    instance.start();
    instance.stop();
    let mut instance = Instance::new().with_data(disk.path().to_owned()).with_flags(&flags);
    instance.start();
    instance.stop();
    // Another mount hides it, as an unmounted one would: root's own empty directory.
    run(Command::new("mount").args(["-t", "tmpfs", "-o", "mode=755", "over"]).arg(&mount)).ok();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let binary = directory.path().join("registry");
    fs::copy(program(), &binary).expect("a copy that anybody can run");
    for path in [directory.path(), &binary] {
        fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("an own file");
    }
    // The service's user, to whom the directory does not belong then.
    let mut serve = Command::new(&binary);
    serve.uid(12345).gid(12345).args(["serve", "--data-dir", &mount]).args(flags);
    let refused = run(&mut serve).fails(1);
    let is_empty = fs::read_dir(&mount).expect("a directory").next().is_none();
    run(Command::new("umount").arg(&mount)).ok();
    assert!(refused.contains(&format!("{mount} holds no registry")), "{refused}");
    assert!(refused.contains("hides it"), "{refused}");
    assert!(is_empty, "something was written");
    instance.start();
}

/// An instance that is a service, and the manager that it talks to.
fn watched(instance: Instance) -> (Instance, Manager) {
    let manager = Manager::listen();
    let instance =
        instance.with_variable("NOTIFY_SOCKET", &manager.address().display().to_string());
    let instance = instance.with_variable("WATCHDOG_PID", "$$");
    (instance.with_variable("WATCHDOG_USEC", "300000"), manager)
}

/// Pushes a blob and returns its digest.
fn push(curl: &Curl, blob: &[u8]) -> String {
    let digest = sha256(blob);
    let path = format!("/v2/stalled/blobs/uploads/?digest={digest}");
    curl.send("POST", &path, OCTETS, blob).expect(201);
    digest
}
