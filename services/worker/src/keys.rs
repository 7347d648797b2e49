//! Keys of objects in the store. They contain nothing that a client chose, and a key is never used for two contents.

use uuid::Uuid;
use waybill_object_store::ObjectInfo;
use waybill_schema::{CompanyId, UploadId, names};
use waybill_service_kit::new_id;

/// Returns the prefix of all objects of an upload from which files are read.
pub(crate) fn objects(company: CompanyId, upload: UploadId) -> String {
    names::objects_prefix(company, upload)
}

/// Returns a new key for an object of an upload. Two concurrent writers get different keys.
pub(crate) fn new_object(company: CompanyId, upload: UploadId) -> String {
    names::object_key(company, upload, new_id().simple())
}

/// Returns the key for a copy of an object that a client created, in its current version. A repeated copy of the same
/// version has the same key and writes the same bytes.
pub(crate) fn copy_of(company: CompanyId, upload: UploadId, info: &ObjectInfo) -> String {
    if info.etag.is_empty() {
        // Without an `ETag`, the object cannot be distinguished from another one of the same size.
        return new_object(company, upload);
    }
    let name = format!("{} {}", info.size_bytes, info.etag);
    names::object_key(company, upload, Uuid::new_v5(&upload.0, name.as_bytes()).simple())
}

/// Returns the prefix under which a client of a direct upload creates and completes its object by itself.
pub(crate) fn quarantine(company: CompanyId, upload: UploadId) -> String {
    names::quarantine_prefix(company, upload)
}

/// Returns the prefix of all staged objects of an upload.
pub(crate) fn staging(company: CompanyId, upload: UploadId) -> String {
    names::staging_prefix(company, upload)
}

/// Returns a new key for a staged object that holds the range at `offset`.
pub(crate) fn new_staged(company: CompanyId, upload: UploadId, offset: u64) -> String {
    format!("{}{offset:020}-{}", staging(company, upload), new_id().simple())
}
