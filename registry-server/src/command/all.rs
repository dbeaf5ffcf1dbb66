//! All commands: the one place that knows them by their names.

use serde_json::value::RawValue;

use super::{Command, Context, bundle, data, image, import, tag, user};

/// Every command. A new one is a file, and a line here.
pub(crate) static ALL: &[Entry] = &[
    Entry::of::<user::AddUser>(),
    Entry::of::<user::ChangePassword>(),
    Entry::of::<user::ListUsers>(),
    Entry::of::<user::RemoveUser>(),
    Entry::of::<bundle::ListBundles>(),
    Entry::of::<bundle::NoteVolume>(),
    Entry::of::<bundle::ReadNote>(),
    Entry::of::<data::BeginBackup>(),
    Entry::of::<data::Collect>(),
    Entry::of::<data::HoldDeletions>(),
    Entry::of::<data::Identify>(),
    Entry::of::<data::ListBlobs>(),
    Entry::of::<data::ListRepositories>(),
    Entry::of::<data::SumRepository>(),
    Entry::of::<data::LookAtState>(),
    Entry::of::<data::TakeSnapshot>(),
    Entry::of::<data::Verify>(),
    Entry::of::<image::ListManifests>(),
    Entry::of::<image::ListParts>(),
    Entry::of::<image::ListReferrers>(),
    Entry::of::<image::LookAtManifest>(),
    Entry::of::<image::ReadManifest>(),
    Entry::of::<image::PlanRemovalOfAll>(),
    Entry::of::<image::PlanRemovalOfMatching>(),
    Entry::of::<image::RemoveImage>(),
    Entry::of::<image::RemoveMatching>(),
    Entry::of::<image::RemoveSome>(),
    Entry::of::<import::BeginImport>(),
    Entry::of::<import::EndImport>(),
    Entry::of::<import::LinkBlobs>(),
    Entry::of::<import::LookAtTags>(),
    Entry::of::<import::LookForBlobs>(),
    Entry::of::<import::LookForManifests>(),
    Entry::of::<import::PublishBlobs>(),
    Entry::of::<import::PutImages>(),
    Entry::of::<import::UndoImport>(),
    Entry::of::<tag::ListTags>(),
    Entry::of::<tag::ProtectTag>(),
    Entry::of::<tag::RestoreManifests>(),
    Entry::of::<tag::RestoreTag>(),
    Entry::of::<tag::ShowHistory>(),
    Entry::of::<tag::UnprotectTag>(),
];

/// A command as it is known before it is read.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) is_long: bool,
    read: fn(&RawValue) -> serde_json::Result<Box<dyn AnyCommand>>,
}

impl Entry {
    const fn of<C: Command>() -> Self {
        let read = |arguments: &RawValue| -> serde_json::Result<Box<dyn AnyCommand>> {
            Ok(Box::new(serde_json::from_str::<C>(arguments.get())?))
        };
        Self { name: C::NAME, is_long: C::IS_LONG, read }
    }

    /// The command of this name.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|entry| entry.name == name)
    }

    /// Reads what a command asks.
    ///
    /// # Errors
    /// What does not parse.
    pub(crate) fn read(&self, arguments: &RawValue) -> serde_json::Result<Box<dyn AnyCommand>> {
        (self.read)(arguments)
    }
}

/// A command whose type is not known.
pub(crate) trait AnyCommand: Send {
    /// As [`Command::words`].
    fn words(&self) -> &'static str;

    /// As [`Command::subject`].
    fn subject(&self) -> Option<String>;

    /// As [`Command::is_continued`].
    fn is_continued(&self) -> bool;

    /// Does it, and writes what it brings back. A failure is a sentence.
    fn run(self: Box<Self>, context: &mut Context<'_>) -> Result<Box<RawValue>, String>;
}

impl<C: Command> AnyCommand for C {
    fn words(&self) -> &'static str {
        Command::words(self)
    }

    fn subject(&self) -> Option<String> {
        Command::subject(self)
    }

    fn is_continued(&self) -> bool {
        Command::is_continued(self)
    }

    fn run(self: Box<Self>, context: &mut Context<'_>) -> Result<Box<RawValue>, String> {
        let reply = Command::run(*self, context).map_err(|error| error.to_string())?;
        serde_json::value::to_raw_value(&reply).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_command_has_a_name_of_its_own() {
        let names: HashSet<&str> = ALL.iter().map(|entry| entry.name).collect();
        assert_eq!(names.len(), ALL.len());
        for entry in ALL {
            assert!(std::ptr::eq(Entry::find(entry.name).unwrap(), entry), "{}", entry.name);
        }
        assert!(Entry::find("none").is_none());
    }
}
