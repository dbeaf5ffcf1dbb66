//! The settings of `serve`: flags, a configuration file with the same names, and defaults.
//!
//! A flag wins over the file, the file over the default. Names in the file that are not settings
//! are refused, because a setting that is misspelt and ignored is found at night.

use std::path::PathBuf;

use certs::ServerName;
use storage::{UserName, UserNameError};
use thiserror::Error;

use crate::limits::{GC_GRACE_MIN_TIME, UPKEEP_MIN_INTERVAL};

mod duration;
mod installed;
mod settings;
mod upkeep;

pub use installer::paths::CONFIG_FILE;

pub use duration::ConfigDuration;
pub use installed::{installed_data_dir, installed_settings, installed_upkeep, is_installed};
pub use settings::Settings;
pub use upkeep::Upkeep;

use settings::DEFAULT_USER;

/// Settings that are checked. What means more than its text is here as what it means; all else is
/// read in the settings themselves.
#[derive(Clone, Debug)]
pub struct Config {
    /// The settings.
    pub settings: Settings,
    /// The directory of everything.
    pub data_dir: PathBuf,
    /// The names that were asked for.
    pub hostnames: Vec<ServerName>,
    /// The first user.
    pub init_user: UserName,
    /// The administrator's own certificate and its key.
    pub own_certificate: Option<(PathBuf, PathBuf)>,
    /// What is done to the store now and then.
    pub upkeep: Upkeep,
}

impl Config {
    /// Whether a store must be there already.
    pub fn must_exist(&self) -> bool {
        self.settings.existing == Some(true)
    }

    /// Whether the store may lie behind a network or another program.
    pub fn may_be_on_network(&self) -> bool {
        self.settings.allow_network_fs == Some(true)
    }
}

/// Why settings cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {message}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        message: String,
    },
    /// The file is not TOML, or holds what is no setting.
    #[error("{} is not a valid configuration: {message}", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// There is no data directory.
    #[error("say where the registry keeps its data, with --data-dir DIR")]
    NoDataDir,
    /// A host name does not parse.
    #[error("--hostname {text}: {error}")]
    Hostname {
        /// What was given.
        text: String,
        /// Why it is no name.
        error: certs::NameError,
    },
    /// The first user's name does not parse.
    #[error("--init-user: {0}")]
    InitUser(UserNameError),
    /// Collection on a schedule would take what clients are pushing.
    #[error(
        "--gc-grace must be {} or more: a push is several requests. `registry gc --grace` takes \
         less, for one run",
        ConfigDuration(GC_GRACE_MIN_TIME)
    )]
    ShortGrace,
    /// A task of upkeep would never end.
    #[error("--{flag} must be {} or more, or 0s for never", ConfigDuration(UPKEEP_MIN_INTERVAL))]
    ShortInterval {
        /// The setting.
        flag: &'static str,
    },
    /// One of certificate and key without the other.
    #[error("--tls-cert and --tls-key go together: give both or neither")]
    HalfCertificate,
}

impl Settings {
    /// Checks the settings.
    ///
    /// # Errors
    /// Every [`ConfigError`] but those of reading.
    pub fn check(self) -> Result<Config, ConfigError> {
        let upkeep = self.upkeep();
        if upkeep.keep.grace < GC_GRACE_MIN_TIME {
            return Err(ConfigError::ShortGrace);
        }
        let intervals =
            [("gc-interval", upkeep.gc_interval), ("scrub-interval", upkeep.scrub_interval)];
        for (flag, interval) in intervals {
            if interval.is_some_and(|interval| interval < UPKEEP_MIN_INTERVAL) {
                return Err(ConfigError::ShortInterval { flag });
            }
        }
        let hostname = |text: &String| match ServerName::from_host_port(text) {
            Ok((name, _)) => Ok(name),
            Err(error) => Err(ConfigError::Hostname { text: text.clone(), error }),
        };
        let own_certificate = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            _ => return Err(ConfigError::HalfCertificate),
        };
        let init_user = self.init_user.as_deref().unwrap_or(DEFAULT_USER).parse();
        Ok(Config {
            data_dir: self.data_dir.clone().ok_or(ConfigError::NoDataDir)?,
            hostnames: self.hostname.iter().map(hostname).collect::<Result<_, _>>()?,
            init_user: init_user.map_err(ConfigError::InitUser)?,
            own_certificate,
            upkeep,
            settings: self,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bad_setting_has_its_error() {
        let of = |settings: Settings| settings.check().map(|_| ()).unwrap_err();
        assert_eq!(of(Settings::default()), ConfigError::NoDataDir);
        let good = Settings { data_dir: Some("/a".into()), ..Settings::default() };
        let half = Settings { tls_cert: Some("/c".into()), ..good.clone() };
        assert_eq!(of(half), ConfigError::HalfCertificate);
        let user = Settings { init_user: Some("a:b".into()), ..good.clone() };
        assert_eq!(of(user), ConfigError::InitUser(UserNameError));
        let host = Settings { hostname: vec!["*.example".into()], ..good };
        assert!(matches!(of(host), ConfigError::Hostname { .. }));
    }
}
