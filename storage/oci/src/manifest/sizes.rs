//! The sizes that manifests say of what they name, and those that are others.
//!
//! A manifest with a wrong size is taken: its digest is fixed, so a mirror that was refused it
//! would end there. But some clients count the bytes of a blob against it, so it is told.

use std::fmt;

use crate::digest::Digest;

/// The size that a manifest says of something that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatedSize {
    /// The digest that is named.
    pub child: Digest,
    /// Its bytes, as the manifest says.
    pub size: u64,
}

/// Sizes that a manifest says and that are others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrongSizes {
    /// The first of them, in the order of the digests.
    pub first: Vec<WrongSize>,
    /// How many there are.
    pub count: u64,
}

/// A size that a manifest says and that is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongSize {
    /// What it is said of.
    pub digest: Digest,
    /// What is said, in bytes.
    pub said: u64,
    /// What it is.
    pub found: u64,
}

impl WrongSizes {
    /// Takes a size that is said, and the one that was found, if any.
    pub fn compare(&mut self, said: StatedSize, found: Option<u64>) {
        let StatedSize { child: digest, size: said } = said;
        if let Some(found) = found.filter(|found| *found != said) {
            self.count += 1;
            if self.first.len() < NAMED_SIZES {
                self.first.push(WrongSize { digest, said, found });
            }
        }
    }
}

impl fmt::Display for WrongSizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, WrongSize { digest, said, found }) in self.first.iter().enumerate() {
            let before = if number == 0 { "" } else { ", " };
            write!(f, "{before}{said} bytes of {digest}, which has {found}")?;
        }
        match self.count - self.first.len() as u64 {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

/// Sizes that are named, at most: a manifest can say tens of thousands.
const NAMED_SIZES: usize = 5;
