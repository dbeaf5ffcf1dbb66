//! The order in which everything runs: in each round every group of scenarios on one server after
//! the other, so that what the machine does otherwise meets all of them alike.

use anyhow::Result;

use crate::measure::Measurement;
use crate::place::Place;
use crate::scenario::Scenario;
use crate::server::{Program, Server};
use crate::table::{self, Record};
use crate::work::Workload;

/// Runs everything and returns what was measured. Fails when ours fails; what a peer fails at is
/// printed and has no measurement.
pub(crate) async fn all(
    work: &Workload,
    programs: &[Program],
    place: &Place,
    groups: &[Vec<Scenario>],
    rounds: usize,
) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for round in 1..=rounds {
        for group in groups {
            for program in in_turn(programs, round) {
                let asked = group.iter().copied().filter(|scenario| scenario.is_for(program));
                let asked: Vec<Scenario> = asked.collect();
                if !asked.is_empty() {
                    let turn = Turn { work, program, place, round };
                    turn.run(&asked, &mut records).await?;
                }
            }
        }
    }
    Ok(records)
}

/// The programs in the order of a round: another one begins in each.
fn in_turn(programs: &[Program], round: usize) -> impl Iterator<Item = &Program> {
    let first = (round - 1) % programs.len().max(1);
    programs.iter().cycle().skip(first).take(programs.len())
}

/// One program in one round.
struct Turn<'a> {
    work: &'a Workload,
    program: &'a Program,
    place: &'a Place,
    round: usize,
}

impl Turn<'_> {
    async fn run(&self, group: &[Scenario], records: &mut Vec<Record>) -> Result<()> {
        let begun = records.len();
        if let Err(error) = self.try_run(group, records).await {
            if self.program.is_ours() {
                return Err(error);
            }
            println!("       {}: {error:#}", self.program.name);
            // What is left of the group cannot be had from this server.
            for scenario in &group[records.len() - begun..] {
                self.note(*scenario, None, records);
            }
        }
        Ok(())
    }

    async fn try_run(&self, group: &[Scenario], records: &mut Vec<Record>) -> Result<()> {
        let Self { work, program, place, round } = *self;
        let (starts, others): (Vec<Scenario>, Vec<Scenario>) =
            group.iter().partition(|scenario| scenario.is_of_starts());
        for scenario in starts {
            let measurement = scenario.run_starts(work, program, place).await?;
            self.note(scenario, Some(measurement), records);
        }
        if others.is_empty() {
            return Ok(());
        }
        let label = format!("{}-{round}-{}", program.name, others[0].name());
        let server = Server::start(program, place, &label, &work.image).await?;
        for scenario in others {
            let measurement = scenario.run(work, &server, place).await?;
            self.note(scenario, measurement, records);
        }
        server.stop().await
    }

    fn note(
        &self,
        scenario: Scenario,
        measurement: Option<Measurement>,
        records: &mut Vec<Record>,
    ) {
        let server = self.program.name.clone();
        let record = Record { round: self.round, server, scenario, measurement };
        println!("{}", table::line(&record));
        records.push(record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_server_begins_in_each_round() {
        let programs: Vec<Program> =
            ["a=x", "b=x", "c=x"].map(|text| Program::peer(text).unwrap()).to_vec();
        let order = |round: usize| -> String {
            in_turn(&programs, round).map(|program| program.name.as_str()).collect()
        };
        assert_eq!([order(1), order(2), order(3), order(4)], ["abc", "bca", "cab", "abc"]);
        assert_eq!(in_turn(&[], 1).count(), 0);
    }
}
