//! What an export writes is read back by the reader of archives, with nothing missing.

use std::collections::BTreeSet;
use std::fs;

use archive::bundle::BundleDocument;
use archive::{Format, Inventory, Opened, SourceReport, Stream};
use certs::PublicKey;
use oci::Reference;
use serde_json::Value;

use super::{export, fill, large, put};
use crate::support::binary::Instance;
use crate::support::clients::{Curl, Machine};

#[test]
fn each_form_is_a_bundle_to_its_reader_and_names_what_was_exported() {
    let instance = Instance::started();
    let mut shown = fill(&instance, &Machine::of(&instance));
    // A repository that is called like a host keeps its name.
    put(&Curl::of(&instance), "quay.io/team/app", "1", &large(1));
    shown.insert("quay.io/team/app:1".to_owned());
    let place = tempfile::tempdir().expect("a directory");
    let volumes = ["--volume-size", "600KB"];
    for (name, flags) in [
        ("layout", &[][..]),
        ("archive", &["--tar"]),
        ("layouts", &volumes),
        ("archives", &[&volumes[..], &["--tar"]].concat()),
    ] {
        let root = place.path().join(name);
        let report = export(&instance, &root, flags);
        let mut inventory = Inventory::new();
        let names: Vec<&str> =
            report["volumes"].as_array().expect("names").iter().filter_map(Value::as_str).collect();
        let paths = match names.as_slice() {
            [] => vec![root.clone()],
            names => names.iter().map(|name| root.join(name)).collect(),
        };
        for path in paths {
            match archive::open(&path).expect("a source") {
                Opened::Source(mut source) => source.scan(&mut inventory).expect("its headers"),
                Opened::Compressed { .. } => panic!("{} is not compressed", path.display()),
            }
        }
        check(inventory, &shown, &report);
    }
    let piped = instance.command(&["export"], &["-"]).out;
    let mut inventory = Inventory::new();
    let mut stream = Stream::new(&piped[..], None, &mut inventory).expect("a stream");
    while stream.next_blob().expect("a blob").is_some() {}
    stream.finish().expect("its end");
    let status = instance.command(&["status", "--json"], &[]).ok();
    let status: Value = serde_json::from_str(&status).expect("JSON");
    check(inventory, &shown, &serde_json::json!({ "key": status["bundle_key"] }));
    assert!(fs::read_dir(place.path()).is_ok_and(|it| it.count() == 4));
}

/// Checks what sources come to: these names, all of them whole, and signed by the key of a report.
#[track_caller]
fn check(inventory: Inventory, shown: &BTreeSet<String>, report: &Value) {
    let contents = inventory.contents();
    let name = |image: &archive::NamedImage| {
        let repository = image.repository.as_ref().expect("a repository");
        match &image.tag {
            Some(tag) => format!("{repository}:{tag}"),
            None => format!("{repository}@{}", Reference::Digest(image.digest)),
        }
    };
    assert_eq!(contents.images().iter().map(name).collect::<BTreeSet<_>>(), *shown);
    assert!(contents.images().iter().all(|image| contents.is_whole(&image.digest)));
    assert!(contents.missing().is_empty() && contents.unusable().is_empty());
    let key: PublicKey = report["key"].as_str().and_then(|it| it.parse().ok()).expect("a key");
    for SourceReport { formats, bundle, damage, .. } in contents.sources() {
        assert_eq!((formats.iter().collect::<Vec<_>>(), damage.len()), (vec![&Format::Bundle], 0));
        let bundle = bundle.as_ref().expect("a description");
        let signature = bundle.signature.as_deref().expect("a signature");
        assert!(key.has_signed(&bundle.description, signature));
        let document = BundleDocument::parse(&bundle.description).expect("a document");
        let mut described = document.manifests.iter().chain(&document.blobs);
        assert!(described.all(|(blob, size)| contents.blobs()[blob] == *size));
    }
}
