//! Collection and verification beside the load, as an administrator runs them.

use std::time::Duration;

use super::Load;
use crate::support::binary::Instance;

/// The commands of one instance.
pub(crate) struct Upkeep<'a> {
    instance: &'a Instance,
}

impl<'a> Upkeep<'a> {
    pub(crate) fn of(instance: &'a Instance) -> Self {
        Self { instance }
    }

    /// After what time collection may take a blob that no manifest names.
    pub(crate) fn grace(&self) -> Option<Duration> {
        None
    }

    /// Collects what is due.
    pub(crate) fn collect(&self) {
        let _ = self.instance;
    }

    /// Reads everything again.
    pub(crate) fn verify(&self) {
        let _ = self.instance;
    }

    /// Checks at the end that everything is right, and that nothing is left over.
    pub(crate) fn end(&self, _load: &mut Load) {}
}
