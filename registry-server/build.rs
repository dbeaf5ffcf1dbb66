//! What the binary can tell about itself: the commit it was made from, and the licences of
//! everything that is linked into it.
//!
//! Both are found out while it is built, from the repository and from the sources of the locked
//! crates, so that no list in the tree can fall behind and no other tool is needed. This runs
//! again when a manifest, Cargo.lock, a text in `licences/` or the commit has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let own = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let root = own.parent().ok_or("the workspace is above this crate")?;
    let target = std::env::var("TARGET")?;
    refuse_other_flags()?;
    println!("cargo::rustc-env=REGISTRY_TARGET={target}");
    println!("cargo::rustc-env=REGISTRY_COMMIT={}", commit(root)?);

    let apache = watched(&root.join("LICENSE"))?;
    let mut parts = crates(root, &target, &apache)?;
    parts.extend(others(&own.join("licences"), apache)?);
    let notes = watched(&own.join("licences/notes.txt"))?;
    let text = document(&parts, &notes);
    fs::write(Path::new(&std::env::var("OUT_DIR")?).join("licences.txt"), text)?;
    Ok(())
}

/// Refuses to make the file that is given away where other flags took the place of its own.
fn refuse_other_flags() -> Result<()> {
    println!("cargo::rerun-if-env-changed=REGISTRY_STATIC");
    let features = std::env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let is_static = features.split(',').any(|feature| feature == "crt-static");
    if std::env::var_os("REGISTRY_STATIC").is_some() && !is_static {
        return Err("the file would not be static: unset RUSTFLAGS and build again".into());
    }
    Ok(())
}

/// The commit: what the environment says, for builds from an archive, else what git says.
fn commit(root: &Path) -> Result<String> {
    println!("cargo::rerun-if-env-changed=REGISTRY_COMMIT");
    match std::env::var("REGISTRY_COMMIT") {
        Ok(commit) if !commit.is_empty() => return Ok(commit),
        _ => {}
    }
    // With the directory named, git looks at no repository around an unpacked archive, nor does
    // it mind whose the files are.
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        output(git.current_dir(root).args(["--git-dir", ".git"]).args(arguments))
    };
    let Ok(commit) = git(&["rev-parse", "--verify", "HEAD"]) else {
        return Ok("unknown".to_owned());
    };
    // A commit or a checkout adds a line to the log of HEAD. Without a log it changes HEAD, or the
    // branch that HEAD names; a file that is not there yet makes each build look again.
    let mut places = vec!["logs/HEAD".to_owned()];
    if !root.join(git(&["rev-parse", "--git-path", "logs/HEAD"])?.trim()).exists() {
        places = vec!["HEAD".to_owned()];
        places.extend(git(&["symbolic-ref", "HEAD"]).map(|name| name.trim().to_owned()).ok());
    }
    for place in places {
        let path = root.join(git(&["rev-parse", "--git-path", &place])?.trim());
        println!("cargo::rerun-if-changed={}", path.display());
    }
    Ok(commit.trim().to_owned())
}

/// Something that is linked in.
struct Part {
    /// Its name and version.
    name: String,
    /// Its licence, as an SPDX expression where there is one.
    licence: String,
    texts: Vec<String>,
}

/// The crates, ours too. Those of macros are among them, since what a macro writes is linked in.
fn crates(root: &Path, target: &str, apache: &str) -> Result<Vec<Part>> {
    watched(&root.join("Cargo.toml"))?;
    watched(&root.join("Cargo.lock"))?;
    let cargo = |arguments: &[&str]| -> Result<String> {
        let mut cargo = Command::new(std::env::var("CARGO")?);
        let printed = output(cargo.current_dir(root).args(arguments).arg("--locked"));
        Ok(printed
            .map_err(|error| format!("{error}\nWithout network: cargo fetch --locked first"))?)
    };
    // The tree knows which crates this binary takes, the metadata where their sources are.
    let tree = ["tree", "--package", "registry-server", "--edges", "normal", "--prefix", "none"];
    let tree = cargo(&[&tree[..], &["--format", "{p}", "--target", target]].concat())?;
    let linked: BTreeSet<(&str, &str)> = tree.lines().filter_map(name_and_version).collect();
    let metadata = cargo(&["metadata", "--format-version", "1", "--filter-platform", target])?;
    let metadata: Value = serde_json::from_str(&metadata)?;

    let mut parts = Vec::new();
    for package in metadata["packages"].as_array().ok_or("metadata names packages")? {
        let field = |name: &str| package[name].as_str().unwrap_or_default();
        let (name, version, licence) = (field("name"), field("version"), field("license"));
        if !linked.contains(&(name, version)) {
            continue;
        }
        let manifest = Path::new(field("manifest_path"));
        let mut texts = Vec::new();
        if package["source"].is_null() {
            watched(manifest)?;
        } else {
            read_licences(manifest.parent().ok_or("a manifest in a directory")?, &mut texts)?;
        }
        if texts.is_empty() && licence.contains("Apache-2.0") {
            texts.push(apache.to_owned());
        }
        if texts.is_empty() {
            return Err(format!("{name} brings no text of its licence, {licence}").into());
        }
        parts.push(Part { name: format!("{name} {version}"), licence: licence.to_owned(), texts });
    }
    if parts.len() != linked.len() {
        return Err(format!("{} crates of {} were found", parts.len(), linked.len()).into());
    }
    Ok(parts)
}

/// Of a line such as `serde v1.0.0 (*)`.
fn name_and_version(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.split_once(" v")?;
    Some((name, rest.split(' ').next()?))
}

/// The licences in a directory and below it, where C sources have theirs.
fn read_licences(directory: &Path, texts: &mut Vec<String>) -> Result<()> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        let is_licence = NAMES.iter().any(|start| name.starts_with(start));
        if path.is_dir() {
            read_licences(&path, texts)?;
        } else if is_licence && !name.ends_with(".RS") {
            texts.push(String::from_utf8_lossy(&fs::read(&path)?).into_owned());
        }
    }
    Ok(())
}

/// What is no crate of Cargo.lock. The notes say more about each.
fn others(licences: &Path, apache: String) -> Result<Vec<Part>> {
    let rust = output(Command::new(std::env::var("RUSTC")?).arg("--version"))?;
    let rust = rust.split(' ').nth(1).unwrap_or_default();
    let glibc = output(Command::new("getconf").arg("GNU_LIBC_VERSION")).unwrap_or_default();
    let glibc = glibc.split_whitespace().nth(1).unwrap_or("of the machine that built this");
    let of_glibc =
        vec![watched(&licences.join("LGPL-2.1.txt"))?, watched(&licences.join("glibc.txt"))?];
    let part = |name: &str, licence: &str, texts| Part {
        name: name.to_owned(),
        licence: licence.to_owned(),
        texts,
    };
    Ok(vec![
        part(&format!("Rust's standard library {rust}"), "MIT OR Apache-2.0", vec![apache]),
        part("SQLite, in libsqlite3-sys", "public domain", Vec::new()),
        part(&format!("glibc {glibc}, the GNU C Library"), "LGPL-2.1-or-later", of_glibc),
        part("libgcc, of GCC", "GPL-3.0-or-later WITH GCC-exception-3.1", Vec::new()),
    ])
}

/// The list, the notes, and each text once below the names of those that carry it.
fn document(parts: &[Part], notes: &str) -> String {
    let mut document =
        String::from("What is linked into this program, and under which licence:\n\n");
    let mut texts: BTreeMap<String, (&str, Vec<&str>)> = BTreeMap::new();
    let mut order = Vec::new();
    for part in parts {
        document += &format!("{:<36}{}\n", part.name, part.licence);
        for text in &part.texts {
            // The same words in lines of another length are the same text.
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let (_, carriers) = texts.entry(words.clone()).or_insert_with(|| {
                order.push(words);
                (text, Vec::new())
            });
            if carriers.last() != Some(&part.name.as_str()) {
                carriers.push(&part.name);
            }
        }
    }
    document += &format!("\n{notes}");
    for (text, carriers) in order.iter().filter_map(|words| texts.get(words)) {
        let text: Vec<&str> = text.trim_matches(['\r', '\n']).lines().map(str::trim_end).collect();
        let (rule, carriers, text) = ("=".repeat(80), in_lines(carriers), text.join("\n"));
        document += &format!("\n{rule}\n{carriers}\n{rule}\n\n{text}\n");
    }
    document
}

/// Names with commas between them, in lines of a readable length.
fn in_lines(names: &[&str]) -> String {
    let mut lines = vec![String::new()];
    for name in names {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(name),
            Some(line) if line.len() + name.len() < 78 => *line += &format!(", {name}"),
            _ => lines.push((*name).to_owned()),
        }
    }
    lines.join(",\n")
}

/// Reads a file and has this run again when it changes.
fn watched(path: &Path) -> Result<String> {
    println!("cargo::rerun-if-changed={}", path.display());
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// What a program prints when it succeeds.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?}: {}", words.trim()).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// How the names of files with licences begin.
const NAMES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];
