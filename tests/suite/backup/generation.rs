//! Which registry may go on with a backup: the one that wrote it last, and no copy of that.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{arguments, backup, blob, check, directory, image, push, restore, summary};
use crate::support::binary::{Instance, program, registry};
use crate::support::clients::Curl;
use crate::support::images::sha256;
use crate::support::process::{Run, run};
use crate::support::report::tell;

#[test]
fn a_restored_registry_does_not_go_on_with_the_backup_it_came_from() {
    let instance = Instance::started();
    let curl = Curl::of(&instance);
    push(&curl, 0);
    backup(&instance, &[]).ok();
    let told = restore(&instance, "drill").ok();
    assert!(told.contains("needs --take-over"), "{told}");
    let drill = instance.root().join("drill");
    push(&curl, 1);
    backup(&instance, &[]).ok();
    let newer = blob(&directory(&instance), &sha256(&image(1).layer));
    assert!(newer.exists());
    let before = mark(&instance);

    let said = from(&drill, &directory(&instance), &[]).fails(1);
    let wrote = format!("the registry in {}", instance.data().display());
    for part in [&wrote, " wrote there last, on 20", "Choose another directory", "--take-over"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(newer.exists());
    assert_eq!(mark(&instance), before);
    backup(&instance, &[]).ok();
    // A directory of its own it may have, and go on with.
    let own = instance.root().join("own");
    from(&drill, &own, &[]).ok();
    from(&drill, &own, &[]).ok();

    // Whoever gives the other one up says so, and the other one is then refused.
    let told = from(&drill, &directory(&instance), &["--take-over", "--json"]).ok();
    assert_eq!(json(&told)["removed_blobs"], 2);
    from(&drill, &directory(&instance), &[]).ok();
    assert!(!newer.exists());
    backup(&instance, &[]).fails(1);
    backup(&instance, &["--take-over"]).ok();
    backup(&instance, &[]).ok();
    from(&drill, &directory(&instance), &[]).fails(1);
    assert!(newer.exists());
}

#[test]
fn a_backup_that_is_served_goes_on_with_none_of_those_it_was_copied_from() {
    let instance = Instance::started();
    push(&Curl::of(&instance), 0);
    for _ in 0..2 {
        backup(&instance, &[]).ok();
    }
    let copied = instance.root().join("copied");
    copy(&directory(&instance), &copied);
    let mut served = Instance::new().with_data(copied).with_flags(&["--existing"]);
    served.start();
    check(&Curl::of(&served), 0);
    from(served.data(), &directory(&instance), &[]).fails(1);
    backup(&instance, &[]).ok();
}

#[test]
fn of_two_copies_of_a_data_directory_the_first_goes_on() {
    let mut instance = Instance::started();
    push(&Curl::of(&instance), 0);
    backup(&instance, &[]).ok();
    instance.stop();
    let clone = instance.root().join("clone");
    copy(instance.data(), &clone);
    from(&clone, &directory(&instance), &[]).ok();
    for flags in [&[][..], &["--stopped"]] {
        let said = backup(&instance, flags).fails(1);
        assert!(said.contains(&format!("the registry in {}", clone.display())), "{said}");
    }
    instance.start();
    backup(&instance, &[]).fails(1);
    from(&clone, &directory(&instance), &[]).ok();
}

#[test]
fn directories_take_turns_and_a_copy_of_one_that_fell_behind_is_taken_over_as_another() {
    let instance = Instance::started();
    let curl = Curl::of(&instance);
    let (one, other) = (directory(&instance), instance.root().join("other"));
    for number in 0..2 {
        push(&curl, number);
        from(instance.data(), &one, &[]).ok();
        from(instance.data(), &other, &[]).ok();
    }
    let copied = instance.root().join("copied");
    copy(&one, &copied);
    for _ in 0..2 {
        from(instance.data(), &one, &[]).ok();
    }
    from(instance.data(), &copied, &[]).fails(1);
    from(instance.data(), &copied, &["--take-over"]).ok();
    for directory in [&one, &copied, &other] {
        from(instance.data(), directory, &[]).ok();
    }
}

#[test]
fn what_a_program_wrote_that_knew_no_generations_is_gone_on_with_but_not_by_what_is_restored() {
    let instance = Instance::started();
    push(&Curl::of(&instance), 0);
    backup(&instance, &[]).ok();
    let path = directory(&instance).join("backup.json");
    let mut older = mark(&instance);
    older.as_object_mut().expect("an object").remove("last");
    fs::write(&path, older.to_string()).expect("a mark");
    restore(&instance, "drill").ok();
    let drill = instance.root().join("drill");
    let said = from(&drill, &directory(&instance), &[]).fails(1);
    assert!(said.contains("another one made the backup that is there, on 20"), "{said}");
    assert_eq!(mark(&instance), older);
    backup(&instance, &[]).ok();
    assert_ne!(mark(&instance), older);
    backup(&instance, &[]).ok();
    from(&drill, &directory(&instance), &[]).fails(1);
}

#[test]
fn a_run_that_is_cut_short_at_any_sync_locks_nobody_out_and_lets_nobody_else_in() {
    let mut instance = Instance::started();
    push(&Curl::of(&instance), 0);
    backup(&instance, &[]).ok();
    instance.stop();
    let clone = instance.root().join("clone");
    copy(instance.data(), &clone);
    let begun_before = mark(&instance)["last"].clone();
    // Each thread counts for itself, so the side of the backup, whose thread is not the first to
    // sync anything, has a round of its own.
    let there = ["", "backup.new", "backup.json", "registry.db.new", "FORMAT"];
    let there = there.map(|name| directory(&instance).join(name).display().to_string());
    let there: Vec<&str> =
        there.iter().flat_map(|path| ["-P", path.trim_end_matches('/')]).collect();
    for paths in [&[][..], &there] {
        let mut killed = 0;
        for number in 1.. {
            let mut command = Command::new("strace");
            let kill = format!("inject=fsync,fdatasync,rename:signal=KILL:when={number}");
            command.args(["-f", "-qq", "-o", "/dev/null", "-e", &kill]).args(paths);
            command.arg(program()).args(arguments(&instance, &["--stopped"]));
            if run(&mut command).code() == Some(0) {
                break;
            }
            killed += 1;
            // Who knows only the run before does not know this one, once it wrote there.
            if mark(&instance)["last"] != begun_before {
                from(&clone, &directory(&instance), &["--stopped"]).fails(1);
            }
        }
        tell(&format!("cut short at {killed} of its calls"));
        assert!(killed > 5, "only {killed}");
    }
    backup(&instance, &[]).ok();
    restore(&instance, "restored").ok();
    instance.start();
    assert_eq!(summary(&instance, &[])["copied_blobs"], 0);
}

/// Backs up the registry in `data`.
fn from(data: &Path, directory: &Path, flags: &[&str]) -> Run {
    let words = ["backup", "--same-file-system", "--data-dir"].map(Into::into);
    let paths = [data, directory].map(|path| path.display().to_string());
    let flags = flags.iter().map(ToString::to_string);
    registry(&words.into_iter().chain(paths).chain(flags).collect::<Vec<String>>())
}

/// What stands in the backup's mark.
fn mark(instance: &Instance) -> Value {
    let path: PathBuf = directory(instance).join("backup.json");
    json(&fs::read_to_string(path).expect("the mark"))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to)).ok();
}
