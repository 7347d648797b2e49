//! Sends the bytes of a file. It reads and hashes the file once, in order, and sends chunks in parallel. It sends only
//! the missing bytes of each chunk.

use super::args::Protocol;
use super::error::UploadError;
use super::transfer::Upload;
use crate::api::ApiError;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::{self, FuturesUnordered, StreamExt};
use indicatif::ProgressBar;
use reqwest::{Body, Method, RequestBuilder, Response, header};
use sha2::{Digest, Sha256};
use std::convert::Infallible;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, BufReader};
use waybill_api::parts::{PartToSign, PartsToSign, Report, SignedParts, StoredPart};
use waybill_api::uploads::UploadStatus;
use waybill_data_plane::Checksum;
use waybill_schema::Sha256Digest;

/// Number of bytes that are passed to the connection at once. It is small so that the progress bar moves smoothly.
pub(super) const PIECE: usize = 64 * 1_024;
/// Time after which a request is aborted if no byte is sent, or no answer arrives after the last byte.
const STALL: Duration = Duration::from_secs(60);
/// Interval between checks for a stalled request.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Digest and number of the bytes that were read from the file.
pub(super) struct Sent {
    pub(super) sha256: String,
    pub(super) read_bytes: u64,
}

/// Sends the bytes that are missing according to `status`.
pub(super) async fn send_chunks(
    upload: &Upload<'_>,
    upload_id: &str,
    status: &UploadStatus,
) -> Result<Sent, UploadError> {
    let UploadStatus { part_size_bytes: part_size, total_chunks, .. } = *status;
    let missing = match upload.shared.protocol {
        // The object store has a part completely or not at all.
        Protocol::Direct => whole_chunks(&missing(&status.missing), part_size, upload.plan.size_bytes()),
        Protocol::Native | Protocol::Tus => missing(&status.missing),
    };
    let mut file = BufReader::with_capacity(1_024 * 1_024, File::open(&upload.plan.path).await?);
    let mut sha256 = Sha256::new();
    let mut read_bytes = 0;
    let mut sending = FuturesUnordered::new();
    for index in 0..total_chunks {
        let begin = u64::from(index) * part_size;
        // Running requests continue while chunks that are already uploaded are hashed.
        while let Some(Some(sent)) = sending.next().now_or_never() {
            sent?;
        }
        let chunk = begin..(begin + part_size).min(upload.plan.size_bytes());
        let gaps = within(&missing, &chunk);
        // The permit is acquired before reading, so that memory holds only chunks that are being sent, and the current
        // one.
        let permit = if gaps.is_empty() {
            None
        } else {
            Some(loop {
                tokio::select! {
                    permit = upload.shared.requests.acquire() => break permit,
                    Some(sent) = sending.next() => sent?,
                }
            })
        };
        let mut bytes = Vec::with_capacity(usize::try_from(chunk.end - chunk.start).unwrap_or(0));
        (&mut file).take(chunk.end - chunk.start).read_to_end(&mut bytes).await?;
        read_bytes += bytes.len() as u64;
        if bytes.len() as u64 != chunk.end - chunk.start {
            return Err(UploadError::Changed);
        }
        sha256.update(&bytes);
        if permit.is_some() {
            let chunk = Chunk { index, begin, range: chunk, bytes: bytes.into() };
            sending.push(async move {
                let _permit = permit;
                chunk.send(upload, upload_id, gaps).await
            });
        }
    }
    while let Some(sent) = sending.next().await {
        sent?;
    }
    let digest: [u8; 32] = sha256.finalize().into();
    Ok(Sent { sha256: Sha256Digest(digest).to_string(), read_bytes })
}

/// Converts the missing ranges of the status of an upload.
fn missing(gaps: &[[u64; 2]]) -> Vec<Range<u64>> {
    gaps.iter().map(|[from, to]| *from..*to).collect()
}

/// Extends the missing ranges to whole chunks.
fn whole_chunks(gaps: &[Range<u64>], part_size: u64, size_bytes: u64) -> Vec<Range<u64>> {
    let part_size = part_size.max(1);
    let widened =
        |gap: &Range<u64>| gap.start / part_size * part_size..(gap.end.div_ceil(part_size) * part_size).min(size_bytes);
    gaps.iter().map(widened).collect()
}

/// Returns the parts of the missing ranges that are inside of `range`.
fn within(gaps: &[Range<u64>], range: &Range<u64>) -> Vec<Range<u64>> {
    let cut = |gap: &Range<u64>| gap.start.max(range.start)..gap.end.min(range.end);
    gaps.iter().map(cut).filter(|gap| gap.start < gap.end).collect()
}

/// Chunk with its bytes.
struct Chunk {
    index: u32,
    begin: u64,
    range: Range<u64>,
    bytes: Bytes,
}

impl Chunk {
    /// Sends the missing ranges of the chunk. After an error, sends those that are still missing.
    async fn send(&self, upload: &Upload<'_>, upload_id: &str, mut gaps: Vec<Range<u64>>) -> Result<(), UploadError> {
        while let Some(gap) = gaps.first().cloned() {
            let counted = Counted::of(upload);
            match self.put(upload, upload_id, &gap, &counted).await {
                Ok(()) => {
                    counted.keep(gap.end - gap.start);
                    upload.patience.progress();
                    upload.bar.set_message("");
                    gaps.remove(0);
                }
                Err(error) => {
                    // The bar shows only bytes that are acknowledged or are being sent.
                    counted.keep(0);
                    upload.patience.wait(error, |error, pause| upload.waits(error, pause)).await?;
                    let left = self.left(upload, upload_id, &gaps).await?;
                    counted.keep(length(&gaps) - length(&left));
                    if left != gaps {
                        upload.patience.progress();
                    }
                    gaps = left;
                }
            }
        }
        Ok(())
    }

    /// Returns the ranges of `gaps` that are still missing.
    async fn left(
        &self,
        upload: &Upload<'_>,
        upload_id: &str,
        gaps: &[Range<u64>],
    ) -> Result<Vec<Range<u64>>, UploadError> {
        let request = upload.shared.api.get(&format!("/v1/uploads/{upload_id}"));
        match upload.shared.api.json::<UploadStatus>(request).await {
            Ok(status) => {
                let missing = missing(&status.missing);
                Ok(gaps.iter().flat_map(|gap| within(&missing, gap)).collect())
            }
            // It is harmless to send bytes that are already uploaded.
            Err(error) if error.is_passing() => Ok(gaps.to_vec()),
            Err(error) => Err(error.into()),
        }
    }

    async fn put(
        &self,
        upload: &Upload<'_>,
        upload_id: &str,
        gap: &Range<u64>,
        counted: &Counted,
    ) -> Result<(), ApiError> {
        let api = &upload.shared.api;
        if upload.shared.protocol == Protocol::Direct {
            return self.put_directly(upload, upload_id, counted).await;
        }
        let at = |offset: u64| usize::try_from(offset - self.begin).unwrap_or(usize::MAX);
        let body = self.bytes.slice(at(gap.start)..at(gap.end));
        let mut request = api
            .request(Method::PUT, &format!("/v1/uploads/{upload_id}/chunks/{}", self.index))
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CONTENT_LENGTH, body.len());
        if *gap != self.range {
            let range = format!("bytes {}-{}/{}", gap.start, gap.end - 1, upload.plan.size_bytes());
            request = request.header(header::CONTENT_RANGE, range);
        }
        counted.watched(upload, request.body(counted.body(body))).await.map(drop)
    }

    /// Sends the whole chunk to the object store as a part: requests a presigned URL, sends the bytes, and reports the
    /// ETag.
    async fn put_directly(&self, upload: &Upload<'_>, upload_id: &str, counted: &Counted) -> Result<(), ApiError> {
        let api = &upload.shared.api;
        let part_number = self.index + 1;
        let checksum = Checksum::crc32_of(&self.bytes).to_string();
        let part = PartToSign { part_number, size_bytes: self.bytes.len() as u64, checksum };
        let request = api.request(Method::POST, &format!("/v1/uploads/{upload_id}/parts/sign"));
        let signed: SignedParts = api.json(request.json(&PartsToSign { parts: vec![part] })).await?;
        let signed = signed.parts.first().ok_or_else(|| api.strange("no signed part"))?;
        let request = api.signed(signed)?.header(header::CONTENT_LENGTH, self.bytes.len());
        let answer = counted.watched(upload, request.body(counted.body(self.bytes.clone()))).await;
        let stored = answer.map_err(|error| api.by_store(error))?;
        let etag = stored.headers().get(header::ETAG).and_then(|etag| etag.to_str().ok());
        let etag = etag.ok_or_else(|| api.strange("the answer of the store has no ETag"))?;
        let request = api.request(Method::POST, &format!("/v1/uploads/{upload_id}/parts"));
        let report = Report::One(StoredPart { part_number, etag: etag.to_owned() });
        api.send_soon(request.json(&report)).await.map(drop)
    }
}

fn length(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

/// Counts the bytes of a request. The progress bars show them until it is known whether they arrived.
#[derive(Clone)]
pub(super) struct Counted {
    bars: [ProgressBar; 2],
    shown: Arc<AtomicU64>,
    sent: Arc<AtomicU64>,
    moved_at: Arc<Mutex<Instant>>,
}

impl Counted {
    /// Creates a counter for a file and the total. `sent` counts all sent bytes, even if they do not arrive.
    pub(super) fn new(file: &ProgressBar, total: &ProgressBar, sent: &Arc<AtomicU64>) -> Self {
        let bars = [file.clone(), total.clone()];
        Self { bars, shown: Arc::default(), sent: sent.clone(), moved_at: Arc::new(Mutex::new(Instant::now())) }
    }

    pub(super) fn of(upload: &Upload<'_>) -> Self {
        Self::new(&upload.bar, &upload.shared.total, &upload.sent_bytes)
    }

    /// Returns a body with the bytes that moves the progress bars.
    fn body(&self, bytes: Bytes) -> Body {
        let counted = self.clone();
        let pieces = (0..bytes.len()).step_by(PIECE).map(move |at| {
            let piece = bytes.slice(at..(at + PIECE).min(bytes.len()));
            counted.count(piece.len() as u64);
            Ok::<_, Infallible>(piece)
        });
        Body::wrap_stream(stream::iter(pieces))
    }

    pub(super) fn count(&self, bytes: u64) {
        self.shown.fetch_add(bytes, Ordering::Relaxed);
        self.sent.fetch_add(bytes, Ordering::Relaxed);
        *self.moved_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        for bar in &self.bars {
            bar.inc(bytes);
        }
    }

    /// Records that only `bytes` of the shown bytes arrived, and removes the others from the progress bars.
    pub(super) fn keep(&self, bytes: u64) {
        let shown = self.shown.swap(0, Ordering::Relaxed);
        for bar in &self.bars {
            // A bar that moves backwards forgets its speed, so it moves backwards only if necessary.
            match bytes.checked_sub(shown) {
                Some(more) => bar.inc(more),
                None => bar.set_position(bar.position().saturating_sub(shown - bytes)),
            }
        }
    }

    /// Sends a request whose body moves the progress bars. Aborts it if no byte moves for `STALL`.
    pub(super) async fn watched(&self, upload: &Upload<'_>, request: RequestBuilder) -> Result<Response, ApiError> {
        let api = &upload.shared.api;
        let answer = api.send(request);
        tokio::pin!(answer);
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return answer,
                () = tokio::time::sleep(LOOK_EVERY) => {
                    if self.stands_for() > STALL {
                        return Err(api.unreachable_because(format!("the transfer stalled for {} s", STALL.as_secs())));
                    }
                }
            }
        }
    }

    fn stands_for(&self) -> Duration {
        self.moved_at.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_of_a_chunk_is_sent() {
        let gaps = missing(&[[0, 5], [8, 30], [100, 120]]);
        assert_eq!(within(&gaps, &(0..10)), [0..5, 8..10]);
        assert_eq!(within(&gaps, &(10..20)), vec![10_u64..20; 1]);
        assert_eq!(within(&gaps, &(30..100)), []);
        assert_eq!(length(&within(&gaps, &(0..200))), 47);
    }

    #[test]
    fn the_bars_show_what_arrived() {
        let (file, total) = (ProgressBar::hidden(), ProgressBar::hidden());
        let sent = Arc::default();
        let counted = Counted::new(&file, &total, &sent);
        counted.count(100);
        assert_eq!(file.position(), 100);
        counted.keep(0);
        assert_eq!((file.position(), total.position()), (0, 0));
        counted.keep(40);
        assert_eq!((file.position(), sent.load(Ordering::Relaxed)), (40, 100), "lost bytes count as sent");
    }
}
