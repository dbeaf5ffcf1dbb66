//! What a server asks for when it answers 401: the first challenge of `WWW-Authenticate` that
//! the client knows how to meet.

use hyper::header::{HeaderMap, WWW_AUTHENTICATE};

/// How a login is to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Name and password with each request.
    Basic,
    /// A token, which the realm gives to whoever shows name and password.
    Bearer(Grant),
}

/// What to ask a realm for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// The address that gives tokens.
    pub(crate) realm: String,
    /// For which service it is to be.
    pub(crate) service: Option<String>,
    /// For what it is to be, separated by spaces.
    pub(crate) scope: Option<String>,
}

impl Challenge {
    /// The first that is understood in the headers of an answer.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(WWW_AUTHENTICATE).iter();
        values.filter_map(|value| Self::parse(value.to_str().ok()?)).next()
    }

    /// One challenge, as a server writes it into one header.
    fn parse(value: &str) -> Option<Self> {
        let (scheme, rest) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let parameters = parameters(rest)?;
        let named = |name: &str| {
            let mut found = parameters.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
            found.next().map(|(_, value)| value.clone())
        };
        let grant = Grant {
            realm: named("realm")?,
            service: named("service"),
            scope: named("scope").filter(|scope| !scope.is_empty()),
        };
        Some(Self::Bearer(grant))
    }
}

impl Grant {
    /// Path and query behind the realm's address: all that is asked for, each scope by itself.
    pub(crate) fn query(&self) -> String {
        let service = self.service.iter().map(|value| ("service", value.as_str()));
        let scopes = self.scope.iter().flat_map(|scope| scope.split(' '));
        let pairs = service.chain(scopes.map(|value| ("scope", value)));
        let pairs: Vec<String> =
            pairs.map(|(name, value)| format!("{name}={}", escape(value))).collect();
        pairs.join("&")
    }
}

/// The pairs `name=value` or `name="value"`, separated by commas; `None` where that is not so.
fn parameters(text: &str) -> Option<Vec<(String, String)>> {
    let (mut pairs, mut rest) = (Vec::new(), text.trim());
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let (value, after) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => quoted_string(quoted)?,
            None => match after.split_once(',') {
                Some((value, _)) => (value.trim().to_owned(), &after[value.len()..]),
                None => (after.trim().to_owned(), ""),
            },
        };
        pairs.push((name.trim().to_owned(), value));
        rest = after.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    Some(pairs)
}

/// What stands before the closing quotation mark, and what follows it.
fn quoted_string(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            char => value.push(char),
        }
    }
    None
}

/// A value as it may stand in a query.
fn escape(value: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/,".contains(&byte);
    let escaped = value.bytes().map(|byte| {
        if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    });
    escaped.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer(Grant {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        }))
    }

    #[test]
    fn challenges_are_parsed() {
        assert_eq!(Challenge::parse("Basic realm=\"load\""), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("basic"), Some(Challenge::Basic));
        let value =
            "Bearer realm=\"https://a/token\",service=\"a b\",scope=\"repository:x:pull,push\"";
        let expected = bearer("https://a/token", Some("a b"), Some("repository:x:pull,push"));
        assert_eq!(Challenge::parse(value), expected);
        let value = "BEARER Realm = \"https://a/\\\"t\" , service=plain, scope=\"\"";
        assert_eq!(Challenge::parse(value), bearer("https://a/\"t", Some("plain"), None));
        for value in ["Negotiate", "Bearer", "Bearer realm=\"open", "Bearer service=\"x\"", ""] {
            assert_eq!(Challenge::parse(value), None, "{value}");
        }
    }

    #[test]
    fn the_first_that_is_understood_counts() {
        let mut headers = HeaderMap::new();
        assert_eq!(Challenge::of(&headers), None);
        for value in ["Negotiate", "Bearer realm=r", "Basic realm=r"] {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        assert_eq!(Challenge::of(&headers), bearer("r", None, None));
    }

    #[test]
    fn a_realm_is_asked_for_each_scope_by_itself() {
        let scope = "repository:a/b:pull,push repository:c:pull";
        let Some(Challenge::Bearer(grant)) = bearer("r", Some("our registry&"), Some(scope)) else {
            panic!("another challenge");
        };
        let expected = "service=our%20registry%26&scope=repository:a/b:pull,push\
                        &scope=repository:c:pull";
        assert_eq!(grant.query(), expected);
    }
}
