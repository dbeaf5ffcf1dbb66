//! One request: parse, authorize, act, reply.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONNECTION, EXPECT, HeaderName, HeaderValue};
use hyper::http::request;
use hyper::{Method, Request, Response, Version};
use storage::{Store, UserName};

use crate::auth::access::{Access, Principal};
use crate::auth::{Authenticator, network};
use crate::blocking::Blocking;
use crate::limits::Limits;
use crate::logging::quota::Quotas;
use crate::route::{Route, is_below_v2};
use crate::share::{Memory, Owner};

mod blob;
pub mod body;
mod framing;
pub(crate) mod header;
mod health;
mod list;
mod log;
mod manifest;
mod range;
mod received;
mod refusal;
mod reply;
pub mod resting;
mod upload;

use crate::error::ApiError;
use body::{ReplyBody, RequestBody};
use log::Asked;
use resting::Rest;

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
    /// Batches of uploads that are in memory now.
    pub batches: Arc<AtomicUsize>,
    /// Blobs that are being sent now.
    pub sending: Arc<AtomicUsize>,
    /// How much of what clients bring about is logged.
    pub quotas: Arc<Quotas>,
    /// Set when the server no longer takes new work.
    pub is_stopping: Arc<AtomicBool>,
}

/// A reply, or why there is none.
type Outcome = Result<Response<ReplyBody>, ApiError>;

/// An answer, and what is to be done with a body of which not all has come.
pub struct Answer {
    /// The reply.
    pub reply: Response<ReplyBody>,
    /// What is left of the body, if the client may still be sending it.
    pub rest: Option<RequestBody>,
    /// Whether the client waits for leave to send it: reading it before the reply is on its way
    /// would give that.
    pub is_held_back: bool,
}

impl App {
    /// A server of this store.
    pub fn new(
        store: Arc<Store>,
        blocking: Blocking,
        authenticator: Authenticator,
        limits: Limits,
        quotas: Arc<Quotas>,
    ) -> Self {
        Self {
            store,
            blocking,
            authenticator,
            memory: Memory::new(&limits),
            limits: Arc::new(limits),
            owner: Owner::Server,
            batches: Arc::default(),
            sending: Arc::default(),
            quotas,
            is_stopping: Arc::default(),
        }
    }

    /// Answers one request of the client at `peer`. Whoever logs in with it is told to `logged_in`
    /// before anything is done. What is left of its body, if the client may still be sending it, is
    /// to be read and dropped while the answer is on its way. While the body rests, `rest` says so.
    pub async fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        rest: Arc<Rest>,
        logged_in: &(dyn Fn(&UserName) + Sync),
    ) -> Answer {
        let started = Instant::now();
        let (head, incoming) = request.into_parts();
        let mut body = RequestBody::new(incoming, self.limits.body_idle_time, rest);
        let (user, outcome) = self.outcome(&head, &mut body, peer, logged_in).await;
        let asked = Asked { head: &head, peer, user: user.as_ref(), started };
        let reply = outcome.unwrap_or_else(|refusal| {
            log::refusal(&self.quotas, asked, &refusal);
            refusal.reply()
        });
        log::request(&self.quotas, asked, &reply);
        let mut reply = finish(reply);
        if body.is_done() {
            return Answer { reply, rest: None, is_held_back: false };
        }
        // A client that waits for "100 Continue" may send no body after a final answer, or send it
        // all the same: then what comes next cannot be told from the next request.
        let is_held_back = !body.is_begun() && asks_for_leave(&head);
        if is_held_back || !body.is_nearly_done(self.limits.kept_body_bytes) {
            // RFC 9112 section 9.6: who is going to close says so.
            reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Answer { reply, rest: Some(body), is_held_back }
    }

    async fn outcome(
        &self,
        head: &request::Parts,
        body: &mut RequestBody,
        peer: SocketAddr,
        logged_in: &(dyn Fn(&UserName) + Sync),
    ) -> (Option<UserName>, Outcome) {
        let route = self.parse(head);
        // What is malformed is told only to those who may log in; what is no message of HTTP, and
        // unknown paths, to anybody.
        let access = match &route {
            Ok(route) => route.access(),
            Err(refusal) if !refusal.is_of_message() && is_below_v2(head.uri.path()) => {
                Access::Login
            }
            Err(_) => Access::None,
        };
        let header = head.headers.get(AUTHORIZATION);
        let is_list = route.as_ref().is_ok_and(Route::is_list);
        let patience = is_list.then_some(self.limits.login_wait_time);
        let authorized = self.authenticator.authorize(access, header, peer.ip(), patience).await;
        let principal = match authorized {
            Ok(principal) => principal,
            Err(refusal) => {
                let user = match &refusal {
                    ApiError::Denied { user, .. } => Some(user.clone()),
                    _ => None,
                };
                return (user, Err(refusal));
            }
        };
        if let Some(user) = principal.name() {
            logged_in(user);
        }
        let outcome = match route {
            Ok(route) => match self.act_at_once(&route, &head.method, &principal) {
                Some(reply) => Ok(reply),
                None => {
                    let owner = match principal.name() {
                        None => Owner::Address(network(peer.ip())),
                        Some(user) => Owner::User(user.clone()),
                    };
                    let app = self.on_behalf_of(owner);
                    // Apart, so that what does not wait moves none of its state about.
                    Box::pin(app.act(route, head, body, &principal)).await
                }
            },
            Err(refusal) => Err(refusal),
        };
        (principal.name().cloned(), outcome)
    }

    /// Does what needs neither the disk nor anything else that there is little of.
    ///
    /// So it takes nothing of anybody's share. Nor does whoever asks for nothing else get more of
    /// the server than with other requests: it takes a microsecond or two on the thread that turns
    /// the event loop, less than reading the request and writing the answer, which every request
    /// costs there. After some requests of one connection hyper lets others go first, however many
    /// more lie in its buffer. With a thread for each, such requests kept others from threads, too.
    fn act_at_once(
        &self,
        route: &Route,
        method: &Method,
        principal: &Principal,
    ) -> Option<Response<ReplyBody>> {
        let Route::ManifestRead(name, reference) = route else { return None };
        let may_push = principal.may(Access::Push);
        manifest::read_at_once(self, method, name, reference, may_push)
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
        framing::check(head)?;
        Route::parse(&head.method, head.uri.path(), head.uri.query())
    }

    async fn act(
        &self,
        route: Route,
        head: &request::Parts,
        body: &mut RequestBody,
        principal: &Principal,
    ) -> Outcome {
        match (route, principal.account()) {
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
            (Route::ManifestDelete(name, reference), _) => {
                manifest::delete(self, name, reference, principal.name()).await
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

    /// Does what only reads the store, on a thread that may block.
    async fn read<T: Send + 'static>(&self, work: impl FnOnce(&Store) -> T + Send + 'static) -> T {
        let store = Arc::clone(&self.store);
        self.blocking.read(move || work(&store)).await
    }

    /// Does what writes, likewise. It is done to its end even if nobody waits for it any more.
    async fn write<T: Send + 'static>(&self, work: impl FnOnce(&Store) -> T + Send + 'static) -> T {
        let store = Arc::clone(&self.store);
        self.blocking.write(move || work(&store)).await
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

/// Whether the client waits for "100 Continue" before it sends the body. HTTP/1.0 knows no such
/// thing (RFC 9110 section 10.1.1).
fn asks_for_leave(head: &request::Parts) -> bool {
    let expected = head.headers.get(EXPECT).map(HeaderValue::as_bytes);
    let is_asked = expected.is_some_and(|what| what.eq_ignore_ascii_case(b"100-continue"));
    is_asked && head.version > Version::HTTP_10
}
