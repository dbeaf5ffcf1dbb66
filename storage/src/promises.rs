//! What clients were told, over a stop: `DATA/promises`, which a process writes when it closes the
//! store in order and the next one reads and removes when it opens it.
//!
//! What stands there is true only of the very moment at which the store was closed, so the file
//! names the tick at which the clock was stopped and counts only where the database's clock stands
//! at that tick: not beside a database that was used, restored or copied since.

use std::fs;

use crate::digest::{Algorithm, Digest};
use crate::durable::{remove, remove_durably, write_whole};
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
    /// Takes what the last process left, if it closed the store in order when the clock stood at
    /// `tick`. A file that is damaged, or of another time, counts as none. Afterwards there is no
    /// file.
    ///
    /// Crash argument: the file is gone, durably, before anybody is told anything or anything is
    /// removed, so one that is there speaks of all that was told. A crash right after that leaves
    /// the next process without knowledge, as it is without any file.
    pub(crate) fn take(layout: &Layout, tick: i64) -> Result<Option<Self>, StorageError> {
        let path = layout.promises();
        match fs::read(&path) {
            Ok(content) => {
                remove_durably(&path)?;
                Ok(Self::parse(&content, tick))
            }
            // What cannot be read is not relied on, and must not be there for the next process.
            Err(_) if path.try_exists().unwrap_or(true) => remove_durably(&path).map(|()| None),
            Err(_) => Ok(None),
        }
    }

    /// Leaves it to the next process, once the database says that the clock was stopped at `tick`.
    /// Where there is no room for it there is no file, and no knowledge.
    ///
    /// Crash argument: the tick is durable in the database before the file gets its name, and no
    /// later one is ever written before the file is gone.
    pub(crate) fn leave(&self, layout: &Layout, tick: i64) {
        let path = layout.promises();
        if write_whole(&path, &self.text(tick)).is_err() {
            // What was begun of it takes room.
            let _ = remove(&path.with_extension("new"));
            let _ = remove(&path);
        }
    }

    fn text(&self, tick: i64) -> Vec<u8> {
        let mut text = Vec::with_capacity(HEAD_BYTES + self.told.len() * ENTRY_BYTES + SUM_BYTES);
        text.extend(VERSION);
        text.extend(tick.to_le_bytes());
        text.extend(self.since.to_le_bytes());
        for (key, told) in &self.told {
            text.extend(key.to_le_bytes());
            text.extend(told.to_le_bytes());
        }
        text.extend(Digest::of(Algorithm::Sha256, &text).bytes());
        text
    }

    fn parse(text: &[u8], tick: i64) -> Option<Self> {
        let (text, sum) = text.split_at_checked(text.len().checked_sub(SUM_BYTES)?)?;
        if Digest::of(Algorithm::Sha256, text).bytes() != sum {
            return None;
        }
        let (numbers, rest) = text.strip_prefix(VERSION)?.as_chunks::<8>();
        let mut numbers = numbers.iter().copied();
        let stopped = i64::from_le_bytes(numbers.next()?);
        let since = i64::from_le_bytes(numbers.next()?);
        if stopped != tick || !rest.is_empty() || numbers.len() % 2 != 0 {
            return None;
        }
        let mut told = Vec::with_capacity(numbers.len() / 2);
        while let (Some(key), Some(tick)) = (numbers.next(), numbers.next()) {
            told.push((u64::from_le_bytes(key), i64::from_le_bytes(tick)));
        }
        Some(Self { since, told })
    }
}

/// What the file begins with. Another program's is another.
const VERSION: &[u8] = b"promises of a registry 1\n";
const HEAD_BYTES: usize = VERSION.len() + 2 * 8;
const ENTRY_BYTES: usize = 2 * 8;
const SUM_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn promises() -> Promises {
        Promises { since: 7, told: vec![(u64::MAX, 8), (0, i64::MAX)] }
    }

    #[test]
    fn what_was_left_is_taken_once_and_only_at_its_tick() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path());
        let take = |tick| Promises::take(&layout, tick).unwrap();
        assert_eq!(take(9), None);
        promises().leave(&layout, 9);
        assert_eq!((take(9), take(9)), (Some(promises()), None));
        for tick in [8, 10] {
            promises().leave(&layout, 9);
            assert_eq!((take(tick), take(9)), (None, None));
        }
        Promises { since: 1, told: Vec::new() }.leave(&layout, 1);
        assert_eq!(take(1), Some(Promises { since: 1, told: Vec::new() }));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_file_counts_as_none() {
        let text = promises().text(9);
        assert_eq!(Promises::parse(&text, 9), Some(promises()));
        for at in 0..text.len() {
            assert_eq!(Promises::parse(&text[..at], 9), None, "{at}");
            let mut flipped = text.clone();
            flipped[at] ^= 1;
            assert_eq!(Promises::parse(&flipped, 9), None, "{at}");
        }
        assert_eq!(Promises::parse(&[&text[..], b"x"].concat(), 9), None);
    }

    #[test]
    fn where_it_cannot_be_written_there_is_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path());
        // Nothing can be renamed to the name of a directory that holds something.
        fs::create_dir_all(layout.promises().join("x")).unwrap();
        promises().leave(&layout, 9);
        assert!(!layout.promises().with_extension("new").exists());
    }
}
