//! Kinds of uploads, and places of their bytes.

use crate::UploadId;
use serde::{Deserialize, Serialize};

/// Kind of an upload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UploadKind {
    /// A file whose bytes pass through the gateway.
    #[default]
    File,
    /// A part of a later final upload. It never becomes a file of its own (tus 1.0, extension Concatenation).
    Partial,
    /// A file that consists of partial uploads (tus 1.0, extension Concatenation).
    Final {
        /// The partial uploads, in the order of their bytes.
        partials: Vec<UploadId>,
        /// The `Upload-Concat` header from the client. Waybill returns it unchanged.
        upload_concat: String,
    },
    /// A file whose parts the client writes to the object store, with a presigned URL for each part.
    Direct,
    /// A file that the client writes to the object store and completes there, under a quarantine key. A worker then
    /// copies the object to the key of the file.
    Quarantine {
        /// The key that the client writes to.
        quarantine_key: String,
    },
}

/// Place where a range of bytes is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChunkStorage {
    /// A part of the multipart upload.
    Part {
        /// Number of the part. The first is 1.
        part_number: u32,
    },
    /// A staged object. It never changes and is kept until the worker can assemble the part.
    Staged {
        /// Key of the staged object.
        storage_key: String,
    },
}
