//! An answer, and what every answer must be.

/// What a server answered.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    /// The status code.
    pub(crate) status: u16,
    /// The words after the status code.
    pub(crate) reason: String,
    /// The headers in the order they came, their names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The body; empty for an answer that has none.
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// Reads a head up to and with its empty line.
    #[track_caller]
    pub(crate) fn parse(head: &str) -> Self {
        let mut lines = head.strip_suffix("\r\n\r\n").expect("a whole head").split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let rest = status_line.strip_prefix("HTTP/1.").unwrap_or_else(|| panic!("{status_line}"));
        let (version, rest) = rest.split_once(' ').expect("a version");
        assert!(matches!(version, "0" | "1"), "{status_line}");
        let (status, reason) = rest.split_once(' ').expect("a status and a reason");
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("{line}"));
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        Self {
            status: status.parse().unwrap_or_else(|_| panic!("{status_line}")),
            reason: reason.to_owned(),
            headers: lines.map(header).collect(),
            body: Vec::new(),
        }
    }

    /// This answer, after checking its status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}\n{}", String::from_utf8_lossy(&self.body));
        self
    }

    /// This answer, after checking that it is an error of this status and OCI code.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Self {
        let response = self.expect(status);
        assert_eq!(response.error().0, code, "{}", String::from_utf8_lossy(&response.body));
        response
    }

    /// A header that occurs at most once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// A header that must be there.
    #[track_caller]
    pub(crate) fn must(&self, name: &str) -> &str {
        self.header(name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    /// All values of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(own, _)| own == name).map(|(_, v)| v.as_str()).collect()
    }

    /// Where the answer points to.
    #[track_caller]
    pub(crate) fn location(&self) -> String {
        self.must("location").to_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The code and the message of an error document, which must be whole.
    #[track_caller]
    pub(crate) fn error(&self) -> (String, String) {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        let document = self.json();
        let errors = document["errors"].as_array().expect("a list of errors");
        let [error] = errors.as_slice() else { panic!("not one error: {document}") };
        let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        (text("code"), text("message"))
    }

    /// How many bytes of body follow the head of the answer to this method.
    #[track_caller]
    pub(super) fn body_length(&self, method: &str) -> usize {
        if method == "HEAD" || self.status < 200 || matches!(self.status, 204 | 304) {
            return 0;
        }
        let length = self.must("content-length");
        length.parse().unwrap_or_else(|_| panic!("content-length: {length}"))
    }

    /// Checks what holds for every answer of the registry.
    #[track_caller]
    pub(super) fn check(&self, method: &str) {
        for (name, _) in &self.headers {
            assert!(ALLOWED.contains(&name.as_str()), "unknown header {name}: {self:?}");
            assert!(name == "oci-tag" || self.all(name).len() == 1, "{name} twice: {self:?}");
        }
        if self.status < 200 {
            return assert!(self.headers.is_empty(), "{self:?}");
        }
        for (name, value) in OF_EVERY_REPLY {
            assert_eq!(self.header(name), Some(value), "{self:?}");
        }
        if self.status == 401 {
            assert_eq!(self.header("www-authenticate"), Some(r#"Basic realm="registry""#));
        }
        assert_eq!(self.status == 405, self.header("allow").is_some(), "{self:?}");
        if self.status >= 400 && method != "HEAD" {
            let (code, message) = self.error();
            assert!(CODES.contains(&code.as_str()), "unknown code {code}: {self:?}");
            assert!(!message.is_empty(), "no message: {self:?}");
        }
    }
}

/// What every answer says, also those that are written outside of hyper.
pub(crate) const OF_EVERY_REPLY: [(&str, &str); 4] = [
    ("docker-distribution-api-version", "registry/2.0"),
    ("x-content-type-options", "nosniff"),
    ("content-security-policy", "default-src 'none'; sandbox"),
    ("cache-control", "no-store"),
];

/// Every header that the registry sends. Another one is an accident until it is put here.
const ALLOWED: [&str; 22] = [
    "accept-ranges",
    "allow",
    "cache-control",
    "connection",
    "content-length",
    "content-range",
    "content-security-policy",
    "content-type",
    "date",
    "docker-content-digest",
    "docker-distribution-api-version",
    "docker-upload-uuid",
    "link",
    "location",
    "oci-filters-applied",
    "oci-subject",
    "oci-tag",
    "range",
    "retry-after",
    "warning",
    "www-authenticate",
    "x-content-type-options",
];

/// The codes of the OCI distribution specification, and two that clients know from elsewhere.
const CODES: [&str; 17] = [
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DENIED",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "PAGINATION_NUMBER_INVALID",
    "SIZE_INVALID",
    "TAG_INVALID",
    "TOOMANYREQUESTS",
    "UNAUTHORIZED",
    "UNKNOWN",
    "UNSUPPORTED",
];
