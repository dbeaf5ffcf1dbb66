//! The tags under which cosign keeps what belongs to a manifest.

use crate::{Digest, Tag};

/// What the tags begin with under which cosign keeps what belongs to a manifest.
pub const SIGNATURE_TAG_PREFIX: &str = "sha256-";

/// The tags under which cosign keeps the signatures, attestations and bills of materials of a
/// manifest; none for a digest of SHA-512, which is longer than a tag may be.
pub fn signature_tags(digest: &Digest) -> Vec<Tag> {
    let name = |suffix: &&str| format!("{}-{}{suffix}", digest.algorithm(), digest.hex());
    SUFFIXES.iter().filter_map(|suffix| name(suffix).parse().ok()).collect()
}

/// What cosign appends to `ALGORITHM-HEX` of the digest.
const SUFFIXES: [&str; 3] = [".sig", ".att", ".sbom"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Algorithm;

    #[test]
    fn the_tags_of_a_manifest_are_named_by_its_digest() {
        let [of_sha256, of_sha512] =
            Algorithm::ALL.map(|algorithm| signature_tags(&Digest::of(algorithm, b"")));
        let hex = Digest::of(Algorithm::Sha256, b"").hex();
        let names: Vec<String> = of_sha256.iter().map(Tag::to_string).collect();
        assert_eq!(names, [".sig", ".att", ".sbom"].map(|end| format!("sha256-{hex}{end}")));
        assert!(names.iter().all(|name| name.starts_with(SIGNATURE_TAG_PREFIX)));
        assert_eq!(of_sha512, []);
    }
}
