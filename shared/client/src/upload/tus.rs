//! `--protocol tus`: tus 1.0. One PATCH request sends all missing bytes. After an interruption, another PATCH continues
//! at the offset that Waybill reports.

use super::error::UploadError;
use super::sender::{Counted, PIECE, Sent};
use super::transfer::Upload;
use crate::api::ApiError;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use reqwest::{Body, Method, RequestBuilder, Response};
use sha2::{Digest, Sha256};
use std::io::SeekFrom;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use uuid::Uuid;
use waybill_schema::Sha256Digest;

const VERSION: (&str, &str) = ("Tus-Resumable", "1.0.0");

/// Digest over the file from its first byte on, even if a request starts at a later offset.
struct Running {
    sha256: Sha256,
    hashed: u64,
}

impl Running {
    /// Hashes those of the bytes at `offset` that were not hashed before.
    fn take(&mut self, offset: u64, bytes: &[u8]) {
        let known = self.hashed.saturating_sub(offset);
        if offset <= self.hashed
            && let Some(new) = usize::try_from(known).ok().and_then(|known| bytes.get(known..))
        {
            self.sha256.update(new);
            self.hashed += new.len() as u64;
        }
    }
}

/// Starts an upload and returns its id.
pub(super) async fn start(
    upload: &Upload<'_>,
    session_id: Option<&str>,
    idempotency_key: Uuid,
) -> Result<String, UploadError> {
    let plan = upload.plan;
    let mut metadata = vec![("filename", plan.name.as_str()), ("filetype", plan.mime_type.as_str())];
    metadata.extend(session_id.map(|id| ("session_id", id)));
    metadata.extend(plan.chatroom.as_deref().map(|id| ("chatroom_id", id)));
    metadata.extend(plan.thread.as_deref().map(|id| ("thread_id", id)));
    let pairs: Vec<String> =
        metadata.into_iter().map(|(key, value)| format!("{key} {}", BASE64.encode(value))).collect();
    let api = &upload.shared.api;
    let created = upload
        .persist(|| {
            let request = request(upload, Method::POST, "/tus/")
                .header("Upload-Length", plan.size_bytes())
                .header("Upload-Metadata", pairs.join(","))
                .header("Idempotency-Key", idempotency_key.to_string());
            api.send_soon(request)
        })
        .await?;
    let location = header(&created, "Location").unwrap_or_default();
    let id = location.rsplit('/').next().filter(|id| !id.is_empty());
    Ok(id.ok_or_else(|| api.strange("no Location"))?.to_owned())
}

/// Sends the missing bytes.
pub(super) async fn send_rest(upload: &Upload<'_>, upload_id: &str) -> Result<Sent, UploadError> {
    let size_bytes = upload.plan.size_bytes();
    let running = Arc::new(Mutex::new(Running { sha256: Sha256::new(), hashed: 0 }));
    let mut offset = upload.persist(|| offset(upload, upload_id)).await?;
    read_up_to(upload, &running, offset).await?;
    while offset < size_bytes {
        let counted = Counted::of(upload);
        let sent = patch(upload, upload_id, offset, &running, &counted).await;
        let reached = match sent {
            Ok(reached) => reached,
            Err(UploadError::Api(error)) => {
                counted.keep(0);
                let look = || self::offset(upload, upload_id);
                upload.patience.recover(error, look, |error, pause| upload.waits(error, pause)).await?
            }
            Err(error) => return Err(error),
        };
        counted.keep(reached - offset);
        if reached > offset {
            upload.patience.progress();
            upload.bar.set_message("");
        }
        offset = reached;
    }
    read_up_to(upload, &running, size_bytes).await?;
    let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
    let digest: [u8; 32] = std::mem::take(&mut running.sha256).finalize().into();
    Ok(Sent { sha256: Sha256Digest(digest).to_string(), read_bytes: running.hashed })
}

fn request(upload: &Upload<'_>, method: Method, path: &str) -> RequestBuilder {
    upload.shared.api.request(method, path).header(VERSION.0, VERSION.1)
}

fn header(response: &Response, name: &str) -> Option<String> {
    response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

async fn offset(upload: &Upload<'_>, upload_id: &str) -> Result<u64, ApiError> {
    let api = &upload.shared.api;
    let answer = api.send_soon(request(upload, Method::HEAD, &format!("/tus/{upload_id}"))).await?;
    offset_of(upload, &answer)
}

fn offset_of(upload: &Upload<'_>, answer: &Response) -> Result<u64, ApiError> {
    let offset = header(answer, "Upload-Offset").and_then(|offset| offset.parse().ok());
    offset.ok_or_else(|| upload.shared.api.strange("no Upload-Offset"))
}

/// Sends one PATCH request with all bytes from `offset` on. Returns the new offset.
async fn patch(
    upload: &Upload<'_>,
    upload_id: &str,
    offset: u64,
    running: &Arc<Mutex<Running>>,
    counted: &Counted,
) -> Result<u64, UploadError> {
    let _permit = upload.shared.requests.acquire().await;
    let mut file = File::open(&upload.plan.path).await?;
    file.seek(SeekFrom::Start(offset)).await?;
    let request = request(upload, Method::PATCH, &format!("/tus/{upload_id}"))
        .header("Upload-Offset", offset)
        .header("Content-Type", "application/offset+octet-stream")
        .header("Content-Length", upload.plan.size_bytes() - offset)
        .body(body(file, offset, running.clone(), counted.clone()));
    let answer = counted.watched(upload, request).await?;
    Ok(offset_of(upload, &answer)?)
}

fn body(file: File, offset: u64, running: Arc<Mutex<Running>>, counted: Counted) -> Body {
    let pieces = stream::unfold((file, offset), move |(mut file, offset)| {
        let (running, counted) = (running.clone(), counted.clone());
        async move {
            let mut piece = vec![0; PIECE];
            match file.read(&mut piece).await {
                Ok(0) => None,
                Ok(length) => {
                    piece.truncate(length);
                    running.lock().unwrap_or_else(PoisonError::into_inner).take(offset, &piece);
                    counted.count(length as u64);
                    Some((Ok(Bytes::from(piece)), (file, offset + length as u64)))
                }
                Err(error) => Some((Err(error), (file, offset))),
            }
        }
    });
    Body::wrap_stream(pieces.boxed())
}

/// Reads and hashes the bytes up to `to` that were not hashed before, for example those that an earlier run has sent.
async fn read_up_to(upload: &Upload<'_>, running: &Mutex<Running>, to: u64) -> Result<(), UploadError> {
    let from = running.lock().unwrap_or_else(PoisonError::into_inner).hashed;
    if from >= to {
        return Ok(());
    }
    let mut file = File::open(&upload.plan.path).await?;
    file.seek(SeekFrom::Start(from)).await?;
    let mut left = file.take(to - from);
    let mut piece = vec![0; 16 * PIECE];
    let mut offset = from;
    loop {
        let length = left.read(&mut piece).await?;
        if length == 0 {
            return Ok(());
        }
        running.lock().unwrap_or_else(PoisonError::into_inner).take(offset, &piece[..length]);
        offset += length as u64;
    }
}
