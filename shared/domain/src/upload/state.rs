//! State of an upload.

use super::pieces::{Joined, StagedPiece};
use crate::Refusal;
use crate::grid::PartGrid;
use crate::limits::{PIECES_FREE, least_piece_bytes};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use waybill_schema::events::{
    ChunkStorage, ChunkUploaded, MultipartOpened, QuarantineCopied, UploadDescription, UploadKind,
};
use waybill_schema::{ByteRange, LinkId, RangeSet, Sha256Digest, Timestamp, UploadId, UploadStatus, WorkerId};

/// Phase of an upload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// The upload does not exist.
    #[default]
    Absent,
    /// The upload accepts bytes.
    Active,
    /// All bytes are stored, and the worker verifies the digest.
    Verifying,
    /// The file is verified and readable.
    Verified {
        /// SHA-256 of the stored object.
        sha256: Sha256Digest,
        /// Key of the object.
        storage_key: String,
    },
    /// The file was rejected.
    Rejected {
        /// Stable error code.
        code: String,
        /// Reason, for people.
        message: String,
    },
    /// The upload was cancelled.
    Cancelled,
    /// The upload expired.
    Expired,
    /// The partial upload became part of a final upload.
    Concatenated {
        /// The final upload.
        into: UploadId,
    },
}

/// Part in the object store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPart {
    /// ETag from the object store.
    pub etag: String,
    /// CRC-64/NVME of the part.
    pub crc64nvme: u64,
    /// Size of the part in bytes.
    pub length: u64,
}

/// Upload, folded from its events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Description from the start. `size_bytes` is the current size, or the maximum size if the length is unknown.
    pub started: Option<UploadDescription>,
    /// `true` if the length was known at the start.
    pub length_at_start: bool,
    /// `true` if the length is still unknown.
    pub length_deferred: bool,
    /// Kind of the upload.
    pub kind: UploadKind,
    /// The `Upload-Metadata` header of the start.
    pub upload_metadata: Option<String>,
    /// The upload link with which the file is sent.
    pub link_id: Option<LinkId>,
    /// Latest expiry of the URLs with which the client can create the object under the quarantine key.
    pub quarantine_until: Option<Timestamp>,
    /// The copy of the object under the quarantine key.
    pub copied: Option<QuarantineCopied>,
    /// Time of the start.
    pub started_at: Timestamp,
    /// The phase.
    pub phase: Phase,
    /// The multipart upload in the object store.
    pub multipart: Option<MultipartOpened>,
    /// The stored bytes.
    pub stored: RangeSet,
    /// The parts in the object store, by number.
    pub parts: BTreeMap<u32, StoredPart>,
    /// Number of pieces that were staged.
    pub pieces: u32,
    /// The staged pieces, by offset.
    pub staged: BTreeMap<u64, StagedPiece>,
    /// Checksums of pieces that are no longer staged.
    pub joined: Joined,
    /// Workers that opened the multipart upload or wrote a part.
    pub writers: BTreeSet<WorkerId>,
    /// Media type of the verified content, if it was recognised.
    pub sniffed_mime_type: Option<String>,
    /// `true` if a part may have been written more than once. The object must then be read back.
    pub rewritten: bool,
}

impl State {
    /// Returns the part grid. Before the start, it is the grid of an empty file. While the length is unknown, it is the
    /// grid of a file of the maximum size.
    pub fn grid(&self) -> PartGrid {
        self.started.as_ref().map_or(PartGrid { size_bytes: 0, part_size_bytes: 1 }, |started| PartGrid {
            size_bytes: started.size_bytes,
            part_size_bytes: started.part_size_bytes,
        })
    }

    /// Returns the ranges that are not stored yet. While the length is unknown, these are only the gaps between stored
    /// ranges.
    pub fn missing(&self) -> Vec<ByteRange> {
        let to = if self.length_deferred { self.stored.end() } else { self.grid().size_bytes };
        self.stored.gaps(ByteRange { from: 0, to })
    }

    /// Returns the size of the file in bytes, or `None` while it is unknown.
    pub fn length(&self) -> Option<u64> {
        (!self.length_deferred).then(|| self.grid().size_bytes)
    }

    /// Returns `true` if the reservation always has the size of the file.
    pub fn reserves_exactly(&self) -> bool {
        self.length_at_start && !matches!(self.kind, UploadKind::Partial)
    }

    /// Returns `true` if all bytes are stored, so that the upload can be completed.
    pub fn is_whole(&self) -> bool {
        !self.length_deferred && self.started.is_some() && self.missing().is_empty()
    }

    /// Returns `true` if `chunk` is a part, and another version of this part is already recorded.
    pub fn has_another_part(&self, chunk: &ChunkUploaded) -> bool {
        let ChunkStorage::Part { part_number } = &chunk.storage else { return false };
        self.parts.get(part_number).is_some_and(|part| part.etag != chunk.etag)
    }

    /// Returns `true` if `store_writes` is the first evidence that a part was written more than once.
    pub(super) fn is_first_rewrite(&self, store_writes: u32) -> bool {
        store_writes > 1 && !self.rewritten
    }

    /// Checks whether the upload accepts bytes.
    ///
    /// # Errors
    /// The [`Refusal`] that says how the upload has ended.
    pub fn check_takes_bytes(&self) -> Result<(), Refusal> {
        match &self.phase {
            Phase::Active => Ok(()),
            Phase::Absent => Err(Refusal::NotFound { what: "upload" }),
            Phase::Verifying | Phase::Verified { .. } | Phase::Concatenated { .. } => {
                Err(Refusal::UploadCompleted { hint: "It accepts no more bytes. Start a new upload for another file." })
            }
            Phase::Rejected { .. } => Err(Refusal::UploadEnded { status: "rejected" }),
            Phase::Cancelled => Err(Refusal::UploadEnded { status: "cancelled" }),
            Phase::Expired => Err(Refusal::UploadEnded { status: "expired" }),
        }
    }

    /// Checks whether the upload accepts bytes and has not expired. The log does not contain the expiry until the sweep
    /// has found it.
    ///
    /// # Errors
    /// The same as [`State::check_takes_bytes`].
    pub fn check_open(&self, now: Timestamp) -> Result<(), Refusal> {
        self.check_takes_bytes()?;
        match &self.started {
            Some(started) if now >= started.expires_at => Err(Refusal::UploadEnded { status: "expired" }),
            _ => Ok(()),
        }
    }

    /// Returns `true` if the client did not write the object under the quarantine key before its URLs expired.
    pub fn is_abandoned(&self, now: Timestamp) -> bool {
        self.copied.is_none() && self.quarantine_until.is_some_and(|until| now >= until)
    }

    /// Returns the status that clients see.
    pub fn status(&self) -> UploadStatus {
        match self.phase {
            Phase::Absent => UploadStatus::Pending,
            Phase::Active if self.stored.runs().is_empty() => UploadStatus::Pending,
            Phase::Active | Phase::Verifying => UploadStatus::Uploading,
            Phase::Verified { .. } | Phase::Concatenated { .. } => UploadStatus::Completed,
            Phase::Rejected { .. } | Phase::Expired => UploadStatus::Failed,
            Phase::Cancelled => UploadStatus::Cancelled,
        }
    }

    /// Returns `true` if the upload has ended and does not change any more.
    pub fn has_ended(&self) -> bool {
        !matches!(self.phase, Phase::Absent | Phase::Active | Phase::Verifying)
    }

    /// Returns `true` if the upload has ended without a file.
    pub fn has_ended_without_file(&self) -> bool {
        matches!(self.phase, Phase::Rejected { .. } | Phase::Cancelled | Phase::Expired)
    }

    /// Returns the parts whose bytes are all stored, and that must still be assembled.
    pub fn parts_to_assemble(&self) -> Vec<u32> {
        let grid = self.grid();
        let candidates: BTreeSet<u32> = self.staged.keys().map(|offset| grid.part_at(*offset)).collect();
        candidates.into_iter().filter(|n| !self.parts.contains_key(n) && self.stored.contains(grid.part(*n))).collect()
    }

    /// Returns the minimum number of new bytes of the next piece. It is 0 while pieces of any size are allowed.
    pub fn least_piece(&self) -> u64 {
        if self.pieces < PIECES_FREE { 0 } else { least_piece_bytes(self.grid().size_bytes) }
    }

    /// Checks whether a range within a part may be staged. A range at the beginning or the end of a part can have any
    /// size, because the part grid cuts the client's ranges there.
    ///
    /// # Errors
    /// [`Refusal::PieceTooSmall`] if not.
    pub fn check_piece(&self, range: ByteRange) -> Result<(), Refusal> {
        let least_bytes = self.least_piece();
        let fresh = self.stored.gaps(range);
        let part = self.grid().part(self.grid().part_at(range.from));
        let is_at_an_end = fresh.iter().any(|gap| gap.from == part.from || gap.to == part.to);
        let fresh_bytes: u64 = fresh.iter().map(|gap| gap.len()).sum();
        if fresh_bytes >= least_bytes || is_at_an_end || fresh_bytes == 0 {
            return Ok(());
        }
        Err(Refusal::PieceTooSmall { pieces: self.pieces, least_bytes })
    }

    /// Returns the staged pieces of a part, in order.
    pub fn pieces_of(&self, part_number: u32) -> Vec<StagedPiece> {
        let part = self.grid().part(part_number);
        self.staged.range(part.from..part.to).map(|(_, piece)| piece.clone()).collect()
    }

    /// Returns `true` if the completed object must be read back. The running digest describes the stored object only if
    /// one worker wrote each part exactly once.
    pub fn needs_read_back(&self) -> bool {
        self.rewritten || self.writers.len() > 1
    }
}
