//! Who a request comes from, and whether that is enough.
//!
//! Verifying a password costs argon2id, on purpose. It runs off the async threads, one at a time in
//! a queue that is fair (`auth/queue.rs`), and requests that wait for the same credential share one
//! verification. Whoever was right once is remembered (`auth/known.rs`), so the thousands of
//! requests of one mirror run cost one argon2, and no crowd of guesses makes them wait.
//!
//! A credential that was never right may have to wait long while somebody guesses. Its requests
//! do: a login, a pull and a push hear what is true of them, however late, since clients report a
//! 401 as a wrong password and do not repeat an upload after a 429. Only lists, which nobody needs
//! at once, hear after a while that it takes long.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use hyper::header::HeaderValue;
use storage::{StorageError, Store, User, UserName};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{error, warn};

use crate::advice::told;
use crate::blocking::Blocking;
use crate::error::ApiError;
use crate::limits::Limits;
use crate::logging::quota::{Kind, Quotas};

pub mod access;
pub(crate) mod basic;
mod early;
mod known_credentials;
pub mod password;
mod password_error;
mod queue;
mod ring;
mod strength;
mod waiters;
pub(crate) mod written;

use access::{Access, Principal, allows};
use basic::{Authorization, Credentials};
use early::Early;
use known_credentials::{Fingerprint, KnownCredentials, Recalled};
use password::{PasswordError, Verifier, of_no_password};
use queue::{Queue, Turn};

/// Decides who may do what.
#[derive(Clone)]
pub struct Authenticator(Arc<Inner>);

struct Inner {
    store: Arc<Store>,
    blocking: Blocking,
    limits: Limits,
    quotas: Arc<Quotas>,
    open_pulls: bool,
    /// Keys the hashes of remembered credentials; made anew by each process and never stored.
    key: hmac::Key,
    /// Verified when there is no such user, so that the answer takes as long as for a wrong
    /// password.
    decoy: String,
    verifier: Verifier,
    queue: Queue,
    early: Early,
    known: KnownCredentials,
    under_way: Mutex<HashMap<Fingerprint, Arc<Verification>>>,
}

/// A verification that is under way: its outcome, for all who wait for it.
type Verification = watch::Sender<Option<Result<Principal, ApiError>>>;

/// Why a login failed. The client hears the same of all of them but the last, the log which it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
enum Fault {
    /// Something else than a name and a password of this form came.
    #[error("what came is no Basic login")]
    Unusable,
    /// No user can have such a name. It is not logged: it may be a password that was put there.
    #[error("what came as a name is none")]
    NotAName,
    /// There is no such user.
    #[error("there is no such user")]
    NoUser,
    /// The password is another one.
    #[error("the password is wrong")]
    WrongPassword,
    /// Its turn to be verified did not come in time.
    #[error("too many logins wait to be verified")]
    Busy,
}

/// A user who was found, with the users' version of then; or whose name it was and why that was not
/// enough.
type Verdict = Result<(User, u64), (Option<UserName>, Fault)>;

impl Authenticator {
    /// Prepares for the users of `store`.
    ///
    /// # Errors
    /// Fails only when the kernel gives no random bytes or there is no memory for a hash.
    pub fn new(
        store: Arc<Store>,
        blocking: Blocking,
        limits: Limits,
        quotas: Arc<Quotas>,
        open_pulls: bool,
    ) -> Result<Self, PasswordError> {
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).map_err(|_| PasswordError::Random)?;
        Ok(Self(Arc::new(Inner {
            store,
            blocking,
            known: KnownCredentials::new(limits.login_memory_entries),
            limits,
            quotas,
            open_pulls,
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            decoy: of_no_password()?,
            verifier: Verifier::default(),
            queue: Queue::default(),
            early: Early::default(),
            under_way: Mutex::default(),
        })))
    }

    /// Lets a request with this `Authorization` header from this address do what it needs, or
    /// says why not. `patience` is how long it waits for a verification, if not for as long as
    /// that takes.
    ///
    /// # Errors
    /// [`ApiError::LoginNeeded`], [`ApiError::LoginFailed`], [`ApiError::Denied`]; with a
    /// patience, [`ApiError::LoginsBusy`]; and trouble with the store.
    pub async fn authorize(
        &self,
        access: Access,
        header: Option<&HeaderValue>,
        address: IpAddr,
        patience: Option<Duration>,
    ) -> Result<Principal, ApiError> {
        if access == Access::None {
            return Ok(Principal::Anonymous);
        }
        let principal = match basic::parse(header, self.0.limits.authorization_bytes) {
            Authorization::Absent => Principal::Anonymous,
            Authorization::Unusable => {
                self.0.tell(address, None, Fault::Unusable);
                return Err(ApiError::LoginFailed);
            }
            Authorization::Basic(credentials) => {
                self.verify(credentials, address, patience).await?
            }
        };
        match &principal {
            Principal::Anonymous if access == Access::Pull && self.0.open_pulls => Ok(principal),
            Principal::Anonymous => Err(ApiError::LoginNeeded),
            Principal::User { role, .. } if allows(*role, access) => Ok(principal),
            Principal::User { account, role } => {
                let (user, role) = (account.name.clone(), *role);
                Err(ApiError::Denied { user, access, role })
            }
        }
    }

    async fn verify(
        &self,
        credentials: Credentials,
        address: IpAddr,
        patience: Option<Duration>,
    ) -> Result<Principal, ApiError> {
        let fingerprint = self.0.fingerprint(&credentials);
        if let Some(principal) = self.recall(&fingerprint).await? {
            return Ok(principal);
        }
        let name = credentials.user.parse::<UserName>().ok();
        let mut outcome = self.join(fingerprint, credentials, address);
        let outcome = outcome.wait_for(Option::is_some);
        let outcome = match patience {
            None => outcome.await,
            Some(patience) => match tokio::time::timeout(patience, outcome).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    self.0.tell(address, name.as_ref(), Fault::Busy);
                    return Err(ApiError::LoginsBusy);
                }
            },
        };
        // Without an outcome the verification panicked.
        outcome.ok().and_then(|outcome| outcome.clone()).unwrap_or(Err(ApiError::LoginFailed))
    }

    /// Who a credential was, if it was right once and still is.
    async fn recall(&self, fingerprint: &Fingerprint) -> Result<Option<Principal>, StorageError> {
        let inner = &self.0;
        let user = match inner.known.recall(fingerprint, inner.store.users_version()) {
            None => return Ok(None),
            Some(Recalled::Current(user)) => return Ok(Some(principal(&user))),
            Some(Recalled::Stale(user)) => user,
        };
        let (store, name) = (Arc::clone(&inner.store), user.name.clone());
        // Read before the user, so that a change in between makes what is concluded stale again.
        let look = move || (store.users_version(), store.user(&name));
        let (version, now) = inner.blocking.read(look).await;
        match now? {
            Some(now) if now.password_hash == user.password_hash => {
                let principal = principal(&now);
                inner.known.remember(*fingerprint, now, version);
                Ok(Some(principal))
            }
            _ => {
                inner.known.forget(fingerprint);
                Ok(None)
            }
        }
    }

    /// Joins the verification of this credential that is under way, or begins one.
    fn join(
        &self,
        fingerprint: Fingerprint,
        credentials: Credentials,
        address: IpAddr,
    ) -> watch::Receiver<Option<Result<Principal, ApiError>>> {
        let mut under_way = lock(&self.0.under_way);
        if let Some(same) = under_way.get(&fingerprint) {
            return same.subscribe();
        }
        let (verification, outcome) = watch::channel(None);
        let verification = Arc::new(verification);
        under_way.insert(fingerprint, Arc::clone(&verification));
        drop(under_way);
        let leaving = Leaving { inner: Arc::clone(&self.0), fingerprint, verification };
        // A task of its own: others may wait for it when the client that began it is gone.
        tokio::spawn(leaving.verify(credentials, address));
        outcome
    }
}

/// A verification, which is under way until this is dropped: after a panic too, or nobody could
/// log in with this credential again.
struct Leaving {
    inner: Arc<Inner>,
    fingerprint: Fingerprint,
    verification: Arc<Verification>,
}

/// A credential that was looked up, and how long that took.
type Checked = (Result<Verdict, StorageError>, Duration);

/// How waiting for the turn ended.
enum Waited {
    /// Nobody waits any more.
    Gone,
    /// It was found to be right before.
    WasRight(Result<Verdict, StorageError>),
    /// With the turn, and with what was found before.
    Turn(Turn, Option<Checked>),
}

impl Leaving {
    /// Verifies when it has the turn, or earlier during the rest of somebody else, unless all are
    /// gone by then who wait for it.
    async fn verify(self, credentials: Credentials, address: IpAddr) {
        let inner = Arc::clone(&self.inner);
        let credentials = Arc::new(credentials);
        let (turn, (checked, time)) = match self.wait(&credentials, address).await {
            Waited::Gone => return,
            Waited::WasRight(checked) => {
                self.conclude(checked, address);
                return;
            }
            Waited::Turn(turn, None) => (turn, inner.check(&credentials).await),
            Waited::Turn(turn, Some((checked, time))) => {
                tokio::time::sleep(time).await;
                (turn, (checked, time))
            }
        };
        if self.conclude(checked, address) {
            return;
        }
        // Whoever guesses without a pause has half of a processor; the other half is for those who
        // may be right.
        tokio::join!(tokio::time::sleep(time), inner.early.lend());
        drop(turn);
    }

    /// Waits for the turn, and verifies meanwhile if somebody lends a rest.
    async fn wait(&self, credentials: &Arc<Credentials>, address: IpAddr) -> Waited {
        let (inner, network) = (&self.inner, network(address));
        let is_user = inner.is_user(credentials).await;
        let mut waiting = pin!(inner.queue.turn(network, &credentials.user));
        // Both places are left at the end: nobody must be lent a rest who does not look.
        let mut early = pin!(inner.early.turn(network, &credentials.user));
        let mut tried = None;
        loop {
            tokio::select! {
                biased;
                turn = &mut waiting => return Waited::Turn(turn, tried),
                lent = &mut early, if is_user && tried.is_none() => {
                    let checked = inner.check(credentials).await;
                    drop(lent);
                    match checked {
                        (checked @ Ok(Ok(_)), _) => return Waited::WasRight(checked),
                        // It is told in its turn.
                        checked => tried = Some(checked),
                    }
                }
                () = self.verification.closed() => {
                    let mut under_way = lock(&inner.under_way);
                    // Somebody may have joined meanwhile.
                    if self.verification.receiver_count() == 0 {
                        under_way.remove(&self.fingerprint);
                        return Waited::Gone;
                    }
                }
            }
        }
    }

    /// Tells all who wait for it what was found; returns whether the credential is right.
    fn conclude(self, checked: Result<Verdict, StorageError>, address: IpAddr) -> bool {
        let verdict = match checked {
            Ok(Ok((user, version))) => {
                let principal = principal(&user);
                self.inner.known.remember(self.fingerprint, user, version);
                Ok(principal)
            }
            Ok(Err((user, fault))) => {
                self.inner.tell(address, user.as_ref(), fault);
                Err(ApiError::LoginFailed)
            }
            Err(cause) => {
                error!(cause = %told(&cause), "a user could not be read");
                Err(cause.into())
            }
        };
        let is_right = verdict.is_ok();
        self.verification.send_replace(Some(verdict));
        is_right
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let mut under_way = lock(&self.inner.under_way);
        let is_own = |other: &Arc<Verification>| Arc::ptr_eq(other, &self.verification);
        if under_way.get(&self.fingerprint).is_some_and(is_own) {
            under_way.remove(&self.fingerprint);
        }
    }
}

impl Inner {
    /// Whether there is a user of this name. It takes as long for any name.
    async fn is_user(self: &Arc<Self>, credentials: &Credentials) -> bool {
        let Ok(name) = credentials.user.parse::<UserName>() else { return false };
        let inner = Arc::clone(self);
        let found = self.blocking.read(move || inner.store.user(&name)).await;
        // Trouble shows when the password is verified.
        found.is_ok_and(|found| found.is_some())
    }

    /// Verifies a credential, and says how long that took.
    async fn check(self: &Arc<Self>, credentials: &Arc<Credentials>) -> Checked {
        let begun = Instant::now();
        let (inner, credentials) = (Arc::clone(self), Arc::clone(credentials));
        let checked = self.blocking.read(move || inner.look_up(&credentials)).await;
        (checked, begun.elapsed())
    }

    fn look_up(&self, credentials: &Credentials) -> Result<Verdict, StorageError> {
        // Read before the user, so that a change in between makes the memory of it stale.
        let version = self.store.users_version();
        let name = credentials.user.parse::<UserName>().ok();
        let user = match &name {
            Some(name) => self.store.user(name)?,
            None => None,
        };
        let hash = user.as_ref().map_or(self.decoy.as_str(), |user| &user.password_hash);
        let is_right = self.verifier.is_right(&credentials.password, hash);
        Ok(match user {
            Some(user) if is_right => Ok((user, version)),
            Some(_) => Err((name, Fault::WrongPassword)),
            None if name.is_some() => Err((name, Fault::NoUser)),
            None => Err((None, Fault::NotAName)),
        })
    }

    /// Logs that a login failed, as far as the log has room for it.
    fn tell(&self, address: IpAddr, user: Option<&UserName>, fault: Fault) {
        if self.quotas.may(Kind::Login) {
            let user = user.map_or("-", UserName::as_str);
            warn!(%address, user, reason = %fault, "a login failed");
        }
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

fn principal(user: &User) -> Principal {
    Principal::User { account: user.account(), role: user.role }
}

/// What counts as one address: of IPv6 the network, since one host commands all of it.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
