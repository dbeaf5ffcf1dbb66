//! `registry version` and `registry licences`: what this program is, and what is in it.

use serde::Serialize;

use super::{print, print_as_it_is, print_json};

/// What identifies a build.
#[derive(Serialize)]
struct Version {
    version: &'static str,
    /// The commit it was built from; `unknown` if it was built without the repository.
    commit: &'static str,
    target: &'static str,
}

pub(super) fn version(json: bool) -> anyhow::Result<()> {
    let version = Version {
        version: env!("CARGO_PKG_VERSION"),
        commit: env!("REGISTRY_COMMIT"),
        target: env!("REGISTRY_TARGET"),
    };
    if json {
        return print_json(&version);
    }
    let Version { version, commit, target } = version;
    print(&format!("registry {version}\ncommit   {commit}\ntarget   {target}\n"))
}

pub(super) fn licences() -> anyhow::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    print_as_it_is(&format!("registry {version} is under the Apache License 2.0.\n\n{LICENCES}"))
}

/// Put together by build.rs.
const LICENCES: &str = include_str!(concat!(env!("OUT_DIR"), "/licences.txt"));
