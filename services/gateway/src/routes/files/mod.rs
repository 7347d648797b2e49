//! `/v1/files`: routes that list, show, change, delete and restore files.

pub(crate) mod change;
pub(crate) mod list;
pub(crate) mod show;

use waybill_domain::media_type;
use waybill_read_model::queries::File;

/// Adds the download URL to a file that can be read. The column in the read model is always NULL.
pub(crate) fn with_url(file: File) -> File {
    let readable = file.is_processed && file.deleted_at.is_none();
    let download_url = readable.then(|| format!("/v1/files/{}/content", file.id));
    let mime_type = shown_type(file.mime_type);
    File { download_url, mime_type, ..file }
}

/// Returns the generic media type if the file has no type yet. The worker finds the type in the content.
fn shown_type(mime_type: String) -> String {
    if mime_type.is_empty() { media_type::ANY.to_owned() } else { mime_type }
}
