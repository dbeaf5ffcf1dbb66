//! Links inside a source: another name of something that is there, or a way out.

use oci::Digest;

use super::Findings;
use crate::contents::Format;
use crate::damage::Damage;
use crate::error::ScanError;
use crate::path::EntryPath;
use crate::role::Role;

impl Findings {
    /// Looks at another name of something. The target of a hard link comes before it in a tar.
    pub(super) fn look_at_link(
        &mut self,
        path: &EntryPath,
        role: Role,
        target: Option<&EntryPath>,
        said: &str,
    ) -> Result<(), ScanError> {
        let leads_to = target.and_then(Role::of).and_then(|target| self.digest_of(&target));
        match (role, leads_to) {
            (Role::WorkingDirectory, _) => Ok(()),
            (Role::OcTag { repository, tag }, Some(digest)) => {
                self.oc_tag(path, repository, tag, digest)
            }
            (Role::Tag { repository, tag }, Some(digest)) => {
                self.tag(path, repository, tag, digest)
            }
            (Role::OcManifest { repository, digest }, Some(other)) if digest == other => {
                self.formats.insert(Format::OcDirectory);
                self.revision(repository, digest)
            }
            (Role::Revision { repository, digest }, Some(other)) if digest == other => {
                self.revision(repository, digest)
            }
            (Role::Blob { digest, .. }, Some(other)) if digest == other => Ok(()),
            (Role::LayoutBlob { digest, layout }, Some(other)) if digest == other => {
                self.layout(layout)?.has_blobs = true;
                Ok(())
            }
            _ => {
                let path = path.as_str().to_owned();
                self.damaged(Damage::Link { path, target: said.to_owned() });
                Ok(())
            }
        }
    }

    /// What lies at the target of a link, by its digest.
    fn digest_of(&self, target: &Role) -> Option<Digest> {
        match target {
            Role::Blob { digest, .. }
            | Role::LayoutBlob { digest, .. }
            | Role::OcManifest { digest, .. }
            | Role::Revision { digest, .. } => Some(*digest),
            Role::Tag { repository, tag } | Role::OcTag { repository, tag } => {
                self.tags.get(repository, tag)
            }
            _ => None,
        }
    }
}
