//! `registry version` and `registry licences`: what this program is, and what is in it.

use serde::Serialize;

use crate::text::{Lines, print, print_json};

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
    let lines = [("registry", version), ("commit  ", commit), ("target  ", target)];
    Ok(print(&lines.map(|(name, value)| format!("{name} {value}")).into_iter().collect())?)
}

pub(super) fn licences() -> anyhow::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let text = format!("registry {version} is under the Apache License 2.0.\n\n{LICENCES}");
    Ok(print(&Lines::of_own(&text))?)
}

/// Put together by build.rs.
const LICENCES: &str = include_str!(concat!(env!("OUT_DIR"), "/licences.txt"));
