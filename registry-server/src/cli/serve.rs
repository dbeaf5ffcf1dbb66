//! `registry serve`.

use crate::config::Config;
use crate::server::{FirstStart, serve};
use crate::text::{self, Lines, print};

/// Runs the server until SIGTERM or SIGINT; a second signal ends it at once.
pub(super) fn run(config: &Config) -> anyhow::Result<()> {
    serve(config, &|first, address| {
        let mut lines = first.map(|first| welcome(first, address)).unwrap_or_default();
        lines.line(format_args!("listening on {address}"));
        print(&lines)
    })
}

/// What a person needs to know after the first start. The password itself is shown to nobody but
/// a person: output that goes to a file or a log is read by more people than asked for it.
fn welcome(first: &FirstStart, address: &str) -> Lines {
    let host = address.trim_start_matches("https://");
    let mut lines = Lines::default();
    if let Some(ca) = &first.ca {
        let ca = ca.display();
        lines.line(format_args!("The registry's CA is in {ca}; clients must trust it."));
    }
    let file = first.password_file.display();
    match &first.password {
        Some(password) if text::is_read_here() => {
            let password = String::from_utf8_lossy(password.as_bytes());
            lines.line(format_args!("The user {} has the password {password}", first.user));
            lines.line(format_args!("(it is also in {file})."));
        }
        Some(_) => {
            lines.line(format_args!("The password of the user {} is in {file}.", first.user));
        }
        None => lines.line(format_args!("The user {} has the password you chose.", first.user)),
    }
    lines.line(format_args!("Log in with: podman login -u {} {host}", first.user));
    lines
}
