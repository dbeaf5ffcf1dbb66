//! Commands about the registry's data as a whole: looking at them, keeping them small and whole,
//! and copying them.

mod begin_backup;
mod collect;
mod hold_deletions;
mod identify;
mod list_blobs;
mod list_repositories;
mod look_at_state;
mod sum_repository;
mod take_snapshot;
mod verify;

pub use begin_backup::BeginBackup;
pub use collect::{Collect, Collection};
pub use hold_deletions::HoldDeletions;
pub use identify::Identify;
pub use list_blobs::ListBlobs;
pub use list_repositories::ListRepositories;
pub use look_at_state::{LastRun, LookAtState, State};
pub use sum_repository::{RepositorySum, SumRepository};
pub use take_snapshot::{SnapshotPlace, TakeSnapshot};
pub use verify::{FoundEntry, Verify, VerifyReport};
pub(crate) use verify::{HURT_IMAGES, bytes_of};
