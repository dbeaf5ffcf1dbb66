//! Who hears how far a backup or a restore is.

use std::sync::Arc;

/// What happens while a copy is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// A task begins.
    Begins {
        /// What it is, as in "copying blobs".
        task: &'a str,
        /// How many bytes are to be copied; none if that is not known.
        bytes: Option<u64>,
    },
    /// So many bytes more are copied.
    Copied(u64),
}

/// Hears of each event, on whatever thread it happens.
pub(crate) type Listener = Arc<dyn Fn(Event<'_>) + Send + Sync>;
