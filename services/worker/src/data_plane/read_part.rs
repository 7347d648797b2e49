//! Reads the bytes of one part from a body, within the memory budget.

use super::PlaneError;
use super::assemble::assemble_part;
use super::body::{Body, Read, STALL, check_digest, nothing_more};
use super::budget::MemoryPermit;
use super::buffer::{FilledPart, PartBuffer};
use super::incoming::IncomingRange;
use super::request::Ingest;
use super::uploads::PartLease;
use crate::hashing::SpeculativeDigest;
use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::Stream;
use std::time::{Duration, Instant};
use waybill_domain::Refusal;
use waybill_schema::ByteRange;

/// Pause within a part after which the received bytes are staged and their memory is released.
const IDLE: Duration = Duration::from_secs(2);
/// Minimum throughput of a part. A body that is slower after [`GRACE`] is staged in pieces, so that it does not hold
/// memory for which other requests wait.
const SLOWEST_BYTES_PER_S: u64 = 16 * 1_024;
const GRACE: Duration = Duration::from_secs(5);
/// Maximum time for the smallest piece that an upload accepts. A slower body could not finish before the upload
/// expires.
const PIECE_TIME: Duration = Duration::from_secs(60);
/// Approximate maximum size of one read from a connection.
const READ_BYTES: u64 = 64 * 1_024;

/// Bytes that a request has read for one part.
pub(super) struct PartRead {
    pub(super) part_number: u32,
    pub(super) part: ByteRange,
    pub(super) from: u64,
    /// Requested range, if the part is already stored.
    pub(super) repeats: Option<ByteRange>,
    pub(super) filled: FilledPart,
    /// `true` if the body continues after these bytes or has ended properly.
    pub(super) is_sound: bool,
    pub(super) permit: MemoryPermit,
    pub(super) lease: PartLease,
}

/// Result of reading one part.
pub(super) struct Reading {
    pub(super) part: PartRead,
    /// How reading ended. [`Read::Bytes`] means that there may be more bytes.
    pub(super) end: Read,
}

impl PartRead {
    pub(super) fn received(&self) -> u64 {
        self.filled.length
    }

    /// Returns the speculative digest for the next part, if this part is complete.
    pub(super) fn next_ahead(&self) -> Option<SpeculativeDigest> {
        let whole = self.received() == self.part.len();
        self.filled.ahead.as_ref().filter(|_| whole).map(|ahead| ahead.next(self.filled.crc64nvme))
    }
}

impl Ingest<'_> {
    /// Reads the bytes of the body for the part at `offset`.
    pub(super) async fn read_part<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin>(
        &self,
        offset: u64,
        ahead: Option<SpeculativeDigest>,
        body: &mut Body<S>,
    ) -> Result<Reading, PlaneError> {
        let Self { worker, upload, context, incoming, .. } = self;
        let (grid, least) = {
            let loaded = upload.loaded.lock().await;
            (loaded.state.grid(), loaded.state.least_piece())
        };
        let part_number = grid.part_at(offset);
        let part = grid.part(part_number);
        let wanted = ByteRange { from: offset, to: part.to.min(incoming.range.to) };
        let lease = upload.lease(part_number).await;
        self.check_first(offset).await?;
        // Not before the lease: the previous holder of the part may have stored it in the meantime.
        assemble_part(worker, upload, context, part_number, None).await?;
        let is_known = upload.loaded.lock().await.state.parts.contains_key(&part_number);
        body.wait(&lease).await;
        let mut permit = worker.budget.begin(upload.aggregate.company, part.len()).await?;
        let ahead = if is_known || offset != part.from {
            None
        } else {
            ahead.filter(|ahead| ahead.is_of(part_number)).or_else(|| upload.hash().ahead(part_number))
        };
        let mut buffer = if is_known { PartBuffer::of_stored() } else { PartBuffer::new(wanted.len(), ahead) };
        let began = Instant::now();
        let end = loop {
            let is_enough = is_known || buffer.len() >= least;
            let trickles = !is_known && is_enough && trickles(incoming, began.elapsed(), buffer.len());
            if buffer.len() == wanted.len() || trickles {
                break Read::Bytes(Bytes::new());
            }
            if !is_enough && began.elapsed() >= PIECE_TIME {
                break Read::Idle;
            }
            if !is_known && incoming.checksum.is_some() && began.elapsed() >= longest(wanted.len()) {
                // The body counts as broken: its bytes are kept, and the memory becomes free for other requests.
                break Read::Idle;
            }
            let is_patient = is_known || incoming.checksum.is_some() || buffer.len() == 0 || !is_enough;
            let patience = if is_patient { STALL } else { IDLE };
            match body.read(wanted.len() - buffer.len(), &lease, patience).await {
                Read::Bytes(bytes) => {
                    buffer.push(&bytes);
                    // The client has filled the first memory, so the request now takes the memory of the whole part.
                    let is_enough = is_known || worker.budget.is_enough(&permit, buffer.len() + READ_BYTES);
                    if !is_enough && worker.budget.grow(&mut permit, part.len()).await.is_err() {
                        break Read::NoRoom;
                    }
                }
                Read::Idle if patience == IDLE => break Read::Bytes(Bytes::new()),
                end => break end,
            }
        };
        if matches!(end, Read::Evicted) && incoming.eviction.resumes_at(offset) {
            buffer = PartBuffer::new(0, None);
        }
        let last = offset + buffer.len() == incoming.range.to;
        if matches!(end, Read::Bytes(_)) && last {
            nothing_more(incoming, body, &lease).await?;
        }
        if matches!(end, Read::End) || last {
            check_digest(body, &end)?;
        }
        let filled = buffer.finish();
        let is_sound = matches!(end, Read::Bytes(_) | Read::End);
        Ok(Reading {
            part: PartRead {
                part_number,
                part,
                from: offset,
                repeats: is_known.then_some(wanted),
                filled,
                is_sound,
                permit,
                lease,
            },
            end,
        })
    }

    /// Checks the offset again, because the request that this one waited for may have stored the same bytes.
    async fn check_first(&self, offset: u64) -> Result<(), PlaneError> {
        let Self { upload, incoming, .. } = self;
        let prefix = upload.loaded.lock().await.state.stored.prefix();
        if incoming.sequential && offset == incoming.range.from && prefix != offset {
            return Err(Refusal::OffsetMismatch { offset: prefix }.into());
        }
        Ok(())
    }
}

/// Returns the maximum time for bytes of a part that stay in memory until all of them have arrived.
fn longest(length: u64) -> Duration {
    GRACE + Duration::from_secs(length / SLOWEST_BYTES_PER_S)
}

/// Returns `true` if a part arrives too slowly to hold its memory. A part of a body with a checksum is not cut into
/// pieces; its limit is [`longest`].
fn trickles(incoming: &IncomingRange, elapsed: Duration, received: u64) -> bool {
    incoming.checksum.is_none()
        && received > 0
        && elapsed >= GRACE
        && received / elapsed.as_secs().max(1) < SLOWEST_BYTES_PER_S
}
