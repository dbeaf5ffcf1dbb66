//! Every route with every method, for everybody, with what is there, missing, malformed or too
//! large: each answer has the status and the code of the table below, which is written from the
//! contract and not from the server. That each refusal is an error document with a message, each
//! 401 a challenge and each 405 an `Allow` is checked of every answer by the client.

use oci::MediaType;
use storage::Role;

use crate::support::content::{Manifest, OCTETS, begin_upload, push_blob, push_image, sha256};
use crate::support::http::{Client, Response};
use crate::support::server::Server;

const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"];

/// Who asks; none is nobody.
const WHO: [Option<Role>; 4] =
    [None, Some(Role::Pull), Some(Role::Push), Some(Role::Administrator)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Base,
    Catalog,
    Tags,
    Referrers,
    Blob,
    Uploads,
    Session,
    Tag,
    Manifest,
    Live,
    Ready,
    Instance,
}

const ROUTES: [Route; 12] = [
    Route::Base,
    Route::Catalog,
    Route::Tags,
    Route::Referrers,
    Route::Blob,
    Route::Uploads,
    Route::Session,
    Route::Tag,
    Route::Manifest,
    Route::Live,
    Route::Ready,
    Route::Instance,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    There,
    Missing,
    MalformedName,
    MalformedReference,
    TooLong,
    TooLarge,
}

const STATES: [State; 6] = [
    State::There,
    State::Missing,
    State::MalformedName,
    State::MalformedReference,
    State::TooLong,
    State::TooLarge,
];

/// A status and the code of its error, if it is one.
type Answer = (u16, &'static str);

impl Route {
    /// The methods that are offered.
    fn methods(self) -> &'static [&'static str] {
        match self {
            Self::Uploads => &["POST"],
            Self::Session => &["GET", "HEAD", "PATCH", "PUT", "DELETE"],
            Self::Tag | Self::Manifest => &["GET", "HEAD", "PUT", "DELETE"],
            Self::Blob => &["GET", "HEAD", "DELETE"],
            _ => &["GET", "HEAD"],
        }
    }

    fn is_health(self) -> bool {
        matches!(self, Self::Live | Self::Ready | Self::Instance)
    }

    /// The least role that a method needs.
    fn needs(self, method: &str) -> Role {
        match (self, method) {
            (Self::Session | Self::Uploads, _) | (_, "PUT") => Role::Push,
            (_, "DELETE") => Role::Administrator,
            _ => Role::Pull,
        }
    }

    /// What the answer is when the thing is there.
    fn success(self, method: &str) -> Answer {
        let status = match (self, method) {
            (Self::Uploads, _) | (Self::Session, "PATCH") => 202,
            (Self::Session, "PUT") | (Self::Tag | Self::Manifest, "PUT") => 201,
            (Self::Session, _) => 204,
            (_, "DELETE") => 202,
            _ => 200,
        };
        (status, "")
    }

    /// What the answer is when it is not.
    fn missing(self, method: &str) -> Answer {
        match (self, method) {
            (Self::Tags, _) => (404, "NAME_UNKNOWN"),
            (Self::Blob, _) => (404, "BLOB_UNKNOWN"),
            (Self::Session, _) => (404, "BLOB_UPLOAD_UNKNOWN"),
            (Self::Tag | Self::Manifest, "PUT") => (400, "MANIFEST_BLOB_UNKNOWN"),
            (Self::Tag | Self::Manifest, _) => (404, "MANIFEST_UNKNOWN"),
            // An unknown repository has no referrers, and the first upload makes it.
            _ => self.success(method),
        }
    }

    /// What the answer is when the reference, or what the query holds of one, is malformed.
    fn malformed_reference(self, method: &str) -> Answer {
        match self {
            Self::Catalog | Self::Tags => (400, "PAGINATION_NUMBER_INVALID"),
            Self::Referrers | Self::Blob | Self::Manifest | Self::Uploads => {
                (400, "DIGEST_INVALID")
            }
            Self::Tag => (400, "TAG_INVALID"),
            Self::Session => (404, "BLOB_UPLOAD_UNKNOWN"),
            _ => self.success(method),
        }
    }

    fn has_name(self) -> bool {
        !self.is_health() && !matches!(self, Self::Base | Self::Catalog)
    }
}

/// The contract: parse, authorize, act.
fn expected(route: Route, method: &str, who: Option<Role>, state: State) -> Vec<Answer> {
    if state == State::TooLong {
        return vec![(414, "SIZE_INVALID")];
    }
    if who.is_none() && !route.is_health() {
        return vec![(401, "UNAUTHORIZED")];
    }
    let malformed = match state {
        State::MalformedName if route.has_name() => Some((400, "NAME_INVALID")),
        State::MalformedReference => {
            Some(route.malformed_reference(method)).filter(|answer| answer.0 >= 400)
        }
        _ => None,
    };
    let not_offered = !route.methods().contains(&method);
    match (malformed, not_offered) {
        // Which of two faults is told first is nobody's concern.
        (Some(malformed), true) => return vec![malformed, (405, "UNSUPPORTED")],
        (Some(malformed), false) => return vec![malformed],
        (None, true) => return vec![(405, "UNSUPPORTED")],
        (None, false) => {}
    }
    if !route.is_health() && who.is_some_and(|role| role < route.needs(method)) {
        return vec![(403, "DENIED")];
    }
    match state {
        State::Missing => vec![route.missing(method)],
        State::TooLarge if matches!(route, Route::Tag | Route::Manifest) && method == "PUT" => {
            vec![(413, "SIZE_INVALID")]
        }
        _ => vec![route.success(method)],
    }
}

#[test]
fn every_answer_is_the_contracts() {
    let server = Server::start();
    let administrator = server.administrator();
    let clients = WHO.map(|who| match who {
        None => server.nobody(),
        Some(role) => server.add_user(role.as_str(), role),
    });
    let mut count = 0;
    for route in ROUTES {
        for method in METHODS {
            for (who, client) in WHO.into_iter().zip(&clients) {
                for state in STATES {
                    // A large body is only one where a body is read whole.
                    let is_put = matches!(route, Route::Tag | Route::Manifest) && method == "PUT";
                    if state == State::TooLarge && !is_put {
                        continue;
                    }
                    let allowed = expected(route, method, who, state);
                    let response = ask(&administrator, client, route, method, state);
                    let what = format!("{method} {route:?} {state:?} as {who:?}");
                    judge(&what, route, method, &response, &allowed);
                    count += 1;
                }
            }
        }
    }
    assert!(count > 2000, "only {count} questions");
}

#[track_caller]
fn judge(what: &str, route: Route, method: &str, response: &Response, allowed: &[Answer]) {
    let code = match response.status {
        400.. if method != "HEAD" => response.error().0,
        _ => String::new(),
    };
    let is_allowed = allowed.iter().any(|&(status, expected)| {
        let is_code = method == "HEAD" || expected == code;
        status == response.status && is_code
    });
    assert!(is_allowed, "{what}: {} {code}, not {allowed:?}", response.status);
    if response.status == 405 {
        let mut offered: Vec<&str> = response.must("allow").split(", ").collect();
        let mut methods = route.methods().to_vec();
        offered.sort_unstable();
        methods.sort_unstable();
        assert_eq!(offered, methods, "{what}");
    }
}

/// Makes sure that what is there is there, and asks.
fn ask(owner: &Client, client: &Client, route: Route, method: &str, state: State) -> Response {
    let image = Manifest::image(b"{}", b"layer");
    let is_there = matches!(state, State::There | State::TooLarge);
    let name = match state {
        State::MalformedName => "Upper/case",
        State::Missing => "not/there",
        _ => "is/there",
    };
    if is_there && matches!(route, Route::Blob | Route::Tag | Route::Manifest | Route::Tags) {
        restore(owner);
    }
    let blob = sha256(b"free");
    let bad = state == State::MalformedReference;
    let path = match route {
        Route::Base => "/v2/".to_owned(),
        Route::Catalog => format!("/v2/_catalog{}", if bad { "?n=x" } else { "" }),
        Route::Tags => format!("/v2/{name}/tags/list{}", if bad { "?n=-1" } else { "" }),
        Route::Referrers if bad => format!("/v2/{name}/referrers/latest"),
        Route::Referrers => format!("/v2/{name}/referrers/{}", image.digest()),
        Route::Blob if bad => format!("/v2/{name}/blobs/sha256:abc"),
        Route::Blob => format!("/v2/{name}/blobs/{blob}"),
        Route::Uploads if bad => format!("/v2/{name}/blobs/uploads/?digest=sha256:abc"),
        Route::Uploads => format!("/v2/{name}/blobs/uploads/"),
        Route::Session if bad => format!("/v2/{name}/blobs/uploads/nothing?digest={blob}"),
        // Of the one who asks, who may not be allowed to have one.
        Route::Session if state == State::There && may_push(client) => {
            let location = begin_upload(client, name);
            format!("{location}?digest={}", sha256(b"{}"))
        }
        Route::Session => {
            let id = "01234567-89ab-4def-8123-456789abcdef";
            format!("/v2/{name}/blobs/uploads/{id}?digest={blob}")
        }
        Route::Tag => format!("/v2/{name}/manifests/{}", if bad { "-tag" } else { "tag" }),
        Route::Manifest if bad => format!("/v2/{name}/manifests/sha256:{}", "A".repeat(64)),
        Route::Manifest => format!("/v2/{name}/manifests/{}", image.digest()),
        Route::Live => "/healthz".to_owned(),
        Route::Ready => "/readyz".to_owned(),
        Route::Instance => "/health/instance".to_owned(),
    };
    let path = match state {
        State::TooLong => {
            let separator = if path.contains('?') { '&' } else { '?' };
            format!("{path}{separator}x={}", "x".repeat(33 * 1024))
        }
        _ => path,
    };
    let large = vec![b' '; 4 * 1024 * 1024 + 1];
    match (route, method, state) {
        (Route::Tag | Route::Manifest, "PUT", State::TooLarge) => {
            client.request(method, &path, &[("Content-Type", MediaType::OCI_MANIFEST)], &large)
        }
        (Route::Tag | Route::Manifest, "PUT", _) => {
            client.request(method, &path, &[("Content-Type", &image.media_type)], &image.bytes)
        }
        (Route::Session, "PATCH" | "PUT", _) => client.request(method, &path, &[OCTETS], b"{}"),
        _ => client.request(method, &path, &[], b""),
    }
}

fn restore(owner: &Client) {
    let blob = format!("/v2/is/there/blobs/{}", sha256(b"free"));
    if owner.head(&blob).status != 200 {
        push_blob(owner, "is/there", b"free");
    }
    if owner.head("/v2/is/there/manifests/tag").status != 200 {
        push_image(owner, "is/there", "tag", b"layer");
    }
}

fn may_push(client: &Client) -> bool {
    client.request("POST", "/v2/is/there/blobs/uploads/", &[], b"").status == 202
}

#[test]
fn paths_that_are_none_are_unknown() {
    let server = Server::start();
    let (nobody, reader) = (server.nobody(), server.add_user("reader", Role::Pull));
    for path in [
        "/",
        "/v1/search?q=x&n=25",
        "/v1/",
        "/favicon.ico",
        "/metrics",
        "/v3/",
        "/token",
        "/healthz/",
        "/%ff",
        "/V2/",
        "//v2/",
    ] {
        for method in METHODS {
            for client in [&nobody, &reader] {
                client.request(method, path, &[], b"").expect(404);
            }
        }
    }
    for path in [
        "/v2/a",
        "/v2/a/",
        "/v2/a/b/c",
        "/v2/_catalog/",
        "/v2/_catalog/x",
        "/v2/tags/list",
        "/v2/manifests/1",
        "/v2/a/tags",
        "/v2/a/tags/list/",
        "/v2/a/manifests",
        "/v2/a/unknown/1",
        "/v2/%ff/tags/list",
        "/v2//",
    ] {
        for method in METHODS {
            if method != "HEAD" {
                nobody.request(method, path, &[], b"").refused(401, "UNAUTHORIZED");
            }
            reader.request(method, path, &[], b"").expect(404);
        }
    }
}

#[test]
fn names_are_the_specifications() {
    let server = Server::start();
    let client = server.administrator();
    let longest = format!("{}/b", "a".repeat(253));
    for good in ["a", "a/b/c/d/e/f/g/h/i/j", "a.b_c__d-e--f/0", "tags/list", "uploads", &longest] {
        client.get(&format!("/v2/{good}/tags/list")).refused(404, "NAME_UNKNOWN");
        client.get(&format!("/v2/{good}/manifests/1")).refused(404, "MANIFEST_UNKNOWN");
    }
    for good in ["blobs/uploads/manifests", "manifests", "referrers/tags"] {
        push_image(&client, good, "1", b"layer");
        client.get(&format!("/v2/{good}/manifests/1")).expect(200);
        client.get(&format!("/v2/{good}/tags/list")).expect(200);
    }
    let longer = format!("{longest}c");
    for bad in [
        "A", "a//b", "/a", "a/", "-a", "a-", ".a", "a..b", "a___b", "a._b", "a b", "a%20b", "a:b",
        "a@b", "ä", "%2e%2e", "../a", "a/../b", "a\\b", "a%00b", &longer,
    ] {
        // Bytes beyond ASCII are no HTTP in a path.
        let escaped = bad.replace(' ', "%20").replace('ä', "%C3%A4");
        client.get(&format!("/v2/{escaped}/manifests/1")).refused(400, "NAME_INVALID");
    }
    // Escaped or not, a name is the same name.
    push_image(&client, "ns/a", "1", b"layer");
    client.get("/v2/ns%2Fa/manifests/1").expect(200);
    let tag = "_".repeat(128);
    client.get(&format!("/v2/a/manifests/{tag}")).refused(404, "MANIFEST_UNKNOWN");
    for bad in
        [format!("{tag}_"), "-a".into(), ".a".into(), "a%20b".into(), "a+b".into(), "%C3%A4".into()]
    {
        client.get(&format!("/v2/a/manifests/{bad}")).refused(400, "TAG_INVALID");
    }
}
