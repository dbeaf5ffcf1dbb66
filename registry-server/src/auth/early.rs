//! Who may verify a password before the turn comes (`queue.rs`): somebody whose name there is,
//! while the one who has the turn rests because a password was wrong.
//!
//! Whoever guesses under ever new names would have each of them before the one right login behind
//! the same address. The names that there are are few, and a right password is told at once. A
//! wrong one is told when its turn comes and after as long as verifying takes, like one for a name
//! that nobody has; and since the rest is as long as a verification, the turns of the others come
//! at the same times as well. So nobody learns from an answer, or from when it comes, which names
//! there are.

use std::net::IpAddr;

use tokio::sync::oneshot;

use super::waiters::Waiters;

/// Those who wait for somebody's rest.
#[derive(Default)]
pub(super) struct Early(Waiters<Lent>);

/// The right to verify during somebody's rest, until it is dropped.
pub(super) struct Lent {
    _ended: oneshot::Sender<()>,
}

impl Early {
    /// Waits for the rest of somebody. Whoever stops waiting leaves.
    pub(super) async fn turn(&self, address: IpAddr, name: &str) -> Lent {
        self.0.join(address, name).called().await
    }

    /// Lets the next one verify, and waits until that is done; does nothing if nobody waits.
    pub(super) async fn lend(&self) {
        while let Some(next) = self.0.next() {
            let (ended, end) = oneshot::channel();
            if next.send(Lent { _ended: ended }).is_ok() {
                // It says nothing: it is dropped.
                let _ = end.await;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn a_rest_is_lent_to_one_and_lasts_until_that_is_done() {
        let early = Early::default();
        let here = IpAddr::from([10, 0, 0, 1]);
        let mut context = Context::from_waker(Waker::noop());
        assert!(pin!(early.lend()).poll(&mut context).is_ready(), "nobody waits");
        let mut gone = Box::pin(early.turn(here, "gone"));
        let mut first = pin!(early.turn(here, "ann"));
        let mut second = pin!(early.turn(here, "ann"));
        let mut third = pin!(early.turn(here, "bob"));
        assert!(gone.as_mut().poll(&mut context).is_pending());
        for waiting in [&mut first, &mut second, &mut third] {
            assert!(waiting.as_mut().poll(&mut context).is_pending());
        }
        drop(gone);
        // One for each name before the next one of the same.
        let mut lending = pin!(early.lend());
        assert!(lending.as_mut().poll(&mut context).is_pending());
        let Poll::Ready(lent) = first.as_mut().poll(&mut context) else { panic!("not called") };
        assert!(lending.as_mut().poll(&mut context).is_pending());
        drop(lent);
        assert!(lending.as_mut().poll(&mut context).is_ready());
        let mut lending = pin!(early.lend());
        assert!(lending.as_mut().poll(&mut context).is_pending());
        assert!(second.as_mut().poll(&mut context).is_pending());
        assert!(third.as_mut().poll(&mut context).is_ready(), "and it is done at once");
        assert!(lending.as_mut().poll(&mut context).is_ready());
    }
}
