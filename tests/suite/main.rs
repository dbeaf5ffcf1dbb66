//! Tests of the registry through its outermost doors.

#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, and tell what they measured or skipped"
)]

mod airgap;
mod answer;
mod auth;
mod backup;
mod blob;
mod bully;
mod cache;
mod circles;
mod cli;
mod clients;
mod clock;
mod collect;
mod crash;
mod database;
mod descriptors;
mod df;
mod documents;
mod export;
mod faults;
mod fixture;
mod full;
mod guide;
mod host;
mod hot;
mod idle;
mod image;
mod import;
mod initialize;
mod install;
mod kill;
mod limits;
mod list;
mod listen;
mod log;
mod manifest;
mod medium;
mod memory;
mod message;
mod mirror;
mod mixed;
mod numbers;
mod oddities;
mod ownership;
mod partial;
mod power;
mod probe;
mod range;
mod read_only;
mod readme;
mod release;
mod removal;
mod repeat;
mod served;
mod service;
mod soak;
mod support;
mod tag;
mod text;
mod tidy;
mod trace;
mod typed;
mod undo;
mod upload;
mod verify;
mod walk;
mod who;
