//! What others wrote, on a terminal and in the log: nothing of it is obeyed, hidden or taken for a
//! line of ours.

use std::fs;

use oci::MediaType;
use serde_json::{Value, json};

use crate::support::binary::{Instance, registry};
use crate::support::content::{Manifest, descriptor, push_blob};
use crate::support::http::{Client, basic};
use crate::support::process::{Run, wait_until};

/// What a terminal obeys or hides, of each kind: C0, DEL, C1, direction, width, line ends.
const NASTY: &str = "a\u{1b}[31m\nFORGED\r\u{7}\u{7f}\u{9b}2J\u{202e}\u{2066}\u{200f}\u{200b}\
                     \u{200d}\u{feff}\u{ad}\u{2028}\u{e0041}z";

/// Checks that nothing of that is there as it was, and something of it as it is told.
#[track_caller]
fn assert_harmless(what: &str, text: &str) {
    let is_bad = |c: &char| NASTY.contains(*c) && !c.is_ascii_graphic() && *c != '\n';
    let bad: Vec<char> = text.chars().filter(is_bad).collect();
    assert!(bad.is_empty(), "{what}: {bad:?} in {text:?}");
    let forged = text.lines().find(|line| line.trim_start().starts_with("FORGED"));
    assert_eq!(forged, None, "{what}: {text:?}");
}

/// An image, a list, a referrer and a cosign tag whose texts are as nasty as may be.
fn push(client: &Client) {
    push_blob(client, "app", b"{}");
    push_blob(client, "app", b"layer");
    let annotations = json!({ NASTY: NASTY });
    let odd = |kind: &str, bytes: &[u8]| {
        let mut odd = descriptor(kind, bytes);
        odd["annotations"] = annotations.clone();
        odd["platform"] = json!({ "os": NASTY, "architecture": NASTY, "variant": NASTY });
        odd["size"] = json!(7);
        odd
    };
    let document = json!({
        "config": odd(NASTY, b"{}"), "layers": [odd(NASTY, b"layer")],
        "artifactType": NASTY, "annotations": annotations,
    });
    let image = Manifest::new(MediaType::OCI_MANIFEST, document);
    image.put(client, "app", "1").expect(201);
    let document = json!({ "manifests": [odd(NASTY, &image.bytes), odd(NASTY, b"absent")] });
    Manifest::new(MediaType::OCI_INDEX, document).put(client, "app", "list").expect(201);
    let document = json!({
        "manifests": [], "artifactType": NASTY, "annotations": annotations,
        "subject": image.descriptor(),
    });
    Manifest::new(MediaType::OCI_INDEX, document).put(client, "app", "referrer").expect(201);
}

#[test]
fn what_clients_sent_is_printed_as_text_and_as_json_that_means_the_same() {
    let instance = Instance::started();
    push(&instance.client());
    for words in [["inspect", "app:1"], ["inspect", "app:list"], ["ls", "app"]] {
        let printed = instance.command(&words[..1], &words[1..]).ok();
        assert_harmless(&words.join(" "), &printed);
        let json = instance.command(&words[..1], &[words[1], "--json"]).ok();
        assert_harmless(&format!("{} --json", words.join(" ")), &json);
        let document: Value = serde_json::from_str(&json).expect("JSON");
        if words[1] == "app:1" {
            assert_eq!(document["image"]["parts"][0]["media_type"], NASTY);
            assert_eq!(document["image"]["referrers"][0]["artifact_type"], NASTY);
            // It is told, and not left out.
            assert!(printed.contains("a\\u001b[31m\\nFORGED\\r\\u0007\\u007f\\u009b2J\\u202e"));
        }
    }
    for words in ["verify", "status", "gc"] {
        assert_harmless(words, &instance.command(&[words], &[]).ok());
    }
}

#[test]
fn what_inspect_prints_is_cut_with_a_mark_and_what_it_writes_as_json_is_not() {
    let instance = Instance::started();
    let client = instance.client();
    let long = format!("a/{}", "t".repeat(300));
    let of = |platform: Value| {
        let mut child = descriptor(&long, b"absent");
        child["platform"] = platform;
        child
    };
    let document = json!({ "manifests": [
        of(json!({ "os": "linux/arm64", "architecture": "v8" })),
        of(json!({ "os": "linux", "architecture": "arm64", "variant": "v8" })),
        of(json!({ "os": "o".repeat(300), "architecture": "" })),
        of(json!({ "os": 7, "variant": null, "os.version": "1" })),
        of(json!("of no kind")),
    ] });
    let index = Manifest::new(MediaType::OCI_INDEX, document);
    index.put(&client, "app", "1").expect(201);
    let document = json!({
        "manifests": [], "artifactType": long, "subject": {
            "mediaType": "a/b", "digest": index.digest(), "size": 1,
        },
    });
    Manifest::new(MediaType::OCI_INDEX, document).put(&client, "app", "referrer").expect(201);
    let printed = instance.command(&["inspect"], &["app:1"]).ok();
    for shown in [
        "child  \"linux/arm64\"/v8  sha256:".to_owned(),
        "child  linux/arm64/v8  sha256:".to_owned(),
        format!("child  {}…/\"\"  sha256:", "o".repeat(255)),
        "child  sha256:".to_owned(),
        format!("  a/{}…\n", "t".repeat(253)),
    ] {
        assert!(printed.contains(&shown), "{shown}: {printed}");
    }
    let json = instance.command(&["inspect"], &["app:1", "--json"]).ok();
    let document: Value = serde_json::from_str(&json).expect("JSON");
    let parts = &document["image"]["parts"];
    let fields =
        |part: &Value| ["platform", "os", "architecture", "variant"].map(|name| part[name].clone());
    assert_eq!(parts[0]["media_type"], long);
    assert_eq!(document["image"]["referrers"][0]["artifact_type"], long);
    let (slash, none) = (json!("linux/arm64/v8"), Value::Null);
    assert_eq!(fields(&parts[0]), [slash.clone(), json!("linux/arm64"), json!("v8"), none.clone()]);
    assert_eq!(fields(&parts[1]), [slash, json!("linux"), json!("arm64"), json!("v8")]);
    assert_eq!(fields(&parts[2])[1], json!("o".repeat(300)));
    assert_eq!(fields(&parts[3]), [(); 4].map(|()| none.clone()));
    assert_eq!(fields(&parts[4]), [(); 4].map(|()| none.clone()));
}

#[test]
fn what_somebody_wrote_into_the_data_is_printed_and_logged_as_text() {
    let mut instance = Instance::started();
    let client = instance.client();
    let (tag, kind) = ("t".repeat(NASTY.len()), "application/vnd.".to_owned());
    let kind = format!("{kind}{}json", "t".repeat(NASTY.len() - kind.len() - 4));
    for (name, tag) in [("tagged", tag.as_str()), ("typed", "1")] {
        let path = format!("/v2/{name}/manifests/{tag}");
        client.request("PUT", &path, &[("Content-Type", &kind)], b"{}").expect(201);
    }
    instance.stop();
    let database = instance.data().join("registry.db");
    let mut bytes = fs::read(&database).expect("a database");
    for ours in [&tag, &kind] {
        let places = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(ours.as_bytes()));
        let places: Vec<usize> = places.collect();
        assert!(!places.is_empty(), "{ours} is not there");
        for at in places {
            bytes[at..at + ours.len()].copy_from_slice(NASTY.as_bytes());
        }
    }
    fs::write(&database, bytes).expect("a database");
    let check = |words: &str, run: &Run| {
        let out = String::from_utf8_lossy(&run.out).into_owned();
        assert_harmless(words, &out);
        assert_harmless(words, &run.err);
        assert!((out + &run.err).contains("FORGED"), "{words}: {run}");
    };
    check("inspect", &instance.command(&["inspect"], &["typed:1"]));
    check("inspect", &instance.command(&["inspect"], &["typed:1", "--json"]));
    check("verify", &instance.command(&["verify"], &[]));
    instance.start();
    instance.command(&["verify"], &[]);
    wait_until("the server has logged it", || instance.errors().contains("FORGED"));
    assert_harmless("the log", &instance.errors());
    for words in [["ls", "tagged"], ["ls", "typed"]] {
        let run = instance.command(&words[..1], &words[1..]);
        assert_harmless("ls", &String::from_utf8_lossy(&run.out));
        assert_harmless("ls", &run.err);
    }
}

#[test]
fn what_is_typed_comes_back_as_text_and_settings_as_what_they_are() {
    let nasty = NASTY.to_owned();
    for (words, said) in [
        (vec!["serve".to_owned(), format!("--{nasty}")], "unexpected argument"),
        (vec![nasty.clone()], "unrecognized subcommand"),
        (vec!["serve".into(), "--listen".into(), nasty.clone()], "invalid value"),
        (vec!["ls".into(), "a".into(), nasty.clone()], "unexpected argument"),
        (vec!["user".into(), "add".into(), "x".into(), "--role".into(), nasty], "invalid value"),
    ] {
        let refused = registry(&words).fails(2);
        assert_harmless("usage", &refused);
        assert!(refused.contains(said) && refused.contains("\\u001b"), "{refused}");
        assert!(refused.lines().any(|line| line.starts_with("Usage") || line.contains("--help")));
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("registry.toml");
    let file = path.to_str().expect("a path in UTF-8");
    let odd = format!("/srv/{}\\'\"{{é", NASTY.replace(['\n', '\r'], ""));
    let printed = registry(&["config", "--data-dir", &odd, "--hostname", "a.example"]).ok();
    assert_harmless("config", &printed);
    assert!(
        printed.starts_with("data-dir = \"/srv/a\\U0000001b[31mFORGED\\U00000007"),
        "{printed}"
    );
    assert!(printed.contains("\\U000e0041z\\\\'\\\"{é\""), "{printed}");
    fs::write(&path, &printed).expect("a file");
    assert_eq!(registry(&["config", "--config", file]).ok(), printed);
}

#[test]
fn what_clients_sent_is_logged_a_line_each() {
    let mut instance = Instance::new().with_flags(&["--log-level", "debug"]);
    instance.start();
    let client = instance.client();
    let strange = basic(NASTY, NASTY);
    client.with_authorization(Some(strange)).get("/v2/").expect(401);
    let manifest = format!(r#"{{"mediaType":{}}}"#, json!(NASTY));
    client.request("PUT", "/v2/app/manifests/1", &[], manifest.as_bytes()).expect(400);
    let document = json!({ "config": {
        "mediaType": "a/b", "digest": NASTY, "size": 1,
    } });
    Manifest::new(MediaType::OCI_MANIFEST, document).put(&client, "app", "1").expect(400);
    client.get("/v2/app%1b%0aFORGED%e2%80%ae/manifests/1").expect(400);
    // Not percent-encoded: hyper may take it or not, the log may not.
    let mut connection = client.connect();
    connection.send("GET /v2/\u{202e}\u{200b}\u{85}/tags/list HTTP/1.1\r\nHost: x\r\n\r\n");
    let _ = connection.try_response("GET");
    client.get("/healthz").expect(200);
    wait_until("the last request is logged", || instance.errors().contains("/healthz"));
    assert_harmless("the log", &instance.errors());
}
