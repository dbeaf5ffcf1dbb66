//! Commands find a server whose socket is not in its directory, whatever the disk is by then.

use super::{Pushed, a_disk, status};
use crate::support::binary::Instance;
use crate::support::content::{OCTETS, push_image};

#[test]
fn a_server_that_started_read_only_is_found_after_the_disk_was_mounted_writable() {
    let Some(disk) = a_disk() else { return };
    let mut instance = Instance::new().with_data(disk.path().join("data"));
    instance.start();
    let pushed = Pushed::to(&instance.client());
    instance.stop();
    disk.remount("ro");
    instance.start();
    disk.remount("rw");
    let table = instance.command(&["status"], &[]).ok();
    assert!(table.contains(&instance.address()), "{table}");
    // It writes nothing before it is started anew.
    assert!(status(&instance).contains("\"read_only\": true"));
    let client = instance.client();
    client.request("POST", "/v2/app/blobs/uploads/", &[OCTETS], b"").refused(503, "DENIED");
    instance.command(&["gc"], &["--dry-run"]).ok();
    pushed.can_be_backed_up(&instance);
    pushed.can_be_pulled(&client);
    instance.stop();
    instance.start();
    let client = instance.client();
    push_image(&client, "app", "2", b"another layer");
    assert!(status(&instance).contains("\"read_only\": false"));
    instance.stop();
}
