//! What cargo builds for the tests, and the file that is given away.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::process::run;

/// The file that is given away, built at the first call by the very command of the justfile.
pub(crate) fn release() -> &'static Path {
    static RELEASE: OnceLock<PathBuf> = OnceLock::new();
    RELEASE.get_or_init(|| {
        let line = recipe("release").remove(0) + " --message-format json-render-diagnostics";
        built(Command::new("sh").args(["-c", &line]))
    })
}

/// The commands of a recipe in the justfile.
pub(crate) fn recipe(name: &str) -> Vec<String> {
    let recipes = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../justfile"));
    let recipes = recipes.expect("the justfile");
    let lines = recipes.lines().skip_while(|line| line.strip_suffix(':') != Some(name)).skip(1);
    lines.map_while(|line| line.strip_prefix("    ")).map(str::to_owned).collect()
}

/// Runs a cargo that tells in JSON what it does, and returns the program that it built.
pub(crate) fn built(cargo: &mut Command) -> PathBuf {
    let messages = run(cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))).ok();
    let executable = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message.get("executable")?.as_str()?))
    };
    messages.lines().rev().find_map(executable).expect("cargo names the program that it built")
}
