//! A store that an older program left, which is kept in `tests/fixtures`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use certs::{RootKey, ServerName};

use super::acts::{Effects, Key};
use super::load::Session;
use crate::support::content::noise;
use crate::support::process::run;

/// Unpacks it into a directory, which is made, and gives it certificates, which it has not: a
/// server that finds its own makes none.
pub(super) fn unpack(data: &Path) {
    fs::create_dir(data).expect("a directory");
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--gzip", "--file", ARCHIVE, "--directory"]).arg(data);
    run(&mut tar).ok();
    let (own, always) = (installer::own_names(), ["127.0.0.1", "::1"].map(str::to_owned));
    let mut names: Vec<ServerName> = vec!["localhost".parse().expect("a name")];
    for name in own.into_iter().chain(always).filter_map(|name| name.parse().ok()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let tls = data.join("tls");
    certs::ensure(&tls, RootKey::InDirectory, &names, SystemTime::now()).expect("certificates");
}

/// What clients were told of it.
pub(super) fn content() -> Effects {
    let lines = CONTENT.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let word = |at: usize| words[at].to_owned();
            let key = match words[0] {
                "blob" => Key::Blob(word(1), word(2)),
                "manifest" => Key::Manifest(word(1), word(2)),
                "tag" => Key::Tag(word(1), word(2)),
                _ => Key::User(word(1)),
            };
            let value = words[words.len() - 1];
            (key, (value != "-").then(|| value.to_owned()))
        })
        .collect()
}

/// The upload that is open in it.
pub(super) fn session() -> Session {
    let location = "/v2/old/open/blobs/uploads/98fc263f-8bcc-4662-bb40-24b85ebc01ce";
    let (repository, location) = ("old/open".to_owned(), location.to_owned());
    Session { repository, location, sent: noise(1006, 682) }
}

const ARCHIVE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/schema-1.tar.gz");
const CONTENT: &str = include_str!("../../fixtures/schema-1.txt");
