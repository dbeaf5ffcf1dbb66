//! Pushing again what is there: acknowledged as ever, and nothing is written for it. And pushes
//! that are made to cost more than they bring.

use std::fs;
use std::path::Path;
use std::time::Duration;

use oci::MediaType;
use serde_json::{Value, json};

use crate::support::binary::Instance;
use crate::support::content::{
    LAYER, Manifest, begin_upload, descriptor, push_blob, push_image, sha256,
};
use crate::support::server::Server;

/// The database with its log.
fn database(data: &Path) -> Vec<Vec<u8>> {
    let names = ["registry.db", "registry.db-wal"];
    names.map(|name| fs::read(data.join(name)).expect("the database")).into()
}

#[test]
fn a_push_that_changes_nothing_writes_nothing() {
    // Where the clock stands is noted each minute.
    let server = Server::with(|limits| limits.clock_keep_time = Duration::from_secs(3600));
    let client = server.administrator();
    let push = || {
        let images = [b"amd64", b"arm64"].map(|layer| {
            push_blob(&client, "app", b"{}");
            push_blob(&client, "app", layer);
            let image = Manifest::image(b"{}", layer);
            image.put(&client, "app", &image.digest()).expect(201);
            image
        });
        let index = Manifest::index(&[&images[0], &images[1]]);
        let tags: Vec<String> = (0..100).map(|n| format!("tag=v{n}")).collect();
        let reference = format!("{}?{}", index.digest(), tags.join("&"));
        let pushed = index.put(&client, "app", &reference).expect(201);
        assert_eq!(pushed.all("oci-tag").len(), 100);
        index.put(&client, "app", "list").expect(201);
        let mount = format!("/v2/copy/blobs/uploads/?mount={}&from=app", sha256(b"amd64"));
        client.request("POST", &mount, &[], b"").expect(201);
        index
    };
    push();
    let before = database(&server.data());
    let index = push();
    assert!(database(&server.data()) == before, "something was written");
    // What does change something is written: a tag that named another, and a manifest that was
    // deleted.
    push_image(&client, "app", "v7", b"other");
    index.put(&client, "app", "v7").expect(201);
    assert_eq!(client.get("/v2/app/manifests/v7").expect(200).body, index.bytes);
    client.delete(&format!("/v2/app/manifests/{}", index.digest())).expect(202);
    push();
    assert_eq!(client.get("/v2/app/manifests/v7").expect(200).body, index.bytes);
}

#[test]
fn a_manifest_of_four_thousand_layers_that_are_not_there_is_refused_in_one_sentence() {
    let server = Server::start();
    let client = server.administrator();
    push_blob(&client, "app", b"{}");
    let image_of = |count: u32| {
        let layers: Vec<_> = (0..count)
            .map(|n| json!({ "mediaType": "", "digest": format!("sha256:{n:064x}"), "size": 1 }))
            .collect();
        let document = json!({ "config": descriptor(LAYER, b"{}"), "layers": layers });
        Manifest::new(MediaType::OCI_MANIFEST, document)
    };
    // With its config it names as many as a manifest may.
    let refused = image_of(4095).put(&client, "app", "1").refused(400, "MANIFEST_BLOB_UNKNOWN");
    let (_, message) = refused.error();
    assert!(message.contains("and 4085 more: push the blobs"), "{message}");
    assert!(message.len() < 2000, "{message}");
    let refused = image_of(36_000).put(&client, "app", "1").refused(400, "UNSUPPORTED");
    assert!(refused.error().1.contains("at most 4096 others"), "{refused:?}");
    // An upload goes on meanwhile and afterwards.
    begin_upload(&client, "app");
}

#[test]
fn two_manifests_that_alternate_under_many_tags_leave_a_bounded_history() {
    const TAGS: usize = 20;
    let mut instance = Instance::started();
    let client = instance.client();
    let images = [b"one", b"two"].map(|layer| push_image(&client, "app", "1", layer));
    let tags: Vec<String> = (0..TAGS).map(|n| format!("tag=t{n}")).collect();
    let push = |image: &Manifest| {
        let reference = format!("{}?{}", image.digest(), tags.join("&"));
        image.put(&client, "app", &reference).expect(201);
    };
    let sizes = [270, 30].map(|count| {
        (0..count).for_each(|n| push(&images[n % 2]));
        changes(&instance, "app").len()
    });
    assert_eq!(sizes, [TAGS * 256 + 2; 2]);
    assert_eq!(changes(&instance, "app:t7").len(), 256);
    // Nobody knows any more what it named then, so nobody is told something.
    let restore =
        |tag: &str, before| instance.command(&["tag", "restore"], &[tag, "--before", before]);
    let long_ago = "2020-01-31T08:15:00Z";
    let told = restore("app:t7", long_ago).fails(1);
    assert!(told.contains("no change of app:t7 is known that could be undone"), "{told}");
    let told = restore("app:1", long_ago).fails(1);
    assert!(told.contains("app:1 did not exist at that time"), "{told}");
    restore("app:t7", "2999-01-31T08:15:00Z").ok();
    instance.command(&["tag", "restore"], &["app:t7"]).ok();
    assert_eq!(client.get("/v2/app/manifests/t7").expect(200).body, images[0].bytes);

    // Who needs the room has all of it at once; what tags name stays.
    let kept = instance.command(&["gc"], &["--history-time", "0s"]).ok();
    assert!(kept.contains("changes of tags      0 gone"), "{kept}");
    let cut = instance.command(&["gc"], &["--history-time", "0s", "--undo-time", "0s"]).ok();
    assert!(cut.contains("changes of tags      5122 gone"), "{cut}");
    assert_eq!(changes(&instance, "app").len(), 0);
    assert_eq!(client.get("/v2/app/manifests/t7").expect(200).body, images[0].bytes);
    instance.stop();
}

/// The changes of a repository's tags, or of one of them, as the command line prints them.
fn changes(instance: &Instance, image: &str) -> Vec<Value> {
    let printed = instance.command(&["tag", "history"], &[image, "--json"]).ok();
    serde_json::from_str(&printed).expect("JSON")
}
