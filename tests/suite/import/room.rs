//! Room on the disk: what has none is refused before anything is read, and nothing is left of it.

use serde_json::json;

use super::{import, layout::Layout, named, stagings};
use crate::support::binary::Instance;
use crate::support::content::noise;
use crate::support::disk::SmallDisk;
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
