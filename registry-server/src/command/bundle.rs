//! Commands about bundles that cross an air gap: remembering which were written and which were
//! taken, and telling what they held.

mod list_bundles;
mod note_volume;
mod read_note;

pub use list_bundles::{FoundBundle, ListBundles};
pub use note_volume::{NoteStep, NoteVolume, WholeVolume};
pub use read_note::{NotedDigest, ReadNote};
