//! Reading of the bytes of a file from the object store.

use crate::application::gateway::Gateway;
use crate::application::tokens::running::Sending;
use crate::http::problems::OrProblem;
use actix_web::body::SizedStream;
use actix_web::{HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use uuid::Uuid;
use waybill_access::Transfer;
use waybill_http_kit::Problem;
use waybill_http_kit::slots::Slot;
use waybill_object_store::StoreError;
use waybill_read_model::queries::File;
use waybill_repository::ContentAggregate;
use waybill_schema::{ByteRange, CompanyId, UploadId};
use waybill_service_kit::now;

/// Sends the bytes of `range`, as long as `transfer` may continue. Keeps `slot` until the last byte was sent. With `sending`,
/// records which bytes were sent, for downloads with a token.
pub(crate) async fn send_noted(
    gateway: &Gateway,
    file: &File,
    answer: HttpResponseBuilder,
    range: ByteRange,
    sending: Option<Sending>,
    slot: Slot,
    transfer: Transfer,
) -> Result<HttpResponse, Problem> {
    let key = file.storage_key.as_deref().ok_or_else(|| Problem::not_found("file"))?;
    let mut body = gateway.store.get(key, range.from, Some(range.len())).await;
    if let Err(StoreError::NotFound { .. }) = body {
        // The bytes may have moved to an object that several files share. The log has the new key; the read model may
        // not have it yet.
        let shared = shared_key(gateway, file).await?.filter(|shared| shared != key);
        let shared = shared.ok_or_else(|| Problem::not_found("file"))?;
        body = gateway.store.get(&shared, range.from, Some(range.len())).await;
    }
    let body = body.or_problem("reading a file")?;
    let bytes = while_permitted(body.bytes, transfer, file.id);
    let bytes = match sending {
        Some(sending) => sending.note(bytes).boxed(),
        None => bytes,
    };
    Ok(with_bytes(answer, range.len(), bytes, slot))
}

/// Builds the response with the bytes of an object. Keeps `slot` until the last byte was sent.
pub(crate) fn with_bytes(
    mut answer: HttpResponseBuilder,
    length: u64,
    bytes: BoxStream<'static, Result<Bytes, StoreError>>,
    slot: Slot,
) -> HttpResponse {
    let bytes = bytes.inspect(move |_| {
        let _held = &slot;
    });
    let bytes = bytes.map(|bytes| bytes.map_err(|error| Box::new(error) as Box<dyn std::error::Error>));
    answer.body(SizedStream::new(length, bytes))
}

/// Ends the body with an error after the access to the file has ended. The connection breaks, so that the client
/// notices that the file is incomplete.
fn while_permitted(
    body: BoxStream<'static, Result<Bytes, StoreError>>,
    transfer: Transfer,
    file_id: Uuid,
) -> BoxStream<'static, Result<Bytes, StoreError>> {
    stream::unfold(Some((body, transfer)), move |running| async move {
        let (mut body, mut transfer) = running?;
        if !transfer.may_continue(now).await {
            tracing::info!(%file_id, "stopping a download because the access to the file has ended");
            let reason = "the access to the file has ended".to_owned();
            return Some((Err(StoreError::Unavailable { operation: "sending a file", reason }), None));
        }
        let bytes = body.next().await?;
        Some((bytes, Some((body, transfer))))
    })
    .boxed()
}

/// Returns the key of an existing object with the file's bytes: the key in the read model, or the key of the object
/// that replaced it according to the log.
pub(crate) async fn key_of(gateway: &Gateway, file: &File) -> Result<String, Problem> {
    let key = file.storage_key.as_deref().ok_or_else(|| Problem::not_found("file"))?;
    let is_there = gateway.store.size(key).await.or_problem("looking at a file")?.is_some();
    if is_there {
        return Ok(key.to_owned());
    }
    let shared = shared_key(gateway, file).await?.filter(|shared| shared != key);
    shared.ok_or_else(|| Problem::not_found("file"))
}

/// Returns the key of the company's object with the file's digest, if the file refers to that object.
async fn shared_key(gateway: &Gateway, file: &File) -> Result<Option<String>, Problem> {
    let Some(sha256) = file.hash.as_deref().and_then(|hash| hash.parse().ok()) else { return Ok(None) };
    let content = ContentAggregate { company: CompanyId(file.company_id), sha256 };
    let state = gateway.repository.load(&content).await.or_problem("loading content")?.state;
    let refers = state.references.contains(&UploadId(file.id));
    Ok(state.object.filter(|_| refers).map(|object| object.storage_key))
}
