//! Collecting what nothing needs any more.

use serde::{Deserialize, Serialize};
use storage::{Collected, Keep};

use crate::command::{Command, CommandError, Context, Progress};
use crate::config::ConfigDuration;

/// Collects what nothing needs any more. What is not given is as the settings say.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collect {
    /// Whether it only counts.
    pub dry_run: bool,
    /// How long blobs are kept that were pushed, mounted or told.
    pub grace: Option<ConfigDuration>,
    /// How long manifests without a tag are kept.
    pub untagged: Option<ConfigDuration>,
    /// How long what was deleted is kept.
    pub deleted: Option<ConfigDuration>,
    /// How long it is kept what tags named.
    pub history: Option<ConfigDuration>,
    /// How long unused upload sessions are kept.
    pub uploads: Option<ConfigDuration>,
}

/// What collection did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collection {
    /// What went, or would go.
    pub done: Collected,
    /// Whether a server did it.
    pub is_served: bool,
}

impl Command for Collect {
    type Reply = Collection;

    const NAME: &'static str = "collect";
    const IS_LONG: bool = true;

    fn words(&self) -> &'static str {
        "gc"
    }

    fn run(self, context: &mut Context<'_>) -> Result<Collection, CommandError> {
        let settings = &context.upkeep.keep;
        let time = |span: Option<ConfigDuration>| span.map(|ConfigDuration(time)| time);
        let grace = time(self.grace).unwrap_or(settings.grace);
        let keep = Keep {
            grace,
            untagged: time(self.untagged).or(settings.untagged),
            // That nobody pushes now makes no difference to what was pushed for an index then.
            listed_within: settings.listed_within.max(grace),
            deleted: time(self.deleted).unwrap_or(settings.deleted),
            history: time(self.history).unwrap_or(settings.history),
            uploads: time(self.uploads).unwrap_or(settings.uploads),
        };
        let total = Some(context.store.counts()?.blobs);
        let mut on_step = |done: &Collected| {
            let task = "blobs looked at".to_owned();
            (context.on_progress)(&Progress { task, done: done.blobs_seen, total, is_bytes: false })
        };
        let done = crate::upkeep::collect(context.store, &keep, self.dry_run, &mut on_step)?;
        Ok(Collection { done, is_served: context.running.is_some() })
    }
}
