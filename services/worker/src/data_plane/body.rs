//! A request body that is read in small steps, until it ends, stalls or is evicted.

use super::PlaneError;
use super::incoming::IncomingRange;
use super::uploads::PartLease;
use super::writer_lease::Eviction;
use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt};
use std::time::{Duration, Instant};
use waybill_data_plane::checksum::Verifier;
use waybill_service_kit::metrics::RECEIVED_BYTES;

/// Time without a byte after which a body counts as broken.
pub(super) const STALL: Duration = Duration::from_secs(30);
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
