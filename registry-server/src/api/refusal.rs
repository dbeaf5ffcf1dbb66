//! The reply that refuses a request.

use hyper::Response;
use hyper::ext::ReasonPhrase;
use hyper::header::{
    ALLOW, CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RANGE, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use storage::StorageError;

use super::body::ReplyBody;
use super::header::{CHALLENGE, upload_range};
use crate::error::ApiError;

impl ApiError {
    /// The reply that tells the client.
    pub fn reply(&self) -> Response<ReplyBody> {
        let (status, _) = self.status();
        let mut response = Response::new(ReplyBody::full(self.document()));
        *response.status_mut() = status;
        if status.is_server_error() {
            // oc and podman show the status line of a 5xx and drop its body.
            if let Ok(reason) = ReasonPhrase::try_from(self.sentence().into_bytes()) {
                response.extensions_mut().insert(reason);
            }
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in self.headers() {
            headers.insert(name, value);
        }
        response
    }

    fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        match self {
            Self::LoginNeeded | Self::LoginFailed => {
                vec![(WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE))]
            }
            Self::LoginsBusy => vec![(RETRY_AFTER, HeaderValue::from_static("5"))],
            Self::Method { allowed } => vec![(ALLOW, HeaderValue::from_static(allowed))],
            Self::Storage(StorageError::BlobInUse { .. }) => {
                vec![(ALLOW, HeaderValue::from_static("GET, HEAD"))]
            }
            Self::UploadOffset { location, offset } => {
                let location = HeaderValue::try_from(location.as_str());
                let mut headers = vec![(RANGE, upload_range(*offset))];
                headers.extend(location.ok().map(|location| (LOCATION, location)));
                headers
            }
            Self::RangeNotSatisfiable { size } => {
                let value = HeaderValue::try_from(format!("bytes */{size}"));
                value.map(|value| (CONTENT_RANGE, value)).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }
}
