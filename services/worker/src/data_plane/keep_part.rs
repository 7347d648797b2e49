//! Stores the bytes of one part and records them. Whole parts become parts of the multipart upload; anything else is staged.

use super::PlaneError;
use super::assemble::{Staged, assemble_part, put_staged, record_staged, stage_range};
use super::compare::{InHand, check_part, is_stored};
use super::in_flight::Before;
use super::part::{record_part, store_part};
use super::read_part::PartRead;
use super::request::Ingest;
use super::uploads::locked;
use waybill_schema::ByteRange;

impl Ingest<'_> {
    /// Stores the bytes of a part, unless they are already stored: a whole part as a part, anything else as a staged
    /// object. Records them after `before` has ended. Only whole parts are sent to the store before that.
    pub(super) async fn keep_part(&self, read: PartRead, before: &mut Before) -> Result<(), PlaneError> {
        let Self { worker, upload, context, .. } = self;
        let received = read.received();
        let PartRead { part_number, part, from, repeats, filled, is_sound, permit, lease: _lease } = read;
        if repeats.is_none() && received == part.len() && self.held_back.is_none() {
            let in_hand = InHand { offset: from, bytes: &filled.bytes, crc64nvme: filled.crc64nvme };
            if is_stored(worker, upload, in_hand).await? {
                return Ok(());
            }
            let recorded = store_part(worker, upload, context, part_number, &filled).await?;
            before.ended().await?;
            return record_part(worker, upload, context, recorded, part_number, filled).await;
        }
        before.ended().await?;
        if let Some(wanted) = repeats {
            // If the body was shorter than its range, its bytes are not compared and not acknowledged.
            let is_all = received == wanted.len();
            return if is_all { check_part(upload, wanted, filled.crc64nvme).await } else { Ok(()) };
        }
        let in_hand = InHand { offset: from, bytes: &filled.bytes, crc64nvme: filled.crc64nvme };
        if received == 0 || is_stored(worker, upload, in_hand).await? {
            return Ok(());
        }
        if received < part.len() {
            let piece = upload.loaded.lock().await.state.check_piece(ByteRange::at(from, received));
            match piece {
                // The body broke after too few bytes to keep. The answer is how it broke.
                Err(_) if !is_sound => return Ok(()),
                piece => piece?,
            }
        }
        if let Some(held_back) = self.held_back {
            let staged = put_staged(worker, upload, from, filled.bytes, filled.crc64nvme).await?;
            locked(held_back).push(staged);
            return Ok(());
        }
        stage_range(worker, upload, context, from, filled).await?;
        assemble_part(worker, upload, context, part_number, Some(permit)).await
    }

    /// Records the staged ranges that were held back. The checksum of the body matches, or the body broke and it cannot
    /// be checked.
    pub(super) async fn count_held_back(&self) -> Result<(), PlaneError> {
        let Self { worker, upload, context, .. } = self;
        for staged in self.take_held_back() {
            let part_number = upload.loaded.lock().await.state.grid().part_at(staged.offset);
            let _lease = upload.lease(part_number).await;
            record_staged(worker, upload, context, staged, None).await?;
            assemble_part(worker, upload, context, part_number, None).await?;
        }
        Ok(())
    }

    /// Deletes the staged ranges that were held back. If a deletion fails, the object is deleted when the upload ends.
    pub(super) async fn forget_held_back(&self) {
        for staged in self.take_held_back() {
            if let Err(error) = self.worker.delete(&staged.storage_key).await {
                tracing::warn!(upload_id = %self.upload.aggregate.upload, %error, "cannot delete a staged object");
            }
        }
    }

    fn take_held_back(&self) -> Vec<Staged> {
        self.held_back.map(|held_back| std::mem::take(&mut *locked(held_back))).unwrap_or_default()
    }
}
