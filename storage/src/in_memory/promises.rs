//! What clients were told, over a stop: `DATA/promises`, which a process writes when it closes the
//! store in order and the next one reads and removes when it opens it.
//!
//! What stands there is true only of the moment at which the store was closed. So the database
//! notes the digest of the file, and it counts only beside that note, which goes before anything
//! changes: not beside a database that was used, restored or copied since.
//!
//! A process that serves a read-only disk in between can leave no trace. What it told is forgotten:
//! it told it to clients whose pushes it refused, who look again when they push anew.

use durable::{Access, Links, read_within, remove, remove_durably, write_whole};
use oci::{Algorithm, Digest};

use crate::db::Database;
use crate::db::Transaction;
use crate::error::StorageError;
use crate::layout::Layout;

/// What clients were told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Promises {
    /// The first tick from which on everything is known that was told.
    pub(crate) since: i64,
    /// What was told when.
    pub(crate) told: Vec<(u64, i64)>,
}

impl Promises {
    /// Takes what the last process left, if it closed the store in order. A file that is damaged,
    /// of another time or of another program counts as none. Afterwards there is none.
    ///
    /// Crash argument: before anybody is told anything or anything is removed, the note in the
    /// database is gone, durably, or, where it cannot be written to, the file. So a file that has
    /// its note speaks of all that was told. A crash right after that leaves the next process
    /// without knowledge, as it is without any file.
    pub(crate) fn take(layout: &Layout, from: &Database) -> Result<Option<Self>, StorageError> {
        let path = layout.promises();
        // By the writing thread, since a reader that is open would keep the log from being removed
        // when the store is closed.
        let taken = from.write_to_free(|transaction| {
            let note = transaction.last_upkeep(PROMISES)?;
            if note.is_some() {
                transaction.forget_upkeep(PROMISES)?;
            }
            Ok(note)
        });
        let Ok(note) = taken else {
            remove_durably(&path)?;
            return Ok(None);
        };
        let content = read_within(&path, MOST_BYTES, Links::Refuse);
        let _ = remove(&path);
        let counted = content.ok().flatten().zip(note);
        Ok(counted.and_then(|(content, note)| Self::parse(&content, &note.summary)))
    }

    /// Leaves it to the next process. Where there is no room for it there is no file, and no
    /// knowledge.
    ///
    /// Crash argument: the file is whole and has its name, durably, before the database says that
    /// it counts. That transaction keeps where the clock stands, too: nothing was told later.
    pub(crate) fn leave(&self, layout: &Layout, to: &Database) {
        let path = layout.promises();
        let text = self.text();
        let digest = Digest::of(Algorithm::Sha256, &text).to_string();
        let note = move |transaction: &Transaction<'_>| {
            transaction.keep_time()?;
            transaction.note_upkeep(PROMISES, &digest)
        };
        let written = write_whole(&path, &mut &text[..], Access::PRIVATE);
        if written.is_err() || to.write(note).is_err() {
            let _ = remove(&path);
        }
    }

    fn text(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(VERSION.len() + 8 + self.told.len() * ENTRY_BYTES);
        text.extend(VERSION);
        text.extend(self.since.to_le_bytes());
        for (key, told) in &self.told {
            text.extend(key.to_le_bytes());
            text.extend(told.to_le_bytes());
        }
        text
    }

    fn parse(text: &[u8], digest: &str) -> Option<Self> {
        if Digest::of(Algorithm::Sha256, text).to_string() != digest {
            return None;
        }
        let (numbers, rest) = text.strip_prefix(VERSION)?.as_chunks::<8>();
        let (since, entries) = numbers.split_first()?;
        let (entries, odd) = entries.as_chunks::<2>();
        let entry =
            |[key, told]: &[[u8; 8]; 2]| (u64::from_le_bytes(*key), i64::from_le_bytes(*told));
        let told = entries.iter().map(entry).collect();
        let is_whole = rest.is_empty() && odd.is_empty();
        is_whole.then(|| Self { since: i64::from_le_bytes(*since), told })
    }
}

/// What the file begins with. Another program's is another.
const VERSION: &[u8] = b"promises of a registry 1\n";
const ENTRY_BYTES: usize = 2 * 8;
/// The longest file that is read, in bytes: 16 million answers. A longer one counts as none.
const MOST_BYTES: u64 = 256 * 1024 * 1024;
/// Under which name the database notes the digest of the file.
const PROMISES: &str = "promises";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_digest_length_or_version_counts_as_none() {
        let promises = Promises { since: 7, told: vec![(u64::MAX, 8), (0, i64::MAX)] };
        let text = promises.text();
        let parse =
            |text: &[u8]| Promises::parse(text, &Digest::of(Algorithm::Sha256, text).to_string());
        assert_eq!(parse(&text), Some(promises));
        let alone = Promises { since: 1, told: Vec::new() };
        assert_eq!(parse(&alone.text()), Some(alone));
        let digest = Digest::of(Algorithm::Sha256, &text).to_string();
        for at in 0..text.len() {
            let mut flipped = text.clone();
            flipped[at] ^= 1;
            assert_eq!(Promises::parse(&flipped, &digest), None, "{at}");
            let entries = at.checked_sub(VERSION.len() + 8);
            let is_entry = entries.is_some_and(|bytes| bytes.is_multiple_of(ENTRY_BYTES));
            assert_eq!(parse(&text[..at]).is_some(), is_entry, "{at}");
        }
        assert_eq!(parse(&text.to_ascii_uppercase()), None);
    }
}
