//! What a bad disk or a broken copy makes of what the tools wrote: no panic, no endless loop, and
//! for each image that is not whole a reason.

use std::fs::{self, Permissions};
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::thread;

use archive::{Contents, Damage, Inventory, ScanError, TarError};
use fastrand::Rng;
use rustix::process::Uid;
use rustix::thread::set_thread_uid;

use crate::layouts::{image, index};
use crate::support::{
    Packed, TARS, blob_path, check_blobs, entries, fixture, open, scan, scan_bytes, stream, tell,
};

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
fn what_comes_before_a_damaged_header_counts() {
    let packed = Packed::new().blob(b"one").blob(b"two").file("oci-layout", b"{}");
    let (whole, second) = (packed.blob(b"three").end(), 1024);
    for (at, error) in
        [(second, TarError::Checksum { at: 1024 }), (second + 257, TarError::NoHeader { at: 1024 })]
    {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        for contents in [scan_bytes(&bytes).unwrap(), stream(&bytes[..]).unwrap().0] {
            assert_eq!(contents.sources()[0].damage[0], Damage::Header(error.clone()));
            assert_eq!(contents.blobs().len(), 1);
        }
    }
}

#[test]
fn a_copy_that_has_its_length_and_zeros_for_the_rest_is_told() {
    for name in TARS {
        let mut bytes = fs::read(fixture(name)).unwrap();
        let entries = entries(&bytes);
        let at = entries[entries.len() / 2].1.start;
        let length = bytes.len();
        bytes.truncate(at);
        bytes.resize(length.max(at + (2 << 20)), 0);
        let goes_on = Damage::GoesOn { at: at as u64 + 512 };
        for contents in [scan_bytes(&bytes).unwrap(), stream(&bytes[..]).unwrap().0] {
            assert!(contents.sources()[0].damage.contains(&goes_on), "{name}");
            check(&contents, name, at);
        }
    }
    // Two archives, one behind the other.
    let one = Packed::new().blob(b"one").file("oci-layout", b"{}").end();
    let contents = scan_bytes(&[&one[..], &one[..]].concat()).unwrap();
    let goes_on = Damage::GoesOn { at: one.len() as u64 - 512 };
    assert_eq!(contents.sources()[0].damage[0], goes_on);
    // Records are filled up, more or less.
    let filled = [&one[..], &[0; (1 << 20) - 1024]].concat();
    let contents = scan_bytes(&filled).unwrap();
    assert_eq!(contents.sources()[0].damage.len(), 1, "{:?}", contents.sources()[0].damage);
}

#[test]
fn that_an_archive_is_cut_is_told_whatever_else_is() {
    let mut packed = Packed::new();
    for number in 0..1100_u32 {
        packed = packed.link(&blob_path(&number.to_be_bytes()), b'2', "/etc");
    }
    let contents = scan_bytes(&packed.open_end()).unwrap();
    let damage = &contents.sources()[0].damage;
    assert!(matches!(damage.last(), Some(Damage::Truncated { .. })), "{:?}", damage.last());
}

#[test]
fn nothing_counts_behind_the_place_where_a_stream_is_damaged() {
    let tar = Packed::new().file("oci-layout", b"{}").blob(&[b'a'; 1024]).end();
    let (before, behind) = tar.split_at(2560 - 500);
    let mut packed = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
    let block = |content: &[u8], kind: u32| {
        let header = u32::try_from(content.len()).unwrap() << 3 | kind << 1;
        [&header.to_le_bytes()[..3], content].concat()
    };
    packed.extend(block(before, 0));
    // A block of a kind that there is not; then it goes on as if nothing were.
    packed.extend(block(b"", 3));
    packed.extend(block(behind, 0));
    let (contents, blobs) = stream(&packed[..]).unwrap();
    assert_eq!((contents.blobs().len(), blobs.len()), (0, 0));
    let damage = &contents.sources()[0].damage[0];
    assert!(matches!(damage, Damage::Unreadable { .. }), "{damage:?}");
}

#[test]
fn of_two_files_that_should_be_the_same_the_longer_one_counts() {
    let place = tempfile::tempdir().unwrap();
    let one = image(b"one", None);
    for (layout, content) in [("a", &one[..20]), ("b", &one), ("c", "")] {
        let path = place.path().join(layout).join(blob_path(one.as_bytes()));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let index = index(&[(&one, None)]);
        fs::write(place.path().join(layout).join("index.json"), index).unwrap();
        let path = place.path().join(layout).join(blob_path(b"one"));
        fs::write(path, "one").unwrap();
    }
    let mut source = open(place.path());
    let mut inventory = Inventory::new();
    source.scan(&mut inventory).unwrap();
    let contents = inventory.contents();
    let size = one.len() as u64;
    let damage = |path, size, other| {
        let path = format!("{path}/{}", blob_path(one.as_bytes()));
        Damage::Size { path, size, other }
    };
    assert_eq!(contents.sources()[0].damage, [damage("b", size, 20), damage("c", 0, size)]);
    assert!(contents.images().iter().all(|it| contents.is_whole(&it.digest)));
    check_blobs(&source, &contents);
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
