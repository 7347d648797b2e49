//! Reads the bytes of one part from a body, within the memory budget, until the body ends, stalls or is evicted.

use super::PlaneError;
use super::assemble::assemble_part;
use super::budget::{MemoryPermit, Owner};
use super::buffer::{FilledPart, PartBuffer};
use super::incoming::{IncomingRange, Ingest, check_time};
use super::uploads::PartLease;
use super::writer_lease::Eviction;
use crate::hashing::SpeculativeDigest;
use crate::metrics::RECEIVED_BYTES;
use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt};
use std::time::Duration;
use tokio::time::Instant;
use waybill_data_plane::checksum::Verifier;
use waybill_domain::Refusal;
use waybill_schema::{Actor, ByteRange};
use waybill_service_kit::now;

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
    /// Returns the user whose share of the memory the request uses.
    fn owner(&self) -> Owner {
        let user = match &self.context.actor {
            Actor::User(user) => Some(*user),
            Actor::Worker(_) | Actor::Service(_) => None,
        };
        Owner { company: self.upload.aggregate.company, user }
    }

    /// Reads the bytes of the body for the part at `offset`.
    pub(super) async fn read_part<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin>(
        &self,
        offset: u64,
        ahead: Option<SpeculativeDigest>,
        body: &mut Body<S>,
    ) -> Result<Reading, PlaneError> {
        let Self { worker, upload, context, incoming, .. } = self;
        let part_number = self.grid.part_at(offset);
        let lease = upload.lease(part_number).await;
        // Not before the lease: the previous holder of the part may have stored it in the meantime.
        let Before { part, least, is_due, is_known } = self.before_reading(part_number, offset).await?;
        if is_due {
            assemble_part(worker, upload, context, part_number, None).await?;
        }
        let is_known = is_known || is_due;
        let wanted = ByteRange { from: offset, to: part.to.min(incoming.range.to) };
        body.wait(&lease).await;
        let mut permit = worker.budget.begin(self.owner(), part.len()).await?;
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
            let longest = longest(wanted.len()).min(STALL + at_slowest(buffer.len()));
            if !is_known && incoming.checksum.is_some() && began.elapsed() >= longest {
                // The body counts as broken: its bytes are kept, and the memory becomes free for other requests.
                break Read::Idle;
            }
            let is_patient = is_known || incoming.checksum.is_some() || buffer.len() == 0 || !is_enough;
            let patience = if is_patient { STALL } else { IDLE };
            match body.read(wanted.len() - buffer.len(), &lease, patience).await {
                Read::Bytes(bytes) => {
                    buffer.push(&bytes);
                    // The client has filled its memory, so the request takes more.
                    let is_enough = is_known || worker.budget.is_enough(&permit, buffer.len() + READ_BYTES);
                    let received = buffer.len();
                    if !is_enough
                        && worker.budget.grow_for(&mut permit, part.len(), received, began.elapsed()).await.is_err()
                    {
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

    /// Reads what the state says about a part before its bytes are read. Checks the time, and the offset again, because
    /// the request that this one waited for may have stored the same bytes.
    async fn before_reading(&self, part_number: u32, offset: u64) -> Result<Before, PlaneError> {
        let Self { upload, incoming, .. } = self;
        let loaded = upload.loaded.lock().await;
        let state = &loaded.state;
        check_time(state, now())?;
        let prefix = state.stored.prefix();
        if incoming.sequential && offset == incoming.range.from && prefix != offset {
            return Err(Refusal::OffsetMismatch { offset: prefix }.into());
        }
        Ok(Before {
            part: state.grid().part(part_number),
            least: state.least_piece(),
            is_due: state.parts_to_assemble().contains(&part_number),
            is_known: state.parts.contains_key(&part_number),
        })
    }
}

/// State of a part before its bytes are read.
struct Before {
    part: ByteRange,
    /// Minimum size of a piece that the upload accepts.
    least: u64,
    /// `true` if the staged pieces of the part cover it and must be assembled.
    is_due: bool,
    /// `true` if the part is stored.
    is_known: bool,
}

/// Returns the maximum time for bytes of a part that stay in memory until all of them have arrived.
fn longest(length: u64) -> Duration {
    GRACE + at_slowest(length)
}

/// Returns the time in which `length` bytes arrive at the minimum throughput. A body with a checksum that is behind it
/// by more than [`STALL`] does not hold its memory any longer.
fn at_slowest(length: u64) -> Duration {
    Duration::from_secs(length / SLOWEST_BYTES_PER_S)
}

/// Returns `true` if a part arrives too slowly to hold its memory. A part of a body with a checksum is not cut into
/// pieces; its limit is [`longest`].
fn trickles(incoming: &IncomingRange, elapsed: Duration, received: u64) -> bool {
    incoming.checksum.is_none()
        && received > 0
        && elapsed >= GRACE
        && received / elapsed.as_secs().max(1) < SLOWEST_BYTES_PER_S
}

/// Time without a byte after which a body counts as broken.
const STALL: Duration = Duration::from_secs(30);
/// Time for which bytes that have already arrived are still read after a newer request has arrived.
const AT_HAND: Duration = Duration::from_millis(250);

/// A request body that is read in small steps.
pub(super) struct Body<S> {
    stream: S,
    rest: Bytes,
    /// End of the body, if it was found while waiting for bytes.
    end: Option<Read>,
    verifier: Option<Verifier>,
    eviction: Eviction,
    /// Time until which bytes are read after a newer request has arrived.
    until: Option<Instant>,
}

/// Result of reading from a body.
pub(super) enum Read {
    Bytes(Bytes),
    /// No byte arrived in time. More may follow.
    Idle,
    End,
    Broken,
    Evicted,
    /// There is no memory for more of the part.
    NoRoom,
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin> Body<S> {
    /// Wraps the body of a request.
    pub(super) fn new(stream: S, incoming: &IncomingRange) -> Self {
        let verifier = incoming.checksum.map(Verifier::new);
        Self { stream, rest: Bytes::new(), end: None, verifier, eviction: incoming.eviction.clone(), until: None }
    }

    /// Waits until there are bytes, or until the body has ended. The caller holds no memory during this time.
    pub(super) async fn wait(&mut self, lease: &PartLease) {
        if self.rest.is_empty() && self.end.is_none() {
            self.end = self.fill(lease, STALL).await;
        }
    }

    /// Fills `rest` with bytes. Returns `None`, or the reason if no bytes arrive.
    async fn fill(&mut self, lease: &PartLease, patience: Duration) -> Option<Read> {
        while self.rest.is_empty() {
            let next = tokio::select! {
                biased;
                () = evicted(lease, &self.eviction) => match self.at_hand() {
                    Some(next) => Ok(next),
                    None => return Some(Read::Evicted),
                },
                next = tokio::time::timeout(patience, self.stream.next()) => next,
            };
            match next {
                Ok(Some(Ok(bytes))) => self.rest = bytes,
                Ok(None) => return Some(Read::End),
                Ok(Some(Err(_))) => return Some(Read::Broken),
                Err(_) => return Some(Read::Idle),
            }
        }
        None
    }

    /// Returns bytes that have already arrived when a newer request comes, so that the client need not send them again.
    /// Reads for at most [`AT_HAND`], because the client may continue to send.
    fn at_hand(&mut self) -> Option<Option<Result<Bytes, PayloadError>>> {
        let until = *self.until.get_or_insert_with(|| Instant::now() + AT_HAND);
        if Instant::now() < until { self.stream.next().now_or_never() } else { None }
    }

    /// Reads the next bytes, at most `max`.
    pub(super) async fn read(&mut self, max: u64, lease: &PartLease, patience: Duration) -> Read {
        if let Some(end) = self.end.take() {
            return end;
        }
        if let Some(end) = self.fill(lease, patience).await {
            return end;
        }
        let length = self.rest.len().min(usize::try_from(max).unwrap_or(usize::MAX));
        let bytes = self.rest.split_to(length);
        RECEIVED_BYTES.inc_by(length as u64);
        if let Some(verifier) = &mut self.verifier {
            verifier.update(&bytes);
        }
        Read::Bytes(bytes)
    }
}

/// Checks that the body ends at the end of its range. If it has one byte more, its last part is not stored.
pub(super) async fn nothing_more<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin>(
    incoming: &IncomingRange,
    body: &mut Body<S>,
    lease: &PartLease,
) -> Result<(), PlaneError> {
    match body.read(1, lease, STALL).await {
        Read::Bytes(_) => Err(PlaneError::BodyTooLong { allowed_bytes: incoming.range.len() }),
        // All bytes of the range have arrived, so a later failure of the connection does not matter.
        Read::End | Read::Broken | Read::Idle | Read::Evicted | Read::NoRoom => Ok(()),
    }
}

/// Checks the checksum of a body that was received completely. If it does not match, the body is not stored. A body
/// that broke has no checksum to check: its bytes are kept like those of other bodies, and the digest of the file
/// decides.
pub(super) fn check_digest<S>(body: &mut Body<S>, end: &Read) -> Result<(), PlaneError> {
    let Some(verifier) = body.verifier.take() else { return Ok(()) };
    if matches!(end, Read::Broken | Read::Idle | Read::Evicted | Read::NoRoom) {
        return Ok(());
    }
    if verifier.is_met() { Ok(()) } else { Err(PlaneError::DigestMismatch) }
}

/// Waits until a newer request for the part or for the upload has arrived.
async fn evicted(lease: &PartLease, upload: &Eviction) {
    tokio::select! {
        () = lease.evicted() => {}
        () = upload.came() => {}
    }
}
