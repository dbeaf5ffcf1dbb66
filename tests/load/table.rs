//! The output: figures drawn from measurements, medians and ratios over the rounds, and the
//! table that people read, at most 100 columns wide. It judges nothing: a goal is printed beside
//! the ratio that it is for.

use std::fmt::Write as _;

use serde::Serialize;

use crate::scenario::{Measurement, Scenario};
use crate::server::Kind;

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;
const MIB: f64 = 1024.0 * 1024.0;

/// One measurement and what it is of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Record {
    /// The round, counted from 1.
    pub(crate) round: usize,
    /// The server that was measured.
    pub(crate) server: Kind,
    /// The scenario that it was measured in.
    pub(crate) scenario: Scenario,
    /// What was read.
    #[serde(flatten)]
    pub(crate) measurement: Measurement,
}

/// A measurement in one line, without the end of the line.
pub(crate) fn line(record: &Record) -> String {
    let Record { round, server, scenario, measurement } = record;
    format!(
        "{round:>5}  {:<6}  {:<9}  {:>8.2}  {:>8.2}  {:>9.1}  {:>9.1}  {:>8}  {:>12.2}",
        server.name(),
        scenario.name(),
        measurement.wall_seconds,
        measurement.cpu_seconds,
        measurement.peak_bytes as f64 / MIB,
        measurement.bytes as f64 / MIB,
        measurement.requests,
        measurement.client_cpu_seconds,
    )
}

/// The heads of the columns of [`line()`].
pub(crate) const LINE_HEAD: &str = concat!(
    "round  server  scenario     wall s     CPU s   peak MiB  moved MiB  requests  client CPU s\n",
    "-----  ------  ---------  --------  --------  ---------  ---------  --------  ------------",
);

/// The table of medians and ratios, with a line for each figure that was measured at all.
pub(crate) fn render(records: &[Record]) -> String {
    let mut text = format!(
        "{:<9}  {:<19}  {:>9}  {:>9}  {:>9}  {:>15}  {}\n",
        "scenario", "figure, median", "ours", "peer", "ours/peer", "least to most", "goal"
    );
    let dashes = |count: usize| "-".repeat(count);
    let widths = [9, 19, 9, 9, 9, 15, 13].map(dashes);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}", widths.join("  "));
    for scenario in Scenario::ALL {
        for (figure, goal) in figures(scenario) {
            if let Some(row) = Row::of(records, scenario, *figure) {
                let _ = writeln!(text, "{}", row.text(scenario, *figure, *goal));
            }
        }
    }
    let shared = records.iter().any(|record| !record.measurement.peak_is_own);
    if shared {
        text.push_str("The kernel did not permit to reset the peaks: they are since each start.\n");
    }
    text
}

/// A number drawn from a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Figure {
    Wall,
    CpuPerGib,
    CpuPerRequest,
    RequestRate,
    Peak,
}

impl Figure {
    fn name(self) -> &'static str {
        match self {
            Self::Wall => "wall s",
            Self::CpuPerGib => "server CPU s/GiB",
            Self::CpuPerRequest => "server CPU ms/req.",
            Self::RequestRate => "requests/s",
            Self::Peak => "peak memory MiB",
        }
    }

    /// `None` where the measurement has nothing to divide by.
    fn of(self, measurement: &Measurement) -> Option<f64> {
        let requests = measurement.requests as f64;
        let value = match self {
            Self::Wall => measurement.wall_seconds,
            Self::CpuPerGib => measurement.cpu_seconds * GIB / measurement.bytes as f64,
            Self::CpuPerRequest => measurement.cpu_seconds * 1000.0 / requests,
            Self::RequestRate => requests / measurement.wall_seconds,
            Self::Peak => measurement.peak_bytes as f64 / MIB,
        };
        value.is_finite().then_some(value)
    }
}

/// What the ratio should be.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Goal {
    AtMost(f64),
    AtLeast(f64),
    None,
}

impl Goal {
    fn text(self) -> String {
        match self {
            Self::AtMost(ratio) => format!("at most {ratio:.2}"),
            Self::AtLeast(ratio) => format!("at least {ratio:.0}"),
            Self::None => String::new(),
        }
    }
}

/// The figures of a scenario and the goals for a first version.
fn figures(scenario: Scenario) -> &'static [(Figure, Goal)] {
    match scenario {
        Scenario::Push => &[
            (Figure::CpuPerGib, Goal::AtMost(0.45)),
            (Figure::Wall, Goal::None),
            (Figure::Peak, Goal::None),
        ],
        Scenario::Pull => &[
            (Figure::CpuPerGib, Goal::AtMost(0.80)),
            (Figure::Wall, Goal::None),
            (Figure::Peak, Goal::None),
        ],
        Scenario::Small => &[
            (Figure::Wall, Goal::AtMost(0.25)),
            (Figure::CpuPerRequest, Goal::None),
            (Figure::Peak, Goal::None),
        ],
        Scenario::Manifests => &[
            (Figure::RequestRate, Goal::AtLeast(20.0)),
            (Figure::CpuPerRequest, Goal::None),
            (Figure::Peak, Goal::None),
        ],
        Scenario::Parallel => &[
            (Figure::CpuPerGib, Goal::None),
            (Figure::Wall, Goal::None),
            (Figure::Peak, Goal::None),
        ],
    }
}

/// One figure over all rounds.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    ours: Option<f64>,
    peer: Option<f64>,
    /// Ours divided by the peer's of the same round, in rising order.
    ratios: Vec<f64>,
}

impl Row {
    fn of(records: &[Record], scenario: Scenario, figure: Figure) -> Option<Self> {
        let values = |server: Kind| -> Vec<(usize, f64)> {
            let of_server = records.iter().filter(|r| r.server == server && r.scenario == scenario);
            of_server.filter_map(|r| Some((r.round, figure.of(&r.measurement)?))).collect()
        };
        let (ours, peer) = (values(Kind::Ours), values(Kind::Peer));
        if ours.is_empty() && peer.is_empty() {
            return None;
        }
        let ratio = |&(round, our): &(usize, f64)| {
            let (_, their) = peer.iter().find(|(other, _)| *other == round)?;
            Some(our / their).filter(|ratio| ratio.is_finite())
        };
        let ratios = sorted(ours.iter().filter_map(ratio));
        let middle = |values: &[(usize, f64)]| median(&sorted(values.iter().map(|v| v.1)));
        Some(Self { ours: middle(&ours), peer: middle(&peer), ratios })
    }

    fn text(&self, scenario: Scenario, figure: Figure, goal: Goal) -> String {
        let range = match (self.ratios.first(), self.ratios.last()) {
            (Some(least), Some(most)) if self.ratios.len() > 1 => {
                format!("{} to {}", number(Some(*least)), number(Some(*most)))
            }
            _ => String::from("-"),
        };
        let text = format!(
            "{:<9}  {:<19}  {:>9}  {:>9}  {:>9}  {range:>15}  {}",
            scenario.name(),
            figure.name(),
            number(self.ours),
            number(self.peer),
            number(median(&self.ratios)),
            goal.text(),
        );
        text.trim_end().to_owned()
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The middle of sorted values; of an even number of them, the mean of the two in the middle.
fn median(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// A number with about three digits that count.
fn number(value: Option<f64>) -> String {
    match value {
        None => String::from("-"),
        Some(value) if value.abs() >= 1000.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 100.0 => format!("{value:.1}"),
        Some(value) if value.abs() >= 1.0 => format!("{value:.2}"),
        Some(value) => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(round: usize, server: Kind, scenario: Scenario, cpu_seconds: f64) -> Record {
        let measurement = Measurement {
            wall_seconds: 2.0,
            cpu_seconds,
            client_cpu_seconds: 0.5,
            peak_bytes: 32 << 20,
            peak_is_own: true,
            bytes: 1 << 30,
            requests: 10,
        };
        Record { round, server, scenario, measurement }
    }

    #[test]
    fn a_median_is_the_middle_or_between_the_two_middle_ones() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[1.0, 3.0]), Some(2.0));
        assert_eq!(median(&sorted([9.0, 1.0, 2.0].into_iter())), Some(2.0));
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let records = [
            record(1, Kind::Ours, Scenario::Push, 1.0),
            record(1, Kind::Peer, Scenario::Push, 4.0),
            record(2, Kind::Ours, Scenario::Push, 3.0),
            record(2, Kind::Peer, Scenario::Push, 6.0),
            record(3, Kind::Ours, Scenario::Push, 9.0),
        ];
        let row = Row::of(&records, Scenario::Push, Figure::CpuPerGib).unwrap();
        assert_eq!(row, Row { ours: Some(3.0), peer: Some(5.0), ratios: vec![0.25, 0.5] });
        assert_eq!(Row::of(&records, Scenario::Pull, Figure::CpuPerGib), None);
    }

    #[test]
    fn figures_are_drawn_from_a_measurement() {
        let measurement = record(1, Kind::Ours, Scenario::Push, 4.0).measurement;
        assert_eq!(Figure::Wall.of(&measurement), Some(2.0));
        assert_eq!(Figure::CpuPerGib.of(&measurement), Some(4.0));
        assert_eq!(Figure::CpuPerRequest.of(&measurement), Some(400.0));
        assert_eq!(Figure::RequestRate.of(&measurement), Some(5.0));
        assert_eq!(Figure::Peak.of(&measurement), Some(32.0));
        let idle = Measurement { bytes: 0, ..measurement };
        assert_eq!(Figure::CpuPerGib.of(&idle), None);
    }

    #[test]
    fn a_table_shows_ratio_range_and_goal_within_100_columns() {
        let mut records = Vec::new();
        for scenario in Scenario::ALL {
            for round in 1..=2 {
                records.push(record(round, Kind::Ours, scenario, 1.0));
                records.push(record(round, Kind::Peer, scenario, 4.0 * round as f64));
            }
        }
        let table = render(&records);
        assert!(table.lines().all(|line| line.len() <= 100), "{table}");
        assert!(LINE_HEAD.lines().all(|head| head.len() == line(&records[0]).len()));
        let push = table.lines().nth(2).unwrap();
        let words: Vec<&str> = push.split_whitespace().collect();
        let expected = "push server CPU s/GiB 1.00 6.00 0.188 0.125 to 0.250 at most 0.45";
        assert_eq!(words.join(" "), expected);
    }

    #[test]
    fn one_server_alone_has_no_ratio() {
        let table = render(&[record(1, Kind::Peer, Scenario::Small, 1.0)]);
        let wall = table.lines().nth(2).unwrap();
        let words: Vec<&str> = wall.split_whitespace().collect();
        assert_eq!(words.join(" "), "small wall s - 2.00 - - at most 0.25");
        assert_eq!(table.lines().count(), 5);
    }

    #[test]
    fn a_peak_that_could_not_be_reset_is_said() {
        let mut shared = record(1, Kind::Peer, Scenario::Small, 1.0);
        shared.measurement.peak_is_own = false;
        assert!(render(&[shared]).contains("since each start"));
    }
}
