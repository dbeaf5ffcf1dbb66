//! A user who is removed: what the user was pushing ends, and nobody who gets the name later has
//! any of it.

use registry_server::command::user::RemoveUser;
use storage::Role;

use crate::support::binary::{Instance, PASSWORD};
use crate::support::clients::Curl;
use crate::support::content::{Manifest, begin_upload, noise, push_blob, sha256};
use crate::support::http::Client;
use crate::support::process::wait_until;
use crate::support::server::Server;

fn remove(server: &Server, name: &str) {
    server.command(RemoveUser { name: name.parse().expect("a user name") });
}

/// Whether anything is left of uploads.
fn uploads(server: &Server) -> usize {
    std::fs::read_dir(server.data().join("uploads")).expect("uploads").count()
}

#[test]
fn an_upload_that_runs_ends_with_its_user() {
    let server = Server::start();
    let (ann, bytes) = (server.add_user("ann", Role::Push), noise(1, 400_000));
    let digest = sha256(&bytes);
    let location = begin_upload(&ann, "a");
    let finishing = format!("{}?digest={digest}", begin_upload(&ann, "a"));
    let whole = format!("/v2/a/blobs/uploads/?digest={digest}");
    let length = [("Content-Length", "400000")];
    let mut running: Vec<_> = [("PATCH", &location), ("PUT", &finishing), ("POST", &whole)]
        .map(|(method, path)| {
            let mut connection = ann.connect();
            connection.send(ann.head_of(method, path, &length));
            connection.send(&bytes[..200_000]);
            (method, connection)
        })
        .into();
    let is_there = |client: &Client| client.get(&location).must("range") == "0-199999";
    // Each session has two files.
    wait_until("what was sent is there", || is_there(&ann) && uploads(&server) == 6);
    remove(&server, "ann");
    assert_eq!(uploads(&server), 0, "nothing is left of what ann was pushing");
    for (method, connection) in &mut running {
        connection.send(&bytes[200_000..]);
        connection.response(method).refused(404, "BLOB_UPLOAD_UNKNOWN");
    }
    let administrator = server.administrator();
    administrator.get(&format!("/v2/a/blobs/{digest}")).refused(404, "BLOB_UNKNOWN");
    ann.get(&location).refused(401, "UNAUTHORIZED");
    assert_eq!(uploads(&server), 0);
}

#[test]
fn a_namesake_inherits_no_upload() {
    let mut server = Server::start();
    let ann = server.add_user("ann", Role::Push);
    let bytes = noise(2, 1000);
    let (resting, digest) = (begin_upload(&ann, "a"), sha256(&bytes));
    ann.request("PATCH", &resting, &[], &bytes).expect(202);
    // One that an earlier process began, and one whose end may be asked for again.
    let finished = format!("{}?digest={digest}", begin_upload(&ann, "a"));
    ann.request("PUT", &finished, &[], &bytes).expect(201);
    ann.request("PUT", &finished, &[], b"").expect(201);
    server.restart();
    let ann = server.nobody().with_login(Some(("ann", crate::support::server::PASSWORD)));
    assert_eq!(ann.get(&resting).expect(204).must("range"), "0-999");
    let again = begin_upload(&ann, "a");
    remove(&server, "ann");
    // The same name, the same password, the same role.
    let assert_gone = |namesake: &Client| {
        for location in [&resting, &again] {
            namesake.get(location).refused(404, "BLOB_UPLOAD_UNKNOWN");
            namesake.request("PATCH", location, &[], b"x").refused(404, "BLOB_UPLOAD_UNKNOWN");
            let closing = format!("{location}?digest={digest}");
            namesake.request("PUT", &closing, &[], b"").refused(404, "BLOB_UPLOAD_UNKNOWN");
            namesake.delete(location).refused(404, "BLOB_UPLOAD_UNKNOWN");
        }
        namesake.request("PUT", &finished, &[], b"").refused(404, "BLOB_UPLOAD_UNKNOWN");
    };
    let namesake = server.add_user("ann", Role::Push);
    assert_gone(&namesake);
    let own = begin_upload(&namesake, "a");
    server.restart();
    let namesake = server.nobody().with_login(Some(("ann", crate::support::server::PASSWORD)));
    assert_gone(&namesake);
    // What the namesake began is the namesake's, and what was pushed stays.
    assert_eq!(namesake.get(&own).expect(204).must("range"), "0-0");
    assert!(namesake.get(&format!("/v2/a/blobs/{digest}")).expect(200).body == bytes);
}

#[test]
fn who_is_removed_while_no_server_runs_leaves_nothing_either() {
    let mut instance = Instance::started();
    instance.add_user("ann", "push");
    let ann = |instance: &Instance| Curl::with_login(instance, "ann", PASSWORD);
    let location = ann(&instance).begin_upload("a");
    instance.stop();
    instance.command(&["user", "remove"], &["ann"]).ok();
    let left = std::fs::read_dir(instance.data().join("uploads")).expect("uploads").count();
    assert_eq!(left, 0);
    instance.add_user("ann", "push");
    instance.start();
    ann(&instance).request("GET", &location).expect(404);
}

#[test]
fn a_manifest_whose_user_is_gone_when_it_is_there_is_not_stored() {
    let server = Server::start();
    let ann = server.add_user("ann", Role::Push);
    push_blob(&ann, "a", b"{}");
    let image = Manifest::image(b"{}", b"{}");
    let length = image.bytes.len().to_string();
    let kind = ("Content-Type", image.media_type.as_str());
    let mut connection = ann.connect();
    let headers = [kind, ("Content-Length", length.as_str()), ("Expect", "100-continue")];
    connection.send(ann.head_of("PUT", "/v2/a/manifests/1", &headers));
    connection.response("PUT").expect(100);
    remove(&server, "ann");
    server.add_user("ann", Role::Administrator);
    connection.send(&image.bytes);
    connection.response("PUT").refused(401, "UNAUTHORIZED");
    let administrator = server.administrator();
    administrator.get("/v2/a/manifests/1").refused(404, "MANIFEST_UNKNOWN");
}
