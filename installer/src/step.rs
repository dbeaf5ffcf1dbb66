//! The steps that an installation consists of, as data: what each is about, and whether the host
//! needs it.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use durable::At;
use serde::Serialize;

use crate::error::InstallError;
use crate::file;
use crate::paths::RUNNING_PROGRAM;
use crate::record::InstalledItem;
use crate::systemd;
use crate::undo::as_owner;
use crate::user::{self, Ids};

/// One step. A plan holds them in the order in which they are taken.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// A user of the system that nobody can log in as.
    User {
        /// Its name, and that of its group.
        name: String,
        /// What it is for.
        comment: String,
    },
    /// A directory. One that is there stays as it is.
    Directory {
        /// Where.
        path: PathBuf,
        /// Its permissions.
        #[serde(serialize_with = "octal")]
        mode: u32,
        /// Whose it is.
        owner: Owner,
    },
    /// A directory and what is in it become a user's.
    Give {
        /// The directory.
        path: PathBuf,
        /// The user.
        to: String,
    },
    /// A directory that others may pass through, but neither list nor lock.
    Close {
        /// The directory.
        path: PathBuf,
    },
    /// This program itself, as a file that everybody may run.
    Program {
        /// Where.
        path: PathBuf,
    },
    /// A file with a content.
    File {
        /// Where.
        path: PathBuf,
        /// Its permissions.
        #[serde(serialize_with = "octal")]
        mode: u32,
        /// Whose it is.
        owner: Owner,
        /// What it holds; never shown, since it may be secret.
        #[serde(skip)]
        content: Vec<u8>,
    },
    /// The service stops, since what it works on is about to change.
    Stop {
        /// The service.
        unit: String,
    },
    /// The caller fills a directory as its owner.
    Fill {
        /// The directory.
        path: PathBuf,
        /// What the caller makes, for people.
        with: String,
        /// Files that the caller may replace, each by renaming another over it.
        #[serde(skip)]
        replaces: Vec<PathBuf>,
        /// What the caller has to do there.
        #[serde(skip)]
        need: Need,
    },
    /// A file that the caller made in somebody else's directory moves to where only root sees it.
    Move {
        /// The directory.
        inside: PathBuf,
        /// From where.
        from: PathBuf,
        /// To where.
        to: PathBuf,
    },
    /// The service starts, now and with the host.
    Start {
        /// The service.
        unit: String,
        /// The file that defines it.
        file: PathBuf,
    },
    /// The caller looks whether the service does what it is for.
    Check {
        /// What is looked at, for people.
        what: String,
    },
}

/// Whose a file or directory is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    /// Root and its group.
    Root,
    /// A user, and the group that it came with.
    User(String),
}

impl Owner {
    /// The numbers, unless the user is not there yet.
    pub(crate) fn ids(&self) -> Result<Option<Ids>, InstallError> {
        match self {
            Self::Root => Ok(Some(Ids::ROOT)),
            Self::User(name) => user::find(name),
        }
    }
}

/// What a step does to the host as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// Nothing: the host is so already.
    Nothing,
    /// It brings what is not there.
    Make,
    /// It changes what is there.
    Change,
}

impl Step {
    /// What the step does to the host as it is; `made` is what earlier installations made.
    ///
    /// `Stop`, `Start` and `Check` are the plan's to judge, since they depend on the other steps.
    pub(crate) fn need(&self, made: &[InstalledItem]) -> Result<Need, InstallError> {
        match self {
            Self::User { name, .. } => user_need(name, made),
            Self::Directory { path, owner, .. } => {
                if let Owner::User(user) = owner {
                    check_reachable(path, user)?;
                }
                match file::metadata(path)? {
                    None => file::check_writable(path).map(|()| Need::Make),
                    Some(_) if path.is_dir() => Ok(Need::Nothing),
                    Some(_) => Err(InstallError::NoDirectory(path.clone())),
                }
            }
            Self::Give { path, to } => give_need(path, to),
            Self::Close { path } => close_need(path),
            Self::Program { path } | Self::File { path, .. } if is_no_file(path)? => {
                Err(InstallError::ForeignFile(path.clone()))
            }
            Self::Program { path } => {
                file_need(path, is_this_program(path)?, PROGRAM_MODE, &Owner::Root, made)
            }
            Self::File { path, mode, owner, content } => {
                let has_content = file::read(path)?.as_ref() == Some(content);
                file_need(path, has_content, *mode, owner, made)
            }
            Self::Fill { need, .. } => Ok(*need),
            Self::Move { inside, from, to } => move_need(inside, from, to),
            Self::Stop { .. } | Self::Start { .. } | Self::Check { .. } => Ok(Need::Nothing),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User { name, .. } => write!(f, "the user {name}"),
            Self::Directory { path, mode, .. } => {
                write!(f, "the directory {} ({mode:04o})", path.display())
            }
            Self::Give { path, to } => write!(f, "{} to the user {to}", path.display()),
            Self::Close { path } => write!(f, "{} to others, who may pass through", path.display()),
            Self::Program { path } => write!(f, "this program as {}", path.display()),
            Self::File { path, mode, .. } => write!(f, "{} ({mode:04o})", path.display()),
            Self::Stop { unit } => write!(f, "the service {unit} for a moment"),
            Self::Fill { path, with, .. } => write!(f, "{with} in {}", path.display()),
            Self::Move { from, to, .. } => {
                write!(f, "{} to {}", name_of(from), to.display())
            }
            Self::Start { unit, .. } => write!(f, "the service {unit}, now and with the host"),
            Self::Check { what } => write!(f, "{what}"),
        }
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As for people: a content may be secret.
        fmt::Display::fmt(self, f)
    }
}

/// Refuses a path whose user could not reach it, because a directory above lets others not pass.
fn check_reachable(path: &Path, user: &str) -> Result<(), InstallError> {
    let ids = user::find(user)?;
    for above in path.ancestors().skip(1) {
        let Ok(metadata) = above.metadata() else { continue };
        let passes =
            metadata.mode() & 0o001 != 0 || ids.is_some_and(|ids| ids.uid == metadata.uid());
        if !passes {
            return Err(InstallError::Unreachable {
                user: user.to_owned(),
                path: path.to_owned(),
                closed: above.to_owned(),
            });
        }
    }
    Ok(())
}

fn user_need(name: &str, made: &[InstalledItem]) -> Result<Need, InstallError> {
    let Some(ids) = user::find(name)? else { return Ok(Need::Make) };
    let is_ours = made.contains(&InstalledItem::User { name: name.to_owned() });
    if !is_ours && ids.uid >= FIRST_PERSON {
        return Err(InstallError::ForeignUser { name: name.to_owned(), uid: ids.uid });
    }
    Ok(Need::Nothing)
}

fn give_need(path: &Path, to: &str) -> Result<Need, InstallError> {
    let Some(metadata) = file::metadata(path)? else { return Ok(Need::Nothing) };
    let owner = Ids { uid: metadata.uid(), gid: metadata.gid() };
    Ok(if user::find(to)? == Some(owner) { Need::Nothing } else { Need::Change })
}

fn close_need(path: &Path) -> Result<Need, InstallError> {
    let is_open = path.metadata().is_ok_and(|found| found.mode() & file::OPENING != 0);
    Ok(if is_open { Need::Change } else { Need::Nothing })
}

/// Whether something lies where a file goes and is none, such as a link to elsewhere.
fn is_no_file(path: &Path) -> Result<bool, InstallError> {
    Ok(file::metadata(path)?.is_some_and(|metadata| !metadata.is_file()))
}

/// What a file needs. One that is there and is neither ours nor what it should be is not touched.
fn file_need(
    path: &Path,
    has_content: bool,
    mode: u32,
    owner: &Owner,
    made: &[InstalledItem],
) -> Result<Need, InstallError> {
    if has_content && file::has(path, mode, owner.ids()?)? {
        return Ok(Need::Nothing);
    }
    file::check_writable(path.parent().unwrap_or(path))?;
    if file::metadata(path)?.is_none() {
        return Ok(Need::Make);
    }
    let is_ours = made.contains(&InstalledItem::File { path: path.to_owned() });
    if is_ours || has_content {
        Ok(Need::Change)
    } else {
        Err(InstallError::ForeignFile(path.to_owned()))
    }
}

fn move_need(inside: &Path, from: &Path, to: &Path) -> Result<Need, InstallError> {
    match (as_owner(inside, || file::read_small(from))?, file::read(to)?) {
        (None, _) => Ok(Need::Nothing),
        (Some(found), Some(there)) if found != there => {
            Err(InstallError::Differ { from: from.to_owned(), to: to.to_owned() })
        }
        (Some(_), _) => Ok(Need::Change),
    }
}

/// Whether a file is this program, byte for byte.
fn is_this_program(path: &Path) -> Result<bool, InstallError> {
    let Some(there) = file::read(path)? else { return Ok(false) };
    let own = Path::new(RUNNING_PROGRAM);
    Ok(std::fs::read(own).at("read", own)? == there)
}

/// Refuses a service that somebody else made. A unit anywhere else than where ours goes, or one
/// there that no installation wrote, is somebody else's.
pub(crate) fn check_unit(
    unit: &str,
    file: &Path,
    content: &[u8],
    made: &[InstalledItem],
) -> Result<systemd::ServiceState, InstallError> {
    let state = systemd::state(unit)?;
    if state.is_masked {
        return Err(InstallError::Masked(unit.to_owned()));
    }
    let is_ours = made.contains(&InstalledItem::File { path: file.to_owned() });
    let there = file::read(file)?;
    let is_foreign = there.is_some_and(|there| there != content) && !is_ours;
    let found = state.file.clone().filter(|found| found != file);
    match found.or_else(|| is_foreign.then(|| file.to_owned())) {
        Some(path) => Err(InstallError::ForeignUnit { unit: unit.to_owned(), path }),
        None => Ok(state),
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn octal<S: serde::Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{mode:04o}"))
}

/// Everybody may run the program and read it.
pub(crate) const PROGRAM_MODE: u32 = 0o755;
/// The first number of a person's account on every Linux of today (`UID_MIN` of login.defs).
const FIRST_PERSON: u32 = 1000;
