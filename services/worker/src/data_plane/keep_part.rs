//! Stores the bytes of one part and records them. Whole parts become parts of the multipart upload; anything else is staged.

use super::PlaneError;
use super::assemble::{assemble_part, put_staged, record_staged, stage_range};
use super::incoming::{Ingest, Staged};
use super::part::{Compared, InHand, check_part, compare_with_stored, record_part};
use super::read_part::PartRead;
use super::uploads::locked;
use tokio::sync::oneshot;
use waybill_event_log::AppendError;
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
            let Compared { is_stored, multipart } = compare_with_stored(worker, upload, in_hand).await?;
            if is_stored {
                return Ok(());
            }
            let recorded = self.store_part(part_number, &filled, multipart).await?;
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
        if received == 0 || compare_with_stored(worker, upload, in_hand).await?.is_stored {
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
            let part_number = self.grid.part_at(staged.offset);
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

/// The previous part of the same body.
pub(super) struct Before {
    /// Resolves when the previous part has ended, with `true` if the log accepts events.
    end: Option<oneshot::Receiver<bool>>,
    takes_events: bool,
}

impl Before {
    /// Creates the value for a part after another one, if any. `end` resolves when that part has ended, with `true` if
    /// the log accepts events.
    pub(super) fn new(end: Option<oneshot::Receiver<bool>>) -> Self {
        Self { end, takes_events: true }
    }

    /// Waits for the end of the previous part. Returns `false` if the log did not accept its event.
    pub(super) async fn takes_events(&mut self) -> bool {
        if let Some(end) = self.end.take() {
            self.takes_events = end.await.unwrap_or(true);
        }
        self.takes_events
    }

    /// Waits for the end of the previous part.
    ///
    /// # Errors
    /// If the log did not accept its event. The log would not accept the next events either, and each attempt takes
    /// seconds.
    pub(super) async fn ended(&mut self) -> Result<(), PlaneError> {
        if self.takes_events().await {
            return Ok(());
        }
        let error = AppendError::Unavailable("the log did not accept the event of the previous part".to_owned());
        Err(PlaneError::Execute(error.into()))
    }
}
