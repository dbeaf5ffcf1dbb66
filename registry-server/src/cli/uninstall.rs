//! `registry uninstall`: the host without the registry, and with its data.

use std::io::{BufRead, stdin};
use std::path::Path;

use anyhow::bail;
use clap::Args;
use installer::paths::RECORD;
use installer::{InstallLock, Record, Removal};

use crate::text::{Lines, ask, note, print};

/// The flags of `uninstall`.
#[derive(Args)]
pub(super) struct UninstallArgs {
    /// Do not ask: for scripts
    #[arg(long, alias = "autoApprove")]
    yes: bool,
}

/// Removes what `install` made, after a question.
pub(super) fn run(args: &UninstallArgs) -> anyhow::Result<()> {
    installer::check_host()?;
    let _lock = InstallLock::take()?;
    let path = Path::new(RECORD);
    if Record::read(path)?.is_some_and(|record| record.is_unfinished()) {
        print(&Lines::of("An installation was cut short. What it did is undone; data stay."))?;
        confirm(args, "Undo it?")?;
        installer::recover(path)?;
    }
    let Some(record) = Record::read(path)? else {
        let nothing = format!("Nothing is installed on this host: there is no {RECORD}.");
        return Ok(print(&Lines::of(nothing))?);
    };
    let removal = Removal::of(&record);
    print(&Lines::of_own(&removal.to_string()))?;
    confirm(args, "Remove it?")?;
    let left = removal.run(path, &|made| note(&format!("removed   {made}")))?;
    let mut lines = Lines::of("Removed. This stays:");
    for kept in removal.keeps.iter().chain(&left) {
        lines.line(format_args!("  {kept}"));
    }
    Ok(print(&lines)?)
}

/// Asks, unless the flags answer already.
fn confirm(args: &UninstallArgs, question: &str) -> anyhow::Result<()> {
    if args.yes {
        return Ok(());
    }
    ask(&format!("{question} [y/n] "))?;
    if !is_yes(&mut stdin().lock())? {
        bail!("nothing was changed");
    }
    Ok(())
}

/// Whether the answer is yes. The end of the input is not.
fn is_yes(input: &mut impl BufRead) -> anyhow::Result<bool> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for (typed, expected) in
            [("y\n", true), ("YES\n", true), ("n\n", false), ("\n", false), ("", false)]
        {
            assert_eq!(is_yes(&mut typed.as_bytes()).unwrap(), expected, "{typed:?}");
        }
    }
}
