//! Bodies of `/v1/uploads/{id}/parts`, the routes of direct uploads.
#![expect(missing_docs, reason = "the documentation is the description in OpenAPI, and some names need none")]

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Parts for which the client needs presigned URLs.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PartsToSign {
    /// 1 to 100 parts.
    pub parts: Vec<PartToSign>,
}

/// Part that the client is going to send.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PartToSign {
    /// Part number, beginning at 1.
    pub part_number: u32,
    /// Size of the part in bytes: `part_size_bytes` of the upload, or less for the last part.
    pub size_bytes: u64,
    /// Checksum of the part, as in tus 1.0: the algorithm, a space and the base64 of the digest.
    pub checksum: String,
}

/// One stored part, or a list of 1 to 100 stored parts.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Report {
    Several { parts: Vec<StoredPart> },
    One(StoredPart),
}

/// Part that the client has sent to the object store.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StoredPart {
    /// Part number, beginning at 1.
    pub part_number: u32,
    /// `ETag` header of the object store's response.
    pub etag: String,
}

/// Presigned requests, in the order in which the client named the parts.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SignedParts {
    pub parts: Vec<SignedPart>,
}

/// Presigned request that the client sends to the object store.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SignedPart {
    pub part_number: u32,
    pub method: String,
    pub url: String,
    /// Headers that the client must send unchanged, because they are signed.
    pub headers: BTreeMap<String, String>,
    /// Time at which the URL expires.
    #[schema(format = DateTime)]
    pub expires_at: String,
}

/// Progress of the upload after the reported parts were recorded.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Reported {
    /// Number of consecutive bytes, from the first byte on, that are recorded.
    pub offset_bytes: u64,
    /// Total number of recorded bytes.
    pub bytes_uploaded: u64,
}
