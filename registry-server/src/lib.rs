//! The registry as a server and as a command.
//!
//! Modules in reading order: [`config`] and [`limits`] are what is set, as far as the
//! [`open_files`] allow; [`server`] puts a running server together, [`data_check`] says why there
//! is nothing to serve, and [`notify`] tells systemd; [`net`] brings connections to [`api`], where
//! a request is parsed by [`route`], authorized by [`auth`] and answered, or refused with an
//! [`error`]; [`blocking`] is the bridge to the store, [`share`] says how much of it and of memory
//! each client may have, and [`upkeep`] is done to the store now and then; [`logging`] writes the
//! log, and `text` all that is for people; [`command`] is what can be asked of a store, [`control`]
//! brings that to its owner; `backup` copies a registry and brings it back, `export` writes images
//! to media and `import` takes in what media hold, `bundle_notes` is what both remember, `install`
//! puts the registry on this host, and [`cli`] is the command line.

mod advice;
pub mod api;
pub mod auth;
mod backup;
pub mod blocking;
mod bundle_notes;
pub mod cli;
pub mod command;
pub mod config;
pub mod control;
pub mod data_check;
pub mod error;
mod export;
mod import;
mod install;
pub mod limits;
pub mod logging;
pub mod net;
pub mod notify;
pub mod open_files;
pub mod route;
pub mod server;
pub mod share;
mod text;
pub mod upkeep;
