//! The rules of the source tree that no compiler checks: who may use what, and how files look.
//!
//! Each rule is a function over text, and is shown to find what it forbids.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The members of the workspace, each with those of our own crates that it may depend on. A crate
/// is called as the last part of its path.
const MEMBERS: [(&str, &[&str]); 8] = [
    ("registry-server", &["storage", "archive", "oci", "durable", "certs", "installer"]),
    ("storage", &["oci", "durable"]),
    ("storage/archive", &["oci", "durable"]),
    ("storage/oci", &[]),
    ("storage/durable", &[]),
    ("certs", &["durable"]),
    ("installer", &["durable"]),
    ("tests", &["registry-server", "storage", "archive", "oci", "durable", "certs", "installer"]),
];

/// A name that product code may use only in some files: those whose paths begin so.
const BANS: [(&str, &[&str]); 37] = [
    ("hyper", &["registry-server/src/"]),
    ("hyper_util", &["registry-server/src/"]),
    ("http", &["registry-server/src/"]),
    ("http_body_util", &["registry-server/src/"]),
    ("tokio", &["registry-server/src/"]),
    ("tokio_rustls", &["registry-server/src/net/"]),
    ("rustls", &["registry-server/src/net/tls"]),
    (
        "aws_lc_rs",
        &["registry-server/src/net/tls", "registry-server/src/auth", "certs/src/bundle_key.rs"],
    ),
    ("rusqlite", &["storage/src/db.rs", "storage/src/db/"]),
    ("sha2", &["storage/oci/src/digest.rs"]),
    ("ruzstd", &["storage/archive/src/packing.rs"]),
    ("data_encoding", &["storage/oci/src/digest.rs"]),
    ("rcgen", &["certs/src/"]),
    ("argon2", &["registry-server/src/auth/password.rs"]),
    ("zxcvbn", &["registry-server/src/auth/strength.rs"]),
    ("sd_notify", &["registry-server/src/notify.rs"]),
    ("clap", &["registry-server/src/"]),
    ("anyhow", &["registry-server/src/"]),
    // The build script asks cargo, rustc and git, and speaks to cargo in lines.
    ("process::Command", &["installer/src/", "registry-server/build.rs"]),
    ("StatusCode", &["registry-server/src/"]),
    // Whatever is printed or logged goes through the one function that makes it harmless.
    ("println!", &["registry-server/build.rs"]),
    ("print!", &[]),
    ("eprintln!", &[]),
    ("eprint!", &[]),
    ("dbg!", &[]),
    ("stdout()", &["registry-server/src/text.rs"]),
    ("stderr()", &["registry-server/src/text/error_output.rs"]),
    ("rustix::stdio", &[]),
    ("tracing_subscriber", &["registry-server/src/logging.rs"]),
    ("rpassword", &["registry-server/src/cli/user.rs"]),
    ("shlex", &["storage/src/shell.rs"]),
    (
        "humantime",
        &["registry-server/src/config/duration.rs", "registry-server/src/text/format.rs"],
    ),
    ("indicatif", &["registry-server/src/cli/progress.rs"]),
    // Whose line ends are taken for ours: the program's own words, JSON, TOML, and errors.
    ("of_own()", &OWN_LINES),
    ("complain_in_lines()", &["registry-server/src/text.rs", "registry-server/src/cli.rs"]),
    // A static program that resolves names would load libraries of another glibc from its host.
    ("ToSocketAddrs", &[]),
    ("net::lookup_host", &[]),
];

/// Who prints texts of more than one line whose ends nobody else can have written.
const OWN_LINES: [&str; 5] = [
    "registry-server/src/text.rs",
    "registry-server/src/cli.rs",
    "registry-server/src/cli/version.rs",
    "registry-server/src/cli/install.rs",
    "registry-server/src/cli/uninstall.rs",
];

/// Where the paths of a host stand.
const HOST_PATHS: &str = "installer/src/paths.rs";
/// The directories in which an installation has anything.
const HOST_DIRECTORIES: [&str; 4] = ["/etc/", "/run/", "/usr/", "/var/"];

/// The longest line, in characters.
const LINE_CHARS: usize = 100;
/// The longest file, in lines.
const FILE_LINES: usize = 500;

#[test]
fn product_code_uses_only_what_it_may() {
    let mut wrong = Vec::new();
    for file in sources().iter().filter(|file| !file.is_test()) {
        for (name, places) in BANS {
            let may = places.iter().any(|place| file.path.starts_with(place));
            if !may && let Some(line) = use_of(&file.text, name) {
                wrong.push(format!("{}:{line} uses {name}", file.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_connection_leaves_the_database() {
    let is_inside = |path: &str| path == "storage/src/db.rs" || path.starts_with("storage/src/db/");
    let outside = |file: &Source| file.path.starts_with("storage/src/") && !is_inside(&file.path);
    let sources = sources();
    assert!(sources.iter().any(|file| is_inside(&file.path) && of_sqlite(&file.text).is_some()));
    for file in sources.iter().filter(|file| outside(file)) {
        let line = of_sqlite(&file.text);
        assert_eq!(line, None, "{} has a connection, or the crate that makes one", file.path);
    }
}

/// The first line that names a connection to the database, or the crate that makes it, also of
/// tests.
fn of_sqlite(text: &str) -> Option<usize> {
    let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    let names = |line: &str| {
        words(&code(line)).any(|(_, word, _)| ["Connection", "rusqlite"].contains(&word))
    };
    text.lines().position(names).map(|line| line + 1)
}

#[test]
fn paths_of_the_host_stand_in_one_file() {
    let mut wrong = Vec::new();
    for file in sources().iter().filter(|file| !file.is_test() && file.path != HOST_PATHS) {
        wrong.extend(host_path(&file.text).map(|line| format!("{}:{line}", file.path)));
    }
    assert!(wrong.is_empty(), "what stands here belongs into {HOST_PATHS}: {wrong:?}");
    let own = fs::read_to_string(root().join(HOST_PATHS)).expect("the file of the paths");
    assert!(host_path(&own).is_some());
    for text in ["f(\"/etc/hosts\")", "const A: &str = \"/run/a\";", "[\"/a\", \"/var/b\"]"] {
        assert_eq!(host_path(&format!("\n{text}\n")), Some(2), "{text}");
    }
    for text in ["// \"/etc/hosts\"", "\"see /etc/hosts\"", "#[cfg(test)]\nmod a {\"/usr/b\"}"] {
        assert_eq!(host_path(text), None, "{text}");
    }
}

#[test]
fn crates_know_only_whom_they_may() {
    let workspace = fs::read_to_string(root().join("Cargo.toml")).expect("the Cargo.toml");
    for (member, allowed) in MEMBERS {
        let manifest = fs::read_to_string(root().join(member).join("Cargo.toml"));
        let known = dependencies(&manifest.expect("a Cargo.toml"));
        for own in MEMBERS.iter().map(|(path, _)| name(path)) {
            let may = allowed.contains(&own);
            assert!(may || !known.contains(own), "{member} must not depend on {own}");
        }
        assert!(workspace.contains(&format!("\"{member}\"")), "{member} is no member");
    }
}

#[test]
fn files_look_as_they_should() {
    let mut wrong = Vec::new();
    for file in sources() {
        let faults = faults(&file.text).into_iter();
        // The tests of a module, in a file beside it, say no more than the module does.
        let faults =
            faults.filter(|fault| fault != NO_PURPOSE || !file.path.ends_with("/tests.rs"));
        wrong.extend(faults.map(|fault| format!("{}{fault}", file.path)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_is_left_out() {
    let sources = sources();
    for path in ["storage/src/lib.rs", "tests/suite/tidy.rs", "registry-server/src/main.rs"] {
        assert!(sources.iter().any(|file| file.path == path), "{path} was not read");
    }
    assert!(sources.iter().all(|file| !file.path.contains("target/")));
}

#[test]
fn uses_are_found() {
    for (text, name) in [
        ("use rustls::ServerConfig;", "rustls"),
        ("use rustls;", "rustls"),
        ("use ::rustls::x;", "rustls"),
        ("use {rustls::a, b};", "rustls"),
        ("pub use sha2 as hash;", "sha2"),
        ("    let x: Vec<rusqlite::Row> = y;", "rusqlite"),
        ("extern crate argon2;", "argon2"),
        ("#[tokio::main]", "tokio"),
        ("use std::process::Command;", "process::Command"),
        ("use std::process::{Child, Command};", "process::Command"),
        ("std::process::Command::new(\"x\")", "process::Command"),
        ("fn f() -> hyper::StatusCode { todo() }", "StatusCode"),
        ("use std::net::{IpAddr, ToSocketAddrs};", "ToSocketAddrs"),
        ("    let found = tokio::net::lookup_host(name);", "net::lookup_host"),
        ("use tokio::net::{TcpStream, lookup_host};", "net::lookup_host"),
        ("    println!(\"x\");", "println!"),
        ("    x => eprintln!(),", "eprintln!"),
        ("    let out = std::io::stdout().lock();", "stdout()"),
        ("use std::io::{stderr, Write};", "stderr()"),
        ("use std::io::stdout as out;", "stdout()"),
        ("    write!(io::stderr(), \"x\")", "stderr()"),
        ("    out.push(io::stdout);", "stdout()"),
        ("use rustix::stdio::stdout;", "rustix::stdio"),
        ("    print(&Page::of_own(&text))", "of_own()"),
        ("    texts.map(Page::of_own)", "of_own()"),
    ] {
        assert_eq!(use_of(&format!("\n{text}\n"), name), Some(2), "{text}");
    }
    for (text, name) in [
        ("// use rustls::x;", "rustls"),
        ("//! [`rustls::x`] is not used here", "rustls"),
        ("use tokio_rustls::x;", "rustls"),
        ("use my_rustls::x;", "rustls"),
        ("use crate::rustls_free::x;", "rustls"),
        ("let http = 1; f(http)", "http"),
        ("\"http://example.com\"", "http"),
        ("use hyper::http::request;", "rustls"),
        ("use std::process::ExitCode;", "process::Command"),
        ("enum Command { A }", "process::Command"),
        ("eprintln!()", "println!"),
        ("println!()", "print!"),
        ("    command.stdout(Stdio::piped()).stderr(file);", "stdout()"),
        ("    let stderr = String::from_utf8_lossy(&output.stderr);", "stderr()"),
        ("    let text = child.stdout.take();", "stdout()"),
    ] {
        assert_eq!(use_of(text, name), None, "{text}");
    }
    // What only tests use is the tests' affair.
    let text = "fn f() {}\n#[cfg(test)]\nmod tests {\n    use std::process::Command;\n}\n";
    assert_eq!(use_of(text, "process::Command"), None);
}

#[test]
fn faults_are_found() {
    let good = "//! A module.\n\nfn f() {}\n";
    assert_eq!(faults(good), Vec::<String>::new());
    let long = format!("//! A module.\n//{}\n", "x".repeat(99));
    assert_eq!(faults(&long), [":2 has 101 characters"]);
    let fits = format!("//! A module.\n//{}\n", "é".repeat(98));
    assert_eq!(faults(&fits), Vec::<String>::new());
    assert_eq!(faults("fn f() {}\n"), [NO_PURPOSE]);
    let longest = "//! A module.\n".repeat(501);
    assert_eq!(faults(&longest), [":501 is too far down: split the file"]);
    for word in UNFINISHED {
        let text = format!("//! A module.\n// {word}: later\n");
        assert_eq!(faults(&text), [":2 is not finished"], "{word}");
    }
    assert_eq!(faults("//! A module.\nfn f() {} \n"), [":2 ends with a space"]);
}

#[test]
fn dependencies_are_found() {
    let text = "[package]\nname = \"a\"\n[dependencies]\nb.workspace = true\nc-d = \"1\"\n\
                [dev-dependencies]\n\"e\" = { path = \"x\" }\n[dependencies.f]\nversion = \"1\"\n\
                [target.'cfg(unix)'.dependencies]\ng = \"1\"\n[[bin]]\nname = \"h\"\n";
    let expected = ["b", "c-d", "e", "f", "g"].map(str::to_owned);
    assert_eq!(dependencies(text), BTreeSet::from(expected));
}

/// The first line of code outside of tests that uses a name, counted from 1.
fn use_of(text: &str, name: &str) -> Option<usize> {
    let product = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
    let line = product.lines().position(|line| {
        let code = line.split("//").next().unwrap_or_default();
        match name.rsplit_once("::") {
            // A path of two: written out, or with its parts in one list.
            Some((module, item)) => {
                uses(code, module) && words(code).any(|(_, word, _)| word == item)
            }
            None => uses(code, name),
        }
    });
    line.map(|line| line + 1)
}

/// The first line of code outside of tests in which a text begins with a directory of the host that
/// an installation writes to or looks into, counted from 1.
fn host_path(text: &str) -> Option<usize> {
    let product = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
    let is_named = |line: &str| {
        let code = line.split("//").next().unwrap_or_default();
        HOST_DIRECTORIES.iter().any(|directory| code.contains(&format!("\"{directory}")))
    };
    product.lines().position(is_named).map(|line| line + 1)
}

/// Whether a line of code uses a crate, a module, a type or a macro (with its exclamation mark).
fn uses(code: &str, name: &str) -> bool {
    if let Some(name) = name.strip_suffix('!') {
        return words(code).any(|(_, word, after)| word == name && after.starts_with('!'));
    }
    // A function: imported, or by its path. What follows a dot is a method or a field.
    if let Some(name) = name.strip_suffix("()") {
        let is_import = code.contains("use ");
        return words(code).any(|(before, word, after)| {
            let is_path = before.ends_with("::") && !after.starts_with("::");
            word == name && (is_path || is_import || after.starts_with("()"))
        });
    }
    let imports = ["use ", "extern crate "].iter().any(|word| code.contains(word));
    let is_type = name.starts_with(char::is_uppercase);
    words(code).any(|(before, word, after)| {
        let is_import = imports && !before.ends_with("::") || before.ends_with("use ::");
        word == name && (is_type || is_import || after.starts_with("::"))
    })
}

/// The words of a line, with what stands before and after each.
fn words(code: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + code[at..].find(is_word)?;
        let rest = &code[start..];
        let end = start + rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        at = end;
        Some((&code[..start], &code[start..end], &code[end..]))
    })
}

/// What is wrong with the look of a file, each with its line.
fn faults(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if !text.starts_with("//! ") {
        faults.push(NO_PURPOSE.to_owned());
    }
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line)) {
        let chars = line.chars().count();
        if chars > LINE_CHARS {
            faults.push(format!(":{number} has {chars} characters"));
        }
        if line.ends_with([' ', '\t', '\r']) {
            faults.push(format!(":{number} ends with a space"));
        }
        if UNFINISHED.iter().any(|word| words(line).any(|(_, found, _)| found == *word)) {
            faults.push(format!(":{number} is not finished"));
        }
        if number == FILE_LINES + 1 {
            faults.push(format!(":{number} is too far down: split the file"));
        }
    }
    faults
}

/// What is wrong with a module without a first sentence.
const NO_PURPOSE: &str = ":1 does not say what the module is";
/// Words that mark what is not finished, put together so that this file does not hold them.
const UNFINISHED: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// The name of the crate in this directory.
fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The names in every table of dependencies of a Cargo.toml.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let (mut names, mut is_inside) = (BTreeSet::new(), false);
    for line in manifest.lines().map(str::trim) {
        if let Some(table) = line.strip_prefix('[') {
            let table = table.trim_matches(['[', ']']);
            is_inside = table.ends_with("dependencies");
            if let Some((_, name)) = table.rsplit_once("dependencies.") {
                names.insert(name.to_owned());
            }
        } else if is_inside && let Some((name, _)) = line.split_once(['.', '=']) {
            names.insert(name.trim().trim_matches('"').to_owned());
        }
    }
    names
}

/// A file of Rust.
struct Source {
    /// Its path from the root of the workspace.
    path: String,
    text: String,
}

impl Source {
    /// Whether nothing but tests use the file.
    fn is_test(&self) -> bool {
        let path = &self.path;
        path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
    }
}

fn sources() -> Vec<Source> {
    let (root, mut sources) = (root(), Vec::new());
    // A member inside of another one is found there.
    let outer = MEMBERS.iter().filter(|(path, _)| !path.contains('/'));
    let mut directories: Vec<PathBuf> = outer.map(|(path, _)| root.join(path)).collect();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of the tree") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                // Build outputs are nobody's text.
                directories.extend((!path.ends_with("target")).then_some(path));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a file in UTF-8");
                let path = path.strip_prefix(&root).expect("a path below the root");
                sources.push(Source { path: path.display().to_string(), text });
            }
        }
    }
    sources
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}
