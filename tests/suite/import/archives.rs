//! The archives that real tools wrote, each as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::{import, stagings};
use crate::support::binary::{Instance, program};
use crate::support::clients::Machine;
use crate::support::content::sha256;
use crate::support::process::{Run, run_with_input};

/// The two lists that most of the tools were given.
const DOCKER: &str = "sha256:090c2d49b3aeee0b602b9a0069c09374e9b9322a9252a2e16f60f5f200e5677c";
const OCI: &str = "sha256:49fa985eee8a29f6253db7d15d25559d0f2f52f570fe65b3a3b2f5090fbbe618";

fn archive(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/archives").join(name)
}

fn path(name: &str) -> String {
    let path = archive(name);
    assert!(path.exists(), "{name} is missing");
    path.display().to_string()
}

/// Checks that skopeo finds an image under a name and under its digest, below this prefix.
fn check(machine: &Machine, instance: &Instance, image: &str, digest: &str) {
    let (repository, _) = image.rsplit_once(':').expect("a tag");
    for name in [image.to_owned(), format!("{repository}@{digest}")] {
        let name = format!("docker://{}/{name}", instance.address());
        let raw = machine.skopeo(&["inspect", "--raw", &name]);
        assert_eq!(raw.code(), Some(0), "{raw}");
        assert_eq!(sha256(&raw.out), digest, "{name}");
    }
    instance.command(&["inspect"], &[image]).ok();
}

/// Checks all that `mirror-after.txt` beside an archive says.
fn check_all(machine: &Machine, instance: &Instance, directory: &str, prefix: &str) {
    let told = fs::read_to_string(archive(directory).join("mirror-after.txt")).expect("a list");
    let lines: Vec<&str> = told.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(lines.len() > 5);
    for line in lines {
        let (image, digest) = line.split_once(' ').expect("an image and a digest");
        check(machine, instance, &format!("{prefix}{image}"), digest);
    }
}

#[test]
fn archives_of_oc_mirror_become_what_oc_mirror_makes_of_them() {
    let mut instance = Instance::started();
    let machine = Machine::of(&instance);
    let [a, b, c, d] =
        ["a-operators", "b-release-graph", "c-operators-increment", "d-platforms-sparse"]
            .map(|name| format!("oc-mirror-{name}"));
    let tar = |directory: &str| path(&format!("{directory}/mirror_000001.tar"));
    // An increment alone is told what it builds upon, and brings what it can.
    let report = import(&instance, &["--prefix", "alone", &tar(&c)], 1);
    assert!(!report["missing"].as_array().expect("a list").is_empty(), "{report}");
    import(&instance, &[&tar(&a)], 0);
    check_all(&machine, &instance, &a, "");
    import(&instance, &[&tar(&c)], 0);
    check_all(&machine, &instance, &c, "");
    instance.stop();
    // Both at once, and without a server.
    import(&instance, &["--prefix", "both", &tar(&a), &tar(&c)], 0);
    let report = import(&instance, &[&tar(&b)], 0);
    assert_eq!(report["left"], json!([]), "{report}");
    import(&instance, &["--prefix", "sparse", &tar(&d)], 0);
    instance.start();
    check_all(&machine, &instance, &c, "both/");
    check_all(&machine, &instance, &b, "");
    check_all(&machine, &instance, &d, "sparse/");
    let again = import(&instance, &["--prefix", "sparse", &tar(&d)], 0);
    assert_eq!((&again["read_blobs"], &again["moved"]), (&json!(0), &json!([])), "{again}");
    assert_eq!(stagings(&instance), 0);
}

#[test]
fn layouts_and_stores_of_other_tools_go_in_as_they_are() {
    let mut instance = Instance::started();
    let machine = Machine::of(&instance);
    let mut told: Vec<(String, Value)> = Vec::new();
    for (number, name) in [
        "crane-layout-annotated.tar",
        "crane-layout.tar",
        "distribution3-data.tar",
        "hauler-haul.tar.zst",
        "oc-adm-release-mirror-to-dir.tar",
        "oc-mirror-v2-mirror_000001.tar",
        "oras-backup-docker.tar",
        "oras-backup.tar",
        "podman-oci-archive.tar",
        "regctl-layout.tar",
        "skopeo-oci-archive.tar",
    ]
    .into_iter()
    .enumerate()
    {
        if number == 5 {
            instance.stop();
        }
        let prefix = format!("from{number}");
        let report = import(&instance, &["--prefix", &prefix, &path(name)], 0);
        assert!(report["images"].as_u64().expect("a number") > 0, "{name}: {report}");
        told.push((name.to_owned(), report));
    }
    instance.start();
    for (name, report) in &told {
        for moved in report["moved"].as_array().expect("a list") {
            let text = |field: &str| moved[field].as_str().expect("a text");
            check(&machine, &instance, text("image"), text("to"));
        }
        tell_moves(name, report);
    }
    for (image, digest) in [
        ("from0/synthetic/tiny-docker:1.0", DOCKER),
        ("from0/synthetic/tiny-oci:1.0", OCI),
        ("from2/synthetic/tiny-docker:1.0", DOCKER),
        ("from2/synthetic/tiny-oci:1.0", OCI),
        ("from3/synthetic/tiny-oci:1.0", OCI),
        ("from6/oras-backup-docker:1.0", DOCKER),
        ("from7/oras-backup:1.0", OCI),
        ("from9/regctl-layout:tiny-docker-1.0", DOCKER),
        ("from9/regctl-layout:tiny-oci-1.0", OCI),
        ("from10/synthetic/tiny-oci:1.0", OCI),
    ] {
        check(&machine, &instance, image, digest);
    }
    for digest in [DOCKER, OCI] {
        let name = format!("docker://{}/from1/crane-layout@{digest}", instance.address());
        assert_eq!(sha256(&machine.skopeo(&["inspect", "--raw", &name]).out), digest);
    }
}

fn tell_moves(name: &str, report: &Value) {
    let moved = report["moved"].as_array().expect("a list");
    let names: Vec<&str> = moved.iter().filter_map(|moved| moved["image"].as_str()).collect();
    crate::support::report::tell(&format!("{name}: {}", names.join(" ")));
}

#[test]
fn a_pipe_is_read_once_and_brings_the_same() {
    let mut instance = Instance::started();
    let machine = Machine::of(&instance);
    let piped = |instance: &Instance, name: &str, rest: &[&str]| -> Run {
        let input = fs::read(archive(name)).expect("an archive");
        let mut command = Command::new(program());
        command.args(["import", "--data-dir"]).arg(instance.data()).args(rest).arg("-");
        run_with_input(&mut command, &input)
    };
    let a = "oc-mirror-a-operators/mirror_000001.tar";
    let dry = piped(&instance, a, &["--dry-run", "--json"]);
    assert_eq!(dry.code(), Some(0), "{dry}");
    assert_eq!(stagings(&instance), 0);
    piped(&instance, a, &[]).ok();
    check_all(&machine, &instance, "oc-mirror-a-operators", "");
    instance.stop();
    piped(&instance, "hauler-haul.tar.zst", &[]).ok();
    let again = piped(&instance, a, &["--json"]);
    let report: Value = serde_json::from_slice(&again.out).expect("a report");
    assert_eq!((&report["read_blobs"], &report["moved"]), (&json!(0), &json!([])), "{report}");
    instance.start();
    check(&machine, &instance, "synthetic/tiny-oci:1.0", OCI);
    assert_eq!(stagings(&instance), 0);
}
