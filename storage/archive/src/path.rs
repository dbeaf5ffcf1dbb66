//! Paths of entries inside an archive or a directory.
//!
//! None of them is ever opened as it came: a path only says what role its entry has.

use thiserror::Error;

/// The path of an entry: components that are neither empty nor `.` nor `..`, joined by slashes.
/// The root itself has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct EntryPath(String);

impl EntryPath {
    /// Reads the path that an archive has for an entry. What is not UTF-8 gets other characters in
    /// its place: no format has such names.
    ///
    /// # Errors
    /// Every [`PathFault`].
    pub(crate) fn parse(raw: &[u8]) -> Result<Self, PathFault> {
        if raw.contains(&0) {
            return Err(PathFault::Nul);
        }
        if raw.first() == Some(&b'/') {
            return Err(PathFault::Absolute);
        }
        let text = String::from_utf8_lossy(raw);
        let mut path = String::with_capacity(text.len());
        for part in text.split('/').filter(|part| !part.is_empty() && *part != ".") {
            if part == ".." {
                return Err(PathFault::LeadsOut);
            }
            push(&mut path, part);
        }
        Ok(Self(path))
    }

    /// The path of something in the directory that this path names.
    pub(crate) fn join(&self, name: &str) -> Self {
        let mut path = self.0.clone();
        push(&mut path, name);
        Self(path)
    }

    /// Where a symbolic link at this path leads to; none if that is outside.
    pub(crate) fn follow(&self, target: &str) -> Option<Self> {
        if target.starts_with('/') || target.contains('\0') {
            return None;
        }
        let mut parts: Vec<&str> = self.parts().collect();
        parts.pop();
        for part in target.split('/').filter(|part| !part.is_empty() && *part != ".") {
            match part {
                ".." => drop(parts.pop()?),
                part => parts.push(part),
            }
        }
        Some(Self(parts.join("/")))
    }

    /// The components.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }

    /// The path as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why the path of an entry is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PathFault {
    /// It begins at the root of a host.
    #[error("it begins with a slash")]
    Absolute,
    /// It has a component `..`.
    #[error("it leads out of the archive")]
    LeadsOut,
    /// It has a NUL in it, where some readers end.
    #[error("it has a NUL in it")]
    Nul,
}

fn push(path: &mut String, part: &str) {
    if !path.is_empty() {
        path.push('/');
    }
    path.push_str(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, PathFault> {
        EntryPath::parse(text.as_bytes()).map(|path| path.0)
    }

    #[test]
    fn a_path_stays_inside() {
        for (text, path) in [("a/b", "a/b"), ("./a//b/", "a/b"), ("./", ""), ("a/./b", "a/b")] {
            assert_eq!(parse(text), Ok(path.to_owned()), "{text}");
        }
        assert_eq!(parse("/a"), Err(PathFault::Absolute));
        assert_eq!(parse("a\0b"), Err(PathFault::Nul));
        for text in ["..", "../a", "a/../b", "a/.."] {
            assert_eq!(parse(text), Err(PathFault::LeadsOut), "{text}");
        }
    }

    #[test]
    fn a_link_is_followed_inside_only() {
        let link = EntryPath::parse(b"a/b/link").unwrap();
        let follow = |target| link.follow(target).map(|path| path.0);
        assert_eq!(follow("c").as_deref(), Some("a/b/c"));
        assert_eq!(follow("../c").as_deref(), Some("a/c"));
        assert_eq!(follow("../../c").as_deref(), Some("c"));
        for out in ["../../../c", "/a/b", "x/../../../../a"] {
            assert_eq!(follow(out), None, "{out}");
        }
    }
}
