//! `registry inspect`: walks an image to its leaves and says what is missing.
//!
//! The walk is made here, page by page, so that no reply and no read grows with the image.

use std::collections::HashSet;
use std::path::Path;

use anyhow::bail;
use oci::{Digest, EdgeKind, ImageName, PastedImage, Reference};
use serde::Serialize;
use storage::PartState;

use super::pages::each_page;
use crate::command::image::{
    ListParts, ListReferrers, LookAtManifest, ManifestEntry, Part, Referrer,
};
use crate::control;
use crate::limits::MAX_INDEXES;
use crate::text::format::{bytes, counted, cut, time};
use crate::text::{Lines, print, print_json};

pub(super) fn run(data_dir: &Path, image: &str, json: bool) -> anyhow::Result<()> {
    let Some(root) = manifest(data_dir, image.parse()?, false)? else {
        bail!(
            "there is no image {image}: see `registry ls`, or what was deleted with `registry tag \
             history`"
        )
    };
    let mut walk = ImageWalk::new(data_dir, json);
    let root = walk.visit(root, 0)?;
    let whole = ImageReport {
        image: root,
        blobs: walk.blobs,
        manifests: walk.manifests,
        bytes: walk.bytes,
        absent_children: walk.absent_children,
        missing: walk.missing,
        wrong_sizes: walk.wrong_sizes,
    };
    if json {
        print_json(&whole)?;
    } else {
        print(&summary(&whole))?;
    }
    if !whole.missing.is_empty() {
        bail!("{image} is not complete: push it again, which sends only what is missing");
    }
    Ok(())
}

/// An image and what its walk found.
#[derive(Serialize)]
struct ImageReport {
    image: Node,
    /// Blobs that are there, each once.
    blobs: u64,
    /// Manifests that are there, each once.
    manifests: u64,
    /// The bytes of both.
    bytes: u64,
    /// Children of indexes that are not there, which is allowed.
    absent_children: u64,
    /// What must be there and is not.
    missing: Vec<Missing>,
    /// What is there with another size than its manifest says, which some clients refuse.
    wrong_sizes: Vec<WrongSize>,
}

/// A manifest with all below it.
#[derive(Serialize)]
struct Node {
    digest: Digest,
    media_type: String,
    size: u64,
    pushed: String,
    /// Whether its bytes are gone or wrong; what it names is not known then.
    is_lost: bool,
    tags: Vec<ImageName>,
    signatures: Vec<ImageName>,
    referrers: Vec<Referrer>,
    parts: Vec<PartNode>,
}

/// One thing that a manifest names.
#[derive(Serialize)]
struct PartNode {
    #[serde(flatten)]
    entry: Part,
    /// The manifest, where it is one that is there and was not shown before.
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<Node>,
}

/// A blob or a manifest that must be there and is not.
#[derive(Serialize)]
struct Missing {
    digest: Digest,
    /// What names it, and as what: a manifest that is lost is one itself.
    kind: &'static str,
    state: PartState,
    /// The manifest that names it, or itself if it is the image.
    manifest: Digest,
}

/// A size that a manifest says and that is another.
#[derive(Serialize)]
struct WrongSize {
    digest: Digest,
    kind: EdgeKind,
    /// The bytes that the manifest says.
    said: u64,
    /// The bytes that are there.
    stored: u64,
    /// The manifest that says so.
    manifest: Digest,
}

struct ImageWalk<'a> {
    data_dir: &'a Path,
    is_quiet: bool,
    seen: HashSet<Digest>,
    blobs: u64,
    manifests: u64,
    bytes: u64,
    absent_children: u64,
    missing: Vec<Missing>,
    wrong_sizes: Vec<WrongSize>,
}

impl<'a> ImageWalk<'a> {
    fn new(data_dir: &'a Path, is_quiet: bool) -> Self {
        Self {
            data_dir,
            is_quiet,
            seen: HashSet::new(),
            blobs: 0,
            manifests: 0,
            bytes: 0,
            absent_children: 0,
            missing: Vec::new(),
            wrong_sizes: Vec::new(),
        }
    }

    /// Shows a manifest and everything below it.
    fn visit(&mut self, entry: ManifestEntry, depth: usize) -> anyhow::Result<Node> {
        self.seen.insert(entry.digest);
        let pushed = time(entry.pushed_at);
        let kind = kind_of(&entry.media_type);
        let ManifestEntry { digest, media_type, size, is_lost, .. } = &entry;
        let word = if *is_lost { "  lost: its bytes are gone or wrong" } else { "" };
        if *is_lost {
            let (digest, manifest, state) = (*digest, *digest, PartState::Lost);
            self.missing.push(Missing { digest, kind: "manifest", state, manifest });
        } else {
            self.manifests += 1;
            self.bytes = self.bytes.saturating_add(*size);
        }
        let size = bytes(*size);
        let line = format!("{kind}  {digest}  {size}  {media_type}  pushed {pushed}{word}");
        self.show(depth, &line)?;
        for tag in &entry.tags {
            self.show(depth + 1, &format!("tag  {tag}"))?;
        }
        let parts = self.parts(&entry, depth + 1)?;
        for tag in &entry.signatures {
            self.show(depth + 1, &format!("signature  {tag}"))?;
        }
        let referrers = self.referrers(&entry, depth + 1)?;
        let ManifestEntry { digest, media_type, size, is_lost, tags, signatures, .. } = entry;
        Ok(Node { digest, media_type, size, pushed, is_lost, tags, signatures, referrers, parts })
    }

    fn parts(&mut self, above: &ManifestEntry, depth: usize) -> anyhow::Result<Vec<PartNode>> {
        let (data_dir, repository, digest) = (self.data_dir, &above.repository, above.digest);
        let ask = |skip: Option<usize>| {
            let (repository, skip) = (repository.clone(), skip.unwrap_or_default());
            control::run(data_dir, ListParts { repository, digest, skip })
        };
        let mut parts = Vec::new();
        each_page(ask, |page| {
            for entry in page {
                let manifest = self.part(above, &entry, depth)?;
                // The tree is kept only where it is printed at the end.
                if self.is_quiet {
                    parts.push(PartNode { entry, manifest });
                }
            }
            Ok(())
        })?;
        Ok(parts)
    }

    fn part(
        &mut self,
        above: &ManifestEntry,
        entry: &Part,
        depth: usize,
    ) -> anyhow::Result<Option<Node>> {
        let Part { kind, digest, size, stored_size, state, is_manifest, .. } = *entry;
        let wrong_size = stored_size.filter(|stored| *stored != size);
        let is_child = kind == EdgeKind::Child && is_manifest;
        let platform = platform(entry).map(|it| format!("  {it}")).unwrap_or_default();
        let is_known = self.seen.contains(&digest);
        let mut word = match state {
            PartState::Absent if is_child => "  absent (sparse)".to_owned(),
            PartState::Absent => "  absent".to_owned(),
            PartState::Present if is_child && is_known => "  see above".to_owned(),
            PartState::Present if kind == EdgeKind::Child && !is_manifest => "  a blob".to_owned(),
            PartState::Present => String::new(),
            PartState::Lost if is_manifest => "  lost: its bytes are gone or wrong".to_owned(),
            PartState::Lost => "  lost: its file is gone or wrong".to_owned(),
            PartState::Foreign => "  foreign: not in this registry".to_owned(),
        };
        if let Some(stored) = wrong_size {
            word += &format!("  wrong size: it has {stored} bytes and not {size}");
            let (said, manifest) = (size, above.digest);
            self.wrong_sizes.push(WrongSize { digest, kind, said, stored, manifest });
        }
        let name = kind.as_str();
        self.show(depth, &format!("{name}{platform}  {digest}  {}{word}", bytes(size)))?;
        match (kind, state) {
            (EdgeKind::Child, PartState::Absent) => self.absent_children += 1,
            (EdgeKind::Child, PartState::Present) if is_child && !is_known => {
                return self.child(above, &digest, depth);
            }
            (EdgeKind::Child, PartState::Present) if is_child => {}
            (EdgeKind::Subject, _) => {}
            (_, PartState::Present) if self.seen.insert(digest) => {
                self.blobs += 1;
                self.bytes = self.bytes.saturating_add(stored_size.unwrap_or(size));
            }
            (_, PartState::Absent | PartState::Lost) => {
                let manifest = above.digest;
                self.missing.push(Missing { digest, kind: name, state, manifest });
            }
            _ => {}
        }
        Ok(None)
    }

    fn child(
        &mut self,
        above: &ManifestEntry,
        digest: &Digest,
        depth: usize,
    ) -> anyhow::Result<Option<Node>> {
        // A manifest is shown one step further in than what names it, and so is what it names.
        if depth > 2 * MAX_INDEXES {
            bail!("{digest} lies below {MAX_INDEXES} indexes: inspect it by itself");
        }
        let image = ImageName::new(above.repository.clone(), Some(Reference::Digest(*digest)));
        match manifest(self.data_dir, image.into(), true)? {
            Some(child) => self.visit(child, depth + 1).map(Some),
            // Somebody deleted it just now.
            None => Ok(None),
        }
    }

    fn referrers(&mut self, above: &ManifestEntry, depth: usize) -> anyhow::Result<Vec<Referrer>> {
        let ask = |after| {
            let (repository, digest) = (above.repository.clone(), above.digest);
            control::run(self.data_dir, ListReferrers { repository, digest, after })
        };
        let mut all = Vec::new();
        each_page(ask, |page| {
            for Referrer { digest, artifact_type, size } in &page {
                let kind = cut(artifact_type.as_deref().unwrap_or("of no type"));
                self.show(depth, &format!("referrer  {digest}  {}  {kind}", bytes(*size)))?;
            }
            all.extend(page);
            Ok(())
        })?;
        Ok(all)
    }

    fn show(&self, depth: usize, line: &str) -> anyhow::Result<()> {
        if self.is_quiet {
            return Ok(());
        }
        Ok(print(&Lines::of(format_args!("{}{line}", "  ".repeat(depth))))?)
    }
}

fn manifest(
    data_dir: &Path,
    image: PastedImage,
    is_part: bool,
) -> anyhow::Result<Option<ManifestEntry>> {
    control::run(data_dir, LookAtManifest { image, is_part })
}

/// The platform of a part for people. One of its texts that could pass for two is quoted.
fn platform(entry: &Part) -> Option<String> {
    let parts = [&entry.os, &entry.architecture, &entry.variant];
    let part = |part: &String| match part.is_empty() || part.contains(['/', '"']) {
        true => format!("\"{}\"", cut(part)),
        false => cut(part).into_owned(),
    };
    let parts: Vec<String> = parts.into_iter().flatten().map(part).collect();
    (!parts.is_empty()).then(|| parts.join("/"))
}

fn kind_of(media_type: &str) -> &'static str {
    match media_type.parse::<oci::MediaType>() {
        Ok(media_type) if media_type.is_index() => "index",
        Ok(media_type) if media_type.is_image() => "image",
        _ => "manifest",
    }
}

fn summary(whole: &ImageReport) -> Lines {
    let (manifests, blobs) = (counted(whole.manifests, "manifest"), counted(whole.blobs, "blob"));
    let size = bytes(whole.bytes);
    let mut lines = Lines::of(format_args!("{size} in {manifests} and {blobs}, each once"));
    for Missing { digest, kind, state, manifest } in &whole.missing {
        let state = state.as_str();
        lines.line(match digest == manifest {
            true => format!("missing: the {kind} {digest} itself is {state}"),
            false => format!("missing: the {kind} {digest} of {manifest} is {state}"),
        });
    }
    for WrongSize { digest, kind, said, stored, manifest } in &whole.wrong_sizes {
        lines.line(format_args!(
            "wrong size: of the {} {digest}, {manifest} says {said} bytes, and it has {stored}: \
             some clients refuse it",
            kind.as_str()
        ));
    }
    if whole.absent_children > 0 {
        let children = counted(whole.absent_children, "manifest");
        lines.line(format_args!("sparse: {children} of its indexes never came or were deleted"));
    }
    if whole.missing.is_empty() {
        lines.line("complete");
    }
    lines
}
