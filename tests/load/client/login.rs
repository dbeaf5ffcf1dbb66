//! The login, shown as the server asks for it: with each request, or as tokens that are fetched
//! where the server says, kept for what they are for, and renewed before they run out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use http_body_util::BodyExt as _;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::challenge::{Challenge, Grant};
use super::endpoint::{Endpoint, Trust};
use crate::data::Payload;

/// Name and password, and how they are shown.
#[derive(Clone)]
pub(crate) struct Login {
    basic: HeaderValue,
    tokens: Option<Arc<Tokens>>,
}

impl Login {
    /// A login that is shown with each request until something else is asked for.
    pub(crate) fn new(user: &str, password: &str) -> Result<Self> {
        let login = BASE64_STANDARD.encode(format!("{user}:{password}"));
        Ok(Self { basic: HeaderValue::try_from(format!("Basic {login}"))?, tokens: None })
    }

    /// The same login, shown as the server asked for it.
    pub(crate) fn asked_by(self, challenge: &Challenge, trust: &Trust) -> Self {
        let tokens = match challenge {
            Challenge::Basic => None,
            Challenge::Bearer(_) => Some(Arc::new(Tokens {
                basic: self.basic.clone(),
                trust: trust.clone(),
                known: Mutex::default(),
            })),
        };
        Self { tokens, ..self }
    }

    /// What to show with a request, if it is known yet.
    pub(crate) async fn header(&self, method: &Method, path: &str) -> Result<Option<HeaderValue>> {
        match &self.tokens {
            None => Ok(Some(self.basic.clone())),
            Some(tokens) => tokens.known(&purpose(method, path)).await,
        }
    }

    /// What to show after an answer 401 to what was `shown`; `None` where there is nothing else.
    pub(crate) async fn header_after(
        &self,
        method: &Method,
        path: &str,
        shown: Option<&HeaderValue>,
        challenge: Option<Challenge>,
    ) -> Result<Option<HeaderValue>> {
        match (&self.tokens, challenge) {
            (Some(tokens), Some(Challenge::Bearer(grant))) => {
                Ok(Some(tokens.renewed(&purpose(method, path), shown, grant).await?))
            }
            _ => Ok(None),
        }
    }
}

/// The tokens that were fetched, each with what it is for.
struct Tokens {
    basic: HeaderValue,
    trust: Trust,
    // Held while one is fetched, so that many who want the same one fetch it once.
    known: Mutex<HashMap<String, Token>>,
}

struct Token {
    grant: Grant,
    header: HeaderValue,
    expires: Instant,
}

impl Tokens {
    async fn known(&self, purpose: &str) -> Result<Option<HeaderValue>> {
        let mut known = self.known.lock().await;
        let Some(token) = known.get_mut(purpose) else { return Ok(None) };
        if token.expires <= Instant::now() {
            *token = self.fetch(token.grant.clone()).await?;
        }
        Ok(Some(token.header.clone()))
    }

    async fn renewed(
        &self,
        purpose: &str,
        refused: Option<&HeaderValue>,
        grant: Grant,
    ) -> Result<HeaderValue> {
        let mut known = self.known.lock().await;
        // Somebody else may have fetched it since.
        if let Some(token) = known.get(purpose).filter(|token| Some(&token.header) != refused) {
            return Ok(token.header.clone());
        }
        let token = self.fetch(grant).await?;
        let header = token.header.clone();
        known.insert(purpose.to_owned(), token);
        Ok(header)
    }

    async fn fetch(&self, grant: Grant) -> Result<Token> {
        let realm: Uri = grant.realm.parse().with_context(|| format!("realm {}", grant.realm))?;
        let asked = || format!("asking {realm} for a token");
        let endpoint = Endpoint::new(&realm, &self.trust).with_context(asked)?;
        let path = realm.path_and_query().map_or("/", |path| path.as_str());
        let join = if path.contains('?') { '&' } else { '?' };
        let request = Request::get(format!("{path}{join}{}", grant.query()))
            .header(HOST, endpoint.authority())
            .header(AUTHORIZATION, &self.basic)
            .body(Payload::default())?;
        let begin = Instant::now();
        let answer = endpoint.open().await?.sender.send_request(request).await;
        let answer = answer.with_context(asked)?;
        let status = answer.status();
        ensure!(status == StatusCode::OK, "{}: answered {status}", asked());
        let body = answer.into_body().collect().await.with_context(asked)?.to_bytes();
        let given: Given = serde_json::from_slice(&body).with_context(asked)?;
        let token = given.token.or(given.access_token).with_context(asked)?;
        let lasts = Duration::from_secs(given.expires_in.unwrap_or(LASTS_SECONDS));
        Ok(Token {
            grant,
            header: HeaderValue::try_from(format!("Bearer {token}"))?,
            // Renewed while a fifth of its time is left: the request takes some of it.
            expires: begin + lasts * 4 / 5,
        })
    }
}

/// What a realm answers.
#[derive(Deserialize)]
struct Given {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// What a token for a request is for: a repository, to read or to write, and one to mount from.
fn purpose(method: &Method, path: &str) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let rest = path.strip_prefix("/v2/").unwrap_or(path);
    let ends = ["/blobs/", "/manifests/", "/tags/"].iter().filter_map(|part| rest.rfind(part));
    let repository = ends.min().map_or(rest, |end| &rest[..end]);
    let verb = if [Method::GET, Method::HEAD].contains(method) { "pull" } else { "push" };
    let from = query.split('&').find_map(|pair| pair.strip_prefix("from="));
    match from {
        Some(from) => format!("{repository} {verb} {from}"),
        None => format!("{repository} {verb}"),
    }
}

/// How long a token lasts where the realm does not say, in seconds: the protocol's own default.
const LASTS_SECONDS: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_kept_for_what_they_are_for() {
        for (method, path, expected) in [
            (Method::GET, "/v2/a/b/manifests/latest", "a/b pull"),
            (Method::HEAD, "/v2/a/blobs/sha256:00", "a pull"),
            (Method::POST, "/v2/a/b/blobs/uploads/", "a/b push"),
            (Method::PUT, "/v2/a/blobs/uploads/1?digest=sha256%3A00", "a push"),
            (Method::POST, "/v2/a/blobs/uploads/?mount=x&from=b/c", "a push b/c"),
            (Method::GET, "/v2/", " pull"),
        ] {
            assert_eq!(purpose(&method, path), expected, "{path}");
        }
    }
}
