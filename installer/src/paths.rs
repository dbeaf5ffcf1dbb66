//! Where everything is on a host on which `registry install` ran: every path outside of DATA that
//! is the registry's or is looked into for it, and the names that go with them. What lies inside
//! DATA is drawn by the store's layout.
//!
//! ```text
//! /usr/local/bin/registry                  the program
//! /etc/systemd/system/registry.service     the unit
//! /etc/registry/registry.toml              the settings
//! /etc/registry/pki/ca.key                 the root CA's key
//! /etc/registry/tls/server.crt server.key  the administrator's own certificate
//! /etc/registry/install.json               the record of what was installed
//! /var/lib/registry                        DATA, unless another place was chosen
//! /run/registry/                           the socket, where DATA takes none
//! /run/registry-install.lock               held while an installation changes the host
//! ```

/// The program: in everybody's path, and not the packages' part of it.
pub const PROGRAM: &str = "/usr/local/bin/registry";
/// The running program, whatever became of the name it was started by.
pub const RUNNING_PROGRAM: &str = "/proc/self/exe";

/// The service.
pub const UNIT: &str = "registry.service";
/// The file that defines the service.
pub const UNIT_FILE: &str = "/etc/systemd/system/registry.service";
/// Where systemd keeps the units of the host's administrator, and what is started with what.
pub(crate) const UNITS: &str = "/etc/systemd/system";
/// It is there if systemd booted the host (`sd_booted(3)`).
pub(crate) const SYSTEMD: &str = "/run/systemd/system";

/// The user that the service runs as.
pub const USER: &str = "registry";
/// The shell of a user that nobody can log in as.
pub(crate) const NO_SHELL: &str = "/usr/sbin/nologin";

/// The host's own users, among whom most are: to read it is less than to run a program.
pub(crate) const PASSWD: &str = "/etc/passwd";

/// The settings.
pub const CONFIG_FILE: &str = "/etc/registry/registry.toml";
/// The record of what was installed.
pub const RECORD: &str = "/etc/registry/install.json";
/// The directory of the root CA's key, which the service does not see.
pub const PKI: &str = "/etc/registry/pki";
/// The root CA's key.
pub const ROOT_KEY: &str = "/etc/registry/pki/ca.key";
/// The directory of the administrator's own certificate.
pub const OWN_TLS: &str = "/etc/registry/tls";
/// The copy of the administrator's own certificate: the service sees no home directory.
pub const OWN_CERTIFICATE: &str = "/etc/registry/tls/server.crt";
/// The copy of its key.
pub const OWN_KEY: &str = "/etc/registry/tls/server.key";

/// The data directory unless another one was chosen.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/registry";

/// What the runtime directory of the service is called, below `/run` as elsewhere.
pub const RUNTIME: &str = "registry";
/// The runtime directory of the service.
pub const RUNTIME_DIR: &str = "/run/registry";
/// The lock of an installation. It goes with the host's next start, as locks should.
pub(crate) const INSTALL_LOCK: &str = "/run/registry-install.lock";

/// Where podman and others look for the CAs of registries, each in a directory that has the
/// registry's address as its name.
pub const TRUSTED_CAS: &str = "/etc/containers/certs.d";

/// The names that the host's administrator gave to addresses.
pub(crate) const HOSTS: &str = "/etc/hosts";
/// The table of mounts.
pub(crate) const MOUNTS: &str = "/proc/self/mountinfo";
/// Home directories, which `ProtectHome=` hides from a service.
pub(crate) const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];
/// Directories that are emptied, by the system or by the next start.
pub const EMPTIED: [&str; 6] = ["/tmp", "/var/tmp", "/run", "/dev", "/proc", "/sys"];
/// Directories of the system itself.
pub const SYSTEM: [&str; 3] = ["/boot", "/etc", "/usr"];
/// Where the host's own programs are. Not the administrator's PATH, whose first `systemctl` may
/// be another one.
pub(crate) const PROGRAMS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
