//! Judging the certificate and key that an administrator brings.
//!
//! Everything that would make a client refuse the connection is refused here, with a sentence
//! that says what to do, because the client's own message rarely does. Three things are accepted
//! on purpose:
//!
//! - A certificate without its issuer in the file: clients may trust the issuer directly.
//! - A certificate that signed itself, even one marked as a CA: mirror-registry's users have
//!   these, and clients that trust it accept it.
//! - A signature whose algorithm cannot be checked here (ECDSA with P-521, Ed448), if the names of
//!   issuer and subject fit: clients check it anyway.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::SystemTime;

use durable::At;

use crate::error::{CertError, Damage, OwnProblem};
use crate::name::ServerName;
use crate::server::{PrivateKey, ServerCertificate};
use crate::tls_file::MAX_FILE_BYTES;
use crate::x509::{self, Certificate, Proof};

/// Reads a PEM chain and its PEM key (PKCS#8, PKCS#1 or SEC1), and checks that they can serve for
/// `names`: every name must be among the certificate's subject alternative names, where a
/// wildcard stands for one label.
///
/// Both may be the same file. Clients know the root, so it may be left out. Nothing is written.
///
/// # Errors
/// [`CertError::Io`], [`CertError::OwnDamaged`] and [`CertError::Own`]. An own certificate that
/// has ended is an error too; a server that runs keeps the one that it has.
pub fn load_own(
    certificate: &Path,
    key: &Path,
    names: &[ServerName],
    now: SystemTime,
) -> Result<ServerCertificate, CertError> {
    let (chain, private_key) = read_pair(certificate, key)?;
    let checked = check_chain(&chain, now).and_then(|()| check_leaf(&chain, names));
    checked.map_err(|problem| CertError::Own { path: certificate.to_owned(), problem })?;
    served(chain, private_key, certificate, names)
}

/// The same without a look at dates, chain and names: what lies there serves whoever does not check
/// it either, where nothing better can be had.
///
/// # Errors
/// [`CertError::Io`] and [`CertError::OwnDamaged`], and [`CertError::Own`] if the key is another's.
pub fn load_unchecked(certificate: &Path, key: &Path) -> Result<ServerCertificate, CertError> {
    let (chain, private_key) = read_pair(certificate, key)?;
    served(chain, private_key, certificate, &[])
}

fn read_pair(certificate: &Path, key: &Path) -> Result<(Vec<Certificate>, PrivateKey), CertError> {
    let chain = parse(certificate, x509::certificates)?;
    let private_key = parse(key, x509::private_key)?;
    check_key(&chain, &private_key, certificate, key)?;
    Ok((chain, private_key))
}

fn served(
    chain: Vec<Certificate>,
    key: PrivateKey,
    path: &Path,
    names: &[ServerName],
) -> Result<ServerCertificate, CertError> {
    let Some((first, rest)) = chain.split_first() else {
        let damage = Damage::NoCertificate;
        return Err(CertError::OwnDamaged { path: path.to_owned(), damage });
    };
    let validity = rest.iter().fold(first.validity, |time, issuer| time.and(issuer.validity));
    let stands_alone = rest.is_empty() && !first.is_self_signed();
    let missing_issuer = stands_alone.then(|| first.issuer_name.clone());
    let chain = chain.into_iter().map(|certificate| certificate.der).collect();
    Ok(ServerCertificate { validity, chain, key, names: names.to_vec(), missing_issuer })
}

fn parse<T>(path: &Path, parser: fn(&[u8]) -> Result<T, Damage>) -> Result<T, CertError> {
    let mut content = Vec::new();
    // Whatever was named is meant, were it a pipe.
    let opened = File::open(path).at("read", path)?;
    opened.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut content).at("read", path)?;
    let parsed = match content.len() > MAX_FILE_BYTES {
        true => Err(Damage::TooLarge),
        false => parser(&content),
    };
    parsed.map_err(|damage| CertError::OwnDamaged { path: path.to_owned(), damage })
}

fn check_key(
    chain: &[Certificate],
    private_key: &PrivateKey,
    certificate: &Path,
    key: &Path,
) -> Result<(), CertError> {
    let pair = private_key.pair();
    let pair = pair.map_err(|damage| CertError::OwnDamaged { path: key.to_owned(), damage })?;
    let public_key = pair.public_key_raw();
    match chain.iter().position(|certificate| certificate.public_key == public_key) {
        Some(0) => Ok(()),
        Some(index) => Err(CertError::Own {
            path: certificate.to_owned(),
            problem: OwnProblem::LeafNotFirst { position: index + 1 },
        }),
        None => Err(CertError::Own {
            path: key.to_owned(),
            problem: OwnProblem::KeyMismatch { certificate: certificate.to_owned() },
        }),
    }
}

/// Every certificate is valid now, signed by the next one, and not with a broken hash.
fn check_chain(chain: &[Certificate], now: SystemTime) -> Result<(), OwnProblem> {
    for (index, certificate) in chain.iter().enumerate() {
        let position = index + 1;
        let validity = certificate.validity;
        if validity.is_over(now) {
            return Err(OwnProblem::Ended { position, not_after: validity.not_after(), now });
        }
        if validity.is_early(now) {
            let not_before = validity.not_before();
            return Err(OwnProblem::NotYetValid { position, not_before, now });
        }
        // Nobody looks at the signature of a certificate that is trusted for itself.
        if certificate.is_weak && !certificate.is_self_signed() {
            return Err(OwnProblem::WeakSignature { position });
        }
        let follows = chain.get(position).is_none_or(|issuer| {
            issuer.is_authority && certificate.proof_by(issuer) != Proof::NotSigned
        });
        if !follows {
            return Err(OwnProblem::Chain { position });
        }
    }
    Ok(())
}

/// The first certificate is a server's and covers the names.
fn check_leaf(chain: &[Certificate], names: &[ServerName]) -> Result<(), OwnProblem> {
    let Some(leaf) = chain.first() else {
        return Ok(());
    };
    // A CA without names is one given by mistake, even if it signed itself.
    if leaf.is_authority && (leaf.subjects.is_empty() || !leaf.is_self_signed()) {
        return Err(OwnProblem::Authority);
    }
    if !leaf.is_for_servers {
        return Err(OwnProblem::NotForServers);
    }
    if leaf.subjects.is_empty() {
        return Err(OwnProblem::NoNames);
    }
    let covered = |name: &&ServerName| leaf.subjects.iter().any(|subject| subject.covers(name));
    let missing: Vec<_> = names.iter().filter(|name| !covered(name)).cloned().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let present = leaf.subjects.iter().map(ToString::to_string).collect();
    Err(OwnProblem::NotCovered { missing, present })
}

#[cfg(test)]
mod tests;
