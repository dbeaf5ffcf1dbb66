//! The names that tools give to images in a layout.

use oci::{ImageName, Reference, RepoName, Tag};

/// A name: a repository, a tag, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) repository: Option<RepoName>,
    pub(crate) tag: Option<Tag>,
}

impl Name {
    /// Reads a name. Where a slash or a colon says that there is a repository, a host in front of
    /// it is dropped, as oc-mirror drops it on the mirror; otherwise the name is a tag.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match is_tag_alone(text) {
            true => Self::parse_whole(text),
            false => Self::of_image(without_host(text)),
        }
    }

    /// Reads a name as our own bundles have it: its repository may be called like a host.
    pub(crate) fn parse_whole(text: &str) -> Option<Self> {
        match is_tag_alone(text) {
            true => text.parse().ok().map(|tag| Self { repository: None, tag: Some(tag) }),
            false => Self::of_image(text),
        }
    }

    fn of_image(text: &str) -> Option<Self> {
        // By tag and digest both: the digest is said by the descriptor, too.
        let text = text.split_once('@').map_or(text, |(name, _)| name);
        let image: ImageName = text.parse().ok()?;
        let tag = match image.reference() {
            Some(Reference::Tag(tag)) => Some(tag.clone()),
            Some(Reference::Digest(_)) | None => None,
        };
        Some(Self { repository: Some(image.repository().clone()), tag })
    }
}

/// The repository that a file gives its name to: `Team.tar.zst` is `team`.
pub(crate) fn stem(file_name: &str) -> Option<RepoName> {
    let name = file_name.to_ascii_lowercase();
    let packed = [".tar.zst", ".tar.gz", ".tzst", ".tar", ".zst"];
    let stem = packed.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    stem.parse().ok()
}

fn is_tag_alone(text: &str) -> bool {
    !text.contains(['/', ':', '@'])
}

fn without_host(text: &str) -> &str {
    match text.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => rest,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(Option<String>, Option<String>)> {
        let name = Name::parse(text)?;
        Some((name.repository.map(|it| it.to_string()), name.tag.map(|it| it.to_string())))
    }

    #[test]
    fn a_name_is_a_repository_without_host_or_a_tag() {
        let both = |repository: &str, tag: &str| Some((Some(repository.into()), Some(tag.into())));
        assert_eq!(read("quay.io/team/app:1"), both("team/app", "1"));
        assert_eq!(read("localhost:5000/app:1"), both("app", "1"));
        assert_eq!(read("localhost/app:1"), both("app", "1"));
        assert_eq!(read("team/app:1"), both("team/app", "1"));
        assert_eq!(read("app:1"), both("app", "1"));
        assert_eq!(read("tiny-1.0"), Some((None, Some("tiny-1.0".into()))));
        assert_eq!(read("localhost:5000/app"), Some((Some("app".into()), None)));
        assert_eq!(read("quay.io/team/app"), Some((Some("team/app".into()), None)));
        let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(read(&format!("quay.io/a/b:1@{digest}")), both("a/b", "1"));
        for text in ["", "a b", "Team/App:1", "a/../b:1", "a:b:c", "/a:1"] {
            assert_eq!(read(text), None, "{text}");
        }
        let whole = Name::parse_whole("quay.io/team/app:1").unwrap();
        assert_eq!(whole.repository.unwrap().as_str(), "quay.io/team/app");
    }

    #[test]
    fn a_file_gives_its_name() {
        let name = |file| stem(file).map(|it| it.to_string());
        assert_eq!(name("Crane-layout.tar").as_deref(), Some("crane-layout"));
        assert_eq!(name("haul.tar.zst").as_deref(), Some("haul"));
        assert_eq!(name("directory").as_deref(), Some("directory"));
        assert_eq!(name("my images.tar"), None);
    }
}
