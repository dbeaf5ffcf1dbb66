//! The settings themselves: each is one field below, with its flag, its key in the file, its help
//! and its default. What a setting does is up to whoever reads it.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use certs::ServerName;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::duration::ConfigDuration;
use crate::logging::LogLevel;

/// Makes the type of the settings, and what goes through all of them.
macro_rules! settings {
    ($($(#[$attribute:meta])* pub $name:ident: $type:ty = $default:expr,)*) => {
        /// What stands in the file or was given as flags: everything may be missing.
        #[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
        pub struct Settings {
            $(
                $(#[$attribute])*
                #[serde(skip_serializing_if = "Setting::is_missing")]
                pub $name: $type,
            )*
        }

        impl Settings {
            /// These settings where they say something, else those of `below`.
            pub fn over(self, below: Self) -> Self {
                Self { $($name: self.$name.over(below.$name),)* }
            }

            /// What has a default.
            fn defaults() -> Self {
                Self { $($name: $default,)* }
            }
        }
    };
}

settings! {
    /// Directory of everything the registry keeps; made on the first start
    #[arg(long, alias = "quayRoot", value_name = "DIR")]
    pub data_dir: Option<PathBuf> = None,

    /// Where the file system is mounted that the data directory was made on, to name it when it is
    /// missing
    #[arg(long, value_name = "DIR")]
    pub data_mount: Option<PathBuf> = None,

    /// Address and port to listen on; may be repeated [default: `[::]:8443`, IPv4 too]
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Vec<SocketAddr> = vec![every_address(DEFAULT_PORT)],

    /// Name or address that clients use; may be repeated. The certificate also names this host,
    /// localhost, 127.0.0.1 and ::1
    #[arg(long, visible_alias = "quayHostname", value_name = "NAME")]
    pub hostname: Vec<String> = Vec::new(),

    /// Name of the first user, an administrator [default: init]
    #[arg(long, alias = "initUser", value_name = "USER")]
    pub init_user: Option<String> = Some(DEFAULT_USER.to_owned()),

    /// File that holds the first user's password; without it one is made up
    #[arg(long, value_name = "FILE")]
    pub init_password_file: Option<PathBuf> = None,

    /// Your own certificate, in PEM, followed by its chain
    #[arg(long, alias = "sslCert", value_name = "FILE")]
    pub tls_cert: Option<PathBuf> = None,

    /// The private key of your own certificate, in PEM
    #[arg(long, alias = "sslKey", value_name = "FILE")]
    pub tls_key: Option<PathBuf> = None,

    /// Let everybody pull without a login. oc and docker need one even so
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub open_pulls: Option<bool> = Some(false),

    /// Refuse a data directory that holds no registry instead of making one there
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub existing: Option<bool> = Some(false),

    /// Keep the data on NFS, CIFS or FUSE even so, where what is locked or synced may not be
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub allow_network_fs: Option<bool> = Some(false),

    /// How often what nothing needs any more is collected, such as 24h; 0s for never
    /// [default: 24h]
    #[arg(long, value_name = "TIME")]
    pub gc_interval: Option<ConfigDuration> = Some(ConfigDuration(DAY)),

    /// How long what was pushed, mounted or asked for is kept though nothing names it
    /// [default: 24h]
    #[arg(long, value_name = "TIME")]
    pub gc_grace: Option<ConfigDuration> = Some(ConfigDuration(DAY)),

    /// Collect manifests that had no tag for this long, such as 90d [default: they are kept, since
    /// clusters pull by digest]
    #[arg(long, value_name = "TIME")]
    pub gc_untagged_after: Option<ConfigDuration> = None,

    /// How long what was deleted can be restored [default: 7d]
    #[arg(long, value_name = "TIME")]
    pub undo_time: Option<ConfigDuration> = Some(ConfigDuration(7 * DAY)),

    /// How often every stored byte is read and checked; 0s for never [default: 30d]
    #[arg(long, value_name = "TIME")]
    pub scrub_interval: Option<ConfigDuration> = Some(ConfigDuration(30 * DAY)),

    /// How many MiB a second that check reads at most [default: 32]
    #[arg(long, value_name = "MIB")]
    pub scrub_rate: Option<NonZeroU32> = Some(SCRUB_RATE_MIB),

    /// How much to log, on standard error [default: info]
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub log_level: Option<LogLevel> = Some(LogLevel::default()),
}

/// The value of a setting, which may be missing.
trait Setting {
    fn is_missing(&self) -> bool;

    /// This one, or the other one where it is missing.
    fn over(self, below: Self) -> Self;
}

impl<T> Setting for Option<T> {
    fn is_missing(&self) -> bool {
        self.is_none()
    }

    fn over(self, below: Self) -> Self {
        self.or(below)
    }
}

impl<T> Setting for Vec<T> {
    fn is_missing(&self) -> bool {
        self.is_empty()
    }

    fn over(self, below: Self) -> Self {
        if self.is_empty() { below } else { self }
    }
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

    /// Fills in what has a default, so that printing shows the effective values. A port that comes
    /// with a host name, as mirror-registry takes it, is the default port.
    pub fn with_defaults(self) -> Self {
        let named = self.hostname.iter().find_map(|text| ServerName::from_host_port(text).ok()?.1);
        let mut defaults = Self::defaults();
        if let Some(port) = named {
            defaults.listen = vec![every_address(port)];
        }
        self.over(defaults)
    }
}

/// Every address of the host, IPv6 and IPv4.
fn every_address(port: u16) -> SocketAddr {
    SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port))
}

/// A day.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// The name that mirror-registry gives its first user.
pub(super) const DEFAULT_USER: &str = "init";
/// The port that mirror-registry listens on.
const DEFAULT_PORT: u16 = 8443;
/// How many MiB a second the scrub reads.
pub(super) const SCRUB_RATE_MIB: NonZeroU32 = NonZeroU32::MIN.saturating_add(31);

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
}
