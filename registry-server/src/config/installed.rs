//! What the settings of the registry that is installed on this host say, for its commands.

use std::path::{Path, PathBuf};

use installer::paths::{CONFIG_FILE, DEFAULT_DATA_DIR};

use super::{ConfigError, Settings, Upkeep};

/// The data directory of the registry that is installed on this host, as the settings in `file`
/// name it; the default one where there is no such file.
///
/// # Errors
/// [`ConfigError::Unreadable`] and [`ConfigError::Invalid`]: no other registry is guessed.
pub fn installed_data_dir(file: &Path) -> Result<PathBuf, ConfigError> {
    // Only a file that is certainly absent is; one in a directory that cannot be read is not.
    let named = match file.try_exists() {
        Ok(false) => None,
        _ => Settings::read(file)?.data_dir,
    };
    Ok(named.unwrap_or_else(|| DEFAULT_DATA_DIR.into()))
}

/// Whether this is the data directory of the registry that is installed on this host.
pub fn is_installed(data: &Path) -> bool {
    let config = Path::new(CONFIG_FILE);
    let installed = installed_data_dir(config).ok().filter(|_| config.exists());
    installed.is_some_and(|installed| installed.canonicalize().unwrap_or(installed) == data)
}

/// What the settings in `file` say about the upkeep of the data in `data_dir`; the defaults where
/// they are about another registry, or there are none.
///
/// # Errors
/// [`ConfigError::Unreadable`] and [`ConfigError::Invalid`]: nothing is thrown away by a guess.
pub fn installed_upkeep(file: &Path, data_dir: &Path) -> Result<Upkeep, ConfigError> {
    installed_settings(file, data_dir).map(|settings| settings.upkeep())
}

/// What the settings in `file` say, if they are about the data in `data_dir`; none else.
///
/// # Errors
/// [`ConfigError::Unreadable`] and [`ConfigError::Invalid`].
pub fn installed_settings(file: &Path, data_dir: &Path) -> Result<Settings, ConfigError> {
    if matches!(file.try_exists(), Ok(false)) {
        return Ok(Settings::default());
    }
    let settings = Settings::read(file)?;
    let installed = settings.data_dir.as_deref().unwrap_or(Path::new(DEFAULT_DATA_DIR));
    let is_same = match (installed.canonicalize(), data_dir.canonicalize()) {
        (Ok(installed), Ok(data_dir)) => installed == data_dir,
        _ => installed == data_dir,
    };
    Ok(if is_same { settings } else { Settings::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_installed_data_directory_is_the_one_that_the_file_names() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("registry.toml");
        let of_file = |text: &str| {
            std::fs::write(&file, text).unwrap();
            installed_data_dir(&file)
        };
        assert_eq!(installed_data_dir(&file), Ok(DEFAULT_DATA_DIR.into()));
        assert_eq!(of_file("data-dir = '/srv/registry'"), Ok("/srv/registry".into()));
        assert_eq!(of_file("open-pulls = true"), Ok(DEFAULT_DATA_DIR.into()));
        let invalid = of_file("data-dri = '/srv'");
        assert!(matches!(&invalid, Err(ConfigError::Invalid { path, .. }) if *path == file));
        // A directory cannot be read as a file, by root neither.
        let unreadable = installed_data_dir(directory.path()).unwrap_err();
        assert!(matches!(&unreadable, ConfigError::Unreadable { .. }), "{unreadable}");
        assert!(unreadable.to_string().contains(directory.path().to_str().unwrap()));
    }
}
