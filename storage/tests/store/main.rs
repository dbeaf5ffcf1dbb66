//! The store through its public verbs: what they do, what they refuse, and what is on the disk
//! afterwards.

#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, and a test that cannot run says so"
)]

mod again;
mod backup;
mod blob;
mod crash;
mod directory_state;
mod finished;
mod full;
mod hot;
mod image;
mod import;
mod list;
mod lock;
mod manifest;
mod modes;
mod open;
mod publish;
mod quay;
mod referrers;
mod reserve;
mod session;
mod support;
mod tag;
mod upload;
mod user;
mod verify;
