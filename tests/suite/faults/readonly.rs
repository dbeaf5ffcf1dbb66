//! A file system that turns read-only amid a mixed load: who pulls does not notice, who pushes is
//! refused, and nothing is lost that was acknowledged, neither then nor when it is repaired.

use crate::mixed::Load;
use crate::support::binary::Instance;
use crate::support::disk::OwnDisk;
use crate::support::process::wait_until;
use crate::support::report::{skip, tell};

#[test]
fn a_disk_that_turns_read_only_under_load_ends_pushes_and_nothing_else() {
    let Some(disk) = OwnDisk::mount() else {
        return skip("this machine lets nobody mount a disk of its own");
    };
    let flags = ["--log-level", "warn", "--gc-interval", "0s", "--scrub-interval", "0s"];
    let mut instance = Instance::new().with_data(disk.path().join("data")).with_flags(&flags);
    instance.start();
    let seed = fastrand::u64(..);
    tell(&format!("a disk that turns read-only: seed {seed}"));
    let mut load = Load::new(&instance.client(), CLIENTS, seed);
    load.set_disk_broken(true);
    let has_turned = load.run(|tally| {
        wait_until("there is something to lose", || {
            tally.answers() > ANSWERS || tally.has_failed()
        });
        assert_eq!(tally.refused(), 0, "{}", instance.errors());
        let has_turned = disk.turn_read_only();
        wait_until("somebody is refused", || {
            !has_turned || tally.refused() > 0 || has_ended(&instance) || tally.has_failed()
        });
        has_turned
    });
    if !has_turned {
        return skip("this machine lets nobody break a file system");
    }
    // The same process still answers, unless the disk turned amid a sync of the database; systemd
    // then starts another.
    load.forget_uploads();
    let is_another = has_ended(&instance);
    if is_another {
        assert_eq!(instance.wait().code(), Some(1));
        instance.start();
    }
    load.check(true);
    instance.kill();
    instance.start();
    load.check(true);
    instance.kill();

    disk.repair();
    load.set_disk_broken(false);
    instance.start();
    load.check(true);
    load.run(|tally| {
        let before = tally.answers();
        wait_until("all goes on", || tally.answers() > before + ANSWERS || tally.has_failed());
    });
    load.settle(&instance);
    tell(&format!(
        "a disk turned read-only under load, was pulled from by {}, started on and repaired: \
         nothing lost\n{}",
        if is_another { "the next process" } else { "the same process" },
        load.tally()
    ));
    instance.stop();
}

/// Whether the server gave its database up, which a new process recovers.
fn has_ended(instance: &Instance) -> bool {
    instance.errors().contains("the database can no longer be trusted")
}

const CLIENTS: usize = 8;
const ANSWERS: u64 = 2_000;
