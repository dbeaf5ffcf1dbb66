//! What commands do to a store: the same function whether a server owns it or nobody does.
//!
//! A server takes commands at the socket in its data directory, one a connection: a line of JSON
//! in, a line of JSON out. A command that takes long sends lines about its progress before, says
//! now and then that it is at it, and stops when whoever gave it is gone. When no server runs, the
//! command opens the store itself.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use storage::backup::generation::{Found, Generation};
use storage::backup::read_small;
use storage::{
    BackupError, Collected, ImageName, Keep, RepoName, Role, Snapshot, StorageError, Store,
    TagPattern, User, UserName, remove_durably,
};
use thiserror::Error;

use crate::auth::password;
use crate::config::{Span, Upkeep};

mod client;
mod image;
mod lease;
mod line;
mod place;
mod socket;
mod status;
mod tag;
mod verify;

pub use client::{Leased, Refused, own, run, run_leased, run_long};
pub(crate) use client::{
    allow_network_fs, check_medium, end_process, is_network_fs_allowed, log_trouble,
};
pub use image::{
    AllEntry, ImageCommand, ImageReply, ManifestEntry, PartEntry, ReferrerEntry, RemovedEntry,
};
pub use lease::Lease;
pub(crate) use place::RUNTIME;
pub use socket::Socket;
pub use status::{Ended, Status};
pub use tag::{ChangeEntry, RestoredEntry, TagCommand, TagReply};
pub use verify::{FoundEntry, VerifyReport};
pub(crate) use verify::{HURT_IMAGES, bytes_of};

/// A command, as it travels.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Command {
    /// Asks for the state of the registry.
    Status,
    /// Adds a user. The password was hashed by the command; it does not travel.
    UserAdd {
        /// The name.
        name: String,
        /// The word for the role.
        role: String,
        /// The hash of the password.
        password_hash: String,
    },
    /// Asks for all users.
    UserList,
    /// Changes a password.
    UserPassword {
        /// The name.
        name: String,
        /// The hash of the new password.
        password_hash: String,
    },
    /// Removes a user.
    UserRemove {
        /// The name.
        name: String,
    },
    /// Asks for a page of repositories.
    Repositories {
        /// The last one of the page before.
        after: Option<String>,
    },
    /// Collects what nothing needs any more. What is not given is as the settings say.
    Collect {
        /// Whether it only counts.
        dry_run: bool,
        /// How long blobs are kept that were pushed, mounted or told.
        grace_seconds: Option<u64>,
        /// How long manifests without a tag are kept.
        untagged_seconds: Option<u64>,
        /// How long what was deleted is kept.
        deleted_seconds: Option<u64>,
        /// How long it is kept what tags named.
        history_seconds: Option<u64>,
        /// How long unused upload sessions are kept.
        upload_seconds: Option<u64>,
    },
    /// Reads everything that is stored again.
    Verify {
        /// Whether it only tells.
        dry_run: bool,
        /// How many MiB a second it reads at most.
        mib_per_second: Option<NonZeroU32>,
    },
    /// Asks for a page of tags.
    Tags {
        /// The repository.
        repository: String,
        /// The last one of the page before.
        after: Option<String>,
    },
    /// Something about the history and the protection of tags.
    Tag(TagCommand),
    /// Something about an image as a whole.
    Image(ImageCommand),
    /// Asks for a database that nobody writes to, and that no blob it names goes, until the
    /// connection is closed.
    Backup,
    /// Notes that a backup is to be written, where this was found.
    BeginBackup {
        /// What was found there.
        found: Found,
        /// What is to be written there.
        next: Generation,
    },
}

/// What a command brings back.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// It is done.
    Done,
    /// It cannot be done; the sentence says why.
    Failed(String),
    /// The state of the registry.
    Status(Box<Status>),
    /// All users.
    Users(Vec<UserEntry>),
    /// A page of repositories; another may follow a full one.
    Repositories(Vec<String>),
    /// A page of tags; another may follow a full one.
    Tags(Vec<TagEntry>),
    /// A database that nobody writes to.
    Snapshot {
        /// Its name in the data directory.
        name: String,
        /// Whether it is a copy, and not the registry's own on a read-only disk.
        is_copy: bool,
    },
    /// Whether the backup is noted: not if another registry was the last to write there.
    BackupBegun(bool),
    /// What collection did, and whether a server did it.
    Collected(Box<Collected>, bool),
    /// What a command about tags brings back.
    Tag(TagReply),
    /// What a command about images brings back.
    Image(ImageReply),
    /// What verification read and found.
    Verified(Box<VerifyReport>),
    /// How far a command is that takes long. The outcome follows.
    Progress(Progress),
    /// The server is at it, and has no other news.
    Working,
}

/// How far a command is that takes long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What it is at, as in "reading blobs".
    pub task: String,
    /// How much of it is done.
    pub done: u64,
    /// How much there is to do; none if that is not known.
    pub total: Option<u64>,
}

/// Hears about progress, and says whether to go on.
pub type OnProgress<'a> = &'a mut dyn FnMut(&Progress) -> ControlFlow<()>;

/// One user, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserEntry {
    /// The name.
    pub name: String,
    /// The word for the role.
    pub role: String,
}

/// One tag, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagEntry {
    /// The tag.
    pub tag: String,
    /// The digest of the manifest it names.
    pub digest: String,
    /// Whether it may be neither moved nor deleted.
    pub protected: bool,
}

/// What a running server knows about itself.
#[derive(Clone, Debug)]
pub struct Running {
    /// Where it is reached.
    pub address: String,
    /// When it started.
    pub since: Instant,
    /// When the certificate expires, if it is not the one in the data directory: the
    /// administrator's own, or one that is in memory alone.
    pub certificate_expires: Option<SystemTime>,
    /// What its settings say about upkeep.
    pub upkeep: Upkeep,
}

/// Why a command fails.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    /// A name does not parse.
    #[error(transparent)]
    Name(#[from] storage::NameError),
    /// A role does not parse.
    #[error(transparent)]
    Role(#[from] storage::RoleError),
    /// There is no such user.
    #[error("there is no user {0}: see `registry user list`")]
    NoUser(UserName),
    /// There is no such repository.
    #[error("there is no repository {0}: see `registry ls`")]
    NoRepository(RepoName),
    /// A command about one tag names none.
    #[error("{0} names no tag: say which one, as in REPOSITORY:TAG")]
    NeedsTag(ImageName),
    /// A command about one image names a whole repository.
    #[error("{0} is a whole repository: name an image in it, as in {0}:TAG or {0}@DIGEST")]
    NeedsImage(RepoName),
    /// A whole repository is to be removed, without the flag that says so.
    #[error(
        "{0} is a whole repository: name an image in it, as in {0}:TAG or {0}@DIGEST, or remove \
         all of them with `registry rm --all {0}`"
    )]
    WholeRepository(RepoName),
    /// One image is to be removed, with the flag for a whole repository.
    #[error("--all is for a whole repository, and {0} is one image: leave out one of the two")]
    NeedsRepository(ImageName),
    /// No tag is like a pattern.
    #[error(
        "no tag of {repository} is like {pattern}: `registry ls {repository}` shows them, and \
         `registry tag history {repository}` those that were there"
    )]
    NothingMatches {
        /// The repository.
        repository: RepoName,
        /// The pattern.
        pattern: TagPattern,
    },
    /// A time is longer than any may be.
    #[error("no time may be longer than {}", Span::longest())]
    TooLong,
    /// Whoever gave the command is gone.
    #[error("stopped before the end")]
    Stopped,
    /// There is no snapshot to be had.
    #[error(transparent)]
    Backup(BackupError),
    /// The store refuses, or cannot.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Command {
    /// Whether it may take longer than a client's request: it has a thread of its own then, and
    /// tells how far it is.
    fn is_long(&self) -> bool {
        match self {
            Self::Status
            | Self::UserAdd { .. }
            | Self::UserList
            | Self::UserPassword { .. }
            | Self::UserRemove { .. }
            | Self::Repositories { .. }
            | Self::Tags { .. }
            | Self::Tag(_)
            | Self::BeginBackup { .. } => false,
            Self::Image(command) => command.is_long(),
            Self::Backup | Self::Collect { .. } | Self::Verify { .. } => true,
        }
    }
}

/// Does what a command asks, on the store that this process owns; `upkeep` is what the settings
/// say of it. What it leaves in `keep` is to be kept until whoever gave it is gone.
pub fn execute(
    store: &Store,
    running: Option<&Running>,
    upkeep: &Upkeep,
    command: Command,
    on_progress: OnProgress<'_>,
    keep: &mut Option<Snapshot>,
) -> Reply {
    let outcome = match command {
        Command::Status => status::status(store, running),
        Command::UserAdd { name, role, password_hash } => {
            add_user(store, &name, &role, password_hash)
        }
        Command::UserList => list_users(store),
        Command::UserPassword { name, password_hash } => {
            change_password(store, &name, password_hash)
        }
        Command::UserRemove { name } => remove_user(store, &name),
        Command::Repositories { after } => list_repositories(store, after.as_deref()),
        Command::Collect {
            dry_run,
            grace_seconds,
            untagged_seconds,
            deleted_seconds,
            history_seconds,
            upload_seconds,
        } => {
            let time = |seconds: Option<u64>| match seconds.map(Duration::from_secs) {
                Some(time) => {
                    Span::new(time).map(|Span(time)| Some(time)).ok_or(CommandError::TooLong)
                }
                None => Ok(None),
            };
            let keep = || {
                let grace = time(grace_seconds)?.unwrap_or(upkeep.keep.grace);
                Ok(Keep {
                    grace,
                    untagged: time(untagged_seconds)?.or(upkeep.keep.untagged),
                    // That nobody pushes now makes no difference to what was pushed for an index
                    // then.
                    listed_within: upkeep.keep.listed_within.max(grace),
                    deleted: time(deleted_seconds)?.unwrap_or(upkeep.keep.deleted),
                    history: time(history_seconds)?.unwrap_or(upkeep.keep.history),
                    uploads: time(upload_seconds)?.unwrap_or(upkeep.keep.uploads),
                })
            };
            keep().and_then(|keep| collect(store, &keep, dry_run, running.is_some(), on_progress))
        }
        Command::Verify { dry_run, mib_per_second } => {
            verify::verify(store, dry_run, mib_per_second, on_progress)
        }
        Command::Tags { repository, after } => list_tags(store, &repository, after.as_deref()),
        Command::Tag(command) => tag::execute(store, command).map(Reply::Tag),
        Command::Image(command) => image::execute(store, command).map(Reply::Image),
        Command::Backup => lease::take(store, on_progress, keep),
        Command::BeginBackup { found, next } => {
            store.begin_backup(found, next).map(Reply::BackupBegun).map_err(CommandError::from)
        }
    };
    outcome.unwrap_or_else(|error| Reply::Failed(error.to_string()))
}

fn add_user(
    store: &Store,
    name: &str,
    role: &str,
    password_hash: String,
) -> Result<Reply, CommandError> {
    let role: Role = role.parse()?;
    store.add_user(name.parse()?, role, password_hash)?;
    Ok(Reply::Done)
}

fn list_users(store: &Store) -> Result<Reply, CommandError> {
    let entry =
        |user: &User| UserEntry { name: user.name.to_string(), role: user.role.to_string() };
    Ok(Reply::Users(store.users()?.iter().map(entry).collect()))
}

fn change_password(
    store: &Store,
    name: &str,
    password_hash: String,
) -> Result<Reply, CommandError> {
    let user = known_user(store, name)?;
    store.set_password(&user.name, password_hash)?;
    forget_init_password(store, &user)?;
    Ok(Reply::Done)
}

fn remove_user(store: &Store, name: &str) -> Result<Reply, CommandError> {
    let user = known_user(store, name)?;
    store.remove_user(&user.name)?;
    forget_init_password(store, &user)?;
    Ok(Reply::Done)
}

fn known_user(store: &Store, name: &str) -> Result<User, CommandError> {
    let name: UserName = name.parse()?;
    store.user(&name)?.ok_or(CommandError::NoUser(name))
}

/// Removes the file with the first user's password if it was the password of this user, as it
/// was before the change.
fn forget_init_password(store: &Store, before: &User) -> Result<(), CommandError> {
    let path = store.layout().init_password();
    // Whoever owns the directory may have put another thing there.
    let Ok(Some(content)) = read_small(&path) else { return Ok(()) };
    if password::is_right(content.trim_ascii_end(), &before.password_hash) {
        remove_durably(&path)?;
    }
    Ok(())
}

fn list_repositories(store: &Store, after: Option<&str>) -> Result<Reply, CommandError> {
    let page = store.repositories(after, LIST_PAGE_ENTRIES)?;
    Ok(Reply::Repositories(page.iter().map(RepoName::to_string).collect()))
}

fn list_tags(store: &Store, repository: &str, after: Option<&str>) -> Result<Reply, CommandError> {
    let name: RepoName = repository.parse()?;
    let page = store.tags(&name, after, LIST_PAGE_ENTRIES)?;
    let page = page.ok_or_else(|| CommandError::NoRepository(name.clone()))?;
    let protected = match (page.first(), page.last()) {
        (Some((first, _)), Some((last, _))) => store.protected_tags(&name, first, last)?,
        _ => HashSet::new(),
    };
    let entry = |(tag, digest): &(storage::Tag, storage::Digest)| TagEntry {
        tag: tag.to_string(),
        digest: digest.to_string(),
        protected: protected.contains(tag),
    };
    Ok(Reply::Tags(page.iter().map(entry).collect()))
}

fn collect(
    store: &Store,
    keep: &Keep,
    is_dry_run: bool,
    is_served: bool,
    on_progress: OnProgress<'_>,
) -> Result<Reply, CommandError> {
    let total = store.counts()?.blobs;
    let mut on_step = |done: &Collected| {
        let task = "blobs looked at".to_owned();
        on_progress(&Progress { task, done: done.blobs_seen, total: Some(total) })
    };
    let done = crate::upkeep::collect(store, keep, is_dry_run, &mut on_step)?;
    Ok(Reply::Collected(Box::new(done), is_served))
}

/// Entries of one page of a list. A page is one read transaction.
pub const LIST_PAGE_ENTRIES: usize = 1000;
