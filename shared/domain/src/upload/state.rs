//! What is known of an upload.

use super::Joined;
use crate::Refusal;
use crate::grid::PartGrid;
use crate::limits::{PIECES_FREE, least_piece_bytes};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use waybill_schema::events::{
    ChunkStorage, ChunkUploadedV1, MultipartOpenedV2, QuarantineCopiedV1, UploadKind, UploadStartedV1,
};
use waybill_schema::{ByteRange, RangeSet, Sha256Digest, Timestamp, UploadId, WorkerId};

/// How far an upload is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Nothing is known of it.
    #[default]
    Absent,
    /// It takes bytes.
    Active,
    /// Every byte is there; its digest is being checked.
    Completed,
    /// The file can be read.
    Verified {
        /// What is stored has this digest.
        sha256: Sha256Digest,
        /// Where it is.
        storage_key: String,
    },
    /// The file was refused.
    Rejected {
        /// Stable code.
        code: String,
        /// For a person.
        message: String,
    },
    /// Somebody ended it.
    Cancelled,
    /// It was not continued in time.
    Expired,
    /// A partial upload that became part of a final one.
    Concatenated {
        /// The final upload.
        into: UploadId,
    },
}

/// The status that clients see: the data model's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Started, no byte stored.
    Pending,
    /// Bytes come in, or are being verified.
    Uploading,
    /// Verified.
    Completed,
    /// Rejected or expired.
    Failed,
    /// Cancelled.
    Cancelled,
}

impl Status {
    /// As it is written in JSON and in Postgres.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Uploading => "UPLOADING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

/// A part that is in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPart {
    /// What the store answered.
    pub etag: String,
    /// CRC-64/NVME of its bytes.
    pub crc64nvme: u64,
    /// Its bytes.
    pub length: u64,
}

/// Bytes of the file that lie in a staging object. Pieces never overlap: the first event wins for each byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedPiece {
    /// Which bytes of the file.
    pub range: ByteRange,
    /// The staging object.
    pub storage_key: String,
    /// Where in the staging object the piece begins.
    pub object_offset: u64,
    /// CRC-64/NVME of its bytes, if it is all of its staging object.
    pub crc64nvme: Option<u64>,
}

/// An upload, folded from its events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// What was said at the start; with the size as it is known by now, or the most that it may be.
    pub started: Option<UploadStartedV1>,
    /// Whether the length was said at the start.
    pub length_at_start: bool,
    /// Whether the length is still to come.
    pub length_deferred: bool,
    /// What it is to become.
    pub kind: UploadKind,
    /// The `Upload-Metadata` header of its start.
    pub upload_metadata: Option<String>,
    /// Until when the client may make the object by itself.
    pub quarantine_until: Option<Timestamp>,
    /// The copy of the object that the client made by itself.
    pub copied: Option<QuarantineCopiedV1>,
    /// When it started.
    pub started_at: Timestamp,
    /// How far it is.
    pub phase: Phase,
    /// The multipart upload in the store.
    pub multipart: Option<MultipartOpenedV2>,
    /// Which bytes are stored.
    pub stored: RangeSet,
    /// The parts in the store, by number.
    pub parts: BTreeMap<u32, StoredPart>,
    /// How many pieces were staged.
    pub pieces: u32,
    /// What is staged, by offset.
    pub staged: BTreeMap<u64, StagedPiece>,
    /// What is known of pieces that are no longer staged.
    pub joined: Joined,
    /// Who opened the multipart upload or wrote a part.
    pub writers: BTreeSet<WorkerId>,
    /// Whether a part may have been written more than once, so that what is stored must be read back.
    pub rewritten: bool,
}

impl State {
    /// The upload's grid; that of an empty file before the start. While the length is still to come, that of the largest
    /// file that it may become.
    pub fn grid(&self) -> PartGrid {
        self.started.as_ref().map_or(PartGrid { size_bytes: 0, part_size_bytes: 1 }, |started| PartGrid {
            size_bytes: started.size_bytes,
            part_size_bytes: started.part_size_bytes,
        })
    }

    /// The bytes that are not stored yet, as far as it is known which those are.
    pub fn missing(&self) -> Vec<ByteRange> {
        let to = if self.length_deferred { self.stored.end() } else { self.grid().size_bytes };
        self.stored.gaps(ByteRange { from: 0, to })
    }

    /// Bytes of the file; `None` while that is still to come.
    pub fn length(&self) -> Option<u64> {
        (!self.length_deferred).then(|| self.grid().size_bytes)
    }

    /// Whether its reservation is of its size, from its start to its end.
    pub fn reserves_exactly(&self) -> bool {
        self.length_at_start && !matches!(self.kind, UploadKind::Partial)
    }

    /// Whether every byte is stored, so that it can be completed.
    pub fn is_whole(&self) -> bool {
        !self.length_deferred && self.started.is_some() && self.missing().is_empty()
    }

    /// Whether a part is known in the place of the one that `chunk` is, and with other bytes.
    pub fn has_another_part(&self, chunk: &ChunkUploadedV1) -> bool {
        let ChunkStorage::Part { part_number } = &chunk.storage else { return false };
        self.parts.get(part_number).is_some_and(|part| part.etag != chunk.etag)
    }

    /// Whether it is new that a slot in the store was written more than once.
    pub(super) fn is_first_rewrite(&self, store_writes: u32) -> bool {
        store_writes > 1 && !self.rewritten
    }

    /// Whether the upload takes bytes.
    ///
    /// # Errors
    /// The [`Refusal`] that says how it has ended.
    pub fn check_takes_bytes(&self) -> Result<(), Refusal> {
        match &self.phase {
            Phase::Active => Ok(()),
            Phase::Absent => Err(Refusal::NotFound { what: "upload" }),
            Phase::Completed | Phase::Verified { .. } | Phase::Concatenated { .. } => {
                Err(Refusal::UploadCompleted { hint: "it takes no more bytes" })
            }
            Phase::Rejected { .. } => Err(Refusal::UploadEnded { status: "rejected" }),
            Phase::Cancelled => Err(Refusal::UploadEnded { status: "cancelled" }),
            Phase::Expired => Err(Refusal::UploadEnded { status: "expired" }),
        }
    }

    /// Whether the upload takes bytes, and its time is not up. Until the sweep has come by, that is not in the log.
    ///
    /// # Errors
    /// As [`State::check_takes_bytes`].
    pub fn check_open(&self, now: Timestamp) -> Result<(), Refusal> {
        self.check_takes_bytes()?;
        match &self.started {
            Some(started) if now >= started.expires_at => Err(Refusal::UploadEnded { status: "expired" }),
            _ => Ok(()),
        }
    }

    /// Whether its client, which makes the object by itself, has not done so in the time of the URLs that it was given.
    pub fn is_abandoned(&self, now: Timestamp) -> bool {
        self.copied.is_none() && self.quarantine_until.is_some_and(|until| now >= until)
    }

    /// What clients see.
    pub fn status(&self) -> Status {
        match self.phase {
            Phase::Absent => Status::Pending,
            Phase::Active if self.stored.runs().is_empty() => Status::Pending,
            Phase::Active | Phase::Completed => Status::Uploading,
            Phase::Verified { .. } | Phase::Concatenated { .. } => Status::Completed,
            Phase::Rejected { .. } | Phase::Expired => Status::Failed,
            Phase::Cancelled => Status::Cancelled,
        }
    }

    /// Whether nothing will change any more.
    pub fn has_ended(&self) -> bool {
        !matches!(self.phase, Phase::Absent | Phase::Active | Phase::Completed)
    }

    /// Whether it has ended, and not as a file.
    pub fn has_ended_without_file(&self) -> bool {
        matches!(self.phase, Phase::Rejected { .. } | Phase::Cancelled | Phase::Expired)
    }

    /// Parts whose bytes are all stored, but not yet as a part.
    pub fn parts_to_assemble(&self) -> Vec<u32> {
        let grid = self.grid();
        let candidates: BTreeSet<u32> = self.staged.keys().map(|offset| grid.part_at(*offset)).collect();
        candidates.into_iter().filter(|n| !self.parts.contains_key(n) && self.stored.contains(grid.part(*n))).collect()
    }

    /// The fewest new bytes that a piece must have; 0 as long as it may have any number of them.
    pub fn least_piece(&self) -> u64 {
        if self.pieces < PIECES_FREE { 0 } else { least_piece_bytes(self.grid().size_bytes) }
    }

    /// Whether a run of bytes within a part may be staged. Runs at the beginning and the end of a part may be of any size:
    /// those are where the grid cuts what a client sends.
    ///
    /// # Errors
    /// [`Refusal::PieceTooSmall`].
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

    /// The staged pieces of a part, in order.
    pub fn pieces_of(&self, part_number: u32) -> Vec<StagedPiece> {
        let part = self.grid().part(part_number);
        self.staged.range(part.from..part.to).map(|(_, piece)| piece.clone()).collect()
    }

    /// Whether the completed object must be read back: only one writer, each part written once, makes the running
    /// digest a statement about what is stored.
    pub fn needs_read_back(&self) -> bool {
        self.rewritten || self.writers.len() > 1
    }
}
