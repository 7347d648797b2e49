//! Reads the body of a request as a stream, cuts it on the part grid, and stores the parts.

use super::body::{Body, Read};
use super::in_flight::{Failed, Storing};
use super::incoming::{IncomingRange, check, check_time};
use super::request::Ingest;
use super::{OpenUpload, PlaneError};
use crate::Worker;
use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::Stream;
use std::sync::{Arc, Mutex};
use waybill_data_plane::StoredBytes;
use waybill_repository::Context;
use waybill_schema::Position;

/// Reads a body and stores its bytes. The state of `upload` must be current. When this function returns, all bytes that
/// arrived are stored, unless the error says otherwise. It reads the next part while it stores the previous ones.
pub(crate) async fn ingest(
    worker: &Worker,
    upload: &Arc<OpenUpload>,
    context: &Context,
    incoming: &IncomingRange,
    stream: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin,
) -> Result<StoredBytes, PlaneError> {
    check(upload, incoming).await?;
    let mut body = Body::new(stream, incoming);
    let holds_back = incoming.is_held_back(&upload.loaded.lock().await.state);
    let held_back = Mutex::new(Vec::new());
    let request = Ingest { worker, upload, context, incoming, held_back: holds_back.then_some(&held_back) };
    let mut offset = incoming.range.from;
    let mut ahead = None;
    let mut storing = Storing::default();
    let mut end = Read::Bytes(Bytes::new());
    let taken = async {
        while offset < incoming.range.to && matches!(end, Read::Bytes(_)) {
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
        Read::Broken | Read::Idle => return Err(PlaneError::Broken),
        Read::Evicted => return Err(PlaneError::Evicted),
        Read::NoRoom => return Err(PlaneError::NoRoom),
    }
    let loaded = upload.loaded.lock().await;
    let position = Position { partition: worker.log.partitions().of(upload.aggregate.company), seq: loaded.read_to };
    Ok(StoredBytes {
        received_bytes: offset - incoming.range.from,
        offset_bytes: loaded.state.stored.prefix(),
        position: position.to_string(),
    })
}
