//! What the fuzzer found worth keeping, read again: no panic, and the same in both ways.

use std::fs;
use std::path::Path;

#[allow(unreachable_pub, reason = "the fuzzer's crate shows it to its targets")]
#[path = "../../fuzz/src/both_ways.rs"]
mod both_ways;
#[allow(unreachable_pub, reason = "the fuzzer's crate shows it to its targets")]
#[path = "../../fuzz/src/document.rs"]
mod document;
#[allow(unreachable_pub, reason = "the fuzzer's crate shows it to its targets")]
#[path = "../../fuzz/src/tree.rs"]
mod tree;

/// Reads all that is kept of a target. Some of it has to hold something.
fn replay(target: &str, read: fn(&[u8]) -> usize) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let (mut files, mut found) = (0, 0);
    for entry in fs::read_dir(&corpus).unwrap() {
        found += read(&fs::read(entry.unwrap().path()).unwrap());
        files += 1;
    }
    assert!(files > 3 && found > 0, "{target}: {files} files, and {found} things in them");
}

#[test]
fn tars_are_read() {
    replay("tar", both_ways::read);
}

#[test]
fn what_is_packed_is_read() {
    replay("zstd", both_ways::read_stream);
}

#[test]
fn layouts_are_read() {
    replay("layout", tree::read);
}

#[test]
fn trees_of_registries_are_read() {
    replay("distribution", tree::read);
}

#[test]
fn archives_of_oc_mirror_are_read() {
    replay("oc_mirror", tree::read);
}

#[test]
fn directories_of_oc_are_read() {
    replay("oc_directory", tree::read);
}

#[test]
fn documents_of_bundles_are_read() {
    replay("bundle", document::read_document);
}

#[test]
fn receipts_are_read() {
    replay("receipt", document::read_receipt);
}
