//! Numbers that are larger than anything: refused with a sentence or taken for what they are, and
//! never wrapped around into small ones.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use oci::MediaType;
use serde_json::{Value, json};

use crate::support::binary::{Instance, registry};
use crate::support::content::{
    CONFIG, LAYER, Manifest, OCTETS, begin_upload, descriptor, push_blob,
};
use crate::support::server::Server;

/// Each has overflown something somewhere.
const LARGE: [u64; 4] = [u64::MAX, u64::MAX - 1, 1 << 63, i64::MAX as u64];

#[test]
fn no_time_that_a_person_gives_is_longer_than_100_years() {
    let instance = Instance::started();
    let too_long = "no time may be longer than 36500 days";
    for flag in ["--grace", "--undo-time", "--untagged-after", "--uploads-after"] {
        let said = instance.command(&["gc"], &[flag, "18446744073709551615s"]).fails(2);
        assert!(said.contains(too_long), "{said}");
        instance.command(&["gc"], &["--dry-run", flag, "36500d"]).ok();
    }
    let file = instance.root().join("registry.toml");
    let file_path = file.to_str().expect("a path of text");
    for setting in ["gc-grace", "gc-interval", "gc-untagged-after", "undo-time", "scrub-interval"] {
        fs::write(&file, format!("{setting} = '18446744073709551615s'")).expect("a file");
        let said = registry(&["config", "--config", file_path]).fails(2);
        assert!(said.contains(too_long), "{setting}: {said}");
        let flag = format!("--{setting}");
        let said = registry(&["config", &flag, "101years"]).fails(2);
        assert!(said.contains(too_long), "{setting}: {said}");
    }
    // Who speaks to the socket is told so too.
    for seconds in LARGE {
        let mut socket = UnixStream::connect(instance.data().join("registry.sock")).expect("it");
        let arguments = json!({ "dry_run": true, "grace": format!("{seconds}s") });
        let command = json!({ "command": "collect", "arguments": arguments });
        writeln!(socket, "{command}").expect("a command");
        let mut answer = String::new();
        BufReader::new(socket).read_line(&mut answer).expect("an answer");
        assert!(answer.contains(too_long), "{answer}");
    }
}

#[test]
fn headers_with_the_largest_numbers_are_answered() {
    let server = Server::start();
    let client = server.administrator();
    let blob = push_blob(&client, "a", b"a blob");
    let upload = begin_upload(&client, "a");
    for large in LARGE {
        for range in [format!("0-{large}"), format!("{large}-{large}"), format!("1-{large}")] {
            let headers = [OCTETS, ("Content-Range", range.as_str())];
            let answer = client.request("PATCH", &upload, &headers, b"x");
            assert!(matches!(answer.status, 400 | 416 | 507), "{range}: {answer:?}");
        }
        let path = format!("/v2/a/blobs/{blob}");
        let get = |range: &str| client.request("GET", &path, &[("Range", range)], b"");
        assert_eq!(get(&format!("bytes=0-{large}")).expect(206).body, b"a blob");
        assert_eq!(get(&format!("bytes=-{large}")).expect(206).body, b"a blob");
        assert_eq!(get(&format!("bytes={large}-")).status, 416);
        let both = get(&format!("bytes=0-{large},1-{large}"));
        assert!(matches!(both.status, 200 | 206 | 416), "{both:?}");
        for list in ["/v2/_catalog", "/v2/a/tags/list"] {
            client.get(&format!("{list}?n={large}")).expect(200);
        }
        // A length of this size is refused without a byte of it, or does not parse.
        let mut connection = client.connect();
        let length = large.to_string();
        connection.send(client.head_of("PATCH", &upload, &[("Content-Length", &length)]));
        let answer = connection.response("PATCH");
        assert!(matches!(answer.status, 400 | 431 | 507), "{large}: {answer:?}");
    }
    client.get("/healthz").expect(200);
}

#[test]
fn a_manifest_may_say_any_size_and_is_shown_all_the_same() {
    let instance = Instance::started();
    let client = instance.client();
    let blobs = [&b"{}"[..], b"one", b"two"];
    let of_any_size = |kind, bytes: &[u8]| -> Value {
        push_blob(&client, "a", bytes);
        let mut entry = descriptor(kind, bytes);
        entry["size"] = json!(u64::MAX);
        entry
    };
    let document = json!({
        "config": of_any_size(CONFIG, blobs[0]),
        "layers": [of_any_size(LAYER, blobs[1]), of_any_size(LAYER, blobs[2])],
    });
    let image = Manifest::new(MediaType::OCI_MANIFEST, document);
    image.put(&client, "a", "1").expect(201);
    assert!(instance.command(&["inspect"], &["a:1"]).ok().contains("16384.0 PiB"));
    instance.command(&["rm"], &["a:1", "--dry-run"]).ok();
    instance.command(&["rm"], &["a", "--all"]).ok();
    instance.command(&["gc"], &["--grace", "0s", "--undo-time", "0s"]).ok();
}
