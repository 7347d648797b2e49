//! Files of an upload link.

use serde::{Deserialize, Serialize};
use waybill_schema::Timestamp;

/// Files that were sent with an upload link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Number of files.
    pub files: u32,
    /// Their bytes. A file that is deleted later still counts.
    pub bytes: u64,
    /// Time until which uploads with the link can start.
    pub expires_at: Timestamp,
}

impl Sent {
    /// Adds a file.
    pub(super) fn add(&mut self, bytes: u64) {
        self.files = self.files.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}
