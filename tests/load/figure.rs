//! The figures that are drawn from measurements, which of them a scenario is about, and the goals
//! for them.

use crate::measure::Measurement;
use crate::scenario::Scenario;

/// A number drawn from a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Seconds on the clock.
    Wall,
    /// Milliseconds to the first answer.
    FirstAnswer,
    /// Processor seconds of the server.
    Cpu,
    /// Processor time for each request.
    CpuPerRequest,
    /// Requests a second.
    RequestRate,
    /// The most memory.
    Peak,
    /// Memory after a rest.
    Rest,
    /// Flushes of the disk.
    Flushes,
    /// Flushes of the disk for each blob.
    FlushesPerBlob,
    /// What was written to the disk.
    Written,
    /// By how much the disk is fuller, of a hundred parts of what was imported.
    Grown,
    /// Switches between threads that the server wanted.
    Voluntary,
    /// Switches that it did not want.
    Involuntary,
    /// The same for each request.
    VoluntaryPerRequest,
    /// The same for each request.
    InvoluntaryPerRequest,
    /// The middle one of what requests took.
    P50,
    /// What the slowest of a hundred took.
    P99,
    /// Connections that went on with a session from before, of a hundred.
    Resumed,
}

impl Figure {
    /// Its name and unit.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Wall => "wall s",
            Self::FirstAnswer => "first answer ms",
            Self::Cpu => "server CPU s",
            Self::CpuPerRequest => "CPU µs/request",
            Self::RequestRate => "requests/s",
            Self::Peak => "peak MiB",
            Self::Rest => "at rest MiB",
            Self::Flushes => "flushes",
            Self::FlushesPerBlob => "flushes/blob",
            Self::Written => "written MiB",
            Self::Grown => "disk grown %",
            Self::Voluntary => "switches",
            Self::Involuntary => "preemptions",
            Self::VoluntaryPerRequest => "switches/req.",
            Self::InvoluntaryPerRequest => "preempt./req.",
            Self::P50 => "p50 ms",
            Self::P99 => "p99 ms",
            Self::Resumed => "resumed %",
        }
    }

    /// Its value; `None` where the measurement has none, or nothing to divide by.
    pub(crate) fn of(self, measurement: &Measurement) -> Option<f64> {
        let (requests, blobs) = (measurement.requests as f64, measurement.blobs as f64);
        let (voluntary, involuntary) =
            (measurement.voluntary_switches as f64, measurement.involuntary_switches as f64);
        let optional = |count: Option<u64>| count.map(|count| count as f64);
        let value = match self {
            Self::Wall => measurement.wall_seconds,
            Self::FirstAnswer => measurement.wall_seconds * 1000.0,
            Self::Cpu => measurement.cpu_seconds,
            Self::CpuPerRequest => measurement.cpu_seconds * 1e6 / requests,
            Self::RequestRate => requests / measurement.wall_seconds,
            Self::Peak => measurement.peak_bytes as f64 / MIB,
            Self::Rest => optional(measurement.rest_bytes)? / MIB,
            Self::Flushes => optional(measurement.flushes)?,
            Self::FlushesPerBlob => optional(measurement.flushes)? / blobs,
            Self::Written => optional(measurement.written_bytes)? / MIB,
            Self::Grown => optional(measurement.grown_bytes)? * 100.0 / measurement.bytes as f64,
            Self::Voluntary => voluntary,
            Self::Involuntary => involuntary,
            Self::VoluntaryPerRequest => voluntary / requests,
            Self::InvoluntaryPerRequest => involuntary / requests,
            Self::P50 => measurement.p50_ms?,
            Self::P99 => measurement.p99_ms?,
            Self::Resumed => optional(measurement.resumed)? * 100.0 / requests,
        };
        value.is_finite().then_some(value)
    }

    /// Whether more of it is better.
    pub(crate) fn is_more_better(self) -> bool {
        matches!(self, Self::RequestRate | Self::Resumed)
    }
}

/// What a figure of ours should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// So much of the best peer's, at most.
    OfBest(f64),
    /// So much of what Debian's docker-registry needs, at most.
    OfDebian(f64),
    /// So much of what nginx reaches, at least.
    OfNginx(f64),
    /// So much of what openssl needs to hash the same, at most.
    OfOpenssl(f64),
    /// So much of what skopeo needs to copy the same, at most.
    OfSkopeo(f64),
    /// So much, at most, whatever the sizes are.
    AtMost(f64),
    /// So much, at most, in the full form.
    AtMostInFull(f64),
}

impl Goal {
    /// The goal in words; `None` where it is not one for this run.
    pub(crate) fn text(self, is_full: bool) -> Option<String> {
        match self {
            Self::OfBest(ratio) => Some(format!("best <= {ratio:.2}")),
            Self::OfDebian(ratio) => Some(format!("Debian <= {ratio:.2}")),
            Self::OfNginx(ratio) => Some(format!("nginx >= {ratio:.2}")),
            Self::OfOpenssl(ratio) => Some(format!("openssl <= {ratio:.2}")),
            Self::OfSkopeo(ratio) => Some(format!("skopeo <= {ratio:.2}")),
            Self::AtMost(value) => Some(format!("<= {value}")),
            Self::AtMostInFull(value) => is_full.then(|| format!("<= {value}")),
        }
    }
}

/// The figures that a scenario is about, each with its goals.
pub(crate) fn figures(scenario: Scenario) -> Vec<(Figure, &'static [Goal])> {
    use {Figure as F, Goal as G};
    let (wall, cpu): (&'static [Goal], &'static [Goal]) = match scenario {
        Scenario::Push => (&FIRST, &[G::OfBest(0.70), G::OfDebian(0.30)]),
        Scenario::Pull => (&FIRST, &[G::OfBest(0.73), G::OfDebian(0.60)]),
        Scenario::Small => (&[G::AtMostInFull(0.25)], &[G::AtMostInFull(0.20)]),
        Scenario::Parallel => (&[G::AtMostInFull(2.4)], &[G::AtMostInFull(2.0)]),
        Scenario::Release => (&FIRST, &[G::AtMostInFull(2.0)]),
        _ => (&FIRST, &FIRST),
    };
    match scenario {
        Scenario::Start => {
            vec![(F::FirstAnswer, &[G::AtMost(30.0)]), (F::Cpu, &[]), (F::Peak, &[])]
        }
        Scenario::FirstStart => vec![(F::FirstAnswer, &[]), (F::Cpu, &[]), (F::Peak, &[])],
        Scenario::Idle => vec![
            (F::Rest, &[G::AtMost(10.0)]),
            (F::Cpu, &[]),
            (F::Voluntary, &[]),
            (F::Flushes, &[]),
            (F::Written, &[]),
        ],
        Scenario::Manifests => rated(&[G::OfNginx(0.50)], &[G::AtMost(20.0)]),
        Scenario::Ranges => rated(&[], &FIRST),
        Scenario::Connect | Scenario::Resume => {
            let mut figures = rated(&[], &FIRST);
            figures.push((F::Resumed, &[]));
            figures
        }
        Scenario::ImportTar | Scenario::ImportDir => vec![
            (F::Wall, &[G::OfOpenssl(1.5), G::OfSkopeo(0.2)]),
            (F::Cpu, &[G::OfOpenssl(1.9)]),
            (F::Peak, &[]),
            (F::FlushesPerBlob, &[]),
            (F::Written, &[]),
        ],
        Scenario::Clone => vec![
            (F::Wall, &[]),
            (F::Cpu, &[]),
            (F::Peak, &[]),
            (F::FlushesPerBlob, &[]),
            (F::Written, &[]),
            (F::Grown, &[G::AtMostInFull(1.0)]),
        ],
        Scenario::Stream1 => timed(&FIRST, &FIRST, &[G::AtMost(3.0)]),
        Scenario::Stream8 => timed(&FIRST, &FIRST, &[G::AtMost(0.7)]),
        Scenario::Stream32 => timed(&FIRST, &FIRST, &[G::AtMost(0.4)]),
        Scenario::Pull | Scenario::Pull512 | Scenario::Slow | Scenario::Nodes => {
            let mut figures = timed(wall, cpu, &[]);
            // Nobody writes for a pull but what the disk owed from before.
            figures.retain(|(figure, _)| ![F::Flushes, F::Written].contains(figure));
            figures
        }
        Scenario::Push
        | Scenario::Push512
        | Scenario::Parallel
        | Scenario::Small
        | Scenario::Release
        | Scenario::Again => {
            let mut figures = timed(wall, cpu, &[]);
            if scenario == Scenario::Parallel {
                figures.iter_mut().filter(|(figure, _)| *figure == F::Peak).for_each(|row| {
                    row.1 = &[G::AtMostInFull(15.0)];
                });
            }
            figures
        }
    }
}

/// Of what every server is asked the same.
fn timed(
    wall: &'static [Goal],
    cpu: &'static [Goal],
    flushes: &'static [Goal],
) -> Vec<(Figure, &'static [Goal])> {
    let flushes = match flushes {
        [] => (Figure::Flushes, flushes),
        _ => (Figure::FlushesPerBlob, flushes),
    };
    vec![
        (Figure::Wall, wall),
        (Figure::Cpu, cpu),
        (Figure::Peak, &[]),
        (Figure::Rest, &[]),
        flushes,
        (Figure::Written, &[]),
        (Figure::Voluntary, &[]),
        (Figure::Involuntary, &[]),
        (Figure::P50, &[]),
        (Figure::P99, &[]),
    ]
}

/// Of what some are asked less often than others.
fn rated(rate: &'static [Goal], cpu: &'static [Goal]) -> Vec<(Figure, &'static [Goal])> {
    vec![
        (Figure::RequestRate, rate),
        (Figure::CpuPerRequest, cpu),
        (Figure::Peak, &[]),
        (Figure::Rest, &[]),
        (Figure::VoluntaryPerRequest, &[]),
        (Figure::InvoluntaryPerRequest, &[]),
        (Figure::P50, &[]),
        (Figure::P99, &[]),
    ]
}

/// Not behind any peer.
const FIRST: [Goal; 1] = [Goal::OfBest(1.0)];
const MIB: f64 = 1024.0 * 1024.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_drawn_from_a_measurement() {
        let measurement = Measurement {
            wall_seconds: 2.0,
            cpu_seconds: 4.0,
            peak_bytes: 32 << 20,
            requests: 10,
            blobs: 4,
            flushes: Some(6),
            written_bytes: Some(1 << 20),
            grown_bytes: Some(1 << 20),
            bytes: 4 << 20,
            voluntary_switches: 5,
            resumed: Some(9),
            ..Measurement::default()
        };
        for (figure, expected) in [
            (Figure::Wall, Some(2.0)),
            (Figure::FirstAnswer, Some(2000.0)),
            (Figure::CpuPerRequest, Some(400_000.0)),
            (Figure::RequestRate, Some(5.0)),
            (Figure::Peak, Some(32.0)),
            (Figure::Rest, None),
            (Figure::FlushesPerBlob, Some(1.5)),
            (Figure::Written, Some(1.0)),
            (Figure::Grown, Some(25.0)),
            (Figure::VoluntaryPerRequest, Some(0.5)),
            (Figure::P50, None),
            (Figure::Resumed, Some(90.0)),
        ] {
            assert_eq!(figure.of(&measurement), expected, "{figure:?}");
        }
        let idle = Measurement { requests: 0, blobs: 0, ..measurement };
        assert_eq!(Figure::CpuPerRequest.of(&idle), None);
        assert_eq!(Figure::FlushesPerBlob.of(&idle), None);
    }

    #[test]
    fn goals_for_a_size_are_for_the_full_form() {
        assert_eq!(Goal::OfBest(0.7).text(false).as_deref(), Some("best <= 0.70"));
        assert_eq!(Goal::AtMost(0.7).text(false).as_deref(), Some("<= 0.7"));
        assert_eq!(Goal::AtMostInFull(2.4).text(true).as_deref(), Some("<= 2.4"));
        assert_eq!(Goal::AtMostInFull(2.4).text(false), None);
    }

    #[test]
    fn every_scenario_has_figures_and_none_twice() {
        for scenario in Scenario::GROUPS.concat() {
            let figures: Vec<Figure> = figures(scenario).into_iter().map(|row| row.0).collect();
            assert!(figures.len() >= 3, "{scenario:?}");
            for (index, figure) in figures.iter().enumerate() {
                assert!(!figures[..index].contains(figure), "{scenario:?}: {figure:?}");
            }
        }
    }
}
