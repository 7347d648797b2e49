//! Reads the body of a request as a stream, cuts it on the part grid, and stores the parts.

use super::again::{InHand, check_part, is_stored};
use super::assemble::{Staged, assemble_part, put_staged, record_staged, stage_run};
use super::budget::Room;
use super::buffer::{Filled, PartBuffer};
use super::hold::Eviction;
use super::part::{record_part, store_part};
use super::uploads::{Claim, locked};
use super::{OpenUpload, PlaneError};
use crate::Worker;
use crate::hashing::Ahead;
use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, Stream, StreamExt};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use waybill_domain::Refusal;
use waybill_domain::upload::{Phase, State};
use waybill_event_log::AppendError;
use waybill_repository::{Context, refresh};
use waybill_schema::{ByteRange, Position};
use waybill_service_kit::checksum::{Checksum, Verifier};
use waybill_service_kit::data_plane::StoredBytes;
use waybill_service_kit::metrics::RECEIVED_BYTES;
use waybill_service_kit::now;

/// Time without a byte after which a body counts as broken.
const STALL: Duration = Duration::from_secs(30);
/// Pause within a part after which the received bytes are staged and their memory is released.
const IDLE: Duration = Duration::from_secs(2);
/// Time for which bytes that have already arrived are still read after a newer request has arrived.
const AT_HAND: Duration = Duration::from_millis(250);
/// Minimum throughput of a part. A body that is slower after [`GRACE`] is staged in pieces, so that it does not hold
/// memory for which other requests wait.
const SLOWEST_BYTES_PER_S: u64 = 16 * 1_024;
const GRACE: Duration = Duration::from_secs(5);
/// Maximum time for the smallest piece that an upload accepts. A slower body could not finish before the upload
/// expires.
const PIECE_TIME: Duration = Duration::from_secs(60);
/// Approximate maximum size of one read from a connection.
const READ_BYTES: u64 = 64 * 1_024;

/// Range of the bytes of a request, and how they are checked.
pub(crate) struct Run {
    /// Range of the file that the body covers. The body may be shorter.
    pub(crate) range: ByteRange,
    /// Checksum of the body. If the body has another one, none of its bytes count.
    pub(crate) checksum: Option<Checksum>,
    /// `true` if the range must begin at the upload's offset.
    pub(crate) sequential: bool,
    /// Signal that a newer request for the upload has arrived.
    pub(crate) eviction: Eviction,
}

impl Run {
    /// Returns `true` if stored ranges count only after the whole body was received. This is so if the checksum of the
    /// body covers more than one part. A body within one part is checked in memory.
    fn is_held_back(&self, state: &State) -> bool {
        let grid = state.grid();
        let last = self.range.to.saturating_sub(1);
        self.checksum.is_some() && grid.part_at(self.range.from) != grid.part_at(last)
    }
}

/// A request body that is read in small steps.
struct Body<S> {
    stream: S,
    rest: Bytes,
    /// End of the body, if it was found while waiting for bytes.
    end: Option<Read>,
    verifier: Option<Verifier>,
    eviction: Eviction,
    /// Time until which bytes are read after a newer request has arrived.
    until: Option<Instant>,
}

/// Waits until a newer request for the part or for the upload has arrived.
async fn evicted(claim: &Claim, upload: &Eviction) {
    tokio::select! {
        () = claim.evicted() => {}
        () = upload.came() => {}
    }
}

enum Read {
    Bytes(Bytes),
    /// No byte arrived in time. More may follow.
    Nothing,
    End,
    Broken,
    Evicted,
    /// There is no memory for more of the part.
    NoRoom,
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin> Body<S> {
    /// Waits until there are bytes, or until the body has ended. The caller holds no memory during this time.
    async fn wait(&mut self, claim: &Claim) {
        if self.rest.is_empty() && self.end.is_none() {
            self.end = self.fill(claim, STALL).await;
        }
    }

    /// Fills `rest` with bytes. Returns `None`, or the reason if no bytes arrive.
    async fn fill(&mut self, claim: &Claim, patience: Duration) -> Option<Read> {
        while self.rest.is_empty() {
            let next = tokio::select! {
                biased;
                () = evicted(claim, &self.eviction) => match self.at_hand() {
                    Some(next) => Ok(next),
                    None => return Some(Read::Evicted),
                },
                next = tokio::time::timeout(patience, self.stream.next()) => next,
            };
            match next {
                Ok(Some(Ok(bytes))) => self.rest = bytes,
                Ok(None) => return Some(Read::End),
                Ok(Some(Err(_))) => return Some(Read::Broken),
                Err(_) => return Some(Read::Nothing),
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
    async fn read(&mut self, max: u64, claim: &Claim, patience: Duration) -> Read {
        if let Some(end) = self.end.take() {
            return end;
        }
        if let Some(end) = self.fill(claim, patience).await {
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

/// Reads a body and stores its bytes. The state of `upload` must be current. When this function returns, all bytes that
/// arrived are stored, unless the error says otherwise. It reads the next part while it stores the previous ones.
pub(crate) async fn ingest(
    worker: &Worker,
    upload: &Arc<OpenUpload>,
    context: &Context,
    run: &Run,
    stream: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin,
) -> Result<StoredBytes, PlaneError> {
    check(upload, run).await?;
    let verifier = run.checksum.map(Verifier::new);
    let mut body =
        Body { stream, rest: Bytes::new(), end: None, verifier, eviction: run.eviction.clone(), until: None };
    let holds_back = run.is_held_back(&upload.loaded.lock().await.state);
    let held_back = Mutex::new(Vec::new());
    let request = Request { worker, upload, context, run, held_back: holds_back.then_some(&held_back) };
    let mut offset = run.range.from;
    let mut ahead = None;
    let mut storing = Storing::default();
    let mut end = Read::Bytes(Bytes::new());
    let taken = async {
        while offset < run.range.to && matches!(end, Read::Bytes(_)) {
            let reading = request.read_part(offset, ahead.take(), &mut body);
            let read = storing.unless_failed(reading).await?.map_err(Failed::Reading)?;
            offset += read.part.received();
            end = read.end;
            ahead = read.part.next_ahead();
            storing.make_room(&request, read.part.part.len()).await?;
            storing.begin(&request, read.part);
            // A part that is being stored may hold the lock, so the parts must make progress while this waits for it.
            let loaded = storing.unless_failed(upload.loaded.lock()).await?;
            check_time(&loaded.state).map_err(Failed::Reading)?;
        }
        Ok(())
    };
    let taken: Result<(), Failed> = taken.await;
    // An error is returned only after the parts that were read before it are stored.
    let stored = storing.finish().await;
    let failed = match (taken, stored) {
        (Ok(()), Ok(())) => None,
        (Err(Failed::Reading(_)), Err(failed)) | (Err(failed), _) | (Ok(()), Err(failed)) => Some(failed),
    };
    if let Some(failed) = failed {
        request.forget_held_back().await;
        return Err(match failed {
            Failed::Reading(error) => error,
            Failed::Storing(error) => request.why(error).await,
        });
    }
    request.count_held_back().await?;
    match end {
        Read::Bytes(_) | Read::End => {}
        Read::Broken | Read::Nothing => return Err(PlaneError::Broken),
        Read::Evicted => return Err(PlaneError::Evicted),
        Read::NoRoom => return Err(PlaneError::NoRoom),
    }
    let loaded = upload.loaded.lock().await;
    let position = Position { partition: worker.log.partitions().of(upload.aggregate.company), seq: loaded.read_to };
    Ok(StoredBytes {
        received_bytes: offset - run.range.from,
        offset_bytes: loaded.state.stored.prefix(),
        position: position.to_string(),
    })
}

/// Failure while a body is read or stored.
enum Failed {
    Reading(PlaneError),
    Storing(PlaneError),
}

/// The parts of a body that are being stored.
#[derive(Default)]
struct Storing<'a> {
    parts: FuturesUnordered<BoxFuture<'a, Result<(), PlaneError>>>,
    /// Resolves when the newest part is recorded or has failed, with `true` if the log accepts events.
    newest: Option<oneshot::Receiver<bool>>,
}

impl<'a> Storing<'a> {
    /// Waits for `work` while parts are being stored. Returns early if one of them fails.
    async fn unless_failed<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failed> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                Some(stored) = self.parts.next() => stored.map_err(Failed::Storing)?,
                done = &mut work => return Ok(done),
            }
        }
    }

    /// Waits until one more part may be stored. One part is always allowed. More are allowed if this is faster and
    /// there is memory for them.
    async fn make_room(&mut self, request: &Request<'_>, part_bytes: u64) -> Result<(), Failed> {
        let Request { worker, upload, .. } = request;
        while !self.parts.is_empty() {
            let is_spare = request.held_back.is_none() && worker.budget.has_spare(upload.aggregate.company, part_bytes);
            if is_spare && worker.pace.allows(self.parts.len()) {
                break;
            }
            if let Some(stored) = self.parts.next().await {
                stored.map_err(Failed::Storing)?;
            }
        }
        Ok(())
    }

    /// Begins to store a part. Parts are recorded in the order of the file, even if the store receives a later one
    /// first.
    fn begin(&mut self, request: &'a Request<'a>, read: PartRead) {
        let (done, newest) = oneshot::channel();
        let mut before = Before { end: self.newest.replace(newest), takes_events: true };
        self.parts.push(Box::pin(async move {
            let kept = request.keep_part(read, &mut before).await;
            // Also wait for the previous part if this one was not recorded.
            let takes_events = before.takes_events().await && !matches!(kept, Err(PlaneError::Execute(_)));
            // There may be no next part that waits.
            done.send(takes_events).ok();
            kept
        }));
    }

    /// Waits for all parts. Returns the first failure.
    async fn finish(mut self) -> Result<(), Failed> {
        let mut first = Ok(());
        while let Some(stored) = self.parts.next().await {
            first = first.and(stored.map_err(Failed::Storing));
        }
        first
    }
}

/// The previous part of the same body.
struct Before {
    /// Resolves when the previous part has ended, with `true` if the log accepts events.
    end: Option<oneshot::Receiver<bool>>,
    takes_events: bool,
}

impl Before {
    /// Waits for the end of the previous part. Returns `false` if the log did not accept its event.
    async fn takes_events(&mut self) -> bool {
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
    async fn ended(&mut self) -> Result<(), PlaneError> {
        if self.takes_events().await {
            return Ok(());
        }
        let error = AppendError::Unavailable("the log did not accept the event of the previous part".to_owned());
        Err(PlaneError::Execute(error.into()))
    }
}

/// Returns an error if the upload has expired, so that a slow request cannot continue after the expiry.
fn check_time(state: &State) -> Result<(), PlaneError> {
    let over = state.started.as_ref().is_some_and(|started| now() >= started.expires_at);
    if over && state.phase == Phase::Active {
        return Err(Refusal::UploadEnded { status: "expired" }.into());
    }
    Ok(())
}

/// Checks that the upload accepts the range, according to its loaded state.
async fn check(upload: &OpenUpload, run: &Run) -> Result<(), PlaneError> {
    let range = run.range;
    let loaded = upload.loaded.lock().await;
    let state = &loaded.state;
    check_time(state)?;
    let complete = matches!(state.phase, Phase::Completed | Phase::Verified { .. });
    if !complete {
        state.check_takes_bytes()?;
    }
    let offset = state.stored.prefix();
    if run.sequential && range.from != offset {
        return Err(Refusal::OffsetMismatch { offset }.into());
    }
    // A repeated chunk of a complete upload is harmless: it is read, compared and discarded.
    if complete && state.stored.contains(range) {
        return Ok(());
    }
    state.check_takes_bytes()?;
    let size_bytes = state.grid().size_bytes;
    if range.to > size_bytes {
        return Err(Refusal::SizeExceeded { size_bytes }.into());
    }
    Ok(())
}

/// A request with bytes for an upload.
struct Request<'a> {
    worker: &'a Worker,
    upload: &'a Arc<OpenUpload>,
    context: &'a Context,
    run: &'a Run,
    /// Staged ranges that do not count yet. `None` if every range counts as soon as it is stored.
    held_back: Option<&'a Mutex<Vec<Staged>>>,
}

/// Bytes that a request has read for one part.
struct PartRead {
    part_number: u32,
    part: ByteRange,
    from: u64,
    /// Requested range, if the part is already stored.
    repeats: Option<ByteRange>,
    filled: Filled,
    /// `true` if the body continues after these bytes or has ended properly.
    is_sound: bool,
    room: Room,
    claim: Claim,
}

/// Result of reading one part.
struct Reading {
    part: PartRead,
    /// How reading ended. [`Read::Bytes`] means that there may be more bytes.
    end: Read,
}

impl PartRead {
    fn received(&self) -> u64 {
        self.filled.length
    }

    /// Returns the speculative digest for the next part, if this part is complete.
    fn next_ahead(&self) -> Option<Ahead> {
        let whole = self.received() == self.part.len();
        self.filled.ahead.as_ref().filter(|_| whole).map(|ahead| ahead.next(self.filled.crc64nvme))
    }
}

impl Request<'_> {
    /// Reads the bytes of the body for the part at `offset`.
    async fn read_part<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin>(
        &self,
        offset: u64,
        ahead: Option<Ahead>,
        body: &mut Body<S>,
    ) -> Result<Reading, PlaneError> {
        let Self { worker, upload, context, run, .. } = self;
        let (grid, least) = {
            let loaded = upload.loaded.lock().await;
            (loaded.state.grid(), loaded.state.least_piece())
        };
        let part_number = grid.part_at(offset);
        let part = grid.part(part_number);
        let wanted = ByteRange { from: offset, to: part.to.min(run.range.to) };
        let claim = upload.claim(part_number).await;
        self.check_first(offset).await?;
        // Not before the claim: the previous holder of the part may have stored it in the meantime.
        assemble_part(worker, upload, context, part_number, None).await?;
        let is_known = upload.loaded.lock().await.state.parts.contains_key(&part_number);
        body.wait(&claim).await;
        let mut room = worker.budget.begin(upload.aggregate.company, part.len()).await?;
        let ahead = if is_known || offset != part.from {
            None
        } else {
            ahead.filter(|ahead| ahead.is_of(part_number)).or_else(|| upload.hash().ahead(part_number))
        };
        let mut buffer = if is_known { PartBuffer::of_stored() } else { PartBuffer::new(wanted.len(), ahead) };
        let began = Instant::now();
        let end = loop {
            let is_enough = is_known || buffer.len() >= least;
            let trickles = !is_known && is_enough && trickles(run, began.elapsed(), buffer.len());
            if buffer.len() == wanted.len() || trickles {
                break Read::Bytes(Bytes::new());
            }
            if !is_enough && began.elapsed() >= PIECE_TIME {
                break Read::Nothing;
            }
            if !is_known && run.checksum.is_some() && began.elapsed() >= longest(wanted.len()) {
                // The body counts as broken: its bytes are kept, and the memory becomes free for other requests.
                break Read::Nothing;
            }
            let is_patient = is_known || run.checksum.is_some() || buffer.len() == 0 || !is_enough;
            let patience = if is_patient { STALL } else { IDLE };
            match body.read(wanted.len() - buffer.len(), &claim, patience).await {
                Read::Bytes(bytes) => {
                    buffer.push(&bytes);
                    // The client has filled the first memory, so the request now takes the memory of the whole part.
                    let is_enough = is_known || worker.budget.is_enough(&room, buffer.len() + READ_BYTES);
                    if !is_enough && worker.budget.grow(&mut room, part.len()).await.is_err() {
                        break Read::NoRoom;
                    }
                }
                Read::Nothing if patience == IDLE => break Read::Bytes(Bytes::new()),
                end => break end,
            }
        };
        if matches!(end, Read::Evicted) && run.eviction.goes_on_at(offset) {
            buffer = PartBuffer::new(0, None);
        }
        let last = offset + buffer.len() == run.range.to;
        if matches!(end, Read::Bytes(_)) && last {
            nothing_more(run, body, &claim).await?;
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
                room,
                claim,
            },
            end,
        })
    }

    /// Checks the offset again, because the request that this one waited for may have stored the same bytes.
    async fn check_first(&self, offset: u64) -> Result<(), PlaneError> {
        let Self { upload, run, .. } = self;
        let prefix = upload.loaded.lock().await.state.stored.prefix();
        if run.sequential && offset == run.range.from && prefix != offset {
            return Err(Refusal::OffsetMismatch { offset: prefix }.into());
        }
        Ok(())
    }

    /// Stores the bytes of a part, unless they are already stored: a whole part as a part, anything else as a staged
    /// object. Records them after `before` has ended. Only whole parts are sent to the store before that.
    async fn keep_part(&self, read: PartRead, before: &mut Before) -> Result<(), PlaneError> {
        let Self { worker, upload, context, .. } = self;
        let received = read.received();
        let PartRead { part_number, part, from, repeats, filled, is_sound, room, claim: _claim } = read;
        if repeats.is_none() && received == part.len() && self.held_back.is_none() {
            let in_hand = InHand { offset: from, bytes: &filled.bytes, crc64nvme: filled.crc64nvme };
            if is_stored(worker, upload, in_hand).await? {
                return Ok(());
            }
            let recorded = store_part(worker, upload, context, part_number, &filled).await?;
            before.ended().await?;
            return record_part(worker, upload, context, recorded, (part_number, filled)).await;
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
        stage_run(worker, upload, context, from, filled).await?;
        assemble_part(worker, upload, context, part_number, Some(room)).await
    }

    /// Records the staged ranges that were held back. The checksum of the body matches, or the body broke and it cannot
    /// be checked.
    async fn count_held_back(&self) -> Result<(), PlaneError> {
        let Self { worker, upload, context, .. } = self;
        for staged in self.take_held_back() {
            let part_number = upload.loaded.lock().await.state.grid().part_at(staged.offset);
            let _claim = upload.claim(part_number).await;
            record_staged(worker, upload, context, staged, None).await?;
            assemble_part(worker, upload, context, part_number, None).await?;
        }
        Ok(())
    }

    /// Deletes the staged ranges that were held back. If a deletion fails, the object is deleted when the upload ends.
    async fn forget_held_back(&self) {
        for staged in self.take_held_back() {
            if let Err(error) = self.worker.delete(&staged.storage_key).await {
                tracing::warn!(upload_id = %self.upload.aggregate.upload, %error, "cannot delete a staged object");
            }
        }
    }

    fn take_held_back(&self) -> Vec<Staged> {
        self.held_back.map(|held_back| std::mem::take(&mut *locked(held_back))).unwrap_or_default()
    }

    async fn check_again(&self) -> Result<(), PlaneError> {
        let Self { worker, upload, run, .. } = self;
        refresh(worker.log.as_ref(), &upload.aggregate, &mut *upload.loaded.lock().await).await?;
        check(upload, run).await
    }

    /// Returns the reason for a store error. If the upload has ended in the meantime, this is the reason. A changed
    /// offset is not the reason, because this request may have stored some of its bytes itself.
    async fn why(&self, error: PlaneError) -> PlaneError {
        let PlaneError::Store(error) = error else { return error };
        match self.check_again().await {
            Ok(()) | Err(PlaneError::Refused(Refusal::OffsetMismatch { .. })) => PlaneError::Store(error),
            Err(ended) => ended,
        }
    }
}

/// Returns the maximum time for bytes of a part that stay in memory until all of them have arrived.
fn longest(length: u64) -> Duration {
    GRACE + Duration::from_secs(length / SLOWEST_BYTES_PER_S)
}

/// Returns `true` if a part arrives too slowly to hold its memory. A part of a body with a checksum is not cut into
/// pieces; its limit is [`longest`].
fn trickles(run: &Run, elapsed: Duration, received: u64) -> bool {
    run.checksum.is_none()
        && received > 0
        && elapsed >= GRACE
        && received / elapsed.as_secs().max(1) < SLOWEST_BYTES_PER_S
}

/// Checks that the body ends at the end of its range. If it has one byte more, its last part is not stored.
async fn nothing_more<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin>(
    run: &Run,
    body: &mut Body<S>,
    claim: &Claim,
) -> Result<(), PlaneError> {
    match body.read(1, claim, STALL).await {
        Read::Bytes(_) => Err(PlaneError::BodyTooLong { allowed_bytes: run.range.len() }),
        // All bytes of the range have arrived, so a later failure of the connection does not matter.
        Read::End | Read::Broken | Read::Nothing | Read::Evicted | Read::NoRoom => Ok(()),
    }
}

/// Checks the checksum of a body that was received completely. If it does not match, the body is not stored. A body
/// that broke has no checksum to check: its bytes are kept like those of other bodies, and the digest of the file
/// decides.
fn check_digest<S>(body: &mut Body<S>, end: &Read) -> Result<(), PlaneError> {
    let Some(verifier) = body.verifier.take() else { return Ok(()) };
    if matches!(end, Read::Broken | Read::Nothing | Read::Evicted | Read::NoRoom) {
        return Ok(());
    }
    if verifier.is_met() { Ok(()) } else { Err(PlaneError::DigestMismatch) }
}
