//! The manifests that refer to one.

use oci::{Digest, RepoName};
use serde::{Deserialize, Serialize};
use storage::PageSize;

use crate::command::{Command, CommandError, Context, Page};

/// Asks for a page of the manifests that refer to one, in the order of their digests.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListReferrers {
    /// The repository.
    pub repository: RepoName,
    /// The manifest.
    pub digest: Digest,
    /// Where the page begins; none for the first one.
    pub after: Option<Digest>,
}

/// One manifest that refers to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Referrer {
    /// The digest.
    pub digest: Digest,
    /// What it is.
    pub artifact_type: Option<String>,
    /// The bytes of the manifest.
    pub size: u64,
}

impl Command for ListReferrers {
    type Reply = Page<Referrer, Digest>;

    const NAME: &'static str = "image-referrers";

    fn words(&self) -> &'static str {
        "inspect"
    }

    fn subject(&self) -> Option<String> {
        Some(self.repository.to_string())
    }

    fn is_continued(&self) -> bool {
        true
    }

    fn run(self, context: &mut Context<'_>) -> Result<Self::Reply, CommandError> {
        let Self { repository, digest, after } = self;
        let page = |size| context.store.referrers(&repository, &digest, None, after.as_ref(), size);
        let (mut found, mut has_more) = page(PAGE)?;
        if found.is_empty() && has_more {
            // The next one is longer than such a page.
            (found, has_more) = page(1.into())?;
        }
        let referrer = |storage::Referrer { digest, artifact_type, size, .. }| Referrer {
            digest,
            artifact_type,
            size,
        };
        let entries: Vec<Referrer> = found.into_iter().map(referrer).collect();
        let next = entries.last().filter(|_| has_more).map(|last| last.digest);
        Ok(Page { entries, next })
    }
}

/// A page of referrers. What they are annotated with is not shown, and read all the same.
const PAGE: PageSize = PageSize { entries: 1000, bytes: 1 << 20 };
