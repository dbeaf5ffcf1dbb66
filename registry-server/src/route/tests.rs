use oci::{DigestError, NameError};
use storage::UploadIdError;

use super::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const ID: &str = "01234567-89ab-4cde-8f01-23456789abcd";

fn parse(method: &str, uri: &str) -> Result<Route, ApiError> {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let (path, query) = uri.split_once('?').map_or((uri, None), |(path, q)| (path, Some(q)));
    Route::parse(&method, path, query)
}

fn name(text: &str) -> RepoName {
    text.parse().unwrap()
}

fn check<const N: usize>(table: [(&str, String, Route); N]) {
    for (method, uri, route) in table {
        assert_eq!(parse(method, &uri), Ok(route), "{method} {uri}");
    }
}

#[test]
fn every_path_of_lists_blobs_and_new_uploads_is_known() {
    let digest: Digest = DIGEST.parse().unwrap();
    let table = [
        ("GET", "/v2/".to_owned(), Route::Base),
        ("HEAD", "/v2".to_owned(), Route::Base),
        ("GET", "/v2/_catalog".to_owned(), Route::Catalog(PageQuery::default())),
        (
            "GET",
            "/v2/a/b/tags/list?n=2&last=v1".to_owned(),
            Route::Tags(name("a/b"), PageQuery { n: Some(2), last: Some("v1".into()) }),
        ),
        ("HEAD", format!("/v2/a/blobs/{DIGEST}"), Route::BlobRead(name("a"), digest)),
        (
            "GET",
            "/v2/a/blobs/sha256%3A".to_owned() + &DIGEST[7..],
            Route::BlobRead(name("a"), digest),
        ),
        ("DELETE", format!("/v2/a/blobs/{DIGEST}"), Route::BlobDelete(name("a"), digest)),
        ("POST", "/v2/a/blobs/uploads/".into(), Route::UploadStart(name("a"), Algorithm::Sha256)),
        (
            "POST",
            "/v2/a/blobs/uploads?digest-algorithm=sha512".into(),
            Route::UploadStart(name("a"), Algorithm::Sha512),
        ),
        (
            "POST",
            format!("/v2/a/blobs/uploads/?digest={DIGEST}"),
            Route::UploadWhole(name("a"), digest),
        ),
        (
            "POST",
            format!("/v2/a/blobs/uploads/?from=ns%2Fb&mount={}", DIGEST.replace(':', "%3A")),
            Route::Mount(name("a"), digest, Some(name("ns/b"))),
        ),
        (
            "POST",
            format!("/v2/a/blobs/uploads/?mount={DIGEST}"),
            Route::Mount(name("a"), digest, None),
        ),
    ];
    check(table);
}

#[test]
fn every_path_of_sessions_manifests_and_health_is_known() {
    let digest: Digest = DIGEST.parse().unwrap();
    let id: UploadId = ID.parse().unwrap();
    let table = [
        ("GET", format!("/v2/a/blobs/uploads/{ID}"), Route::UploadStatus(name("a"), id)),
        ("PATCH", format!("/v2/a/blobs/uploads/{ID}"), Route::UploadAppend(name("a"), id)),
        (
            "PUT",
            format!("/v2/a/blobs/uploads/{ID}?digest={DIGEST}"),
            Route::UploadFinish(name("a"), id, digest),
        ),
        ("DELETE", format!("/v2/a/blobs/uploads/{ID}"), Route::UploadCancel(name("a"), id)),
        (
            "PUT",
            "/v2/a/manifests/v1?tag=v2&tag=v3".into(),
            Route::ManifestPut(
                name("a"),
                "v1".parse().unwrap(),
                vec!["v2".parse().unwrap(), "v3".parse().unwrap()],
            ),
        ),
        (
            "GET",
            format!("/v2/a/referrers/{DIGEST}?artifactType=a/b+json"),
            Route::Referrers(
                name("a"),
                digest,
                ReferrerQuery { artifact_type: Some("a/b+json".into()), last: None },
            ),
        ),
        ("GET", "/healthz".into(), Route::Live),
        ("GET", "/readyz".into(), Route::Ready),
        ("GET", "/health/instance".into(), Route::Instance),
    ];
    check(table);
}

#[test]
fn a_name_may_hold_the_words_of_the_api() {
    let uri = "/v2/manifests/blobs/uploads/tags/manifests/v1";
    let route = Route::ManifestRead(name("manifests/blobs/uploads/tags"), "v1".parse().unwrap());
    assert_eq!(parse("GET", uri), Ok(route));
}

#[test]
fn what_is_malformed_is_named() {
    let table = [
        ("GET", "/v2/A/tags/list".to_owned(), ApiError::Name(NameError::Repository)),
        ("GET", "/v2/a/../b/tags/list".into(), ApiError::Name(NameError::Repository)),
        ("GET", "/v2/a/manifests/-x".into(), ApiError::Name(NameError::Tag)),
        (
            "GET",
            "/v2/a/manifests/sha256:1".into(),
            ApiError::Name(NameError::Digest(DigestError::Malformed)),
        ),
        ("GET", "/v2/a/blobs/md5:1a".into(), ApiError::Digest(DigestError::UnsupportedAlgorithm)),
        ("GET", "/v2/a/blobs/uploads/1".into(), ApiError::UploadId(UploadIdError)),
        ("PUT", format!("/v2/a/blobs/uploads/{ID}"), ApiError::DigestMissing),
        ("GET", "/v2/_catalog?n=-1".into(), ApiError::PageSize),
        ("GET", "/v2/_catalog?n=%ff".into(), ApiError::QueryEncoding),
        ("POST", "/v2/".into(), ApiError::Method { allowed: "GET, HEAD" }),
        (
            "PATCH",
            "/v2/a/manifests/v1".into(),
            ApiError::Method { allowed: "GET, HEAD, PUT, DELETE" },
        ),
        ("GET", "/v2/tags/list".into(), ApiError::NoSuchPath),
        ("GET", "/v1/search".into(), ApiError::NoSuchPath),
        ("GET", "/".into(), ApiError::NoSuchPath),
        ("GET", "/v2/%ff".into(), ApiError::NoSuchPath),
    ];
    for (method, uri, error) in table {
        assert_eq!(parse(method, &uri), Err(error), "{method} {uri}");
    }
}
