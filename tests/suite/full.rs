//! A disk without room: what cannot fit is refused before it comes, and what makes room is done
//! even when there is none.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use oci::MediaType;
use serde_json::json;

use crate::support::binary::{Instance, PASSWORD, USER};
use crate::support::clients::Machine;
use crate::support::content::{
    Manifest, OCTETS, begin_upload, noise, push_blob, push_image, sha256,
};
use crate::support::disk::SmallDisk;
use crate::support::http::{Client, Connection, Header};
use crate::support::page;
use crate::support::report::skip;
use crate::support::server::Server;

/// More than any disk has.
const PEBIBYTE: &str = "1125899906842624";

#[test]
fn a_body_that_cannot_fit_is_refused_before_a_byte_of_it_is_read() {
    let server = Server::start();
    let client = server.administrator();
    let upload = begin_upload(&client, "a");
    client.request("PATCH", &upload, &[OCTETS], b"begun, ").expect(202);
    let digest = sha256(b"begun, finished");
    let finish = format!("{upload}?digest={digest}");
    let whole = format!("/v2/a/blobs/uploads/?digest={digest}");
    let length = ("Content-Length", PEBIBYTE);
    let range = ("Content-Range", "7-1125899906842630");
    let chunked = ("Transfer-Encoding", "chunked");
    let requests: [(&str, &str, &[Header<'_>]); 5] = [
        ("PATCH", &upload, &[length]),
        ("PATCH", &upload, &[length, range]),
        ("PATCH", &upload, &[chunked, range]),
        ("PUT", &finish, &[length]),
        ("POST", &whole, &[length]),
    ];
    for (method, path, headers) in requests {
        // Who is told to go on gets another answer first.
        let headers = [headers, &[("Expect", "100-continue")]].concat();
        let mut connection = client.connect();
        connection.send(client.head_of(method, path, &headers));
        let answer = connection.response(method).refused(507, "DENIED");
        let (_, message) = answer.error();
        let start = "the disk of the registry is too full for 1.0 PiB more (";
        assert!(message.starts_with(start), "{message}");
        assert_eq!(answer.reason, message);
        assert!(message.is_ascii() && message.contains("registry gc"), "{message}");
    }
    client.request("PUT", &finish, &[OCTETS], b"finished").expect(201);
    assert_eq!(client.get(&format!("/v2/a/blobs/{digest}")).expect(200).body, b"begun, finished");
}

#[test]
fn on_a_full_disk_deletes_work_and_all_goes_on_when_there_is_room() {
    let Some((disk, mut instance, client)) = on_a_small_disk() else { return };
    instance.add_user("gone", "pull");
    let kept = push_image(&client, "kept", "1", b"a layer");
    let loose = push_blob(&client, "gone", b"loose");
    let images: Vec<Manifest> =
        (0..20).map(|n| push_image(&client, "gone", &n.to_string(), &[n; 100])).collect();
    let upload = begin_upload(&client, "kept");
    client.request("PATCH", &upload, &[OCTETS], b"begun").expect(202);

    let filler = disk.path().join("filler");
    let full = fs::write(&filler, vec![0; SmallDisk::BYTES]).expect_err("the disk is too small");
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    let refused = |method: &str, path: &str, body: &[u8]| {
        let answer = client.request(method, path, &[OCTETS], body).refused(507, "DENIED");
        assert!(answer.error().1.contains("the disk of the registry is "), "{answer:?}");
        assert_eq!(answer.reason, answer.error().1);
    };
    for manifest in &images {
        let path = format!("/v2/gone/manifests/{}", manifest.digest());
        client.delete(&path).expect(202);
        client.get(&path).expect(404);
        // What was made free for that is not for pushes.
        refused("POST", "/v2/gone/blobs/uploads/", b"");
        refused("PATCH", &upload, b", more");
    }
    client.delete(&format!("/v2/gone/blobs/{loose}")).expect(202);
    client.delete("/v2/kept/manifests/1").expect(202);
    instance.command(&["user", "remove"], &["gone"]).ok();
    client.get(&format!("/v2/kept/manifests/{}", kept.digest())).expect(200);
    // Deleted is not gone before it is collected, which needs no room either.
    instance.command(&["gc"], &["--grace", "0s", "--undo-time", "0s"]).ok();
    client.get(&format!("/v2/kept/manifests/{}", kept.digest())).expect(200);
    // A service that is started on a full disk serves, too.
    instance.stop();
    instance.start();
    client.delete(&format!("/v2/kept/manifests/{}", kept.digest())).expect(202);

    fs::remove_file(filler).expect("the filler goes");
    let finish = format!("{upload}?digest={}", sha256(b"begun, finished"));
    client.request("PUT", &finish, &[OCTETS], b", finished").expect(201);
    push_image(&client, "gone", "again", b"another layer");
    instance.stop();
}

#[test]
fn on_a_full_disk_commands_that_remove_and_mend_work_with_a_server_and_without() {
    for has_server in [true, false] {
        let Some((disk, mut instance, client)) = on_a_small_disk() else { return };
        let images: Vec<Manifest> =
            (0..8).map(|n| push_image(&client, "app", &n.to_string(), &[n; 100])).collect();
        push_image(&client, "all", "1", b"a layer");
        instance.command(&["tag", "protect"], &["app:0"]).ok();
        if !has_server {
            instance.stop();
        }
        let filler = disk.path().join("filler");
        let fill = || {
            let full = fs::write(&filler, vec![0; SmallDisk::BYTES]).expect_err("no room");
            assert_eq!(full.kind(), ErrorKind::StorageFull);
        };
        // Each of them finds no room: what another gave up of the reserve is filled as well.
        fill();
        instance.command(&["verify"], &[]).ok();
        fill();
        instance.command(&["tag", "unprotect"], &["app:0"]).ok();
        fill();
        instance.command(&["rm"], &["app:0"]).ok();
        fill();
        instance.command(&["rm"], &[&format!("app@{}", images[1].digest())]).ok();
        fill();
        instance.command(&["rm"], &["all", "--all"]).ok();
    }
}

#[test]
fn on_a_full_disk_the_procedure_of_the_guide_makes_room_for_the_next_push() {
    let Some((disk, mut instance, client)) = on_a_small_disk() else { return };
    let kept = push_image(&client, "kept", "1", b"a layer");
    let large = noise(1, 4 << 20);
    let old = push_image(&client, "old", "1", &large);
    let filler = disk.path().join("filler");
    fs::write(&filler, vec![0; SmallDisk::BYTES]).expect_err("the disk is too small");
    let next = noise(2, 2 << 20);
    let whole = format!("/v2/new/blobs/uploads/?digest={}", sha256(&next));
    client.request("POST", &whole, &[OCTETS], &next).refused(507, "DENIED");

    let machine = Machine::of(&instance);
    let lines = page::section("## The disk is full").lines();
    let lines = lines.filter_map(|line| line.trim_start().strip_prefix("$ "));
    let printed = lines.map(|line| {
        let line = line.replace(page::REGISTRY, &instance.address());
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["registry", command, rest @ ..] => instance.command(&[command], rest).ok(),
            [program, rest @ ..] => machine.client(program, rest).ok(),
            [] => panic!("an empty command"),
        }
    });
    let printed: Vec<String> = printed.collect();
    assert!(printed.len() == 2 && printed[1].contains("4.0 MiB"), "{printed:?}");
    client.get(&format!("/v2/old/manifests/{}", old.digest())).expect(404);
    push_image(&client, "new", "1", &next);
    client.get(&format!("/v2/kept/manifests/{}", kept.digest())).expect(200);
    fs::remove_file(filler).expect("the filler goes");
    instance.stop();
}

/// A registry with its data on a small disk; none, with the reason told, where that cannot be.
#[test]
fn manifests_that_do_not_end_leave_room_for_what_others_do() {
    let Some((disk, mut instance, client)) = on_a_small_disk() else { return };
    push_image(&client, "kept", "1", b"a layer");
    instance.add_user("bully", "push");
    let bully = client.with_login(Some(("bully", PASSWORD)));
    let length = (4 << 20).to_string();
    let headers = [("Content-Type", MediaType::OCI_MANIFEST), ("Content-Length", length.as_str())];
    let head = bully.head_of("PUT", "/v2/bully/manifests/a", &headers);
    let begun = |_| {
        let mut connection = bully.connect();
        connection.send(&head);
        connection.send(vec![b' '; 100 << 10]);
        connection
    };
    let mut held: Vec<Connection> = (0..8).map(begun).collect();
    let free = || {
        let space = rustix::fs::statvfs(disk.path()).expect("the disk");
        usize::try_from(space.f_bavail * space.f_frsize).expect("a size")
    };
    let piece = vec![b' '; 64 << 10];
    let (mut least, mut sent) = (free(), 0);
    while sent < SmallDisk::BYTES {
        for connection in &mut held {
            connection.hurry(Duration::from_millis(200));
            // The server takes as much of it as it has room for.
            let _ = connection.try_send(&piece);
            sent += piece.len();
            std::thread::sleep(Duration::from_millis(20));
            least = least.min(free());
        }
    }
    assert!(least > SmallDisk::BYTES / 20 / 2, "{least} bytes were left");
    instance.add_user("late", "pull");
    push_image(&client, "kept", "2", b"a layer");
    let long = json!({ "manifests": [], "annotations": { "a": "x".repeat(100_000) } });
    Manifest::new(MediaType::OCI_INDEX, long).put(&client, "kept", "long").expect(201);
    client.delete("/v2/kept/manifests/1").expect(202);
    drop(held);
    instance.stop();
}

fn on_a_small_disk() -> Option<(SmallDisk, Instance, Client)> {
    let Some(disk) = SmallDisk::mount() else {
        skip("this machine lets nobody mount a small disk to fill");
        return None;
    };
    let mut instance = Instance::new().with_data(disk.path().join("data"));
    instance.start();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, instance.port()));
    let client = Client::new(address, &instance.ca(), Some((USER, &instance.password())));
    Some((disk, instance, client))
}
