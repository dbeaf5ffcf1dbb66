//! What survives when the server is killed at any moment of a mixed load, again and again.

use std::thread;
use std::time::Duration;

use crate::mixed::{Load, Tally};
use crate::support::binary::Instance;
use crate::support::process::wait_until;
use crate::support::report::tell;

#[test]
fn what_was_acknowledged_survives_a_hundred_kills_under_load() {
    let kills = number("KILLS", 100);
    let seed = number("KILLS_SEED", fastrand::u64(..));
    println!("KILLS_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut instance = Instance::new().with_flags(&["--log-level", "warn"]);
    instance.start();
    let mut load = Load::new(&instance.client(), CLIENTS, seed, None);
    let mut while_starting = 0;
    for kill in 1..=kills {
        load.run(|tally| kill_at_some_moment(&mut instance, &mut rng, tally));
        if rng.u32(0..8) == 0 {
            // What a start mends is mended by the next one if it dies amid that.
            instance.begin();
            thread::sleep(Duration::from_millis(rng.u64(0..150)));
            instance.kill();
            while_starting += 1;
        }
        instance.start();
        load.check(kill % 20 == 0 || kill == kills);
        assert!(!instance.errors().contains("ERROR"), "{}", instance.errors());
    }
    tell(&format!(
        "{kills} kills under load and {while_starting} while it started: nothing lost, nothing \
         wrong\n{}",
        load.tally()
    ));
}

/// Kills the server after some time under load; not before it has answered something.
fn kill_at_some_moment(instance: &mut Instance, rng: &mut fastrand::Rng, tally: &Tally) {
    let before = tally.answers();
    thread::sleep(Duration::from_micros(rng.u64(50_000..300_000)));
    wait_until("the load is answered", || tally.answers() > before || tally.has_failed());
    instance.kill();
}

/// A number that a variable of the environment sets.
pub(crate) fn number(name: &str, otherwise: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

const CLIENTS: usize = 8;
