//! The client: connections that stay open, one request at a time on each, every answer's status
//! checked, and what each took to come noted.
//!
//! It is made to cost little, since it shares the machine with the server under measurement:
//! bodies are dropped as they come, and nothing is retried.

use std::path::Path;

use anyhow::{Context, Result};
use http_body_util::BodyExt as _;
use hyper::{StatusCode, Uri};

mod answer;
mod challenge;
mod connection;
mod endpoint;
mod login;

pub(crate) use answer::Unexpected;
use challenge::Challenge;
pub(crate) use connection::Connection;
use endpoint::{Endpoint, Trust};
use login::Login;

/// A server, and all that is needed to talk to it.
#[derive(Clone)]
pub(crate) struct Target {
    endpoint: Endpoint,
    trust: Trust,
    login: Option<Login>,
}

impl Target {
    /// The server at `url` (`https://HOST:PORT`), believed when its certificate is for that host
    /// and leads to a certificate in `ca_file`. Nothing is shown to it before [`Target::log_in`].
    /// Fails when the URL or the file cannot be read.
    pub(crate) fn new(url: &str, ca_file: &Path) -> Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url} is no address"))?;
        let trust = Trust::new(ca_file)?;
        Ok(Self { endpoint: Endpoint::new(&uri, &trust)?, trust, login: None })
    }

    /// Asks for the base of the API without and with the login, as clients do first, and shows
    /// it from then on as the server asked for it. Fails unless the first is answered 401 with a
    /// challenge that is understood, and the second 200.
    pub(crate) async fn log_in(mut self, user: &str, password: &str) -> Result<Self> {
        let answer = self.connect().await?.base().await?;
        let what = "GET /v2/ without a login";
        let answer = answer::expect(answer, what, &[StatusCode::UNAUTHORIZED]).await?;
        let challenge = Challenge::of(answer.headers());
        let challenge = challenge.with_context(|| format!("{what}: no challenge to meet"))?;
        self.login = Some(Login::new(user, password)?.asked_by(&challenge, &self.trust));
        self.connect().await?.get("/v2/", |_| {}).await?;
        Ok(self)
    }

    /// The same, with new handshakes that never go on with a session from before.
    pub(crate) fn without_resumption(&self) -> Self {
        Self { endpoint: self.endpoint.clone().without_resumption(), ..self.clone() }
    }

    /// The same, with at most about so many bytes that wait in the kernel to be read.
    pub(crate) fn with_receive_bytes(&self, bytes: u32) -> Self {
        Self { endpoint: self.endpoint.clone().with_receive_bytes(bytes), ..self.clone() }
    }

    /// Opens a connection; the handshake is done when this returns.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        Connection::open(&self.endpoint, self.login.as_ref()).await
    }

    /// Whether anything answers a request, whatever the answer is.
    pub(crate) async fn answers(&self) -> bool {
        let asked = async {
            let answer = self.connect().await?.base().await?;
            answer.into_body().collect().await?;
            anyhow::Ok(())
        };
        asked.await.is_ok()
    }
}

#[cfg(test)]
mod tests;
