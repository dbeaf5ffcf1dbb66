//! What survives when the server is killed at any moment of a mixed load, again and again.

use std::thread;
use std::time::Duration;

use crate::mixed::{Load, Tally, collect, verify};
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
    let mut load = Load::new(&instance.client(), CLIENTS, seed);
    let (mut while_starting, mut upkeep) = (0, 0);
    for kill in 1..=kills {
        let beside = match kill % 3 {
            0 => Beside::Collection,
            1 => Beside::Verification,
            _ => Beside::Nothing,
        };
        let is_collected = beside == Beside::Collection;
        load.set_grace(is_collected.then_some(0));
        upkeep += load.run(|tally| kill_at_some_moment(&instance, &mut rng, tally, beside));
        instance.kill();
        if rng.u32(0..8) == 0 {
            // What a start mends is mended by the next one if it dies amid that.
            instance.begin();
            thread::sleep(Duration::from_millis(rng.u64(0..150)));
            instance.kill();
            while_starting += 1;
        }
        instance.start();
        load.check(is_collected);
        assert!(!instance.errors().contains("ERROR"), "{}", instance.errors());
    }
    load.set_grace(None);
    load.check(true);
    load.settle(&instance);
    tell(&format!(
        "{kills} kills under load, two of three amid collection or verification, which also came \
         to their end {upkeep} times, and {while_starting} while the server started: nothing \
         lost, nothing wrong, nothing left over\n{}",
        load.tally()
    ));
}

/// What is done to the store beside the load.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    Collection,
    Verification,
}

/// Kills the server after some time under load and what is beside it, but not before it has
/// answered something. How often what is beside it came to its end.
fn kill_at_some_moment(
    instance: &Instance,
    rng: &mut fastrand::Rng,
    tally: &Tally,
    beside: Beside,
) -> u64 {
    let before = tally.answers();
    thread::scope(|scope| {
        let upkeep = scope.spawn(|| {
            let once = || match beside {
                Beside::Nothing => false,
                Beside::Collection => collect(instance, 0),
                Beside::Verification => verify(instance),
            };
            let mut whole = 0;
            while !tally.is_over() && once() {
                whole += 1;
            }
            whole
        });
        thread::sleep(Duration::from_micros(rng.u64(50_000..250_000)));
        wait_until("the load is answered", || tally.answers() > before || tally.has_failed());
        instance.strike();
        tally.set_over(true);
        upkeep.join().expect("upkeep")
    })
}

/// A number that a variable of the environment sets.
pub(crate) fn number(name: &str, otherwise: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

const CLIENTS: usize = 8;
