//! What an entry is, by its path inside a source: the formats are told apart by nothing else.

use oci::{Digest, RepoName, Tag};

use crate::contents::Format;
use crate::path::EntryPath;

/// What an entry is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The content of a digest, in a tree of this format.
    Blob { digest: Digest, format: Format },
    /// Such a blob of a layout, in this directory.
    LayoutBlob { digest: Digest, layout: String },
    /// A document of a layout.
    Layout { layout: String, document: LayoutDocument },
    /// `manifest.json` at the top, as `docker save` and Hauler write it.
    DockerManifest,
    /// What a tag of docker-registry names.
    Tag { repository: RepoName, tag: Tag },
    /// That a repository of docker-registry has this manifest.
    Revision { repository: RepoName, digest: Digest },
    /// A manifest that `oc` wrote: another name of the blob.
    OcManifest { repository: RepoName, digest: Digest },
    /// A tag that `oc` wrote: a link to the manifest.
    OcTag { repository: RepoName, tag: Tag },
    /// A configuration of oc-mirror, by the time in its name.
    Configuration { time: String },
    /// The version of oc-mirror.
    Version,
    /// The digest of a catalog that oc-mirror filtered.
    Filter(FilterPath),
    /// Something else that oc-mirror leaves.
    WorkingDirectory,
}

/// The documents of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LayoutDocument {
    Mark,
    Index,
    /// Hauler's whole index, where it wrote a shorter one for containerd.
    HaulerIndex,
    Description,
    Signature,
}

/// Where oc-mirror keeps a filtered catalog.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FilterPath {
    /// The last component of the catalog's repository.
    pub(crate) catalog: String,
    /// The whole catalog.
    pub(crate) whole: Digest,
    /// What the filter sums up to, which is also a tag.
    pub(crate) filter: String,
}

impl Role {
    /// The role of an entry; none of what no format has.
    pub(crate) fn of(path: &EntryPath) -> Option<Self> {
        let parts: Vec<&str> = path.parts().collect();
        if parts.first() == Some(&WORKING_DIRECTORY) {
            return Some(of_oc_mirror(&parts[1..]));
        }
        if let [name] = parts[..]
            && let Some(time) = name.strip_prefix("isc_")
        {
            return Some(Self::Configuration { time: time.to_owned() });
        }
        if let Some(rest) = below_distribution(&parts) {
            return of_distribution(rest);
        }
        of_oc(&parts).or_else(|| of_layout(&parts)).or_else(|| of_quay(&parts))
    }
}

/// Whether an entry belongs to the tree of a registry that is at the top, as in the archives of
/// oc-mirror.
pub(crate) fn is_of_tree(path: &EntryPath) -> bool {
    let parts: Vec<&str> = path.parts().take(4).collect();
    parts == ["docker", "registry", "v2", "repositories"]
}

/// Whether a directory holds nothing that has a role, so that it is not walked.
pub(crate) fn is_of_no_use(directory: &EntryPath) -> bool {
    let parts: Vec<&str> = directory.parts().collect();
    if parts.first() == Some(&WORKING_DIRECTORY) {
        return match parts[1..] {
            [] => false,
            ["internal"] => false,
            ["operator-catalogs", ..] => {
                parts.len() > 6 || parts.get(4).is_some_and(|it| *it != "filtered-catalogs")
            }
            _ => true,
        };
    }
    let Some(rest) = below_distribution(&parts) else { return false };
    match rest {
        ["repositories", .., "_layers" | "_uploads"] => true,
        ["repositories", .., "_manifests", "tags", _, name] => *name != "current",
        _ => false,
    }
}

/// What lies below `docker/registry/v2`.
fn below_distribution<'a, 'b>(parts: &'a [&'b str]) -> Option<&'a [&'b str]> {
    let at = parts.windows(3).position(|three| three == ["docker", "registry", "v2"])?;
    Some(&parts[at + 3..])
}

fn of_distribution(parts: &[&str]) -> Option<Role> {
    match parts {
        ["blobs", algorithm, _, hex, "data"] => {
            let digest = digest(algorithm, hex)?;
            Some(Role::Blob { digest, format: Format::Distribution })
        }
        ["repositories", repository @ .., "_manifests", "revisions", algorithm, hex, "link"] => {
            let (repository, digest) = (name(repository)?, digest(algorithm, hex)?);
            Some(Role::Revision { repository, digest })
        }
        ["repositories", repository @ .., "_manifests", "tags", tag, "current", "link"] => {
            Some(Role::Tag { repository: name(repository)?, tag: tag.parse().ok()? })
        }
        _ => None,
    }
}

/// `v2/REPOSITORY/manifests/…` and `v2/REPOSITORY/blobs/…`, in any directory.
fn of_oc(parts: &[&str]) -> Option<Role> {
    let at = parts.iter().position(|part| *part == "v2")?;
    match &parts[at + 1..] {
        [_, .., "blobs", leaf] => {
            Some(Role::Blob { digest: leaf.parse().ok()?, format: Format::OcDirectory })
        }
        [repository @ .., "manifests", leaf] => {
            let repository = name(repository)?;
            match leaf.parse() {
                Ok(digest) => Some(Role::OcManifest { repository, digest }),
                Err(_) => Some(Role::OcTag { repository, tag: leaf.parse().ok()? }),
            }
        }
        _ => None,
    }
}

fn of_layout(parts: &[&str]) -> Option<Role> {
    if let [layout @ .., "blobs", algorithm, hex] = parts
        && let Some(digest) = digest(algorithm, hex)
    {
        return Some(Role::LayoutBlob { digest, layout: layout.join("/") });
    }
    let (leaf, layout) = parts.split_last()?;
    let document = match *leaf {
        "oci-layout" => LayoutDocument::Mark,
        "index.json" => LayoutDocument::Index,
        "hauler-index.json" => LayoutDocument::HaulerIndex,
        "registry-bundle.json" => LayoutDocument::Description,
        "registry-bundle.sig" => LayoutDocument::Signature,
        "manifest.json" if layout.is_empty() => return Some(Role::DockerManifest),
        _ => return None,
    };
    Some(Role::Layout { layout: layout.join("/"), document })
}

/// `storage/sha256/ab/…`, in any directory.
fn of_quay(parts: &[&str]) -> Option<Role> {
    let [.., "storage", algorithm, shard, hex] = parts else { return None };
    let digest = digest(algorithm, hex).filter(|_| hex.get(..2) == Some(*shard))?;
    Some(Role::Blob { digest, format: Format::Quay })
}

fn of_oc_mirror(parts: &[&str]) -> Role {
    match parts {
        ["internal", "oc-mirror-version.json"] => Role::Version,
        ["operator-catalogs", catalog, hex, "filtered-catalogs", filter, "digest"] => {
            // It is the last component of a name, and the filter is a tag.
            let names = name(&[catalog]).zip(filter.parse::<Tag>().ok());
            match digest("sha256", hex).zip(names) {
                Some((whole, _)) => Role::Filter(FilterPath {
                    catalog: (*catalog).to_owned(),
                    whole,
                    filter: (*filter).to_owned(),
                }),
                None => Role::WorkingDirectory,
            }
        }
        _ => Role::WorkingDirectory,
    }
}

fn digest(algorithm: &str, hex: &str) -> Option<Digest> {
    format!("{algorithm}:{hex}").parse().ok()
}

fn name(parts: &[&str]) -> Option<RepoName> {
    parts.join("/").parse().ok()
}

/// Where a Quay has the names of its images, at the top of its directory.
pub(crate) const QUAY_DATABASE: &str = "quay.db";
/// Where it has their content.
pub(crate) const QUAY_STORAGE: &str = "storage/sha256";
/// Where oc-mirror works, at the top of its archives.
const WORKING_DIRECTORY: &str = "working-dir";

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn role(path: &str) -> Option<Role> {
        Role::of(&EntryPath::parse(path.replace("HEX", HEX).as_bytes()).unwrap())
    }

    #[test]
    fn paths_say_what_an_entry_is() {
        let digest: Digest = format!("sha256:{HEX}").parse().unwrap();
        let (repository, tag): (RepoName, Tag) = ("a/b".parse().unwrap(), "1".parse().unwrap());
        let layout = |layout: &str| Role::LayoutBlob { digest, layout: layout.into() };
        let blob = |format| Role::Blob { digest, format };
        for (path, expected) in [
            ("blobs/sha256/HEX", layout("")),
            ("team/app/blobs/sha256/HEX", layout("team/app")),
            ("x/docker/registry/v2/blobs/sha256/e3/HEX/data", blob(Format::Distribution)),
            ("mirror/v2/a/b/blobs/sha256:HEX", blob(Format::OcDirectory)),
            ("quay/storage/sha256/e3/HEX", blob(Format::Quay)),
            (
                "docker/registry/v2/repositories/a/b/_manifests/tags/1/current/link",
                Role::Tag { repository: repository.clone(), tag: tag.clone() },
            ),
            (
                "docker/registry/v2/repositories/a/b/_manifests/revisions/sha256/HEX/link",
                Role::Revision { repository: repository.clone(), digest },
            ),
            (
                "v2/a/b/manifests/sha256:HEX",
                Role::OcManifest { repository: repository.clone(), digest },
            ),
            ("v2/a/b/manifests/1", Role::OcTag { repository, tag }),
            ("manifest.json", Role::DockerManifest),
            ("isc_2026", Role::Configuration { time: "2026".into() }),
            ("working-dir/internal/oc-mirror-version.json", Role::Version),
            ("working-dir/a/blobs/sha256/HEX", Role::WorkingDirectory),
            (
                "working-dir/operator-catalogs/c/HEX/filtered-catalogs/f/digest",
                Role::Filter(FilterPath { catalog: "c".into(), whole: digest, filter: "f".into() }),
            ),
        ] {
            assert_eq!(role(path), Some(expected), "{path}");
        }
        for path in [
            "docker/registry/v2/repositories/a/b/_layers/sha256/HEX/link",
            "docker/registry/v2/repositories/a/_manifests/tags/1/index/sha256/HEX/link",
            "docker/registry/v2/repositories/A/_manifests/tags/1/current/link",
            "blobs/sha256/HEX0",
            "storage/sha256/e4/HEX",
            "sha256/e3/HEX",
            "a/manifest.json",
            "a/isc_2026",
            "v2/manifests/1",
            "readme",
            "",
        ] {
            assert_eq!(role(path), None, "{path}");
        }
    }

    #[test]
    fn what_is_of_no_use_is_not_walked() {
        let is_walked = |path: &str| !is_of_no_use(&EntryPath::parse(path.as_bytes()).unwrap());
        for path in [
            "",
            "docker/registry/v2/repositories/a/_manifests/tags/1/current",
            "working-dir/operator-catalogs/c/HEX/filtered-catalogs/f",
            "working-dir/internal",
            "_layers",
        ] {
            assert!(is_walked(path), "{path}");
        }
        for path in [
            "docker/registry/v2/repositories/a/_layers",
            "docker/registry/v2/repositories/a/_manifests/tags/1/index",
            "working-dir/logs",
            "working-dir/operator-catalogs/c/HEX/catalog-image",
            "working-dir/operator-catalogs/c/HEX/filtered-catalogs/f/filtered-catalog-image",
        ] {
            assert!(!is_walked(path), "{path}");
        }
    }
}
