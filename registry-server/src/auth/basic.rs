//! The `Authorization` header: Basic, as in RFC 7617.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use storage::UserName;

use super::password::Password;

/// A user name and a password as they came. Never printed.
#[derive(PartialEq, Eq)]
pub(super) struct Credentials {
    /// The part before the first colon.
    pub user: String,
    /// Everything after it: any bytes.
    pub password: Vec<u8>,
}

/// What the header says.
#[derive(PartialEq, Eq)]
pub(super) enum Authorization {
    /// Nothing: no header, or Basic with an empty name and an empty password, which
    /// containers/image sends when it has no credentials.
    Absent,
    /// Something that cannot be the credentials of a user here.
    Unusable,
    /// Credentials to verify.
    Basic(Credentials),
}

/// Reads the header, which is at most `most` bytes long.
pub(super) fn parse(header: Option<&HeaderValue>, most: usize) -> Authorization {
    let Some(header) = header else { return Authorization::Absent };
    if header.len() > most {
        return Authorization::Unusable;
    }
    decode(header).unwrap_or(Authorization::Unusable)
}

/// The header that a client sends. Never printed.
pub(crate) fn encode(user: &UserName, password: &Password) -> HeaderValue {
    let credentials = [user.as_str().as_bytes(), b":", password.as_bytes()].concat();
    let text = format!("Basic {}", STANDARD.encode(credentials));
    // Letters, digits and a few signs always make a header.
    let mut header = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
    header.set_sensitive(true);
    header
}

fn decode(header: &HeaderValue) -> Option<Authorization> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|&byte| byte == b':')?;
    if decoded.len() == 1 {
        return Some(Authorization::Absent);
    }
    let user = String::from_utf8(decoded[..colon].to_vec()).ok()?;
    let password = decoded[colon + 1..].to_vec();
    Some(Authorization::Basic(Credentials { user, password }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Authorization {
        parse(Some(&HeaderValue::try_from(text).unwrap()), 100)
    }

    #[test]
    fn what_is_sent_is_what_is_read() {
        let password = Password::new("pä:ss wörd".as_bytes()).unwrap();
        let header = encode(&"init".parse().unwrap(), &password);
        let expected = Credentials { user: "init".into(), password: password.as_bytes().to_vec() };
        assert!(parse(Some(&header), 100) == Authorization::Basic(expected));
        assert_eq!(format!("{header:?}"), "Sensitive");
    }

    #[test]
    fn basic_is_read_and_everything_else_is_not() {
        let expected = Credentials { user: "init".into(), password: b"pa:ss".to_vec() };
        let encoded = format!("bAsIc {}", STANDARD.encode("init:pa:ss"));
        assert!(of(&encoded) == Authorization::Basic(expected));
        assert!(of("Basic Og==") == Authorization::Absent);
        assert!(parse(None, 100) == Authorization::Absent);
        for bad in ["Bearer abc", "Basic", "Basic ???", "Basic aW5pdA==", "Negotiate x"] {
            assert!(of(bad) == Authorization::Unusable, "{bad}");
        }
        assert!(of(&format!("Basic {}", "a".repeat(200))) == Authorization::Unusable);
    }
}
