//! The host that the registry runs on: what it is called, what names stand for there, and whom a
//! process runs as.
//!
//! This crate knows nothing of registries, HTTP or certificates. It is the only one that changes
//! anything outside the data directory.

mod host;
mod owner;
mod resolve;

pub use host::own_names;
pub use owner::{OwnerError, become_owner_of};
pub use resolve::{ResolveError, addresses_of};
