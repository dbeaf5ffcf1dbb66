//! `registry inspect`: walks an image to its leaves and says what is missing.
//!
//! The walk is made here, page by page, so that no reply and no read grows with the image.

use std::collections::HashSet;
use std::path::Path;

use anyhow::bail;
use serde::Serialize;

use super::rm::ask;
use super::words::{bytes, counted, cut, time};
use crate::admin::{
    ImageCommand, ImageReply, LIST_PAGE_ENTRIES, ManifestEntry, PartEntry, ReferrerEntry,
};
use crate::text::{Page, print, print_json};

pub(super) fn run(data_dir: &Path, image: &str, json: bool) -> anyhow::Result<()> {
    let Some(root) = manifest(data_dir, image, false)? else {
        bail!(
            "there is no image {image}: see `registry ls`, or what was deleted with `registry tag \
             history`"
        )
    };
    let mut walk = Walk::new(data_dir, json);
    let root = walk.visit(root, 0)?;
    let whole = Whole {
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
struct Whole {
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
    digest: String,
    media_type: String,
    size: u64,
    pushed: String,
    /// Whether its bytes are gone or wrong; what it names is not known then.
    is_lost: bool,
    tags: Vec<String>,
    signatures: Vec<String>,
    referrers: Vec<ReferrerEntry>,
    parts: Vec<Part>,
}

/// One thing that a manifest names.
#[derive(Serialize)]
struct Part {
    #[serde(flatten)]
    entry: PartEntry,
    /// The manifest, where it is one that is there and was not shown before.
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<Node>,
}

/// A blob or a manifest that must be there and is not.
#[derive(Serialize)]
struct Missing {
    digest: String,
    kind: String,
    state: String,
    /// The manifest that names it, or itself if it is the image.
    manifest: String,
}

/// A size that a manifest says and that is another.
#[derive(Serialize)]
struct WrongSize {
    digest: String,
    kind: String,
    /// The bytes that the manifest says.
    said: u64,
    /// The bytes that are there.
    stored: u64,
    /// The manifest that says so.
    manifest: String,
}

struct Walk<'a> {
    data_dir: &'a Path,
    is_quiet: bool,
    seen: HashSet<String>,
    blobs: u64,
    manifests: u64,
    bytes: u64,
    absent_children: u64,
    missing: Vec<Missing>,
    wrong_sizes: Vec<WrongSize>,
}

impl<'a> Walk<'a> {
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
        self.seen.insert(entry.digest.clone());
        let pushed = time(entry.pushed_at);
        let kind = kind_of(&entry.media_type);
        let ManifestEntry { digest, media_type, size, is_lost, .. } = &entry;
        let word = if *is_lost { "  lost: its bytes are gone or wrong" } else { "" };
        if *is_lost {
            let (digest, manifest) = (digest.clone(), digest.clone());
            let (kind, state) = ("manifest".to_owned(), "lost".to_owned());
            self.missing.push(Missing { digest, kind, state, manifest });
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

    fn parts(&mut self, above: &ManifestEntry, depth: usize) -> anyhow::Result<Vec<Part>> {
        let (mut parts, mut skip) = (Vec::new(), 0);
        loop {
            let (repository, digest) = (above.repository.clone(), above.digest.clone());
            let command = ImageCommand::Parts { repository, digest, skip };
            let ImageReply::Parts(page) = ask(self.data_dir, command)? else {
                bail!("the running server's answer makes no sense")
            };
            let is_last = page.len() < LIST_PAGE_ENTRIES;
            skip += page.len();
            for entry in page {
                let manifest = self.part(above, &entry, depth)?;
                // The tree is kept only where it is printed at the end.
                if self.is_quiet {
                    parts.push(Part { entry, manifest });
                }
            }
            if is_last {
                return Ok(parts);
            }
        }
    }

    fn part(
        &mut self,
        above: &ManifestEntry,
        entry: &PartEntry,
        depth: usize,
    ) -> anyhow::Result<Option<Node>> {
        let PartEntry { kind, digest, size, stored_size, state, is_manifest, .. } = entry;
        let (is_manifest, said) = (*is_manifest, *size);
        let wrong_size = stored_size.filter(|stored| *stored != said);
        let is_child = kind == "child" && is_manifest;
        let size = bytes(*size);
        let platform = platform(entry).map(|it| format!("  {it}")).unwrap_or_default();
        let is_known = self.seen.contains(digest);
        let mut word = match state.as_str() {
            "absent" if is_child => "  absent (sparse)".to_owned(),
            "present" if is_child && is_known => "  see above".to_owned(),
            "present" if kind == "child" && !is_manifest => "  a blob".to_owned(),
            "present" => String::new(),
            "lost" if is_manifest => "  lost: its bytes are gone or wrong".to_owned(),
            "lost" => "  lost: its file is gone or wrong".to_owned(),
            "foreign" => "  foreign: not in this registry".to_owned(),
            other => format!("  {other}"),
        };
        if let Some(stored) = wrong_size {
            word += &format!("  wrong size: it has {stored} bytes and not {said}");
            let (digest, kind, manifest) = (digest.clone(), kind.clone(), above.digest.clone());
            self.wrong_sizes.push(WrongSize { digest, kind, said, stored, manifest });
        }
        self.show(depth, &format!("{kind}{platform}  {digest}  {size}{word}"))?;
        match (kind.as_str(), state.as_str()) {
            ("child", "absent") => self.absent_children += 1,
            ("child", "present") if is_child && !is_known => {
                return self.child(above, entry, depth);
            }
            ("child", "present") if is_child => {}
            ("subject", _) => {}
            (_, "present") if self.seen.insert(digest.clone()) => {
                self.blobs += 1;
                // A server of an earlier version knows no more than what a manifest says.
                self.bytes = self.bytes.saturating_add(stored_size.unwrap_or(said));
            }
            (_, "absent" | "lost") => self.missing.push(Missing {
                digest: digest.clone(),
                kind: kind.clone(),
                state: state.clone(),
                manifest: above.digest.clone(),
            }),
            _ => {}
        }
        Ok(None)
    }

    fn child(
        &mut self,
        above: &ManifestEntry,
        entry: &PartEntry,
        depth: usize,
    ) -> anyhow::Result<Option<Node>> {
        // A manifest is shown one step further in than what names it, and so is what it names.
        if depth > 2 * MAX_INDEXES {
            bail!("{} lies below {MAX_INDEXES} indexes: inspect it by itself", entry.digest);
        }
        let image = format!("{}@{}", above.repository, entry.digest);
        match manifest(self.data_dir, &image, true)? {
            Some(child) => self.visit(child, depth + 1).map(Some),
            // Somebody deleted it just now.
            None => Ok(None),
        }
    }

    fn referrers(
        &mut self,
        above: &ManifestEntry,
        depth: usize,
    ) -> anyhow::Result<Vec<ReferrerEntry>> {
        let mut all: Vec<ReferrerEntry> = Vec::new();
        loop {
            let command = ImageCommand::Referrers {
                repository: above.repository.clone(),
                digest: above.digest.clone(),
                after: all.last().map(|last| last.digest.clone()),
            };
            let ImageReply::Referrers { entries, has_more } = ask(self.data_dir, command)? else {
                bail!("the running server's answer makes no sense")
            };
            for ReferrerEntry { digest, artifact_type, size } in &entries {
                let kind = cut(artifact_type.as_deref().unwrap_or("of no type"));
                self.show(depth, &format!("referrer  {digest}  {}  {kind}", bytes(*size)))?;
            }
            all.extend(entries);
            if !has_more {
                return Ok(all);
            }
        }
    }

    fn show(&self, depth: usize, line: &str) -> anyhow::Result<()> {
        if self.is_quiet {
            return Ok(());
        }
        Ok(print(&Page::of(format_args!("{}{line}", "  ".repeat(depth))))?)
    }
}

fn manifest(data_dir: &Path, image: &str, is_part: bool) -> anyhow::Result<Option<ManifestEntry>> {
    let command = ImageCommand::Manifest { image: image.to_owned(), is_part };
    match ask(data_dir, command)? {
        ImageReply::Manifest(entry) => Ok(entry.map(|entry| *entry)),
        _ => bail!("the running server's answer makes no sense"),
    }
}

/// The platform of a part for people. One of its texts that could pass for two is quoted.
fn platform(entry: &PartEntry) -> Option<String> {
    let parts = [&entry.os, &entry.architecture, &entry.variant];
    let part = |part: &String| match part.is_empty() || part.contains(['/', '"']) {
        true => format!("\"{}\"", cut(part)),
        false => cut(part).into_owned(),
    };
    let parts: Vec<String> = parts.into_iter().flatten().map(part).collect();
    match parts.is_empty() {
        // A server of an earlier version says them only together.
        true => entry.platform.as_deref().map(|it| cut(it).into_owned()),
        false => Some(parts.join("/")),
    }
}

fn kind_of(media_type: &str) -> &'static str {
    match media_type.parse::<storage::MediaType>() {
        Ok(media_type) if media_type.is_index() => "index",
        Ok(media_type) if media_type.is_image() => "image",
        _ => "manifest",
    }
}

fn summary(whole: &Whole) -> Page {
    let (manifests, blobs) = (counted(whole.manifests, "manifest"), counted(whole.blobs, "blob"));
    let size = bytes(whole.bytes);
    let mut page = Page::of(format_args!("{size} in {manifests} and {blobs}, each once"));
    for Missing { digest, kind, state, manifest } in &whole.missing {
        page.line(match digest == manifest {
            true => format!("missing: the {kind} {digest} itself is {state}"),
            false => format!("missing: the {kind} {digest} of {manifest} is {state}"),
        });
    }
    for WrongSize { digest, kind, said, stored, manifest } in &whole.wrong_sizes {
        page.line(format_args!(
            "wrong size: of the {kind} {digest}, {manifest} says {said} bytes, and it has \
             {stored}: some clients refuse it"
        ));
    }
    if whole.absent_children > 0 {
        let children = counted(whole.absent_children, "manifest");
        page.line(format_args!("sparse: {children} of its indexes never came or were deleted"));
    }
    if whole.missing.is_empty() {
        page.line("complete");
    }
    page
}

/// Indexes within indexes that are followed. Nobody builds more than two on purpose, and each
/// takes a part of the stack.
const MAX_INDEXES: usize = 32;
