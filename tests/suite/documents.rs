//! The documents name what there is: a file that moves, a link that ends nowhere and a decision
//! without a line in the index are found here.

use std::fs;
use std::path::{Path, PathBuf};

/// The documents whose names of files are looked for in the tree.
const DOCUMENTS: [&str; 14] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "RELEASE.md",
    "SECURITY.md",
    "docs/airgap.md",
    "docs/decisions/README.md",
    "docs/guide-errors.md",
    "docs/guide.md",
    "docs/invariants.md",
    "docs/manifests.md",
    "docs/operations.md",
    "docs/performance.md",
];
/// The longest that ARCHITECTURE.md may be, in lines: it is read from beginning to end.
const ARCHITECTURE_LINES: usize = 160;

#[test]
fn documents_name_files_that_are_there() {
    let sources = sources();
    let is_there = |name: &str| sources.iter().any(|path| path.ends_with(name));
    let mut wrong = Vec::new();
    for (path, text) in documents() {
        let names = code_words(&text).filter(|word| is_file_of_rust(word));
        let missing = names.filter(|name| !is_there(&format!("/{name}")));
        wrong.extend(missing.map(|name| format!("{path} names {name}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(is_there("/tests/suite/documents.rs") && !is_there("/no_such_file.rs"));
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut wrong = Vec::new();
    for (path, text) in documents() {
        let folder = root().join(&path).parent().expect("a folder").to_owned();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if !target.contains("://") && !folder.join(file).exists() {
                wrong.push(format!("{path} links to {target}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_decision_has_a_date_and_a_line_in_the_index() {
    let folder = root().join("docs/decisions");
    let index = fs::read_to_string(folder.join("README.md")).expect("the index");
    let mut count = 0;
    for (path, text) in documents().into_iter().filter(|(path, _)| is_decision(path)) {
        let title = text.lines().next().and_then(|line| line.strip_prefix("# "));
        let title = title.unwrap_or_else(|| panic!("{path} has no title"));
        let date = text.lines().nth(2).and_then(|line| line.get(..10));
        let date = date.filter(|date| date.split('-').map(str::len).eq([4, 2, 2]));
        let date = date.unwrap_or_else(|| panic!("{path} has no date"));
        let name = path.rsplit('/').next().expect("a name");
        let line = format!("| {date} | [{title}]({name}) |");
        assert!(index.lines().any(|found| found == line), "the index lacks: {line}");
        count += 1;
    }
    assert!(count > 20, "only {count} decisions");
}

#[test]
fn invariants_are_numbered_and_name_their_tests() {
    let text = fs::read_to_string(root().join("docs/invariants.md")).expect("the invariants");
    let sections: Vec<_> = text.split("\n## ").skip(1).collect();
    assert!(sections.len() > 20, "only {} invariants", sections.len());
    for (number, section) in (1..).zip(sections) {
        let title = section.lines().next().unwrap_or_default();
        assert!(title.starts_with(&format!("{number}. ")), "{title} is not number {number}");
        assert!(section.contains("\n- Held by "), "{title} names no test");
    }
}

#[test]
fn the_architecture_is_read_in_one_sitting() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the architecture");
    let lines = text.lines().count();
    assert!(lines <= ARCHITECTURE_LINES, "{lines} lines");
}

/// The documents, and the page of each decision, by their paths.
fn documents() -> Vec<(String, String)> {
    let mut paths: Vec<String> = DOCUMENTS.iter().map(|path| (*path).to_owned()).collect();
    for entry in fs::read_dir(root().join("docs/decisions")).expect("the decisions") {
        let path = entry.expect("an entry").path();
        let path = path.strip_prefix(root()).expect("a path below the root");
        paths.extend(Some(path.display().to_string()).filter(|path| is_decision(path)));
    }
    let read = |path: String| {
        let text = fs::read_to_string(root().join(&path));
        (path, text.expect("a document in UTF-8"))
    };
    paths.into_iter().map(read).collect()
}

fn is_decision(path: &str) -> bool {
    path.starts_with("docs/decisions/") && !path.ends_with("/README.md")
}

/// Whether this is the name of a file that there should be: neither a pattern nor an example, and
/// not the one name that no file here has.
fn is_file_of_rust(word: &str) -> bool {
    let is_plain = !word.contains(|c: char| c == '*' || c.is_ascii_uppercase());
    word.ends_with(".rs") && is_plain && word != "mod.rs"
}

/// What stands between backquotes.
fn code_words(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The paths of all files of Rust.
fn sources() -> Vec<String> {
    let folders = ["certs", "installer", "registry-server", "storage", "tests"];
    let (mut sources, mut open) = (Vec::new(), folders.map(|name| root().join(name)).to_vec());
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the tree") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                // Build outputs are nobody's text.
                open.extend((!path.ends_with("target")).then_some(path));
            } else {
                sources.push(path.display().to_string());
            }
        }
    }
    sources
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}
