//! A request's body, cut on the part grid as it streams in.

use super::assemble::{assemble_part, stage_run};
use super::buffer::PartBuffer;
use super::part::store_part;
use super::uploads::Claim;
use super::{OpenUpload, PlaneError};
use crate::Worker;
use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use waybill_domain::Refusal;
use waybill_domain::upload::Phase;
use waybill_repository::{Context, refresh};
use waybill_schema::{ByteRange, Position, Sha256Digest};
use waybill_service_kit::now;

/// How long a body may pause within a part before what it brought is staged and its memory given back.
const STALL: Duration = Duration::from_secs(30);

/// Where the bytes go, and what is known of them.
pub(super) struct Run {
    /// Which bytes of the file the body may bring; it may bring fewer.
    pub(super) range: ByteRange,
    /// The digest of the body, to be checked before any of it is stored.
    pub(super) content_sha256: Option<Sha256Digest>,
}

/// What a request led to.
pub(super) struct Ingested {
    pub(super) received_bytes: u64,
    pub(super) offset_bytes: u64,
    pub(super) position: Position,
}

/// A body that can be read a bit at a time.
struct Body<S> {
    stream: S,
    rest: Bytes,
    sha256: Option<Sha256>,
}

enum Read {
    Bytes(Bytes),
    End,
    Broken,
    Evicted,
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin> Body<S> {
    /// The next bytes, `max` at most.
    async fn read(&mut self, max: u64, claim: &Claim) -> Read {
        while self.rest.is_empty() {
            let next = tokio::select! {
                biased;
                () = claim.evicted() => return Read::Evicted,
                next = tokio::time::timeout(STALL, self.stream.next()) => next,
            };
            match next {
                Ok(Some(Ok(bytes))) => self.rest = bytes,
                Ok(None) => return Read::End,
                Ok(Some(Err(_))) | Err(_) => return Read::Broken,
            }
        }
        let length = self.rest.len().min(usize::try_from(max).unwrap_or(usize::MAX));
        let bytes = self.rest.split_to(length);
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(&bytes);
        }
        Read::Bytes(bytes)
    }
}

/// Takes a body in. Every byte that arrived is stored when this returns, unless the error says otherwise.
pub(super) async fn ingest(
    worker: &Worker,
    upload: &Arc<OpenUpload>,
    context: &Context,
    run: &Run,
    stream: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin,
) -> Result<Ingested, PlaneError> {
    check(worker, upload, run.range).await?;
    let sha256 = run.content_sha256.map(|_| Sha256::new());
    let mut body = Body { stream, rest: Bytes::new(), sha256 };
    let mut offset = run.range.from;
    while offset < run.range.to {
        let (stored, end) = one_part(worker, upload, context, run, offset, &mut body).await?;
        offset += stored;
        match end {
            Read::Bytes(_) => {}
            Read::End => break,
            Read::Broken => return Err(PlaneError::Broken),
            Read::Evicted => return Err(PlaneError::Evicted),
        }
    }
    let loaded = upload.loaded.lock().await;
    Ok(Ingested {
        received_bytes: offset - run.range.from,
        offset_bytes: loaded.state.stored.prefix(),
        position: Position { partition: worker.log.partitions().of(upload.aggregate.company), seq: loaded.read_to },
    })
}

/// The upload takes these bytes, as far as the log knows now.
async fn check(worker: &Worker, upload: &OpenUpload, range: ByteRange) -> Result<(), PlaneError> {
    let mut loaded = upload.loaded.lock().await;
    refresh(worker.log.as_ref(), &upload.aggregate, &mut loaded).await?;
    let size_bytes = loaded.state.grid().size_bytes;
    match &loaded.state.phase {
        Phase::Absent => Err(Refusal::NotFound { what: "upload" }.into()),
        Phase::Active if loaded.state.started.as_ref().is_some_and(|started| now() >= started.expires_at) => {
            Err(Refusal::UploadEnded { status: "expired" }.into())
        }
        Phase::Active if range.to > size_bytes => Err(Refusal::SizeExceeded { size_bytes }.into()),
        Phase::Active => Ok(()),
        // A repeated chunk of a complete upload is harmless: it is read, compared and forgotten.
        Phase::Completed | Phase::Verified { .. } if loaded.state.stored.contains(range) => Ok(()),
        Phase::Completed | Phase::Verified { .. } => {
            Err(Refusal::UploadCompleted { hint: "it takes no more bytes" }.into())
        }
        Phase::Rejected { .. } => Err(Refusal::UploadEnded { status: "rejected" }.into()),
        Phase::Cancelled => Err(Refusal::UploadEnded { status: "cancelled" }.into()),
        Phase::Expired => Err(Refusal::UploadEnded { status: "expired" }.into()),
    }
}

/// Reads what the body brings for the part at `offset`, and stores it; answers with how much that was and how the
/// reading ended ([`Read::Bytes`]: the part is full, and there may be more).
async fn one_part<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin>(
    worker: &Worker,
    upload: &Arc<OpenUpload>,
    context: &Context,
    run: &Run,
    offset: u64,
    body: &mut Body<S>,
) -> Result<(u64, Read), PlaneError> {
    let grid = upload.loaded.lock().await.state.grid();
    let part_number = grid.part_at(offset);
    let part = grid.part(part_number);
    let wanted = ByteRange { from: offset, to: part.to.min(run.range.to) };
    let claim = upload.claim(part_number).await;
    // Only now: the request that held the part before us may have stored it.
    let known = upload.loaded.lock().await.state.parts.get(&part_number).cloned();
    let room = worker.budget.take(upload.aggregate.company, part.len()).await?;
    let ahead = if offset == part.from && known.is_none() { upload.hash().ahead(part_number) } else { None };
    let mut buffer = PartBuffer::new(wanted.len(), ahead);
    let end = loop {
        if buffer.len() == wanted.len() {
            break Read::Bytes(Bytes::new());
        }
        match body.read(wanted.len() - buffer.len(), &claim).await {
            Read::Bytes(bytes) => buffer.push(&bytes),
            end => break end,
        }
    };
    let last = wanted.to == run.range.to;
    if matches!(end, Read::Bytes(_)) && last {
        nothing_more(run, body, &claim).await?;
    }
    if matches!(end, Read::End) || last {
        check_digest(run, body, &end)?;
    }
    let received = buffer.len();
    let filled = buffer.finish();
    match known {
        Some(known) if wanted == part && received == part.len() && known.crc64nvme != filled.crc64nvme => {
            return Err(PlaneError::Differs);
        }
        Some(_) => {}
        None if received == part.len() => store_part(worker, upload, context, part_number, filled).await?,
        None if received > 0 => {
            stage_run(worker, upload, context, offset, filled.bytes).await?;
            // Given back first: assembling takes room of its own, and nobody may wait while holding some.
            drop(room);
            assemble_part(worker, upload, context, part_number).await?;
        }
        None => {}
    }
    Ok((received, end))
}

/// The body ends where its range does: one byte more and none of its last part is stored.
async fn nothing_more<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin>(
    run: &Run,
    body: &mut Body<S>,
    claim: &Claim,
) -> Result<(), PlaneError> {
    match body.read(1, claim).await {
        Read::Bytes(_) => Err(PlaneError::BodyTooLong { allowed_bytes: run.range.len() }),
        // All bytes that were asked for are here; how the connection fares after that does not matter.
        Read::End | Read::Broken | Read::Evicted => Ok(()),
    }
}

/// A body with a digest is stored whole or not at all.
fn check_digest<S>(run: &Run, body: &mut Body<S>, end: &Read) -> Result<(), PlaneError> {
    let (Some(expected), Some(sha256)) = (run.content_sha256, body.sha256.take()) else { return Ok(()) };
    if matches!(end, Read::Broken | Read::Evicted) {
        return Ok(());
    }
    if Sha256Digest(sha256.finalize().into()) == expected { Ok(()) } else { Err(PlaneError::DigestMismatch) }
}
