//! What an installation is to become: the flags, over what is installed, over the defaults.

use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail};
use certs::{ServerName, TlsFile};
use installer::paths::{CONFIG_FILE, DEFAULT_DATA_DIR, EMPTIED, OWN_CERTIFICATE, OWN_KEY, SYSTEM};
use storage::Layout;

use crate::config::{Config, Settings};

/// What the host is to become, complete and checked as far as that goes without the host.
pub(crate) struct InstallSpec {
    /// The settings as the service is to read them.
    pub(crate) settings: Settings,
    /// The settings with what the administrator named: files are where they are now.
    pub(crate) config: Config,
    /// What the service's configuration file says now, if there is one.
    pub(crate) installed: Option<ServiceConfig>,
    /// What clients put before a name: a host name and the port.
    pub(crate) address: String,
}

/// The configuration of the service that is installed.
pub(crate) struct ServiceConfig {
    /// The file's text.
    pub(crate) text: String,
    /// What it says.
    pub(crate) settings: Settings,
}

impl InstallSpec {
    /// Puts flags and what is installed together.
    ///
    /// # Errors
    /// Settings that cannot be used, each with what to give instead.
    pub(crate) fn new(asked: Settings) -> anyhow::Result<Self> {
        let installed = ServiceConfig::read(Path::new(CONFIG_FILE))?;
        let below = installed.as_ref().map(|installed| installed.settings.clone());
        let mut settings = merge(asked, below.unwrap_or_default());
        let data_dir = data_dir(settings.data_dir.take())?;
        settings.data_mount = data_mount(&data_dir, installed.as_ref());
        settings.data_dir = Some(data_dir);
        settings.existing = Some(true);
        if settings.hostname.is_empty() {
            settings.hostname = vec![own_name()?];
        }
        let settings = settings.with_defaults();
        let config = settings.clone().check()?;
        let address = address(&settings, &config)?;
        let settings = for_the_service(settings);
        Ok(Self { settings, config, installed, address })
    }

    /// The text of the service's configuration file. A file that says the same in other words
    /// stays as it is.
    pub(crate) fn text(&self) -> anyhow::Result<String> {
        match &self.installed {
            Some(installed) if installed.settings == self.settings => Ok(installed.text.clone()),
            _ => Ok(HEAD.to_owned() + &toml::to_string(&self.settings)?),
        }
    }

    /// The root CA that clients must trust, unless the certificate is the administrator's own.
    pub(crate) fn ca(&self) -> Option<PathBuf> {
        let is_ours = self.config.own_certificate.is_none();
        let tls = Layout::new(&self.config.data_dir).tls();
        is_ours.then(|| tls.join(TlsFile::RootCertificate.name()))
    }

    /// Whether the server's certificate that is there is for every name that is wanted.
    pub(crate) fn has_certificate(&self) -> bool {
        let tls = Layout::new(&self.config.data_dir).tls();
        let file = |file: TlsFile| tls.join(file.name());
        let (certificate, key) = (file(TlsFile::ServerCertificate), file(TlsFile::ServerKey));
        let (names, now) = (&self.config.hostnames, SystemTime::now());
        let is_file =
            |path: &Path| std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
        let is_there = || {
            // A pipe would be waited for.
            is_file(&certificate)
                && is_file(&key)
                && certs::load_own(&certificate, &key, names, now).is_ok()
        };
        self.config.own_certificate.is_some()
            || installer::as_owner_of(&self.config.data_dir, is_there).unwrap_or(false)
    }
}

impl ServiceConfig {
    fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let settings = Settings::read(path)?;
        let text = std::fs::read_to_string(path)?;
        Ok(Some(Self { text, settings }))
    }
}

/// The flags over what is installed. A port that comes with a host name counts as one that was
/// asked for, though it is no flag of its own; and a flag for the port takes it from the names that
/// were installed with one.
fn merge(asked: Settings, mut installed: Settings) -> Settings {
    let names_port = |text: &String| matches!(ServerName::from_host_port(text), Ok((_, Some(_))));
    if asked.listen.is_empty() && asked.hostname.iter().any(names_port) {
        installed.listen.clear();
    }
    if !asked.listen.is_empty() && asked.hostname.is_empty() {
        let without_port =
            |text: &String| Some(ServerName::from_host_port(text).ok()?.0.to_string());
        let names = installed.hostname.iter();
        installed.hostname = names.map(|text| without_port(text).unwrap_or(text.clone())).collect();
    }
    asked.over(installed)
}

/// Where the data go: an absolute path that systemd can carry and that nobody empties.
fn data_dir(asked: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let path = asked.unwrap_or_else(|| DEFAULT_DATA_DIR.into());
    let path = std::path::absolute(&path).with_context(|| path.display().to_string())?;
    // Where links lead now, since neither systemd nor the owner of DATA follows them later.
    let there = path.ancestors().find(|above| above.exists()).unwrap_or(Path::new("/"));
    let real = there.canonicalize().with_context(|| there.display().to_string())?;
    let path = match path.strip_prefix(there)? {
        rest if rest.as_os_str().is_empty() => real,
        rest => real.join(rest),
    };
    if path.components().any(|part| part == Component::ParentDir) {
        bail!("--data-dir {}: give the path without `..`", path.display());
    }
    // A colon ends a path in some of systemd's settings.
    if !path.to_str().is_some_and(|text| installer::can_carry(text) && !text.contains(':')) {
        bail!("--data-dir {path:?}: systemd cannot carry these characters, choose another name");
    }
    let is_in =
        |places: &[&'static str]| places.iter().copied().find(|place| path.starts_with(place));
    if let Some(place) = is_in(&EMPTIED) {
        bail!(
            "--data-dir {}: what lies in {place} does not last, choose another directory",
            path.display()
        );
    }
    if let Some(place) = is_in(&SYSTEM) {
        bail!("--data-dir {}: {place} is the system's, choose another directory", path.display());
    }
    Ok(path)
}

/// Where the file system of the data is mounted: where it was when they were installed, unless they
/// are seen to be there.
fn data_mount(data: &Path, installed: Option<&ServiceConfig>) -> Option<PathBuf> {
    let old = installed.map(|installed| &installed.settings);
    let old = old.filter(|old| old.data_dir.as_deref() == Some(data));
    match Layout::new(data).exists() {
        Ok(true) => Some(installer::mount_point(data)),
        _ => old.and_then(|old| old.data_mount.clone()).or(Some(installer::mount_point(data))),
    }
}

/// The name of this host that clients are most likely to use: the longest, which is the full one.
fn own_name() -> anyhow::Result<String> {
    let names = installer::own_names().into_iter();
    let usable = names.filter(|name| name != "localhost" && name.parse::<ServerName>().is_ok());
    usable.max_by_key(|name| (name.contains('.'), name.len())).context(
        "this host has no name but localhost: say with --hostname NAME by which name or address \
         clients reach it",
    )
}

/// The first host name that image names can begin with, or else the first, and its port: the one it
/// was given with, or the one that is listened on.
fn address(settings: &Settings, config: &Config) -> anyhow::Result<String> {
    let names: Result<Vec<_>, _> =
        settings.hostname.iter().map(|text| ServerName::from_host_port(text)).collect();
    let names = names?;
    let fitting = names.iter().find(|(name, _)| name.fits_image_names());
    let (name, port) = fitting.or(names.first()).context("there is no host name")?;
    let listening = config.settings.listen.first().map(std::net::SocketAddr::port);
    let port = port.or(listening).context("there is no address to listen on")?;
    Ok(name.with_port(port))
}

/// The settings as the service reads them: the certificate is where the service sees it, and the
/// first password is no setting.
fn for_the_service(mut settings: Settings) -> Settings {
    settings.init_password_file = None;
    if settings.tls_cert.is_some() {
        settings.tls_cert = Some(OWN_CERTIFICATE.into());
        settings.tls_key = Some(OWN_KEY.into());
    }
    settings
}

/// What stands above the settings in the file.
const HEAD: &str = "\
# The settings of the registry, written by `registry install`. To change one, run
# `registry install` again with its flag, or edit this file and type
# `systemctl restart registry`.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(hostname: &str, listen: &[&str]) -> Settings {
        let listen = listen.iter().map(|text| text.parse().unwrap()).collect();
        Settings { hostname: vec![hostname.to_owned()], listen, ..Settings::default() }
    }

    #[test]
    fn a_port_given_with_a_name_wins_over_the_installed_one() {
        let installed = settings("a.example", &["[::]:8443"]);
        let merged = merge(settings("b.example:9443", &[]), installed.clone()).with_defaults();
        assert_eq!(merged.listen, ["[::]:9443".parse().unwrap()]);
        let merged = merge(settings("b.example", &[]), installed.clone()).with_defaults();
        assert_eq!(merged.listen, installed.listen);
        let merged = merge(settings("b.example:9443", &["127.0.0.1:1"]), installed);
        assert_eq!(merged.listen, ["127.0.0.1:1".parse().unwrap()]);
    }

    #[test]
    fn data_lie_where_they_last() {
        assert_eq!(data_dir(None).unwrap(), Path::new(DEFAULT_DATA_DIR));
        assert_eq!(data_dir(Some("/srv/a".into())).unwrap(), Path::new("/srv/a"));
        // Where the tests run may itself be a place that does not last.
        assert!(data_dir(Some("a".into())).map_or(true, |path| path.is_absolute()));
        let wrong = ["/tmp/a", "/var/tmp/b/c", "/run/a", "/srv/../etc", "/srv/a\nb", "/srv/a:b"];
        for wrong in wrong.into_iter().chain(["/etc/registry", "/usr/local/data"]) {
            assert!(data_dir(Some(wrong.into())).is_err(), "{wrong}");
        }
    }
}
