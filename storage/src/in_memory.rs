//! What one process knows or holds, and no other one can see: true only because one process owns
//! the store.
//!
//! The plan for several servers that share PostgreSQL and an object store, of which nothing is
//! built: each part needs something that all of them see.
//!
//! - [`lock`], which makes one process the owner, becomes membership: each server holds a lease, a
//!   row that it renews, and one of them at a time an advisory lock for what only one may do, which
//!   is collection, verification and migrations.
//! - [`claims`] become advisory locks on the digest, held for one transaction. That commits of one
//!   digest share a publication is thrift, and may stay within each server.
//! - [`told_digests`], what clients were told to be there, becomes a table of repository, digest
//!   and expiry. An answer would then wait for a write, so a server writes what it told in batches
//!   that collection waits for, or answers from a lease on the digest that it holds already.
//! - [`promises`], which carries that over a stop, goes with it: a table outlives a process.
//! - [`sessions`] become rows with an owner, a lease and the state of the hash; their bytes become
//!   the parts of an upload in the object store, and taking a session over becomes taking its row.
//! - [`deletion_holds`] become leases with an expiry, which collection looks up in the transaction
//!   in which it takes a step; a backup that dies then holds deletions off no longer than that.
//! - [`users_version`] becomes a row that each change of a user raises, read with each look at a
//!   user, or told with NOTIFY; a server that lost that connection forgets all that it remembers.
//! - [`versions`] become a number of each repository in its row, raised by whoever changes it, and
//!   [`hot_manifests`] hold only as long as a server is sure to be told of each such change: for a
//!   lease, over a connection that lasts.
//! - Two flags stand in the store itself: that a snapshot is taken becomes a lease, and how many
//!   tags were pushed since the last look at histories may stay within each server.
//!
//! The clock (`clock.rs`) counts while this process has the store open; shared, it is the
//! database's, raised by whoever renews a lease.

pub(crate) mod claims;
pub(crate) mod deletion_holds;
pub(crate) mod hot_manifests;
pub(crate) mod lock;
pub(crate) mod promises;
pub(crate) mod sessions;
pub(crate) mod told_digests;
pub(crate) mod users_version;
pub(crate) mod versions;
