//! The settings of `serve`: flags, a configuration file with the same names, and defaults.
//!
//! A flag wins over the file, the file over the default. Names in the file that are not settings
//! are refused, because a setting that is misspelt and ignored is found at night.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use certs::ServerName;
use clap::Args;
use serde::{Deserialize, Serialize};
use storage::{Keep, UserName, UserNameError};
use thiserror::Error;

use crate::limits::{GC_GRACE_MIN_TIME, Limits, TAG_HISTORY_TIME, UPKEEP_MIN_INTERVAL};
use crate::logging::LogLevel;

mod installed;
mod span;

pub use installer::paths::CONFIG_FILE;

pub use installed::{installed_data_dir, installed_settings, installed_upkeep, is_installed};
pub use span::Span;

/// What stands in the file or was given as flags: everything may be missing.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Directory of everything the registry keeps; made on the first start
    #[arg(long, alias = "quayRoot", value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,

    /// Where the file system is mounted that the data directory was made on, to name it when it is
    /// missing
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_mount: Option<PathBuf>,

    /// Address and port to listen on; may be repeated [default: `[::]:8443`, IPv4 too]
    #[arg(long, value_name = "ADDR:PORT")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listen: Vec<SocketAddr>,

    /// Name or address that clients use; may be repeated. The certificate also names this host,
    /// localhost, 127.0.0.1 and ::1
    #[arg(long, visible_alias = "quayHostname", value_name = "NAME")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostname: Vec<String>,

    /// Name of the first user, an administrator [default: init]
    #[arg(long, alias = "initUser", value_name = "USER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_user: Option<String>,

    /// File that holds the first user's password; without it one is made up
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_password_file: Option<PathBuf>,

    /// Your own certificate, in PEM, followed by its chain
    #[arg(long, alias = "sslCert", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,

    /// The private key of your own certificate, in PEM
    #[arg(long, alias = "sslKey", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,

    /// Let everybody pull without a login. oc and docker need one even so
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_pulls: Option<bool>,

    /// Refuse a data directory that holds no registry instead of making one there
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub existing: Option<bool>,

    /// Keep the data on NFS, CIFS or FUSE even so, where what is locked or synced may not be
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_network_fs: Option<bool>,

    /// How often what nothing needs any more is collected, such as 24h; 0s for never
    /// [default: 24h]
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gc_interval: Option<Span>,

    /// How long what was pushed, mounted or asked for is kept though nothing names it
    /// [default: 24h]
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gc_grace: Option<Span>,

    /// Collect manifests that had no tag for this long, such as 90d [default: they are kept, since
    /// clusters pull by digest]
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gc_untagged_after: Option<Span>,

    /// How long what was deleted can be restored [default: 7d]
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo_time: Option<Span>,

    /// How often every stored byte is read and checked; 0s for never [default: 30d]
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scrub_interval: Option<Span>,

    /// How many MiB a second that check reads at most [default: 32]
    #[arg(long, value_name = "MIB")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scrub_rate: Option<NonZeroU32>,

    /// How much to log, on standard error [default: info]
    #[arg(long, value_enum, value_name = "LEVEL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_level: Option<LogLevel>,
}

/// Settings that are complete and checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The directory of everything.
    pub data_dir: PathBuf,
    /// Where the file system is mounted that the directory was made on, if that is known.
    pub data_mount: Option<PathBuf>,
    /// Where to listen.
    pub listen: Vec<SocketAddr>,
    /// The names that were asked for.
    pub hostnames: Vec<ServerName>,
    /// The first user.
    pub init_user: UserName,
    /// The file with the first user's password.
    pub init_password_file: Option<PathBuf>,
    /// The administrator's own certificate and its key.
    pub own_certificate: Option<(PathBuf, PathBuf)>,
    /// Whether pulls need no login.
    pub open_pulls: bool,
    /// Whether a store must be there already.
    pub existing: bool,
    /// Whether the store may lie behind a network or another program.
    pub allow_network_fs: bool,
    /// What is done to the store now and then.
    pub upkeep: Upkeep,
    /// How much to log.
    pub log_level: LogLevel,
}

/// What is done to the store now and then, and how long what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upkeep {
    /// How often collection runs; never if there is none.
    pub gc_interval: Option<Duration>,
    /// What collection leaves.
    pub keep: Keep,
    /// How often every byte is read; never if there is none.
    pub scrub_interval: Option<Duration>,
    /// How many MiB a second that reads at most.
    pub scrub_rate_mib: NonZeroU32,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self {
            gc_interval: Some(DAY),
            keep: Keep {
                grace: DAY,
                untagged: None,
                listed_within: DAY,
                deleted: 7 * DAY,
                history: TAG_HISTORY_TIME,
                uploads: Limits::default().upload_idle_time,
            },
            scrub_interval: Some(30 * DAY),
            scrub_rate_mib: NonZeroU32::MIN.saturating_add(31),
        }
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
        Span(GC_GRACE_MIN_TIME)
    )]
    ShortGrace,
    /// A task of upkeep would never end.
    #[error("--{flag} must be {} or more, or 0s for never", Span(UPKEEP_MIN_INTERVAL))]
    ShortInterval {
        /// The setting.
        flag: &'static str,
    },
    /// One of certificate and key without the other.
    #[error("--tls-cert and --tls-key go together: give both or neither")]
    HalfCertificate,
}

impl Settings {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`] and [`ConfigError::Invalid`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
            path: path.to_owned(),
            message: error.to_string(),
        })?;
        Self::parse(&text, path)
    }

    /// Reads what a file says that holds this text.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`], which names the file.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| ConfigError::Invalid {
            path: path.to_owned(),
            message: error.to_string(),
        })
    }

    /// These settings where they say something, else those of `below`.
    pub fn over(self, below: Self) -> Self {
        let list = |own: Vec<_>, below| if own.is_empty() { below } else { own };
        Self {
            data_dir: self.data_dir.or(below.data_dir),
            data_mount: self.data_mount.or(below.data_mount),
            listen: if self.listen.is_empty() { below.listen } else { self.listen },
            hostname: list(self.hostname, below.hostname),
            init_user: self.init_user.or(below.init_user),
            init_password_file: self.init_password_file.or(below.init_password_file),
            tls_cert: self.tls_cert.or(below.tls_cert),
            tls_key: self.tls_key.or(below.tls_key),
            open_pulls: self.open_pulls.or(below.open_pulls),
            existing: self.existing.or(below.existing),
            allow_network_fs: self.allow_network_fs.or(below.allow_network_fs),
            gc_interval: self.gc_interval.or(below.gc_interval),
            gc_grace: self.gc_grace.or(below.gc_grace),
            gc_untagged_after: self.gc_untagged_after.or(below.gc_untagged_after),
            undo_time: self.undo_time.or(below.undo_time),
            scrub_interval: self.scrub_interval.or(below.scrub_interval),
            scrub_rate: self.scrub_rate.or(below.scrub_rate),
            log_level: self.log_level.or(below.log_level),
        }
    }

    /// Fills in what has a default, so that printing shows the effective values. A port that comes
    /// with a host name, as mirror-registry takes it, is the default port.
    pub fn with_defaults(self) -> Self {
        let named = self.hostname.iter().find_map(|text| ServerName::from_host_port(text).ok()?.1);
        let mut listen = default_listen();
        listen.set_port(named.unwrap_or(DEFAULT_PORT));
        let upkeep = Upkeep::default();
        let span = |time: Option<Duration>| Some(Span(time.unwrap_or_default()));
        let defaults = Self {
            gc_interval: span(upkeep.gc_interval),
            gc_grace: span(Some(upkeep.keep.grace)),
            undo_time: span(Some(upkeep.keep.deleted)),
            scrub_interval: span(upkeep.scrub_interval),
            scrub_rate: Some(upkeep.scrub_rate_mib),
            init_user: Some(DEFAULT_USER.to_owned()),
            listen: vec![listen],
            open_pulls: Some(false),
            existing: Some(false),
            allow_network_fs: Some(false),
            log_level: Some(LogLevel::default()),
            ..Self::default()
        };
        self.over(defaults)
    }

    /// What the settings say about upkeep.
    pub fn upkeep(&self) -> Upkeep {
        let default = Upkeep::default();
        let or = |span: Option<Span>, default| span.map_or(default, |Span(time)| time);
        let interval = |span: Option<Span>, default| match span {
            Some(Span(time)) => (!time.is_zero()).then_some(time),
            None => default,
        };
        Upkeep {
            gc_interval: interval(self.gc_interval, default.gc_interval),
            keep: Keep {
                grace: or(self.gc_grace, default.keep.grace),
                untagged: self.gc_untagged_after.map(|Span(time)| time),
                listed_within: or(self.gc_grace, default.keep.listed_within),
                deleted: or(self.undo_time, default.keep.deleted),
                history: or(self.undo_time, default.keep.history).max(default.keep.history),
                uploads: default.keep.uploads,
            },
            scrub_interval: interval(self.scrub_interval, default.scrub_interval),
            scrub_rate_mib: self.scrub_rate.unwrap_or(default.scrub_rate_mib),
        }
    }

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
        let hostname = |text: String| match ServerName::from_host_port(&text) {
            Ok((name, _)) => Ok(name),
            Err(error) => Err(ConfigError::Hostname { text, error }),
        };
        let own_certificate = match (self.tls_cert, self.tls_key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(ConfigError::HalfCertificate),
        };
        let init_user = self.init_user.as_deref().unwrap_or(DEFAULT_USER).parse();
        Ok(Config {
            data_dir: self.data_dir.ok_or(ConfigError::NoDataDir)?,
            data_mount: self.data_mount,
            listen: self.listen,
            hostnames: self.hostname.into_iter().map(hostname).collect::<Result<_, _>>()?,
            init_user: init_user.map_err(ConfigError::InitUser)?,
            init_password_file: self.init_password_file,
            own_certificate,
            open_pulls: self.open_pulls.unwrap_or(false),
            existing: self.existing.unwrap_or(false),
            allow_network_fs: self.allow_network_fs.unwrap_or(false),
            upkeep,
            log_level: self.log_level.unwrap_or_default(),
        })
    }
}

/// The default address: every address of the host, IPv6 and IPv4, on mirror-registry's port.
fn default_listen() -> SocketAddr {
    SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, DEFAULT_PORT))
}

/// A day.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// The name that mirror-registry gives its first user.
const DEFAULT_USER: &str = "init";
/// The port that mirror-registry listens on.
const DEFAULT_PORT: u16 = 8443;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let file = parse("data-dir = '/a'\nlisten = ['127.0.0.1:1']\nopen-pulls = true").unwrap();
        let flags = Settings { data_dir: Some("/b".into()), ..Settings::default() };
        let effective = flags.over(file).with_defaults();
        assert_eq!(effective.data_dir, Some("/b".into()));
        assert_eq!(effective.listen, ["127.0.0.1:1".parse().unwrap()]);
        assert_eq!(effective.open_pulls, Some(true));
        assert_eq!(effective.init_user.as_deref(), Some("init"));
    }

    #[test]
    fn the_port_of_a_host_name_is_the_default_port() {
        let settings =
            |hostname: &str| Settings { hostname: vec![hostname.into()], ..Settings::default() };
        assert_eq!(settings("a.example").with_defaults().listen[0].port(), DEFAULT_PORT);
        assert_eq!(settings("a.example:5000").with_defaults().listen[0].port(), 5000);
    }

    #[test]
    fn what_is_printed_can_be_read_back() {
        let settings =
            Settings { data_dir: Some("/a".into()), ..Settings::default() }.with_defaults();
        assert_eq!(parse(&toml::to_string(&settings).unwrap()).unwrap(), settings);
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = parse("data-dri = '/a'").unwrap_err().to_string();
        assert!(error.contains("data-dri"), "{error}");
    }

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
