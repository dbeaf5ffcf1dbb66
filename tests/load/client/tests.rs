//! The client against a small server that gives tokens, and the reading of what servers say.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::*;
use crate::data::Blob;
use crate::peer::Files;

/// A server that wants a token of its realm for each repository by itself.
#[derive(Default)]
struct Realm {
    given: AtomicUsize,
    refused: AtomicUsize,
}

impl Realm {
    fn answer(&self, port: u16, lasts: u64, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let shown = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let mut answer = Response::new(Full::default());
        if request.uri().path() == "/token" {
            // "us:pw", and a token that is the scope it is for.
            assert_eq!(shown, Some("Basic dXM6cHc="));
            self.given.fetch_add(1, Ordering::Relaxed);
            let query = request.uri().query().unwrap_or_default();
            let scope = query.split('&').filter_map(|pair| pair.strip_prefix("scope=")).next();
            let token = scope.unwrap_or("base").replace([':', '/', ','], "-");
            let text = format!(r#"{{"access_token":"{token}","expires_in":{lasts}}}"#);
            *answer.body_mut() = Full::from(text);
            return answer;
        }
        let repository = request.uri().path().split('/').nth(2).unwrap_or_default();
        let (scope, token) = match repository {
            "" => (String::new(), String::from("base")),
            name => (format!("repository:{name}:pull"), format!("repository-{name}-pull")),
        };
        if shown != Some(format!("Bearer {token}").as_str()) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            let challenge = format!(
                "Bearer realm=\"http://127.0.0.1:{port}/token\",service=\"load\",scope=\"{scope}\""
            );
            *answer.status_mut() = StatusCode::UNAUTHORIZED;
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge.parse().unwrap());
        }
        answer
    }

    /// Listens, and gives tokens that last so many seconds.
    async fn serve(lasts: u64) -> (Arc<Self>, u16) {
        let realm = Arc::new(Self::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = Arc::clone(&realm);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let realm = Arc::clone(&own);
                let service = service_fn(move |request| {
                    let answer = realm.answer(port, lasts, &request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        (realm, port)
    }

    fn counts(&self) -> (usize, usize) {
        (self.given.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }
}

async fn logged_in(port: u16) -> Target {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::write(dir.path()).unwrap();
    let target = Target::new(&format!("http://127.0.0.1:{port}"), &files.ca).unwrap();
    target.log_in("us", "pw").await.unwrap()
}

#[tokio::test]
async fn a_token_is_fetched_once_for_what_it_is_for() {
    let (realm, port) = Realm::serve(3600).await;
    let target = logged_in(port).await;
    // One refusal of what is without a login, one of the first question with it.
    assert_eq!(realm.counts(), (1, 2));
    for _ in 0..2 {
        for name in ["a", "b"] {
            let mut connection = target.connect().await.unwrap();
            for _ in 0..3 {
                let path = format!("/v2/{name}/manifests/latest");
                connection.get_manifest(&path, |_| {}).await.unwrap();
            }
            assert_eq!(connection.take_waits().len(), 3);
        }
    }
    assert_eq!(realm.counts(), (3, 4));
}

#[tokio::test]
async fn a_token_is_renewed_when_its_time_is_over() {
    let (realm, port) = Realm::serve(0).await;
    let target = logged_in(port).await;
    let mut connection = target.connect().await.unwrap();
    for _ in 0..3 {
        connection.get("/v2/a/blobs/sha256:00", |_| {}).await.unwrap();
    }
    assert_eq!(realm.counts(), (4, 3));
}

#[tokio::test]
async fn an_answer_that_is_not_expected_is_told_apart_from_a_failure() {
    let (_, port) = Realm::serve(3600).await;
    let mut connection = logged_in(port).await.connect().await.unwrap();
    let error = connection.push_blob("a", &Blob::from(b"x".to_vec())).await.unwrap_err();
    let unexpected = error.downcast_ref::<Unexpected>().unwrap();
    assert!(
        unexpected.to_string().starts_with("POST /v2/a/blobs/uploads/: answered 200"),
        "{error}"
    );
}
