//! Connections: accepting them, TLS, their time limits, and their end; and a client of our own.

mod buffers;
pub mod connection;
mod guard;
pub mod listener;
pub mod probe;
mod table;
pub mod tls;

pub use buffers::Kernel;
pub(crate) use buffers::tell_of_few;
