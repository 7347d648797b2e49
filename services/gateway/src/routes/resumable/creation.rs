//! A request that creates an upload: its description, and the steps after its checks.

use crate::application::idempotency::Idempotency;
use crate::application::uploads::start::start_now;
use crate::http::content_digest::sha256_of;
use crate::routes::resumable::append::{Bringing, append, checksum};
use crate::routes::resumable::dialect::{Dialect, file_type};
use crate::routes::resumable::metadata::Metadata;
use crate::routes::resumable::progress::{Appended, complete};
use crate::routes::resumable::request::{Asked, disposition_name, upload_url};
use actix_web::dev::Payload;
use actix_web::web::Query;
use serde::Deserialize;
use uuid::Uuid;
use waybill_api::uploads::FileFacts;
use waybill_data_plane::checksum::Verifier;
use waybill_http_kit::Problem;
use waybill_schema::ErrorCode;
use waybill_schema::events::{UploadDescription, UploadKind, UploadStarted};
use waybill_schema::{Position, Timestamp, UploadId};

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

/// Request that creates an upload, after its checks.
pub(crate) struct Creation<'a> {
    pub(crate) asked: &'a Asked,
    pub(crate) upload: UploadId,
    pub(crate) start: &'a UploadStarted,
    /// `true` if the client declares that the upload ends with this request; `None` if it declares nothing.
    pub(crate) says_complete: Option<bool>,
    pub(crate) brings_bytes: bool,
    pub(crate) content_length: Option<u64>,
}

impl Creation<'_> {
    /// Returns `true` if the client can repeat the request safely.
    pub(crate) fn is_repeatable(&self) -> bool {
        Idempotency::is_repeatable(&self.asked.request)
    }

    /// Returns `true` if the request has no checksum for its bytes, or if the bytes match it.
    pub(crate) fn has_checksum(&self, bytes: &[u8]) -> bool {
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
    pub(crate) async fn start(&self, payload: Payload) -> Result<Appended, Problem> {
        let Self { asked, upload, start, .. } = self;
        let (context, is_repeatable) = (asked.context(), self.is_repeatable());
        let start = (*start).clone();
        let position = start_now(&asked.gateway, &asked.principal, &context, *upload, start, is_repeatable).await?;
        self.go_on(position, payload).await
    }

    /// Stores the bytes in the request after the upload has started.
    pub(crate) async fn go_on(&self, started: Position, payload: Payload) -> Result<Appended, Problem> {
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
        let mut appended =
            appended.map_err(|problem| problem.with(|members| members.upload_url = Some(upload_url(*upload))))?;
        appended.position.get_or_insert_with(|| started.to_string());
        Ok(appended)
    }
}

/// Returns the id of the upload. A repeated request with the same `Idempotency-Key` gets the same id.
pub(crate) async fn id_of(asked: &Asked, start: &UploadStarted) -> Result<UploadId, Problem> {
    // The expiry differs between repeated requests, so it is not part of the comparison.
    let asked_for = UploadDescription { expires_at: Timestamp(0), ..start.started.clone() };
    let asked_for = UploadStarted { started: asked_for, ..start.clone() };
    let body = serde_json::to_vec(&asked_for).map_err(|_| Problem::internal())?;
    let id = asked.gateway.idempotency.id_for(&asked.request, &asked.principal, "POST /tus/", &body).await?;
    Ok(UploadId(id))
}

/// Returns `true` if the file is empty, so that the upload is complete without any bytes (tus 1.0, Creation).
fn is_whole(asked: &Asked, start: &UploadStarted, says_complete: Option<bool>) -> bool {
    let is_empty = !start.length_deferred && start.started.size_bytes == 0 && start.kind == UploadKind::File;
    is_empty && (says_complete != Some(false) || asked.dialect.is_early())
}

/// Returns the description of the file. The metadata takes precedence over the query, and the query over the HTTP
/// headers.
pub(crate) fn facts(asked: &Asked, metadata: &Metadata, size_bytes: u64) -> Result<FileFacts, Problem> {
    let query = Query::<FileQuery>::from_query(asked.request.query_string())
        .map_err(|error| Problem::bad_request(ErrorCode::QueryInvalid, error.to_string()))?
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
