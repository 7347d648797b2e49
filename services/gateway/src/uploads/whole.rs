//! `POST /v1/files`: a whole file in one request. A file that is not larger than a part becomes one object and two
//! events. A larger file, or one of unknown length, becomes an ordinary upload whose chunks come in one body.
//! [`super::form`] reads the file from a form.

use super::chunk::{Bringing, content_length, form_refused, refuse_encoding};
use super::once::{self, Once};
use super::start::{FileFacts, Mode, ROUTE, check, loaded, parse_sha256, start_now};
use super::status::UploadStatus;
use super::{end, form};
use crate::api::{Bytes, IdempotencyKey};
use crate::digest::sha256_of;
use crate::gateway::Gateway;
use crate::growing;
use crate::idempotency::Idempotency;
use crate::metadata::Metadata;
use crate::problems::{IntoProblem, refused};
use actix_web::dev::Payload;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse, post, web};
use futures_util::StreamExt;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::time::Duration;
use utoipa::IntoParams;
use uuid::Uuid;
use waybill_data_plane::PutBytes;
use waybill_domain::Refusal;
use waybill_domain::upload::{Command, Phase, State};
use waybill_repository::{Context, Loaded, UploadAggregate, execute};
use waybill_schema::events::{UploadStartedV1, UploadStartedV2};
use waybill_schema::{ByteRange, UploadId};
use waybill_service_kit::{Principal, Problem, RequestId, body};

/// Maximum time that the response waits for the verification of a large file.
const VERIFY_PATIENCE: Duration = Duration::from_secs(120);

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct FileQuery {
    /// File name. It is required unless the file comes in a form that contains its name.
    pub(super) name: Option<String>,
    /// Media type. If it is absent, Waybill derives it from `Content-Type`, the name or the content.
    pub(super) mime_type: Option<String>,
    /// SHA-256 of the file, which the verification compares with the stored bytes.
    pub(super) sha256: Option<String>,
    pub(super) session_id: Option<Uuid>,
    pub(super) chatroom_id: Option<Uuid>,
    pub(super) thread_id: Option<Uuid>,
    /// Metadata as a JSON object.
    pub(super) metadata: Option<String>,
}

/// User who sends a file, and the request.
pub(super) struct Sender {
    pub(super) gateway: web::Data<Gateway>,
    pub(super) principal: Principal,
    pub(super) request: HttpRequest,
    pub(super) id: RequestId,
}

/// File that a request is sending.
pub(super) struct Incoming {
    gateway: web::Data<Gateway>,
    principal: Principal,
    context: Context,
    id: RequestId,
    upload: UploadId,
    /// Start of the upload. If the length is unknown, `size_bytes` is the largest allowed size.
    started: UploadStartedV1,
    /// `true` if the client sent an `Idempotency-Key`, so that it can repeat the request and continue the same upload.
    is_repeatable: bool,
}

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
    text.map(drop).map_err(|_| Problem::new(422, "name_invalid", "the query, which contains the name, is not UTF-8"))
}

fn facts(request: &HttpRequest, query: FileQuery, size_bytes: u64) -> Result<FileFacts, Problem> {
    let name = query.name.ok_or_else(|| Problem::bad_request("query_invalid", "send the file name as ?name="))?;
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
        metadata: metadata.map_err(|_| Problem::bad_request("query_invalid", "metadata must be a JSON object"))?,
        mode: Mode::Gateway,
    })
}

impl Sender {
    /// Returns the maximum size in bytes of a file of this company.
    pub(super) async fn most_bytes(&self) -> Result<u64, Problem> {
        Ok(self.gateway.policies.limits(self.principal.company_id).await?.max_file_bytes)
    }

    /// Checks the description of a file before its bytes are read.
    pub(super) async fn receive(self, facts: &FileFacts) -> Result<Incoming, Problem> {
        let Self { gateway, principal, request, id } = self;
        let context = gateway.context(&principal, id);
        let started = check(&gateway, &principal, &context, facts).await?;
        let key = serde_json::to_vec(facts).map_err(|_| Problem::internal())?;
        let upload = UploadId(gateway.idempotency.id_for(&request, &principal, ROUTE, &key).await?);
        let is_repeatable = Idempotency::is_repeatable(&request);
        Ok(Incoming { gateway, principal, context, id, upload, started, is_repeatable })
    }
}

impl Incoming {
    async fn take(self, payload: Payload) -> Result<HttpResponse, Problem> {
        if self.started.size_bytes <= self.started.part_size_bytes {
            self.take_small(payload).await
        } else {
            self.take_large(payload).await
        }
    }

    fn aggregate(&self) -> UploadAggregate {
        UploadAggregate { company: self.principal.company_id, upload: self.upload }
    }

    async fn take_small(self, payload: Payload) -> Result<HttpResponse, Problem> {
        let (aggregate, start) = (self.aggregate(), UploadStartedV2::from(self.started.clone()));
        let once = self.once(&start);
        let mut loaded = once.loaded().await?;
        match (&loaded.state.phase, loaded.last_seq) {
            (_, 0) => {
                let reserved = once.reserve().await?;
                match once.store(payload, &mut loaded, reserved).await {
                    Ok(true) => {}
                    // The worker started an ordinary upload because it could not hold the file in memory.
                    Ok(false) => {
                        let finished = self.finish(&aggregate, &mut loaded).await;
                        self.end_unless(finished, &aggregate).await?;
                    }
                    Err(problem) => {
                        once.release(&loaded).await;
                        return Err(problem);
                    }
                }
            }
            // An earlier request with the same key started an ordinary upload and was interrupted.
            (Phase::Active, _) => return self.take_large(payload).await,
            (..) => self.check_same(payload, &loaded.state).await?,
        }
        end::answer(&self.gateway, &aggregate, self.upload, &loaded, 201)
    }

    fn once<'a>(&'a self, start: &'a UploadStartedV2) -> Once<'a> {
        Once {
            gateway: &self.gateway,
            principal: &self.principal,
            context: &self.context,
            request: self.id,
            upload: self.upload,
            start,
            is_repeatable: self.is_repeatable,
        }
    }

    /// Checks that a repeated request sends the same bytes as before (draft-ietf-httpapi-idempotency-key-header §2.4).
    async fn check_same(&self, mut payload: Payload, state: &State) -> Result<(), Problem> {
        let Phase::Verified { sha256, .. } = &state.phase else { return Ok(()) };
        let mut hasher = Sha256::new();
        while let Some(bytes) = payload.next().await {
            // The body ended early, so the bytes cannot be compared.
            let Ok(bytes) = bytes else { return Ok(()) };
            hasher.update(&bytes);
        }
        if hasher.finalize().as_slice() == sha256.0 { Ok(()) } else { Err(Idempotency::reused()) }
    }

    async fn take_large(self, payload: Payload) -> Result<HttpResponse, Problem> {
        let aggregate = self.aggregate();
        start_now(
            &self.gateway,
            &self.principal,
            &self.context,
            self.upload,
            self.started.clone().into(),
            self.is_repeatable,
        )
        .await?;
        let mut loaded = Loaded::default();
        let finished = match self.gateway.workers.put_bytes(self.put(Some(self.started.size_bytes)), payload).await {
            Ok(_) => self.finish(&aggregate, &mut loaded).await,
            Err(problem) => Err(problem),
        };
        self.end_unless(finished, &aggregate).await?;
        end::answer(&self.gateway, &aggregate, self.upload, &loaded, 201)
    }

    /// Stores a body of unknown length. `after` runs after the last byte; if it fails, the file is refused.
    pub(super) async fn take_growing(
        self,
        payload: Payload,
        after: impl AsyncFnOnce() -> Result<(), Problem>,
    ) -> Result<HttpResponse, Problem> {
        let aggregate = self.aggregate();
        let mut loaded = loaded(&self.gateway, &aggregate, self.is_repeatable).await?;
        if loaded.last_seq > 0 && loaded.state.phase != Phase::Active {
            self.check_same(payload, &loaded.state).await?;
            return end::answer(&self.gateway, &aggregate, self.upload, &loaded, 201);
        }
        let start = UploadStartedV2 { length_deferred: true, ..self.started.clone().into() };
        start_now(&self.gateway, &self.principal, &self.context, self.upload, start, self.is_repeatable).await?;
        let finished = async {
            let limit_bytes = self.started.size_bytes;
            let stored = growing::send(&self.gateway, &self.context, self.put(None), payload, limit_bytes).await;
            let stored = stored.map_err(|problem| match problem.code.as_str() {
                "size_exceeded" => refused(&Refusal::FileTooLarge { size_bytes: limit_bytes + 1, limit_bytes }),
                _ => problem,
            })?;
            after().await?;
            let command = Command::SetLength { size_bytes: stored.received_bytes };
            execute(self.gateway.log.as_ref(), &aggregate, &mut loaded, &self.context, command)
                .await
                .map_err(|error| error.into_problem("setting a length"))?;
            self.finish(&aggregate, &mut loaded).await
        };
        let finished = finished.await;
        self.end_unless(finished, &aggregate).await?;
        end::answer(&self.gateway, &aggregate, self.upload, &loaded, 201)
    }

    /// Returns a request to the worker for all bytes of the file.
    fn put(&self, content_length: Option<u64>) -> PutBytes {
        PutBytes {
            company: self.principal.company_id,
            user: self.principal.user_id,
            upload: self.upload,
            range: ByteRange { from: 0, to: self.started.size_bytes },
            checksum: None,
            sequential: false,
            content_length,
            request: self.id,
        }
    }

    async fn finish(&self, aggregate: &UploadAggregate, loaded: &mut Loaded<State>) -> Result<(), Problem> {
        end::finish(&self.gateway, aggregate, loaded, &self.context, None, VERIFY_PATIENCE).await
    }

    /// Cancels the upload if `finished` is an error and the client cannot repeat the request. Nobody knows the upload's
    /// id then, so nobody could continue it.
    async fn end_unless(&self, finished: Result<(), Problem>, aggregate: &UploadAggregate) -> Result<(), Problem> {
        if finished.is_err() && !self.is_repeatable {
            once::cancel(&self.gateway, aggregate, &self.context).await;
        }
        finished
    }
}
