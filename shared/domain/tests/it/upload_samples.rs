//! Events and uploads with which the tests of uploads begin.

use crate::given::{Given, NOW};
use uuid::Uuid;
use waybill_domain::upload::UploadAggregate;
use waybill_schema::events::*;
use waybill_schema::*;

pub(crate) const PART: u64 = 100;

pub(crate) fn worker(n: u128) -> WorkerId {
    WorkerId(Uuid::from_u128(n))
}

pub(crate) fn started(size_bytes: u64) -> UploadDescription {
    UploadDescription {
        company_id: CompanyId(Uuid::from_u128(1)),
        uploaded_by: UserId(Uuid::from_u128(2)),
        session_id: None,
        chatroom_id: None,
        thread_id: None,
        original_name: "a.bin".to_owned(),
        mime_type: "application/octet-stream".to_owned(),
        size_bytes,
        declared_sha256: None,
        metadata: None,
        part_size_bytes: PART,
        expires_at: NOW.plus_ms(1_000),
    }
}

/// Returns a chunk that is stored as a part if it is a whole part, and staged otherwise.
pub(crate) fn chunk(offset: u64, length: u64) -> ChunkUploaded {
    let whole = offset.is_multiple_of(PART) && length == PART;
    let storage = if whole {
        ChunkStorage::Part { part_number: u32::try_from(offset / PART + 1).unwrap() }
    } else {
        ChunkStorage::Staged { storage_key: format!("s/{offset}-{length}") }
    };
    ChunkUploaded {
        offset,
        length,
        crc64nvme: offset ^ length,
        etag: format!("{offset}+{length}"),
        storage,
        worker_id: worker(1),
        store_writes: 1,
    }
}

/// Returns an upload that has recorded `events`.
pub(crate) fn given(events: impl IntoIterator<Item = UploadEvent>) -> Given<UploadAggregate> {
    Given::new(events)
}
