//! Bodies and queries of the routes for Uppy (`/uppy/s3/…`).
#![expect(missing_docs, reason = "the documentation is the description in OpenAPI, and some names need none")]

use crate::Metadata;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Empty JSON object.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Nothing {}

/// File for which Uppy begins a multipart upload.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = UppyCreate)]
pub struct Create {
    pub filename: Option<String>,
    #[serde(rename = "type")]
    pub mime_type: Option<String>,
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Metadata>,
}

/// New multipart upload.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = UppyCreated)]
pub struct Created {
    /// Upload id of the object store.
    #[serde(rename = "uploadId")]
    pub upload_id: String,
    /// Quarantine key to which the client writes.
    pub key: String,
    pub bucket: String,
    /// Id of the file and its upload in Waybill.
    pub file_id: Uuid,
}

/// Query of the routes of a multipart upload.
#[derive(Clone, Debug, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct KeyQuery {
    /// Key from the response that created the upload.
    pub key: String,
}

/// Presigned URL of a part.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = UppySignedPart)]
pub struct SignedPart {
    pub url: String,
    /// Lifetime of the URL in seconds.
    pub expires: u64,
}

/// Part that the object store has.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UppyPart {
    #[serde(rename = "PartNumber")]
    pub part_number: u32,
    #[serde(rename = "ETag")]
    pub etag: String,
    #[serde(rename = "Size")]
    pub size: u64,
}

/// Parts of which the object consists.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = UppyCompletion)]
pub struct Completion {
    /// At least one part, in ascending order of the part numbers.
    pub parts: Vec<CompletionPart>,
}

/// Part number and ETag of a stored part.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CompletionPart {
    #[serde(rename = "PartNumber")]
    pub part_number: u32,
    #[serde(rename = "ETag")]
    pub etag: String,
}

/// Completed multipart upload.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = UppyCompleted)]
pub struct Completed {
    /// Path of the file's content. It is readable after the verification.
    pub location: String,
    pub key: String,
    pub bucket: String,
    /// Id of the file and its upload in Waybill.
    pub file_id: Uuid,
}

/// Description of a file. Each member of Uppy's `meta` comes as a further parameter, `metadata[…]`.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UppyParams {
    pub filename: Option<String>,
    #[param(rename = "type")]
    pub mime_type: Option<String>,
}

/// Presigned request with which the client sends a small file.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UploadParameters {
    pub method: String,
    pub url: String,
    pub headers: Nothing,
    pub fields: Fields,
    /// Lifetime of the URL in seconds.
    pub expires: u64,
    /// Id of the file and its upload in Waybill.
    pub file_id: Uuid,
}

/// Quarantine key of the file.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Fields {
    pub key: String,
}

/// Arguments of `signRequest` in Uppy version 6, and the description of the file that the page adds.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignRequest {
    pub method: String,
    /// In the first request for a file, the key that Uppy proposes; in all later ones, the key of the first response.
    pub key: String,
    /// Upload id of the object store. The first request for a file has none.
    pub upload_id: Option<String>,
    pub part_number: Option<u32>,
    pub content_type: Option<String>,
    pub name: Option<String>,
    #[serde(rename = "type")]
    pub mime_type: Option<String>,
    pub size: Option<u64>,
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Metadata>,
}

/// Presigned request that the client sends to the object store.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SignedRequest {
    pub url: String,
    pub method: String,
    /// Quarantine key. The client must use it in all later requests for the file.
    pub key: String,
    pub headers: Nothing,
}
