//! `/v1/files`: listing, one file, renaming, deleting, restoring.

mod change;
mod find;
mod list;

pub(crate) use change::*;
pub(crate) use find::*;
pub(crate) use list::*;

use waybill_domain::media_type;
use waybill_read_model::queries::File;

/// The column is NULL: where a file is to be had is said in answers.
fn with_url(file: File) -> File {
    let readable = file.is_processed && file.deleted_at.is_none();
    let download_url = readable.then(|| format!("/v1/files/{}/content", file.id));
    let mime_type = shown_type(file.mime_type);
    File { download_url, mime_type, ..file }
}

/// Until the content is known, of a file without a type nothing is known.
fn shown_type(mime_type: String) -> String {
    if mime_type.is_empty() { media_type::ANY.to_owned() } else { mime_type }
}

pub(crate) fn private(mut answer: actix_web::HttpResponseBuilder) -> actix_web::HttpResponseBuilder {
    answer.insert_header(("Cache-Control", "private, no-store"));
    answer
}
