//! Asking systemd about a service, and telling it what to do with one.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::command::run;
use crate::error::InstallError;
use crate::file;
use crate::paths::{SYSTEMD, UNITS};

/// What systemd knows of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServiceState {
    /// The file that defines it, if one does.
    pub(crate) file: Option<PathBuf>,
    /// Whether it starts with the host.
    pub(crate) is_enabled: bool,
    /// Whether it runs, or is being started or stopped.
    pub(crate) is_active: bool,
    /// Whether the administrator has forbidden it.
    pub(crate) is_masked: bool,
    /// Whether the file was changed since systemd read it.
    pub(crate) is_outdated: bool,
}

/// Whether the host was booted with systemd, by systemd's own rule (`sd_booted(3)`).
pub(crate) fn is_there() -> bool {
    Path::new(SYSTEMD).is_dir()
}

/// Asks for the state of a service, which need not exist.
pub(crate) fn state(unit: &str) -> Result<ServiceState, InstallError> {
    let properties = "FragmentPath,LoadState,UnitFileState,ActiveState,NeedDaemonReload";
    run("systemctl", &["show", "--property", properties, unit]).map(|text| read_state(&text))
}

fn read_state(text: &str) -> ServiceState {
    let mut state = ServiceState::default();
    for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
        match key {
            "FragmentPath" if !value.is_empty() => state.file = Some(value.into()),
            "LoadState" => state.is_masked = value == "masked",
            "UnitFileState" => state.is_enabled = value == "enabled",
            "ActiveState" => state.is_active = !matches!(value, "inactive" | "failed"),
            "NeedDaemonReload" => state.is_outdated = value == "yes",
            _ => {}
        }
    }
    state
}

/// Lets systemd read its units again.
pub(crate) fn reload() -> Result<(), InstallError> {
    run("systemctl", &["daemon-reload"]).map(|_| ())
}

/// Lets a service start with the host, as its file says now and no longer as it said before.
pub(crate) fn enable(unit: &str) -> Result<(), InstallError> {
    run("systemctl", &["--quiet", "reenable", unit]).map(|_| ())
}

/// Undoes [`enable`]. systemd does not disable what has no file any more, so its links go by hand.
pub(crate) fn disable_if_there(unit: &str) -> Result<(), InstallError> {
    match state(unit)?.file {
        Some(_) => run("systemctl", &["--quiet", "disable", unit]).map(|_| ()),
        None => {
            for directory in file::entries(Path::new(UNITS))? {
                if directory.extension().is_some_and(|ending| ending == "wants") {
                    file::remove(&directory.join(unit))?;
                    file::remove_directory(&directory)?;
                }
            }
            Ok(())
        }
    }
}

/// Stops a service that runs, whether or not its file is still there.
pub(crate) fn stop_if_there(unit: &str) -> Result<(), InstallError> {
    let state = state(unit)?;
    if state.is_active || state.file.is_some() { stop(unit) } else { Ok(()) }
}

/// Starts a service, anew if it runs, and waits until it says that it is ready.
///
/// # Errors
/// [`InstallError::Service`] with what it logged meanwhile.
pub(crate) fn restart(unit: &str) -> Result<(), InstallError> {
    let began = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    run("systemctl", &["restart", unit]).map(|_| ()).map_err(|_| {
        let since = format!("--since=@{}", began.as_secs());
        let lines = format!("--lines={LOG_LINES}");
        let arguments = ["--no-pager", "--quiet", "--output=cat", &lines, &since, "--unit", unit];
        let log = run("journalctl", &arguments).unwrap_or_default();
        InstallError::Service {
            unit: unit.to_owned(),
            log: log.lines().map(str::to_owned).collect(),
        }
    })
}

/// Stops a service and waits for its end; systemd forgets that it ever failed.
pub(crate) fn stop(unit: &str) -> Result<(), InstallError> {
    run("systemctl", &["stop", unit])?;
    // It fails when there is nothing to forget.
    let _ = run("systemctl", &["reset-failed", unit]);
    Ok(())
}

/// How much of a service's log is shown.
const LOG_LINES: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read() {
        let text = "FragmentPath=/etc/systemd/system/a.service\nLoadState=loaded\n\
                    UnitFileState=enabled\nActiveState=activating\nNeedDaemonReload=yes";
        let state = read_state(text);
        assert_eq!(state.file, Some("/etc/systemd/system/a.service".into()));
        assert!(state.is_enabled && state.is_active && state.is_outdated && !state.is_masked);
        let text = "FragmentPath=\nLoadState=not-found\nUnitFileState=\nActiveState=inactive\n\
                    NeedDaemonReload=no";
        assert_eq!(read_state(text), ServiceState::default());
        assert!(read_state("LoadState=masked").is_masked);
    }
}
