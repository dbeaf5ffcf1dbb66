//! `registry df`: what the repositories take of the disk, and what collection would free.

use serde_json::{Value, json};

use crate::support::binary::Instance;
use crate::support::content::{noise, push_image};

#[test]
fn each_repository_is_shown_with_what_it_holds_and_what_it_holds_alone() {
    let mut instance = Instance::started();
    let client = instance.client();
    let (shared, own) = (noise(1, 10_000), noise(2, 5_000));
    push_image(&client, "team/a", "1", &shared);
    push_image(&client, "team/a", "2", &own);
    push_image(&client, "team/b", "1", &shared);
    let expected = |collectable: u64| {
        json!({
            "blobs": 3, "blob_bytes": 15_002, "logical_bytes": 25_004,
            "collectable_bytes": collectable,
            // The config is "{}", and in both.
            "repositories": [
                { "repository": "team/a", "blobs": 3, "bytes": 15_002,
                  "own_blobs": 1, "own_bytes": 5_000 },
                { "repository": "team/b", "blobs": 2, "bytes": 10_002,
                  "own_blobs": 0, "own_bytes": 0 },
            ],
        })
    };
    assert_eq!(usage(&instance), expected(0));
    let table = instance.command(&["df"], &[]).ok();
    let lines: Vec<&str> = table.lines().map(str::trim_start).collect();
    assert_eq!(
        lines[..3],
        [
            "holds         alone  repository",
            "14.7 KiB       4.9 KiB  team/a",
            "9.8 KiB           0 B  team/b",
        ]
    );
    assert!(
        table.contains("stored: 14.7 KiB in 3 blobs, each once; the repositories hold 24.4 KiB")
    );
    // The same without a server.
    instance.stop();
    assert_eq!(usage(&instance), expected(0));
    // What was removed can be undone for a while, and is nobody's then.
    instance.command(&["rm"], &["team/a:2"]).ok();
    let after = usage(&instance);
    assert_eq!(after["repositories"][0]["own_bytes"], 0, "{after}");
    assert_eq!(after["blob_bytes"], 15_002, "{after}");
}

/// What is told, but for the disk.
fn usage(instance: &Instance) -> Value {
    let told = instance.command(&["df"], &["--json"]).ok();
    let mut usage: Value = serde_json::from_str(&told).expect("JSON");
    let usage = usage.as_object_mut().expect("an object");
    for disk in ["disk_total_bytes", "disk_free_bytes"] {
        assert!(usage.remove(disk).is_some_and(|bytes| bytes.as_u64() > Some(0)), "{told}");
    }
    Value::Object(std::mem::take(usage))
}
