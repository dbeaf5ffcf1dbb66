//! Who a request comes from, and whether that is enough.
//!
//! Verifying a password costs argon2id, on purpose. It runs off the async threads, one at a time,
//! and requests that wait for the same credential share one verification. A verified credential
//! is remembered for a while as a keyed hash, so the thousands of requests of one mirror run cost
//! one argon2 and never queue. What is remembered is worth nothing once any user changed.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use aws_lc_rs::hmac;
use hyper::header::HeaderValue;
use storage::{Role, StorageError, Store, UserName};
use tokio::sync::{Semaphore, watch};
use tracing::{error, warn};

use crate::api::error::ApiError;
use crate::blocking::Blocking;
use crate::limits::Limits;

pub mod access;
pub(crate) mod basic;
pub mod password;

use access::{Access, Principal, allows};
use basic::{Authorization, Credentials};
use password::{Password, PasswordError};

/// Decides who may do what.
#[derive(Clone)]
pub struct Authenticator(Arc<Inner>);

struct Inner {
    store: Arc<Store>,
    blocking: Blocking,
    limits: Limits,
    open_pulls: bool,
    /// Keys the hashes of remembered credentials; made anew by each process and never stored.
    key: hmac::Key,
    /// Verified when there is no such user, so that the answer takes as long as for a wrong
    /// password.
    decoy: String,
    one_at_a_time: Semaphore,
    memory: Mutex<HashMap<Fingerprint, Remembered>>,
    waiting: Mutex<HashMap<Fingerprint, Waiting>>,
}

/// The keyed hash of a user name and a password.
type Fingerprint = [u8; 32];

struct Remembered {
    principal: Principal,
    users_version: u64,
    since: Instant,
}

/// A verification that is under way.
struct Waiting {
    address: IpAddr,
    outcome: watch::Receiver<Option<Result<Principal, ApiError>>>,
}

/// A verification that ends.
struct Leaving {
    inner: Arc<Inner>,
    fingerprint: Fingerprint,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        lock(&self.inner.waiting).remove(&self.fingerprint);
    }
}

impl Authenticator {
    /// Prepares for the users of `store`.
    ///
    /// # Errors
    /// Fails only when the kernel gives no random bytes or there is no memory for a hash.
    pub fn new(
        store: Arc<Store>,
        blocking: Blocking,
        limits: Limits,
        open_pulls: bool,
    ) -> Result<Self, PasswordError> {
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).map_err(|_| PasswordError::Random)?;
        Ok(Self(Arc::new(Inner {
            store,
            blocking,
            limits,
            open_pulls,
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            decoy: Password::random()?.hash()?,
            one_at_a_time: Semaphore::new(1),
            memory: Mutex::new(HashMap::new()),
            waiting: Mutex::new(HashMap::new()),
        })))
    }

    /// Lets a request with this `Authorization` header from this address do what it needs, or
    /// says why not.
    ///
    /// # Errors
    /// [`ApiError::LoginNeeded`], [`ApiError::LoginFailed`], [`ApiError::LoginsBusy`] or
    /// [`ApiError::Denied`].
    pub async fn authorize(
        &self,
        access: Access,
        header: Option<&HeaderValue>,
        address: IpAddr,
    ) -> Result<Principal, ApiError> {
        if access == Access::None {
            return Ok(Principal::Anonymous);
        }
        let principal = match basic::parse(header, self.0.limits.authorization_bytes) {
            Authorization::Absent => Principal::Anonymous,
            Authorization::Unusable => return Err(ApiError::LoginFailed),
            Authorization::Basic(credentials) => self.verify(credentials, address).await?,
        };
        match &principal {
            Principal::Anonymous if access == Access::Pull && self.0.open_pulls => Ok(principal),
            Principal::Anonymous => Err(ApiError::LoginNeeded),
            Principal::User { role, .. } if allows(*role, access) => Ok(principal),
            Principal::User { role, .. } => Err(ApiError::Denied { access, role: *role }),
        }
    }

    async fn verify(
        &self,
        credentials: Credentials,
        address: IpAddr,
    ) -> Result<Principal, ApiError> {
        let fingerprint = self.0.fingerprint(&credentials);
        if let Some(principal) = self.0.recall(&fingerprint) {
            return Ok(principal);
        }
        let Some(mut outcome) = self.queue(fingerprint, credentials, network(address)) else {
            tokio::time::sleep(self.0.limits.login_delay_time).await;
            return Err(ApiError::LoginsBusy);
        };
        match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Err(ApiError::LoginFailed)),
            Err(_) => Err(ApiError::LoginFailed),
        }
    }

    /// Joins the verification of this credential that is under way, or begins one; `None` if
    /// this address has too many under way.
    fn queue(
        &self,
        fingerprint: Fingerprint,
        credentials: Credentials,
        address: IpAddr,
    ) -> Option<watch::Receiver<Option<Result<Principal, ApiError>>>> {
        let mut waiting = lock(&self.0.waiting);
        if let Some(same) = waiting.get(&fingerprint) {
            return Some(same.outcome.clone());
        }
        let of_address = waiting.values().filter(|other| other.address == address).count();
        let limits = &self.0.limits;
        if of_address >= limits.logins_per_address || waiting.len() >= limits.logins_waiting {
            return None;
        }
        let (sender, outcome) = watch::channel(None);
        waiting.insert(fingerprint, Waiting { address, outcome: outcome.clone() });
        drop(waiting);
        let inner = Arc::clone(&self.0);
        // A task of its own: others may wait for it when the client that began it is gone.
        tokio::spawn(async move {
            // Removed even after a panic, or nobody could log in with this credential again.
            let leaving = Leaving { inner: Arc::clone(&inner), fingerprint };
            let verdict = inner.check(fingerprint, credentials).await;
            if verdict == Err(ApiError::LoginFailed) {
                warn!(%address, "a login failed");
            }
            drop(leaving);
            let _ = sender.send(Some(verdict));
        });
        Some(outcome)
    }
}

impl Inner {
    async fn check(
        self: Arc<Self>,
        fingerprint: Fingerprint,
        credentials: Credentials,
    ) -> Result<Principal, ApiError> {
        let inner = Arc::clone(&self);
        // The semaphore is never closed; without a permit the work would only be less orderly.
        let _permit = self.one_at_a_time.acquire().await.ok();
        let verdict = self.blocking.read(move || inner.look_up(&credentials)).await;
        let (principal, users_version) = match verdict {
            Ok(Some(found)) => found,
            Ok(None) => return Err(ApiError::LoginFailed),
            Err(cause) => {
                error!(%cause, "a user could not be read");
                return Err(cause.into());
            }
        };
        let entry =
            Remembered { principal: principal.clone(), users_version, since: Instant::now() };
        let mut memory = lock(&self.memory);
        if memory.len() >= self.limits.login_memory_entries {
            memory.retain(|_, entry| self.is_current(entry));
        }
        if memory.len() < self.limits.login_memory_entries {
            memory.insert(fingerprint, entry);
        }
        Ok(principal)
    }

    fn look_up(&self, credentials: &Credentials) -> Result<Option<(Principal, u64)>, StorageError> {
        // Read before the user, so that a change in between makes the memory of it stale.
        let version = self.store.users_version();
        let user = match credentials.user.parse::<UserName>() {
            Ok(name) => self.store.user(&name)?,
            Err(_) => None,
        };
        let hash = user.as_ref().map_or(self.decoy.as_str(), |user| &user.password_hash);
        let is_right = password::is_right(&credentials.password, hash);
        let principal = |name: UserName, role: Role| (Principal::User { name, role }, version);
        Ok(user.filter(|_| is_right).map(|user| principal(user.name, user.role)))
    }

    fn recall(&self, fingerprint: &Fingerprint) -> Option<Principal> {
        let memory = lock(&self.memory);
        memory.get(fingerprint).filter(|e| self.is_current(e)).map(|e| e.principal.clone())
    }

    fn is_current(&self, entry: &Remembered) -> bool {
        entry.users_version == self.store.users_version()
            && entry.since.elapsed() < self.limits.login_memory_time
    }

    fn fingerprint(&self, credentials: &Credentials) -> Fingerprint {
        let mut context = hmac::Context::with_key(&self.key);
        // The length keeps "a" + "bc" apart from "ab" + "c".
        context.update(&(credentials.user.len() as u64).to_le_bytes());
        context.update(credentials.user.as_bytes());
        context.update(&credentials.password);
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(context.sign().as_ref());
        fingerprint
    }
}

/// What counts as one address: of IPv6 the network, since one host commands all of it.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
