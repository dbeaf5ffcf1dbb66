//! The files of a docker-registry, in oc-mirror's order: the repositories, then the blobs.

use super::set::TAG;
use super::{Content, Set};

/// All of them, by their paths.
pub(super) fn files(set: &Set) -> Vec<(String, Content<'_>)> {
    let mut files = Vec::new();
    for image in &set.images {
        let root = format!("{ROOT}/repositories/{}", image.repository);
        for blob in &image.image.parts {
            let path = format!("{root}/_layers/{}/link", below(blob.digest()));
            files.push((path, Content::Link(blob.digest())));
        }
        let digest = image.image.manifest.digest();
        let (manifests, below) = (format!("{root}/_manifests"), below(digest));
        for path in [
            format!("{manifests}/revisions/{below}/link"),
            format!("{manifests}/tags/{TAG}/current/link"),
            format!("{manifests}/tags/{TAG}/index/{below}/link"),
        ] {
            files.push((path, Content::Link(digest)));
        }
    }
    let manifests = set.images.iter().map(|image| &image.image.manifest);
    let manifests = manifests.map(|manifest| (manifest.digest(), manifest));
    let mut blobs = set.blobs();
    blobs.extend(manifests);
    for (digest, blob) in blobs {
        let hex = digest.trim_start_matches("sha256:");
        let path = format!("{ROOT}/blobs/sha256/{}/{hex}/data", &hex[..2]);
        files.push((path, Content::Blob(blob)));
    }
    files
}

/// A digest as a part of a path.
fn below(digest: &str) -> String {
    digest.replace(':', "/")
}

const ROOT: &str = "docker/registry/v2";
