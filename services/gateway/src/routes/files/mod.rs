//! `/v1/files`: routes that list, show, change, delete and restore files.

pub(crate) mod change;
pub(crate) mod list;
pub(crate) mod show;

use crate::application::plain::described_for;
use waybill_domain::access::{Denied, FileFacts, Viewer};
use waybill_domain::media_type;
use waybill_read_model::queries::File;
use waybill_schema::ProcessingStatus;

/// Returns a file as the viewer sees it: with the status that follows from its virus scan, with the size and digest of the bytes that
/// the viewer gets, and with the download URL if it can be read. The column of the URL in the read model is always NULL.
pub(crate) fn shown(file: File, facts: Option<&FileFacts>, viewer: Viewer) -> File {
    let mut file = described_for(file, facts, viewer);
    let cleared = facts.map_or(Ok(()), FileFacts::clearance);
    if let (true, Err(why)) = (file.is_processed, cleared) {
        file.is_processed = false;
        file.preview = None;
        file.processing_status = match why {
            Denied::NotScanned => ProcessingStatus::Processing,
            Denied::Hidden | Denied::Forbidden | Denied::Wider | Denied::Infected | Denied::Unscanned => {
                ProcessingStatus::Failed
            }
        };
    }
    let readable = file.is_processed && file.deleted_at.is_none();
    let download_url = readable.then(|| format!("/v1/files/{}/content", file.id));
    let mime_type = shown_type(file.mime_type);
    File { download_url, mime_type, ..file }
}

/// Returns the generic media type if the file has no type yet. The worker finds the type in the content.
fn shown_type(mime_type: String) -> String {
    if mime_type.is_empty() { media_type::ANY.to_owned() } else { mime_type }
}
