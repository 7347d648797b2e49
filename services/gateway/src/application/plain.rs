//! Pictures without metadata, for users other than the uploader and admins.

use crate::application::gateway::Gateway;
use crate::application::shown::Plain;
use crate::http::problems::OrProblem;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use std::collections::VecDeque;
use waybill_domain::access::{FileFacts, Viewer};
use waybill_domain::location::may_have_place;
use waybill_http_kit::Problem;
use waybill_object_store::StoreError;
use waybill_read_model::queries::File;
use waybill_repository::{LifecycleAggregate, UploadAggregate};
use waybill_schema::{ByteRange, CompanyId, ErrorCode, Piece, PlainForm, Stripped, UploadId};

/// Seconds after which a client tries again to read a file whose metadata is not removed yet.
const STRIP_RETRY_S: u32 = 2;

/// Returns the form in which a viewer gets a file; `None` for the uploaded bytes. The viewer is `None` for the holder of a download
/// token.
///
/// # Errors
/// 409 `file_not_ready` if the metadata of the file was not looked at yet.
pub(crate) async fn form_for(
    gateway: &Gateway,
    file: &File,
    facts: &FileFacts,
    viewer: Option<Viewer>,
) -> Result<Option<Plain>, Problem> {
    if facts.gives_original(viewer) {
        return Ok(None);
    }
    if let Some(plain) = form_of(file)? {
        return Ok(Some(plain));
    }
    match file.location {
        Some(_) => Ok(None),
        None if is_of_other_kind(gateway, file).await? => Ok(None),
        None => {
            let text = "the metadata of the picture is not removed yet; try again later";
            Err(Problem { retry_after_s: Some(STRIP_RETRY_S), ..Problem::new(409, ErrorCode::FileNotReady, text) })
        }
    }
}

/// Returns the form of a file without metadata; `None` if it has none.
pub(crate) fn form_of(file: &File) -> Result<Option<Plain>, Problem> {
    Ok(match file.stripped().or_problem("reading the location of a file")? {
        Some(Stripped::Removed(form)) => Some(Plain { described: described(file, &form), form }),
        Some(Stripped::Absent | Stripped::Unsupported) | None => None,
    })
}

/// Returns `true` if the file is not one whose metadata is removed. Its content decides, which only the log knows.
async fn is_of_other_kind(gateway: &Gateway, file: &File) -> Result<bool, Problem> {
    let upload = UploadAggregate { company: CompanyId(file.company_id), upload: UploadId(file.id) };
    let upload = gateway.repository.load(&LifecycleAggregate(upload)).await.or_problem("loading an upload")?.state;
    let Some(started) = &upload.started else { return Ok(false) };
    Ok(!may_have_place(upload.sniffed_mime_type.as_deref(), &started.mime_type))
}

/// Returns the description of a file in this form.
fn described(file: &File, form: &PlainForm) -> File {
    let size_bytes = i64::try_from(form.size_bytes).unwrap_or(i64::MAX);
    File { size_bytes, hash: Some(form.sha256.to_string()), storage_key: None, ..file.clone() }
}

/// Returns the description of a file as a viewer sees it.
pub(crate) fn described_for(file: File, facts: Option<&FileFacts>, viewer: Viewer) -> File {
    if facts.is_none_or(|facts| facts.gives_original(Some(viewer))) {
        return file;
    }
    match file.stripped() {
        Ok(Some(Stripped::Removed(form))) => described(&file, &form),
        Ok(_) | Err(_) => file,
    }
}

/// Returns the range of the uploaded file that contains all its pieces; `None` if all bytes are new.
pub(crate) fn needed(pieces: &[Piece]) -> Option<ByteRange> {
    let mut ranges = pieces.iter().filter_map(|piece| match piece {
        Piece::Original(range) => Some(*range),
        Piece::Bytes(_) => None,
    });
    let first = ranges.next()?;
    Some(ByteRange { from: first.from, to: ranges.next_back().unwrap_or(first).to })
}

/// The pieces that are left to send, and the bytes from which they are taken.
struct Splicing {
    pieces: VecDeque<Piece>,
    body: BoxStream<'static, Result<Bytes, StoreError>>,
    /// Bytes of the body that were read, and the position of the first one in the uploaded file.
    read: Bytes,
    at: u64,
}

/// Puts pieces together. `body` has the bytes of the uploaded file from `from` on.
pub(crate) fn splice(
    pieces: Vec<Piece>,
    body: BoxStream<'static, Result<Bytes, StoreError>>,
    from: u64,
) -> BoxStream<'static, Result<Bytes, StoreError>> {
    let splicing = Splicing { pieces: pieces.into(), body, read: Bytes::new(), at: from };
    stream::unfold(Some(splicing), |splicing| async {
        let mut splicing = splicing?;
        match splicing.next().await? {
            Ok(bytes) => Some((Ok(bytes), Some(splicing))),
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

impl Splicing {
    async fn next(&mut self) -> Option<Result<Bytes, StoreError>> {
        let range = match self.pieces.pop_front()? {
            Piece::Bytes(bytes) => return Some(Ok(bytes.into())),
            Piece::Original(range) => range,
        };
        loop {
            let skipped =
                usize::try_from(range.from.saturating_sub(self.at)).unwrap_or(usize::MAX).min(self.read.len());
            let _ = self.read.split_to(skipped);
            self.at += skipped as u64;
            if !self.read.is_empty() {
                break;
            }
            self.read = match self.body.next().await {
                Some(Ok(bytes)) => bytes,
                Some(Err(error)) => return Some(Err(error)),
                None => {
                    let reason = "the object has fewer bytes than the file".to_owned();
                    return Some(Err(StoreError::Unavailable { operation: "reading a file", reason }));
                }
            };
        }
        let wanted = usize::try_from(range.len()).unwrap_or(usize::MAX).min(self.read.len());
        let bytes = self.read.split_to(wanted);
        self.at += wanted as u64;
        if self.at < range.to {
            self.pieces.push_front(Piece::Original(ByteRange { from: self.at, to: range.to }));
        }
        Some(Ok(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::TryStreamExt;
    use waybill_domain::location::pieces_within;
    use waybill_schema::Sha256Digest;

    #[tokio::test]
    async fn every_range_of_a_form_has_the_bytes_of_the_whole() {
        let original: Vec<u8> = (0..100).collect();
        let pieces = vec![
            Piece::Original(ByteRange { from: 0, to: 10 }),
            Piece::Bytes(vec![200, 201, 202]),
            Piece::Original(ByteRange { from: 20, to: 50 }),
            Piece::Original(ByteRange { from: 51, to: 90 }),
        ];
        let whole = [&original[..10], &[200, 201, 202], &original[20..50], &original[51..90]].concat();
        let form = PlainForm { size_bytes: whole.len() as u64, sha256: Sha256Digest([0; 32]), pieces };
        for from in 0..whole.len() {
            for to in from + 1..=whole.len() {
                let pieces = pieces_within(&form, ByteRange { from: from as u64, to: to as u64 });
                let place = needed(&pieces).unwrap_or(ByteRange { from: 0, to: 0 });
                let body = original[place.from as usize..place.to as usize].to_vec();
                let chunks: Vec<_> = body.chunks(7).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
                let spliced = splice(pieces, stream::iter(chunks).boxed(), place.from);
                let sent: Vec<Bytes> = spliced.try_collect().await.unwrap();
                assert_eq!(sent.concat(), whole[from..to], "{from}..{to}");
            }
        }
    }
}
