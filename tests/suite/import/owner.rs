//! Whose rights an import has: whoever gave the command reads the sources, and the owner of the
//! data writes.

use serde_json::json;

use super::{import, layout::Layout, named};
use crate::ownership::{check, owned};
use crate::support::content::noise;

#[test]
fn what_only_root_can_read_is_imported_and_becomes_the_owners() {
    for is_served in [true, false] {
        let Some(mut instance) = owned(&[]) else { return };
        instance.start();
        if !is_served {
            instance.stop();
        }
        // Nobody but root may even pass through its directory.
        let layout = Layout::new();
        let image = layout.image(&noise(1, 100_000));
        layout.name(&image, "team/app:1");
        let report = import(&instance, &[layout.path()], 0);
        assert_eq!(report["read_blobs"], json!(2), "{report}");
        check(instance.data());
        if !is_served {
            instance.start();
        }
        assert_eq!(named(&instance, "team/app:1"), Some(image.digest()));
        check(instance.data());
        instance.stop();
    }
}
