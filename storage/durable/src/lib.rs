//! Making files and directories so that they survive a power cut, and reading what others may have
//! laid in their place.
//!
//! Every file here gets its final name by a rename after its content is synced, and the rename
//! counts only once the directory is synced. Modes are set on the open file, whatever the umask.
//! Nothing here knows what the files are for.

mod directory;
mod error;
mod file;
mod read;
mod space;

pub use directory::{Directory, make_directory, make_with_parents, sync_directory, sync_parent};
pub use error::{At, IoError};
pub use file::{Access, create_private, remove, remove_durably, unfinished, write_whole};
pub use read::{Links, ReadError, open_regular, read_within};
pub use space::DiskSpace;
