//! `POST /v1/uploads`: checks the description of a file, reserves its space and starts the upload. The other protocols
//! use these steps too.

use crate::api::IdempotencyKey;
use crate::gateway::Gateway;
use crate::idempotency::Idempotency;
use crate::metadata::Metadata;
use crate::position::POSITION;
use crate::problems::{IntoProblem, refused};
use actix_web::{HttpRequest, HttpResponse, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use waybill_domain::grid::PartGrid;
use waybill_domain::limits::{RESERVATION_STEP_BYTES, UNKNOWN_PART_BYTES, part_size_for};
use waybill_domain::media_type::{self, Claim};
use waybill_domain::upload::{Command, State};
use waybill_domain::{name, session};
use waybill_repository::{Context, Loaded, SessionAggregate, UploadAggregate, execute, load};
use waybill_schema::events::{ReservedItem, UploadKind, UploadStartedV1, UploadStartedV2};
use waybill_schema::{Causation, ChatroomId, Position, SessionId, Sha256Digest, ThreadId, UploadId};
use waybill_service_kit::{Principal, Problem, RequestId, now};

/// Description of a file by the client.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileFacts {
    pub(crate) name: String,
    pub(crate) size_bytes: u64,
    /// Media type. If it is absent, Waybill derives it from the name or from the content.
    pub(crate) mime_type: Option<String>,
    /// Media type in the headers of the request or of the form's part.
    #[serde(skip)]
    pub(crate) content_type: Option<String>,
    /// SHA-256 of the file, which the verification compares with the stored bytes.
    pub(crate) sha256: Option<String>,
    pub(crate) session_id: Option<Uuid>,
    pub(crate) chatroom_id: Option<Uuid>,
    pub(crate) thread_id: Option<Uuid>,
    #[schema(value_type = Option<Object>)]
    pub(crate) metadata: Option<Metadata>,
    /// Path of the bytes; `gateway` by default.
    #[serde(default, skip_serializing_if = "Mode::is_gateway")]
    pub(crate) mode: Mode,
}

/// Path of the bytes of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// The client sends the bytes to the gateway.
    #[default]
    Gateway,
    /// The client sends the bytes to the object store through presigned URLs.
    Direct,
}

/// New upload.
#[derive(Serialize, ToSchema)]
struct UploadStarted {
    upload_id: Uuid,
    file_id: Uuid,
    /// Size of every chunk except the last one.
    part_size_bytes: u64,
    total_chunks: u32,
    #[schema(format = DateTime)]
    expires_at: String,
}

/// Route name for idempotency keys. `POST /v1/files` uses the same name, so that a client can continue an interrupted
/// request in chunks: the same key and the same description of the file identify the same upload.
pub(super) const ROUTE: &str = "POST /v1/uploads";

/// Media types that contain no information about the file.
const GENERIC: [&str; 2] = [media_type::ANY, "binary/octet-stream"];

/// Parses a declared media type.
fn read(text: Option<&str>) -> Result<Option<&str>, Problem> {
    text.map_or(Ok(None), media_type::declared).map_err(|refusal| refused(&refusal))
}

impl FileFacts {
    /// Returns the media type that the client declared, or else that of the headers, or else that of the file name. The
    /// result is empty if only the content can show the type.
    fn media_type(&self) -> Result<String, Problem> {
        if let Some(declared) = read(self.mime_type.as_deref())? {
            return Ok(declared.to_owned());
        }
        let of_request =
            read(self.content_type.as_deref())?.filter(|it| !GENERIC.iter().any(|any| it.eq_ignore_ascii_case(any)));
        Ok(of_request.or_else(|| media_type::of_name(&self.name)).unwrap_or_default().to_owned())
    }
}

impl Mode {
    fn is_gateway(&self) -> bool {
        *self == Self::Gateway
    }
}

/// Starts an upload
///
/// Waybill checks the description of the file and reserves its space. The client then sends the bytes.
#[utoipa::path(
    tag = "uploads",
    operation_id = "start_upload",
    params(IdempotencyKey),
    request_body = FileFacts,
    responses(
        (status = 201, description = "The upload is started", body = UploadStarted),
        (status = 409, description = "`session_ended`, `direct_unavailable`"),
        (status = 413, description = "`file_too_large`, `session_too_large`, `quota_exceeded`, `metadata_too_large`, `json_too_large`"),
        (status = 415, description = "`type_refused`, `content_type_refused`"),
        (status = 422, description = "`name_invalid`, `digest_invalid`, `idempotency_key_reused`"),
    ),
)]
#[post("/v1/uploads")]
pub(crate) async fn start(
    request: HttpRequest,
    principal: Principal,
    id: RequestId,
    body: web::Json<FileFacts>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let facts = body.into_inner();
    if facts.mode == Mode::Direct {
        gateway.check_direct()?;
    }
    let context = gateway.context(&principal, id);
    let started = check(&gateway, &principal, &context, &facts).await?;
    let key = serde_json::to_vec(&facts).map_err(|_| Problem::internal())?;
    let upload = UploadId(gateway.idempotency.id_for(&request, &principal, ROUTE, &key).await?);
    let is_repeatable = Idempotency::is_repeatable(&request);
    let kind = match facts.mode {
        Mode::Gateway => UploadKind::File,
        Mode::Direct => UploadKind::Direct,
    };
    let upload_start = UploadStartedV2 { kind, ..started.clone().into() };
    let position = start_now(&gateway, &principal, &context, upload, upload_start, is_repeatable).await?;
    let grid = PartGrid { size_bytes: started.size_bytes, part_size_bytes: started.part_size_bytes };
    Ok(HttpResponse::Created()
        .insert_header((POSITION, position.to_string()))
        .insert_header(("Location", format!("/v1/uploads/{upload}")))
        .json(UploadStarted {
            upload_id: upload.0,
            file_id: upload.0,
            part_size_bytes: grid.part_size_bytes,
            total_chunks: grid.total_parts(),
            expires_at: super::status::rfc3339(started.expires_at),
        }))
}

/// Checks everything about a file that can be checked without its bytes: name, type, size, digest, metadata, place and
/// session. Appends no event, except for the registration of the user.
pub(crate) async fn check(
    gateway: &Gateway,
    principal: &Principal,
    context: &Context,
    facts: &FileFacts,
) -> Result<UploadStartedV1, Problem> {
    name::check(&facts.name).map_err(|refusal| refused(&refusal))?;
    let company = principal.company_id;
    let mime_type = facts.media_type()?;
    let claim = Claim { name: &facts.name, mime_type: &mime_type };
    gateway.policies.types(company).await?.check(claim).map_err(|refusal| refused(&refusal))?;
    gateway.policies.limits(company).await?.check_file(facts.size_bytes).map_err(|refusal| refused(&refusal))?;
    let declared_sha256 = facts.sha256.as_deref().map(parse_sha256).transpose()?;
    let metadata = facts.metadata.as_ref().map(Metadata::text).transpose()?;
    let (chatroom_id, thread_id) = (facts.chatroom_id.map(ChatroomId), facts.thread_id.map(ThreadId));
    gateway.check_place(principal, chatroom_id, thread_id).await?;
    let session_id = facts.session_id.map(SessionId);
    if let Some(session) = session_id {
        let aggregate = SessionAggregate { company: principal.company_id, session };
        let loaded = load(gateway.log.as_ref(), &aggregate).await.map_err(|e| e.into_problem("loading a session"))?;
        session::check_join(&loaded.state, principal.user_id, now()).map_err(|refusal| refused(&refusal))?;
    }
    gateway.registration.ensure(principal, context).await?;
    Ok(UploadStartedV1 {
        company_id: principal.company_id,
        uploaded_by: principal.user_id,
        session_id,
        chatroom_id,
        thread_id,
        original_name: facts.name.clone(),
        mime_type,
        size_bytes: facts.size_bytes,
        declared_sha256,
        metadata,
        part_size_bytes: part_size_for(facts.size_bytes),
        expires_at: now().plus_ms(gateway.upload_lifetime_ms),
    })
}

pub(crate) fn parse_sha256(text: &str) -> Result<Sha256Digest, Problem> {
    text.parse()
        .map_err(|error: waybill_schema::Sha256DigestError| Problem::new(422, "digest_invalid", error.to_string()))
}

/// Reserves the space. A repeated request whose upload has already started needs no new reservation.
pub(super) async fn reserve(
    gateway: &Gateway,
    principal: &Principal,
    context: &Context,
    item: ReservedItem,
    is_repeatable: bool,
) -> Result<Position, Problem> {
    let aggregate = UploadAggregate { company: principal.company_id, upload: item.upload_id };
    let known = loaded(gateway, &aggregate, is_repeatable).await?;
    if known.last_seq > 0 {
        return Ok(Position { partition: gateway.log.partitions().of(principal.company_id), seq: known.read_to });
    }
    gateway.reserver.reserve(principal.company_id, item, context.clone(), is_repeatable).await
}

/// Loads the upload. A request that cannot be repeated has a new id, so there is nothing to load.
pub(super) async fn loaded(
    gateway: &Gateway,
    aggregate: &UploadAggregate,
    is_repeatable: bool,
) -> Result<Loaded<State>, Problem> {
    if is_repeatable {
        load(gateway.log.as_ref(), aggregate).await.map_err(|error| error.into_problem("loading an upload"))
    } else {
        Ok(Loaded::of_new())
    }
}

/// Returns the space that a new upload reserves. An upload of unknown length reserves only its first step.
pub(crate) fn space_of(upload_id: UploadId, upload_start: &UploadStartedV2) -> ReservedItem {
    let size_bytes = upload_start.started.size_bytes;
    let step = match (upload_start.length_deferred, &upload_start.kind) {
        (false, _) => size_bytes,
        (true, UploadKind::Quarantine { .. }) => UNKNOWN_PART_BYTES,
        (true, _) => RESERVATION_STEP_BYTES,
    };
    let bytes_total = size_bytes.min(step);
    ReservedItem { upload_id, session_id: upload_start.started.session_id, bytes_total }
}

/// Reserves the space and starts the upload.
pub(crate) async fn start_now(
    gateway: &Gateway,
    principal: &Principal,
    context: &Context,
    upload: UploadId,
    upload_start: UploadStartedV2,
    is_repeatable: bool,
) -> Result<Position, Problem> {
    let item = space_of(upload, &upload_start);
    let reserved = reserve(gateway, principal, context, item, is_repeatable).await?;
    begin(gateway, principal, context, (upload, upload_start), reserved, is_repeatable).await
}

/// Starts the upload after its space was reserved.
pub(crate) async fn begin(
    gateway: &Gateway,
    principal: &Principal,
    context: &Context,
    (upload, upload_start): (UploadId, UploadStartedV2),
    reserved: Position,
    is_repeatable: bool,
) -> Result<Position, Problem> {
    let aggregate = UploadAggregate { company: principal.company_id, upload };
    let mut known = if is_repeatable { Loaded::default() } else { Loaded::of_new() };
    let context = Context { causation: Causation::Event(reserved), ..context.clone() };
    let done = execute(gateway.log.as_ref(), &aggregate, &mut known, &context, Command::Start(upload_start)).await;
    Ok(done.map_err(|error| error.into_problem("starting an upload"))?.position)
}
