//! Databases of a Quay that the fuzzer found worth keeping: no panic, and nothing is changed.

use std::fs;
use std::path::Path;

#[allow(unreachable_pub, reason = "the fuzzer's crate shows it to its targets")]
#[path = "../../fuzz/src/database.rs"]
mod database;

#[test]
fn what_the_fuzzer_kept_is_read_and_stays_as_it_is() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/quay");
    let (mut files, mut images) = (0, 0);
    for entry in fs::read_dir(&corpus).unwrap() {
        images += database::read(&fs::read(entry.unwrap().path()).unwrap());
        files += 1;
    }
    assert!(files > 3 && images > 0, "{files} databases with {images} images");
}
