//! Everything the registry keeps: blobs and uploads as files, and the metadata in SQLite. What it
//! is called and made of are the types of the crate `oci`.
//!
//! This crate blocks on the disk and never on a client. It knows nothing of HTTP, TLS or hosts,
//! and logs nothing: each failure is a [`StorageError`] that the caller handles.
//!
//! What it promises: a verb that says "durable on return" has synced files and rows; content has
//! its name only when it is complete, checked and synced; readers never wait for the writer.
//!
//! Modules in reading order: `account` tells users of one name apart, `actor` says
//! who changes something; `layout` draws the tree on
//! disk; `durable`, `blob`, `upload` and `sessions` are the files;
//! `db` is the database; `clock` is what ages are counted on; `medium` is what a store lies
//! on; `space` and `reserve` are about what to do when the disk is full; `lock` keeps others out,
//! and `claims`, `hold` and `recent` whoever would take what another one needs, `promises` over a
//! stop; `store` puts them together; `collect` keeps it small; `verify` reads everything again;
//! [`backup`] takes copies of a store and makes one of a copy; `survey` only looks.

pub mod backup;

mod account;
mod actor;
mod blob;
mod claims;
mod clock;
mod collect;
mod db;
mod error;
mod hold;
mod layout;
mod lock;
mod medium;
mod promises;
mod recent;
mod reserve;
mod sessions;
mod shell;
mod space;
mod spool;
mod store;
mod survey;
mod upload;
mod verify;

pub use account::{Account, UserId, UserName, UserNameError};
pub use actor::{Actor, HostUser, HostUserError};
pub use backup::BackupError;
pub use blob::{BlobContent, BlobReader};
pub use collect::{Collected, Keep, KeptUntagged, OnStep, Share};
pub use db::copy::{BlobIndex, NamedBlob};
pub use db::history::TagChange;
pub use db::inspect::ManifestInfo;
pub use db::list::{Counts, PageSize, Referrer};
pub use db::lost::{Lost, LostDigests};
pub use db::manifest::{LongManifest, StoredManifest};
pub use db::removal::{Keeper, Removal, RemovalStep};
pub use db::restore::{RestorePoint, Restored};
pub use db::shape::SchemaFault;
pub use db::space::{RepositorySpace, Space};
pub use db::user::{Role, RoleError, User};
pub use db::{OnFatal, OnTrouble};
pub use error::StorageError;
pub use layout::{DATA_MODE, Layout};
pub use lock::{Holder, OnHeld};
pub use medium::{Foreign, Medium, is_read_only};
pub use shell::shell_word;
pub use space::ByteCount;
pub use spool::Spool;
pub use store::{ImagePart, ManifestContent, OpenOptions, PartState, Pushed, Snapshot, Store};
pub use survey::{Content, Survey};
pub use upload::{UploadId, UploadIdError, UploadWriter};
pub use verify::{Damage, Finding, Hurt, Image, Missized, Position, Scrub, Verification, Verified};
