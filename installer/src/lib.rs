//! The host that the registry runs on: what it is called, whom a process runs as, and what is put
//! on it.
//!
//! This crate knows nothing of HTTP or certificates, and of the registry only where it is put
//! ([`paths`]). It is the only one that changes the host itself, and the only one that runs other
//! programs.
//!
//! An installation is data first: a list of [`Step`]s becomes a [`Plan`] when it is held against
//! the host, [`apply`] takes the steps and enters each in the [`Record`] before it is taken, and
//! what fails is undone from there. [`Removal`] works from the record alone.
//!
//! Modules in reading order: `step`, `plan`, `apply`, `undo`, `record`, `uninstall`; below them
//! `unit` (the text of a service), `systemd`, `user`, `getent`, `file`, `firewall` and `command`,
//! which touch the host; beside them `host`, `owner`, `person` and [`paths`].

mod apply;
mod command;
mod error;
mod file;
mod firewall;
mod getent;
mod host;
mod owner;
pub mod paths;
mod person;
mod plan;
mod record;
mod step;
mod systemd;
mod undo;
mod uninstall;
mod unit;
mod user;

pub use apply::{Caller, apply, recover};
pub use error::InstallError;
pub use firewall::is_closed;
pub use getent::addresses_of;
pub use host::{check_host, mount_point, own_names};
pub use owner::{OwnerError, as_owner_of, become_owner_of};
pub use person::Person;
pub use plan::{Plan, PlannedStep};
pub use record::{InstallLock, InstalledItem, Record};
pub use step::{Need, Owner, Step};
pub use undo::Undo;
pub use uninstall::Removal;
pub use unit::{Unit, can_carry};
