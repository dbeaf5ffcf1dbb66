//! Archives that are small and make much of little: what comes of them is bounded.

use archive::ScanError;
use oci::MediaType;

use crate::layouts::{digest, image, index};
use crate::support::{Endless, Packed, scan_bytes, stream};

#[test]
fn what_is_read_besides_blobs_is_bounded() {
    let configuration = Packed::new().file("isc_1", &[b'a'; 1 << 20]).open_end();
    let error = stream(Endless::new(configuration)).unwrap_err();
    assert_eq!(error, ScanError::TooMany { what: "bytes of documents", limit: 128 << 20 });
    let long = "a".repeat((1 << 20) - 100);
    let header = Packed::new().pax(&[("comment", &long)]).file("a", b"").open_end();
    let error = stream(Endless::new(header)).unwrap_err();
    assert_eq!(error, ScanError::Tar(archive::TarError::TooManyEntries { limit: 4 << 20 }));
    // Layouts in one tree, each of which names as many images as one may.
    let many = index(&vec![("a", None); 100_000]);
    let mut packed = Packed::new();
    for number in 0..11 {
        packed = packed.file(&format!("{number}/index.json"), many.as_bytes());
    }
    let error = scan_bytes(&packed.end()).unwrap_err();
    assert_eq!(error, ScanError::TooMany { what: "blobs and names", limit: 1_000_000 });
}

#[test]
fn configurations_are_as_many_as_images() {
    let mut packed = Packed::new();
    for number in 0..140_000 {
        let config = format!(r#"{{"architecture":"{number}","config":{{"Env":[]}}}}"#);
        packed = packed.blob(config.as_bytes());
    }
    let (contents, _) = stream(&packed.end()[..]).unwrap();
    assert_eq!(contents.blobs().len(), 140_000);
}

#[test]
fn names_of_what_refers_to_an_image_of_many_names_are_bounded() {
    let subject = image(b"one", None);
    let referrers: Vec<String> =
        (0..300_u32).map(|number| image(&number.to_be_bytes(), Some(&subject))).collect();
    let mut packed = Packed::new().blob(subject.as_bytes());
    for referrer in &referrers {
        packed = packed.blob(referrer.as_bytes());
    }
    // In each layout, 300 things refer to an image of 300 repositories.
    for layout in 0..4 {
        let name = |number| {
            format!(r#""org.opencontainers.image.ref.name":"layout-{layout}/image-{number}:1""#)
        };
        let names: Vec<String> = (0..300).map(name).collect();
        let named = names.iter().map(|name| (&subject[..], Some(&name[..])));
        let unnamed = referrers.iter().map(|referrer| (&referrer[..], None));
        let index = index(&named.chain(unnamed).collect::<Vec<_>>());
        packed = packed.file(&format!("{layout}/oci-layout"), b"{}");
        packed = packed.file(&format!("{layout}/index.json"), index.as_bytes());
    }
    let contents = scan_bytes(&packed.end()).unwrap();
    // None of them is lost.
    for referrer in &referrers {
        let digest = digest(referrer.as_bytes());
        assert!(contents.images().iter().any(|image| image.digest == digest));
    }
    let count = contents.images().len();
    assert!((100_000..102_400).contains(&count), "{count}");
}

#[test]
fn lists_that_many_layouts_name_are_looked_at_so_often_only() {
    let child = image(b"one", None);
    let entry = |content: &[u8]| {
        let digest = digest(content);
        format!(r#"{{"mediaType":"{}","digest":"{digest}","size":4}}"#, MediaType::OCI_MANIFEST)
    };
    let mut children: Vec<String> =
        (0..20_000_u32).map(|number| entry(&number.to_be_bytes())).collect();
    children.push(entry(child.as_bytes()));
    let (kind, children) = (MediaType::OCI_INDEX, children.join(","));
    let list = format!(r#"{{"schemaVersion":2,"mediaType":"{kind}","manifests":[{children}]}}"#);
    let index = index(&[(&list, None), (&child, None)]);
    let mut packed = Packed::new().blob(list.as_bytes()).blob(child.as_bytes()).blob(b"one");
    for layout in 0..300 {
        packed = packed.file(&format!("{layout:03}/oci-layout"), b"{}");
        packed = packed.file(&format!("{layout:03}/index.json"), index.as_bytes());
    }
    let contents = scan_bytes(&packed.end()).unwrap();
    let of = |repository: &str| {
        let is_such = |it: &&archive::NamedImage| {
            it.repository.as_ref().is_some_and(|it| it.as_str() == repository)
        };
        contents.images().iter().filter(is_such).count()
    };
    // In the last one, nobody looked whether the list names the image.
    assert_eq!((of("000"), of("299")), (1, 2));
}
