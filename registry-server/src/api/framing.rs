//! What RFC 9112 wants of a request's head before anybody looks at what it asks for, beyond what
//! hyper checks: that it names one host, and that its body comes as hyper reads it.

use hyper::Version;
use hyper::header::{HOST, HeaderMap, TRANSFER_ENCODING};
use hyper::http::request;

use crate::error::ApiError;

/// Checks the head of a request.
///
/// # Errors
/// [`ApiError::Host`], [`ApiError::TransferCoding`], and [`ApiError::NotHttp`] for a body that is
/// chunked twice.
pub(super) fn check(head: &request::Parts) -> Result<(), ApiError> {
    check_host(head)?;
    check_codings(&head.headers)
}

/// Section 3.2: a request has one Host header, also where its target names the host; older ones
/// than HTTP/1.1 may have none.
fn check_host(head: &request::Parts) -> Result<(), ApiError> {
    let mut hosts = head.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host.as_bytes()) => Ok(()),
        (None, _) if head.version < Version::HTTP_11 => Ok(()),
        _ => Err(ApiError::Host),
    }
}

/// Section 6.1: a coding that is not understood is answered with 501, since what would be stored
/// is not what was meant. That `chunked` comes last is checked by hyper.
fn check_codings(headers: &HeaderMap) -> Result<(), ApiError> {
    let mut chunked = 0;
    for value in headers.get_all(TRANSFER_ENCODING) {
        let codings = value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        for coding in codings.filter(|coding| !coding.is_empty()) {
            match coding.eq_ignore_ascii_case(b"chunked") {
                true => chunked += 1,
                false => return Err(ApiError::TransferCoding),
            }
        }
    }
    if chunked > 1 { Err(ApiError::NotHttp) } else { Ok(()) }
}

/// Whether this is `uri-host [ ":" port ]` of RFC 3986: an address in brackets, or a name, which
/// may be empty, of the characters that names in URIs have.
fn is_host(value: &[u8]) -> bool {
    let is_port = |port: &[u8]| port.iter().all(u8::is_ascii_digit);
    if let Some(rest) = value.strip_prefix(b"[") {
        let Some(end) = rest.iter().position(|&byte| byte == b']') else { return false };
        let (address, rest) = (&rest[..end], &rest[end + 1..]);
        let is_address = |byte: &u8| byte.is_ascii_alphanumeric() || b":.%-_~".contains(byte);
        let is_end = rest.is_empty() || rest.strip_prefix(b":").is_some_and(is_port);
        return !address.is_empty() && address.iter().all(is_address) && is_end;
    }
    let colon = value.iter().position(|&byte| byte == b':');
    let (name, port) = value.split_at(colon.unwrap_or(value.len()));
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(byte);
    name.iter().all(is_name) && (port.is_empty() || is_port(&port[1..]))
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn verdict(version: Version, headers: &[(&str, &str)]) -> Result<(), ApiError> {
        let mut request = Request::builder().version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_request_names_one_host() {
        let host = |value: &str| verdict(Version::HTTP_11, &[("Host", value)]);
        for good in
            ["a", "a:8443", "a.example:443", "127.0.0.1:1", "[::1]", "[::1]:8443", "", "a:", "a_b"]
        {
            assert_eq!(host(good), Ok(()), "{good:?}");
        }
        for bad in [
            "a b",
            "a/b",
            "user@a",
            "a:b",
            "a:1:2",
            "::1",
            "[::1",
            "[]",
            "[::1]x",
            "a\"b",
            "a?b",
            "https://a",
            "\u{e4}",
        ] {
            assert_eq!(host(bad), Err(ApiError::Host), "{bad:?}");
        }
        assert_eq!(verdict(Version::HTTP_11, &[]), Err(ApiError::Host));
        assert_eq!(verdict(Version::HTTP_10, &[]), Ok(()));
        let twice = [("Host", "a"), ("Host", "a")];
        for version in [Version::HTTP_10, Version::HTTP_11] {
            assert_eq!(verdict(version, &twice), Err(ApiError::Host));
        }
    }

    #[test]
    fn a_body_is_chunked_once_and_nothing_else() {
        let with = |codings: &[&str]| {
            let mut headers = vec![("Host", "a")];
            headers.extend(codings.iter().map(|coding| ("Transfer-Encoding", *coding)));
            verdict(Version::HTTP_11, &headers)
        };
        for good in [&[][..], &["chunked"], &["Chunked"], &[" chunked ,"]] {
            assert_eq!(with(good), Ok(()), "{good:?}");
        }
        for bad in [&["gzip, chunked"][..], &["gzip", "chunked"], &["identity"], &["x;q=1"]] {
            assert_eq!(with(bad), Err(ApiError::TransferCoding), "{bad:?}");
        }
        assert_eq!(with(&["chunked, chunked"]), Err(ApiError::NotHttp));
        assert_eq!(with(&["chunked", "chunked"]), Err(ApiError::NotHttp));
    }
}
