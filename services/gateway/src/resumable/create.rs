//! `POST /tus/`: creates an upload, with or without its first bytes.

use super::append::{Appended, Bringing, append, checksum, complete, describe};
use super::concatenate;
use super::dialect::{Dialect, brings_upload_bytes, file_type, limits, set};
use super::metadata::Metadata;
use super::{Asked, disposition_name, small, upload_url};
use crate::digest::sha256_of;
use crate::idempotency::Idempotency;
use crate::problems::refused;
use crate::uploads::{FileFacts, check, content_length, refuse_encoding, refuse_forms, start_now, status};
use actix_web::HttpResponse;
use actix_web::dev::Payload;
use actix_web::web::Query;
use serde::Deserialize;
use uuid::Uuid;
use waybill_data_plane::checksum::Verifier;
use waybill_domain::Refusal;
use waybill_schema::events::{UploadKind, UploadStartedV1, UploadStartedV2};
use waybill_schema::{Position, Timestamp, UploadId};
use waybill_service_kit::Problem;

/// Description of a file in the query, for clients that cannot send metadata.
#[derive(Default, Deserialize)]
struct FileQuery {
    name: Option<String>,
    mime_type: Option<String>,
    sha256: Option<String>,
    session_id: Option<Uuid>,
    chatroom_id: Option<Uuid>,
    thread_id: Option<Uuid>,
}

/// Creates an upload and stores the bytes in the request, if it has any.
pub(super) async fn create(asked: &Asked, payload: Payload) -> Result<HttpResponse, Problem> {
    // Checked even if the request has no bytes, because its headers describe the file.
    refuse_encoding(&asked.request)?;
    refuse_forms(&asked.request)?;
    let headers = asked.request.headers();
    let metadata = Metadata::parse(asked.upload_metadata()?.unwrap_or_default())?;
    let kind = match asked.header("Upload-Concat") {
        None => UploadKind::File,
        Some("partial") => UploadKind::Partial,
        Some(concat) if concat.starts_with("final;") => return concatenate::create(asked, concat, &metadata).await,
        Some(_) => {
            return Err(invalid("Upload-Concat must be partial, or final; followed by the URLs of partial uploads"));
        }
    };
    let content_length = content_length(&asked.request);
    let says_complete = asked.dialect.says_complete(headers);
    let length = length(asked, says_complete, content_length)?;
    let brings_bytes = match asked.dialect {
        Dialect::Tus => brings_upload_bytes(headers) && content_length != Some(0),
        Dialect::Draft(_) => content_length != Some(0),
    };
    if asked.dialect == Dialect::Tus && !brings_bytes && content_length != Some(0) {
        return Err(Problem::new(
            415,
            "content_type_refused",
            "to send bytes with the creation, use Content-Type: application/offset+octet-stream",
        ));
    }
    if brings_bytes {
        check_brought(asked, length, content_length)?;
    }
    let start = start(asked, &metadata, length, kind).await?;
    let upload = id_of(asked, &start).await?;
    let creation = Creation { asked, upload, start: &start, says_complete, brings_bytes, content_length };
    let appended = if small::is_small(&creation) {
        small::create(&creation, payload).await?
    } else {
        creation.start(payload).await?
    };
    let mut answer = match &appended.state {
        Some(state) if asked.dialect != Dialect::Tus => HttpResponse::Created().json(status(upload, state)),
        _ => HttpResponse::Created().finish(),
    };
    set(&mut answer, "location", upload_url(upload));
    if brings_bytes || asked.dialect != Dialect::Tus {
        asked.dialect.say_progress(&mut answer, appended.offset, appended.is_complete);
    }
    if asked.dialect != Dialect::Tus {
        let max_bytes = asked.gateway.policies.limits(asked.principal.company_id).await?.max_file_bytes;
        set(&mut answer, "upload-limit", limits(max_bytes, asked.gateway.upload_lifetime_ms));
    } else if start.kind == UploadKind::Partial {
        set(&mut answer, "upload-concat", "partial");
    }
    describe(&mut answer, &start, &appended);
    Ok(answer)
}

/// Request that creates an upload, after its checks.
pub(super) struct Creation<'a> {
    pub(super) asked: &'a Asked,
    pub(super) upload: UploadId,
    pub(super) start: &'a UploadStartedV2,
    /// `true` if the client declares that the upload ends with this request; `None` if it declares nothing.
    pub(super) says_complete: Option<bool>,
    pub(super) brings_bytes: bool,
    pub(super) content_length: Option<u64>,
}

impl Creation<'_> {
    /// Returns `true` if the client can repeat the request safely.
    pub(super) fn is_repeatable(&self) -> bool {
        Idempotency::is_repeatable(&self.asked.request)
    }

    /// Returns `true` if the request has no checksum for its bytes, or if the bytes match it.
    pub(super) fn has_checksum(&self, bytes: &[u8]) -> bool {
        match checksum(self.asked) {
            Ok(Some(expected)) if self.brings_bytes => {
                let mut verifier = Verifier::new(expected);
                verifier.update(bytes);
                verifier.is_met()
            }
            Ok(_) => true,
            Err(_) => false,
        }
    }

    /// Starts the upload and stores the bytes in the request.
    pub(super) async fn start(&self, payload: Payload) -> Result<Appended, Problem> {
        let Self { asked, upload, start, .. } = self;
        let (context, is_repeatable) = (asked.context(), self.is_repeatable());
        let start = (*start).clone();
        let position = start_now(&asked.gateway, &asked.principal, &context, *upload, start, is_repeatable).await?;
        self.go_on(position, payload).await
    }

    /// Stores the bytes in the request after the upload has started.
    pub(super) async fn go_on(&self, started: Position, payload: Payload) -> Result<Appended, Problem> {
        let Self { asked, upload, start, says_complete, .. } = self;
        let appended = if self.brings_bytes {
            let bringing = Bringing { offset: 0, length: None, says_complete: *says_complete };
            append(asked, *upload, start, bringing, payload).await
        } else if is_whole(asked, start, *says_complete) {
            complete(asked, *upload).await
        } else {
            Ok(Appended { offset: 0, is_complete: false, position: None, state: None })
        };
        // The upload exists and can be resumed, so the error contains its URL.
        let mut appended = appended.map_err(|problem| problem.with("upload_url", upload_url(*upload)))?;
        appended.position.get_or_insert_with(|| started.to_string());
        Ok(appended)
    }
}

/// Returns the id of the upload. A repeated request with the same `Idempotency-Key` gets the same id.
pub(super) async fn id_of(asked: &Asked, start: &UploadStartedV2) -> Result<UploadId, Problem> {
    // The expiry differs between repeated requests, so it is not part of the comparison.
    let asked_for = UploadStartedV1 { expires_at: Timestamp(0), ..start.started.clone() };
    let asked_for = UploadStartedV2 { started: asked_for, ..start.clone() };
    let body = serde_json::to_vec(&asked_for).map_err(|_| Problem::internal())?;
    let id = asked.gateway.idempotency.id_for(&asked.request, &asked.principal, "POST /tus/", &body).await?;
    Ok(UploadId(id))
}

fn invalid(what: &str) -> Problem {
    Problem::bad_request("header_invalid", what)
}

/// Checks the checksum header and the declared lengths before the bytes are read, so that no upload is started and no
/// space is reserved for a request that would be refused anyway.
fn check_brought(asked: &Asked, length: Option<u64>, content_length: Option<u64>) -> Result<(), Problem> {
    checksum(asked)?;
    match (length, content_length) {
        (Some(size_bytes), Some(content)) if content > size_bytes => {
            Err(refused(&Refusal::SizeExceeded { size_bytes }))
        }
        _ => Ok(()),
    }
}

/// Returns `true` if the file is empty, so that the upload is complete without any bytes (tus 1.0, Creation).
fn is_whole(asked: &Asked, start: &UploadStartedV2, says_complete: Option<bool>) -> bool {
    let is_empty = !start.length_deferred && start.started.size_bytes == 0 && start.kind == UploadKind::File;
    is_empty && (says_complete != Some(false) || asked.dialect.is_early())
}

/// Returns the length of the file; `None` if the client will declare it later.
fn length(asked: &Asked, says_complete: Option<bool>, content_length: Option<u64>) -> Result<Option<u64>, Problem> {
    let headers = asked.request.headers();
    let length = asked.dialect.number(headers, "Upload-Length")?;
    let deferred = asked.header("Upload-Defer-Length");
    if asked.dialect == Dialect::Tus {
        return match (length, deferred) {
            (Some(length), None) => Ok(Some(length)),
            (None, Some("1")) => Ok(None),
            _ => Err(invalid("send either Upload-Length or Upload-Defer-Length: 1")),
        };
    }
    // If the request is complete, its content is the whole file (draft §4.1.3).
    match (says_complete, length, content_length) {
        (Some(true) | None, Some(length), Some(content)) if length != content => Err(Problem::bad_request(
            "length_conflict",
            format!("Upload-Length is {length}, but the content has {content} bytes"),
        )),
        (Some(true) | None, None, content) => Ok(content),
        (_, length, _) => Ok(length),
    }
}

/// Checks the description of the file and returns the start of the upload.
async fn start(
    asked: &Asked,
    metadata: &Metadata,
    length: Option<u64>,
    kind: UploadKind,
) -> Result<UploadStartedV2, Problem> {
    let max_bytes = asked.gateway.policies.limits(asked.principal.company_id).await?.max_file_bytes;
    let facts = facts(asked, metadata, length.unwrap_or(max_bytes))?;
    let started = check(&asked.gateway, &asked.principal, &asked.context(), &facts).await?;
    let upload_metadata = asked.upload_metadata()?.map(str::to_owned);
    Ok(UploadStartedV2 { started, length_deferred: length.is_none(), kind, upload_metadata })
}

/// Returns the description of the file. The metadata takes precedence over the query, and the query over the HTTP
/// headers.
pub(super) fn facts(asked: &Asked, metadata: &Metadata, size_bytes: u64) -> Result<FileFacts, Problem> {
    let query = Query::<FileQuery>::from_query(asked.request.query_string())
        .map_err(|error| Problem::bad_request("query_invalid", error.to_string()))?
        .into_inner();
    let headers = asked.request.headers();
    let is_draft = asked.dialect != Dialect::Tus;
    let digest = sha256_of(&asked.request, "Repr-Digest")?.map(|digest| digest.to_string());
    metadata.facts(FileFacts {
        name: query.name.or_else(|| disposition_name(&asked.request)).unwrap_or_default(),
        size_bytes,
        mime_type: query.mime_type,
        content_type: file_type(headers).filter(|_| is_draft),
        sha256: query.sha256.or(digest),
        session_id: query.session_id,
        chatroom_id: query.chatroom_id,
        thread_id: query.thread_id,
        ..FileFacts::default()
    })
}
