//! docs/manifests.md: each refusal that it explains is said in its words.

use oci::MediaType;

use crate::support::http::Header;
use crate::support::server::Server;

const PAGE: &str = include_str!("../../../docs/manifests.md");

const OCI: Header<'_> = ("Content-Type", MediaType::OCI_MANIFEST);
const JSON: Header<'_> = ("Content-Type", "application/json");
const HTML: Header<'_> = ("Content-Type", "text/html");
const UPPER: Header<'_> = ("Content-Type", "application/vnd.OCI.image.manifest.v1+json");

/// The status and the sentence of each row of the section.
fn rows() -> Vec<(u16, &'static str)> {
    let row = |line: &'static str| {
        let (status, rest) = line.strip_prefix("| ")?.split_once(": `")?;
        Some((status.parse().ok()?, rest.split_once("` | ")?.0))
    };
    let section = PAGE.split("\n## What a refusal says, and what to do\n").nth(1);
    let section = section.and_then(|rest| rest.split("\n## ").next()).expect("the section");
    section.lines().filter_map(row).collect()
}

/// Whether a sentence is what the page writes, with anything for each `…`.
fn is_said(written: &str, sentence: &str) -> bool {
    let mut rest = sentence;
    let mut parts = written.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(after) = rest.strip_prefix(first) else { return false };
    rest = after;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty() || written.ends_with('…')
}

#[test]
fn each_refusal_that_the_page_explains_is_said_so() {
    let server = Server::start();
    let client = server.administrator();
    let with = |fields: &str| format!(r#"{{"schemaVersion":2,{fields}}}"#).into_bytes();
    let layer = |fields: &str| with(&format!(r#""layers":[{{{fields}}}]"#));
    let digest = format!(r#""mediaType":"a/b","digest":"sha256:{}","size":1"#, "0".repeat(64));
    let deep = format!(r#""x":{}{}"#, "[".repeat(10_000), "]".repeat(10_000));
    let oci = format!(r#""mediaType":"{}""#, MediaType::OCI_MANIFEST);
    let child = |n: usize| format!(r#"{{"mediaType":"a/b","digest":"sha256:{n:064}","size":1}}"#);
    let many = (0..5000).map(child).collect::<Vec<_>>().join(",");
    let pushes: [(&[Header<'_>], Vec<u8>); 25] = [
        (&[OCI], with(r#""Layers":[]"#)),
        (&[OCI], layer(&format!(r#"{digest},"Digest":1"#))),
        (&[OCI], layer(&format!(r#"{digest},"platform":{{"OS":1}}"#))),
        (&[OCI], with(r#""x":1,"x":2"#)),
        (&[OCI], layer(&format!(r#"{digest},"size":1"#))),
        (&[UPPER], with(r#""layers":[]"#)),
        (&[], with(r#""mediaType":"application/vnd.OCI.image.index.v1+json""#)),
        (&[], with(r#""mediaType":"a/b; c=d""#)),
        (&[OCI], b"{\"\xff\":1}".to_vec()),
        (&[OCI], with(&deep)),
        (&[], with(&format!(r#""mediaType":"{}","manifests":[{many}]"#, MediaType::OCI_INDEX))),
        (&[OCI], b"{} x".to_vec()),
        (&[OCI], layer(&digest.replace(":1", ":1.5"))),
        (&[HTML], with(r#""layers":[]"#)),
        (&[], with(r#""mediaType":"text/html""#)),
        (&[JSON], with(&oci)),
        (&[JSON], with(r#""manifests":[]"#)),
        (&[OCI, OCI], with(r#""layers":[]"#)),
        (&[], b"{}".to_vec()),
        (&[JSON], br#"{"schemaVersion":1,"fsLayers":[]}"#.to_vec()),
        (&[OCI], with(r#""fsLayers":[],"layers":[]"#)),
        (&[OCI], b"{\"config\":{\"digest\":\"x\"}}".to_vec()),
        (&[OCI], with(r#""layers":[]"#)),
        (&[OCI], format!(r#"{{"config":{{{digest}}}}}"#).into_bytes()),
        (&[OCI], with(&format!(r#""config":{{{digest}}},"manifests":[]"#))),
    ];
    let mut rows: Vec<_> = rows().into_iter().map(|(status, row)| (status, row, 0)).collect();
    assert!(rows.len() > 10, "only {} rows", rows.len());
    for (headers, body) in pushes {
        let response = client.request("PUT", "/v2/a/manifests/1", headers, &body);
        let (_, sentence) = response.error();
        let row = rows.iter_mut().find(|(_, row, _)| is_said(row, &sentence));
        let Some((status, _, found)) = row else { panic!("the page lacks: {sentence}") };
        assert_eq!(response.status, *status, "{sentence}");
        *found += 1;
    }
    for (_, row, found) in rows {
        assert!(found > 0, "nobody says: {row}");
    }
}
