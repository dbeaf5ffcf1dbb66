use super::*;

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
    assert_eq!(parse("", &image("")), Err(ManifestError::NoMediaType));
}

#[test]
fn schema_1_is_refused_however_it_comes() {
    let schema1 = r#"{"schemaVersion":1,"name":"a","fsLayers":[]}"#;
    assert_eq!(parse("application/json", schema1), Err(ManifestError::Schema1));
    assert_eq!(
        parse("application/vnd.docker.distribution.manifest.v1+prettyjws", "{}"),
        Err(ManifestError::Schema1)
    );
    let disguised = image(r#","fsLayers":[]"#);
    assert_eq!(parse(MediaType::DOCKER_MANIFEST, &disguised), Err(ManifestError::Schema1));
}

#[test]
fn a_document_of_two_kinds_is_refused() {
    let both = image(r#","manifests":[]"#);
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
    assert!(matches!(parse(MediaType::OCI_MANIFEST, &twice), Err(ManifestError::NotJson(_))));
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
    for bad in ["", "[]", "7", r#"{"layers":7}"#, r#"{"config":{"digest":"x"}}"#, "{"] {
        assert!(matches!(parse("application/x", bad), Err(ManifestError::NotJson(_))), "{bad}");
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
    assert!(matches!(parse(MediaType::OCI_MANIFEST, &negative), Err(ManifestError::NotJson(_))));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(body in proptest::collection::vec(0u8.., 0..400)) {
        let media_type = MediaType::OCI_MANIFEST.parse().unwrap();
        let _ = Manifest::parse(body.into(), Some(media_type), Algorithm::Sha512);
    }
}
