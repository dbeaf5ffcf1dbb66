//! The file that is given away: one static binary that needs nothing of its host, tells where it
//! comes from, and brings the licences of everything in it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::binary::{Instance, PASSWORD};
use crate::support::build::{recipe, release};
use crate::support::clients::Curl;
use crate::support::images::{noise, sha256};
use crate::support::process::run;
use crate::support::report::skip;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const TARGET: &str = "x86_64-unknown-linux-gnu";
const MOST_BYTES: u64 = 20_000_000;

/// The calls of glibc that go through `nsswitch.conf`, by how their names begin.
const LOOKUPS: [&str; 7] =
    ["getaddrinfo", "getnameinfo", "gethostby", "getpw", "getgrnam", "getgrgid", "getserv"];

#[test]
fn there_is_one_command_that_builds_the_file() {
    let command = recipe("release");
    assert_eq!(command.len(), 1, "{command:?}");
    for measured in ["load", "load-short"] {
        assert_eq!(recipe(measured)[0], command[0], "{measured} measures something else");
    }
    let readme = fs::read_to_string(Path::new(ROOT).join("README.md")).expect("the README");
    assert!(readme.lines().any(|line| line == command[0]), "the README says something else");
}

#[test]
fn the_file_is_static_and_small() {
    assert!(is_static(release()));
    assert!(!is_static(Path::new("/bin/sh")), "nothing is found");
    let size = fs::metadata(release()).expect("the file").len();
    assert!(size < MOST_BYTES, "{size} bytes");
}

#[test]
fn nothing_in_the_file_looks_up_names_through_glibc_or_measures_jitter() {
    let symbols = run(Command::new("nm").arg("--defined-only").arg(release())).ok();
    let names: BTreeSet<&str> = symbols.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    assert!(names.contains("main"), "the names were stripped");
    // What is random comes from the kernel at once, not out of the processor's clock.
    assert!(!names.iter().any(|name| name.contains("jent_")));
    // A static program would load the host's modules for that, which are of another glibc.
    let lookups = names.iter().filter(|name| {
        let name = name.trim_start_matches('_');
        LOOKUPS.iter().any(|start| name.starts_with(start))
    });
    assert_eq!(lookups.collect::<Vec<_>>(), Vec::<&&str>::new());
}

#[test]
fn the_file_runs_in_an_empty_root() {
    if !rustix::process::geteuid().is_root() {
        skip("only root can take the rest of the file system away from a program");
        return;
    }
    let mut instance = Instance::in_empty_root(release());
    let jail = instance.data().parent().expect("the root").to_owned();
    let entries = || fs::read_dir(&jail).expect("the root").count();
    assert_eq!(entries(), 1, "there is nothing but the file");
    assert!(instance.run(&["version"]).ok().starts_with("registry "));
    assert!(instance.run(&["licences"]).ok().contains("Apache License"));
    assert!(instance.run(&["--help"]).ok().contains("Usage: registry"));
    assert!(instance.run(&["serve", "--help"]).ok().contains("--data-dir"));
    assert!(instance.command(&["status"], &[]).fails(1).contains("holds no registry"));
    assert_eq!(entries(), 1);

    instance.start();
    Curl::without_login(&instance).request("GET", "/v2/").expect(401);
    let curl = Curl::of(&instance);
    curl.request("GET", "/v2/").expect(200);
    let blob = noise(1, 1 << 20);
    let path = format!("/v2/app/blobs/uploads/?digest={}", sha256(&blob));
    curl.send("POST", &path, "application/octet-stream", &blob).expect(201);
    let path = format!("/v2/app/blobs/{}", sha256(&blob));
    assert!(curl.request("GET", &path).expect(200).body == blob, "another blob came back");
    let status = instance.command(&["status"], &[]).ok();
    assert!(status.contains(&format!("https://127.0.0.1:{}, for ", instance.port())), "{status}");
    instance.add_user("running", "push");
    instance.stop();
    instance.add_user("stopped", "push");
    instance.start();
    for user in ["running", "stopped"] {
        Curl::with_login(&instance, user, PASSWORD).request("GET", "/v2/").expect(200);
    }
    instance.stop();
    // The address of a socket ends at 107 bytes, and what is longer is reached through /proc.
    let long = format!("/{}", "a".repeat(100));
    let flags = ["serve", "--data-dir", &long, "--listen", "127.0.0.1:0"];
    let refused = instance.run(&flags).fails(1);
    assert!(refused.contains("takes a mounted /proc"), "{refused}");
}

#[test]
fn the_file_tells_its_version_commit_and_target() {
    let version = env!("CARGO_PKG_VERSION");
    let commit = match std::env::var("REGISTRY_COMMIT") {
        Ok(commit) if !commit.is_empty() => commit,
        _ if !Path::new(ROOT).join(".git").exists() => "unknown".to_owned(),
        _ => run(Command::new("git").args(["-C", ROOT, "rev-parse", "HEAD"])).ok(),
    };
    let told = run(Command::new(release()).arg("version")).ok();
    let expected = format!("registry {version}\ncommit   {commit}\ntarget   {TARGET}");
    assert_eq!(told, expected);
    let told = run(Command::new(release()).args(["version", "--json"])).ok();
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    let expected = serde_json::json!({ "version": version, "commit": commit, "target": TARGET });
    assert_eq!(told, expected);
    let told = run(Command::new(release()).arg("--version")).ok();
    assert_eq!(told, format!("registry {version}"));
}

#[test]
fn the_file_brings_the_licences_of_everything_in_it() {
    let printed = run(Command::new(release()).arg("licences")).ok();
    let listed = |part: &str| {
        let lines =
            printed.lines().map_while(|line| (line != "Of what is not a crate:").then_some(line));
        let rest = |line: &str| Some(line.strip_prefix(part)?.trim().to_owned());
        lines.filter_map(rest).find(|licence| !licence.is_empty())
    };
    let tree = ["tree", "--locked", "--package", "registry-server", "--edges", "normal"];
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(tree).args(["--target", TARGET, "--prefix", "none", "--format", "{p}"]);
    let tree = run(cargo.current_dir(ROOT)).ok();
    let crates: BTreeSet<String> = tree.lines().map(name_and_version).collect();
    assert!(crates.len() > 100, "only {} crates", crates.len());
    for name in &crates {
        assert!(listed(&format!("{name} ")).is_some(), "{name} is not listed");
        // Its texts stand below its name.
        let carried = |line: &str| line.split(", ").any(|part| part.trim_end_matches(',') == name);
        assert!(printed.lines().any(carried), "there is no text for {name}");
    }
    assert_eq!(listed("proptest "), None, "what only tests use is not in the file");
    for part in ["Rust's standard library ", "SQLite", "glibc 2.", "libgcc"] {
        assert!(listed(part).is_some(), "{part} is not listed");
    }
    let words = printed.split_whitespace().collect::<Vec<_>>().join(" ");
    for text in [
        "Apache License Version 2.0, January 2004",
        "Permission is hereby granted, free of charge, to any person obtaining a copy",
        "Permission to use, copy, modify, and/or distribute this software for any purpose",
        "This software is provided 'as-is', without any express or implied warranty.",
        "UNICODE LICENSE V3",
        "Redistributions in binary form must reproduce the above copyright notice",
        "SQLite, which libsqlite3-sys compiles in, is in the public domain",
        "GNU LESSER GENERAL PUBLIC LICENSE Version 2.1, February 1999",
        "Portions Copyright (c) 1996-1999 by Internet Software Consortium.",
    ] {
        assert!(words.contains(text), "{text}");
    }
}

#[test]
fn the_notes_name_what_rusts_library_takes_from_others() {
    let notes = Path::new(ROOT).join("registry-server/licences/notes.txt");
    let notes = fs::read_to_string(notes).expect("the notes");
    let words: BTreeSet<&str> = notes.split([' ', ',', '.', '\n']).collect();
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", TARGET]);
    let libraries = run(rustc.current_dir(ROOT)).ok();
    let mut count = 0;
    for entry in fs::read_dir(libraries).expect("the libraries of the toolchain") {
        let file = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        let Some(name) = file.strip_prefix("lib").and_then(|name| name.strip_suffix(".rlib"))
        else {
            continue;
        };
        let name = name.rsplit_once('-').map_or(name, |(name, _)| name);
        let is_rusts = RUSTS.contains(&name) || name.starts_with("rustc_std_workspace_");
        assert!(is_rusts || words.contains(name), "{name} is new: see its licence, and name it");
        count += 1;
    }
    assert!(count > 15, "only {count} libraries");
}

/// Whether a program needs neither an interpreter nor a library.
fn is_static(program: &Path) -> bool {
    let mut readelf = Command::new("readelf");
    readelf.env("LC_ALL", "C").args(["--wide", "--program-headers", "--dynamic"]);
    let told = run(readelf.arg(program)).ok();
    assert!(told.contains("Program Headers:") && told.contains("LOAD"), "{told}");
    !told.contains("INTERP") && !told.contains("(NEEDED)")
}

/// Of a line of `cargo tree`, such as `serde v1.0.0 (*)`.
fn name_and_version(line: &str) -> String {
    let mut words = line.split(' ');
    let mut next = || words.next().expect("a name and a version");
    format!("{} {}", next(), next().trim_start_matches('v'))
}

/// The libraries of the toolchain that are Rust's own.
const RUSTS: [&str; 12] = [
    "alloc",
    "compiler_builtins",
    "core",
    "panic_abort",
    "panic_unwind",
    "proc_macro",
    "profiler_builtins",
    "std",
    "std_detect",
    "sysroot",
    "test",
    "unwind",
];
