//! Stores that older programs left, which are kept in `tests/fixtures`: whatever comes later must
//! open them, and everything that clients had been told must hold.
//!
//! A fixture is a pair of files: `schema-N.tar.gz` with the files of the store, and `schema-N.txt`
//! with what clients and administrators were told of it, a fact a line ([`Fact`]). A new one is
//! made by [`make`] with the program of the commit in question, and is then a line of [`ALL`]:
//!
//! ```console
//! export REGISTRY_BIN=… REGISTRY_FIXTURE=$PWD/tests/fixtures/schema-N
//! cargo test -p tests --test suite fixture::
//! ```
//!
//! `suite::power` cuts the power while they are brought to today's schema.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use certs::{RootKey, ServerName};

use crate::support::binary::Instance;
use crate::support::process::run;
use crate::support::report::tell;

mod check;
mod fact;
mod make;

pub(crate) use fact::Fact;

/// A store that an older program left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fixture {
    /// The name of its files without what follows the dot.
    name: &'static str,
    told: &'static str,
}

/// All of them, the oldest first.
pub(crate) const ALL: [Fixture; 7] = [
    Fixture { name: "schema-1", told: include_str!("../fixtures/schema-1.txt") },
    Fixture { name: "schema-3", told: include_str!("../fixtures/schema-3.txt") },
    Fixture { name: "schema-4", told: include_str!("../fixtures/schema-4.txt") },
    Fixture { name: "schema-5", told: include_str!("../fixtures/schema-5.txt") },
    Fixture { name: "schema-6", told: include_str!("../fixtures/schema-6.txt") },
    Fixture { name: "schema-7", told: include_str!("../fixtures/schema-7.txt") },
    Fixture { name: "schema-8", told: include_str!("../fixtures/schema-8.txt") },
];

impl Fixture {
    /// Unpacks it into a directory, which is made, and gives it certificates, which it has not: a
    /// server that finds its own makes none.
    pub(crate) fn unpack(&self, data: &Path) {
        fs::create_dir(data).expect("a directory");
        let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let archive = archive.join(format!("{}.tar.gz", self.name));
        let mut tar = Command::new("tar");
        // Its uploads were used just now.
        tar.args(["--extract", "--touch", "--gzip", "--no-same-owner", "--file"]).arg(archive);
        run(tar.arg("--directory").arg(data)).ok();
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
    pub(crate) fn facts(&self) -> Vec<Fact> {
        let lines = self.told.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.parse().expect("a fact")).collect()
    }
}

#[test]
fn what_older_programs_left_is_all_there_and_goes_on() {
    for fixture in ALL {
        let mut instance = resting();
        fixture.unpack(instance.data());
        let facts = fixture.facts();
        instance.start();
        check::answers_as_told(&instance, &facts, fixture.name);
        // What runs by itself after a start does, too.
        instance.command(&["gc"], &["--undo-time", "9999d", "--uploads-after", "9999d"]).ok();
        check::answers_as_told(&instance, &facts, fixture.name);
        instance.kill();
        instance.start();
        check::answers_as_told(&instance, &facts, fixture.name);
        check::goes_on(&instance, &facts);
        instance.stop();
        tell(&format!(
            "{}: {} facts hold, before and after a collection",
            fixture.name,
            facts.len()
        ));
    }
}

#[test]
fn collection_takes_from_what_older_programs_left_only_what_was_deleted() {
    for fixture in ALL {
        let mut instance = resting();
        fixture.unpack(instance.data());
        instance.start();
        let kept: Vec<Fact> = fixture.facts().into_iter().filter(Fact::outlives_undo).collect();
        instance.command(&["gc"], &["--grace", "0s", "--undo-time", "0s"]).ok();
        check::answers_as_told(&instance, &kept, fixture.name);
        instance.command(&["verify"], &[]).code();
        check::answers_as_told(&instance, &kept, fixture.name);
        instance.stop();
    }
}

#[test]
fn what_this_program_leaves_is_all_there_and_goes_on() {
    let mut instance = resting();
    let lines = make::make(&mut instance);
    let facts: Vec<Fact> = lines.iter().map(|line| line.parse().expect("a fact")).collect();
    if let Some(target) = std::env::var_os("REGISTRY_FIXTURE") {
        make::pack(&instance, &lines, &PathBuf::from(target));
    }
    instance.start();
    check::answers_as_told(&instance, &facts, "a new store");
    check::goes_on(&instance, &facts);
    instance.stop();
}

/// A registry that does nothing by itself.
fn resting() -> Instance {
    Instance::new().with_flags(&["--gc-interval", "0s", "--scrub-interval", "0s"])
}
