//! Sending of archives. Each file is read when its turn comes, as long as its user has access to it.

use crate::application::archives::open;
use crate::application::archives::opened::Opened;
use crate::application::at_once::Download;
use crate::application::content::{Source, while_permitted, with_bytes};
use crate::application::gateway::Gateway;
use crate::application::plain::form_for;
use actix_web::{HttpResponse, HttpResponseBuilder, web};
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest as Crc};
use futures_util::stream::{self, LocalBoxStream};
use futures_util::{StreamExt, TryStreamExt};
use std::sync::Arc;
use waybill_access::Transfer;
use waybill_http_kit::Problem;
use waybill_object_store::StoreError;
use waybill_schema::ByteRange;
use waybill_service_kit::now;
use waybill_zip_layout::Segment;

/// Largest range of a file that is read before its turn, so that many small files do not wait for the store one after another.
const AHEAD_BYTES: u64 = 256 << 10;

/// Number of segments that are read before their turn.
const AHEAD: usize = 8;

/// The bytes of a segment. They stay on the thread of the request.
type Body = LocalBoxStream<'static, Result<Bytes, StoreError>>;

/// Sends the bytes of `range`. The connection breaks if a file cannot be read to its end, so that the client never takes an incomplete
/// archive for a whole one. Keeps `download` until the last byte was sent.
pub(crate) fn send(
    gateway: web::Data<Gateway>,
    opened: Arc<Opened>,
    answer: HttpResponseBuilder,
    range: ByteRange,
    download: Download,
) -> HttpResponse {
    let segments = opened.archive.layout.segments(range.from, range.to);
    let bodies = stream::iter(segments).map(move |segment| {
        let (gateway, opened) = (gateway.clone(), opened.clone());
        async move {
            match segment {
                Segment::Bytes(bytes) => Ok(whole(bytes)),
                Segment::File { index, from, to } if to - from <= AHEAD_BYTES => {
                    small(gateway, opened, index, ByteRange { from, to }).await
                }
                Segment::File { index, from, to } => {
                    let range = ByteRange { from, to };
                    Ok(stream::once(file(gateway, opened, index, range)).try_flatten().boxed_local())
                }
            }
        }
    });
    with_bytes(answer, range.len(), bodies.buffered(AHEAD).try_flatten().boxed_local(), download)
}

/// Reads a small range of a file before its turn. When its turn comes, its access is checked again.
async fn small(
    gateway: web::Data<Gateway>,
    opened: Arc<Opened>,
    index: usize,
    range: ByteRange,
) -> Result<Body, StoreError> {
    let turn = (gateway.clone(), opened.clone());
    // A task of its own, because nobody polls this future while a large file before it is sent.
    let read =
        actix_web::rt::spawn(
            async move { file(gateway, opened, index, range).await?.try_collect::<Vec<Bytes>>().await },
        );
    let read = read.await.map_err(|_| broken("the file was not read".to_owned()))??;
    let checked = async move {
        let (gateway, opened) = turn;
        permit(&gateway, &opened, index).await?;
        Ok::<Body, StoreError>(stream::iter(read.into_iter().map(Ok)).boxed_local())
    };
    Ok(stream::once(checked).try_flatten().boxed_local())
}

fn whole(bytes: Bytes) -> Body {
    stream::iter([Ok(bytes)]).boxed_local()
}

fn broken(reason: String) -> StoreError {
    StoreError::Unavailable { operation: "sending an archive", reason }
}

/// Checks that the user of the archive still has access to a file, in the form that the archive has.
async fn permit(gateway: &Gateway, opened: &Opened, index: usize) -> Result<Transfer, StoreError> {
    let (item, content) = opened.entry(index).ok_or_else(|| broken("the file is not in the archive".to_owned()))?;
    let mut transfer = open::transfer(gateway, opened, item, &content);
    let is_permitted = transfer.check(now()).await.map_err(|error| broken(error.to_string()))?;
    if !is_permitted {
        return Err(broken("the access to a file has ended".to_owned()));
    }
    // The company may have begun to remove metadata.
    let viewer = Some(opened.archive.viewer());
    if let Some(rights) = transfer.rights().filter(|_| content.plain.is_none())
        && form_for(gateway, &content.file, &rights.facts, viewer).await.map_err(unreadable)?.is_some()
    {
        return Err(broken("the metadata of a file is removed now".to_owned()));
    }
    Ok(transfer)
}

/// Reads a range of a file of the archive.
async fn file(
    gateway: web::Data<Gateway>,
    opened: Arc<Opened>,
    index: usize,
    range: ByteRange,
) -> Result<Body, StoreError> {
    let transfer = permit(&gateway, &opened, index).await?;
    let (item, content) = opened.entry(index).ok_or_else(|| broken("the file is not in the archive".to_owned()))?;
    gateway.last_reads.note(opened.archive.company, item.file);
    let source = Source { file: &content.file, form: content.plain.as_ref().map(|plain| &plain.form) };
    let bytes = source.read(&gateway, range).await.map_err(unreadable)?;
    let bytes = while_permitted(bytes, transfer, item.file.0).boxed_local();
    let is_all = range == ByteRange { from: 0, to: item.size_bytes };
    Ok(if is_all { checked(bytes, item.crc32) } else { bytes })
}

fn unreadable(problem: Problem) -> StoreError {
    broken(format!("a file cannot be read: {}", problem.code))
}

/// Ends the body with an error if the bytes do not have the checksum that the archive names.
fn checked(bytes: Body, crc32: u32) -> Body {
    let begun = (bytes, Crc::new(CrcAlgorithm::Crc32IsoHdlc));
    stream::try_unfold(begun, move |(mut bytes, mut crc)| async move {
        match bytes.try_next().await? {
            Some(piece) => {
                crc.update(&piece);
                Ok(Some((piece, (bytes, crc))))
            }
            None if crc.finalize() == u64::from(crc32) => Ok(None),
            None => Err(broken("a file does not have its checksum".to_owned())),
        }
    })
    .boxed_local()
}
