//! Whether a source may come in, by what it says of itself and who signed that.
//!
//! What is signed is the description of a volume, which has the sum of the index that names its
//! images. Everything below is named by its digest, so that nobody can swap any of it.

use archive::Bundle;
use archive::bundle::{BundleDocument, DocumentError, INDEX};
use certs::PublicKey;
use thiserror::Error;

/// What a source says of itself as a volume of a bundle, and who signed that. If there are
/// `signers`, one of them must have.
///
/// # Errors
/// Every [`Refusal`].
pub(super) fn judge(
    bundle: Option<&Bundle>,
    signers: &[PublicKey],
) -> Result<Option<(BundleDocument, Option<PublicKey>)>, Refusal> {
    let Some(bundle) = bundle else {
        return if signers.is_empty() { Ok(None) } else { Err(Refusal::NoBundle) };
    };
    let document = BundleDocument::parse(&bundle.description).map_err(Refusal::Description)?;
    let signer = match &bundle.signature {
        None if signers.is_empty() => None,
        None => return Err(Refusal::Unsigned),
        Some(signature) => {
            let forged = || Refusal::Forged(document.key.to_string());
            let key = document.key.to_string().parse::<PublicKey>().map_err(|_| forged())?;
            match key.has_signed(&bundle.description, signature) {
                false => return Err(forged()),
                true if signers.is_empty() || signers.contains(&key) => Some(key),
                true => return Err(Refusal::Stranger(key)),
            }
        }
    };
    let index = document.files.get(INDEX).map(|sum| sum.digest);
    match index.is_some() && index == bundle.index {
        true => Ok(Some((document, signer))),
        false => Err(Refusal::Index),
    }
}

/// Why a source may not come in.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Refusal {
    /// It is none that a registry exported, or holds more.
    #[error(
        "it is no bundle that a registry exported, or other images lie beside it, and \
         --require-signer takes nothing else: import it by itself without that, if you trust it"
    )]
    NoBundle,
    /// Nobody can read what it says of itself.
    #[error("{0}; nobody can tell who signed it: copy it again, or have it exported again")]
    Description(DocumentError),
    /// Nobody signed it.
    #[error(
        "it has no signature: copy it again with its registry-bundle.sig, or export it again; \
         without --require-signer it is taken from whomever it is"
    )]
    Unsigned,
    /// It says whose signature it has, and that is not so.
    #[error(
        "its signature is forged, or it was changed since it was signed: it is not what the \
         registry of the key {0} wrote; keep it for whoever is to look into that, and have it \
         exported again"
    )]
    Forged(String),
    /// Somebody else signed it.
    #[error(
        "it is signed with the key {0}, which --require-signer does not name: on the registry that \
         wrote it, `registry status` shows the key that is its own"
    )]
    Stranger(PublicKey),
    /// Its names are others than were exported.
    #[error(
        "its index.json is not the one that was exported, so somebody else says what the images \
         are called: copy it again, or have it exported again"
    )]
    Index,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use archive::bundle::{BundleNumber, FileSum, checksum_of};
    use certs::BundleKey;

    use super::*;

    const NAMES: &[u8] = b"the index";

    fn key() -> BundleKey {
        BundleKey::ensure(tempfile::tempdir().unwrap().path()).unwrap()
    }

    /// A bundle whose description names `named` and is signed with `signs`.
    fn bundle(named: &BundleKey, signs: &BundleKey) -> Bundle {
        let document = BundleDocument {
            bundle: BundleNumber::of(7),
            registry: "0a".parse().unwrap(),
            key: named.public().to_string().parse().unwrap(),
            made: 1,
            volume: 1,
            volumes: 1,
            checksum: checksum_of(&BTreeMap::new()),
            bases: Vec::new(),
            files: BTreeMap::from([(INDEX.to_owned(), FileSum::of(NAMES))]),
            manifests: BTreeMap::new(),
            blobs: BTreeMap::new(),
        };
        let description = document.to_bytes().unwrap();
        let signature = Some(signs.sign(&description).unwrap().to_vec());
        Bundle { description, signature, index: Some(FileSum::of(NAMES).digest) }
    }

    #[test]
    fn only_what_a_trusted_key_has_signed_comes_in() {
        let (own, other) = (key(), key());
        let trusted = [own.public()];
        let whole = bundle(&own, &own);
        let document = BundleDocument::parse(&whole.description).unwrap();
        assert_eq!(judge(Some(&whole), &trusted), Ok(Some((document, Some(own.public())))));
        let unsigned = Bundle { signature: None, ..whole.clone() };
        let cut = Bundle { signature: Some(vec![0; 63]), ..whole.clone() };
        let no_index = Bundle { index: None, ..whole.clone() };
        let swapped = Bundle { index: Some(FileSum::of(b"").digest), ..whole.clone() };
        let empty = Bundle { description: b"{}".to_vec(), ..whole.clone() };
        let fault = BundleDocument::parse(b"{}").unwrap_err();
        let forged = Refusal::Forged(own.public().to_string());
        for (bundle, refusal) in [
            (None, Refusal::NoBundle),
            (Some(unsigned), Refusal::Unsigned),
            (Some(cut), forged.clone()),
            (Some(bundle(&own, &other)), forged),
            (Some(bundle(&other, &other)), Refusal::Stranger(other.public())),
            (Some(no_index), Refusal::Index),
            (Some(swapped), Refusal::Index),
            (Some(empty), Refusal::Description(fault)),
        ] {
            assert_eq!(judge(bundle.as_ref(), &trusted), Err(refusal));
        }
    }

    #[test]
    fn where_nobody_is_named_a_signature_may_be_absent_and_not_forged() {
        let (own, other) = (key(), key());
        let signer = |bundle: &Bundle| judge(Some(bundle), &[]).map(|found| found.unwrap().1);
        let whole = bundle(&own, &own);
        assert_eq!(signer(&whole), Ok(Some(own.public())));
        assert_eq!(signer(&Bundle { signature: None, ..whole.clone() }), Ok(None));
        let forged = Refusal::Forged(own.public().to_string());
        assert_eq!(signer(&bundle(&own, &other)), Err(forged));
        assert_eq!(signer(&Bundle { index: None, ..whole }), Err(Refusal::Index));
        assert_eq!(judge(None, &[]), Ok(None));
    }
}
