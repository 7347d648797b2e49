//! Events in an earlier version, for logs whose other processes cannot read the newest one yet.

use super::{Event, FileUploadedV2, FileUploadedV3, FileVerifiedV1, FileVerifiedV2, UploadEvent};

/// Body of an event in an earlier version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarlierBody {
    /// The version.
    pub version: u16,
    /// The body, encoded with postcard.
    pub bytes: Vec<u8>,
}

impl Event {
    /// Encodes the body in the version before the newest one, so that uploads continue during an upgrade. Returns `None` if that
    /// version cannot say what the event says. The CRC-32 of a file is left out: it can be computed later.
    ///
    /// # Errors
    /// None for values of these types. The signature of postcard has an error.
    pub fn encode_earlier(&self) -> Result<Option<EarlierBody>, postcard::Error> {
        if let Self::Upload(UploadEvent::FileVerified(verified)) = self {
            let bytes = postcard::to_stdvec(&FileVerifiedV1::from(verified.clone()))?;
            return Ok(Some(EarlierBody { version: 1, bytes }));
        }
        if let Self::Upload(UploadEvent::FileUploaded(uploaded)) = self {
            let bytes = postcard::to_stdvec(&FileUploadedV2::from(uploaded.clone()))?;
            return Ok(Some(EarlierBody { version: 2, bytes }));
        }
        Ok(None)
    }
}

impl From<FileVerifiedV2> for FileVerifiedV1 {
    fn from(verified: FileVerifiedV2) -> Self {
        Self {
            sha256: verified.sha256,
            storage_bucket: verified.storage_bucket,
            storage_key: verified.storage_key,
            sniffed_mime_type: verified.sniffed_mime_type,
            read_back: verified.read_back,
        }
    }
}

impl From<FileUploadedV3> for FileUploadedV2 {
    fn from(uploaded: FileUploadedV3) -> Self {
        Self {
            started: uploaded.started,
            upload_metadata: uploaded.upload_metadata,
            sha256: uploaded.sha256,
            storage_bucket: uploaded.storage_bucket,
            storage_key: uploaded.storage_key,
            sniffed_mime_type: uploaded.sniffed_mime_type,
            worker_id: uploaded.worker_id,
        }
    }
}
