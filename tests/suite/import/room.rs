//! Room on the disk: what has none is refused before anything is read, and nothing is left of it;
//! and what can share the blocks of its source takes none.

use std::os::unix::fs::FileExt;

use serde_json::json;

use super::{import, layout::Layout, named, stagings};
use crate::support::binary::Instance;
use crate::support::content::{noise, sha256};
use crate::support::disk::{OwnDisk, SmallDisk};
use crate::support::report::skip;

#[test]
fn an_import_for_which_there_is_no_room_is_refused_and_a_smaller_one_is_not() {
    let Some(disk) = SmallDisk::mount() else {
        skip("this machine lets nobody mount a small disk");
        return;
    };
    for is_served in [true, false] {
        let data = disk.path().join(if is_served { "served" } else { "resting" });
        let mut instance = Instance::new().with_data(data);
        instance.start();
        if !is_served {
            instance.stop();
        }
        let layout = Layout::new();
        let large = layout.image(&noise(1, SmallDisk::BYTES));
        layout.name(&large, "team/large:1");
        let small = Layout::new();
        let image = small.image(&noise(2, 1000));
        small.name(&image, "team/small:1");
        let foretold = import(&instance, &["--dry-run", layout.path()], 0);
        let remark = foretold["remarks"][0].as_str().expect("a remark");
        assert!(remark.contains("too full for 16.0 MiB more"), "{remark}");
        let refused = instance.command(&["import"], &[layout.path()]).fails(1);
        assert!(refused.contains("too full for 16.0 MiB more"), "{refused}");
        assert!(refused.contains("registry gc"), "{refused}");
        assert_eq!(stagings(&instance), 0);
        let report = import(&instance, &[small.path()], 0);
        assert_eq!(report["images"], json!(1));
        if !is_served {
            instance.start();
        }
        assert_eq!(named(&instance, "team/small:1"), Some(image.digest()));
        assert_eq!(named(&instance, "team/large:1"), None);
        instance.stop();
        std::fs::remove_dir_all(instance.data()).expect("room for the next");
    }
}

#[test]
fn files_that_can_be_cloned_take_no_room_and_stay_what_they_are() {
    let Some(disk) = OwnDisk::mount_with_shared_blocks() else {
        skip("this machine lets nobody mount a file system of XFS");
        return;
    };
    let mut instance = Instance::new().with_data(disk.path().join("data"));
    instance.start();
    let layout = Layout::in_directory(&disk.path());
    let images: Vec<_> = (0..8).map(|seed| layout.image(&noise(seed, 20 << 20))).collect();
    for (number, image) in images.iter().enumerate() {
        layout.name(image, &format!("team/app:{number}"));
    }
    let free = || {
        rustix::fs::syncfs(std::fs::File::open(disk.path()).expect("the disk")).expect("a sync");
        let space = rustix::fs::statvfs(disk.path()).expect("its room");
        space.f_bavail * space.f_frsize
    };
    let before = free();
    let report = import(&instance, &[layout.path()], 0);
    assert_eq!(report["cloned_bytes"], report["read_bytes"], "{report}");
    assert_eq!(report["cloned_bytes"], json!(8 * (20 << 20) + 2), "{report}");
    // The database and its log grow; nothing grows with the blobs.
    assert!(before.saturating_sub(free()) < 16 << 20, "{before} {}", free());
    for seed in 0..8 {
        let path = format!("{}/blobs/{}", layout.path(), sha256(&noise(seed, 20 << 20)));
        let path = path.replace("sha256:", "sha256/");
        match seed % 4 {
            0 => {
                let file = std::fs::OpenOptions::new().write(true).open(path).expect("a file");
                file.write_all_at(&noise(seed + 8, 1 << 20), 5 << 20).expect("its middle");
            }
            1 => std::fs::remove_file(path).expect("a file"),
            2 => std::fs::write(path, "other").expect("a file"),
            _ => drop(std::fs::File::create(path).expect("a file")),
        }
    }
    instance.command(&["verify"], &[]).ok();
    instance.stop();
}
