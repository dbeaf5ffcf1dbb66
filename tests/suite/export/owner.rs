//! Root exports what another user owns to where that user may not go.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use super::{export, image, put};
use crate::support::binary::Instance;
use crate::support::clients::Curl;
use crate::support::layout::Layout;
use crate::support::report::skip;

const OWNER: u32 = 12345;

#[test]
fn a_disk_that_only_root_reaches_takes_what_another_user_owns() {
    if !rustix::process::geteuid().is_root() {
        skip("only root can give a directory to somebody else");
        return;
    }
    let mut instance = Instance::new();
    fs::set_permissions(instance.root(), fs::Permissions::from_mode(0o755)).expect("a mode");
    fs::create_dir(instance.data()).expect("a directory");
    chown(instance.data(), Some(OWNER), Some(OWNER)).expect("root may do that");
    instance.start();
    put(&Curl::of(&instance), "app", "1", &image(0));
    let place = tempfile::tempdir().expect("a directory");
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o700)).expect("a mode");
    for name in ["serving", "resting"] {
        let root = place.path().join(name);
        export(&instance, &root, &[]);
        Layout::read(std::slice::from_ref(&root), &BTreeSet::new());
        assert_eq!(fs::metadata(root.join("index.json")).expect("a file").uid(), 0);
        let receipt = root.join("receipt");
        instance.command(&["receipt"], &[&receipt.display().to_string()]).ok();
        assert_eq!(fs::metadata(&receipt).expect("a file").uid(), 0);
        if name == "serving" {
            instance.stop();
        }
    }
    for name in ["bundle.key", "bundle.pub"] {
        let found = fs::metadata(instance.data().join("tls").join(name)).expect("the key");
        assert_eq!((found.uid(), found.gid()), (OWNER, OWNER), "{name}");
    }
}
