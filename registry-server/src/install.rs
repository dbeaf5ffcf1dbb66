//! Installing the registry on this host: what is to be there, held against what is, and put there.
//!
//! Modules in reading order: `spec` is what is to be there; `preflight` looks for what would fail
//! later; `steps` are the steps that lead there, for `installer` to take; `health_check` asks the
//! service in the end; `installation` goes through all of them.

mod health_check;
mod installation;
mod preflight;
mod spec;
mod steps;

pub(crate) use health_check::{Login, PasswordSource};
pub(crate) use installation::Installation;
pub(crate) use spec::InstallSpec;
