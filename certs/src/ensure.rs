//! The one call that a server makes at every start and then now and again: make what is missing,
//! renew what is due, and leave everything else as it is.
//!
//! # Why a crash at any moment is mended
//!
//! Each file is replaced whole by a rename that is durable before the next one begins
//! (`files`), in the order `ca.key`, `ca.crt`, `issuing.key`, `issuing.crt`, `server.key`,
//! `server.crt`: keys before certificates, issuers before what they sign. So a run that is cut
//! short leaves a prefix of its writes, and the next run finds one of these:
//!
//! - `ca.key` without `ca.crt`: nobody has seen that root, so it is made with this key. Once
//!   `ca.crt` is there the root is never made again, whatever else is missing.
//! - No `ca.crt`, and a key that is given: it stands for `ca.key`, and its caller made it durable
//!   before the call. Whichever key the next call is given makes the root, which nobody has seen.
//!   If it is given none, the root gets a key in the directory, and the one kept elsewhere is
//!   refused from then on: no call goes on with a key that `ca.crt` does not have.
//! - An issuing or server key without its certificate, or beside the certificate of the key before
//!   it: the two do not fit, and a new pair is made. For the issuing CA this takes `ca.key`, which
//!   the run that was cut short had as well.
//! - A new issuing CA beside a server certificate of the one before: they do not fit, and a new
//!   server certificate is made.
//!
//! A file that cannot be parsed was never left by a crash. It is an error and stays as it is.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::SystemTime;

use crate::ca::{Issuing, Root};
use crate::error::CertError;
use crate::files::Files;
use crate::leaf::Leaf;
use crate::name::ServerName;
use crate::reason::{MAX_NAMES, Reason};
use crate::root_key::RootKey;
use crate::server::ServerCertificate;
use crate::tls_file::TlsFile;
use crate::validity::{Validity, seconds};

/// What [`ensure`] gives back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ensured {
    /// The certificate to serve with.
    pub certificate: ServerCertificate,
    /// What was written and why, in order; empty when all was well.
    pub changes: Vec<Change>,
}

/// A certificate that was made and written, with its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The certificate.
    pub file: TlsFile,
    /// Why it was made.
    pub reason: Reason,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "made {}: {}", self.file.name(), self.reason)
    }
}

/// Makes sure that `directory` holds a root CA, an issuing CA and a server certificate for
/// `names`, and gives the server certificate.
///
/// The first name appears in the CA's subject, for people. Repeated names count once. What is
/// there and fits stays byte for byte. The root is made once and never replaced. The server
/// certificate is renewed without the root's key; a name that the issuing CA may not certify takes
/// it. Without it an issuing CA that permits more names than needed, or is near its end, goes on
/// serving; the caller sees its dates with [`Expiry::read`](crate::Expiry::read).
///
/// The directory is made if its parent is there. The caller sees to it that one process at a time
/// does this, and calls it again at least once a day, so that a renewal has months of tries.
///
/// # Errors
/// Every [`CertError`] but those of [`load_own`](crate::load_own); nothing that was there is lost.
pub fn ensure(
    directory: &Path,
    root_key: RootKey<'_>,
    names: &[ServerName],
    now: SystemTime,
) -> Result<Ensured, CertError> {
    ensure_in(&Files::new(directory), root_key, names, now)
}

/// The same where nothing can be written: what is missing or due is made for the caller alone, from
/// the keys that are there, and the next call makes another. A root is never made so.
///
/// # Errors
/// Those of [`ensure`]; [`CertError::RootMissing`] also where nothing is there.
pub fn ensure_in_memory(
    directory: &Path,
    root_key: RootKey<'_>,
    names: &[ServerName],
    now: SystemTime,
) -> Result<Ensured, CertError> {
    ensure_in(&Files::frozen(directory), root_key, names, now)
}

fn ensure_in(
    files: &Files,
    root_key: RootKey<'_>,
    names: &[ServerName],
    now: SystemTime,
) -> Result<Ensured, CertError> {
    let names = distinct(names)?;
    // A root made under a dead clock would be over once the clock is set, and stay for ever.
    if seconds(now) < EARLIEST_SECONDS {
        return Err(CertError::Clock { now });
    }
    let mut changes = Vec::new();
    let root = ensure_root(files, root_key, &names, now, &mut changes)?;
    let issuing = ensure_issuing(files, &root, &names, now, &mut changes)?;
    let leaf = ensure_leaf(files, &issuing, &names, now, &mut changes)?;
    Ok(Ensured { certificate: leaf.into_server(names), changes })
}

fn ensure_root(
    files: &Files,
    root_key: RootKey<'_>,
    names: &[ServerName],
    now: SystemTime,
    changes: &mut Vec<Change>,
) -> Result<Root, CertError> {
    let file = TlsFile::RootCertificate;
    if let Some(root) = Root::load(files, root_key, now)? {
        return Ok(root);
    }
    let signed = [TlsFile::IssuingCertificate, TlsFile::ServerCertificate];
    for signed in signed {
        if files.is_frozen() || files.exists(signed)? {
            return Err(CertError::RootMissing { directory: files.directory() });
        }
    }
    let host = names.first().ok_or(CertError::NoNames)?;
    files.make_directory()?;
    let root = Root::make(files, root_key, host, now)?;
    changes.push(Change { file, reason: Reason::Missing });
    Ok(root)
}

fn ensure_issuing(
    files: &Files,
    root: &Root,
    names: &[ServerName],
    now: SystemTime,
    changes: &mut Vec<Change>,
) -> Result<Issuing, CertError> {
    let present = Issuing::load(files)?;
    let verdict = match &present {
        None => Verdict::Replace(Reason::Missing),
        Some(issuing) => judge(issuing, root, names, now),
    };
    let reason = match (verdict, present) {
        (Verdict::Keep, Some(issuing)) => return Ok(issuing),
        (Verdict::Improve(_), Some(issuing)) if !root.can_sign() => return Ok(issuing),
        (Verdict::Replace(reason), issuing) if !root.can_sign() => {
            return Err(blocked(files, issuing.as_ref(), names, reason));
        }
        (Verdict::Improve(reason) | Verdict::Replace(reason), _) => reason,
        (Verdict::Keep, None) => Reason::Missing,
    };
    let directory = files.directory();
    let made = Issuing::make(files, root, names, now)?;
    let made = made.ok_or(CertError::RootKeyNeeded { directory, reason })?;
    changes.push(Change { file: TlsFile::IssuingCertificate, reason });
    Ok(made)
}

/// What is to become of the issuing CA.
enum Verdict {
    Keep,
    /// It serves, but another would be better: it is made if the root's key is at hand.
    Improve(Reason),
    /// It does not serve.
    Replace(Reason),
}

fn judge(issuing: &Issuing, root: &Root, names: &[ServerName], now: SystemTime) -> Verdict {
    let permitted = issuing.permitted();
    if !issuing.fits(root) {
        return Verdict::Replace(Reason::Unfit);
    }
    if names.iter().any(|name| !permitted.contains(name)) {
        return Verdict::Replace(Reason::Names);
    }
    let timing = timing(issuing.certificate.validity, Issuing::planned(root, now), now);
    match timing {
        Some(reason @ (Reason::Ended | Reason::Early)) => Verdict::Replace(reason),
        // The names are distinct and all permitted, so any other number means others too.
        _ if permitted.len() != names.len() => Verdict::Improve(Reason::Names),
        Some(reason) => Verdict::Improve(reason),
        None => Verdict::Keep,
    }
}

/// The error when a new issuing CA is needed and cannot be signed.
fn blocked(
    files: &Files,
    issuing: Option<&Issuing>,
    names: &[ServerName],
    reason: Reason,
) -> CertError {
    let directory = files.directory();
    match (reason, issuing) {
        (Reason::Names, Some(issuing)) => {
            let permitted = issuing.permitted();
            let names = names.iter().filter(|name| !permitted.contains(name)).cloned().collect();
            CertError::NamesNotPermitted { directory, names }
        }
        _ => CertError::RootKeyNeeded { directory, reason },
    }
}

fn ensure_leaf(
    files: &Files,
    issuing: &Issuing,
    names: &[ServerName],
    now: SystemTime,
    changes: &mut Vec<Change>,
) -> Result<Leaf, CertError> {
    let reason = match Leaf::load(files)? {
        None => Reason::Missing,
        Some(leaf) if !leaf.fits(files, issuing)? => Reason::Unfit,
        Some(leaf) if !leaf.names().iter().eq(names.iter().collect::<BTreeSet<_>>()) => {
            Reason::Names
        }
        Some(leaf) => match timing(leaf.validity(), Leaf::planned(issuing, now), now) {
            None => return Ok(leaf),
            Some(reason) => reason,
        },
    };
    let leaf = Leaf::make(files, issuing, names, now)?;
    changes.push(Change { file: TlsFile::ServerCertificate, reason });
    Ok(leaf)
}

/// Why a certificate is to be renewed for its dates. Near the end of its issuer a new one would
/// last no longer; then it is left alone, or every call would make another.
fn timing(validity: Validity, planned: Validity, now: SystemTime) -> Option<Reason> {
    if validity.is_over(now) {
        Some(Reason::Ended)
    } else if validity.is_early(now) {
        Some(Reason::Early)
    } else if validity.is_due(now) && planned.not_after > validity.not_after {
        Some(Reason::Due)
    } else {
        None
    }
}

/// Each name once, in the order given.
fn distinct(names: &[ServerName]) -> Result<Vec<ServerName>, CertError> {
    let mut seen = BTreeSet::new();
    let names: Vec<_> = names.iter().filter(|name| seen.insert(*name)).cloned().collect();
    match names.len() {
        0 => Err(CertError::NoNames),
        1..=MAX_NAMES => Ok(names),
        count => Err(CertError::TooManyNames { count }),
    }
}

/// 1 January 2025, before this program was written: a clock that shows less is wrong.
const EARLIEST_SECONDS: i64 = 1_735_689_600;

#[cfg(test)]
mod tests;
