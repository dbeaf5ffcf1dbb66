//! Drawing what a power cut does to the events that were not durable.

use fastrand::Rng;

use super::disk::{Fate, Fates};
use super::record::Record;

/// The ways of drawing fates. Each finds what the others miss.
#[derive(Clone, Copy, Debug)]
pub(super) enum Strategy {
    /// Nothing that was not synced is there.
    AllLost,
    /// Everything is there.
    AllApplied,
    /// Each event is there or not.
    Half,
    /// One event is not there.
    OneLost,
    /// One event alone is there.
    OneApplied,
    /// All names are there, their files' content is not.
    NamesOnly,
    /// All content is there, the names are not.
    DataOnly,
    /// Each write is there, lost, torn or zero, each name there or not.
    Torn,
    /// The latest events are torn or zero, all others there.
    TornEnd,
}

impl Strategy {
    /// Every strategy.
    pub(super) const ALL: [Self; 9] = [
        Self::AllLost,
        Self::AllApplied,
        Self::Half,
        Self::OneLost,
        Self::OneApplied,
        Self::NamesOnly,
        Self::DataOnly,
        Self::Torn,
        Self::TornEnd,
    ];

    /// Draws the fates of these events.
    pub(super) fn draw(self, record: &Record, unsynced: &[usize], random: &mut Rng) -> Fates {
        let names: Vec<usize> = unsynced
            .iter()
            .copied()
            .filter(|&event| record.events[event].change.is_of_names())
            .collect();
        // What came late is what clients wait for; what came early is often left for ever.
        let latest = &unsynced[unsynced.len().saturating_sub(LATEST)..];
        let from = if random.u8(..4) > 0 { latest } else { unsynced };
        let one: Vec<usize> = random.choice(from).copied().into_iter().collect();
        match self {
            Self::AllLost => Fates::all(Fate::Lost),
            Self::AllApplied => Fates::all(Fate::Applied),
            Self::OneLost => Fates::all(Fate::Applied).but(&one, Fate::Lost),
            Self::OneApplied => Fates::all(Fate::Lost).but(&one, Fate::Applied),
            Self::NamesOnly => Fates::all(Fate::Lost).but(&names, Fate::Applied),
            Self::DataOnly => Fates::all(Fate::Applied).but(&names, Fate::Lost),
            Self::Half => each(Fates::all(Fate::Lost), unsynced, || match random.bool() {
                true => Fate::Applied,
                false => Fate::Lost,
            }),
            Self::Torn => each(Fates::all(Fate::Lost), unsynced, || any(random)),
            Self::TornEnd => each(Fates::all(Fate::Applied), latest, || any(random)),
        }
    }
}

fn each(mut fates: Fates, events: &[usize], mut fate: impl FnMut() -> Fate) -> Fates {
    fates.own.extend(events.iter().map(|&event| (event, fate())));
    fates
}

/// Any fate.
pub(super) fn any(random: &mut Rng) -> Fate {
    match random.u8(..4) {
        0 => Fate::Applied,
        1 => Fate::Lost,
        2 => Fate::Torn(random.u64(..)),
        _ => Fate::Zeroed,
    }
}

/// How many events count as the latest.
const LATEST: usize = 12;
