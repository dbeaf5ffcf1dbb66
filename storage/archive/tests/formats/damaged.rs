//! What a bad disk or a broken copy makes of what the tools wrote: no panic, no endless loop, and
//! for each image that is not whole a reason.

use std::fs::{self, Permissions};
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::thread;

use archive::{Contents, Damage, ScanError};
use fastrand::Rng;
use rustix::process::Uid;
use rustix::thread::set_thread_uid;

use crate::support::{TARS, fixture, scan, scan_bytes, stream, tell};

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

#[test]
fn what_cannot_be_read_of_a_directory_is_told_and_the_rest_counts() {
    let place = tempfile::tempdir().unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-xf").arg(fixture("skopeo-oci-archive.tar")).arg("-C").arg(place.path());
    assert!(tar.status().unwrap().success());
    let layer = format!("blobs/sha256/{LAYER}");
    fs::create_dir(place.path().join("lost+found")).unwrap();
    let allow = |path: &str, mode| {
        fs::set_permissions(place.path().join(path), Permissions::from_mode(mode)).unwrap();
    };
    allow("", 0o755);
    allow("lost+found", 0o700);
    allow(&layer, 0o600);
    // Somebody who is not root, in a thread of his own.
    let path = place.path().to_owned();
    let scanned = thread::spawn(move || {
        set_thread_uid(Uid::from_raw(65534)).unwrap();
        scan(&[path])
    });
    let contents = scanned.join().unwrap();
    let damaged = |it: &Damage| match it {
        Damage::Document { path, fault } if fault.contains("Permission denied") => path.clone(),
        other => panic!("{other}"),
    };
    let damaged: Vec<String> = contents.sources()[0].damage.iter().map(damaged).collect();
    assert_eq!(damaged, [layer, "lost+found".to_owned()]);
    assert_eq!(contents.blobs().len(), 8);
    let [missing] = contents.missing() else { panic!("{:?}", contents.missing()) };
    assert_eq!((missing.digest.hex().as_str(), &missing.images[..]), (LAYER, &[0][..]));
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

/// A layer of the layout that skopeo wrote.
const LAYER: &str = "01a2cd7902b0517aeb4d3e247dfe086830d9d1144c6579b171357ba9e77b7b9f";
/// What chance begins with; each run is the same.
const SEED: u64 = 14;
/// How often each archive is cut, or changed.
const CUTS: usize = 12;
