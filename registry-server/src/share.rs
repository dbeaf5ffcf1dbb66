//! What one user, or one address that is nobody's, may have at most of what all clients share:
//! threads that wait for the disk, and memory for what comes and goes.
//!
//! Whoever has all of his share waits for himself. So the rest is there for everybody else,
//! however much he asks for.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use storage::UserName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::Limits;

/// Whose a request is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The server itself, whose share is everything.
    Server,
    /// Somebody who logged in.
    User(UserName),
    /// Nobody in particular at this address, or, of IPv6, in this network.
    Address(IpAddr),
}

/// What there is of something, and what each owner may have of it.
#[derive(Clone, Debug)]
pub struct Pool {
    all: Arc<Semaphore>,
    share: usize,
    shares: Arc<Mutex<HashMap<Owner, Weak<Semaphore>>>>,
}

/// A part of a pool, given back when it is dropped.
#[derive(Debug)]
pub struct HeldShare {
    // The permit of all is given back first: whoever waits for his share finds it then.
    _all: OwnedSemaphorePermit,
    _own: Option<Own>,
}

/// A permit of an owner's share, which is forgotten with the last one.
#[derive(Debug)]
struct Own {
    _permit: OwnedSemaphorePermit,
    _share: Arc<Semaphore>,
}

impl Pool {
    /// A pool of so many units, of which one owner may have a share; of at least one unit.
    pub fn new(units: usize, share: usize) -> Self {
        let share = share.clamp(1, units.max(1));
        Self { all: Arc::new(Semaphore::new(units.max(1))), share, shares: Arc::default() }
    }

    /// Takes units for an owner as soon as they are there. More than a share is a share.
    pub async fn take(&self, owner: &Owner, units: usize) -> HeldShare {
        let units = self.clamped(units);
        let own = match owner {
            Owner::Server => None,
            owner => {
                let share = self.share_of(owner);
                let permit = Arc::clone(&share).acquire_many_owned(units).await;
                permit.ok().map(|permit| Own { _permit: permit, _share: share })
            }
        };
        loop {
            // The semaphores are never closed.
            if let Ok(all) = Arc::clone(&self.all).acquire_many_owned(units).await {
                return HeldShare { _all: all, _own: own };
            }
        }
    }

    /// The same, if they are there now.
    pub fn try_take(&self, owner: &Owner, units: usize) -> Option<HeldShare> {
        let units = self.clamped(units);
        let own = match owner {
            Owner::Server => None,
            owner => {
                let share = self.share_of(owner);
                let permit = Arc::clone(&share).try_acquire_many_owned(units).ok()?;
                Some(Own { _permit: permit, _share: share })
            }
        };
        let all = Arc::clone(&self.all).try_acquire_many_owned(units).ok()?;
        Some(HeldShare { _all: all, _own: own })
    }

    /// How many units are free.
    pub fn free(&self) -> usize {
        self.all.available_permits()
    }

    fn clamped(&self, units: usize) -> u32 {
        u32::try_from(units.clamp(1, self.share)).unwrap_or(u32::MAX)
    }

    fn share_of(&self, owner: &Owner) -> Arc<Semaphore> {
        let mut shares = self.shares();
        if let Some(share) = shares.get(owner).and_then(Weak::upgrade) {
            return share;
        }
        if shares.len() >= FORGOTTEN_AT {
            shares.retain(|_, share| share.strong_count() > 0);
        }
        let share = Arc::new(Semaphore::new(self.share));
        shares.insert(owner.clone(), Arc::downgrade(&share));
        share
    }

    fn shares(&self) -> MutexGuard<'_, HashMap<Owner, Weak<Semaphore>>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The memory that clients can make the server hold beside what every connection costs, in
/// bytes of requests and replies that wait.
#[derive(Clone, Debug)]
pub struct Memory(Pool);

impl Memory {
    /// Takes its bounds from the limits.
    pub fn new(limits: &Limits) -> Self {
        let units = |bytes: usize| bytes / MEMORY_UNIT_BYTES;
        Self(Pool::new(units(limits.body_memory_bytes), units(limits.body_memory_share_bytes)))
    }

    /// Takes room for so many bytes, if it is there now: it is clients who give it back, for whom
    /// nobody waits.
    pub fn try_take(&self, owner: &Owner, bytes: usize) -> Option<HeldShare> {
        self.0.try_take(owner, bytes.div_ceil(MEMORY_UNIT_BYTES))
    }
}

/// Memory is counted in such units.
const MEMORY_UNIT_BYTES: usize = 1024;
/// With so many owners those are forgotten who have nothing.
const FORGOTTEN_AT: usize = 1024;

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn owner(last: u8) -> Owner {
        Owner::Address(IpAddr::from([10, 0, 0, last]))
    }

    #[test]
    fn whoever_has_his_share_waits_for_himself() {
        let pool = Pool::new(4, 3);
        let (greedy, other) = (owner(1), owner(2));
        let mut held: Vec<HeldShare> = (0..3).filter_map(|_| pool.try_take(&greedy, 1)).collect();
        assert_eq!((held.len(), pool.free()), (3, 1));
        assert!(pool.try_take(&greedy, 1).is_none());
        assert_eq!(pool.free(), 1, "what was not given was not taken");
        let mut context = Context::from_waker(Waker::noop());
        let mut waiting = pin!(pool.take(&greedy, 1));
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        let others = pool.try_take(&other, 9);
        assert!(others.is_none(), "three of one that is left");
        drop(held.pop());
        let given = waiting.as_mut().poll(&mut context);
        assert!(given.is_ready());
        let last = pool.try_take(&other, 1);
        assert!(last.is_some());
        assert!(pool.try_take(&Owner::Server, 1).is_none());
        drop((given, last));
        assert_eq!(pool.free(), 2);
    }

    #[test]
    fn owners_who_have_nothing_are_forgotten() {
        let pool = Pool::new(4, 3);
        let kept = pool.try_take(&owner(0), 1);
        for number in 0..3000_u32 {
            let owner = Owner::Address(IpAddr::from(number.to_be_bytes()));
            assert!(pool.try_take(&owner, 1).is_some());
        }
        assert!(pool.shares().len() <= FORGOTTEN_AT);
        assert!(pool.shares().contains_key(&owner(0)));
        drop(kept);
    }
}
