//! Reads the body of a request as a stream, cuts it on the part grid, and stores the parts: several at once, and recorded
//! in the order of the file.

use super::incoming::{Accepted, IncomingRange, Ingest, check, check_time};
use super::keep_part::Before;
use super::read_part::{Body, PartRead, Read};
use super::{OpenUpload, PlaneError};
use crate::Worker;
use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt};
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;
use waybill_data_plane::StoredBytes;
use waybill_repository::Context;
use waybill_schema::Position;
use waybill_service_kit::now;

/// Reads a body and stores its bytes. The state of `upload` must be current. When this function returns, all bytes that
/// arrived are stored, unless the error says otherwise. It reads the next part while it stores the previous ones.
pub(crate) async fn ingest(
    worker: &Worker,
    upload: &Arc<OpenUpload>,
    context: &Context,
    incoming: &IncomingRange,
    stream: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin,
) -> Result<StoredBytes, PlaneError> {
    let Accepted { grid, holds_back } = check(upload, incoming).await?;
    let mut body = Body::new(stream, incoming);
    let held_back = Mutex::new(Vec::new());
    let request = Ingest { worker, upload, context, incoming, grid, held_back: holds_back.then_some(&held_back) };
    let mut offset = incoming.range.from;
    let mut ahead = None;
    let mut storing = Storing::default();
    let mut end = Read::Bytes(Bytes::new());
    let taken = async {
        while offset < incoming.range.to && matches!(end, Read::Bytes(_)) {
            // Parts that are being stored must make progress while this one is read, because one may hold the lock of
            // the state.
            let reading = request.read_part(offset, ahead.take(), &mut body);
            let read = storing.unless_failed(reading).await?.map_err(Failed::Reading)?;
            offset += read.part.received();
            end = read.end;
            ahead = read.part.next_ahead();
            storing.make_room(&request, read.part.part.len()).await?;
            storing.begin(&request, read.part);
        }
        Ok(())
    };
    let taken: Result<(), Failed> = taken.await;
    // The time of the last byte counts, not that of its storage.
    let read_at = now();
    // An error is returned only after the parts that were read before it are stored.
    let stored = storing.finish().await;
    let failed = match (taken, stored) {
        (Ok(()), Ok(())) => None,
        (Err(Failed::Reading(_)), Err(failed)) | (Err(failed), _) | (Ok(()), Err(failed)) => Some(failed),
    };
    let failed = match failed {
        None if holds_back => check_time(&upload.loaded.lock().await.state, read_at).err().map(Failed::Reading),
        failed => failed,
    };
    if let Some(failed) = failed {
        request.forget_held_back().await;
        return Err(match failed {
            Failed::Reading(error) => error,
            Failed::Storing(error) => request.why(error).await,
        });
    }
    request.count_held_back().await?;
    let loaded = upload.loaded.lock().await;
    check_time(&loaded.state, read_at)?;
    match end {
        Read::Bytes(_) | Read::End => {}
        Read::Broken | Read::Idle => return Err(PlaneError::Broken),
        Read::Evicted => return Err(PlaneError::Evicted),
        Read::NoRoom => return Err(PlaneError::NoRoom),
    }
    let position = Position { partition: worker.log.partitions().of(upload.aggregate.company), seq: loaded.read_to };
    Ok(StoredBytes {
        received_bytes: offset - incoming.range.from,
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
    async fn make_room(&mut self, request: &Ingest<'_>, part_bytes: u64) -> Result<(), Failed> {
        let Ingest { worker, upload, .. } = request;
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
    fn begin(&mut self, request: &'a Ingest<'a>, read: PartRead) {
        let (done, newest) = oneshot::channel();
        let mut before = Before::new(self.newest.replace(newest));
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
