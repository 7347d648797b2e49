//! `POST /v1/files`: a whole file in one request. A file that is not larger than a part becomes one object and two
//! events. A larger file, or one of unknown length, becomes an ordinary upload whose chunks come in one body.
//! [`super::form`] reads the file from a form.

use crate::application::gateway::Gateway;
use crate::application::uploads::description::parse_sha256;
use crate::http::content_digest::sha256_of;
use crate::http::parameters::{Bytes, IdempotencyKey};
use crate::http::request_body::{Bringing, content_length, form_refused, refuse_encoding};
use crate::routes::uploads::form;
use crate::routes::uploads::incoming::Sender;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse, post, web};
use percent_encoding::percent_decode_str;
use waybill_api::Metadata;
use waybill_api::uploads::{FileFacts, FileQuery, Mode, UploadStatus};
use waybill_http_kit::{Principal, Problem, RequestId, body};
use waybill_schema::ErrorCode;

routes!(post_file);

/// Uploads a whole file in one request
///
/// The body is the file or a form that contains it. The response waits for the verification for at most 120 s.
#[utoipa::path(
    tag = "files",
    operation_id = "post_file",
    params(FileQuery, IdempotencyKey, ("Content-Digest" = Option<String>, Header, description = "`sha-256` of the body (RFC 9530)"), ("Repr-Digest" = Option<String>, Header, description = "`sha-256` of the file (RFC 9530)")),
    request_body(content((Bytes = "application/octet-stream"), (Bytes = "multipart/form-data")), description = "The bytes of the file, or a form with one file. Fields before the file have the meaning of the parameters; the query takes precedence"),
    responses(
        (status = 201, description = "The file is stored and verified", body = UploadStatus),
        (status = 202, description = "The file is stored, and its verification is not finished", body = UploadStatus),
        (status = 409, description = "`session_ended`, `chunk_differs`, `upload_completed`"),
        (status = 410, description = "`upload_ended`"),
        (status = 413, description = "`file_too_large`, `session_too_large`, `quota_exceeded`, `metadata_too_large`, `size_exceeded`"),
        (status = 415, description = "`type_refused`, `encoding_refused`, `content_type_refused`"),
        (status = 422, description = "`name_invalid`, `digest_invalid`, `digest_mismatch`, `type_refused`, `idempotency_key_reused`"),
    ),
)]
#[post("/v1/files")]
pub(crate) async fn post_file(
    request: HttpRequest,
    principal: Principal,
    id: RequestId,
    query: web::Query<FileQuery>,
    payload: web::Payload,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    refuse_encoding(&request)?;
    check_text(request.query_string())?;
    let query = query.into_inner();
    let (connection, payload) = (request.clone(), payload.into_inner());
    let length = content_length(&request);
    let sender = Sender { gateway, principal, request, id };
    // The work continues if the client disconnects, so that the reservation is released.
    match Bringing::of(&connection) {
        Bringing::Envelope => Err(form_refused()),
        Bringing::Form => body::outliving(&connection, payload, |body| form::take(sender, query, body)).await,
        Bringing::Bytes => {
            let size_bytes = match length {
                Some(length) => length,
                None => sender.most_bytes().await?,
            };
            let facts = facts(&connection, query, size_bytes)?;
            let incoming = sender.receive(&facts).await?;
            let take = |body| async move {
                match length {
                    Some(_) => incoming.take(body).await,
                    None => incoming.take_growing(body, async || Ok(())).await,
                }
            };
            body::outliving(&connection, payload, take).await
        }
    }
}

/// Refuses a query that is not UTF-8. Otherwise the invalid bytes would be replaced by other characters.
fn check_text(query: &str) -> Result<(), Problem> {
    let text = percent_decode_str(query).decode_utf8();
    text.map(drop)
        .map_err(|_| Problem::new(422, ErrorCode::NameInvalid, "the query, which contains the name, is not UTF-8"))
}

pub(crate) fn facts(request: &HttpRequest, query: FileQuery, size_bytes: u64) -> Result<FileFacts, Problem> {
    let name =
        query.name.ok_or_else(|| Problem::bad_request(ErrorCode::QueryInvalid, "send the file name as ?name="))?;
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let metadata = query.metadata.as_deref().map(Metadata::parse).transpose();
    let digest = match query.sha256 {
        Some(text) => Some(parse_sha256(&text)?),
        None => sha256_of(request, "Repr-Digest")?.or(sha256_of(request, "Content-Digest")?),
    };
    Ok(FileFacts {
        name,
        size_bytes,
        mime_type: query.mime_type,
        content_type: content_type.map(str::to_owned),
        sha256: digest.map(|digest| digest.to_string()),
        session_id: query.session_id,
        chatroom_id: query.chatroom_id,
        thread_id: query.thread_id,
        metadata: metadata
            .map_err(|_| Problem::bad_request(ErrorCode::QueryInvalid, "metadata must be a JSON object"))?,
        mode: Mode::Gateway,
    })
}
