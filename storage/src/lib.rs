//! Everything the registry keeps: blobs and uploads as files, and the metadata in SQLite. What it
//! is called and made of are the types of the crate `oci`.
//!
//! This crate blocks on the disk and never on a client. It knows nothing of HTTP, TLS or hosts,
//! and logs nothing: each failure is a [`StorageError`] that the caller handles.
//!
//! What it promises: a verb that says "durable on return" has synced files and rows; content has
//! its name only when it is complete, checked and synced; readers never wait for the writer.
//!
//! Modules in reading order: `account` tells users of one name apart, `actor` says who changes
//! something, `bundle_note` which media crossed an air gap; `layout` draws the tree on disk,
//! `medium` says what it lies on, and `space` what to do when that is full; `content` is the files
//! of blobs and uploads; `db` is the database; `clock` is what ages are counted on; `in_memory` is
//! what only the process that owns the store knows or holds; `store` puts them together; `collect`
//! keeps it small; `verify` reads everything again; [`backup`] takes copies of a store and makes
//! one of a copy; `directory_state` only looks.

// What is read with one method is general over the lifetime of its reader only as a closure.
#![allow(clippy::redundant_closure_for_method_calls)]

pub mod backup;

mod account;
mod actor;
mod bundle_note;
mod byte_count;
mod clock;
mod collect;
mod content;
mod db;
mod directory_state;
mod error;
mod import_number;
mod in_memory;
mod layout;
mod medium;
mod page;
mod shell;
mod space;
mod store;
mod verify;

pub use account::{Account, UserId, UserName, UserNameError};
pub use actor::{Actor, HostUser, HostUserError};
pub use backup::BackupError;
pub use bundle_note::{BundleVolume, KnownBundle, VolumeNote};
pub use byte_count::ByteCount;
pub use collect::{Collected, Keep, KeptUntagged, OnStep, Share};
pub use content::upload::{UploadId, UploadIdError, UploadWriter};
pub use content::{
    BlobContent, BlobDamage, BlobReader, CheckedFile, CopyOutcome, Spool, StagedFile, Staging,
};
pub use db::copy::{BlobIndex, NamedBlob};
pub use db::history::TagChange;
pub use db::image_removal::{Keeper, Removal, RemovalStep};
pub use db::imports::{TagFate, UndoneChange};
pub use db::inspect::ManifestInfo;
pub use db::list::{Counts, PageSize, Referrer};
pub use db::lost::{Lost, LostDigests};
pub use db::manifest::{LongManifest, StoredManifest};
pub use db::quay::{QuayImage, QuayNames, UnnamedTag};
pub use db::restore::{RestorePoint, Restored};
pub use db::schema_fault::SchemaFault;
pub use db::totals::{BlobTotal, RepositoryTotal};
pub use db::user::{Role, RoleError, User};
pub use db::{OnFatal, OnTrouble};
pub use directory_state::{DirectoryContent, DirectoryState};
pub use error::{OpenError, QuayError, QuayFault, StorageError, Trouble};
pub use import_number::{ImportNumber, ImportNumberError};
pub use in_memory::deletion_holds::DeletionHold;
pub use in_memory::lock::{LockHolder, OnHeld};
pub use layout::{DATA_MODE, Layout};
pub use medium::{Foreign, Medium, is_read_only};
pub use page::Page;
pub use shell::shell_word;
pub use store::{
    ImagePart, ImportedImage, ManifestContent, OpenOptions, PartState, Pushed, RepositoryBlobs,
    Snapshot, Store,
};
pub use verify::{BrokenImages, Finding, Image, Missized, Position, Scrub, Verification, Verified};
