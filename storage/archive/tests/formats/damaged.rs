//! What a bad disk or a broken copy makes of what the tools wrote: no panic, no endless loop, and
//! for each image that is not whole a reason.

use std::fs;
use std::io::Cursor;

use archive::{Contents, Damage, ScanError};
use fastrand::Rng;

use crate::support::{TARS, fixture, scan_bytes, stream, tell};

#[test]
fn an_archive_that_ends_anywhere_counts_as_far_as_it_goes() {
    let mut random = Rng::with_seed(SEED);
    for name in TARS {
        let whole = fs::read(fixture(name)).unwrap();
        let end = whole.len() - whole.iter().rev().take_while(|byte| **byte == 0).count();
        for _ in 0..CUTS {
            let at = random.usize(0..end);
            let Ok(contents) = scan_bytes(&whole[..at]) else { panic!("{name} up to {at}") };
            let (comes, _) = stream(&whole[..at]).unwrap();
            for contents in [&contents, &comes] {
                let damage = &contents.sources()[0].damage;
                let is_told = damage.iter().any(|it| matches!(it, Damage::Truncated { .. }));
                assert!(is_told, "{name} up to {at}: {damage:?}");
                check(contents, name, at);
            }
            assert_eq!(contents.blobs(), comes.blobs(), "{name} up to {at}");
        }
    }
}

#[test]
fn bytes_that_changed_are_survived() {
    let mut random = Rng::with_seed(SEED);
    for name in TARS {
        let whole = fs::read(fixture(name)).unwrap();
        for _ in 0..CUTS {
            let mut bytes = whole.clone();
            let mut at = random.usize(0..bytes.len());
            // Headers are where it matters, and contents where most of the bytes are.
            if random.bool() {
                at = at / 512 * 512 + random.usize(0..512).min(bytes.len() - 1 - at / 512 * 512);
            }
            bytes[at] = random.u8(..);
            let (lies, comes) = (scan_bytes(&bytes), stream(&bytes[..]));
            match (lies, comes) {
                (Ok(lies), Ok((comes, _))) => {
                    check(&lies, name, at);
                    assert_eq!(lies.blobs(), comes.blobs(), "{name} at {at}");
                }
                // A size that says too much is a lie only to who knows where the archive ends.
                (Ok(_), Err(ScanError::TooMuchElse { .. })) => {}
                (lies, comes) => assert_eq!(lies.err(), comes.err(), "{name} at {at}"),
            }
        }
    }
}

#[test]
fn a_compressed_archive_is_survived_too() {
    let whole = fs::read(fixture("hauler-haul.tar.zst")).unwrap();
    let mut random = Rng::with_seed(SEED);
    for _ in 0..20 * CUTS {
        let at = random.usize(0..whole.len());
        if let Ok((contents, _)) = stream(&whole[..at]) {
            check(&contents, "cut", at);
            let damage = &contents.sources()[0].damage;
            assert!(damage.iter().any(|it| matches!(it, Damage::Truncated { .. })), "{at}");
        }
        let mut bytes = whole.clone();
        bytes[at] = random.u8(..);
        if let Ok((contents, _)) = stream(Cursor::new(bytes)) {
            check(&contents, "changed", at);
        }
    }
}

/// Whatever is not whole has a reason.
fn check(contents: &Contents, name: &str, at: usize) {
    for (number, image) in contents.images().iter().enumerate() {
        let is_missing = contents.missing().iter().any(|it| it.images.contains(&number));
        let is_unusable = contents.unusable().iter().any(|it| it.images.contains(&number));
        let is_whole = contents.is_whole(&image.digest);
        assert_eq!(is_whole, !is_missing && !is_unusable, "{name} at {at}: {}", tell(image));
    }
}

/// What chance begins with; each run is the same.
const SEED: u64 = 14;
/// How often each archive is cut, or changed.
const CUTS: usize = 12;
