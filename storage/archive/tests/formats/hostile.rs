//! Archives that no tool packs.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::symlink;

use archive::{Damage, Inventory, ManifestFault, PathFault, ScanError, TarError};
use oci::MediaType;

use crate::layouts::{digest, image, index};
use crate::support::{
    Endless, Packed, TARS, blob_path, fixture, open, scan, scan_bytes, stream, with_sum,
};

/// Checks that an archive is refused alike as it lies and as it comes.
#[track_caller]
fn assert_refused(bytes: &[u8], error: &ScanError) {
    assert_eq!(scan_bytes(bytes).unwrap_err(), *error);
    assert_eq!(stream(bytes).unwrap_err(), *error);
}

#[track_caller]
fn assert_bad_tar(bytes: &[u8], error: TarError) {
    assert_refused(bytes, &ScanError::Tar(error));
}

/// What is wrong with an archive that is read.
#[track_caller]
fn damage(bytes: &[u8]) -> Vec<Damage> {
    let contents = scan_bytes(bytes).unwrap();
    let (comes, _) = stream(bytes).unwrap();
    assert_eq!(contents.sources(), comes.sources());
    assert_eq!(contents.images(), [] as [archive::NamedImage; 0]);
    contents.sources()[0].damage.clone()
}

const TAG: &str = "data/docker/registry/v2/repositories/a/_manifests/tags/1/current/link";

#[test]
fn names_that_lead_out_are_refused() {
    for (path, fault) in [
        ("../a", PathFault::LeadsOut),
        ("blobs/../../a", PathFault::LeadsOut),
        ("/etc/passwd", PathFault::Absolute),
    ] {
        let error = TarError::Path { path: path.into(), fault };
        assert_bad_tar(&Packed::new().file(path, b"").end(), error.clone());
        let long = Packed::new().pax(&[("path", path)]).file("a", b"");
        assert_bad_tar(&long.end(), error.clone());
        let long = format!("{path}\0");
        let long = Packed::new().entry("L", b'L', "", long.len() as u64, long.as_bytes());
        assert_bad_tar(&long.file("a", b"").end(), error);
    }
    let nul = Packed::new().pax(&[("path", "a\0b")]).file("a", b"").end();
    assert_bad_tar(&nul, TarError::Path { path: "a\0b".into(), fault: PathFault::Nul });
}

#[test]
fn what_two_readers_would_take_differently_is_refused() {
    let two = Packed::new().pax(&[("size", "0")]).file("a", &[0; 512]).end();
    assert_bad_tar(&two, TarError::TwoSizes { path: "a".into(), header: 512, extended: 0 });
    let two = Packed::new().pax(&[("size", "512")]).file("a", b"").file("b", b"").end();
    assert_bad_tar(&two, TarError::TwoSizes { path: "a".into(), header: 0, extended: 512 });
    let names = Packed::new().pax(&[("path", "b")]).entry("L", b'L', "", 2, b"c\0").file("a", b"");
    assert_bad_tar(&names.end(), TarError::TwoNames { at: 1536 - 512 });
    for (path, flag) in [("a", b'2'), ("a/", b'0'), ("a/", b'7')] {
        let other = Packed::new().entry(path, flag, "b", 512, &[0; 512]).end();
        assert_bad_tar(&other, TarError::SizeOfNoFile { path: "a".into() });
    }
    let link = Packed::new().pax(&[("size", "512")]).entry("a", b'1', "b", 0, b"").end();
    assert_bad_tar(&link, TarError::TwoSizes { path: "a".into(), header: 0, extended: 512 });
    for key in ["path", "size", "GNU.sparse.size"] {
        let global = Packed::new().records(b'g', &[(key, "1")]).file("a", b"").end();
        assert_bad_tar(&global, TarError::Global { at: 0, key: key.into() });
    }
    let behind = Packed::new().file("a", b"").raw(&[0; 512]).file("b", b"").end();
    assert_bad_tar(&behind, TarError::BehindTheEnd { at: 1024 });
    let alone = Packed::new().pax(&[("path", "a")]).end();
    assert_bad_tar(&alone, TarError::ExtendedHeader { at: 1024 });
}

#[test]
fn what_is_not_packed_whole_is_refused() {
    let sparse = Packed::new().entry("a", b'S', "", 0, b"").end();
    assert_bad_tar(&sparse, TarError::Sparse { path: "a".into() });
    let sparse = Packed::new().pax(&[("GNU.sparse.major", "1")]).file("a", b"").end();
    assert_bad_tar(&sparse, TarError::Sparse { path: "a".into() });
    for flag in [b'M', b'D', b'A', b'8'] {
        let other = Packed::new().entry("a", flag, "", 0, b"").end();
        assert_bad_tar(&other, TarError::Type { path: "a".into(), flag });
    }
}

#[test]
fn headers_that_are_damaged_are_refused() {
    let mut sum = Packed::new().file("a", b"").end();
    sum[0] = b'b';
    assert_bad_tar(&sum, TarError::Checksum { at: 0 });
    let huge = Packed::new().entry("a", b'0', "", u64::MAX, b"").end();
    assert_bad_tar(&huge, TarError::Number { at: 0, field: "size" });
    let name = "a/".repeat(2049);
    let long = Packed::new().pax(&[("path", &name)]).file("a", b"").end();
    assert_bad_tar(&long, TarError::LongName { at: 512 + 4608 + 512, limit: 4096 });
    let long = Packed::new().entry("x", b'x', "", 2 << 20, b"").end();
    assert_bad_tar(&long, TarError::LongHeader { at: 512, limit: 1 << 20 });
}

#[test]
fn sizes_that_lie_are_truncation() {
    for size in [1024, 1 << 40, i64::MAX.cast_unsigned()] {
        let path = blob_path(b"a");
        let lies = Packed::new().entry(&path, b'0', "", size, b"a").open_end();
        let contents = scan_bytes(&lies).unwrap();
        assert_eq!(contents.blobs().len(), 0);
        assert_eq!(contents.sources()[0].damage[0], Damage::Truncated { at: 512 });
        let (comes, blobs) = stream(&lies[..]).unwrap();
        assert_eq!((comes.blobs().len(), blobs.len()), (0, 0));
        assert!(matches!(comes.sources()[0].damage[0], Damage::Truncated { .. }));
    }
}

#[test]
fn one_name_of_two_contents_is_refused() {
    let path = blob_path(b"a");
    let twice = Packed::new().file(&path, b"a").file(&path, b"ab").end();
    let error = ScanError::TwoSizes { digest: digest(b"a"), first: 1, second: 2 };
    assert_refused(&twice, &error);
    // The same again is what some tools write.
    assert!(scan_bytes(&Packed::new().file(&path, b"a").file(&path, b"a").end()).is_ok());
    let one = index(&[]);
    let twice = Packed::new().file("index.json", one.as_bytes()).file("./index.json", b"{}").end();
    assert_refused(&twice, &ScanError::Twice { path: "index.json".into() });
    let (a, b) = (digest(b"a").to_string(), digest(b"b").to_string());
    let twice = Packed::new().pax(&[("path", TAG)]).file("a", a.as_bytes());
    let twice = twice.pax(&[("path", TAG)]).file("b", b.as_bytes()).end();
    assert_refused(&twice, &ScanError::Twice { path: TAG.into() });
}

#[test]
fn links_that_lead_out_are_told() {
    let path = blob_path(b"a");
    let link = |path: &str, flag, target: &str| Packed::new().link(path, flag, target).end();
    for (flag, target) in [(b'2', "../../../../etc/passwd"), (b'2', "/etc/passwd"), (b'1', "../a")]
    {
        let damage = damage(&link(&path, flag, target));
        assert_eq!(damage, [Damage::Link { path: path.clone(), target: target.into() }]);
    }
    // Inside, it leads to another content than it is called.
    let other = blob_path(b"b");
    let both = Packed::new().file(&other, b"b").link(&path, b'1', &other).end();
    let lies = Damage::Link { path: path.clone(), target: other };
    assert_eq!(damage(&both)[0], lies);
    // In a directory, too, and what lies outside is not read.
    let place = tempfile::tempdir().unwrap();
    fs::create_dir_all(place.path().join("it/blobs/sha256")).unwrap();
    fs::write(place.path().join("a"), b"a").unwrap();
    symlink("../../../a", place.path().join("it").join(&path)).unwrap();
    symlink("/", place.path().join("it/root")).unwrap();
    let contents = scan(&[place.path().join("it")]);
    assert_eq!(contents.blobs().len(), 0);
    let out = Damage::Link { path, target: "../../../a".into() };
    assert_eq!(contents.sources()[0].damage, [out]);
}

#[test]
fn documents_that_say_nonsense_are_told() {
    let tag = |content: &[u8]| {
        let fault = match damage(&Packed::new().pax(&[("path", TAG)]).file("a", content).end()) {
            faults if faults.len() == 1 => faults.into_iter().next(),
            faults => panic!("{faults:?}"),
        };
        match fault {
            Some(Damage::Document { path, fault }) if path == TAG => fault,
            other => panic!("{other:?}"),
        }
    };
    assert!(tag(b"../../etc").starts_with("a digest is sha256:"));
    assert!(tag(&[b'a'; 257]).contains("more than 256 bytes"));
    assert!(tag(b"\xff").contains("utf-8"));
    // A tag of what was deleted.
    let one = digest(b"a");
    let tar = Packed::new().pax(&[("path", TAG)]).file("a", one.to_string().as_bytes()).end();
    let (repository, tag) = ("a".parse().unwrap(), "1".parse().unwrap());
    assert_eq!(damage(&tar), [Damage::DeletedRevision { repository, tag, digest: one }]);
}

#[test]
fn manifests_that_are_none_are_told_with_their_images() {
    let (one, old) = (image(b"one", None), r#"{"schemaVersion":1,"fsLayers":[]}"#);
    let names = [
        r#""org.opencontainers.image.ref.name":"1""#,
        r#""org.opencontainers.image.ref.name":"2""#,
    ];
    let three = r#""org.opencontainers.image.ref.name":"3""#;
    let index = index(&[(&one, Some(names[0])), (old, Some(names[1])), ("one", Some(three))]);
    // The bytes of the first are others: two spaces do not change what it says.
    let tar = Packed::new().file("index.json", index.as_bytes()).blob(b"one").blob(old.as_bytes());
    let tar = tar.file(&blob_path(one.as_bytes()), one.replacen(':', ": ", 1).as_bytes());
    let contents = scan_bytes(&tar.end()).unwrap();
    assert!(contents.images().iter().all(|it| !contents.is_whole(&it.digest)));
    let mut faults: Vec<(usize, &ManifestFault)> =
        contents.unusable().iter().map(|it| (it.images[0], &it.fault)).collect();
    faults.sort_by_key(|(image, _)| *image);
    let refused = ManifestFault::Refused(oci::ManifestError::Schema1);
    let none = ManifestFault::NotOne { limit: 4 << 20 };
    assert_eq!(faults, [(0, &ManifestFault::Digest), (1, &refused), (2, &none)]);
}

#[test]
fn what_is_no_archive_of_images_is_told_as_such() {
    assert_refused(&Packed::new().file("readme", b"a").end(), &ScanError::NothingKnown);
    assert_refused(&[b'a'; 2048], &ScanError::NothingKnown);
    let docker = br#"[{"Config":"a.json","RepoTags":["a:1"],"Layers":["a/layer.tar"]}]"#;
    let docker = Packed::new().file("manifest.json", docker).file("a.json", b"{}").end();
    assert_refused(&docker, &ScanError::DockerArchive);
    let text = ScanError::DockerArchive.to_string();
    assert!(text.contains("`skopeo copy docker-archive:FILE oci-archive:OTHER`"), "{text}");
    let gzip = fs::read(fixture("quay-go-data.tar.gz")).unwrap();
    assert_eq!(stream(&gzip[..]).unwrap_err(), ScanError::Compressed("gzip"));
    let place = tempfile::tempdir().unwrap();
    let error = open(place.path()).scan(&mut Inventory::new()).unwrap_err();
    assert_eq!(error, ScanError::NothingKnown);
    // Where oc-mirror wrote its archives to, beside its working directory.
    fs::create_dir_all(place.path().join("working-dir/logs")).unwrap();
    fs::copy(fixture(TARS[0]), place.path().join("mirror_000001.tar")).unwrap();
    let error = open(place.path()).scan(&mut Inventory::new()).unwrap_err();
    assert_eq!(error, ScanError::NothingKnown);
    assert!(error.to_string().ends_with("a directory that holds archives, name each of them"));
    let missing = place.path().join("missing");
    let error = archive::open(&missing).unwrap_err();
    assert_eq!(error, archive::OpenSourceError::NotThere(missing));
}

#[test]
fn a_blob_of_more_than_eight_gibibytes_is_read_where_it_lies() {
    const SIZE: u64 = 9 << 30;
    for packed in [
        Packed::new().pax(&[("size", &SIZE.to_string())]).entry(
            "blobs/sha256/HEX",
            b'0',
            "",
            0,
            b"",
        ),
        Packed::new().entry("blobs/sha256/HEX", b'0', "", SIZE, b""),
    ] {
        let mut bytes = packed.open_end();
        // The path is as long as the digest, and so is the place for it.
        let at = bytes.windows(16).position(|it| it == b"blobs/sha256/HEX").unwrap();
        let header = bytes.len() - 512;
        assert_eq!(at, header);
        let mut block: [u8; 512] = bytes[header..].try_into().unwrap();
        let path = blob_path(b"large");
        block[..path.len()].copy_from_slice(path.as_bytes());
        bytes[header..].copy_from_slice(&with_sum(block));
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("large");
        let mut file = File::create(&path).unwrap();
        file.write_all(&bytes).unwrap();
        let end = bytes.len() as u64 + SIZE;
        file.seek(SeekFrom::Start(end - 4)).unwrap();
        file.write_all(b"last").unwrap();
        file.write_all(&Packed::new().file("index.json", index(&[]).as_bytes()).end()).unwrap();
        let mut source = open(&path);
        let mut inventory = Inventory::new();
        source.scan(&mut inventory).unwrap();
        let contents = inventory.contents();
        assert_eq!(contents.blobs().get(&digest(b"large")), Some(&SIZE));
        assert_eq!(contents.sources()[0].damage, []);
        let mut blob = source.blob(&digest(b"large")).unwrap().unwrap();
        let mut beginning = [1; 4];
        blob.read_exact(&mut beginning).unwrap();
        assert_eq!((blob.len(), beginning), (SIZE, [0; 4]));
    }
}

#[test]
fn bombs_end_early() {
    // A stream of nothing but headers, and one of content that nobody wants.
    let header = Packed::new().file("a", b"").open_end();
    let error = stream(Endless::new(header)).unwrap_err();
    assert_eq!(error, ScanError::Tar(TarError::TooManyEntries { limit: 4 << 20 }));
    let content = Packed::new().entry("a", b'0', "", 17 << 30, b"").open_end();
    let error = stream(&content[..]).unwrap_err();
    assert_eq!(error, ScanError::TooMuchElse { limit_bytes: 16 << 30 });
    // A kilobyte of zstd, of which each four bytes unpack to 128 KiB.
    let bomb = |size| {
        let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 0x00, 0x10, 0x00];
        bomb.extend(Packed::new().entry("a", b'0', "", size, b"").open_end());
        bomb.extend([0x02, 0x00, 0x10, 0x00].repeat(100));
        bomb
    };
    let error = stream(&bomb(1 << 40)[..]).unwrap_err();
    assert_eq!(error, ScanError::TooMuchElse { limit_bytes: 16 << 30 });
    let (contents, _) = stream(&bomb(1 << 30)[..]).unwrap();
    assert_eq!(contents.sources()[0].damage, [Damage::Truncated { at: 512 }]);
}

#[test]
fn what_is_told_of_many_names_of_much_that_is_missing_is_bounded() {
    // 4,000 layers that are nowhere, in one image of 10,000 names: 40 million pairs.
    let layer = |number: u32| {
        let digest = digest(&number.to_be_bytes());
        format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":4}}"#)
    };
    let layers: Vec<String> = (0..4000).map(layer).collect();
    let (kind, config) = (MediaType::OCI_MANIFEST, layer(0));
    let image = format!(
        r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{config},"layers":[{}]}}"#,
        layers.join(",")
    );
    let name = |number| format!(r#""org.opencontainers.image.ref.name":"{number}""#);
    let names: Vec<String> = (0..10_000).map(name).collect();
    let named: Vec<(&str, Option<&str>)> =
        names.iter().map(|name| (&image[..], Some(&name[..]))).collect();
    let tar = Packed::new().file("index.json", index(&named).as_bytes()).blob(image.as_bytes());
    let contents = scan_bytes(&tar.end()).unwrap();
    assert_eq!(contents.images().len(), 10_000);
    assert!(!contents.is_whole(&digest(image.as_bytes())));
    assert_eq!(contents.missing().len(), 4000);
    let told: usize = contents.missing().iter().map(|it| it.images.len()).sum();
    assert!(
        told <= 4_004_000 && contents.missing().iter().all(|it| !it.images.is_empty()),
        "{told}"
    );
}
