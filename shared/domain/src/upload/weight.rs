//! Memory usage of the state of an upload, so that caches can have limits in bytes. The overhead of the allocator and
//! of maps is estimated.

use super::State;
use waybill_schema::events::{UploadDescription, UploadKind};

/// Estimated bytes of an entry of a map with a small value.
const ENTRY_BYTES: usize = 64;
/// Estimated bytes of a part with its `ETag`.
const PART_BYTES: usize = 128;

/// Returns the memory usage in bytes of the description from the start of an upload.
pub fn start_weight(started: &UploadDescription, kind: &UploadKind, upload_metadata: Option<&str>) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let of_kind = match kind {
        UploadKind::Final { partials, upload_concat } => partials.len() * size_of::<uuid::Uuid>() + upload_concat.len(),
        UploadKind::Quarantine { quarantine_key } => quarantine_key.len(),
        UploadKind::File | UploadKind::Partial | UploadKind::Direct => 0,
    };
    let texts = started.original_name.len() + started.mime_type.len() + text(&started.metadata);
    size_of::<UploadDescription>() + texts + upload_metadata.map_or(0, str::len) + of_kind
}

impl State {
    /// Returns the approximate memory usage in bytes.
    pub fn weight(&self) -> usize {
        let start = self
            .started
            .as_ref()
            .map_or(0, |started| start_weight(started, &self.kind, self.upload_metadata.as_deref()));
        let staged = self.staged.values().map(|piece| 2 * ENTRY_BYTES + piece.storage_key.len()).sum::<usize>();
        let runs = size_of_val(self.stored.runs());
        let sniffed = self.sniffed_mime_type.as_ref().map_or(0, String::len);
        size_of::<Self>() + start + sniffed + self.parts.len() * PART_BYTES + staged + runs + self.joined.weight()
    }
}
