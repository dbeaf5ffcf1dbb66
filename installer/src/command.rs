//! Running the host's own programs, the only way in which this program starts another.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::InstallError;
use crate::paths::PROGRAMS;

/// Runs a program of the host to its end and gives its standard output, without the last line
/// end. It reads nothing, and speaks English whatever the administrator's language is.
///
/// # Errors
/// [`InstallError::Command`] with its own words if it cannot be started or fails.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<String, InstallError> {
    let failed = |code: Option<i32>, message: String| InstallError::Command {
        line: [&[program], arguments].concat().join(" "),
        code,
        message,
    };
    let output = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", PROGRAMS.join(":"))
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        // Out of reach of the terminal's Ctrl-C: what undoes an installation must not end by it.
        .process_group(0)
        .output()
        .map_err(|error| failed(None, error.to_string()))?;
    let code = output.status.code();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    match (output.status.success(), text(&output.stderr)) {
        (true, _) => Ok(text(&output.stdout)),
        (false, words) if words.is_empty() => Err(failed(code, output.status.to_string())),
        (false, words) => Err(failed(code, words)),
    }
}

/// Whether the host has such a program.
pub(crate) fn exists(program: &str) -> bool {
    PROGRAMS.iter().any(|directory| Path::new(directory).join(program).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_gives_its_output_or_its_words() {
        assert_eq!(run("printf", &["a b\n"]), Ok("a b".to_owned()));
        let failed = run("sh", &["-c", "echo so >&2; exit 3"]);
        let (line, message) = ("sh -c echo so >&2; exit 3".to_owned(), "so".to_owned());
        assert_eq!(failed, Err(InstallError::Command { line, code: Some(3), message }));
        let Err(InstallError::Command { message, .. }) = run("false", &[]) else { panic!() };
        assert_eq!(message, "exit status: 1");
        assert!(run("no-such-program", &[]).is_err());
        assert!(exists("sh") && !exists("no-such-program"));
    }
}
