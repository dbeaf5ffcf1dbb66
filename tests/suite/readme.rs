//! README's first five minutes, typed word for word on a host that has nothing but the program.

use crate::guide::without_digests;
use crate::support::binary::program;
use crate::support::host::Host;

const README: &str = include_str!("../../README.md");
/// The image that the host has before, as README says.
const IMAGE: &str = "registry.access.redhat.com/ubi9/ubi";

#[test]
fn the_first_five_minutes_go_as_the_readme_says() {
    let Some(host) = Host::boot() else { return };
    host.copy_in(program(), "/root/registry");
    host.shell(&format!("tar -cf - /etc/os-release | podman import --quiet - {IMAGE}")).ok();
    let blocks = blocks("## The first five minutes");
    assert_eq!(blocks.len(), 3, "{blocks:?}");
    let mut password = None;
    for block in &blocks {
        for (command, expected) in exchanges(block) {
            let run = host.shell(&format!("cd /root; {command}"));
            let printed = run.ok();
            let Some(expected) = expected else { continue };
            // What is made up differs each time.
            let word = printed.lines().find_map(secret).or_else(|| password.clone());
            let made_up = expected.lines().find_map(secret);
            let expected = match (&word, made_up) {
                (Some(word), Some(made_up)) => expected.replace(&made_up, word),
                _ => expected,
            };
            assert_eq!(without_digests(&printed), without_digests(&expected), "$ {command}");
            password = word;
        }
    }
    // What `install` tells to type next is what README tells.
    let told = &exchanges(&blocks[0])[0].1.clone().expect("what install prints");
    let next: Vec<_> = told.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    let typed: Vec<_> = exchanges(&blocks[1]).into_iter().map(|(command, _)| command).collect();
    assert_eq!(next[..2], typed[..2]);
    assert!(typed[2].starts_with("podman push ") && next[2].starts_with("podman push "));
}

/// The code blocks of a section.
fn blocks(title: &str) -> Vec<String> {
    let section = README.split(title).nth(1).expect("the section");
    let section = section.split("\n## ").next().expect("its text");
    let parts = section.split("```");
    parts.skip(1).step_by(2).map(|part| part.trim_start_matches("console\n").to_owned()).collect()
}

/// The commands of a block with what each prints. Without a `$` before its commands, a block has
/// commands only.
fn exchanges(block: &str) -> Vec<(String, Option<String>)> {
    if !block.starts_with("$ ") {
        return block.trim_end().lines().map(|line| (line.to_owned(), None)).collect();
    }
    let parts = block.trim_end().split("$ ").skip(1);
    let exchange = |part: &str| {
        let (command, printed) = part.split_once('\n').unwrap_or((part, ""));
        (command.to_owned(), Some(printed.trim_end().to_owned()))
    };
    parts.map(exchange).collect()
}

/// The password in a line that tells one.
fn secret(line: &str) -> Option<String> {
    let (_, password) = line.split_once("with credentials (init, ")?;
    Some(password.trim_end_matches(')').to_owned())
}
