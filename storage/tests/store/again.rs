//! Running one test again in a process of its own, for what a whole process shares: its umask,
//! its mounts, its death.

use std::process::Command;

/// Set in the process that was started by the test itself.
const CHILD: &str = "STORE_TEST_CHILD";

/// What the parent handed over, in the child; `None` in the parent.
pub(crate) fn handed_over() -> Option<String> {
    std::env::var(CHILD).ok()
}

/// The command that runs the test `name` of this binary again, after `before`, a command that ends
/// with running its arguments.
pub(crate) fn command(before: &[&str], name: &str, handed_over: &str) -> Command {
    let binary = std::env::current_exe().unwrap();
    let mut words: Vec<&str> = before.to_vec();
    words.push(binary.to_str().unwrap());
    words.extend(["--exact", name, "--nocapture", "--test-threads=1"]);
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env(CHILD, handed_over);
    command
}

/// Runs the test again and fails with what it printed if it fails.
pub(crate) fn run(before: &[&str], name: &str, handed_over: &str) {
    let output = command(before, name, handed_over).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}\n{errors}");
    assert!(printed.contains("1 passed"), "the test {name} did not run: {printed}");
}
