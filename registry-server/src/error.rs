//! Every error a client can meet, with its status, its OCI code and its sentence; and the one
//! function that makes an error body.

use std::io::ErrorKind;

use bytes::Bytes;
use durable::IoError;
use hyper::StatusCode;
use oci::{
    Digest, DigestError, ManifestError, MediaType, MediaTypeError, NameError, Reference, RepoName,
};
use serde::Serialize;
use storage::{Role, StorageError, Trouble, UploadIdError, UserName};
use thiserror::Error;

use crate::advice::told;
use crate::auth::access::Access;
use crate::limits::MESSAGE_BYTES;

/// Why a request is refused. The sentence is the client's; causes on this side of the wire are
/// logged where the reply is made.
#[expect(missing_docs, reason = "fields whose names say what they are")]
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ApiError {
    /// No credentials came.
    #[error("log in first, for example with podman login")]
    LoginNeeded,
    /// Credentials came that are not those of a user.
    #[error("the user name or the password is wrong: log in again, for example with podman login")]
    LoginFailed,
    /// Many credentials wait to be verified, and this one was never right before. Only a request
    /// for a list hears it.
    #[error(
        "many logins wait to be verified, and this one was not right before: try again in a moment"
    )]
    LoginsBusy,
    /// The user's role does not reach.
    #[error("the role of this user is {role}, which may not {access}: ask an administrator")]
    Denied {
        /// Who asks.
        user: UserName,
        /// What the request needs.
        access: Access,
        /// What the user is.
        role: Role,
    },
    /// Nothing is served under this path.
    #[error("there is nothing here: the registry's API begins at /v2/")]
    NoSuchPath,
    /// The path exists, the method does not.
    #[error("this method is not offered here: use {allowed}")]
    Method {
        /// The methods that are.
        allowed: &'static str,
    },
    /// A name, tag or reference does not parse.
    #[error(transparent)]
    Name(#[from] NameError),
    /// What stands for an upload session is no identifier of one.
    #[error(transparent)]
    UploadId(#[from] UploadIdError),
    /// A digest does not parse.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// A push ends without saying what it pushed.
    #[error("the request needs the query parameter digest")]
    DigestMissing,
    /// A page size is not a number.
    #[error("n must be a whole number, 0 or greater")]
    PageSize,
    /// A query is not percent-encoded UTF-8.
    #[error("the query is not percent-encoded UTF-8")]
    QueryEncoding,
    /// More tags than one push may set.
    #[error("one push may set at most {limit} tags")]
    TooManyTags { limit: usize },
    /// The path and query are too long.
    #[error("the request's path and query are longer than {limit} bytes")]
    UriTooLong { limit: usize },
    /// The head is too long.
    #[error("the request's head is longer than {limit} bytes or has more than {headers} headers")]
    HeadTooLarge {
        /// The bound in bytes.
        limit: usize,
        /// The bound in headers.
        headers: usize,
    },
    /// The head did not come in time.
    #[error("the request did not arrive within {seconds} seconds")]
    HeadTimeout { seconds: u64 },
    /// What came is not HTTP/1.1.
    #[error("this is not a valid HTTP/1.1 request")]
    NotHttp,
    /// The host that is asked is missing, named twice or no host.
    #[error("an HTTP/1.1 request names the host that it asks in one Host header")]
    Host,
    /// The body has a transfer coding that is not known here.
    #[error("Transfer-Encoding may be chunked and nothing else: send the body without a coding")]
    TransferCoding,
    /// Plain HTTP came to the TLS port.
    #[error("this port speaks HTTPS: use https://, and trust the registry's CA")]
    PlainHttp,
    /// There is no such blob in the repository.
    #[error("the repository {repository} does not hold the blob {digest}")]
    BlobUnknown {
        /// The repository that was asked.
        repository: RepoName,
        /// The blob that was asked for.
        digest: Digest,
    },
    /// There is no such manifest in the repository.
    #[error("the repository {repository} does not hold the manifest {reference}")]
    ManifestUnknown {
        /// The repository that was asked.
        repository: RepoName,
        /// The manifest that was asked for.
        reference: Reference,
    },
    /// Nothing was ever pushed to the repository.
    #[error("there is no repository {0}")]
    RepositoryUnknown(RepoName),
    /// The body is not a manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The Content-Type is not a media type.
    #[error("Content-Type: {0}")]
    ContentType(#[from] MediaTypeError),
    /// The Content-Type is one that no manifest has.
    #[error(
        "Content-Type is {0}, which is no manifest's: send the type that the manifest has, as in \
         curl -H 'Content-Type: {oci}'", oci = MediaType::OCI_MANIFEST
    )]
    NotManifestType(MediaType),
    /// There is more than one Content-Type: two readers would take different ones.
    #[error("the request has Content-Type more than once: send it once")]
    ContentTypeTwice,
    /// The manifest's bytes have another digest than the one it was pushed under.
    #[error("the manifest's digest is {actual}, not {expected}: push the bytes unchanged")]
    ManifestDigest {
        /// The digest in the path.
        expected: Digest,
        /// The digest of the body.
        actual: Digest,
    },
    /// The body is larger than it may be.
    #[error("a manifest may have at most {limit} bytes")]
    ManifestTooLarge { limit: usize },
    /// The manifest names more than it may.
    #[error("a manifest may name at most {limit} others: list them in several indexes")]
    TooManyDescriptors { limit: usize },
    /// A Content-Range that does not parse.
    #[error("Content-Range must be FIRST-LAST, the positions of the first and the last byte")]
    ContentRange,
    /// A body whose length is not what its headers say.
    #[error("the body has {actual} bytes, the headers promise {expected}: continue the upload")]
    Length {
        /// What the headers say.
        expected: u64,
        /// What came.
        actual: u64,
    },
    /// A part of a blob that does not exist.
    #[error("the blob has {size} bytes: ask for a range within them")]
    RangeNotSatisfiable { size: u64 },
    /// A piece does not begin where the upload ends.
    #[error("the upload stands at byte {offset}: continue from there")]
    UploadOffset {
        /// Where the session is.
        location: String,
        /// The bytes it holds.
        offset: u64,
    },
    /// The body stopped coming.
    #[error("the body stopped for {seconds} seconds: ask for the upload's status and continue")]
    BodyTimeout { seconds: u64 },
    /// The connection broke, or the body's framing is wrong.
    #[error("the body broke off: ask for the upload's status and continue")]
    BodyBroken,
    /// The store refuses, or cannot.
    #[error("{}", told(.0))]
    Storage(StorageError),
}

impl From<StorageError> for ApiError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

/// A code of the OCI distribution specification ("Error Codes"), or one that clients know from
/// other registries.
type Code = &'static str;

impl ApiError {
    /// The status and the code of the error.
    pub fn status(&self) -> (StatusCode, Code) {
        match self {
            Self::LoginNeeded | Self::LoginFailed => (StatusCode::UNAUTHORIZED, "UNAUTHORIZED"),
            Self::LoginsBusy => (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
            Self::Denied { .. } => (StatusCode::FORBIDDEN, "DENIED"),
            Self::NoSuchPath => (StatusCode::NOT_FOUND, "UNSUPPORTED"),
            Self::Method { .. } => (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"),
            Self::Name(error) => name_status(error),
            Self::UploadId(_) => (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"),
            Self::Digest(_) | Self::DigestMissing | Self::ManifestDigest { .. } => {
                (StatusCode::BAD_REQUEST, "DIGEST_INVALID")
            }
            Self::PageSize => (StatusCode::BAD_REQUEST, "PAGINATION_NUMBER_INVALID"),
            Self::QueryEncoding | Self::NotHttp | Self::Host | Self::PlainHttp => {
                (StatusCode::BAD_REQUEST, "UNSUPPORTED")
            }
            Self::TransferCoding => (StatusCode::NOT_IMPLEMENTED, "UNSUPPORTED"),
            Self::TooManyTags { .. } | Self::UriTooLong { .. } => {
                (StatusCode::URI_TOO_LONG, "SIZE_INVALID")
            }
            Self::HeadTooLarge { .. } => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "SIZE_INVALID")
            }
            Self::HeadTimeout { .. } => (StatusCode::REQUEST_TIMEOUT, "UNSUPPORTED"),
            Self::BlobUnknown { .. } => (StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
            Self::ManifestUnknown { .. } => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
            Self::RepositoryUnknown(_) => (StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
            Self::Manifest(error) => manifest_status(error),
            Self::ContentType(_) | Self::ContentTypeTwice => {
                (StatusCode::BAD_REQUEST, "UNSUPPORTED")
            }
            Self::NotManifestType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED"),
            Self::ManifestTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID"),
            // After MANIFEST_INVALID clients would push it again as another type.
            Self::TooManyDescriptors { .. } => (StatusCode::BAD_REQUEST, "UNSUPPORTED"),
            Self::ContentRange => (StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID"),
            Self::Length { .. } => (StatusCode::BAD_REQUEST, "SIZE_INVALID"),
            Self::RangeNotSatisfiable { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID"),
            Self::UploadOffset { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID"),
            Self::BodyTimeout { .. } => (StatusCode::REQUEST_TIMEOUT, "BLOB_UPLOAD_INVALID"),
            Self::BodyBroken => (StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID"),
            Self::Storage(error) => storage_status(error),
        }
    }

    /// Whether something is wrong with the message, whatever it asks for: that is told to anybody.
    pub fn is_of_message(&self) -> bool {
        matches!(
            self,
            Self::HeadTooLarge { .. }
                | Self::UriTooLong { .. }
                | Self::NotHttp
                | Self::Host
                | Self::TransferCoding
        )
    }

    /// The body of the reply: the error document of the OCI distribution specification.
    pub fn document(&self) -> Bytes {
        let (status, code) = self.status();
        let message = if status.is_server_error() { self.sentence() } else { self.to_string() };
        // What somebody sent may be in it.
        let message = bounded(message.replace(CONVERTING, "Invalid JSON-syntax"));
        let document = Document { errors: [Entry { code, message }] };
        // Serializing two strings cannot fail; an empty body would still carry the status.
        serde_json::to_vec(&document).unwrap_or_default().into()
    }

    /// The sentence for the client on one line of ASCII. What failed inside is for the log: a
    /// path or an SQL message helps no client.
    pub(crate) fn sentence(&self) -> String {
        let text = match self {
            Self::Storage(
                StorageError::Full | StorageError::NoRoom { .. } | StorageError::Closed,
            ) => self.to_string(),
            Self::Storage(error) if error.is_read_only() => StorageError::ReadOnly.to_string(),
            Self::Storage(_) => "the registry failed inside: its log says why".to_owned(),
            _ => self.to_string(),
        };
        text.chars().map(|c| if c.is_ascii() && !c.is_ascii_control() { c } else { '?' }).collect()
    }
}

fn name_status(error: &NameError) -> (StatusCode, Code) {
    match error {
        NameError::Repository | NameError::Image => (StatusCode::BAD_REQUEST, "NAME_INVALID"),
        NameError::Tag | NameError::Pattern => (StatusCode::BAD_REQUEST, "TAG_INVALID"),
        NameError::Digest(_) => (StatusCode::BAD_REQUEST, "DIGEST_INVALID"),
    }
}

/// A client built on containers/image that hears MANIFEST_INVALID pushes the image again as another
/// type of manifest, and succeeds with what it makes of it. That helps where the client says itself
/// that the manifest is of a type that is no longer taken; where nobody can read it, the client
/// cannot either. Everywhere else readers might not agree what the image is.
fn manifest_status(error: &ManifestError) -> (StatusCode, Code) {
    match error {
        ManifestError::Digest { .. } => (StatusCode::BAD_REQUEST, "DIGEST_INVALID"),
        ManifestError::NotJsonType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED"),
        ManifestError::NotJson(_) | ManifestError::Schema1 => {
            (StatusCode::BAD_REQUEST, "MANIFEST_INVALID")
        }
        ManifestError::NotUtf8
        | ManifestError::Unfit(_)
        | ManifestError::TooDeep { .. }
        | ManifestError::KeyFolds { .. }
        | ManifestError::KeyTwice { .. }
        | ManifestError::LetterCase { .. }
        | ManifestError::MediaType(_)
        | ManifestError::NotItsShape { .. }
        | ManifestError::NoMediaType
        | ManifestError::TypeMismatch { .. }
        | ManifestError::LikeSchema1
        | ManifestError::SchemaVersion
        | ManifestError::MissingField { .. }
        | ManifestError::ForbiddenField { .. } => (StatusCode::BAD_REQUEST, "UNSUPPORTED"),
    }
}

/// What a reply says at most. Each error keeps its own sentence shorter; this is for one that does
/// not, since a reply that nobody reads is held, and no bound counts it.
fn bounded(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES));
        message.push('…');
    }
    message
}

/// A sentence with these words is what MANIFEST_INVALID is to a client built on containers/image,
/// whatever its code: another registry says so.
const CONVERTING: &str = "Invalid JSON syntax";

/// What the store refuses; each new refusal gets its own status here.
fn storage_status(error: &StorageError) -> (StatusCode, Code) {
    match error {
        StorageError::DigestMismatch { .. } => (StatusCode::BAD_REQUEST, "DIGEST_INVALID"),
        StorageError::UploadUnknown => (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"),
        StorageError::UploadTaken => (StatusCode::CONFLICT, "BLOB_UPLOAD_INVALID"),
        StorageError::MissingBlobs(_) => (StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN"),
        StorageError::BlobLost(_) => (StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
        // What is there and incomplete is not there: clients that hear 200 push nothing.
        StorageError::ManifestLost { .. } => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
        StorageError::BlobInUse { .. } => (StatusCode::METHOD_NOT_ALLOWED, "DENIED"),
        StorageError::Full | StorageError::NoRoom { .. } => {
            (StatusCode::INSUFFICIENT_STORAGE, "DENIED")
        }
        // It is the server that cannot, and not for good.
        StorageError::ReadOnly => (StatusCode::SERVICE_UNAVAILABLE, "DENIED"),
        // MANIFEST_INVALID or TAG_INVALID would make containers/image push another form of it.
        StorageError::TagProtected { .. } => (StatusCode::FORBIDDEN, "DENIED"),
        StorageError::Closed => (StatusCode::SERVICE_UNAVAILABLE, "UNKNOWN"),
        StorageError::Failed(trouble) => trouble_status(trouble),
        // What commands hear, or a list of which nothing more can be sent than its end.
        StorageError::NoTag { .. }
        | StorageError::NoManifest { .. }
        | StorageError::NothingToUndo { .. }
        | StorageError::NotThereThen { .. }
        | StorageError::Collected { .. }
        | StorageError::BlobsCollected { .. }
        | StorageError::NotStaged(_)
        | StorageError::NoImport(_)
        | StorageError::UserExists => (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN"),
    }
}

fn trouble_status(trouble: &Trouble) -> (StatusCode, Code) {
    match trouble {
        // The store's disk became read-only, which nobody has noticed yet.
        Trouble::Io(IoError { kind: ErrorKind::ReadOnlyFilesystem, .. }) => {
            (StatusCode::SERVICE_UNAVAILABLE, "DENIED")
        }
        Trouble::Io(_)
        | Trouble::Damaged { .. }
        | Trouble::NewerFormat { .. }
        | Trouble::Database(_)
        | Trouble::NotWritten(_)
        | Trouble::DatabaseDamaged(_)
        | Trouble::ForeignSchema { .. }
        | Trouble::NotSynced(_) => (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN"),
    }
}

#[derive(Serialize)]
struct Document {
    errors: [Entry; 1],
}

#[derive(Serialize)]
struct Entry {
    code: Code,
    message: String,
}

#[cfg(test)]
mod tests {
    use hyper::ext::ReasonPhrase;

    use super::*;

    #[test]
    fn a_full_disk_says_so_in_the_reason_phrase_and_the_body() {
        let no_room = StorageError::NoRoom {
            wanted_bytes: 1 << 30,
            free_bytes: 300 << 20,
            kept_bytes: 256 << 20,
        };
        for (error, start) in [
            (StorageError::Full, "the disk of the registry is full: delete"),
            (
                no_room,
                "the disk of the registry is too full for 1.0 GiB more \
                 (300.0 MiB are free, and uploads leave 256.0 MiB of that): delete",
            ),
        ] {
            let refusal = ApiError::Storage(error);
            let sentence = refusal.to_string();
            assert!(sentence.starts_with(start), "{sentence}");
            let reply = refusal.reply();
            assert_eq!(reply.status(), StatusCode::INSUFFICIENT_STORAGE);
            let reason = reply.extensions().get::<ReasonPhrase>().unwrap();
            assert_eq!(reason.as_bytes(), sentence.as_bytes());
        }
    }

    #[test]
    fn a_read_only_disk_says_so_and_names_no_path() {
        let io = StorageError::Failed(Trouble::Io(IoError {
            action: "create",
            path: "/srv/registry/uploads/x".into(),
            kind: std::io::ErrorKind::ReadOnlyFilesystem,
            message: "Read-only file system (os error 30)".to_owned(),
        }));
        let expected = ApiError::Storage(StorageError::ReadOnly).document();
        assert_eq!(ApiError::Storage(io.clone()).document(), expected);
        let status = (StatusCode::SERVICE_UNAVAILABLE, "DENIED");
        assert_eq!(ApiError::Storage(io).status(), status);
        assert_eq!(ApiError::Storage(StorageError::ReadOnly).status(), status);
    }

    #[test]
    fn no_reply_says_more_than_a_few_sentences() {
        let text = "\u{e9}\u{7f}".repeat(1 << 20);
        let refusal = ApiError::Manifest(ManifestError::Unfit(text));
        let body = refusal.reply().into_body();
        let document = refusal.document();
        assert!(document.len() < 8 * MESSAGE_BYTES, "{} bytes", document.len());
        let read: serde_json::Value = serde_json::from_slice(&document).unwrap();
        assert!(read["errors"][0]["message"].as_str().unwrap().ends_with('…'));
        assert_eq!(hyper::body::Body::size_hint(&body).exact(), Some(document.len() as u64));
    }

    #[test]
    fn what_failed_inside_stays_inside() {
        let secret = StorageError::Failed(Trouble::Database("no such column: x".into()));
        let document = ApiError::Storage(secret).document();
        let text = std::str::from_utf8(&document).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"errors":[{"code":"UNKNOWN","#,
                r#""message":"the registry failed inside: its log says why"}]}"#
            )
        );
    }
}
