//! Forwarding of bytes to an upload of unknown length. The gateway reserves quota before it forwards the bytes.

use crate::application::gateway::Gateway;
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::web;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::cell::RefCell;
use std::rc::Rc;
use waybill_data_plane::{PutBytes, StoredBytes};
use waybill_domain::limits::RESERVATION_STEP_BYTES;
use waybill_http_kit::Problem;
use waybill_repository::Context;

/// Sends the bytes to a worker and raises the reservation in steps before the bytes need it, up to `max_bytes`.
///
/// # Errors
/// The refusal of a raise, for example 413 `quota_exceeded`, and the errors of the worker.
pub(crate) async fn send(
    gateway: &web::Data<Gateway>,
    context: &Context,
    bytes: PutBytes,
    payload: Payload,
    max_bytes: u64,
) -> Result<StoredBytes, Problem> {
    let (gateway, context, company, upload) = (gateway.clone(), context.clone(), bytes.company, bytes.upload);
    let workers = gateway.workers.clone();
    let first = match bytes.content_length {
        Some(_) => bytes.range.to,
        None => (bytes.range.from + 1).next_multiple_of(RESERVATION_STEP_BYTES).min(max_bytes),
    };
    gateway.reserver.raise(company, upload, first, max_bytes, &context).await?;
    let refusal: Rc<RefCell<Option<Problem>>> = Rc::default();
    let told = refusal.clone();
    let begin = (payload, bytes.range.from, first, false);
    let growing = stream::unfold(begin, move |(mut payload, mut offset, mut reserved, ended)| {
        let (gateway, context, told) = (gateway.clone(), context.clone(), told.clone());
        async move {
            let next = if ended { None } else { payload.next().await };
            let item: Result<Bytes, PayloadError> = next?;
            let Ok(chunk) = item else { return Some((item, (payload, offset, reserved, true))) };
            offset += chunk.len() as u64;
            if offset > reserved {
                reserved = offset.next_multiple_of(RESERVATION_STEP_BYTES).min(max_bytes.max(offset));
                let raised = gateway.reserver.raise(company, upload, reserved, max_bytes, &context).await;
                if let Err(problem) = raised {
                    told.replace(Some(problem));
                    return Some((Err(PayloadError::Incomplete(None)), (payload, offset, reserved, true)));
                }
            }
            Some((Ok(chunk), (payload, offset, reserved, false)))
        }
    });
    let stored = workers.put_bytes(bytes, Payload::Stream { payload: growing.boxed_local() }).await;
    match refusal.take() {
        Some(problem) => Err(problem),
        None => stored,
    }
}
