//! Letting the disk begin with what is written to a long file, while more of it comes.

use std::fs::File;
use std::num::NonZeroU64;

use rustix::fs::{Advice, fadvise};

/// Lets the disk begin with what was written to a file up to `end`, from `start` on, a stretch at a
/// time. Else all of it is left to the sync at its end, which then keeps everybody's next sync
/// waiting.
///
/// The advice begins to write what is dirty, and drops what is not any more; a stretch is named
/// once, when most of it is dirty, so that it stays in memory. What the disk refuses meanwhile the
/// kernel keeps with the file, and the sync at the end fails with it, also where another request
/// makes it: unless nobody had the file open in between and the kernel forgot it for want of
/// memory, as it could with what it writes back by itself.
pub(super) fn begin_write_back(file: &File, start: u64, end: u64) {
    let (from, to) = (start - start % WRITE_BACK_BYTES, end - end % WRITE_BACK_BYTES);
    if let Some(length) = NonZeroU64::new(to - from) {
        let _ = fadvise(file, from, Some(length), Advice::DontNeed);
    }
}

/// What is written to a file before the disk begins with it.
const WRITE_BACK_BYTES: u64 = 8 * 1024 * 1024;
