//! Description of a file.

use super::{Preview, Scan};
use crate::{ReadModelError, schema::file};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use serde::ser::Error;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;
use waybill_schema::{ProcessingStatus, Stripped};

/// A file, as clients see it. Sizes are in bytes.
#[derive(Clone, Debug, Deserialize, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = file, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "the fields are the data model's columns")]
pub struct File {
    pub id: Uuid,
    pub company_id: Uuid,
    pub thread_id: Option<Uuid>,
    pub chatroom_id: Option<Uuid>,
    pub uploaded_by: Uuid,
    pub original_name: String,
    pub display_name: Option<String>,
    pub mime_type: String,
    pub size_bytes: i64,
    pub hash: Option<String>,
    #[serde(skip_serializing)]
    pub storage_key: Option<String>,
    #[serde(skip_serializing)]
    pub storage_bucket: Option<String>,
    pub download_url: Option<String>,
    #[schema(rename = "metadata", value_type = Option<Object>)]
    #[serde(rename(serialize = "metadata"), serialize_with = "as_json")]
    pub metadata_text: Option<String>,
    pub is_processed: bool,
    #[diesel(deserialize_as = String)]
    #[schema(value_type = String)]
    pub processing_status: ProcessingStatus,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub deleted_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing)]
    pub purged_at: Option<DateTime<Utc>>,
    /// Last virus scan; `null` before the first one.
    #[schema(value_type = Option<Scan>)]
    pub scan: Option<serde_json::Value>,
    /// Time at which an administrator released the file although its verdict is not `CLEAN`.
    pub released_at: Option<DateTime<Utc>>,
    /// Previews; `null` if the file has none, or none yet.
    #[schema(value_type = Option<Preview>)]
    pub preview: Option<serde_json::Value>,
    /// Storage tier of the bytes: `hot`, `cold`, or `archive` if they must be restored before they can be read.
    pub storage_tier: String,
    /// Time at which somebody asked for an archived file; `null` if nobody did, or if the file was restored.
    pub restore_requested_at: Option<DateTime<Utc>>,
    /// Metadata of the file, which can contain a place, for users other than the uploader and admins: `removed`, `absent` (there was
    /// none) or `unsupported` (they get the file as it was uploaded). `null` if it was not looked at.
    #[schema(value_type = Option<String>)]
    #[serde(serialize_with = "as_word")]
    pub location: Option<serde_json::Value>,
    /// The upload link with which the file was sent; `null` if the uploader sent it.
    pub upload_link_id: Option<Uuid>,
    /// Labels, sorted; `null` if nobody has set any.
    #[schema(value_type = Option<Vec<String>>)]
    pub labels: Option<serde_json::Value>,
    /// CRC-32 of the bytes, if it is known.
    #[serde(skip_serializing)]
    #[schema(ignore)]
    pub crc32: Option<i64>,
    /// CRC-32 of the bytes without metadata, if it is known.
    #[serde(skip_serializing)]
    #[schema(ignore)]
    pub plain_crc32: Option<i64>,
    /// Name as searches and orders of lists use it.
    #[serde(skip_serializing)]
    #[schema(ignore)]
    pub search_name: String,
}

/// Serializes JSON text as it is, so that clients get the notation that they have sent.
fn as_json<S: Serializer>(text: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    let json = text.as_deref().map(serde_json::from_str::<&RawValue>).transpose();
    json.map_err(S::Error::custom)?.serialize(serializer)
}

impl File {
    /// Returns the name that users see.
    pub fn shown_name(&self) -> &String {
        self.display_name.as_ref().unwrap_or(&self.original_name)
    }

    /// Drops the metadata of the client, the labels and the previews. They are large, and sending the bytes does not need them.
    pub fn without_details(self) -> Self {
        Self { metadata_text: None, preview: None, labels: None, ..self }
    }

    /// Returns the result of removing the metadata; `None` if it was not looked at.
    ///
    /// # Errors
    /// [`ReadModelError`] if the column has another value than the projector writes.
    pub fn stripped(&self) -> Result<Option<Stripped>, ReadModelError> {
        let stripped = self.location.clone().map(serde_json::from_value).transpose();
        stripped.map_err(ReadModelError::row("reading the location of a file"))
    }
}

/// Serializes the column `location` as the word that clients get.
fn as_word<S: Serializer>(location: &Option<serde_json::Value>, serializer: S) -> Result<S::Ok, S::Error> {
    let stripped = location.clone().map(serde_json::from_value::<Stripped>).transpose();
    stripped.map_err(S::Error::custom)?.map(|stripped| stripped.as_str()).serialize(serializer)
}

/// All columns of a file. [`File`] itself leaves out those that clients do not get.
#[derive(Serialize)]
#[serde(remote = "File")]
struct Columns {
    id: Uuid,
    company_id: Uuid,
    thread_id: Option<Uuid>,
    chatroom_id: Option<Uuid>,
    uploaded_by: Uuid,
    original_name: String,
    display_name: Option<String>,
    mime_type: String,
    size_bytes: i64,
    hash: Option<String>,
    storage_key: Option<String>,
    storage_bucket: Option<String>,
    download_url: Option<String>,
    metadata_text: Option<String>,
    is_processed: bool,
    processing_status: ProcessingStatus,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    deleted_at: Option<DateTime<Utc>>,
    purged_at: Option<DateTime<Utc>>,
    scan: Option<serde_json::Value>,
    released_at: Option<DateTime<Utc>>,
    preview: Option<serde_json::Value>,
    storage_tier: String,
    restore_requested_at: Option<DateTime<Utc>>,
    location: Option<serde_json::Value>,
    upload_link_id: Option<Uuid>,
    labels: Option<serde_json::Value>,
    crc32: Option<i64>,
    plain_crc32: Option<i64>,
    search_name: String,
}

/// Serializes a file with all columns, so that it can be deserialized again.
pub(super) fn all_columns<S: Serializer>(file: &File, serializer: S) -> Result<S::Ok, S::Error> {
    Columns::serialize(file, serializer)
}

/// Returns files with all columns as JSON, which can be deserialized again.
///
/// # Errors
/// [`ReadModelError`] if a column is not valid.
pub fn columns_of(files: &[File]) -> Result<Vec<u8>, ReadModelError> {
    #[derive(Serialize)]
    struct Whole<'a>(#[serde(serialize_with = "all_columns")] &'a File);
    let files: Vec<Whole> = files.iter().map(Whole).collect();
    serde_json::to_vec(&files).map_err(ReadModelError::row("writing files"))
}
