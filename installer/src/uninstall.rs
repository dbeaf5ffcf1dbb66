//! Removing what an installation made, from its record: all of it and nothing else.

use std::fmt;
use std::path::Path;

use crate::apply::forget;
use crate::error::InstallError;
use crate::file;
use crate::record::{InstalledItem, Record};
use crate::systemd;
use crate::undo;

/// What is removed and what stays, for people to read before it happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// What is removed, in this order.
    made: Vec<InstalledItem>,
    /// What stays.
    pub keeps: Vec<String>,
}

impl Removal {
    /// What the record of an installation says.
    pub fn of(record: &Record) -> Self {
        let made = record.made.iter().rev();
        // A user that went would leave the data to whoever gets its number next.
        let made = made.filter(|made| !matches!(made, InstalledItem::User { .. }));
        let mut made: Vec<_> = made.cloned().collect();
        // Nothing runs any more when the rest goes.
        made.sort_by_key(|made| !matches!(made, InstalledItem::Service { .. }));
        Self { made, keeps: record.keeps.clone() }
    }

    /// Removes it. `tell` hears of each thing that is gone. Gives what could not go because
    /// others have put something there.
    ///
    /// Each thing may be gone already, so that what was cut short can be done again.
    ///
    /// # Errors
    /// What the host refuses; the record stays then.
    pub fn run(
        &self,
        record: &Path,
        tell: &dyn Fn(&InstalledItem),
    ) -> Result<Vec<String>, InstallError> {
        let mut left = Vec::new();
        for made in &self.made {
            match remove(made)? {
                None => tell(made),
                Some(reason) => left.push(reason),
            }
        }
        if self.made.iter().any(|made| matches!(made, InstalledItem::Service { .. })) {
            systemd::reload()?;
        }
        forget(record)?;
        Ok(left)
    }
}

impl fmt::Display for InstalledItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User { name } => write!(f, "the user {name}"),
            Self::Directory { path } => write!(f, "the directory {}", path.display()),
            Self::File { path } => write!(f, "{}", path.display()),
            Self::Moved { from, to, .. } => {
                write!(f, "{}, which goes back to {}", to.display(), from.display())
            }
            Self::Service { unit } => write!(f, "the service {unit}"),
        }
    }
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "This is removed:")?;
        self.made.iter().try_for_each(|made| writeln!(f, "  {made}"))?;
        writeln!(f, "This stays:")?;
        self.keeps.iter().try_for_each(|kept| writeln!(f, "  {kept}"))
    }
}

/// Removes one thing. Says why, if it stays.
fn remove(made: &InstalledItem) -> Result<Option<String>, InstallError> {
    match made {
        InstalledItem::User { .. } => Ok(None),
        InstalledItem::Service { unit } => {
            systemd::stop_if_there(unit)?;
            systemd::disable_if_there(unit)?;
            Ok(None)
        }
        InstalledItem::File { path } => {
            file::remove(path)?;
            file::remove(&file::before(path))?;
            Ok(None)
        }
        // Where it cannot go back it stays: it may be all that there is of it.
        InstalledItem::Moved { inside, from, to } => Ok(match undo::move_back(inside, from, to) {
            Ok(true) => None,
            Ok(false) => Some(format!("{}: {} is not there", to.display(), inside.display())),
            Err(error) => Some(format!("{}: {error}", to.display())),
        }),
        InstalledItem::Directory { path } => Ok(match file::remove_directory(path)? {
            true => None,
            false => Some(format!("{}: there are other files in it", path.display())),
        }),
    }
}
