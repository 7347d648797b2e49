//! `PUT /v1/uploads/{id}/chunks/{index}`: stores a chunk, or a piece of a chunk if the request has `Content-Range`.

use crate::application::gateway::Gateway;
use crate::http::content_digest::sha256_of;
use crate::http::parameters::Bytes;
use crate::http::path::ChunkPath;
use crate::http::request_body::{content_length, refuse_encoding, refuse_forms};
use crate::http::response::POSITION;
use actix_web::dev::Payload;
use actix_web::http::header::CONTENT_RANGE;
use actix_web::{HttpRequest, HttpResponse, put, web};
use waybill_api::uploads::ChunkStored;
use waybill_data_plane::PutBytes;
use waybill_data_plane::refused;
use waybill_domain::Refusal;
use waybill_domain::grid::PartGrid;
use waybill_http_kit::{Principal, Problem, RequestId, body};
use waybill_schema::ByteRange;
use waybill_schema::ErrorCode;
use waybill_schema::events::UploadKind;

routes!(put_chunk);

/// Stores a chunk of an upload
///
/// The chunks of an upload can be sent in any order and concurrently. With `Content-Range`, the body is a piece of the
/// chunk.
#[utoipa::path(
    tag = "uploads",
    operation_id = "put_chunk",
    extensions(("x-waybill-points" = json!(2))),
    params(("id" = Uuid, Path), ("index" = u32, Path, description = "From 0"), ("Content-Range" = Option<String>, Header, description = "The piece of the file that the body is, within the chunk"), ("Content-Digest" = Option<String>, Header, description = "`sha-256` of the body (RFC 9530)")),
    request_body(content = Bytes, content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "Stored durably", body = ChunkStored),
        (status = 409, description = "`chunk_differs`, `upload_completed`, `upload_kind`, `superseded`"),
        (status = 410, description = "`upload_ended`"),
        (status = 413, description = "`size_exceeded`"),
        (status = 415, description = "`encoding_refused`, `content_type_refused`"),
    ),
)]
#[put("/v1/uploads/{id}/chunks/{index}")]
pub(crate) async fn put_chunk(
    request: HttpRequest,
    principal: Principal,
    id: RequestId,
    path: ChunkPath,
    payload: web::Payload,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let connection = request.clone();
    let take = |body| async move { take_chunk(&request, &principal, id, path, body, &gateway).await };
    body::outliving(&connection, payload.into_inner(), take).await
}

async fn take_chunk(
    request: &HttpRequest,
    principal: &Principal,
    id: RequestId,
    path: ChunkPath,
    body: Payload,
    gateway: &Gateway,
) -> Result<HttpResponse, Problem> {
    let ChunkPath { upload, index } = path;
    let facts = gateway.started(principal, upload).await?;
    if facts.kind != UploadKind::File || facts.length_deferred {
        return Err(Problem::new(
            409,
            ErrorCode::UploadKind,
            "this upload does not accept chunks; use its own protocol",
        ));
    }
    let started = &facts.started;
    let grid = PartGrid { size_bytes: started.size_bytes, part_size_bytes: started.part_size_bytes };
    let index = index.ok_or_else(|| index_invalid(grid))?;
    let chunk = grid.part(index.saturating_add(1));
    if grid.size_bytes == 0 {
        return Err(refused(Refusal::SizeExceeded { size_bytes: 0 }));
    }
    if chunk.is_empty() {
        return Err(index_invalid(grid));
    }
    refuse_encoding(request)?;
    refuse_forms(request)?;
    let content_length = content_length(request);
    let range = match request.headers().get(CONTENT_RANGE) {
        Some(value) => rest_of(chunk, grid.size_bytes, value.to_str().unwrap_or_default())?,
        None => chunk,
    };
    check_length(range, content_length)?;
    let bytes = PutBytes {
        company: principal.company_id,
        user: principal.user_id,
        link: principal.link,
        upload,
        range,
        checksum: sha256_of(request, "Content-Digest")?.map(Into::into),
        sequential: false,
        content_length,
        request: id,
    };
    let stored = gateway.workers.put_bytes(bytes, body).await?;
    if stored.received_bytes != range.len() {
        return Err(
            incomplete(stored.received_bytes, range).with(|members| members.offset_bytes = Some(stored.offset_bytes))
        );
    }
    Ok(HttpResponse::Ok().insert_header((POSITION, stored.position)).json(ChunkStored {
        index,
        received_bytes: stored.received_bytes,
        offset_bytes: stored.offset_bytes,
    }))
}

fn index_invalid(grid: PartGrid) -> Problem {
    let total = grid.total_parts();
    Problem::bad_request(ErrorCode::ChunkIndexInvalid, format!("the upload has {total} chunks, numbered from 0"))
        .with(|members| members.total_chunks = Some(total))
}

fn check_length(range: ByteRange, content_length: Option<u64>) -> Result<(), Problem> {
    match content_length {
        Some(length) if length > range.len() => {
            let text = format!("the body has {length} bytes; the range has only {}", range.len());
            Err(Problem::new(413, ErrorCode::SizeExceeded, text))
        }
        Some(length) if length < range.len() => Err(incomplete(length, range)),
        _ => Ok(()),
    }
}

fn incomplete(length: u64, range: ByteRange) -> Problem {
    Problem::bad_request(
        ErrorCode::ChunkIncomplete,
        format!("the body has {length} bytes instead of {}; to send a piece, use Content-Range", range.len()),
    )
}

/// Parses `Content-Range: bytes first-last/size` (RFC 9110 §14.4, §14.5), which must be within the chunk.
fn rest_of(chunk: ByteRange, size_bytes: u64, value: &str) -> Result<ByteRange, Problem> {
    let parse = || {
        let (range, size) = value.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let range = ByteRange { from: first.parse().ok()?, to: last.parse::<u64>().ok()?.checked_add(1)? };
        let size_fits = size == "*" || size.parse() == Ok(size_bytes);
        let inside = range.from >= chunk.from && range.to <= chunk.to && !range.is_empty();
        (size_fits && inside).then_some(range)
    };
    parse().ok_or_else(|| {
        Problem::bad_request(
            ErrorCode::ContentRangeInvalid,
            format!("Content-Range must be within bytes {}-{}/{size_bytes}", chunk.from, chunk.to - 1),
        )
    })
}
