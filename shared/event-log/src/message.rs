//! Messages as they are stored.

use waybill_schema::{DecodeError, Position, Recorded};

/// Stored message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawMessage {
    /// Position in the log.
    pub position: Position,
    /// Subject.
    pub subject: String,
    /// Headers of the envelope, sorted by name.
    pub headers: Vec<(String, String)>,
    /// Encoded event.
    pub body: Vec<u8>,
}

impl RawMessage {
    /// Decodes the event.
    ///
    /// # Errors
    /// [`DecodeError`] if this build cannot read the event.
    pub fn decode(&self) -> Result<Recorded, DecodeError> {
        let header = |name: &str| self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        Recorded::decode(self.position, &self.subject, header, &self.body)
    }
}
