//! What tests share: servers, clients and content.

pub(crate) mod between;
pub(crate) mod binary;
pub(crate) mod build;
pub(crate) mod chain;
pub(crate) mod clients;
pub(crate) mod content;
pub(crate) mod disk;
pub(crate) mod fuse;
pub(crate) mod host;
pub(crate) mod http;
pub(crate) mod images;
pub(crate) mod layout;
pub(crate) mod notify;
pub(crate) mod page;
pub(crate) mod peer;
pub(crate) mod process;
pub(crate) mod report;
pub(crate) mod server;
pub(crate) mod strace;
pub(crate) mod usage;
