//! What the settings say about upkeep.

use std::num::NonZeroU32;
use std::time::Duration;

use storage::Keep;

use super::duration::ConfigDuration;
use super::settings::{SCRUB_RATE_MIB, Settings};
use crate::limits::{Limits, TAG_HISTORY_TIME};

/// What is done to the store now and then, and how long what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upkeep {
    /// How often collection runs; never if there is none.
    pub gc_interval: Option<Duration>,
    /// What collection leaves.
    pub keep: Keep,
    /// How often every byte is read; never if there is none.
    pub scrub_interval: Option<Duration>,
    /// How many MiB a second that reads at most.
    pub scrub_rate_mib: NonZeroU32,
}

impl Default for Upkeep {
    fn default() -> Self {
        Settings::default().upkeep()
    }
}

impl Settings {
    /// What the settings say about upkeep, or else the defaults.
    pub fn upkeep(&self) -> Upkeep {
        let all = self.clone().with_defaults();
        let time =
            |span: Option<ConfigDuration>| span.map_or(Duration::ZERO, |ConfigDuration(time)| time);
        let interval = |span| Some(time(span)).filter(|time| !time.is_zero());
        Upkeep {
            gc_interval: interval(all.gc_interval),
            keep: Keep {
                grace: time(all.gc_grace),
                untagged: all.gc_untagged_after.map(|ConfigDuration(time)| time),
                listed_within: time(all.gc_grace),
                deleted: time(all.undo_time),
                history: time(all.undo_time).max(TAG_HISTORY_TIME),
                uploads: Limits::default().upload_idle_time,
            },
            scrub_interval: interval(all.scrub_interval),
            scrub_rate_mib: all.scrub_rate.unwrap_or(SCRUB_RATE_MIB),
        }
    }
}
