//! The host's clock jumps, and nothing ages for it; the registry is stopped again and again, and
//! what nothing needs goes even so.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::support::binary::Instance;
use crate::support::clients::Curl;
use crate::support::images::{Family, Image, sha256};
use crate::support::process::{run, wait_gently_until};

const OCTETS: &str = "application/octet-stream";
const HOUR: i64 = 3600;
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

#[test]
fn a_clock_that_is_days_ahead_for_a_while_takes_nothing_away() {
    jump_and_look(100 * 24 * HOUR);
}

#[test]
fn a_clock_that_is_behind_for_a_while_takes_nothing_away() {
    // With one that lies before its certificates a registry does not start.
    jump_and_look(-HOUR / 2);
}

/// Lets the server run once with a clock that is wrong by so many seconds, and checks that all is
/// there that was to stay for a time.
fn jump_and_look(seconds: i64) {
    let instance = Instance::new().with_flags(&["--gc-untagged-after", "30d"]);
    let wall = Wall::of(&instance);
    let mut instance = wall.give(instance.with_flags(&["--gc-interval", "1h"]));
    instance.start();
    if !wall.is_of(&instance) {
        eprintln!("skipped: this program is static, and takes no other clock than the host's");
        return;
    }
    let curl = Curl::of(&instance);
    let [gone, moved] = [&b"gone"[..], b"moved"].map(|text| push(&curl, text));
    let untagged = br#"{"schemaVersion":2,"manifests":[]}"#;
    let untagged_path = format!("/v2/app/manifests/{}", sha256(untagged));
    curl.send("PUT", &untagged_path, INDEX, untagged).expect(201);
    tag(&curl, "gone", &gone);
    tag(&curl, "moved", &gone);
    tag(&curl, "moved", &moved);
    curl.request("DELETE", &format!("/v2/app/manifests/{}", gone.manifest.digest())).expect(202);
    let upload = curl.begin_upload("app");
    curl.send("PATCH", &upload, OCTETS, b"half of it").expect(202);
    gc(&instance, &[]);
    instance.stop();

    wall.set(seconds);
    instance.start();
    // What a start does by itself, and what a collection does then.
    let done = gc(&instance, &["--grace", "1h"]);
    for key in ["uploads", "deleted_manifests", "untagged_manifests", "tag_changes", "blobs"] {
        assert_eq!(done[key], 0, "{key}: {done}");
    }
    instance.stop();

    wall.set(0);
    instance.start();
    let curl = Curl::of(&instance);
    curl.request("GET", &untagged_path).expect(200);
    assert_eq!(curl.request("GET", &upload).expect(204).offset(), 10);
    let history = instance.command(&["tag", "history"], &["app"]).ok();
    assert_eq!(history.lines().count(), 4, "{history}");
    instance.command(&["tag", "restore"], &["app:gone"]).ok();
    curl.request("GET", "/v2/app/manifests/gone").expect(200);
    instance.stop();
}

#[test]
fn a_registry_that_is_stopped_again_and_again_collects_and_keeps_what_it_promised() {
    let mut instance = Instance::started();
    let curl = Curl::of(&instance);
    let told = Image::new(Family::Oci, "amd64", b"told");
    let forgotten = blob(&curl, b"nobody asked for it");
    let promised = [&told.layer, &told.config].map(|content| blob(&curl, content));
    // No process lives for the grace time, and each but the last is stopped in order.
    let mut rounds = 0;
    loop {
        promised.iter().for_each(|path| drop(curl.request("HEAD", path).expect(200)));
        let left = wait_of(&gc(&instance, &GRACE));
        if left == 0 {
            break;
        }
        wait_gently_until("a second passes", || wait_of(&gc(&instance, &GRACE)) < left);
        instance.stop();
        // A command opens the store by itself, and leaves it as a server does.
        gc(&instance, &GRACE);
        instance.start();
        rounds += 1;
        assert!(rounds < 60, "it never collects");
    }
    assert!(rounds >= 3, "{rounds} stops are too few for this test");
    wait_gently_until("the old blob goes", || {
        gc(&instance, &GRACE);
        curl.request("GET", &forgotten).status == 404
    });
    instance.stop();
    instance.start();
    gc(&instance, &GRACE);
    let manifest = &told.manifest;
    curl.send("PUT", "/v2/app/manifests/1", manifest.media_type, &manifest.bytes).expect(201);

    // After a crash nobody knows what was told.
    assert_eq!(wait_of(&gc(&instance, &GRACE)), 0);
    instance.kill();
    instance.start();
    assert!(wait_of(&gc(&instance, &GRACE)) > 0);
    instance.stop();
}

/// So long that several processes have to share it.
const GRACE: [&str; 2] = ["--grace", "6s"];

/// How many seconds are left until blobs may go.
fn wait_of(done: &Value) -> u64 {
    done["blobs_wait_seconds"].as_u64().expect("a number")
}

fn gc(instance: &Instance, flags: &[&str]) -> Value {
    let flags = [flags, &["--json"]].concat();
    serde_json::from_str(&instance.command(&["gc"], &flags).ok()).expect("JSON")
}

fn blob(curl: &Curl, content: &[u8]) -> String {
    let digest = sha256(content);
    let uploads = format!("/v2/app/blobs/uploads/?digest={digest}");
    curl.send("POST", &uploads, OCTETS, content).expect(201);
    format!("/v2/app/blobs/{digest}")
}

fn push(curl: &Curl, text: &[u8]) -> Image {
    let image = Image::new(Family::Oci, "amd64", text);
    for content in [&image.layer, &image.config] {
        blob(curl, content);
    }
    image
}

fn tag(curl: &Curl, name: &str, Image { manifest, .. }: &Image) {
    let path = format!("/v2/app/manifests/{name}");
    curl.send("PUT", &path, manifest.media_type, &manifest.bytes).expect(201);
}

/// The clock of a server's host, which a test sets: a library that stands before the system's.
struct Wall {
    library: PathBuf,
    offset: PathBuf,
}

impl Wall {
    /// Makes it beside an instance.
    fn of(instance: &Instance) -> Self {
        let [source, library, offset] =
            ["wall.c", "wall.so", "offset"].map(|name| instance.root().join(name));
        fs::write(&source, SOURCE).expect("a source");
        run(Command::new("gcc").args(["-shared", "-fPIC", "-o"]).args([&library, &source])).ok();
        let wall = Self { library, offset };
        wall.set(0);
        wall
    }

    /// Gives it to the server.
    fn give(&self, instance: Instance) -> Instance {
        let offset = self.offset.display().to_string();
        let instance = instance.with_variable("WALL_OFFSET", &offset);
        instance.with_variable("LD_PRELOAD", &self.library.display().to_string())
    }

    /// Whether the server runs with it.
    fn is_of(&self, instance: &Instance) -> bool {
        let maps = fs::read_to_string(format!("/proc/{}/maps", instance.pid()));
        maps.expect("what the server has loaded").contains("wall.so")
    }

    /// By how many seconds it is wrong, from the next start on.
    fn set(&self, seconds: i64) {
        fs::write(&self.offset, seconds.to_string()).expect("a file");
    }
}

const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long offset;

__attribute__((constructor)) static void read_offset(void) {
    char text[32] = {0};
    const char *path = getenv("WALL_OFFSET");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0 && read(file, text, sizeof text - 1) > 0) offset = atol(text);
    if (file >= 0) close(file);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && clock == CLOCK_REALTIME) time->tv_sec += offset;
    return result;
}
"#;
