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
    /// Runs a group. A peer that fails at one of them goes on with the next, and one that cannot
    /// be started has none.
    async fn run(&self, group: &[Scenario], records: &mut Vec<Record>) -> Result<()> {
        let (alone, others): (Vec<Scenario>, Vec<Scenario>) =
            group.iter().partition(|scenario| scenario.is_alone());
        for scenario in alone {
            let measured = scenario.run_alone(self.work, self.program, self.place).await;
            let measured = self.forgive(measured)?.flatten();
            self.note(scenario, measured, records);
        }
        let Some(first) = others.first() else { return Ok(()) };
        let label = format!("{}-{}-{}", self.program.name, self.round, first.name());
        let server = Server::start(self.program, self.place, &label, &self.work.image).await;
        let server = self.forgive(server)?;
        for scenario in others {
            let measured = match &server {
                Some(server) => scenario.run(self.work, server, self.place).await,
                None => Ok(None),
            };
            let measured = self.forgive(measured)?.flatten();
            self.note(scenario, measured, records);
        }
        if let Some(server) = server {
            let stopped = server.stop().await;
            self.forgive(stopped)?;
        }
        Ok(())
    }

    /// What came of something; what a peer fails at is printed.
    fn forgive<T>(&self, outcome: Result<T>) -> Result<Option<T>> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(error) if self.program.is_ours() => Err(error),
            Err(error) => {
                println!("       {}: {error:#}", self.program.name);
                Ok(None)
            }
        }
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
    use crate::work::Sizes;

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

    #[tokio::test]
    async fn a_peer_that_fails_has_no_figures_and_ours_must_not_fail() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(Some(dir.path()), None).unwrap();
        let sizes = Sizes {
            large_bytes: 1 << 20,
            parallel_bytes: 1 << 10,
            release_images: 1,
            starts: 1,
            ..Sizes::SHORT
        };
        let work = Workload::generate(sizes, false);
        let groups = [vec![Scenario::Start], vec![Scenario::Push, Scenario::Pull]];
        let broken = Program::peer("broken=exit 3").unwrap();
        let records = all(&work, &[broken], &place, &groups, 2).await.unwrap();
        assert_eq!(records.len(), 6);
        assert!(records.iter().all(|record| record.measurement.is_none()));
        let ours = Program::ours("false".into());
        assert!(all(&work, &[ours], &place, &groups, 1).await.is_err());
    }
}
