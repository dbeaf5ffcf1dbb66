//! One request: parse, authorize, act, reply.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, EXPECT, HeaderName, HeaderValue};
use hyper::http::request;
use hyper::{Method, Request, Response};
use storage::{StorageError, Store, UserName};
use tracing::{debug, error, info};

use crate::auth::access::{Access, Principal};
use crate::auth::{Authenticator, network};
use crate::blocking::Blocking;
use crate::limits::Limits;
use crate::route::Route;
use crate::share::{Memory, Owner};

mod blob;
pub mod body;
pub mod error;
pub(crate) mod header;
mod health;
mod list;
mod manifest;
mod upload;

use body::{ReplyBody, RequestBody};
use error::ApiError;

/// What every handler gets: the store, the bridge to it, and the bounds. All copies are one server.
#[derive(Clone)]
pub struct App {
    /// The store this process owns.
    pub store: Arc<Store>,
    /// The bridge to blocking code.
    pub blocking: Blocking,
    /// Who may do what.
    pub authenticator: Authenticator,
    /// The bounds.
    pub limits: Arc<Limits>,
    /// Room for long requests and replies.
    pub memory: Memory,
    /// Whose the request is that is being answered.
    pub owner: Owner,
    /// Uploads whose bytes are arriving now.
    pub receiving: Arc<AtomicUsize>,
    /// Blobs that are being sent now.
    pub sending: Arc<AtomicUsize>,
    /// Set when the server no longer takes new work.
    pub is_stopping: Arc<AtomicBool>,
}

/// A reply, or why there is none.
type Outcome = Result<Response<ReplyBody>, ApiError>;

impl App {
    /// A server of this store.
    pub fn new(
        store: Arc<Store>,
        blocking: Blocking,
        authenticator: Authenticator,
        limits: Limits,
    ) -> Self {
        Self {
            store,
            blocking,
            authenticator,
            memory: Memory::new(&limits),
            limits: Arc::new(limits),
            owner: Owner::Server,
            receiving: Arc::default(),
            sending: Arc::default(),
            is_stopping: Arc::default(),
        }
    }

    /// Answers one request of the client at `peer`. Whoever logs in with it is told to `logged_in`
    /// before anything is done. What is left of its body, if the client may
    /// still be sending it, is to be read and dropped while the answer is on its way.
    pub async fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        logged_in: &(dyn Fn(&UserName) + Sync),
    ) -> (Response<ReplyBody>, Option<RequestBody>) {
        let started = Instant::now();
        let (head, incoming) = request.into_parts();
        let mut body = RequestBody::new(incoming, self.limits.body_idle_time);
        let (user, outcome) = self.outcome(&head, &mut body, peer, logged_in).await;
        let reply = outcome.unwrap_or_else(|refusal| {
            log_failure(&refusal, &head);
            refusal.reply()
        });
        // A client that waits for "100 Continue" sends no body after a final answer.
        let is_coming = body.is_begun() || !head.headers.contains_key(EXPECT);
        let rest = (is_coming && !body.is_done()).then_some(body);
        log_request(&head, peer, user.as_ref(), &reply, started);
        (finish(reply), rest)
    }

    async fn outcome(
        &self,
        head: &request::Parts,
        body: &mut RequestBody,
        peer: SocketAddr,
        logged_in: &(dyn Fn(&UserName) + Sync),
    ) -> (Option<UserName>, Outcome) {
        let route = self.parse(head);
        // What is malformed is told only to those who may log in; unknown paths to anybody.
        let access = match &route {
            Ok(route) => route.access(),
            Err(ApiError::HeadTooLarge { .. } | ApiError::UriTooLong { .. }) => Access::None,
            Err(_) if head.uri.path().starts_with("/v2/") => Access::Login,
            Err(_) => Access::None,
        };
        let header = head.headers.get(AUTHORIZATION);
        let is_list = route.as_ref().is_ok_and(Route::is_list);
        let patience = is_list.then_some(self.limits.login_wait_time);
        let authorized = self.authenticator.authorize(access, header, peer.ip(), patience).await;
        let principal = match authorized {
            Ok(principal) => principal,
            Err(refusal) => return (None, Err(refusal)),
        };
        if let Some(user) = principal.name() {
            logged_in(user);
        }
        let outcome = match route {
            Ok(route) => {
                let owner = match &principal {
                    Principal::Anonymous => Owner::Address(network(peer.ip())),
                    Principal::User { name, .. } => Owner::User(name.clone()),
                };
                self.on_behalf_of(owner).act(route, head, body, &principal).await
            }
            Err(refusal) => Err(refusal),
        };
        let user = match principal {
            Principal::Anonymous => None,
            Principal::User { name, .. } => Some(name),
        };
        (user, outcome)
    }

    /// The same server, working for somebody who has a share of it.
    fn on_behalf_of(&self, owner: Owner) -> Self {
        Self { blocking: self.blocking.of(owner.clone()), owner, ..self.clone() }
    }

    fn parse(&self, head: &request::Parts) -> Result<Route, ApiError> {
        // hyper ends a head that does not fit its buffer, but one that came in a single read may
        // be longer than the bound.
        let header = |(name, value): (&HeaderName, &HeaderValue)| {
            name.as_str().len() + value.len() + HEADER_PUNCTUATION_BYTES
        };
        if head.headers.iter().map(header).sum::<usize>() > self.limits.head_bytes {
            let Limits { head_bytes, headers, .. } = *self.limits;
            return Err(ApiError::HeadTooLarge { limit: head_bytes, headers });
        }
        let uri = head.uri.path_and_query().map_or(0, |uri| uri.as_str().len());
        if uri > self.limits.uri_bytes {
            return Err(ApiError::UriTooLong { limit: self.limits.uri_bytes });
        }
        Route::parse(&head.method, head.uri.path(), head.uri.query())
    }

    async fn act(
        &self,
        route: Route,
        head: &request::Parts,
        body: &mut RequestBody,
        principal: &Principal,
    ) -> Outcome {
        match (route, principal.name()) {
            (Route::Live, _) => Ok(health::live()),
            (Route::Ready, _) => health::ready(self).await,
            (Route::Instance, _) => Ok(health::instance(self).await),
            (Route::Base, _) => Ok(health::base()),
            (Route::Catalog(page), _) => list::catalog(self, page).await,
            (Route::Tags(name, page), _) => list::tags(self, name, page).await,
            (Route::Referrers(name, subject, query), _) => {
                list::referrers(self, name, subject, query).await
            }
            (Route::BlobRead(name, digest), _) => {
                blob::read(self, head, name, digest, principal.may(Access::Push)).await
            }
            (Route::BlobDelete(name, digest), _) => blob::delete(self, name, digest).await,
            (Route::ManifestRead(name, reference), _) => {
                let may_push = principal.may(Access::Push);
                manifest::read(self, &head.method, name, reference, may_push).await
            }
            (Route::ManifestPut(name, reference, tags), by) => {
                manifest::put(self, head, body, name, reference, tags, by).await
            }
            (Route::ManifestDelete(name, reference), by) => {
                manifest::delete(self, name, reference, by).await
            }
            (Route::UploadStart(name, algorithm), Some(user)) => {
                upload::start(self, name, user, algorithm).await
            }
            (Route::UploadWhole(name, digest), Some(user)) => {
                upload::whole(self, head, body, name, user, digest).await
            }
            (Route::Mount(name, digest, from), Some(user)) => {
                upload::mount(self, name, user, digest, from).await
            }
            (Route::UploadStatus(name, id), Some(user)) => {
                upload::status(self, name, user, id).await
            }
            (Route::UploadAppend(name, id), Some(user)) => {
                upload::append(self, head, body, name, user, id).await
            }
            (Route::UploadFinish(name, id, digest), Some(user)) => {
                upload::finish(self, head, body, name, user, id, digest).await
            }
            (Route::UploadCancel(name, id), Some(user)) => {
                upload::cancel(self, name, user, id).await
            }
            // Nobody gets the right to push without being somebody.
            (_, None) => Err(ApiError::LoginNeeded),
        }
    }

    /// Whether the server has been told to stop.
    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }
}

/// The colon, the space and the line's end of a header.
const HEADER_PUNCTUATION_BYTES: usize = 4;

/// Adds what every reply has.
fn finish(mut reply: Response<ReplyBody>) -> Response<ReplyBody> {
    for (name, value) in header::OF_EVERY_REPLY {
        reply.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    reply
}

fn log_failure(refusal: &ApiError, head: &request::Parts) {
    // That the disk is read-only is said once, and not for each push and each look at /readyz.
    let is_told = matches!(refusal, ApiError::Storage(StorageError::ReadOnly));
    if refusal.status().0.is_server_error() && !is_told {
        error!(method = %head.method, path = head.uri.path(), cause = %refusal, "a request failed");
    } else {
        debug!(method = %head.method, path = head.uri.path(), cause = %refusal, "refused");
    }
}

/// Logs what changed something, and everything at the level of details.
fn log_request(
    head: &request::Parts,
    peer: SocketAddr,
    user: Option<&UserName>,
    reply: &Response<ReplyBody>,
    started: Instant,
) {
    let user = user.map_or("-", UserName::as_str);
    let (method, path, status) = (&head.method, head.uri.path(), reply.status().as_u16());
    let milliseconds = started.elapsed().as_millis();
    let changes = matches!(*method, Method::PUT | Method::DELETE) && reply.status().is_success();
    if changes {
        info!(%peer, user, %method, path, status, milliseconds, "request");
    } else {
        debug!(%peer, user, %method, path, status, milliseconds, "request");
    }
}
