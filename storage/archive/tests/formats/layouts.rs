//! Layouts, and the names that each tool puts into them.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::thread;

use archive::{Contents, Damage, Format, Inventory, Opened, ScanError};
use oci::{Algorithm, Digest, MediaType};

use crate::support::{Packed, blob_path, fixture, open, scan, scan_bytes, stream, tell};

const DOCKER: &str = "sha256:090c2d49b3aeee0b602b9a0069c09374e9b9322a9252a2e16f60f5f200e5677c";
const OCI: &str = "sha256:49fa985eee8a29f6253db7d15d25559d0f2f52f570fe65b3a3b2f5090fbbe618";
const ONE: &str = "sha256:e0e2ea58fb7cbf0ec4b395906cdd4620d35cf665e28c5a300b979fc7f7540c6e";

fn images(contents: &Contents) -> Vec<String> {
    for image in contents.images() {
        assert!(contents.is_whole(&image.digest), "{}", tell(image));
    }
    assert_eq!(contents.missing(), []);
    contents.images().iter().map(tell).collect()
}

#[test]
fn the_names_of_each_tool_are_read() {
    let named =
        [format!("synthetic/tiny-docker:1.0 {DOCKER}"), format!("synthetic/tiny-oci:1.0 {OCI}")];
    for (file, expected) in [
        ("crane-layout.tar", vec![format!("-:- {DOCKER}"), format!("-:- {OCI}")]),
        ("crane-layout-annotated.tar", named.to_vec()),
        (
            "regctl-layout.tar",
            vec![format!("-:tiny-docker-1.0 {DOCKER}"), format!("-:tiny-oci-1.0 {OCI}")],
        ),
        // The images that the list names stand beside it, and are none of their own.
        ("oras-backup.tar", vec![format!("-:1.0 {OCI}")]),
        ("oras-backup-docker.tar", vec![format!("-:1.0 {DOCKER}")]),
        ("podman-oci-archive.tar", vec![format!("synthetic/tiny-oci:1.0 {ONE}")]),
        ("skopeo-oci-archive.tar", vec![format!("synthetic/tiny-oci:1.0 {OCI}")]),
    ] {
        let contents = scan(&[fixture(file)]);
        assert_eq!(images(&contents), expected, "{file}");
        let stem = file.strip_suffix(".tar").unwrap();
        assert_eq!(contents.images()[0].stem.as_ref().unwrap().as_str(), stem);
        assert_eq!(contents.sources()[0].formats, [Format::Layout].into());
        assert_eq!(contents.sources()[0].damage, []);
    }
    let (contents, blobs) = stream(File::open(fixture("hauler-haul.tar.zst")).unwrap()).unwrap();
    assert_eq!(images(&contents), named);
    assert_eq!(blobs.len(), contents.blobs().len());
}

#[test]
fn frames_of_zstd_follow_each_other() {
    let tar = fs::read(fixture("crane-layout-annotated.tar")).unwrap();
    let mut packed = Vec::new();
    for piece in tar.chunks(15_000) {
        packed.extend([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58]);
        // One block, the last of its frame, with the bytes as they are.
        let header = u32::try_from(piece.len() << 3 | 1).unwrap();
        packed.extend(&header.to_le_bytes()[..3]);
        packed.extend(piece);
        // A frame to be skipped, as other programs put in between.
        packed.extend([0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 0xff, 0xff]);
    }
    let ((contents, blobs), (plain, _)) = (stream(&packed[..]).unwrap(), stream(&tar[..]).unwrap());
    assert_eq!(images(&contents), images(&plain));
    assert_eq!(contents.blobs(), plain.blobs());
    assert!(blobs.iter().all(|(name, content)| digest(content) == *name));
}

#[test]
fn a_pipe_with_a_name_is_read_like_any_other() {
    let place = tempfile::tempdir().unwrap();
    let pipe = place.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let writer = {
        let pipe = pipe.clone();
        thread::spawn(move || fs::copy(fixture("hauler-haul.tar.zst"), pipe).unwrap())
    };
    let Opened::Compressed { file, stem: None } = archive::open(&pipe).unwrap() else {
        panic!("it is no stream");
    };
    let (contents, _) = stream(file).unwrap();
    assert_eq!(images(&contents).len(), 2);
    assert_eq!(writer.join().unwrap(), 12453);
}

#[test]
fn directories_of_layouts_are_repositories() {
    let place = tempfile::tempdir().unwrap();
    write_layout(&place.path().join("team/app"), &[("1", b"one"), ("2", b"two")]);
    write_layout(&place.path().join("base"), &[("1", b"one")]);
    let contents = scan(&[place.path().to_owned()]);
    let names: Vec<String> =
        images(&contents).iter().map(|it| it.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(names, ["base:1", "team/app:1", "team/app:2"]);
    // By itself, one of them is named by its directory.
    let contents = scan(&[place.path().join("base")]);
    assert_eq!(contents.images()[0].repository, None);
    assert_eq!(contents.images()[0].stem.as_ref().unwrap().as_str(), "base");
}

#[test]
fn an_index_of_something_else_is_nothing() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("site")).unwrap();
    fs::write(place.path().join("site/index.json"), "{}").unwrap();
    let error = open(place.path()).scan(&mut Inventory::new()).unwrap_err();
    assert_eq!(error, ScanError::NothingKnown);
    write_layout(&place.path().join("app"), &[("1", b"one")]);
    assert_eq!(scan(&[place.path().to_owned()]).sources()[0].damage, []);
    // One of a layout is told, and not that there is none.
    fs::write(place.path().join("app/index.json"), "{}").unwrap();
    let contents = scan(&[place.path().to_owned()]);
    let [Damage::Document { path, .. }] = &contents.sources()[0].damage[..] else {
        panic!("{:?}", contents.sources()[0].damage)
    };
    assert_eq!(path, "app/index.json");
}

#[test]
fn a_layout_may_have_its_blobs_by_links_alone_and_a_name_that_is_empty() {
    let one = image(b"one", None);
    let index = index(&[(&one, Some(r#""org.opencontainers.image.ref.name":"""#))]);
    let (manifest, layer) = (blob_path(one.as_bytes()), blob_path(b"one"));
    let mut packed = Packed::new().file(&format!("a/{manifest}"), one.as_bytes());
    packed = packed.file(&format!("a/{layer}"), b"one").file("a/index.json", index.as_bytes());
    for blob in [manifest, layer] {
        let (path, target) = (format!("b/{blob}"), format!("a/{blob}"));
        packed = packed.pax(&[("path", &path), ("linkpath", &target)]).link("b", b'1', "a");
    }
    let contents = scan_bytes(&packed.file("b/index.json", index.as_bytes()).end()).unwrap();
    let digest = digest(one.as_bytes());
    assert_eq!(images(&contents), [format!("a:- {digest}"), format!("b:- {digest}")]);
    assert_eq!(contents.sources()[0].damage, []);
}

#[test]
fn a_tag_that_stands_for_two_images_is_told_and_not_guessed() {
    let (one, two) = (image(b"one", None), image(b"two", None));
    let index = index(&[
        (&one, Some(r#""org.opencontainers.image.ref.name":"1""#)),
        (&two, Some(r#""org.opencontainers.image.ref.name":"1""#)),
        (&two, Some(r#""org.opencontainers.image.ref.name":"not a name""#)),
    ]);
    let tar = Packed::new().file("index.json", index.as_bytes()).blob(b"one").blob(b"two");
    let tar = tar.blob(one.as_bytes()).blob(two.as_bytes()).end();
    let contents = scan_bytes(&tar).unwrap();
    assert_eq!(contents.images(), []);
    let [name] = contents.ambiguous() else { panic!("{:?}", contents.ambiguous()) };
    assert_eq!((name.tag.as_str(), name.digests.len()), ("1", 2));
    let wrong = Damage::Name { name: "not a name".into(), digest: digest(two.as_bytes()) };
    assert_eq!(contents.sources()[0].damage, [wrong]);
}

#[test]
fn what_refers_to_an_image_goes_where_it_goes() {
    let subject = image(b"one", None);
    let referrer = image(b"two", Some(&subject));
    let index = index(&[
        (&referrer, None),
        (&subject, Some(r#""org.opencontainers.image.ref.name":"quay.io/team/app:1""#)),
    ]);
    let tar = Packed::new().blob(b"one").blob(b"two").blob(subject.as_bytes());
    let tar = tar.blob(referrer.as_bytes()).file("index.json", index.as_bytes()).end();
    let contents = scan_bytes(&tar).unwrap();
    let (subject, referrer) = (digest(subject.as_bytes()), digest(referrer.as_bytes()));
    let expected = [format!("team/app:1 {subject}"), format!("team/app:- {referrer}")];
    assert_eq!(images(&contents), expected);
}

#[test]
fn signatures_that_hauler_calls_like_the_image_get_their_tag() {
    let (subject, signature) = (image(b"one", None), image(b"two", None));
    let name = r#""org.opencontainers.image.ref.name":"team/app:1""#;
    let of = |kind: &str| format!(r#"{name},"kind":"dev.hauler/{kind}""#);
    let index = index(&[(&subject, Some(&of("image"))), (&signature, Some(&of("sigs")))]);
    let tar = Packed::new().blob(b"one").blob(b"two").blob(subject.as_bytes());
    let tar = tar.blob(signature.as_bytes()).file("index.json", index.as_bytes()).end();
    let contents = scan_bytes(&tar).unwrap();
    let (subject, signature) = (digest(subject.as_bytes()), digest(signature.as_bytes()));
    let tag = format!("sha256-{}.sig", subject.hex());
    let expected = [format!("team/app:1 {subject}"), format!("team/app:{tag} {signature}")];
    assert_eq!(images(&contents), expected);
}

#[test]
fn a_bundle_keeps_its_names_whole_and_its_description_for_whoever_checks_it() {
    let one = image(b"one", None);
    let name = r#""org.opencontainers.image.ref.name":"quay.io/team/app:1""#;
    let index = index(&[(&one, Some(name))]);
    let packed = Packed::new()
        .file("registry-bundle.sig", b"signed")
        .file("registry-bundle.json", b"{}")
        .file("index.json", index.as_bytes())
        .blob(b"one")
        .blob(one.as_bytes());
    let contents = scan_bytes(&packed.clone().end()).unwrap();
    assert_eq!(images(&contents), [format!("quay.io/team/app:1 {}", digest(one.as_bytes()))]);
    let report = &contents.sources()[0];
    assert_eq!(report.formats, [Format::Bundle].into());
    let bundle = report.bundle.as_ref().unwrap();
    assert_eq!(bundle.description, b"{}");
    assert_eq!(bundle.signature.as_deref(), Some(&b"signed"[..]));
    assert_eq!(bundle.index, Some(digest(index.as_bytes())));
    // An index that counts instead, and others that name images beside it.
    let other = packed.clone().file("hauler-index.json", br#"{"manifests":[]}"#).end();
    let contents = scan_bytes(&other).unwrap();
    let bundle = contents.sources()[0].bundle.as_ref().unwrap();
    assert_eq!(bundle.index, Some(digest(br#"{"manifests":[]}"#)));
    let beside = packed.clone().file("a/index.json", index.as_bytes()).file("a/oci-layout", b"{}");
    let oc = packed.file("v2/a/manifests/1", one.as_bytes());
    for packed in [beside, oc] {
        assert_eq!(scan_bytes(&packed.end()).unwrap().sources()[0].bundle, None);
    }
}

/// An image of one layer, which has the configuration that all have.
pub(crate) fn image(layer: &[u8], subject: Option<&str>) -> String {
    let descriptor = |media_type: &str, content: &[u8]| {
        let (digest, size) = (digest(content), content.len());
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
    };
    let manifest = MediaType::OCI_MANIFEST;
    let subject = subject.map(|subject| descriptor(manifest, subject.as_bytes()));
    let subject = subject.map(|subject| format!(r#","subject":{subject}"#)).unwrap_or_default();
    let config = descriptor(MediaType::OCI_CONFIG, layer);
    let layer = descriptor("application/vnd.oci.image.layer.v1.tar", layer);
    let parts = format!(r#""config":{config},"layers":[{layer}]{subject}"#);
    format!(r#"{{"schemaVersion":2,"mediaType":"{manifest}",{parts}}}"#)
}

/// The index of a layout, each image with its annotations.
pub(crate) fn index(images: &[(&str, Option<&str>)]) -> String {
    let entry = |(image, annotations): &(&str, Option<&str>)| {
        let annotations = annotations.map(|it| format!(r#","annotations":{{{it}}}"#));
        let (digest, size) = (digest(image.as_bytes()), image.len());
        format!(r#"{{"digest":"{digest}","size":{size}{}}}"#, annotations.unwrap_or_default())
    };
    let entries: Vec<String> = images.iter().map(entry).collect();
    format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","))
}

pub(crate) fn digest(content: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, content)
}

fn write_layout(directory: &Path, tags: &[(&str, &[u8])]) {
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let write = |content: &[u8]| fs::write(blobs.join(digest(content).hex()), content).unwrap();
    let images: Vec<String> = tags.iter().map(|(_, layer)| image(layer, None)).collect();
    images.iter().for_each(|image| write(image.as_bytes()));
    tags.iter().for_each(|(_, layer)| write(layer));
    let name = |tag: &str| format!(r#""org.opencontainers.image.ref.name":"{tag}""#);
    let names: Vec<String> = tags.iter().map(|(tag, _)| name(tag)).collect();
    let entries: Vec<(&str, Option<&str>)> =
        images.iter().zip(&names).map(|(image, name)| (&image[..], Some(&name[..]))).collect();
    fs::write(directory.join("index.json"), index(&entries)).unwrap();
    fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}
