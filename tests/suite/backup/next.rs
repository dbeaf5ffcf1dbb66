//! What a restore says to type next: root types it, and others may have chosen what is in it.

use std::fs;
use std::process::Command;

use super::{backup, directory, restore};
use crate::support::binary::Instance;
use crate::support::process::run;

#[test]
fn a_shell_takes_what_the_settings_say_for_words_and_nothing_else() {
    let instance = Instance::started();
    backup(&instance, &[]).ok();
    let trap = instance.root().join("trap");
    let hostname = format!("a; touch {}", trap.display());
    let settings = format!(
        "hostname = [\"mirror.example.com:8443\", {hostname:?}, \"--open-pulls\"]\n\
         listen = [\"[::]:8443\"]\ninit-user = \"$(touch {})\"\nallow-network-fs = true\n",
        trap.display()
    );
    let etc = directory(&instance).join("etc/registry");
    fs::create_dir_all(&etc).expect("a directory");
    fs::write(etc.join("registry.toml"), settings).expect("the settings");
    let told = restore(&instance, "it's restored").ok();
    let next = told.lines().skip_while(|line| *line != "Next, type:").nth(1).expect("a command");
    let (_, words) = next.trim().split_once(' ').expect("a program");
    let mut shell = Command::new("sh");
    let said = run(shell.args(["-c", &format!("printf '%s\\n' {words}")])).ok();
    let data = instance.root().join("it's restored").canonicalize().expect("the data");
    let data = data.display().to_string();
    let user = format!("$(touch {})", trap.display());
    let expected = [
        "install",
        "--data-dir",
        &data,
        "--hostname",
        "mirror.example.com:8443",
        "--hostname",
        &hostname,
        "--hostname=--open-pulls",
        "--listen",
        "[::]:8443",
        "--init-user",
        &user,
        "--allow-network-fs",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected, "{next}");
    assert!(!trap.exists(), "something in it was run: {next}");
}
