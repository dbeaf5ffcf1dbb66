//! What a request asks for: method, path and query become one value that carries parsed types
//! and knows which access it needs. Pure: nothing here looks at a store or a user.

use std::borrow::Cow;

use hyper::Method;
use oci::{Algorithm, Digest, Reference, RepoName, Tag};
use percent_encoding::percent_decode_str;
use storage::UploadId;

use crate::auth::access::Access;
use crate::error::ApiError;

/// Everything the server can be asked to do, under the path it is asked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `GET /v2/`: is this a registry, and are these credentials good?
    Base,
    /// `GET /v2/_catalog`.
    Catalog(PageQuery),
    /// `GET /v2/<name>/tags/list`.
    Tags(RepoName, PageQuery),
    /// `GET /v2/<name>/referrers/<digest>`.
    Referrers(RepoName, Digest, ReferrerQuery),
    /// `GET` or `HEAD /v2/<name>/blobs/<digest>`.
    BlobRead(RepoName, Digest),
    /// `DELETE /v2/<name>/blobs/<digest>`.
    BlobDelete(RepoName, Digest),
    /// `POST /v2/<name>/blobs/uploads/`, with the algorithm the client means to use.
    UploadStart(RepoName, Algorithm),
    /// `POST /v2/<name>/blobs/uploads/?digest=`: the whole blob in one request.
    UploadWhole(RepoName, Digest),
    /// `POST /v2/<name>/blobs/uploads/?mount=[&from=]`.
    Mount(RepoName, Digest, Option<RepoName>),
    /// `GET` of an upload session.
    UploadStatus(RepoName, UploadId),
    /// `PATCH` of an upload session.
    UploadAppend(RepoName, UploadId),
    /// `PUT` of an upload session.
    UploadFinish(RepoName, UploadId, Digest),
    /// `DELETE` of an upload session.
    UploadCancel(RepoName, UploadId),
    /// `GET` or `HEAD /v2/<name>/manifests/<reference>`.
    ManifestRead(RepoName, Reference),
    /// `PUT /v2/<name>/manifests/<reference>[?tag=…]`, with the tags of the query.
    ManifestPut(RepoName, Reference, Vec<Tag>),
    /// `DELETE /v2/<name>/manifests/<reference>`.
    ManifestDelete(RepoName, Reference),
    /// `GET /healthz`: the process serves requests.
    Live,
    /// `GET /readyz`: the store answers too.
    Ready,
    /// `GET /health/instance`: the same, in the shape of Quay's answer.
    Instance,
}

/// Whether a path, as it was sent, is `/v2` or below it, where only those who log in hear more.
pub fn is_below_v2(path: &str) -> bool {
    let path = percent_decode_str(path).decode_utf8_lossy();
    path == "/v2" || path.starts_with("/v2/")
}

/// A page of a list: at most `n` entries after `last`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageQuery {
    /// The wanted number of entries; `None` leaves it to the server.
    pub n: Option<usize>,
    /// The last entry of the page before.
    pub last: Option<String>,
}

/// Which referrers are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReferrerQuery {
    /// Only those of this artifact type.
    pub artifact_type: Option<String>,
    /// Only those after this digest.
    pub last: Option<Digest>,
}

impl Route {
    /// Reads a request's method, path and query.
    ///
    /// # Errors
    /// An [`ApiError`] that says what is malformed, not known or not allowed here.
    pub fn parse(method: &Method, path: &str, query: Option<&str>) -> Result<Self, ApiError> {
        let path = percent_decode_str(path).decode_utf8().map_err(|_| ApiError::NoSuchPath)?;
        let query = Query::parse(query)?;
        if let Some(route) = outside_v2(method, &path)? {
            return Ok(route);
        }
        let rest = path.strip_prefix("/v2/").ok_or(ApiError::NoSuchPath)?;
        let parts: Vec<&str> = rest.split('/').collect();
        match parts.as_slice() {
            ["_catalog"] => {
                read_only(method)?;
                Ok(Self::Catalog(query.page()?))
            }
            [name @ .., "tags", "list"] if !name.is_empty() => {
                read_only(method)?;
                Ok(Self::Tags(repository(name)?, query.page()?))
            }
            [name @ .., "referrers", digest] if !name.is_empty() => {
                read_only(method)?;
                let query = query.referrers()?;
                Ok(Self::Referrers(repository(name)?, digest.parse()?, query))
            }
            [name @ .., "manifests", reference] if !name.is_empty() => {
                Self::manifest(method, repository(name)?, reference, &query)
            }
            [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""]
                if !name.is_empty() =>
            {
                Self::new_upload(method, repository(name)?, &query)
            }
            [name @ .., "blobs", "uploads", id] if !name.is_empty() => {
                Self::upload(method, repository(name)?, id, &query)
            }
            [name @ .., "blobs", digest] if !name.is_empty() => {
                Self::blob(method, repository(name)?, digest)
            }
            _ => Err(ApiError::NoSuchPath),
        }
    }

    /// The right that the request needs.
    pub fn access(&self) -> Access {
        match self {
            Self::Live | Self::Ready | Self::Instance => Access::None,
            Self::Base => Access::Login,
            Self::Catalog(_)
            | Self::Tags(..)
            | Self::Referrers(..)
            | Self::BlobRead(..)
            | Self::ManifestRead(..) => Access::Pull,
            Self::UploadStart(..)
            | Self::UploadWhole(..)
            | Self::Mount(..)
            | Self::UploadStatus(..)
            | Self::UploadAppend(..)
            | Self::UploadFinish(..)
            | Self::UploadCancel(..)
            | Self::ManifestPut(..) => Access::Push,
            Self::BlobDelete(..) | Self::ManifestDelete(..) => Access::Delete,
        }
    }

    /// Whether it is a list, which a client can ask for again; content is not.
    pub fn is_list(&self) -> bool {
        matches!(self, Self::Catalog(_) | Self::Tags(..) | Self::Referrers(..))
    }

    fn manifest(
        method: &Method,
        name: RepoName,
        reference: &str,
        query: &Query<'_>,
    ) -> Result<Self, ApiError> {
        let reference = reference.parse()?;
        match *method {
            Method::GET | Method::HEAD => Ok(Self::ManifestRead(name, reference)),
            Method::PUT => Ok(Self::ManifestPut(name, reference, query.tags()?)),
            Method::DELETE => Ok(Self::ManifestDelete(name, reference)),
            _ => Err(ApiError::Method { allowed: "GET, HEAD, PUT, DELETE" }),
        }
    }

    fn new_upload(method: &Method, name: RepoName, query: &Query<'_>) -> Result<Self, ApiError> {
        if *method != Method::POST {
            return Err(ApiError::Method { allowed: "POST" });
        }
        if let Some(digest) = query.first("mount") {
            let digest: Digest = digest.parse()?;
            return Ok(match query.first("from").map(str::parse).transpose() {
                Ok(from) => Self::Mount(name, digest, from),
                // No repository has such a name, so none holds the blob: never a reason for a 4xx.
                Err(_) => Self::UploadStart(name, digest.algorithm()),
            });
        }
        if let Some(digest) = query.first("digest") {
            return Ok(Self::UploadWhole(name, digest.parse()?));
        }
        let algorithm =
            query.first("digest-algorithm").map_or(Ok(Algorithm::Sha256), str::parse)?;
        Ok(Self::UploadStart(name, algorithm))
    }

    fn upload(
        method: &Method,
        name: RepoName,
        id: &str,
        query: &Query<'_>,
    ) -> Result<Self, ApiError> {
        let id = id.parse()?;
        match *method {
            Method::GET | Method::HEAD => Ok(Self::UploadStatus(name, id)),
            Method::PATCH => Ok(Self::UploadAppend(name, id)),
            Method::PUT => {
                let digest = query.first("digest").ok_or(ApiError::DigestMissing)?;
                Ok(Self::UploadFinish(name, id, digest.parse()?))
            }
            Method::DELETE => Ok(Self::UploadCancel(name, id)),
            _ => Err(ApiError::Method { allowed: "GET, HEAD, PATCH, PUT, DELETE" }),
        }
    }

    fn blob(method: &Method, name: RepoName, digest: &str) -> Result<Self, ApiError> {
        let digest = digest.parse()?;
        match *method {
            Method::GET | Method::HEAD => Ok(Self::BlobRead(name, digest)),
            Method::DELETE => Ok(Self::BlobDelete(name, digest)),
            _ => Err(ApiError::Method { allowed: "GET, HEAD, DELETE" }),
        }
    }
}

fn outside_v2(method: &Method, path: &str) -> Result<Option<Route>, ApiError> {
    let route = match path {
        "/v2" | "/v2/" => Route::Base,
        "/healthz" => Route::Live,
        "/readyz" => Route::Ready,
        "/health/instance" => Route::Instance,
        _ => return Ok(None),
    };
    read_only(method)?;
    Ok(Some(route))
}

fn read_only(method: &Method) -> Result<(), ApiError> {
    match *method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(ApiError::Method { allowed: "GET, HEAD" }),
    }
}

fn repository(parts: &[&str]) -> Result<RepoName, ApiError> {
    Ok(parts.join("/").parse()?)
}

/// The pairs of a query, decoded. `+` is a plus sign: digests and media types hold it, and no
/// client of a registry writes a space that way.
struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    fn parse(query: Option<&'a str>) -> Result<Self, ApiError> {
        let decode = |text: &'a str| {
            percent_decode_str(text).decode_utf8().map_err(|_| ApiError::QueryEncoding)
        };
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(key)?, decode(value)?))
        });
        Ok(Self(pairs.collect::<Result<_, ApiError>>()?))
    }

    fn first(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_ref())
    }

    fn page(&self) -> Result<PageQuery, ApiError> {
        let n = self.first("n").map(|n| n.parse().map_err(|_| ApiError::PageSize)).transpose()?;
        Ok(PageQuery { n, last: self.first("last").map(str::to_owned) })
    }

    fn referrers(&self) -> Result<ReferrerQuery, ApiError> {
        let artifact_type = self.first("artifactType").filter(|wanted| !wanted.is_empty());
        Ok(ReferrerQuery {
            artifact_type: artifact_type.map(str::to_owned),
            last: self.first("last").map(str::parse).transpose()?,
        })
    }

    fn tags(&self) -> Result<Vec<Tag>, ApiError> {
        let tags = self.0.iter().filter(|(name, _)| name == "tag");
        tags.map(|(_, value)| Ok(value.parse()?)).collect()
    }
}

#[cfg(test)]
mod tests;
