//! Who may do what, and what logins cost.

use std::time::Duration;

use registry_server::command::user::RemoveUser;
use storage::Role;

use crate::support::binary::{Instance, USER};
use crate::support::content::{push_blob, push_image, sha256};
use crate::support::http::{Client, Connection, Response, basic};
use crate::support::server::{ADMINISTRATOR, PASSWORD, Server};

#[test]
fn a_role_reaches_as_far_as_it_says() {
    let server = Server::start();
    let administrator = server.administrator();
    push_image(&administrator, "a", "1", b"layer");
    let roles = [Role::Pull, Role::Push, Role::Administrator];
    let users = roles.map(|role| server.add_user(&format!("a-{role}"), role));
    let nobody = server.nobody();
    type Act = fn(&Client) -> Response;
    let acts: [(Act, [u16; 3]); 9] = [
        (|client| client.get("/v2/"), [200, 200, 200]),
        (|client| client.get("/v2/_catalog"), [200, 200, 200]),
        (|client| client.get("/v2/a/manifests/1"), [200, 200, 200]),
        (|client| client.get("/v2/a/tags/list"), [200, 200, 200]),
        (|client| client.get(&format!("/v2/a/blobs/{}", sha256(b"layer"))), [200, 200, 200]),
        (|client| client.request("POST", "/v2/a/blobs/uploads/", &[], b""), [403, 202, 202]),
        (
            |client| {
                let query = format!("?mount={}&from=a", sha256(b"layer"));
                client.request("POST", &format!("/v2/b/blobs/uploads/{query}"), &[], b"")
            },
            [403, 201, 201],
        ),
        (|client| client.request("PUT", "/v2/a/manifests/2", &[], b"{}"), [403, 400, 400]),
        (|client| client.delete("/v2/a/manifests/nothing"), [403, 403, 404]),
    ];
    for (number, (act, statuses)) in acts.into_iter().enumerate() {
        for ((user, role), status) in users.iter().zip(roles).zip(statuses) {
            let response = act(user);
            assert_eq!(response.status, status, "{role} does {number}: {response:?}");
            if status == 403 {
                let (code, message) = response.error();
                assert_eq!(code, "DENIED");
                assert!(message.contains(role.as_str()), "{message}");
            }
        }
        act(&nobody).refused(401, "UNAUTHORIZED");
    }
}

#[test]
fn a_wrong_password_and_an_unknown_user_get_the_same_answer() {
    let server = Server::start();
    let nobody = server.nobody();
    let answer = |user: &str, password: &str| {
        let client = nobody.with_login(Some((user, password)));
        let mut response = client.get("/v2/").refused(401, "UNAUTHORIZED");
        response.headers.retain(|(name, _)| name != "date");
        (response.headers, response.body)
    };
    let wrong = answer(ADMINISTRATOR, "wrong password");
    for (user, password) in [
        ("nobody", PASSWORD),
        ("nobody", "wrong password"),
        (ADMINISTRATOR, ""),
        ("", PASSWORD),
        ("INIT", PASSWORD),
        ("not a user name/", PASSWORD),
    ] {
        assert_eq!(answer(user, password), wrong, "{user:?}");
    }
    server.administrator().get("/v2/").expect(200);
}

#[test]
fn what_is_no_login_is_refused() {
    let server = Server::start();
    for authorization in [
        "Bearer abc",
        "Basic",
        "Basic ",
        "Basic ???",
        // Without a colon.
        "Basic aW5pdA==",
        // Not UTF-8 before the colon.
        "Basic /zp4eHh4eHh4eA==",
        "Negotiate abc",
        "x",
    ] {
        let client = server.nobody().with_authorization(Some(authorization.to_owned()));
        client.get("/v2/").refused(401, "UNAUTHORIZED");
    }
    // The scheme has no case (RFC 9110, 11.1).
    let authorization = basic(ADMINISTRATOR, PASSWORD).replacen("Basic", "bASIC", 1);
    server.nobody().with_authorization(Some(authorization)).get("/v2/").expect(200);
}

#[test]
fn an_empty_login_counts_as_none() {
    let server = Server::start();
    let without = server.nobody().get("/v2/").refused(401, "UNAUTHORIZED");
    let empty = server.nobody().with_login(Some(("", "")));
    assert_eq!(empty.get("/v2/").refused(401, "UNAUTHORIZED").body, without.body);
}

#[test]
fn open_pulls_are_open_and_nothing_else_is() {
    let server = Server::with_open_pulls();
    let manifest = push_image(&server.administrator(), "a", "1", b"layer");
    let nobody = server.nobody();
    for client in [&nobody, &nobody.with_login(Some(("", "")))] {
        for path in [
            "/v2/a/manifests/1".to_owned(),
            format!("/v2/a/blobs/{}", sha256(b"layer")),
            "/v2/a/tags/list".to_owned(),
            "/v2/_catalog".to_owned(),
            format!("/v2/a/referrers/{}", manifest.digest()),
        ] {
            client.get(&path).expect(200);
            client.head(&path).expect(200);
        }
        // oc sends its login only to a registry that asked for one at the first request.
        client.get("/v2/").refused(401, "UNAUTHORIZED");
        client.request("POST", "/v2/a/blobs/uploads/", &[], b"").refused(401, "UNAUTHORIZED");
        manifest.put(client, "a", "2").refused(401, "UNAUTHORIZED");
        client.delete("/v2/a/manifests/1").refused(401, "UNAUTHORIZED");
    }
    // A login that is wrong is told, even where none is needed.
    let wrong = nobody.with_login(Some((ADMINISTRATOR, "wrong password")));
    wrong.get("/v2/a/manifests/1").refused(401, "UNAUTHORIZED");
    // A login that is right opens what it opens elsewhere.
    let reader = server.add_user("reader", Role::Pull);
    reader.get("/v2/").expect(200);
    reader.delete("/v2/a/manifests/1").refused(403, "DENIED");
}

#[test]
fn health_needs_no_login() {
    let server = Server::start();
    let wrong = server.nobody().with_login(Some((ADMINISTRATOR, "wrong password")));
    for client in [server.nobody(), wrong] {
        for path in ["/healthz", "/readyz", "/health/instance"] {
            let response = client.get(path).expect(200);
            assert_eq!(response.must("content-type"), "application/json");
            client.head(path).expect(200);
        }
        let instance = client.get("/health/instance").json();
        assert_eq!(instance["status_code"], 200);
        let services = instance["data"]["services"].as_object().expect("services").clone();
        assert!(
            services.len() >= 5 && services.values().all(|is_up| is_up == true),
            "{services:?}"
        );
    }
}

#[test]
fn a_changed_password_takes_effect_at_once() {
    let server = Server::start();
    let before = server.add_user("ann", Role::Push);
    let administrator = server.administrator();
    for _ in 0..2 {
        before.get("/v2/").expect(200);
    }
    server.set_password("ann", "another password");
    before.get("/v2/").refused(401, "UNAUTHORIZED");
    let after = before.with_login(Some(("ann", "another password")));
    after.get("/v2/").expect(200);
    administrator.get("/v2/").expect(200);
    // An upload that the old password began goes on with the new one.
    let location = crate::support::content::begin_upload(&after, "a");
    server.set_password("ann", "yet another password");
    after.request("PATCH", &location, &[], b"x").refused(401, "UNAUTHORIZED");
    let later = before.with_login(Some(("ann", "yet another password")));
    later.request("PATCH", &location, &[], b"x").expect(202);

    server.command(RemoveUser { name: "ann".parse().expect("a user name") });
    later.get("/v2/").refused(401, "UNAUTHORIZED");
    // The same name and password with less of a role.
    let reader = server.add_user("ann", Role::Pull);
    reader.get("/v2/").expect(200);
    reader.request("POST", "/v2/a/blobs/uploads/", &[], b"").refused(403, "DENIED");
}

#[test]
fn a_burst_with_one_login_is_one_verification() {
    let mut instance = Instance::started();
    let client = instance.client();
    let wrong = client.with_login(Some((USER, "not the password")));
    let mut connections: Vec<Connection> = (0..200).map(|_| wrong.connect()).collect();
    let head = wrong.head_of("GET", "/v2/", &[]);
    // The first of them has the turn, or waits for it, until the last one has come.
    let holder = client.with_login(Some((USER, "another that is wrong")));
    let mut first = holder.connect();
    first.send(holder.head_of("GET", "/v2/", &[]));
    for connection in &mut connections {
        connection.send(&head);
    }
    for mut connection in connections {
        connection.response("GET").refused(401, "UNAUTHORIZED");
    }
    first.response("GET").refused(401, "UNAUTHORIZED");
    instance.stop();
    let verified = instance.errors().matches("a login failed").count();
    assert!((2..20).contains(&verified), "{verified} verifications");
}

#[test]
fn a_verified_login_does_not_wait_for_those_who_guess() {
    let server = Server::start();
    let (known, nobody) = (server.administrator(), server.nobody());
    known.get("/v2/").expect(200);
    let mut guesses: Vec<Connection> = (0..50).map(|_| nobody.connect()).collect();
    for (number, guess) in guesses.iter_mut().enumerate() {
        let login = (ADMINISTRATOR, format!("guess number {number}"));
        let guesser = nobody.with_login(Some((login.0, &login.1)));
        guess.send(guesser.head_of("GET", "/v2/", &[]));
    }
    for number in 0_u32..10 {
        push_blob(&known, "a", &number.to_le_bytes());
    }
    assert!(guesses.iter_mut().any(Connection::is_idle), "some still wait for their turn");
    // Nor does anybody else's change make it wait.
    let new = server.add_user("new", Role::Pull);
    known.get("/v2/").expect(200);
    assert!(guesses.iter_mut().any(Connection::is_idle), "some still wait for their turn");
    // Somebody who logs in for the first time waits for one of them, and not for all.
    new.get("/v2/").expect(200);
    assert!(guesses.iter_mut().any(Connection::is_idle), "some still wait for their turn");
    for mut guess in guesses {
        guess.response("GET").refused(401, "UNAUTHORIZED");
    }
}

#[test]
fn ten_users_behind_one_address_log_in_at_once() {
    let server = Server::start();
    let users: Vec<Client> =
        (0..10).map(|number| server.add_user(&format!("user{number}"), Role::Pull)).collect();
    let mut connections: Vec<Connection> = users.iter().map(Client::connect).collect();
    for (user, connection) in users.iter().zip(&mut connections) {
        connection.send(user.head_of("GET", "/v2/", &[]));
    }
    for connection in &mut connections {
        connection.response("GET").expect(200);
    }
}

#[test]
fn only_a_list_hears_that_a_login_waits_long() {
    let server = Server::with(|limits| limits.login_wait_time = Duration::from_millis(1));
    let (nobody, known) = (server.nobody(), server.administrator());
    let manifest = push_image(&known, "a", "1", b"layer");
    let mut guesses: Vec<Connection> = (0..30).map(|_| nobody.connect()).collect();
    for (number, guess) in guesses.iter_mut().enumerate() {
        let guesser = nobody.with_login(Some(("guesser", &format!("guess number {number}"))));
        guess.send(guesser.head_of("GET", "/v2/", &[]));
    }
    let late = server.add_user("late", Role::Push);
    let answer = late.get("/v2/a/tags/list").refused(429, "TOOMANYREQUESTS");
    assert_eq!(answer.header("retry-after"), Some("5"));
    late.get("/v2/a/manifests/1").expect(200);
    late.get("/v2/a/tags/list").expect(200);
    manifest.put(&server.add_user("later", Role::Push), "a", "2").expect(201);
    server.add_user("latest", Role::Pull).get("/v2/").expect(200);
}

#[test]
fn logins_work_when_next_to_nothing_can_be_remembered() {
    let server = Server::with(|limits| limits.login_memory_entries = 1);
    let (one, other) = (server.administrator(), server.add_user("other", Role::Pull));
    for _ in 0..3 {
        one.get("/v2/").expect(200);
        other.get("/v2/").expect(200);
    }
}

#[test]
fn a_login_of_more_than_8_kib_is_refused() {
    let server = Server::start();
    let long = server.nobody().with_login(Some((ADMINISTRATOR, &"x".repeat(8 * 1024))));
    long.get("/v2/").refused(401, "UNAUTHORIZED");
    // Trailing junk does not make it right.
    let authorization = format!("{}{}", basic(ADMINISTRATOR, PASSWORD), "=".repeat(9000));
    let client = server.nobody().with_authorization(Some(authorization));
    client.get("/v2/").refused(401, "UNAUTHORIZED");
    server.administrator().get("/v2/").expect(200);
}

#[test]
fn a_password_may_hold_anything() {
    let server = Server::start();
    server.add_user("ann@example.com", Role::Pull);
    for password in ["with:colons::", "  spaces  ", "ümläut-密码"] {
        server.set_password("ann@example.com", password);
        let client = server.nobody().with_login(Some(("ann@example.com", password)));
        client.get("/v2/").expect(200);
    }
    // Where one ends and the other begins matters.
    server.add_user("ann", Role::Pull);
    server.set_password("ann", "@example.com:12345678");
    let mixed = server.nobody().with_login(Some(("ann@example.com", "12345678")));
    mixed.get("/v2/").refused(401, "UNAUTHORIZED");
}
