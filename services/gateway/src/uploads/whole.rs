//! `POST /v1/files`: a whole file in one request. No larger than a part, it is one object and two events; larger, it is
//! an upload like others, whose chunks come in one body.

use super::chunk::{content_length, refuse_encoding};
use super::end;
use super::start::{FileFacts, Mode, check, loaded, parse_sha256, reserve, start_now};
use super::status::UploadStatus;
use crate::api::{Bytes, IdempotencyKey};
use crate::digest::sha256_of;
use crate::gateway::Gateway;
use crate::idempotency::Idempotency;
use crate::problems::IntoProblem;
use actix_web::dev::Payload;
use actix_web::{HttpRequest, HttpResponse, post, web};
use futures_util::StreamExt;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::time::Duration;
use utoipa::IntoParams;
use uuid::Uuid;
use waybill_domain::quota::{Settling, Space};
use waybill_domain::upload::{Command, Phase, State};
use waybill_repository::{Context, Loaded, UploadAggregate, execute, settle_quota};
use waybill_schema::events::{FileUploadedV1, ReservedItem, UploadStartedV1};
use waybill_schema::{ByteRange, Causation, Position, UploadId};
use waybill_service_kit::data_plane::{PutBytes, PutWhole};
use waybill_service_kit::{Principal, Problem, RequestId, body};

/// How long the answer waits for the verification of a large file.
const VERIFY_PATIENCE: Duration = Duration::from_secs(120);

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct FileQuery {
    name: String,
    mime_type: String,
    sha256: Option<String>,
    session_id: Option<Uuid>,
    chatroom_id: Option<Uuid>,
    thread_id: Option<Uuid>,
    /// A JSON object.
    metadata: Option<String>,
}

/// One file on its way in.
struct Incoming {
    gateway: web::Data<Gateway>,
    principal: Principal,
    context: Context,
    id: RequestId,
    upload: UploadId,
    started: UploadStartedV1,
    /// The client sent an `Idempotency-Key`: it may come again and go on with the same upload.
    is_repeatable: bool,
}

#[utoipa::path(
    tag = "files",
    operation_id = "post_file",
    params(FileQuery, IdempotencyKey, ("Content-Digest" = Option<String>, Header, description = "`sha-256` of the body (RFC 9530)"), ("Repr-Digest" = Option<String>, Header, description = "The same of the file")),
    request_body(content = Bytes, content_type = "application/octet-stream"),
    responses(
        (status = 201, description = "Verified", body = UploadStatus),
        (status = 202, description = "Stored, being verified", body = UploadStatus),
        (status = 409, description = "`session_ended`, `chunk_differs`, `upload_completed`"),
        (status = 410, description = "`upload_ended`"),
        (status = 411, description = "`length_required`"),
        (status = 413, description = "`file_too_large`, `session_too_large`, `quota_exceeded`, `metadata_too_large`, `size_exceeded`"),
        (status = 415, description = "`type_refused`, `encoding_refused`"),
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
    let facts = facts(&request, query.into_inner())?;
    let context = gateway.context(&principal, id);
    let started = check(&gateway, &principal, &context, &facts).await?;
    let key = serde_json::to_vec(&facts).map_err(|_| Problem::internal())?;
    let upload = UploadId(gateway.idempotency.id_for(&request, &principal, "POST /v1/files", &key).await?);
    let is_repeatable = Idempotency::is_repeatable(&request);
    let incoming = Incoming { gateway, principal, context, id, upload, started, is_repeatable };
    // A client that goes away is not to leave the space reserved.
    body::outliving(&request, payload.into_inner(), |body| incoming.take(body)).await
}

fn facts(request: &HttpRequest, query: FileQuery) -> Result<FileFacts, Problem> {
    let size_bytes = content_length(request).ok_or_else(|| {
        Problem::new(411, "length_required", "send Content-Length; for a file of unknown length start an upload")
    })?;
    let metadata = query.metadata.as_deref().map(serde_json::from_str).transpose();
    let digest = match query.sha256 {
        Some(text) => Some(parse_sha256(&text)?),
        None => sha256_of(request, "Repr-Digest")?.or(sha256_of(request, "Content-Digest")?),
    };
    Ok(FileFacts {
        name: query.name,
        size_bytes,
        mime_type: query.mime_type,
        sha256: digest.map(|digest| digest.to_string()),
        session_id: query.session_id,
        chatroom_id: query.chatroom_id,
        thread_id: query.thread_id,
        metadata: metadata.map_err(|_| Problem::bad_request("query_invalid", "metadata must be a JSON object"))?,
        mode: Mode::Gateway,
    })
}

impl Incoming {
    async fn take(self, payload: Payload) -> Result<HttpResponse, Problem> {
        if self.started.size_bytes <= self.started.part_size_bytes {
            self.take_small(payload).await
        } else {
            self.take_large(payload).await
        }
    }

    fn space(&self) -> ReservedItem {
        let (session_id, bytes_total) = (self.started.session_id, self.started.size_bytes);
        ReservedItem { upload_id: self.upload, session_id, bytes_total }
    }

    fn aggregate(&self) -> UploadAggregate {
        UploadAggregate { company: self.principal.company_id, upload: self.upload }
    }

    async fn take_small(self, payload: Payload) -> Result<HttpResponse, Problem> {
        let aggregate = self.aggregate();
        let mut loaded = loaded(&self.gateway, &aggregate, self.is_repeatable).await?;
        if loaded.last_seq == 0 {
            let reserved =
                reserve(&self.gateway, &self.principal, &self.context, self.space(), self.is_repeatable).await?;
            if let Err(problem) = self.store_small(payload, &mut loaded, reserved).await {
                self.release(&loaded).await;
                return Err(problem);
            }
        } else {
            self.check_same(payload, &loaded.state).await?;
        }
        end::answer(&self.gateway, &aggregate, self.upload, &loaded, 201)
    }

    /// A repeated request brings the bytes that it brought before (draft-ietf-httpapi-idempotency-key-header §2.4).
    async fn check_same(&self, mut payload: Payload, state: &State) -> Result<(), Problem> {
        let Phase::Verified { sha256, .. } = &state.phase else { return Ok(()) };
        let mut hasher = Sha256::new();
        while let Some(bytes) = payload.next().await {
            // What does not come cannot differ.
            let Ok(bytes) = bytes else { return Ok(()) };
            hasher.update(&bytes);
        }
        if hasher.finalize().as_slice() == sha256.0 { Ok(()) } else { Err(Idempotency::reused()) }
    }

    async fn store_small(
        &self,
        payload: Payload,
        loaded: &mut Loaded<waybill_domain::upload::State>,
        reserved: Position,
    ) -> Result<(), Problem> {
        let (company, upload, size_bytes) = (self.principal.company_id, self.upload, self.started.size_bytes);
        let sha256 = self.started.declared_sha256;
        let request = PutWhole { company, upload, size_bytes, sha256, request: self.id };
        let stored = self.gateway.workers.put_whole(request, payload).await?;
        let storage_key = stored.storage_key.clone();
        let uploaded = FileUploadedV1 {
            started: self.started.clone(),
            sha256: stored.sha256,
            storage_bucket: stored.storage_bucket,
            storage_key: stored.storage_key,
            sniffed_mime_type: stored.sniffed_mime_type,
            worker_id: stored.worker_id,
        };
        let context = Context { causation: Causation::Event(reserved), ..self.context.clone() };
        let command = Command::UploadWhole(uploaded);
        let done = execute(self.gateway.log.as_ref(), &self.aggregate(), loaded, &context, command).await;
        let kept = matches!(&done, Ok(done) if done.event.is_some());
        let unknown = matches!(&done, Err(waybill_repository::ExecuteError::Append(_)));
        if !kept && !unknown {
            // Another request with the same id was faster: its object is the file's.
            self.gateway.store.delete(&storage_key).await.map_err(|e| e.into_problem("deleting a second object"))?;
        }
        let done = done.map_err(|error| error.into_problem("recording a file"))?;
        loaded.read_to = loaded.read_to.max(done.position.seq);
        Ok(())
    }

    /// Gives the space back, if no upload came of it. Where that fails, and where the client may come again, the sweep
    /// does it.
    async fn release(&self, loaded: &Loaded<waybill_domain::upload::State>) {
        if self.is_repeatable {
            return;
        }
        let log = self.gateway.log.as_ref();
        let mut now = loaded.clone();
        let known = waybill_repository::refresh(log, &self.aggregate(), &mut now).await;
        if known.is_err() || now.last_seq > 0 {
            return;
        }
        let aggregate = self.aggregate();
        let expired =
            execute(log, &aggregate, &mut now, &self.context, Command::Expire { now: waybill_service_kit::now() });
        if let Err(error) = expired.await {
            tracing::warn!(upload_id = %self.upload, %error, "a reservation waits for the sweep");
            return;
        }
        let whose = (self.upload, self.started.session_id);
        let space = Space::exactly(self.started.size_bytes);
        let company = self.principal.company_id;
        let settled = settle_quota(log, &self.context, company, whose, space, Settling::Release);
        if let Err(error) = settled.await {
            tracing::warn!(upload_id = %self.upload, %error, "a reservation waits for a worker");
        }
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
        let size_bytes = self.started.size_bytes;
        let bytes = PutBytes {
            company: self.principal.company_id,
            user: self.principal.user_id,
            upload: self.upload,
            range: ByteRange { from: 0, to: size_bytes },
            checksum: None,
            sequential: false,
            content_length: Some(size_bytes),
            request: self.id,
        };
        let mut loaded = Loaded::default();
        let stored = self.gateway.workers.put_bytes(bytes, payload).await;
        let finished = match stored {
            Ok(_) => {
                let log = &self.gateway;
                end::finish(log, &aggregate, &mut loaded, &self.context, None, VERIFY_PATIENCE).await
            }
            Err(problem) => Err(problem),
        };
        if let Err(problem) = finished {
            if self.is_repeatable {
                return Err(problem);
            }
            // Nobody was told the upload's id, so nobody could continue it.
            let cancelled = execute(self.gateway.log.as_ref(), &aggregate, &mut loaded, &self.context, Command::Cancel);
            if let Err(error) = cancelled.await {
                tracing::warn!(upload_id = %self.upload, %error, "an upload that broke waits for its end");
            }
            return Err(problem);
        }
        end::answer(&self.gateway, &aggregate, self.upload, &loaded, 201)
    }
}
