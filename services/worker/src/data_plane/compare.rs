//! Compares repeated bytes with the stored ones, so that a worker acknowledges only bytes that equal the stored ones.

use super::{OpenUpload, PlaneError};
use crate::Worker;
use bytes::Bytes;
use crc_fast::CrcAlgorithm;
use futures_util::StreamExt;
use waybill_domain::upload::{Known, StagedPiece};
use waybill_object_store::{StoreError, crc64nvme};
use waybill_schema::ByteRange;

/// A range of an upload in memory.
pub(super) struct InHand<'a> {
    pub(super) offset: u64,
    pub(super) bytes: &'a Bytes,
    pub(super) crc64nvme: u64,
}

impl InHand<'_> {
    pub(super) fn range(&self) -> ByteRange {
        ByteRange::at(self.offset, self.bytes.len() as u64)
    }

    fn slice(&self, range: ByteRange) -> Bytes {
        let index = |at: u64| usize::try_from(at.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        self.bytes.slice(index(range.from).min(self.bytes.len())..index(range.to).min(self.bytes.len()))
    }

    /// Compares the bytes with the stored bytes or checksums of their range.
    pub(super) async fn compare(&self, worker: &Worker, known: Vec<Known>) -> Result<(), PlaneError> {
        for known in known {
            let is_same = match known {
                Known::Checksum { range, crc64nvme: known } if range == self.range() => known == self.crc64nvme,
                Known::Checksum { range, crc64nvme: known } => known == crc64nvme(&self.slice(range)),
                Known::Staged(piece) => holds(worker, &piece, &self.slice(piece.range)).await?,
                Known::Hidden(_) => return Err(PlaneError::Hidden),
            };
            if !is_same {
                return Err(PlaneError::Differs);
            }
        }
        Ok(())
    }
}

/// Compares a range within one part with the stored bytes. Returns `true` if the whole range is stored.
pub(super) async fn is_stored(worker: &Worker, upload: &OpenUpload, in_hand: InHand<'_>) -> Result<bool, PlaneError> {
    let (known, is_all, takes_bytes) = {
        let loaded = upload.loaded.lock().await;
        let state = &loaded.state;
        (state.known_in(in_hand.range()), state.stored.contains(in_hand.range()), state.check_takes_bytes())
    };
    if known.iter().any(|known| matches!(known, Known::Hidden(_))) {
        // If the upload no longer takes bytes, this is the better answer.
        takes_bytes?;
    }
    in_hand.compare(worker, known).await?;
    Ok(is_all)
}

/// Compares the checksum of repeated bytes with the checksums of the stored part to which they belong.
pub(super) async fn check_part(upload: &OpenUpload, range: ByteRange, crc64nvme: u64) -> Result<(), PlaneError> {
    let (known, takes_bytes) = {
        let loaded = upload.loaded.lock().await;
        (loaded.state.known_in(range), loaded.state.check_takes_bytes())
    };
    match checksum_of(known) {
        Some(known) if known == crc64nvme => Ok(()),
        Some(_) => Err(PlaneError::Differs),
        None => takes_bytes.map_err(PlaneError::from).and(Err(PlaneError::Hidden)),
    }
}

/// Combines the checksums of adjacent ranges into one. Returns `None` if a range has no checksum.
fn checksum_of(known: Vec<Known>) -> Option<u64> {
    let mut sums = Vec::with_capacity(known.len());
    for known in known {
        let Known::Checksum { range, crc64nvme } = known else { return None };
        sums.push((range, crc64nvme));
    }
    sums.sort_unstable_by_key(|(range, _)| range.from);
    let combine = |before, (range, crc): (ByteRange, u64)| {
        crc_fast::checksum_combine(CrcAlgorithm::Crc64Nvme, before, crc, range.len())
    };
    let mut sums = sums.into_iter();
    let first = sums.next()?.1;
    Some(sums.fold(first, combine))
}

/// Returns `true` if a staged piece has these bytes.
async fn holds(worker: &Worker, piece: &StagedPiece, bytes: &Bytes) -> Result<bool, StoreError> {
    let mut body = worker.store.get(&piece.storage_key, piece.object_offset, Some(piece.range.len())).await?;
    let mut rest = bytes.as_ref();
    while let Some(read) = body.bytes.next().await {
        let Some(after) = rest.strip_prefix(read?.as_ref()) else { return Ok(false) };
        rest = after;
    }
    Ok(rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(bytes: &[u8], from: usize, to: usize) -> Known {
        let range = ByteRange { from: from as u64, to: to as u64 };
        Known::Checksum { range, crc64nvme: crc64nvme(&bytes[from..to]) }
    }

    #[test]
    fn checksums_of_pieces_in_any_order_tell_of_all_their_bytes() {
        let bytes: Vec<u8> = (0..10_000_u32).map(|n| (n * 7 % 251) as u8).collect();
        let known = vec![sum(&bytes, 3_000, 3_001), sum(&bytes, 0, 3_000), sum(&bytes, 3_001, 10_000)];
        assert_eq!(checksum_of(known.clone()), Some(crc64nvme(&bytes)));
        let hidden = Known::Hidden(ByteRange { from: 10_000, to: 10_001 });
        assert_eq!(checksum_of(known.into_iter().chain([hidden]).collect()), None);
    }
}
