//! The host that the registry runs on: what it is called, what is mounted, and whom a process runs
//! as.
//!
//! This crate knows nothing of registries, HTTP or certificates. It is the only one that changes
//! anything outside the data directory.

mod host;
mod owner;

pub use host::{mount_point, own_names};
pub use owner::{OwnerError, become_owner_of};
