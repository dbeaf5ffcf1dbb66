//! Who asks, when a command is given on this host.

use std::sync::OnceLock;

use installer::Person;
use rustix::process::getuid;
use storage::HostUser;

/// Remembers as which user this process was begun. Called before any part of it becomes the owner
/// of the data, as commands do and stay.
pub(crate) fn remember_user() {
    UID.get_or_init(|| getuid().as_raw());
}

/// The person who gives the commands of this process. Looked up once, at the first command.
pub(super) fn who_asks() -> HostUser {
    let look_up = || {
        let uid = *UID.get_or_init(|| getuid().as_raw());
        let Person { logged_in, sudo, user } = Person::of_this_process(uid);
        HostUser::of([&logged_in.unwrap_or_default(), &sudo.unwrap_or_default(), &user])
    };
    PERSON.get_or_init(look_up).clone()
}

static UID: OnceLock<u32> = OnceLock::new();
static PERSON: OnceLock<HostUser> = OnceLock::new();
