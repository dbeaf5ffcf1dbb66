//! What a request needs and what a user may do.

use std::fmt;

use storage::{Account, Role, UserName};

/// The right that a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// None: health checks.
    None,
    /// Any login. It is asked for even when pulls are open, because `oc` sends credentials only
    /// to a registry that challenged its first request.
    Login,
    /// Reading content and lists.
    Pull,
    /// Adding content and moving tags.
    Push,
    /// Removing manifests, tags and blobs.
    Delete,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "ask for health",
            Self::Login => "log in",
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        })
    }
}

/// Who a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Nobody said who they are.
    Anonymous,
    /// A user whose password was right.
    User {
        /// Who it is.
        account: Account,
        /// What the user may do.
        role: Role,
    },
}

impl Principal {
    /// The user, if somebody said who they are.
    pub fn name(&self) -> Option<&UserName> {
        match self {
            Self::Anonymous => None,
            Self::User { account, .. } => Some(&account.name),
        }
    }

    /// The same, told from others who had the name.
    pub fn account(&self) -> Option<&Account> {
        match self {
            Self::Anonymous => None,
            Self::User { account, .. } => Some(account),
        }
    }

    /// Whether they may do more than what is open to everybody.
    pub fn may(&self, access: Access) -> bool {
        matches!(self, Self::User { role, .. } if allows(*role, access))
    }
}

/// Whether a role reaches an access.
pub fn allows(role: Role, access: Access) -> bool {
    let needed = match access {
        Access::None | Access::Login | Access::Pull => Role::Pull,
        Access::Push => Role::Push,
        Access::Delete => Role::Administrator,
    };
    role >= needed
}
