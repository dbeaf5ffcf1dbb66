//! Catalogs that oc-mirror filtered, whatever it did to them before.

use archive::{Contents, Damage, ScanError};
use oci::Digest;

use crate::layouts::{digest, image};
use crate::support::{Packed, scan_bytes, told};

const REPOSITORY: &str = "redhat/some-index";
const ONE: &str = "11111111111111111111111111111111";
const TWO: &str = "22222222222222222222222222222222";

/// An archive whose tag names the whole catalog, with two filters, and these of their images.
fn archive(brought: &[&str]) -> Contents {
    let (whole, one, two) = (image(b"whole", None), image(b"one", None), image(b"two", None));
    let mut packed = Packed::new();
    for (tag, image) in [("v1", &whole), (ONE, &one), (TWO, &two)] {
        let digest = digest(image.as_bytes());
        packed = link(packed, &format!("tags/{tag}/current"), digest);
        packed = link(packed, &format!("revisions/sha256/{}", digest.hex()), digest);
    }
    for content in brought.iter().flat_map(|name| [image(name.as_bytes(), None), (*name).into()]) {
        let hex = digest(content.as_bytes()).hex();
        let path = format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
        packed = packed.pax(&[("path", &path)]).file("data", content.as_bytes());
    }
    for (tag, image) in [(ONE, &one), (TWO, &two)] {
        packed = filter(packed, &whole, tag, image);
    }
    let configuration = b"    targetTag: v2\n";
    scan_bytes(&packed.file("isc_2026-11-29T00:00:00Z", configuration).end()).unwrap()
}

fn link(packed: Packed, path: &str, digest: Digest) -> Packed {
    let path = format!("docker/registry/v2/repositories/{REPOSITORY}/_manifests/{path}/link");
    packed.pax(&[("path", &path)]).file("link", digest.to_string().as_bytes())
}

/// What oc-mirror notes of a catalog that it filtered.
fn filter(packed: Packed, whole: &str, filter: &str, image: &str) -> Packed {
    let whole = digest(whole.as_bytes()).hex();
    let path = format!("some-index/{whole}/filtered-catalogs/{filter}/digest");
    let path = format!("working-dir/operator-catalogs/{path}");
    let hex = digest(image.as_bytes()).hex();
    packed.pax(&[("path", &path)]).file("digest", hex.as_bytes())
}

#[test]
fn a_catalog_of_many_filters_is_told_with_some_of_them() {
    let whole = image(b"whole", None);
    let mut packed = Packed::new();
    packed = link(packed, "tags/v1/current", digest(whole.as_bytes()));
    let hex = digest(whole.as_bytes()).hex();
    packed = link(packed, &format!("revisions/sha256/{hex}"), digest(whole.as_bytes()));
    for number in 0..100 {
        let (tag, image) = (format!("{number:032}"), image(&[number], None));
        let digest = digest(image.as_bytes());
        packed = link(packed, &format!("revisions/sha256/{}", digest.hex()), digest);
        packed = link(packed, &format!("tags/{tag}/current"), digest);
        packed = filter(packed, &whole, &tag, &image);
    }
    let contents = scan_bytes(&packed.clone().end()).unwrap();
    assert_eq!(contents.images(), []);
    let [name] = contents.ambiguous() else { panic!("{:?}", contents.ambiguous()) };
    assert_eq!((name.tag.as_str(), name.digests.len()), ("v1", 4));
    // Twice, and not the same.
    let twice = filter(packed.clone(), &whole, &format!("{:032}", 1), "else");
    let error = scan_bytes(&twice.end()).unwrap_err();
    assert!(matches!(error, ScanError::Twice { .. }), "{error}");
    let more = filter(packed, &whole, &format!("{:032}", 100), "else");
    let error = scan_bytes(&more.end()).unwrap_err();
    assert_eq!(error, ScanError::TooMany { what: "filters of one catalog", limit: 100 });
}

#[test]
fn of_two_filters_the_one_counts_that_the_archive_brings() {
    for brings in ["one", "two"] {
        let contents = archive(&["whole", brings]);
        let filtered = digest(image(brings.as_bytes(), None).as_bytes());
        assert_eq!(told(contents.images()), [format!("{REPOSITORY}:v1 {filtered}")].into());
        assert_eq!(contents.ambiguous(), []);
        assert!(contents.is_whole(&filtered));
        let report = &contents.sources()[0];
        assert_eq!(report.damage, [] as [Damage; 0]);
        assert!(report.oc_mirror.as_ref().unwrap().renames_catalogs);
    }
}

#[test]
fn of_two_filters_that_it_brings_or_does_not_bring_none_is_guessed() {
    for brought in [&["whole"][..], &["whole", "one", "two"]] {
        let contents = archive(brought);
        assert_eq!(contents.images(), []);
        let [name] = contents.ambiguous() else { panic!("{:?}", contents.ambiguous()) };
        assert_eq!((name.tag.as_str(), name.digests.len()), ("v1", 2));
    }
}
