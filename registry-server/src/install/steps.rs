//! The steps of an installation, from what the host is to become.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use certs::TlsFile;
use installer::paths::{
    CONFIG_FILE, OWN_CERTIFICATE, OWN_KEY, OWN_TLS, PKI, PROGRAM, ROOT_KEY, RUNTIME, UNIT,
    UNIT_FILE, USER,
};
use installer::{Need, Owner, Step, Unit};
use storage::{DATA_MODE, Layout};

use super::spec::InstallSpec;

/// The steps, in the order in which they are taken.
///
/// # Errors
/// A certificate that cannot be read.
pub(super) fn of(spec: &InstallSpec) -> anyhow::Result<Vec<Step>> {
    let data = spec.config.data_dir.clone();
    let layout = Layout::new(&data);
    let user = || Owner::User(USER.to_owned());
    let comment = "OCI registry".to_owned();
    // First the service stops, if anything of it is about to change below it.
    let mut steps = vec![Step::Stop { unit: UNIT.to_owned() }];
    steps.push(Step::User { name: USER.to_owned(), comment });
    steps.extend(parents(&data));
    steps.push(Step::Directory { path: data.clone(), mode: DATA_MODE, owner: user() });
    steps.push(Step::Give { path: data.clone(), to: USER.to_owned() });
    steps.push(Step::Close { path: data.clone() });
    steps.push(Step::Directory { path: PKI.into(), mode: 0o700, owner: Owner::Root });
    steps.extend(own_certificate(spec)?);
    steps.extend(parents(Path::new(PROGRAM)));
    steps.push(Step::Program { path: PROGRAM.into() });
    steps.push(file(CONFIG_FILE, 0o644, Owner::Root, spec.text()?.into_bytes()));
    let tls = |file: TlsFile| layout.tls().join(file.name());
    let replaces = [
        TlsFile::IssuingCertificate,
        TlsFile::IssuingKey,
        TlsFile::ServerCertificate,
        TlsFile::ServerKey,
    ];
    let (need, with) = match (layout.exists()?, spec.has_certificate()) {
        (false, _) => (Need::Make, "the registry"),
        (true, false) => (Need::Change, "the certificates"),
        (true, true) => (Need::Nothing, "the registry"),
    };
    let replaces = replaces.map(tls).to_vec();
    steps.push(Step::Fill { path: data.clone(), with: with.to_owned(), replaces, need });
    steps.push(Step::Move { inside: data, from: tls(TlsFile::RootKey), to: ROOT_KEY.into() });
    steps.push(file(UNIT_FILE, 0o644, Owner::Root, unit(spec).text().into_bytes()));
    steps.push(Step::Start { unit: UNIT.to_owned(), file: UNIT_FILE.into() });
    let what = format!("that https://{} answers and takes the login", spec.address);
    steps.push(Step::Check { what });
    Ok(steps)
}

/// The directories above a path that are not there yet.
fn parents(path: &Path) -> Vec<Step> {
    let missing = path.ancestors().skip(1).take_while(|above| !above.exists());
    let mut missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
    missing.reverse();
    let step = |path| Step::Directory { path, mode: 0o755, owner: Owner::Root };
    missing.into_iter().map(step).collect()
}

/// Copies of the administrator's own certificate and key, where the service sees them.
fn own_certificate(spec: &InstallSpec) -> anyhow::Result<Vec<Step>> {
    let Some((certificate, key)) = &spec.config.own_certificate else { return Ok(Vec::new()) };
    // Whatever looks at the copies reads PEM as it should be.
    let read = |path: &Path| {
        let content = std::fs::read(path);
        let content = content.with_context(|| format!("cannot read {}", path.display()))?;
        anyhow::Ok(certs::plain_pem(&content))
    };
    let user = Owner::User(USER.to_owned());
    Ok(vec![
        Step::Directory { path: OWN_TLS.into(), mode: 0o755, owner: Owner::Root },
        file(OWN_CERTIFICATE, 0o644, Owner::Root, read(certificate)?),
        file(OWN_KEY, 0o600, user, read(key)?),
    ])
}

fn file(path: &str, mode: u32, owner: Owner, content: Vec<u8>) -> Step {
    Step::File { path: path.into(), mode, owner, content }
}

fn unit(spec: &InstallSpec) -> Unit {
    let listen = &spec.config.settings.listen;
    let is_always_there = |ip: IpAddr| ip.is_unspecified() || ip.is_loopback();
    let command = [PROGRAM, "serve", "--existing", "--config", CONFIG_FILE];
    Unit {
        description: format!("OCI registry at https://{}", spec.address),
        command: command.map(str::to_owned).to_vec(),
        user: USER.to_owned(),
        writable: spec.config.data_dir.clone(),
        runtime: RUNTIME.to_owned(),
        mount_point: spec.settings.data_mount.clone().filter(|path| path.parent().is_some()),
        hidden: vec![PKI.into()],
        low_port: listen.iter().any(|address| address.port() < FIRST_OPEN_PORT),
        needs_network: listen.iter().any(|address| !is_always_there(address.ip())),
    }
}

/// The first port that everybody may listen on.
const FIRST_OPEN_PORT: u16 = 1024;
