use std::path::PathBuf;

use super::*;

fn programs() -> Vec<Program> {
    vec![
        Program::ours(PathBuf::new()),
        Program::docker_registry(PathBuf::new()),
        Program::peer("zot=zot").unwrap(),
        Program::nginx(PathBuf::new()),
    ]
}

fn record(round: usize, server: &str, scenario: Scenario, cpu_seconds: f64) -> Record {
    let measurement = Measurement {
        wall_seconds: 2.0,
        cpu_seconds,
        client_cpu_seconds: 0.5,
        peak_bytes: 32 << 20,
        peak_is_own: true,
        bytes: 1 << 30,
        requests: 10,
        ..Measurement::default()
    };
    Record { round, server: server.to_owned(), scenario, measurement: Some(measurement) }
}

/// The words of the first line that begins with a name.
fn words<'a>(table: &'a str, name: &str) -> Vec<&'a str> {
    let line = table.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().collect()
}

#[test]
fn ratios_are_taken_within_a_round() {
    let ours = vec![(1, 1.0), (2, 3.0), (3, 9.0)];
    let theirs = vec![(2, 6.0), (1, 4.0)];
    assert_eq!(ratios(&ours, &theirs), [0.25, 0.5]);
    assert_eq!(
        cell(&ours, &theirs).split_whitespace().collect::<Vec<_>>().join(" "),
        "5.00 0.38 0.25-0.50"
    );
    assert_eq!(ratios(&ours, &Values::new()), Vec::<f64>::new());
    assert_eq!(ratios(&ours, &vec![(1, 0.0)]), Vec::<f64>::new());
}

#[test]
fn the_best_is_the_best_registry_of_each_round() {
    let records = [
        record(1, "ours", Scenario::Push, 1.0),
        record(1, "docker-registry", Scenario::Push, 4.0),
        record(1, "zot", Scenario::Push, 2.0),
        record(2, "ours", Scenario::Push, 1.0),
        record(2, "docker-registry", Scenario::Push, 1.0),
        record(2, "zot", Scenario::Push, 8.0),
    ];
    let table = render(&records, &programs(), true);
    let expected = "server CPU s 1.00 1.50 0.75 0.50-1.00 2.50 0.62 0.25-1.00 best <= 0.70";
    assert_eq!(words(&table, "server CPU s").join(" "), expected);
    let below = table.lines().skip_while(|line| !line.starts_with("server")).nth(1).unwrap();
    let below: Vec<&str> = below.split_whitespace().collect();
    assert_eq!(below.join(" "), "5.00 0.31 0.12-0.50 Debian <= 0.30");
}

#[test]
fn nginx_is_no_registry_to_be_best() {
    let records = [
        record(1, "ours", Scenario::Manifests, 1.0),
        record(1, "docker-registry", Scenario::Manifests, 4.0),
        record(1, "nginx", Scenario::Manifests, 0.5),
    ];
    let table = render(&records, &programs(), true);
    assert!(!table.contains("best peer"), "{table}");
    let expected = "CPU µs/request 100000 400000 0.25 - 50000 2.00 - <= 20";
    assert_eq!(words(&table, "CPU").join(" "), expected);
}

#[test]
fn a_table_fits_into_100_columns_and_has_no_part_that_was_not_measured() {
    let mut records = Vec::new();
    for scenario in Scenario::GROUPS.concat() {
        for (round, server) in [(1, "ours"), (1, "zot"), (2, "ours"), (2, "zot"), (1, "nginx")] {
            records.push(record(round, server, scenario, 1000.0 * round as f64));
        }
    }
    let table = render(&records, &programs(), true);
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    let head = LINE_HEAD.lines().map(str::len).collect::<Vec<_>>();
    assert!(head.iter().all(|length| *length == line(&records[0]).len() && *length <= 100));
    let table = render(&records[..1], &programs(), true);
    assert_eq!(table.lines().filter(|line| line.starts_with("figure")).count(), 1);
}

#[test]
fn one_server_alone_has_no_ratio() {
    let table = render(&[record(1, "ours", Scenario::Push, 1.0)], &programs(), true);
    assert_eq!(words(&table, "wall s").join(" "), "wall s 2.00 best <= 1.00");
    assert!(!table.contains("flushes"), "{table}");
}

#[test]
fn who_does_not_do_such_work_has_dashes() {
    let mut refused = record(1, "zot", Scenario::Push512, 1.0);
    refused.measurement = None;
    assert!(line(&refused).ends_with("push512      none"), "{}", line(&refused));
    let table = render(&[record(1, "ours", Scenario::Push512, 1.0), refused], &programs(), false);
    assert_eq!(words(&table, "wall s").join(" "), "wall s 2.00 - - - best <= 1.00");
}

#[test]
fn a_peak_that_could_not_be_reset_is_said() {
    let mut shared = record(1, "zot", Scenario::Small, 1.0);
    shared.measurement.as_mut().unwrap().peak_is_own = false;
    assert!(render(&[shared], &programs(), true).contains("since each start"));
}
