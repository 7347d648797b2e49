//! Object keys. Never built from anything that a client chose, and never used for two contents.

use uuid::Uuid;
use waybill_object_store::ObjectInfo;
use waybill_schema::{CompanyId, UploadId, names};

/// Everything that an upload puts where files are read from.
pub(crate) fn objects(company: CompanyId, upload: UploadId) -> String {
    names::objects_prefix(company, upload)
}

/// A new object of an upload: of two writers each has its own.
pub(crate) fn new_object(company: CompanyId, upload: UploadId) -> String {
    names::object_key(company, upload, Uuid::now_v7().simple())
}

/// The object that becomes a copy of what a client made, as that is now: whoever copies it again writes the same bytes.
pub(crate) fn copy_of(company: CompanyId, upload: UploadId, info: &ObjectInfo) -> String {
    if info.etag.is_empty() {
        // Nothing tells it from another one of its size.
        return new_object(company, upload);
    }
    let name = format!("{} {}", info.size_bytes, info.etag);
    names::object_key(company, upload, Uuid::new_v5(&upload.0, name.as_bytes()).simple())
}

/// Everything that a client puts into the store by itself, completion included.
pub(crate) fn quarantine(company: CompanyId, upload: UploadId) -> String {
    names::quarantine_prefix(company, upload)
}

/// Everything that an upload has staged.
pub(crate) fn staging(company: CompanyId, upload: UploadId) -> String {
    names::staging_prefix(company, upload)
}

/// A new staging object for the run of bytes at `offset`.
pub(crate) fn new_staged(company: CompanyId, upload: UploadId, offset: u64) -> String {
    format!("{}{offset:020}-{}", staging(company, upload), Uuid::now_v7().simple())
}
