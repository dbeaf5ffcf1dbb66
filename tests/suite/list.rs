//! Lists: tags, the catalog and referrers, in order, in pages, with the literal form of links.

use oci::MediaType;
use serde_json::{Value, json};

use crate::support::content::{Manifest, descriptor, push_blob, push_image, sha256, sha512};
use crate::support::http::{Client, Response};
use crate::support::server::Server;

#[test]
fn tags_come_in_ascii_order_and_in_pages() {
    let server = Server::start();
    let client = server.administrator();
    let tags = ["b", "A", "_x", "0", "a.1", "a", "Z-9"];
    let manifest = push_image(&client, "ns/a", "first", b"layer");
    client.delete("/v2/ns/a/manifests/first").expect(202);
    let query = format!("{}?tag={}", manifest.digest(), tags.join("&tag="));
    manifest.put(&client, "ns/a", &query).expect(201);
    let sorted = ["0", "A", "Z-9", "_x", "a", "a.1", "b"];
    let path = "/v2/ns/a/tags/list";
    let list = |query: &str| client.get(&format!("{path}{query}")).expect(200);

    let all = list("");
    assert_eq!(all.json(), json!({ "name": "ns/a", "tags": sorted }));
    assert_eq!(all.must("content-type"), "application/json");
    assert_eq!(all.header("link"), None);
    for (query, tags, link) in [
        ("?n=3", &sorted[..3], Some("</v2/ns/a/tags/list?last=Z-9&n=3>; rel=\"next\"")),
        ("?n=3&last=Z-9", &sorted[3..6], Some("</v2/ns/a/tags/list?last=a.1&n=3>; rel=\"next\"")),
        ("?last=a.1&n=3", &sorted[6..], None),
        // Exactly as many as there are: nothing follows.
        ("?n=7", &sorted[..], None),
        ("?n=6", &sorted[..6], Some("</v2/ns/a/tags/list?last=a.1&n=6>; rel=\"next\"")),
        ("?n=100000", &sorted[..], None),
        ("?last=Z-9", &sorted[3..], None),
        // The last one need not exist.
        ("?last=Zzz", &sorted[3..], None),
        ("?last=b", &[], None),
        ("?last=b&n=5", &[], None),
        ("?n=0", &[], None),
        ("?n=0&last=A", &[], None),
        // What it does not know, it leaves alone.
        ("?ns=example.com&other", &sorted[..], None),
    ] {
        let page = list(query);
        assert_eq!(page.json()["tags"], json!(tags), "{query}");
        assert_eq!(page.header("link"), link, "{query}");
    }
    for bad in ["?n=-1", "?n=x", "?n=", "?n=1.5"] {
        client.get(&format!("{path}{bad}")).refused(400, "PAGINATION_NUMBER_INVALID");
    }
    let head = client.head(path).expect(200);
    assert_eq!(head.must("content-length"), all.body.len().to_string());
}

#[test]
fn a_page_is_never_larger_than_the_servers() {
    let server = Server::with(|limits| limits.page_entries = 2);
    let client = server.administrator();
    for number in 0..5 {
        push_image(&client, &format!("r{number}"), "1", b"layer");
        push_image(&client, "a", &format!("t{number}"), b"layer");
    }
    for query in ["", "?n=100"] {
        let page = client.get(&format!("/v2/a/tags/list{query}")).expect(200);
        assert_eq!(page.json()["tags"], json!(["t0", "t1"]));
        assert_eq!(page.must("link"), "</v2/a/tags/list?last=t1&n=2>; rel=\"next\"");
    }
    let tags = walk(&client, "/v2/a/tags/list", "tags");
    assert_eq!(tags, ["t0", "t1", "t2", "t3", "t4"]);
    let repositories = walk(&client, "/v2/_catalog?n=100", "repositories");
    assert_eq!(repositories, ["a", "r0", "r1", "r2", "r3", "r4"]);
}

#[test]
fn a_page_has_no_more_bytes_than_a_connection_has_room_for() {
    let server = Server::start();
    let client = server.administrator();
    let image = push_image(&client, "a", "1", b"layer");
    for first in (0..1000).step_by(100) {
        let tags = (first..first + 100).map(|number| format!("tag={}{number:08}", "t".repeat(120)));
        let tags: Vec<String> = tags.collect();
        image.put(&client, "a", &format!("{}?{}", image.digest(), tags.join("&"))).expect(201);
    }
    let page = client.get("/v2/a/tags/list").expect(200);
    assert!(page.body.len() <= PAGE_BYTES, "{} bytes", page.body.len());
    assert!(page.body.len() > PAGE_BYTES - 500, "{} bytes", page.body.len());
    assert!(page.must("link").ends_with("&n=10000>; rel=\"next\""), "{page:?}");
    assert_eq!(walk(&client, "/v2/a/tags/list", "tags").len(), 1001);
    assert_eq!(walk(&client, "/v2/a/tags/list?n=1000", "tags").len(), 1001);
    // The catalog.
    for number in 0..300 {
        let name = format!("{}/{number:03}", "r".repeat(240));
        Manifest::index(&[]).put(&client, &name, "1").expect(201);
    }
    let page = client.get("/v2/_catalog").expect(200);
    assert!(page.body.len() <= PAGE_BYTES && page.header("link").is_some(), "{page:?}");
    assert_eq!(walk(&client, "/v2/_catalog", "repositories").len(), 301);
}

#[test]
fn a_page_of_referrers_has_no_more_bytes_unless_it_is_one_referrer() {
    let server = Server::start();
    let client = server.administrator();
    let subject = push_image(&client, "a", "1", b"layer");
    let referrer = |number: usize, length: usize| {
        let annotations = json!({ "n": number.to_string(), "a": "x".repeat(length) });
        let document = json!({ "manifests": [], "subject": subject.descriptor(),
                               "artifactType": "application/x", "annotations": annotations });
        let manifest = Manifest::new(MediaType::OCI_INDEX, document);
        manifest.put(&client, "a", &manifest.digest()).expect(201);
    };
    (0..100).for_each(|number| referrer(number, 2000));
    referrer(100, 1_000_000);
    let path = format!("/v2/a/referrers/{}", subject.digest());
    for query in ["", "?artifactType=application/x"] {
        let mut path = format!("{path}{query}");
        let (mut found, mut large) = (Vec::new(), 0);
        loop {
            let page = client.get(&path).expect(200);
            let manifests = page.json()["manifests"].as_array().expect("a list").clone();
            if page.body.len() > PAGE_BYTES {
                assert_eq!(manifests.len(), 1, "{} bytes", page.body.len());
                large += 1;
            }
            let number = |entry: &Value| entry["annotations"]["n"].as_str().map(str::to_owned);
            found.extend(manifests.iter().filter_map(number));
            let Some(link) = page.header("link") else { break };
            path = link[1..link.find('>').expect("an end")].to_owned();
        }
        found.sort_unstable();
        found.dedup();
        assert_eq!((found.len(), large), (101, 1));
    }
}

/// What a page of a list has at most: what each connection may send from memory.
const PAGE_BYTES: usize = 64 << 10;

#[test]
fn tags_of_an_unknown_repository_are_an_error() {
    let server = Server::start();
    let client = server.administrator();
    client.get("/v2/a/tags/list").refused(404, "NAME_UNKNOWN");
    // A blob makes a repository; it has no tags.
    push_blob(&client, "a", b"blob");
    let list = client.get("/v2/a/tags/list").expect(200).json();
    assert_eq!(list, json!({ "name": "a", "tags": [] }));
}

#[test]
fn the_catalog_lists_what_holds_a_manifest() {
    let server = Server::start();
    let client = server.administrator();
    assert_eq!(client.get("/v2/_catalog").expect(200).json(), json!({ "repositories": [] }));
    push_blob(&client, "only/a/blob", b"blob");
    for name in ["b", "a/z", "a-b", "a", "a/b/c"] {
        push_image(&client, name, "1", b"layer");
    }
    // ASCII order: '-' is before '/'.
    let sorted = ["a", "a-b", "a/b/c", "a/z", "b"];
    let all = client.get("/v2/_catalog").expect(200);
    assert_eq!(all.json(), json!({ "repositories": sorted }));
    assert_eq!(all.header("link"), None);
    let page = client.get("/v2/_catalog?n=3").expect(200);
    assert_eq!(page.json()["repositories"], json!(sorted[..3]));
    assert_eq!(page.must("link"), "</v2/_catalog?last=a/b/c&n=3>; rel=\"next\"");
    assert_eq!(walk(&client, "/v2/_catalog?n=1", "repositories"), sorted);
    let escaped = client.get("/v2/_catalog?last=a%2Fb%2Fc").expect(200);
    assert_eq!(escaped.json()["repositories"], json!(sorted[3..]));
    let none = client.get("/v2/_catalog?n=0").expect(200);
    assert_eq!((none.json(), none.header("link")), (json!({ "repositories": [] }), None));
    client.get("/v2/_catalog?n=x").refused(400, "PAGINATION_NUMBER_INVALID");
    // What lost its last manifest is not listed.
    let path = format!("/v2/b/manifests/{}", Manifest::image(b"{}", b"layer").digest());
    client.delete(&path).expect(202);
    assert_eq!(client.get("/v2/_catalog").expect(200).json()["repositories"], json!(sorted[..4]));
}

#[test]
fn referrers_are_described() {
    let server = Server::start();
    let client = server.administrator();
    let subject = push_image(&client, "a", "1", b"layer");
    let path = format!("/v2/a/referrers/{}", subject.digest());
    let config = "application/vnd.oci.image.config.v1+json";
    let typed = json!({
        "subject": subject.descriptor(), "artifactType": "application/vnd.example.sbom",
        "annotations": { "org.example.é": "ü \" \\ \n", "a": "" },
    });
    let typed = Manifest::image_with(b"{}", b"layer", &typed);
    let untyped = json!({ "subject": subject.descriptor() });
    let untyped = Manifest::image_with(b"{}", b"layer", &untyped);
    let index = Manifest::new(
        MediaType::OCI_INDEX,
        json!({ "manifests": [], "subject": subject.descriptor(), "annotations": { "k": "v" } }),
    );
    for manifest in [&typed, &untyped, &index] {
        let put = manifest.put(&client, "a", &manifest.digest()).expect(201);
        assert_eq!(put.must("oci-subject"), subject.digest());
    }
    let described = |manifest: &Manifest, more: Value| {
        let mut entry = manifest.descriptor();
        more.as_object().expect("fields").iter().for_each(|(k, v)| entry[k] = v.clone());
        entry
    };
    let mut expected = vec![
        described(
            &typed,
            json!({
                "artifactType": "application/vnd.example.sbom",
                "annotations": { "org.example.é": "ü \" \\ \n", "a": "" },
            }),
        ),
        described(&untyped, json!({ "artifactType": config })),
        described(&index, json!({ "annotations": { "k": "v" } })),
    ];
    expected.sort_by_key(|entry| entry["digest"].to_string());
    let all = client.get(&path).expect(200);
    assert_eq!(all.must("content-type"), MediaType::OCI_INDEX);
    assert_eq!(all.header("oci-filters-applied"), None);
    assert_eq!(referrers(&all), expected);

    for (filter, of) in [
        ("application/vnd.example.sbom", Some(&typed)),
        (config, Some(&untyped)),
        ("application%2Fvnd.oci.image.config.v1%2Bjson", Some(&untyped)),
        ("application/vnd.nobody", None),
    ] {
        let page = client.get(&format!("{path}?artifactType={filter}")).expect(200);
        assert_eq!(page.must("oci-filters-applied"), "artifactType");
        let digests: Vec<String> = referrers(&page).iter().map(|e| text(&e["digest"])).collect();
        assert_eq!(digests, of.map(Manifest::digest).into_iter().collect::<Vec<_>>(), "{filter}");
    }
    // One that is deleted is no longer listed; the others stay when the subject goes.
    client.delete(&format!("/v2/a/manifests/{}", typed.digest())).expect(202);
    client.delete(&format!("/v2/a/manifests/{}", subject.digest())).expect(202);
    assert_eq!(referrers(&client.get(&path).expect(200)).len(), 2);
}

#[test]
fn referrers_of_what_nobody_knows_are_an_empty_list() {
    let server = Server::start();
    let client = server.administrator();
    let empty = |path: &str| {
        let response = client.get(path).expect(200);
        assert_eq!(response.must("content-type"), MediaType::OCI_INDEX);
        assert!(referrers(&response).is_empty());
    };
    push_blob(&client, "a", b"blob");
    for repository in ["a", "not/there"] {
        for digest in [sha256(b"absent"), sha512(b"absent"), sha256(b"blob")] {
            empty(&format!("/v2/{repository}/referrers/{digest}"));
            empty(&format!("/v2/{repository}/referrers/{digest}?artifactType=x/y"));
        }
    }
    for malformed in ["x", "sha256:abc", "md5:d41d8cd98f00b204e9800998ecf8427e"] {
        client.get(&format!("/v2/a/referrers/{malformed}")).refused(400, "DIGEST_INVALID");
    }
}

#[test]
fn referrers_by_sha512() {
    let server = Server::start();
    let client = server.administrator();
    let subject = push_image(&client, "a", "1", b"layer");
    let digest = sha512(&subject.bytes);
    subject.put(&client, "a", &digest).expect(201);
    let named = json!({
        "mediaType": subject.media_type, "digest": digest, "size": subject.bytes.len(),
    });
    let referrer = Manifest::image_with(b"{}", b"layer", &json!({ "subject": named }));
    let put = referrer.put(&client, "a", &sha512(&referrer.bytes)).expect(201);
    assert_eq!(put.must("oci-subject"), digest);
    let found = referrers(&client.get(&format!("/v2/a/referrers/{digest}")).expect(200));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["digest"], sha512(&referrer.bytes));
}

#[test]
fn many_referrers_come_in_pages_that_clients_can_read() {
    let server = Server::start();
    let client = server.administrator();
    let subject = push_image(&client, "a", "1", b"layer");
    let kinds = ["x/even+a", "x/odd"];
    // Large annotations: a page ends after 1 MiB of them, since clients stop at 4 MiB.
    let mut expected: Vec<String> = (0..6)
        .map(|number| {
            let more = json!({
                "subject": subject.descriptor(),
                "annotations": { "text": format!("{number}").repeat(400_000) },
                "artifactType": kinds[number % 2],
            });
            let manifest = Manifest::image_with(b"{}", b"layer", &more);
            manifest.put(&client, "a", &manifest.digest()).expect(201);
            manifest.digest()
        })
        .collect();
    expected.sort();
    let follow = |query: &str| {
        let (mut found, mut pages) = (Vec::new(), 0);
        let mut next = Some(format!("/v2/a/referrers/{}{query}", subject.digest()));
        while let Some(path) = next {
            let page = client.get(&path).expect(200);
            assert!(page.body.len() < 4 << 20, "{} bytes", page.body.len());
            found.extend(referrers(&page).iter().map(|entry| text(&entry["digest"])));
            (next, pages) = (link(&page), pages + 1);
        }
        (found, pages)
    };
    let (found, pages) = follow("");
    assert_eq!(found, expected);
    assert!(pages > 1, "one page of {} bytes", 6 * 400_000);
    // The filter goes with the link, with its plus sign.
    assert_eq!(follow("?artifactType=x/even%2Ba").0.len(), 3);
    assert_eq!(follow("?artifactType=x/odd").0.len(), 3);
    let bad = format!("/v2/a/referrers/{}?last=x", subject.digest());
    client.get(&bad).refused(400, "DIGEST_INVALID");
}

#[test]
fn annotations_that_are_none_are_left_out() {
    let server = Server::start();
    let client = server.administrator();
    push_blob(&client, "a", b"{}");
    let subject = descriptor("x/y", b"absent");
    for annotations in [json!(null), json!({}), json!({ "a": 1 }), json!(["a"])] {
        let document = json!({ "subject": subject, "annotations": annotations, "manifests": [] });
        let manifest = Manifest::new(MediaType::OCI_INDEX, document);
        manifest.put(&client, "a", &manifest.digest()).expect(201);
    }
    let path = format!("/v2/a/referrers/{}", sha256(b"absent"));
    for entry in referrers(&client.get(&path).expect(200)) {
        let annotations = &entry["annotations"];
        assert!(annotations.is_null() || *annotations == json!({}), "{entry}");
    }
}

/// The entries of a referrers list, which must be an index.
#[track_caller]
fn referrers(response: &Response) -> Vec<Value> {
    let index = response.json();
    assert_eq!(index["schemaVersion"], 2);
    assert_eq!(index["mediaType"], MediaType::OCI_INDEX);
    index["manifests"].as_array().expect("a list, even an empty one").clone()
}

/// Follows links to the end and gathers the entries.
#[track_caller]
fn walk(client: &Client, path: &str, field: &str) -> Vec<String> {
    let (mut entries, mut next) = (Vec::new(), Some(path.to_owned()));
    while let Some(path) = next {
        let page = client.get(&path).expect(200);
        entries.extend(page.json()[field].as_array().expect("a list").iter().map(text));
        next = link(&page);
    }
    entries
}

/// The path of the next page, cut out as OpenShift's update service does.
#[track_caller]
fn link(response: &Response) -> Option<String> {
    let link = response.header("link")?;
    let path = link.strip_prefix('<').and_then(|rest| rest.strip_suffix(">; rel=\"next\""));
    Some(path.unwrap_or_else(|| panic!("not the literal form: {link}")).to_owned())
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
