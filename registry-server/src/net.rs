//! Connections: accepting them, TLS, their time limits, and their end.

pub mod connection;
mod guard;
pub mod listener;
mod table;
pub mod tls;
