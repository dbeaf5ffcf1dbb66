//! The output: a line for each measurement as it is taken, and at the end the table of medians
//! and ratios over the rounds that people read, at most 100 columns wide. It judges nothing: a
//! goal is printed beside the ratio that it is for.

use std::fmt::Write as _;

use serde::Serialize;

use crate::figure::{Figure, Goal, figures};
use crate::measure::Measurement;
use crate::scenario::Scenario;
use crate::server::Program;
use crate::statistics::{median, sorted};

/// One measurement and what it is of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Record {
    /// The round, counted from 1.
    pub(crate) round: usize,
    /// The server that was measured.
    pub(crate) server: String,
    /// The scenario that it was measured in.
    pub(crate) scenario: Scenario,
    /// What was read; `None` where the server refuses such work, or failed at it.
    #[serde(flatten)]
    pub(crate) measurement: Option<Measurement>,
}

/// A measurement in one line, without the end of the line.
pub(crate) fn line(record: &Record) -> String {
    let Record { round, server, scenario, measurement } = record;
    let head = format!("{round:>5}  {server:<15}  {:<11}", scenario.name());
    let Some(measurement) = measurement else { return format!("{head}  none") };
    format!(
        "{head}  {:>8.2}  {:>8.2}  {:>8.1}  {:>9.1}  {:>8}  {:>8.2}",
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
    "round  server           scenario       wall s     CPU s  peak MiB  moved MiB  requests  ",
    "gen. CPU\n",
    "-----  ---------------  -----------  --------  --------  --------  ---------  --------  ",
    "--------",
);

/// The table, with a part for each scenario that was measured at all and in it a line for each
/// figure. `programs` are in the order of the columns.
pub(crate) fn render(records: &[Record], programs: &[Program], is_full: bool) -> String {
    let mut text = String::from(EXPLANATION);
    for scenario in Scenario::GROUPS.concat() {
        let part = Part::of(records, programs, scenario);
        if part.is_measured() {
            // Writing to a String cannot fail.
            let _ = write!(text, "\n{}", part.text(is_full));
        }
    }
    let mut measured = records.iter().filter_map(|record| record.measurement.as_ref());
    if measured.any(|measurement| !measurement.peak_is_own) {
        text.push_str(
            "\nThe kernel did not permit to reset the peaks: they are since each start.\n",
        );
    }
    text
}

/// One scenario.
struct Part<'a> {
    scenario: Scenario,
    records: Vec<&'a Record>,
    ours: Option<&'a Program>,
    /// The others that had this work.
    peers: Vec<&'a Program>,
}

impl<'a> Part<'a> {
    fn of(records: &'a [Record], programs: &'a [Program], scenario: Scenario) -> Self {
        let records: Vec<&Record> = records.iter().filter(|it| it.scenario == scenario).collect();
        let has_work = |program: &&Program| records.iter().any(|it| it.server == program.name);
        let peers = programs.iter().filter(|program| !program.is_ours()).filter(has_work).collect();
        Self { scenario, ours: programs.iter().find(|program| program.is_ours()), peers, records }
    }

    fn is_measured(&self) -> bool {
        self.records.iter().any(|record| record.measurement.is_some())
    }

    fn text(&self, is_full: bool) -> String {
        let mut text = format!("{}: {}\n", self.scenario.name(), self.scenario.describe());
        let mut heads: Vec<String> = Vec::new();
        if self.has_best() {
            heads.push(head("best peer"));
        }
        heads.extend(self.peers.iter().map(|peer| head(&peer.name)));
        let goal = [String::from("goal")];
        lines(&mut text, &format!("{:<16}{:>9}", "figure", "ours"), &heads, &goal);
        for (figure, goals) in figures(self.scenario) {
            self.write_row(&mut text, figure, goals, is_full);
        }
        text
    }

    /// Whether there is more than one registry to be the best of.
    fn has_best(&self) -> bool {
        self.peers.iter().filter(|peer| peer.is_registry()).count() > 1
    }

    fn write_row(&self, text: &mut String, figure: Figure, goals: &[Goal], is_full: bool) {
        let ours = self.ours.map(|ours| self.values(ours, figure)).unwrap_or_default();
        let peers: Vec<Values> = self.peers.iter().map(|it| self.values(it, figure)).collect();
        let mut all = [&ours].into_iter().chain(&peers).flatten();
        // A figure that is nought for everybody is not what the scenario is about.
        if all.all(|(_, value)| *value == 0.0) {
            return;
        }
        let mut cells: Vec<String> = Vec::new();
        if self.has_best() {
            cells.push(cell(&ours, &self.best(figure)));
        }
        cells.extend(peers.iter().map(|values| cell(&ours, values)));
        let goals: Vec<String> = goals.iter().filter_map(|goal| goal.text(is_full)).collect();
        let head = format!("{:<16}{:>9}", figure.name(), number(middle(&ours)));
        lines(text, &head, &cells, &goals);
    }

    /// The figure of one server in each round.
    fn values(&self, program: &Program, figure: Figure) -> Values {
        let own = self.records.iter().filter(|record| record.server == program.name);
        own.filter_map(|it| Some((it.round, figure.of(it.measurement.as_ref()?)?))).collect()
    }

    /// The best of the registries that are not ours, in each round.
    fn best(&self, figure: Figure) -> Values {
        let registries = self.peers.iter().filter(|peer| peer.is_registry());
        let mut best = Values::new();
        for (round, value) in registries.flat_map(|peer| self.values(peer, figure)) {
            match best.iter_mut().find(|(other, _)| *other == round) {
                None => best.push((round, value)),
                Some((_, least)) if figure.is_more_better() => *least = least.max(value),
                Some((_, least)) => *least = least.min(value),
            }
        }
        best
    }
}

/// A figure in each round.
type Values = Vec<(usize, f64)>;

fn middle(values: &Values) -> Option<f64> {
    median(values.iter().map(|(_, value)| *value))
}

/// Ours divided by another's of the same round, in rising order.
fn ratios(ours: &Values, theirs: &Values) -> Vec<f64> {
    let ratio = |&(round, our): &(usize, f64)| {
        let (_, their) = theirs.iter().find(|(other, _)| *other == round)?;
        Some(our / their).filter(|ratio| ratio.is_finite())
    };
    sorted(ours.iter().filter_map(ratio))
}

/// The median of a server's figure and of our ratio to it, with the ratio's least and most.
fn cell(ours: &Values, theirs: &Values) -> String {
    let ratios = ratios(ours, theirs);
    let range = match (ratios.first(), ratios.last()) {
        (Some(least), Some(most)) if ratios.len() > 1 => {
            format!("{}-{}", ratio(Some(*least)), ratio(Some(*most)))
        }
        _ => String::from("-"),
    };
    let middle_ratio = ratio(median(ratios));
    format!("{:>8} {middle_ratio:>6} {range:>11}", number(middle(theirs)))
}

/// The head of such a cell.
fn head(name: &str) -> String {
    format!("{name:>15} {:>11}", "least-most")
}

/// Writes the cells, as many beside each other as fit, with a goal at the end of each line.
fn lines(text: &mut String, head: &str, cells: &[String], goals: &[String]) {
    let count = cells.len().div_ceil(CELLS_A_LINE).max(goals.len()).max(1);
    for index in 0..count {
        let head = if index == 0 { head } else { "" };
        let cells: Vec<&str> = cells
            .iter()
            .skip(index * CELLS_A_LINE)
            .take(CELLS_A_LINE)
            .map(String::as_str)
            .collect();
        let goal = goals.get(index).map_or("", String::as_str);
        let cells_width = CELLS_A_LINE * (CELL_CHARS + 2) - 2;
        let line = format!("{head:<25}  {:<cells_width$}  {goal}", cells.join("  "));
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

/// A number with about three digits that count.
fn number(value: Option<f64>) -> String {
    match value {
        None => String::from("-"),
        Some(value) if value.abs() >= 1000.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 100.0 => format!("{value:.1}"),
        Some(value) if value.abs() >= 1.0 || value == 0.0 => format!("{value:.2}"),
        Some(value) => format!("{value:.3}"),
    }
}

/// A ratio with two digits that count, or more.
fn ratio(value: Option<f64>) -> String {
    match value {
        None => String::from("-"),
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) if value >= 10.0 => format!("{value:.1}"),
        Some(value) if value >= 0.1 || value == 0.0 => format!("{value:.2}"),
        Some(value) => format!("{value:.3}"),
    }
}

const MIB: f64 = 1024.0 * 1024.0;
/// How many servers' figures stand beside each other.
const CELLS_A_LINE: usize = 2;
/// The width of one.
const CELL_CHARS: usize = 27;
/// What stands above the table.
const EXPLANATION: &str = "\
Of each server the median over the rounds, the median of the ratios ours / server, each taken
within a round, and the least and most of them.
";

#[cfg(test)]
mod tests;
