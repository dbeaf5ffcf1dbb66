use super::*;
use crate::digest::DigestError;

const CONFIG: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
const LAYER: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn parse(content_type: &str, body: &str) -> Result<Manifest, ManifestError> {
    let content_type = (!content_type.is_empty()).then(|| content_type.parse().unwrap());
    Manifest::parse(Bytes::from(body.to_owned()), content_type, Algorithm::Sha256)
}

fn image(extra: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,
        "config":{{"mediaType":"application/x","digest":"{CONFIG}","size":2}},
        "layers":[{{"mediaType":"application/y","digest":"{LAYER}","size":0}},
                  {{"mediaType":"application/y","digest":"{LAYER}","size":0}}]{extra}}}"#
    )
}

#[test]
fn an_image_names_its_config_and_each_layer_once() {
    let body = image("");
    let manifest = parse(MediaType::OCI_MANIFEST, &body).unwrap();
    let subject = format!(r#","subject":{{"mediaType":"a/b","digest":"{LAYER}","size":0}}"#);
    let referrer = parse(MediaType::OCI_MANIFEST, &image(&subject)).unwrap();
    let edges = [
        Edge { kind: EdgeKind::Config, child: CONFIG.parse().unwrap() },
        Edge { kind: EdgeKind::Layer, child: LAYER.parse().unwrap() },
    ];
    assert_eq!(manifest.edges(), edges);
    assert_eq!(manifest.artifact_type(), None, "no list shows it");
    assert_eq!(referrer.artifact_type(), Some("application/x"));
    assert_eq!(*manifest.digest(), Digest::of(Algorithm::Sha256, body.as_bytes()));
}

#[test]
fn parameters_of_the_content_type_are_dropped() {
    let with_parameter = format!("{}; charset=utf-8", MediaType::OCI_MANIFEST);
    let manifest = parse(&with_parameter, &image("")).unwrap();
    assert_eq!(manifest.media_type().as_str(), MediaType::OCI_MANIFEST);
}

#[test]
fn the_body_may_stand_in_for_a_missing_content_type_but_not_contradict_it() {
    let typed = image(&format!(r#","mediaType":"{}""#, MediaType::DOCKER_MANIFEST));
    let manifest = parse("", &typed).unwrap();
    assert_eq!(manifest.media_type().as_str(), MediaType::DOCKER_MANIFEST);
    assert_eq!(
        parse(MediaType::OCI_MANIFEST, &typed),
        Err(ManifestError::TypeMismatch {
            header: MediaType::OCI_MANIFEST.parse().unwrap(),
            body: MediaType::DOCKER_MANIFEST.parse().unwrap(),
        })
    );
    assert_eq!(parse("", "{}"), Err(ManifestError::NoMediaType));
    for parameters in ["; charset=utf-8", ";", " "] {
        let text = typed.replace("v2+json", &format!("v2+json{parameters}"));
        assert!(matches!(parse("", &text), Err(ManifestError::MediaType(_))), "{text}");
    }
}

#[test]
fn what_a_document_is_its_fields_and_its_config_say_where_it_does_not() {
    let of_config = |kind: &str| image("").replace("application/x", kind);
    let index = r#"{"schemaVersion":2,"manifests":[]}"#;
    let oci = [MediaType::OCI_MANIFEST].as_slice();
    let docker = [MediaType::DOCKER_MANIFEST].as_slice();
    let both = [MediaType::OCI_MANIFEST, MediaType::DOCKER_MANIFEST].as_slice();
    let indexes = [MediaType::OCI_INDEX, MediaType::DOCKER_LIST].as_slice();
    let all = [MediaType::OCI_MANIFEST, MediaType::DOCKER_MANIFEST, MediaType::OCI_INDEX, "a/json"];
    for (document, types) in [
        (of_config(MediaType::OCI_CONFIG), oci),
        (of_config(MediaType::DOCKER_CONFIG), docker),
        (image(""), both),
        (image(r#","mediaType":null"#), both),
        (image(r#","mediaType":"""#), both),
        (image(r#","manifests":null"#), both),
        (index.to_owned(), indexes),
        (index.replace("[]", r#"[],"config":null,"layers":null"#), indexes),
    ] {
        assert_eq!(parse("", &document).unwrap().media_type().as_str(), types[0], "{document}");
        for header in all.into_iter().chain([MediaType::DOCKER_LIST]) {
            let parsed = parse(header, &document).map(|it| it.media_type().to_string());
            let header_type = header.parse().unwrap();
            let expected = match types.contains(&header) {
                true => Ok(header.to_owned()),
                false => Err(ManifestError::NotItsShape { header: header_type, types }),
            };
            assert_eq!(parsed, expected, "{document}");
        }
    }
}

#[test]
fn a_document_that_says_nothing_is_what_it_is_pushed_as() {
    let parsed = parse("application/vnd.example+json", r#"{"anything":true}"#).unwrap();
    assert!(parsed.has_type_of_choice() && parsed.edges().is_empty());
    let may_be = |kind: &str| parsed.may_be(&kind.parse().unwrap());
    assert!(may_be("application/json") && may_be(MediaType::OCI_INDEX));
    assert!(!may_be("text/html") && !may_be("application/vnd.OCI.image.index.v1+json"));
    let typed = image(&format!(r#","mediaType":"{}""#, MediaType::OCI_MANIFEST));
    let typed = parse("", &typed).unwrap();
    assert!(!typed.has_type_of_choice());
    assert!(!typed.may_be(&MediaType::DOCKER_MANIFEST.parse().unwrap()));
    for (own, kind) in [("text/html", true), ("application/octet-stream", true), ("x", false)] {
        let refused = parse("", &format!(r#"{{"mediaType":"{own}"}}"#)).unwrap_err();
        assert_eq!(matches!(refused, ManifestError::NotJsonType(_)), kind, "{refused}");
    }
}

#[test]
fn layers_and_manifests_may_be_absent_and_a_config_may_not() {
    let config = format!(r#"{{"mediaType":"a/b","digest":"{CONFIG}","size":2}}"#);
    for layers in ["", r#","layers":null"#, r#","layers":[]"#] {
        let text = format!(r#"{{"schemaVersion":2,"config":{config}{layers}}}"#);
        assert_eq!(parse(MediaType::DOCKER_MANIFEST, &text).unwrap().edges().len(), 1, "{text}");
    }
    for manifests in ["", r#","manifests":null"#] {
        let text = format!(r#"{{"schemaVersion":2{manifests}}}"#);
        assert!(parse(MediaType::DOCKER_LIST, &text).unwrap().edges().is_empty());
        let media_type = MediaType::OCI_MANIFEST.parse().unwrap();
        let missing = ManifestError::MissingField { media_type, field: "config" };
        for config in ["", r#","config":null"#] {
            let text = text.replace('}', &format!("{config}}}"));
            assert_eq!(parse(MediaType::OCI_MANIFEST, &text), Err(missing.clone()), "{text}");
        }
    }
}

#[test]
fn what_readers_read_differently_is_refused_where_readers_read() {
    let folds = |place, key: &str, known| ManifestError::KeyFolds { place, key: key.into(), known };
    let twice = |place, key: &str| ManifestError::KeyTwice { place, key: key.into() };
    let (manifest, descriptor, platform) =
        (KeyedObject::Manifest, KeyedObject::Descriptor, KeyedObject::Platform);
    let layer = |more: &str| image("").replacen(r#""size":0"#, &format!(r#""size":0{more}"#), 1);
    for (text, refusal) in [
        (image(r#","Layers":[]"#), folds(manifest, "Layers", "layers")),
        (image(r#","layer\u017f":[]"#), folds(manifest, "layer\u{17f}", "layers")),
        (image(r#","\u006Cayers":[]"#), twice(manifest, "layers")),
        (image(r#","x":1,"x":2"#), twice(manifest, "x")),
        (layer(r#","Digest":1"#), folds(descriptor, "Digest", "digest")),
        (layer(r#","size":0"#), twice(descriptor, "size")),
        (layer(r#","platform":{"os":"a","OS":"b"}"#), folds(platform, "OS", "os")),
        (layer(r#","platform":{"x":"a","x":"b"}"#), twice(platform, "x")),
    ] {
        assert_eq!(parse(MediaType::OCI_MANIFEST, &text), Err(refusal), "{text}");
    }
    let kept = r#"{"layers":1,"Layers":2,"a":3,"a":4,"size":5,"SIZE":6}"#;
    for anything in [
        image(&format!(r#","annotations":{kept},"org.example":[{kept}],"layersX":1"#)),
        layer(&format!(r#","annotations":{kept},"data":"e30=","x":{kept},"Os":1"#)),
        layer(&format!(r#","platform":{{"os":"a","x":{kept}}}"#)),
        layer(r#","platform":"of no kind""#),
    ] {
        parse(MediaType::OCI_MANIFEST, &anything).unwrap();
    }
}

#[test]
fn half_a_character_is_a_character_of_its_own_as_in_go() {
    let folds = |key: &str, known| ManifestError::KeyFolds {
        place: KeyedObject::Platform,
        key: key.into(),
        known,
    };
    let layer = |more: &str| image("").replacen(r#""size":0"#, &format!(r#""size":0{more}"#), 1);
    let hidden = layer(r#","platform":{"\ud800":1,"os":"a","OS":"b"}"#);
    assert_eq!(parse(MediaType::OCI_MANIFEST, &hidden), Err(folds("OS", "os")));
    for key in [r"\ud800", r"\udc00", r"a\ud800b", r"\ud800\n", r"\ud800\ud800\udc00"] {
        for text in [
            image(&format!(r#","{key}":1"#)),
            layer(&format!(r#","{key}":1,"urls":["{key}"]"#)),
            layer(&format!(r#","platform":{{"{key}":1}}"#)),
            image(&format!(r#","artifactType":"{key}""#)),
        ] {
            parse(MediaType::OCI_MANIFEST, &text).unwrap();
        }
    }
    let twice = parse(MediaType::OCI_MANIFEST, &image(r#","\ud800":1,"\udbff":2"#));
    let key = "\u{fffd}".to_owned();
    assert_eq!(twice, Err(ManifestError::KeyTwice { place: KeyedObject::Manifest, key }));
    let subject = format!(r#","subject":{{"mediaType":"a/b","digest":"{LAYER}"}}"#);
    let own = image(&format!(r#"{subject},"artifactType":"a\ud800\ud83d\ude00\udc00b""#));
    let own = parse(MediaType::OCI_MANIFEST, &own).unwrap();
    assert_eq!(own.artifact_type(), Some("a\u{fffd}\u{1f600}\u{fffd}b"));
}

#[test]
fn a_subject_that_names_nothing_is_none_and_a_type_may_be_absent() {
    for empty in ["{}", r#"{"mediaType":"","digest":"","size":0}"#, r#"{"digest":null}"#, "null"] {
        let text = image(&format!(r#","subject":{empty}"#));
        assert_eq!(parse(MediaType::OCI_MANIFEST, &text).unwrap().subject(), None, "{text}");
        let other = text.replace("subject", "config2").replace("config2", "blobs");
        assert!(parse(MediaType::OCI_MANIFEST, &other).is_err() || empty == "null", "{other}");
    }
    let typeless = image("").replace(r#""mediaType":"application/x","#, "");
    let typeless = typeless.replace(r#""mediaType":"application/y","#, r#""mediaType":null,"#);
    let subject = format!(r#","subject":{{"digest":"{LAYER}","size":0}}}}"#);
    let referrer = format!("{}{subject}", typeless.strip_suffix('}').unwrap());
    let referrer = parse(MediaType::DOCKER_MANIFEST, &referrer).unwrap();
    assert_eq!((referrer.edges().len(), referrer.artifact_type()), (3, None));
    for half in [r#"{"mediaType":"a/b"}"#, r#"{"mediaType":"a/b","digest":""}"#, r#"{"size":1}"#] {
        let text = image(&format!(r#","subject":{half}"#));
        assert_eq!(parse(MediaType::OCI_MANIFEST, &text).is_ok(), half.contains("size"), "{half}");
    }
}

#[test]
fn a_refusal_repeats_no_more_of_a_document_than_a_sentence_has_room_for() {
    let text = "\u{7f}\u{e9}".repeat(1 << 20);
    let long = format!("\"{text}\"");
    for document in [
        long.clone(),
        format!(r#"{{"schemaVersion":{long}}}"#),
        format!(r#"{{"config":{long}}}"#),
        format!(r#"{{"layers":{long}}}"#),
        format!(r#"{{"layers":[{long}]}}"#),
        format!(r#"{{{long}:1,{long}:1}}"#),
        format!(r#"{{"mediaType":{long}}}"#),
        format!(r#"{{"layers":[{{"size":{long}}}]}}"#),
        format!(r#"{{"layers":[{{"urls":{long}}}]}}"#),
        format!(r#"{{"layers":[{{"digest":{long}}}]}}"#),
        format!(r#"{{"layers":[{{"digest":7,"x":{long}}}]}}"#),
        format!("{{}} {long}"),
        format!("{{{long}"),
        format!(r#"{{"layers":[{{"digest":"{LAYER}","size":{}}}]}}"#, "9".repeat(1 << 20)),
        format!(r#"{{"layers":[{{"digest":"{LAYER}","size":-{}}}]}}"#, "9".repeat(1 << 20)),
    ] {
        let refused = parse("", &document).unwrap_err();
        let sentence = refused.to_string();
        assert!(sentence.len() < 4096, "{} bytes: {sentence:.200}", sentence.len());
        if matches!(refused, ManifestError::NotJson(_) | ManifestError::Unfit(_)) {
            let place = sentence.rsplit_once(" at line 1 column ").unwrap().1;
            assert!(place.parse::<usize>().is_ok(), "{sentence:.400}");
        }
    }
}

#[test]
fn depth_text_and_numbers_have_bounds() {
    let nested = |levels: usize| {
        image(&format!(r#","x":{}"]{{"{}"#, "[".repeat(levels - 1), "]".repeat(levels - 1)))
    };
    assert!(parse(MediaType::OCI_MANIFEST, &nested(10_000)).is_ok());
    let too_deep = Err(ManifestError::TooDeep { limit: 10_000 });
    assert_eq!(parse(MediaType::OCI_MANIFEST, &nested(10_001)), too_deep);
    let brackets = parse(MediaType::OCI_MANIFEST, &"[".repeat(4 << 20));
    assert!(matches!(brackets, Err(ManifestError::NotJson(_))));
    let braces = format!(r#"{{"x":{}"#, r#"{"x":"#.repeat(700_000));
    let braces = parse(MediaType::OCI_MANIFEST, &braces);
    assert!(matches!(braces, Err(ManifestError::NotJson(_))));
    let all = format!(r#"{{"x":{}1{}}}"#, "[".repeat(2_000_000), "]".repeat(2_000_000));
    assert_eq!(parse(MediaType::OCI_MANIFEST, &all), too_deep);
    let sized = |size: &str| image("").replace(r#""size":2"#, &format!(r#""size":{size}"#));
    // No program in Go reads it, so none reads it otherwise.
    assert!(parse(MediaType::OCI_MANIFEST, &sized("18446744073709551615")).is_ok());
    for size in ["-1", "-0", "2.0", "2e0", "\"2\"", "18446744073709551616", "1e999", "{}"] {
        let refused = parse(MediaType::OCI_MANIFEST, &sized(size));
        assert!(matches!(refused, Err(ManifestError::Unfit(_))), "{size}");
    }
    for size in ["02", "-", "2.", "NaN"] {
        let refused = parse(MediaType::OCI_MANIFEST, &sized(size));
        assert!(matches!(refused, Err(ManifestError::NotJson(_))), "{size}");
    }
    for absent in [r#","size":null"#, ""] {
        let text = image("").replace(r#","size":2"#, absent);
        let size = |said: &&StatedSize| said.child == CONFIG.parse().unwrap();
        let parsed = parse(MediaType::OCI_MANIFEST, &text).unwrap();
        assert_eq!(parsed.sizes().iter().find(size).unwrap().size, 0);
    }
    for (start, end) in [("", " x"), ("", "{}"), ("", "\0"), ("\u{feff}", ""), ("", "\u{a0}")] {
        let text = format!("{start}{}{end}", image(""));
        let refused = parse(MediaType::OCI_MANIFEST, &text);
        assert!(matches!(refused, Err(ManifestError::NotJson(_))), "{text:?}");
    }
    let broken = [image("").as_bytes(), b" \xff"].concat();
    let kind = MediaType::OCI_MANIFEST.parse().unwrap();
    let refused = Manifest::parse(broken.into(), Some(kind), Algorithm::Sha256);
    assert_eq!(refused, Err(ManifestError::NotUtf8));
}

#[test]
fn known_types_in_other_letters_are_refused_and_unknown_ones_are_not() {
    let known = MediaType::OCI_MANIFEST;
    let text = "application/vnd.OCI.image.manifest.v1+json".to_owned();
    let other = image(&format!(r#","mediaType":"{text}""#));
    assert_eq!(parse("", &other), Err(ManifestError::LetterCase { text, known }));
    let known = "application/vnd.oci.image.layer.v1.tar";
    let text = "application/vnd.oci.image.layer.v1.TAR".to_owned();
    let other = image("").replacen("application/y", &text, 1);
    assert_eq!(parse("", &other), Err(ManifestError::LetterCase { text, known }));
    assert!(parse("", &image("").replace("application/x", "Application/X")).is_ok());
}

#[test]
fn what_was_stored_under_older_rules_is_read_as_it_was() {
    let deep = format!(r#","x":{}{}"#, "[".repeat(20_000), "]".repeat(20_000));
    let huge = image("").replace(r#""size":2"#, r#""size":18446744073709551615"#);
    let own = |kind: &str| image(&format!(r#","mediaType":"{kind}""#));
    let of_oci = image("").replace("application/x", MediaType::OCI_CONFIG);
    let of_docker = image("").replace("application/x", MediaType::DOCKER_CONFIG);
    let (form, vendor) = ("application/x-www-form-urlencoded", "application/vnd.example+json");
    for (text, kept, served) in [
        (image(r#","Layers":[],"y":1,"y":2"#), MediaType::OCI_MANIFEST, MediaType::OCI_MANIFEST),
        (image(&deep), MediaType::OCI_MANIFEST, MediaType::OCI_MANIFEST),
        (huge, MediaType::DOCKER_MANIFEST, MediaType::DOCKER_MANIFEST),
        (own(MediaType::OCI_MANIFEST), MediaType::OCI_MANIFEST, MediaType::OCI_MANIFEST),
        (own("text/html"), "text/html", "text/html"),
        (own("application/vnd.example+json; a=b"), vendor, vendor),
        // The type that it is kept under is none that it has.
        (image(""), form, MediaType::OCI_MANIFEST),
        (image(""), "application/json", MediaType::OCI_MANIFEST),
        (of_oci, MediaType::DOCKER_MANIFEST, MediaType::OCI_MANIFEST),
        // Nor one that it could be pushed under today, but some clients pull it so.
        (of_docker, MediaType::OCI_MANIFEST, MediaType::OCI_MANIFEST),
        // It says nothing.
        (r#"{"x":1}"#.to_owned(), form, form),
        (r#"{"x":1}"#.to_owned(), vendor, vendor),
    ] {
        let (bytes, kept) = (Bytes::from(text.clone()), kept.parse().unwrap());
        let read = Manifest::of_stored(bytes, kept, Algorithm::Sha256).unwrap();
        assert_eq!(read.media_type().as_str(), served, "{text:.200}");
        assert!(text.starts_with("{\"x") || read.edges().len() == 2);
    }
}

#[test]
fn schema_1_is_refused_however_it_comes() {
    let schema1 = r#"{"schemaVersion":1,"name":"a","fsLayers":[]}"#;
    assert_eq!(parse("application/json", schema1), Err(ManifestError::Schema1));
    assert_eq!(
        parse("application/vnd.docker.distribution.manifest.v1+prettyjws", "{}"),
        Err(ManifestError::Schema1)
    );
    for disguised in [
        image(r#","fsLayers":[]"#),
        image("").replace(r#""schemaVersion":2"#, r#""schemaVersion":1"#),
        format!(r#"{{"schemaVersion":1,"mediaType":"{}"}}"#, MediaType::OCI_INDEX),
        r#"{"mediaType":"application/vnd.docker.distribution.manifest.v1+json"}"#.to_owned(),
    ] {
        let refused = parse(MediaType::DOCKER_MANIFEST, &disguised);
        assert_eq!(refused, Err(ManifestError::LikeSchema1), "{disguised}");
    }
}

#[test]
fn a_document_of_two_kinds_is_refused() {
    let both = image(r#","manifests":[]"#);
    assert!(matches!(parse("", &both), Err(ManifestError::ForbiddenField { .. })));
    assert_eq!(
        parse(MediaType::OCI_MANIFEST, &both),
        Err(ManifestError::ForbiddenField {
            media_type: MediaType::OCI_MANIFEST.parse().unwrap(),
            field: "manifests"
        })
    );
    assert!(matches!(
        parse(MediaType::OCI_INDEX, &both),
        Err(ManifestError::ForbiddenField { field: "config", .. })
    ));
    let twice = image(r#","layers":[]"#);
    let twice = parse(MediaType::OCI_MANIFEST, &twice);
    let key = "layers".to_owned();
    assert_eq!(twice, Err(ManifestError::KeyTwice { place: KeyedObject::Manifest, key }));
}

#[test]
fn an_index_names_children_and_a_subject() {
    let body = format!(
        r#"{{"schemaVersion":2,"artifactType":"application/z","manifests":[
        {{"mediaType":"{}","digest":"{LAYER}","size":3}}],
        "subject":{{"mediaType":"{}","digest":"{CONFIG}","size":2}},
        "annotations":{{"b":"1","a":"2"}}}}"#,
        MediaType::DOCKER_MANIFEST,
        MediaType::OCI_MANIFEST
    );
    let index = parse(MediaType::OCI_INDEX, &body).unwrap();
    assert_eq!(index.subject(), Some(&CONFIG.parse().unwrap()));
    assert_eq!(index.edges().iter().filter(|edge| edge.kind == EdgeKind::Child).count(), 1);
    assert_eq!(index.annotations(), Some(r#"{"b":"1","a":"2"}"#));
    assert_eq!(index.artifact_type(), Some("application/z"));
    let alone = body.replace(r#""subject":"#, r#""other":"#);
    let alone = parse(MediaType::OCI_INDEX, &alone).unwrap();
    assert_eq!((alone.annotations(), alone.artifact_type()), (None, None), "no list shows them");
    let without_type = body.replace(r#""artifactType":"application/z","#, "");
    assert_eq!(parse(MediaType::OCI_INDEX, &without_type).unwrap().artifact_type(), None);
}

#[test]
fn an_odd_annotation_takes_no_other_one_with_it() {
    let subject = format!(r#","subject":{{"mediaType":"a/b","digest":"{LAYER}","size":0}}"#);
    for (pushed, shown) in [
        (r#"{ "b":"1", "a":"2" }"#, Some(r#"{ "b":"1", "a":"2" }"#)),
        (r#"{"x":null,"y":"kept"}"#, Some(r#"{"x":"","y":"kept"}"#)),
        (r#"{"x":"\ud800!","y":"kept"}"#, Some("{\"x\":\"\u{fffd}!\",\"y\":\"kept\"}")),
        (r#"{"\udc00":"x","y":"kept"}"#, Some("{\"y\":\"kept\",\"\u{fffd}\":\"x\"}")),
        (r#"{"x":7,"y":"kept","z":{"y":1}}"#, Some(r#"{"y":"kept"}"#)),
        (r#"{"x":7}"#, None),
        ("{}", Some("{}")),
        ("[]", None),
        ("null", None),
    ] {
        let text = image(&format!(r#"{subject},"annotations":{pushed}"#));
        let manifest = parse(MediaType::OCI_MANIFEST, &text).unwrap();
        assert_eq!(manifest.annotations(), shown, "{pushed}");
    }
}

#[test]
fn only_a_layer_with_urls_and_a_foreign_type_may_be_absent() {
    let foreign = |media_type: &str, urls: &str| {
        let body = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"application/x","digest":"{CONFIG}",
            "size":2}},
            "layers":[{{"mediaType":"{media_type}","digest":"{LAYER}","size":1{urls}}}]}}"#
        );
        let manifest = parse(MediaType::DOCKER_MANIFEST, &body).unwrap();
        manifest.edges().iter().all(|edge| edge.kind != EdgeKind::Layer)
    };
    let windows = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    assert!(foreign(windows, r#","urls":["https://example.com/layer"]"#));
    assert!(!foreign(windows, ""));
    assert!(!foreign("application/vnd.oci.image.layer.v1.tar", r#","urls":["https://e"]"#));
}

#[test]
fn another_type_is_a_manifest_when_its_fields_are_descriptors() {
    let blobs =
        format!(r#"{{"blobs":[{{"mediaType":"a/b","digest":"{LAYER}","size":1}}],"config":null}}"#);
    let manifest = parse("application/vnd.oci.artifact.manifest.v1+json", &blobs).unwrap();
    assert_eq!(manifest.edges().len(), 1);
    assert!(parse("application/x", "{}").is_ok());
    for bad in ["", "{", "[", "{}}", r#"{"x":"	"}"#] {
        assert!(matches!(parse("application/x", bad), Err(ManifestError::NotJson(_))), "{bad}");
    }
    for bad in ["[]", "7", "null", r#"{"layers":7}"#, r#"{"config":{}}"#, r#"{"subject":7}"#] {
        assert!(matches!(parse("application/x", bad), Err(ManifestError::Unfit(_))), "{bad}");
    }
}

#[test]
fn a_bad_digest_is_named_with_its_field() {
    let bad = image("").replace(CONFIG, "sha256:../../etc/passwd");
    assert_eq!(
        parse(MediaType::OCI_MANIFEST, &bad),
        Err(ManifestError::Digest {
            field: "config",
            text: "sha256:../../etc/passwd".into(),
            error: DigestError::Malformed
        })
    );
    let negative = image("").replace(r#""size":2"#, r#""size":-2"#);
    assert!(matches!(parse(MediaType::OCI_MANIFEST, &negative), Err(ManifestError::Unfit(_))));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(body in proptest::collection::vec(0u8.., 0..400)) {
        let media_type = MediaType::OCI_MANIFEST.parse().unwrap();
        let _ = Manifest::parse(body.into(), Some(media_type), Algorithm::Sha512);
    }
}
