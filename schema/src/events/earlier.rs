//! Events in an earlier version, for logs whose other processes cannot read the newest one yet.

use super::{
    Event, FileUploadedV2, FileUploadedV3, FileVerifiedV1, FileVerifiedV2, QuotaEvent, QuotaReleasedV2,
    QuotaReleasedV3, QuotaReservedV2, QuotaReservedV3, QuotaTransferredV2, QuotaTransferredV3, ReleasedItem,
    ReleasedItemV2, ReservedItem, ReservedItemV2, UploadEvent, UploadStartedV2, UploadStartedV3,
};
use serde::Serialize;

/// Body of an event in an earlier version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarlierBody {
    /// The version.
    pub version: u16,
    /// The body, encoded with postcard.
    pub bytes: Vec<u8>,
}

impl EarlierBody {
    fn encode(version: u16, body: &impl Serialize) -> Result<Self, postcard::Error> {
        Ok(Self { version, bytes: postcard::to_stdvec(body)? })
    }
}

impl Event {
    /// Encodes the body in the version before the newest one, so that uploads continue during an upgrade. Returns `None` if that
    /// version cannot say what the event says. The CRC-32 of a file is left out, because it can be computed later, and the user of a
    /// purged file, because users have no limits before the log accepts the newest versions.
    ///
    /// # Errors
    /// None for values of these types. The signature of postcard has an error.
    pub fn encode_earlier(&self) -> Result<Option<EarlierBody>, postcard::Error> {
        if let Self::Upload(UploadEvent::FileVerified(verified)) = self {
            return EarlierBody::encode(1, &FileVerifiedV1::from(verified.clone())).map(Some);
        }
        if let Self::Upload(UploadEvent::FileUploaded(uploaded)) = self {
            return uploaded.earlier().map(|body| EarlierBody::encode(2, &body)).transpose();
        }
        if let Self::Upload(UploadEvent::UploadStarted(started)) = self {
            return started.earlier().map(|body| EarlierBody::encode(2, &body)).transpose();
        }
        if let Self::Quota(QuotaEvent::QuotaReserved(reserved)) = self {
            return reserved.earlier().map(|body| EarlierBody::encode(2, &body)).transpose();
        }
        if let Self::Quota(QuotaEvent::QuotaTransferred(transferred)) = self {
            return transferred.earlier().map(|body| EarlierBody::encode(2, &body)).transpose();
        }
        if let Self::Quota(QuotaEvent::QuotaReleased(released)) = self {
            return EarlierBody::encode(2, &released.earlier()).map(Some);
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

impl FileUploadedV3 {
    fn earlier(&self) -> Option<FileUploadedV2> {
        let uploaded = self.clone();
        uploaded.link_id.is_none().then_some(FileUploadedV2 {
            started: uploaded.started,
            upload_metadata: uploaded.upload_metadata,
            sha256: uploaded.sha256,
            storage_bucket: uploaded.storage_bucket,
            storage_key: uploaded.storage_key,
            sniffed_mime_type: uploaded.sniffed_mime_type,
            worker_id: uploaded.worker_id,
        })
    }
}

impl UploadStartedV3 {
    fn earlier(&self) -> Option<UploadStartedV2> {
        let Self { started, length_deferred, kind, upload_metadata, link_id } = self.clone();
        link_id.is_none().then_some(UploadStartedV2 { started, length_deferred, kind, upload_metadata })
    }
}

impl ReservedItem {
    fn earlier(&self) -> Option<ReservedItemV2> {
        let Self { upload_id, session_id, bytes_total, user_id, link } = self.clone();
        link.is_none().then_some(ReservedItemV2 { upload_id, session_id, bytes_total, user_id })
    }
}

impl QuotaReservedV3 {
    fn earlier(&self) -> Option<QuotaReservedV2> {
        let items = self.items.iter().map(ReservedItem::earlier).collect::<Option<_>>()?;
        Some(QuotaReservedV2 { items, until: self.until })
    }
}

impl QuotaReleasedV3 {
    fn earlier(&self) -> QuotaReleasedV2 {
        let item = |item: &ReleasedItem| ReleasedItemV2 { file_id: item.file_id, bytes: item.bytes };
        QuotaReleasedV2 { items: self.items.iter().map(item).collect(), recorded: self.recorded.clone() }
    }
}

impl QuotaTransferredV3 {
    fn earlier(&self) -> Option<QuotaTransferredV2> {
        Some(QuotaTransferredV2 { item: self.item.earlier()?, from: self.from.clone(), until: self.until })
    }
}
