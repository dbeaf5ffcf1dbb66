//! What a start finds or makes in the data directory before it serves: the store, the
//! certificates, the first user.
//!
//! A server and [`initialize`] share all of it. Nothing here needs a runtime or another thread but
//! the one that the store makes, which runs as whoever makes it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, anyhow};
use certs::{CertError, Change, Ensured, RootKey, ServerCertificate, ServerName, TlsFile};
use durable::{Access, write_whole};
use storage::{LockHolder, OnHeld, OpenOptions, Role, Store, UserName};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::{info, warn};

use super::Renewal;
use crate::auth::password::{Password, PasswordError};
use crate::auth::written;
use crate::config::Config;
use crate::control::open_options;
use crate::limits::Limits;

/// What [`initialize`] found and made.
pub struct Initialized {
    /// What a first start has to tell; none if the registry was there.
    pub first_start: Option<FirstStart>,
    /// The certificates that were made, in order.
    pub changes: Vec<Change>,
}

/// Makes everything that a first start makes, without listening: the store, the certificates and
/// the first user. Of a registry that is there it keeps everything, and renews what is due.
///
/// A directory without a store becomes one whatever `existing` says. Run it as the owner of the
/// data directory: everything in there belongs to whoever runs it.
///
/// # Errors
/// Every one names the next step. A running owner of the store is one, and is named.
pub fn initialize(
    config: &Config,
    given: OutsideFiles,
    root_key: RootKey<'_>,
) -> anyhow::Result<Initialized> {
    let limits = Limits::default();
    let store = open_store(config, true, &limits, &|_| OnHeld::GiveUp)?;
    let prepared = prepare(config, given, root_key, &store)?;
    Ok(Initialized { first_start: prepared.first_start, changes: prepared.changes })
}

/// What a start takes from outside the data directory. It is read before the process becomes the
/// owner of that directory, who may not be able to read it.
pub struct OutsideFiles {
    /// The first user's password, which counts only on a first start: the file may be gone later.
    init_password: Option<anyhow::Result<Password>>,
    /// The administrator's own certificate.
    certificate: Option<ServerCertificate>,
}

impl OutsideFiles {
    /// Reads what the settings name.
    ///
    /// # Errors
    /// A certificate that cannot be used, with what is wrong with it.
    pub fn read(config: &Config) -> anyhow::Result<Self> {
        let certificate = match &config.own_certificate {
            Some((certificate, key)) => {
                Some(certs::load_own(certificate, key, &config.hostnames, SystemTime::now())?)
            }
            None => None,
        };
        let init_password = config.settings.init_password_file.as_deref().map(read_password);
        Ok(Self { init_password, certificate })
    }
}

impl OutsideFiles {
    /// What to say of the settings and of what they name: clients will refuse some of it, though
    /// the server can serve it. A sentence each.
    pub fn warnings(&self, config: &Config) -> Vec<String> {
        let mut warnings = unfit_names(config);
        let issuer = self.certificate.as_ref().and_then(ServerCertificate::missing_issuer);
        if let (Some(issuer), Some((file, _))) = (issuer, &config.own_certificate) {
            warnings.push(format!(
                "{} holds the server's certificate and not that of its issuer ({}): clients that \
                 know only a root above that issuer will refuse it. Unless the issuer itself is \
                 what clients trust, put its certificate behind the server's in that file, and so \
                 on towards the root",
                file.display(),
                issuer
            ));
        }
        warnings
    }
}

/// What to say of host names that clients will refuse. A sentence each.
pub(crate) fn unfit_names(config: &Config) -> Vec<String> {
    config.hostnames.iter().filter(|name| !name.fits_image_names()).map(unfit_name).collect()
}

fn unfit_name(name: &ServerName) -> String {
    let why = match name.address() {
        Some(_) => "it is an IPv6 address",
        None => "there is an underscore in it",
    };
    format!(
        "podman, skopeo and oc refuse image names that begin with {name}, because {why}: give \
         clients a name of letters, digits and hyphens, or an IPv4 address, with one more \
         --hostname"
    )
}

/// The password that a file holds, which somebody chooses for this user.
pub(crate) fn choose_password(path: &Path, user: &UserName) -> anyhow::Result<Password> {
    password_in(path, |line| Password::chosen(line, user))
}

/// The password that a file holds, which is in use, or is not judged yet.
pub(crate) fn read_password(path: &Path) -> anyhow::Result<Password> {
    password_in(path, Password::new)
}

fn password_in(
    path: &Path,
    accept: impl FnOnce(&[u8]) -> Result<Password, PasswordError>,
) -> anyhow::Result<Password> {
    let mut content = Vec::new();
    File::open(path)
        .and_then(|file| file.take(written::MOST_BYTES).read_to_end(&mut content))
        .with_context(|| format!("cannot read the password in {}", path.display()))?;
    let password = written::line(&content).and_then(accept);
    password.with_context(|| password_of(path))
}

fn password_of(path: &Path) -> String {
    format!("the password in {}", path.display())
}

/// What a first start made.
pub struct FirstStart {
    /// The first user.
    pub user: String,
    /// The password, if it was made up here.
    pub password: Option<Password>,
    /// The file that holds it.
    pub password_file: PathBuf,
    /// The certificate of the CA, if it was made here.
    pub ca: Option<PathBuf>,
}

/// Opens a store for a server, or for what stands in for one.
pub(super) fn open_store(
    config: &Config,
    may_create: bool,
    limits: &Limits,
    on_held: &dyn Fn(&LockHolder) -> OnHeld,
) -> anyhow::Result<Store> {
    let options = OpenOptions {
        allow_network_fs: config.may_be_on_network(),
        ..open_options(limits, may_create, on_held)
    };
    Ok(Store::open(&config.data_dir, &options)?)
}

/// What a start finds or makes in an open store.
pub(super) struct Prepared {
    pub(super) certificate: ServerCertificate,
    pub(super) renewal: Option<Renewal>,
    /// When the certificate expires, where it is not the one in the data directory.
    pub(super) certificate_expires: Option<SystemTime>,
    pub(super) first_start: Option<FirstStart>,
    changes: Vec<Change>,
}

/// Makes what is missing, and finishes a new store.
pub(super) fn prepare(
    config: &Config,
    given: OutsideFiles,
    root_key: RootKey<'_>,
    store: &Store,
) -> anyhow::Result<Prepared> {
    store.forget_backup()?;
    given.warnings(config).iter().for_each(|warning| warn!("{warning}"));
    let is_own = given.certificate.is_some();
    let (certificate, renewal, changes) = match given.certificate {
        Some(own) => (own, None, Vec::new()),
        None => {
            let (made, renewal) = certificate(config, root_key, store)?;
            (made.certificate, Some(renewal), made.changes)
        }
    };
    // What lies in the directory is another one.
    let is_elsewhere = is_own || store.is_read_only();
    let certificate_expires = is_elsewhere.then(|| certificate.validity().not_after());
    let first_start = match store.is_new() {
        true => Some(first_start(config, given.init_password, store)?),
        false => None,
    };
    store.finish_creation()?;
    Ok(Prepared { certificate, renewal, certificate_expires, first_start, changes })
}

/// Our certificate, and what is needed to renew it.
fn certificate(
    config: &Config,
    root_key: RootKey<'_>,
    store: &Store,
) -> anyhow::Result<(Ensured, Renewal)> {
    let now = SystemTime::now();
    let mut renewal = Renewal { directory: store.layout().tls(), names: names(config) };
    let is_read_only = store.is_read_only();
    let ensure = |renewal: &Renewal| match is_read_only {
        true => certs::ensure_in_memory(&renewal.directory, root_key, &renewal.names, now),
        false => certs::ensure(&renewal.directory, root_key, &renewal.names, now),
    };
    let ensured = match ensure(&renewal) {
        // The host was given another name and the root's key is away: what was asked for counts.
        Err(CertError::NamesNotPermitted { names, .. })
            if !names.iter().any(|name| config.hostnames.contains(name)) =>
        {
            warn!(?names, "the certificate does not name what this host is called now");
            renewal.names.retain(|name| !names.contains(name));
            ensure(&renewal)
        }
        ensured => ensured,
    };
    let ensured = match ensured {
        Err(cause) if is_read_only => as_it_is(&renewal, &cause, root_key, now)?,
        ensured => ensured.map_err(|error| explained(error, root_key))?,
    };
    for change in &ensured.changes {
        match is_read_only {
            true => warn!("{change}; the disk is read-only, so it is kept in memory"),
            false if !store.is_new() => info!("{change}"),
            false => {}
        }
    }
    Ok((ensured, renewal))
}

/// The certificate that is there, where none can be made, not even in memory. Clients that check it
/// may refuse it; but those that do not go on, commands find a server, and its log says what is
/// wrong, which a start that fails again and again would bury.
fn as_it_is(
    renewal: &Renewal,
    cause: &CertError,
    root_key: RootKey<'_>,
    now: SystemTime,
) -> anyhow::Result<Ensured> {
    let file = |file: TlsFile| renewal.directory.join(file.name());
    let path = file(TlsFile::ServerCertificate);
    let there = certs::load_unchecked(&path, &file(TlsFile::ServerKey));
    let certificate = there.map_err(|_| explained(cause.clone(), root_key))?;
    let ends = OffsetDateTime::from(certificate.validity().not_after());
    let ends = ends.format(&Rfc3339).unwrap_or_default();
    let path = path.display();
    match certificate.validity().not_after() < now {
        true => warn!(
            %cause,
            "the certificate in {path} ended on {ends}, and clients that check it refuse to \
             connect; none can be made on a disk that is read-only: mend the disk, mount it \
             writable and start the registry again, or give it a certificate of your own with \
             --tls-cert and --tls-key"
        ),
        false => warn!(
            %cause,
            "the certificate in {path}, which ends on {ends}, cannot be renewed on a disk that is \
             read-only"
        ),
    }
    Ok(Ensured { certificate, changes: Vec::new() })
}

/// Says what else to do about a failure when the root's key may be kept where only the command
/// that put it there looks for it.
pub(super) fn explained(error: CertError, root_key: RootKey<'_>) -> anyhow::Error {
    match root_key {
        RootKey::InDirectory if error.takes_root_key() => anyhow!(
            "{error}. Where `registry install` set this registry up, run `registry install \
             --hostname NAME` again as root instead of starting the server: it has the root's key"
        ),
        _ => error.into(),
    }
}

/// Every name the certificate is for: those asked for first, since the CA is called after the
/// first; then those of the host, as far as a certificate can carry them.
pub(super) fn names(config: &Config) -> Vec<ServerName> {
    let mut names = config.hostnames.clone();
    let own = installer::own_names().into_iter();
    let always = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    for name in own.chain(always).filter_map(|name| name.parse::<ServerName>().ok()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Makes the first user.
///
/// Crash argument: the password is in its file before the user exists, and the store is finished
/// after both; a start after a crash in between does it again with a new password, before anybody
/// was told the old one.
fn first_start(
    config: &Config,
    given: Option<anyhow::Result<Password>>,
    store: &Store,
) -> anyhow::Result<FirstStart> {
    let password_file = store.layout().init_password();
    // A start that was cut short told nobody of what it made.
    for user in store.users()? {
        store.remove_user(&user.name)?;
    }
    let _ = std::fs::remove_file(&password_file);
    let made_up = given.is_none();
    let password = match given {
        Some(password) => {
            let password = password?;
            let file = config.settings.init_password_file.as_deref().unwrap_or(Path::new(""));
            password.judge(&config.init_user).with_context(|| password_of(file))?;
            password
        }
        None => {
            let password = Password::made_up(&config.init_user)?;
            let mut line = password.as_bytes().to_vec();
            line.push(b'\n');
            write_whole(&password_file, &mut &line[..], Access::PRIVATE)?;
            password
        }
    };
    let password_hash = password.hash()?;
    let (name, role) = (config.init_user.clone(), Role::Administrator);
    store.add_user(name, role, password_hash)?;
    Ok(FirstStart {
        user: config.init_user.to_string(),
        password: made_up.then_some(password),
        password_file,
        ca: config.own_certificate.is_none().then(|| ca_path(store)),
    })
}

fn ca_path(store: &Store) -> PathBuf {
    store.layout().tls().join(TlsFile::RootCertificate.name())
}
