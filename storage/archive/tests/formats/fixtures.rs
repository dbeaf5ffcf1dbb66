//! What the tools wrote, as they wrote it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use archive::{Contents, Damage, Format, Inventory, OpenSourceError, Opened};
use oci::{Digest, EdgeKind, Manifest};

use crate::support::{
    TARS, check_blobs, entries, fixture, open, scan, scan_bytes, stream, tell, told,
};

/// The images that a mirror holds after oc-mirror filled it.
fn after(directory: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(fixture(directory).join("mirror-after.txt")).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn mirror(directory: &str) -> PathBuf {
    fixture(&format!("{directory}/mirror_000001.tar"))
}

fn assert_whole(contents: &Contents) {
    for image in contents.images() {
        assert!(contents.is_whole(&image.digest), "{}", tell(image));
    }
    assert_eq!(contents.missing(), []);
    assert_eq!(contents.unusable(), []);
    assert_eq!(contents.ambiguous(), []);
    for source in contents.sources() {
        assert_eq!(source.damage, []);
    }
}

const A: &str = "oc-mirror-a-operators";
const B: &str = "oc-mirror-b-release-graph";
const C: &str = "oc-mirror-c-operators-increment";
const D: &str = "oc-mirror-d-platforms-sparse";

#[test]
fn an_archive_of_oc_mirror_becomes_what_oc_mirror_makes_of_it() {
    for (directory, blobs, absent) in [(A, 65, 0), (B, 72, 0), (D, 127, 1)] {
        let contents = scan(&[mirror(directory)]);
        assert_eq!(told(contents.images()), after(directory), "{directory}");
        assert_whole(&contents);
        assert_eq!(contents.blobs().len(), blobs, "{directory}");
        assert_eq!(contents.absent_revisions().len(), absent, "{directory}");
        assert_eq!(contents.superseded(), []);
        let report = &contents.sources()[0];
        assert_eq!(report.formats, BTreeSet::from([Format::OcMirror]));
        let oc_mirror = report.oc_mirror.as_ref().unwrap();
        assert_eq!(oc_mirror.version.as_deref(), Some("v0.0.0-main-855b64a3"));
        assert!(oc_mirror.time.as_ref().unwrap().starts_with("2026-11-28T05:"));
        assert!(!oc_mirror.renames_catalogs);
    }
}

#[test]
fn an_increment_and_its_base_come_to_what_the_mirror_holds_after_both() {
    for order in [[A, C], [C, A]] {
        let contents = scan(&order.map(mirror));
        assert_eq!(told(contents.images()), after(C), "{order:?}");
        assert_whole(&contents);
        assert_eq!(contents.absent_revisions(), []);
        let catalog: Vec<String> = contents.superseded().iter().map(tell).collect();
        let before = after(A).into_iter().filter(|it| it.contains("redhat-operator-index"));
        assert_eq!(catalog, before.collect::<Vec<_>>());
    }
}

#[test]
fn which_archive_is_newer_does_not_depend_on_their_order() {
    let place = tempfile::tempdir().unwrap();
    // The names of an archive in segments are in the first, and the time is in the last.
    let segments = |directory: &str| {
        let bytes = fs::read(mirror(directory)).unwrap();
        let middle =
            entries(&bytes).iter().rfind(|(path, _)| path.contains("/v2/blobs/")).unwrap().1.end;
        let paths = [0, 1].map(|number| place.path().join(format!("{directory}-{number}")));
        fs::write(&paths[0], [&bytes[..middle], &[0; 1024]].concat()).unwrap();
        fs::write(&paths[1], &bytes[middle..]).unwrap();
        paths
    };
    let ([a, a_end], [c, c_end]) = (segments(A), segments(C));
    for sources in [
        [mirror(C), a.clone(), a_end.clone()],
        [a.clone(), a_end.clone(), mirror(C)],
        [c.clone(), c_end.clone(), mirror(A)],
        [c_end.clone(), mirror(A), c.clone()],
    ] {
        let contents = scan(&sources);
        assert_eq!(told(contents.images()), after(C), "{sources:?}");
        assert_whole(&contents);
        assert_eq!(contents.superseded().len(), 1);
    }
    // Two in segments: nothing says which end is whose.
    let contents = scan(&[a, a_end, c, c_end]);
    let [name] = contents.ambiguous() else { panic!("{:?}", contents.ambiguous()) };
    assert_eq!((name.tag.as_str(), name.digests.len()), ("v4.99", 2));
    let rest = after(C).into_iter().filter(|it| !it.contains("redhat-operator-index"));
    assert_eq!(told(contents.images()), rest.collect());
}

#[test]
fn a_registry_beside_an_archive_of_oc_mirror_stays_one() {
    let contents = scan(&[mirror(A), fixture("distribution3-data.tar")]);
    assert_eq!(contents.sources()[1].formats, BTreeSet::from([Format::Distribution]));
    let alone = told(scan(&[fixture("distribution3-data.tar")]).images());
    assert!(told(contents.images()).is_superset(&alone));
}

#[test]
fn an_increment_alone_says_what_lies_in_its_base() {
    let (contents, base) = (scan(&[mirror(C)]), scan(&[mirror(A)]));
    // It has all names, as its base has them and its own.
    assert_eq!(told(contents.images()), after(C));
    let whole = |it: &&archive::NamedImage| contents.is_whole(&it.digest);
    assert!(contents.images().iter().any(|image| whole(&image)));
    let lacking = contents.images().iter().filter(|image| !whole(image));
    let lacking: BTreeSet<Digest> = lacking.map(|image| image.digest).collect();
    assert!(!lacking.is_empty());
    // What it lacks is named with the images, and is in the base; so is every revision.
    let hurt: BTreeSet<Digest> = contents
        .missing()
        .iter()
        .flat_map(|it| it.images.iter().map(|number| contents.images()[*number].digest))
        .collect();
    assert_eq!(hurt, lacking);
    for missing in contents.missing() {
        assert!(base.blobs().contains_key(&missing.digest), "{}", missing.digest);
    }
    let named = contents.missing().iter().filter(|it| it.is_manifest).map(|it| it.digest);
    let absent = contents.absent_revisions().iter().map(|it| it.digest);
    let revisions: BTreeSet<Digest> = named.chain(absent).collect();
    assert_eq!(revisions.len(), 25);
    assert!(revisions.iter().all(|it| base.blobs().contains_key(it)));
}

#[test]
fn a_sparse_list_is_whole_and_its_revision_without_a_blob_is_told() {
    let mut source = open(&mirror(D));
    let mut inventory = Inventory::new();
    source.scan(&mut inventory).unwrap();
    let contents = inventory.contents();
    let [absent] = contents.absent_revisions() else { panic!("{:?}", contents.absent_revisions()) };
    assert!(absent.digest.hex().starts_with("dd92dc13fac8"));
    assert_eq!(absent.repository.as_str(), "redhat/redhat-operator-index");
    let lists = absent.images.iter().map(|number| tell(&contents.images()[*number]));
    let lists: Vec<String> = lists.collect();
    assert_eq!(lists.len(), 1);
    assert!(lists[0].starts_with("redhat/redhat-operator-index:v4.99 sha256:d59ba7b9daef"));
    // The manifests of an image come before the list of them, and none that is not there.
    for image in contents.images() {
        let parts = contents.parts(&image.digest);
        assert_eq!(parts.manifests.last(), Some(&image.digest));
        let mut seen = BTreeSet::new();
        for manifest in parts.manifests {
            let mut bytes = Vec::new();
            let mut blob = source.blob(&manifest).unwrap().unwrap();
            std::io::Read::read_to_end(&mut blob, &mut bytes).unwrap();
            let read = Manifest::parse(bytes.into(), None, manifest.algorithm()).unwrap();
            for edge in read.edges() {
                let is_blob = edge.kind.is_required_blob() && parts.blobs.contains(&edge.child);
                let is_sparse =
                    edge.kind == EdgeKind::Child && !contents.blobs().contains_key(&edge.child);
                assert!(is_blob || is_sparse || seen.contains(&edge.child), "{edge:?}");
            }
            seen.insert(manifest);
        }
    }
}

#[test]
fn an_archive_of_an_older_oc_mirror_is_read_without_a_version() {
    let contents = scan(&[fixture("oc-mirror-v2-mirror_000001.tar")]);
    let images: Vec<String> = contents.images().iter().map(tell).collect();
    assert_eq!(images.len(), 2, "{images:?}");
    assert!(images[0].starts_with("team/app:amd64 sha256:4133ca5ceebc"));
    assert!(images[1].starts_with("team/app:multi sha256:a16163b9a7fb"));
    assert_whole(&contents);
    let oc_mirror = contents.sources()[0].oc_mirror.as_ref().unwrap();
    assert_eq!(oc_mirror.version, None);
    assert_eq!(oc_mirror.time.as_deref(), Some("2026-11-21T10:21:09Z"));
}

#[test]
fn what_oc_mirrored_into_a_directory_is_read_with_its_links() {
    let tar = fixture("oc-adm-release-mirror-to-dir.tar");
    let place = tempfile::tempdir().unwrap();
    unpack(&tar, place.path());
    for path in [tar, place.path().to_owned(), place.path().join("mirror")] {
        let contents = scan(std::slice::from_ref(&path));
        let images: Vec<String> = contents.images().iter().map(tell).collect();
        let begins: Vec<_> = images.iter().map(|it| it.split_at(it.len() - 52).0).collect();
        let expected = [
            "openshift/release:4.98.0-x86_64 sha256:7be8938453a2",
            "openshift/release:4.98.0-x86_64-component-000 sha256:4133ca5ceebc",
            "openshift/release:4.98.0-x86_64-component-001 sha256:856a505ca9bb",
            "openshift/release:4.98.0-x86_64-component-002 sha256:61f4352e5dd3",
            "openshift/release:4.98.0-x86_64-component-003 sha256:990a4d4dd5c9",
        ];
        assert_eq!(begins, expected, "{}", path.display());
        assert_whole(&contents);
        assert_eq!(contents.blobs().len(), 19);
        assert_eq!(contents.sources()[0].formats, BTreeSet::from([Format::OcDirectory]));
        let mut source = open(&path);
        source.scan(&mut Inventory::new()).unwrap();
        check_blobs(&source, &contents);
    }
}

#[test]
fn a_registry_that_stopped_is_read_without_what_was_deleted() {
    let tar = fixture("distribution3-data.tar");
    let place = tempfile::tempdir().unwrap();
    unpack(&tar, place.path());
    for path in [tar, place.path().join("distribution3/docker")] {
        let path = if path.ends_with("docker") { place.path().to_owned() } else { path };
        let contents = scan(&[path]);
        let images: Vec<String> = contents.images().iter().map(tell).collect();
        let begins: Vec<_> = images.iter().map(|it| it.split_at(it.len() - 52).0).collect();
        let expected = [
            "fuse7/fuse-apicurito:1.2 sha256:759180b3debc",
            "fuse7/fuse-apicurito:latest sha256:30bff82b8e9d",
            "synthetic/tiny-docker:1.0 sha256:090c2d49b3ae",
            "synthetic/tiny-oci:1.0 sha256:49fa985eee8a",
        ];
        assert_eq!(begins, expected);
        assert_whole(&contents);
        assert_eq!(contents.sources()[0].formats, BTreeSet::from([Format::Distribution]));
    }
}

#[test]
fn each_tar_is_the_same_as_it_comes_and_as_it_lies() {
    for name in TARS {
        let path = fixture(name);
        let (lies, (comes, blobs)) =
            (scan(std::slice::from_ref(&path)), stream(File::open(&path).unwrap()).unwrap());
        assert_eq!(told(lies.images()), told(comes.images()), "{name}");
        assert_eq!(lies.blobs(), comes.blobs(), "{name}");
        assert_eq!(lies.missing(), comes.missing(), "{name}");
        assert_eq!(lies.sources(), comes.sources(), "{name}");
        assert_eq!(blobs.len(), lies.blobs().len(), "{name}");
        for (digest, content) in &blobs {
            assert_eq!(Digest::of(digest.algorithm(), content), *digest, "{name}");
        }
        let mut source = open(&path);
        source.scan(&mut Inventory::new()).unwrap();
        check_blobs(&source, &lies);
    }
}

#[test]
fn a_stream_that_is_interrupted_goes_on() {
    struct Interrupted<R>(R, bool);
    impl<R: Read> Read for Interrupted<R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 { Err(io::ErrorKind::Interrupted.into()) } else { self.0.read(buffer) }
        }
    }
    for name in ["crane-layout-annotated.tar", "hauler-haul.tar.zst"] {
        let bytes = fs::read(fixture(name)).unwrap();
        let (contents, _) = stream(Interrupted(&bytes[..], false)).unwrap();
        assert_whole(&contents);
        assert_eq!(contents.images().len(), 2, "{name}");
    }
}

#[test]
fn what_tar_packs_again_in_any_of_its_forms_is_the_same() {
    let place = tempfile::tempdir().unwrap();
    let files = place.path().join("files");
    fs::create_dir(&files).unwrap();
    unpack(&mirror(A), &files);
    let expected = scan(&[mirror(A)]);
    for form in ["gnu", "oldgnu", "posix"] {
        let packed = place.path().join(form);
        let mut tar = Command::new("tar");
        tar.args(["--format", form, "--sparse", "-C"]).arg(&files).arg("-cf").arg(&packed);
        assert!(tar.arg(".").status().unwrap().success());
        let contents = scan(&[packed]);
        assert_eq!(told(contents.images()), told(expected.images()), "{form}");
        assert_eq!(contents.blobs(), expected.blobs(), "{form}");
        assert_eq!(contents.sources(), expected.sources(), "{form}");
    }
    let contents = scan(&[files]);
    assert_eq!(told(contents.images()), told(expected.images()));
}

#[test]
fn what_is_packed_in_another_way_says_how_to_unpack_it() {
    let path = fixture("quay-go-data.tar.gz");
    let error = archive::open(&path).unwrap_err();
    assert_eq!(error, OpenSourceError::Compressed { path, format: "gzip" });
    assert!(error.to_string().contains("`gzip -dc FILE | registry import -`"), "{error}");
    let hauler = archive::open(&fixture("hauler-haul.tar.zst")).unwrap();
    let Opened::Compressed { stem: Some(stem), .. } = hauler else { panic!("{hauler:?}") };
    assert_eq!(stem.as_str(), "hauler-haul");
}

#[test]
fn an_archive_that_is_not_finished_is_told_as_such() {
    let bytes = fs::read(mirror(A)).unwrap();
    let entries = entries(&bytes);
    let (path, last) = entries.last().unwrap();
    assert!(path.starts_with("isc_"));
    // The run failed before it wrote its version, and its configuration.
    let mut cut = bytes[..last.start].to_vec();
    let version = entries.iter().find(|(path, _)| path.ends_with("oc-mirror-version.json"));
    cut.drain(version.unwrap().1.clone());
    let contents = scan_bytes(&cut).unwrap();
    let report = &contents.sources()[0];
    let truncated = Damage::Truncated { at: cut.len() as u64 };
    assert_eq!(report.damage, [truncated, Damage::Unfinished]);
    assert_eq!(report.oc_mirror.as_ref().unwrap().version, None);
    assert_eq!(told(contents.images()), after(A));
    // It failed among the blobs, and ended the archive in good order.
    let blob = |path: &str| path.contains("/v2/blobs/");
    let first = entries.iter().position(|(path, _)| blob(path)).unwrap();
    let mut cut = bytes[..entries[first + 9].1.end].to_vec();
    cut.extend([0; 1024]);
    let contents = scan_bytes(&cut).unwrap();
    let report = &contents.sources()[0];
    assert_eq!(report.formats, BTreeSet::from([Format::OcMirror]));
    assert_eq!(report.damage[0], Damage::Unfinished);
    assert_eq!(contents.blobs().len(), 10);
    assert!(!contents.missing().is_empty());
    // Beside one that is finished, too.
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("failed");
    fs::write(&path, cut).unwrap();
    let contents = scan(&[mirror(A), path]);
    assert_eq!(contents.sources()[0].damage, []);
    assert!(contents.sources()[1].damage.contains(&Damage::Unfinished));
}

#[test]
fn segments_are_one_archive_whatever_their_order() {
    let bytes = fs::read(mirror(A)).unwrap();
    let entries = entries(&bytes);
    let place = tempfile::tempdir().unwrap();
    // The tree and some blobs, more blobs, and the rest.
    let blob = |path: &str| path.contains("/v2/blobs/");
    let first = entries.iter().position(|(path, _)| blob(path)).unwrap();
    let rest = entries.iter().rposition(|(path, _)| blob(path)).unwrap() + 1;
    let cuts = [0, first + 20, first + 40, rest, entries.len()];
    let mut segments: Vec<PathBuf> = Vec::new();
    for (number, cut) in cuts.windows(2).enumerate() {
        let path = place.path().join(format!("segment-{number}"));
        let mut segment = bytes[entries[cut[0]].1.start..entries[cut[1] - 1].1.end].to_vec();
        segment.extend([0; 1024]);
        fs::write(&path, segment).unwrap();
        segments.push(path);
    }
    for _ in 0..segments.len() {
        segments.rotate_left(1);
        let contents = scan(&segments);
        assert_eq!(told(contents.images()), after(A));
        assert_whole(&contents);
    }
    // Without the one that says which tag the catalog gets.
    segments.sort();
    let contents = scan(&segments[..3]);
    let [Damage::Unfinished, Damage::FilterAlone { tag, .. }] = &contents.sources()[0].damage[..]
    else {
        panic!("{:?}", contents.sources()[0].damage)
    };
    assert_eq!(tag.as_str(), "087854151bdd7825dfd9bf6e353b3c03");
    // Without one that has blobs only.
    segments.remove(1);
    let contents = scan(&segments);
    assert!(!contents.missing().is_empty());
    assert!(contents.missing().iter().all(|it| !it.images.is_empty()));
}

fn unpack(tar: &Path, into: &Path) {
    let status = Command::new("tar").arg("-xf").arg(tar).arg("-C").arg(into).status().unwrap();
    assert!(status.success());
}
