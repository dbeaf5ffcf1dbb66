//! The tree of a registry: what has no tag, what refers to something, and what was deleted.

use archive::Damage;

use crate::layouts::{digest, image};
use crate::support::{Packed, scan_bytes, tell};

const ROOT: &str = "data/docker/registry/v2";

#[test]
fn what_has_no_tag_counts_unless_it_was_deleted() {
    let (one, two, gone) = (image(b"one", None), image(b"two", None), image(b"gone", None));
    let referrer = image(b"three", Some(&one));
    let mut packed = Packed::new();
    for content in [&one, &two, &gone, &referrer] {
        packed = blob(packed, content.as_bytes());
    }
    for content in [&b"one"[..], b"two", b"gone", b"three"] {
        packed = blob(packed, content);
    }
    for content in [&one, &two, &referrer] {
        packed = revision(packed, content);
    }
    let tags = format!("{ROOT}/repositories/a/_manifests/tags");
    packed = packed.pax(&[("path", &format!("{tags}/1/current/link"))]);
    packed = packed.file("link", digest(one.as_bytes()).to_string().as_bytes());
    // Programs that save room make one file of two that are alike.
    packed = packed
        .pax(&[("path", &format!("{tags}/2/current/link")), ("linkpath", &revision_path(&one))]);
    packed = packed.link("link", b'1', "link");
    packed = packed.pax(&[("path", &format!("{tags}/3/current/link"))]);
    packed = packed.file("link", digest(gone.as_bytes()).to_string().as_bytes());
    let contents = scan_bytes(&packed.end()).unwrap();
    let images: Vec<String> = contents.images().iter().map(tell).collect();
    let [one, two, gone, three] = [&one, &two, &gone, &referrer].map(|it| digest(it.as_bytes()));
    let mut untagged = [format!("a:- {two}"), format!("a:- {three}")];
    untagged.sort();
    let tagged = [format!("a:1 {one}"), format!("a:2 {one}")];
    assert_eq!(images, [tagged, untagged].concat());
    assert!(contents.images().iter().all(|it| contents.is_whole(&it.digest)));
    let (repository, tag) = ("a".parse().unwrap(), "3".parse().unwrap());
    let deleted = Damage::DeletedRevision { repository, tag, digest: gone };
    assert_eq!(contents.sources()[0].damage, [deleted]);
}

#[test]
fn a_link_that_is_empty_or_not_there_yet_was_not_deleted() {
    let one = image(b"one", None);
    let tag = |packed: Packed| {
        let path = format!("{ROOT}/repositories/a/_manifests/tags/1/current/link");
        packed.pax(&[("path", &path)]).file("link", digest(one.as_bytes()).to_string().as_bytes())
    };
    let packed = blob(blob(tag(Packed::new()), one.as_bytes()), b"one");
    // A power cut leaves such files.
    let path = revision_path(&one);
    let empty = packed.clone().pax(&[("path", &path)]).file("link", b"").end();
    // What says that it is there may be behind the cut.
    for (bytes, is_document) in [(empty, true), (packed.open_end(), false)] {
        let contents = scan_bytes(&bytes).unwrap();
        let images: Vec<String> = contents.images().iter().map(tell).collect();
        assert_eq!(images, [format!("a:1 {}", digest(one.as_bytes()))]);
        let [damage] = &contents.sources()[0].damage[..] else { panic!("{contents:?}") };
        assert_eq!(matches!(damage, Damage::Document { .. }), is_document, "{damage}");
    }
}

fn blob(packed: Packed, content: &[u8]) -> Packed {
    let hex = digest(content).hex();
    let path = format!("{ROOT}/blobs/sha256/{}/{hex}/data", &hex[..2]);
    packed.pax(&[("path", &path)]).file("data", content)
}

fn revision(packed: Packed, image: &str) -> Packed {
    let link = digest(image.as_bytes()).to_string();
    packed.pax(&[("path", &revision_path(image))]).file("link", link.as_bytes())
}

fn revision_path(image: &str) -> String {
    let hex = digest(image.as_bytes()).hex();
    format!("{ROOT}/repositories/a/_manifests/revisions/sha256/{hex}/link")
}
