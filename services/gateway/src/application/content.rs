//! Reading of the bytes of a file from the object store.

use crate::application::at_once::Download;
use crate::application::gateway::Gateway;
use crate::application::plain::{needed, splice};
use crate::application::tokens::running::Sending;
use crate::http::download::archived;
use crate::http::problems::{IntoProblem, OrProblem};
use actix_web::body::SizedStream;
use actix_web::{HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use std::rc::Rc;
use uuid::Uuid;
use waybill_access::Transfer;
use waybill_domain::location::pieces_within;
use waybill_http_kit::Problem;
use waybill_object_store::StoreError;
use waybill_read_model::queries::File;
use waybill_repository::ContentAggregate;
use waybill_schema::{ByteRange, CompanyId, PlainForm, UploadId, names};
use waybill_service_kit::now;

type Body = BoxStream<'static, Result<Bytes, StoreError>>;

/// Bytes that are sent: those of a file or, with a form, those without its metadata.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) file: &'a File,
    pub(crate) form: Option<&'a PlainForm>,
}

impl Source<'_> {
    /// Reads a range of the bytes.
    pub(crate) async fn read(self, gateway: &Gateway, range: ByteRange) -> Result<Body, Problem> {
        let (file, size_bytes) = (self.file, self.file.size_bytes.unsigned_abs());
        let pieces = self.form.map(|form| pieces_within(form, range));
        let place = pieces.as_deref().map_or(range, |pieces| needed(pieces).unwrap_or(ByteRange { from: 0, to: 0 }));
        let bytes = if place.is_empty() && pieces.is_some() {
            stream::empty().boxed()
        } else {
            let read = async |key: &str| gateway.file_bytes.get(key, size_bytes, place).await;
            at_its_key(gateway, file, Form::Any, read).await?.bytes
        };
        Ok(match pieces {
            Some(pieces) => splice(pieces, bytes, place.from),
            None => bytes,
        })
    }
}

/// Sends the bytes of `range`, as long as `transfer` may continue. Keeps `download` until the last byte was sent. With `sending`,
/// records which bytes were sent, for downloads with a token.
pub(crate) async fn send_noted(
    gateway: &Gateway,
    source: Source<'_>,
    answer: HttpResponseBuilder,
    range: ByteRange,
    sending: Option<Sending>,
    download: Download,
    transfer: Transfer,
) -> Result<HttpResponse, Problem> {
    let (file, bytes) = (source.file, source.read(gateway, range).await?);
    gateway.last_reads.note(CompanyId(file.company_id), UploadId(file.id));
    let bytes = while_permitted(bytes, transfer, file.id);
    let bytes = match sending {
        Some(sending) => sending.note(bytes).boxed(),
        None => bytes,
    };
    Ok(with_bytes(answer, range.len(), bytes, download))
}

/// Sends the compressed bytes of a file, as long as `transfer` may continue. Keeps `download` until the last byte was sent.
pub(crate) async fn send_compressed(
    gateway: &Gateway,
    file: &File,
    answer: HttpResponseBuilder,
    download: Download,
    transfer: Transfer,
) -> Result<HttpResponse, Problem> {
    let size_bytes = file.size_bytes.unsigned_abs();
    let read = async |key: &str| gateway.file_bytes.frames(key, size_bytes).await;
    let body = at_its_key(gateway, file, Form::Compressed, read).await?;
    gateway.last_reads.note(CompanyId(file.company_id), UploadId(file.id));
    let bytes = while_permitted(body.bytes, transfer, file.id);
    Ok(with_bytes(answer, body.length, bytes, download))
}

/// Returns the number of bytes that [`send_compressed`] sends.
pub(crate) async fn compressed_length(gateway: &Gateway, file: &File) -> Result<u64, Problem> {
    let size_bytes = file.size_bytes.unsigned_abs();
    let read = async |key: &str| gateway.file_bytes.frames_length(key, size_bytes).await;
    at_its_key(gateway, file, Form::Compressed, read).await
}

/// Form of the object that an answer needs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Any,
    Compressed,
}

/// Reads the object of a file: at the key in the read model or, if that object was replaced, at the key in the log. If the new object does
/// not have the form that the answer needs, the client must send the request again, because the answer has other headers then.
async fn at_its_key<T>(
    gateway: &Gateway,
    file: &File,
    form: Form,
    read: impl AsyncFn(&str) -> Result<T, StoreError>,
) -> Result<T, Problem> {
    let key = file.storage_key.as_deref().ok_or_else(|| Problem::not_found("file"))?;
    let found = match read(key).await {
        Err(StoreError::NotFound { .. }) => {
            let moved = moved_key(gateway, file, key).await?;
            if form == Form::Compressed && !names::is_compressed(&moved) {
                return Err(Problem::unavailable("the file was just moved; try again"));
            }
            read(&moved).await
        }
        found => found,
    };
    found.map_err(unreadable)
}

/// The file may have been archived after its row was read.
fn unreadable(error: StoreError) -> Problem {
    match error {
        StoreError::Archived { .. } => archived(),
        error => error.into_problem("reading a file"),
    }
}

/// Builds the response with the bytes of an object. Keeps `download` until the last byte was sent.
pub(crate) fn with_bytes(
    mut answer: HttpResponseBuilder,
    length: u64,
    bytes: impl Stream<Item = Result<Bytes, StoreError>> + 'static,
    download: Download,
) -> HttpResponse {
    let download = Rc::new(download);
    let bytes = bytes.then(move |bytes| {
        let download = download.clone();
        async move {
            if let Ok(bytes) = &bytes {
                download.take(bytes.len()).await;
            }
            bytes.map_err(|error| Box::new(error) as Box<dyn std::error::Error>)
        }
    });
    answer.body(SizedStream::new(length, bytes))
}

/// Ends the body with an error after the access to the file has ended. The connection breaks, so that the client
/// notices that the file is incomplete.
pub(crate) fn while_permitted(
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
    if is_there { Ok(key.to_owned()) } else { moved_key(gateway, file, key).await }
}

/// Returns the key of the object that has replaced the one at `key`. The log has it; the read model may not have it yet.
async fn moved_key(gateway: &Gateway, file: &File, key: &str) -> Result<String, Problem> {
    let not_found = || Problem::not_found("file");
    let sha256 = file.hash.as_deref().and_then(|hash| hash.parse().ok()).ok_or_else(not_found)?;
    let content = ContentAggregate { company: CompanyId(file.company_id), sha256 };
    let moved = gateway.repository.key_of_file(&content, UploadId(file.id), key).await.or_problem("loading content")?;
    if moved == key { Err(not_found()) } else { Ok(moved) }
}
