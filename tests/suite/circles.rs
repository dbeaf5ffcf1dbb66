//! No file of a crate uses another one that uses it, on whatever way: whoever reads a file can
//! begin with those it uses, and comes to an end.
//!
//! What counts is what `use` lines and paths name. That a module names its own parts, to show them
//! to others, makes no arrow; so in some folders no part uses the module that it is a part of. And
//! the command line only parses and prints: it takes nothing from the store but plain types.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The crates of which that is true.
const CRATES: [&str; 7] = [
    "registry-server",
    "certs",
    "installer",
    "storage",
    "storage/archive",
    "storage/oci",
    "storage/durable",
];

/// Modules of `registry-server` whose parts use nothing of the module itself.
const ONE_WAY: [&str; 3] = ["cli", "backup", "install"];

/// What the command line may name of the store: types that only hold something, its error, and how
/// a shell takes a word. None of them opens anything, or does anything to a store.
const PLAIN: [&str; 11] = [
    "Actor",
    "Collected",
    "HostUser",
    "KeptUntagged",
    "PartState",
    "Role",
    "RoleError",
    "Share",
    "StorageError",
    "UserName",
    "shell_word",
];

/// What the command line may name of the way to the store's owner: commands go it, and no store
/// comes back.
const WAY: [&str; 6] =
    ["Refused", "allow_network_fs", "is_network_fs_allowed", "remember_user", "run", "run_long"];

/// The files that each file uses, by the paths of their modules.
type Arrows = BTreeMap<String, BTreeSet<String>>;

#[test]
fn no_files_of_a_crate_use_each_other() {
    for name in CRATES {
        let files = files(&root().join(name).join("src"));
        assert!(files.len() > 3, "{name}: {files:?}");
        let circle = circle(arrows(&files));
        assert!(circle.is_empty(), "{name}: each of these uses one of the others: {circle:?}");
    }
}

#[test]
fn no_part_uses_what_it_is_a_part_of() {
    let files = files(&root().join("registry-server/src"));
    let arrows = arrows(&files);
    for top in ONE_WAY {
        let parts = arrows.iter().filter(|(it, _)| it.starts_with(&format!("{top}::")));
        let up = parts.filter_map(|(part, used)| {
            used.iter().find(|it| part.starts_with(&format!("{it}::"))).map(|it| (part, it))
        });
        let up: Vec<_> = up.collect();
        assert!(files.contains_key(top) && up.is_empty(), "these use what is above them: {up:?}");
    }
}

#[test]
fn the_command_line_takes_nothing_from_the_store_but_plain_types() {
    let files = files(&root().join("registry-server/src"));
    let cli = files.iter().filter(|(it, _)| *it == "cli" || it.starts_with("cli::"));
    let mut count = 0;
    for (module, text) in cli {
        count += 1;
        for name in named(text, "storage") {
            assert!(PLAIN.contains(&name.as_str()), "{module} uses storage::{name}");
        }
        for name in named(text, "control") {
            assert!(WAY.contains(&name.as_str()), "{module} uses control::{name}");
        }
        for name in ["durable", "rusqlite", "blocking"] {
            assert_eq!(named(text, name), BTreeSet::new(), "{module} uses {name}");
        }
    }
    assert!(count > 15, "{count} files of the command line");
}

#[test]
fn names_are_found() {
    for text in [
        "use storage::{Role, backup::{Filling, Target}, Store};",
        "use storage::Role;\nfn f() { storage::Store::open(); storage::backup::read_small() }",
        "use storage::{self, Store, Role};\nlet x = (storage::backup::x(), 1);",
    ] {
        let names = named(text, "storage");
        assert!(["Role", "Store", "backup"].iter().all(|it| names.contains(*it)), "{names:?}");
    }
    for text in ["use my_storage::Store;", "// storage::Store", "crate::storage_of::Store"] {
        assert_eq!(named(text, "storage"), BTreeSet::new(), "{text}");
    }
    assert_eq!(named("use crate::control::{self, own};", "control"), ["own".to_owned()].into());
}

#[test]
fn circles_are_found() {
    let texts = [
        ("", "mod a;\nmod b;\nuse a::X;\n"),
        ("a", "mod below;\nuse crate::b::{self, Y};\npub use below::Z;\n"),
        ("a::below", "use super::super::b;\n"),
        ("b", "use std::fmt;\n// use crate::a;\n#[cfg(test)]\nmod tests {\n use crate::a;\n}\n"),
    ];
    let files = |texts: &[(&str, &str)]| {
        texts.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
    };
    assert_eq!(circle(arrows(&files(&texts))), Vec::<String>::new());
    for text in ["use crate::a::Z;\n", "fn f() { crate::a::below::f() }\n", "use super::a;\n"] {
        let mut texts = texts;
        texts[3].1 = text;
        let circle = circle(arrows(&files(&texts)));
        assert!(circle.contains(&"b".to_owned()), "{text}: {circle:?}");
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

/// The text of each file but tests, by the path of its module; the root's is empty.
fn files(source: &Path) -> BTreeMap<String, String> {
    let (mut files, mut open) = (BTreeMap::new(), vec![source.to_owned()]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of the tree") {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let name = path.strip_prefix(source).expect("below it").with_extension("");
                let name = name.display().to_string().replace('/', "::");
                let text = fs::read_to_string(&path).expect("a file in UTF-8");
                if !name.split("::").any(|part| part == "tests") {
                    let is_root = matches!(name.as_str(), "lib" | "main");
                    files.insert(if is_root { String::new() } else { name }, text);
                }
            }
        }
    }
    files
}

/// What uses what; nothing goes out of the root, which only shows what there is.
fn arrows(files: &BTreeMap<String, String>) -> Arrows {
    let used = |module: &str, text: &str| {
        let mut used = BTreeSet::new();
        for path in paths(text) {
            let target = target(files, module, &path);
            let is_part = |it: &String| it.starts_with(&format!("{module}::"));
            used.extend(target.filter(|it| it != module && !is_part(it)));
        }
        used
    };
    let modules = files.iter().filter(|(module, _)| !module.is_empty());
    modules.map(|(module, text)| (module.clone(), used(module, text))).collect()
}

/// The paths that a text names, each from its beginning: in `use` lines, with their braces taken
/// apart, and wherever else `crate` or `super` begins one.
fn paths(text: &str) -> Vec<String> {
    let product = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
    let code: Vec<&str> =
        product.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let code = code.join("\n");
    let mut paths = Vec::new();
    for (start, _) in code.match_indices("use ") {
        let line = code[..start].rsplit('\n').next().unwrap_or_default().trim();
        let is_begun = line.is_empty() || (line.starts_with("pub") && !line.contains(' '));
        if let Some(end) = code[start..].find(';').filter(|_| is_begun) {
            let line: String = code[start + 4..start + end].split_whitespace().collect();
            expand("", &line, &mut paths);
        }
    }
    for beginning in ["crate::", "super::"] {
        for (start, _) in code.match_indices(beginning) {
            let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            let is_begun = code[..start].chars().next_back().is_some_and(is_path);
            let rest = &code[start..];
            let end = rest.find(|c| !is_path(c)).unwrap_or(rest.len());
            // Braces behind it were taken apart with their line.
            let is_whole = !rest[end..].starts_with('{');
            paths.extend((!is_begun && is_whole).then(|| rest[..end].to_owned()));
        }
    }
    paths
}

/// What a text names of a crate or module: the word behind it, in `use` lines and elsewhere.
fn named(text: &str, module: &str) -> BTreeSet<String> {
    let code: Vec<&str> =
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let code = code.join("\n");
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let beginning = format!("{module}::");
    let behind = |path: &str| {
        let mut found = path.match_indices(&beginning).map(|(at, begin)| {
            let rest = &path[at + begin.len()..];
            let is_whole = !path[..at].ends_with(is_word);
            let name = &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())];
            (is_whole && !name.is_empty() && name != "self").then(|| name.to_owned())
        });
        found.next().flatten()
    };
    // Each word that holds a path, and what braces hold.
    let words = code.split(|c: char| !is_word(c) && c != ':').map(str::to_owned);
    words.chain(paths(text)).filter_map(|path| behind(&path)).collect()
}

/// Takes the braces of a `use` line apart.
fn expand(before: &str, line: &str, paths: &mut Vec<String>) {
    let Some((head, rest)) = line.split_once('{') else {
        paths.push(format!("{before}{line}"));
        return;
    };
    let (before, inside) = (format!("{before}{head}"), rest.strip_suffix('}').unwrap_or(rest));
    let (mut depth, mut begun) = (0_usize, 0);
    for (at, c) in inside.char_indices().chain([(inside.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if at > begun {
                    expand(&before, &inside[begun..at], paths);
                }
                begun = at + 1;
            }
            _ => {}
        }
    }
}

/// The file in which a path that a module names ends, if it is one of the crate.
fn target(files: &BTreeMap<String, String>, module: &str, path: &str) -> Option<String> {
    let mut base: Vec<&str> = module.split("::").filter(|part| !part.is_empty()).collect();
    let mut parts: Vec<&str> = path.split("::").collect();
    match parts.first().copied() {
        Some("crate") => {
            base.clear();
            parts.remove(0);
        }
        Some("self") => drop(parts.remove(0)),
        Some("super") => {
            while parts.first() == Some(&"super") {
                base.pop();
                parts.remove(0);
            }
        }
        // A part of this module, or else another crate.
        first => {
            let part: Vec<&str> = base.iter().copied().chain(first).collect();
            files.get(&part.join("::"))?;
        }
    }
    base.extend(parts);
    (1..=base.len()).rev().map(|end| base[..end].join("::")).find(|name| files.contains_key(name))
}

/// What is left when whatever uses nothing that is left is taken away: the circles, and what uses
/// them.
fn circle(mut arrows: Arrows) -> Vec<String> {
    loop {
        let free: Vec<String> = arrows
            .iter()
            .filter(|(_, used)| !used.iter().any(|it| arrows.contains_key(it)))
            .map(|(module, _)| module.clone())
            .collect();
        if free.is_empty() {
            return arrows.into_keys().collect();
        }
        free.iter().for_each(|module| drop(arrows.remove(module)));
    }
}
