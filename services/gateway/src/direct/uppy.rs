//! What `@uppy/aws-s3` asks for: version 5 of a Companion (`/uppy/s3/multipart…`, `/uppy/s3/params`), version 6 of its
//! `signRequest` option (`POST /uppy/s3/sign`). Both with the JWT.
//!
//! The client chooses its own parts, and may make the object by itself. So it writes to a quarantine key: the object is
//! copied from there to a key that no client can write to, and the copy is hashed before anyone can read it.

use super::end_of;
use crate::gateway::Gateway;
use crate::idempotency::Idempotency;
use crate::json;
use crate::metadata::Metadata;
use crate::problems::{IntoProblem, cleaned, refused, rejected};
use crate::uploads::{FileFacts, cancel_upload, check, start_now};
use crate::wait;
use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use waybill_domain::Refusal;
use waybill_domain::limits::UNKNOWN_PART_BYTES;
use waybill_domain::upload::{Command, Phase, State};
use waybill_object_store::presign::{Presign, Presigned};
use waybill_object_store::{CompletedPart, ListedPart, StoreError};
use waybill_repository::{Context, Loaded, UploadAggregate, execute};
use waybill_schema::events::{UploadKind, UploadStartedV2};
use waybill_schema::{UploadId, names};
use waybill_service_kit::{Principal, Problem, RequestId, now};

/// The last segment of a quarantine key; an upload has one.
const OBJECT: &str = "object";
const UUID_LENGTH: usize = 36;
/// The largest list of parts: S3 has 10,000, and each takes less than 128 bytes.
const COMPLETION_MAX_BYTES: usize = 10_000 * 128;

/// Who asks, and with what.
struct Asked {
    gateway: web::Data<Gateway>,
    principal: Principal,
    context: Context,
    request: HttpRequest,
}

impl Asked {
    fn new(gateway: web::Data<Gateway>, principal: Principal, id: RequestId, request: HttpRequest) -> Self {
        let context = gateway.context(&principal, id);
        Self { gateway, principal, context, request }
    }
}

/// A multipart upload that was begun.
#[derive(Serialize, ToSchema)]
#[schema(as = UppyCreated)]
struct Created {
    #[serde(rename = "uploadId")]
    upload_id: String,
    key: String,
    bucket: String,
    file_id: Uuid,
}

#[derive(Serialize, ToSchema)]
#[schema(as = UppySignedPart)]
struct SignedPart {
    url: String,
    /// Seconds.
    expires: u64,
}

#[derive(Serialize, ToSchema)]
struct UppyPart {
    #[serde(rename = "PartNumber")]
    part_number: u32,
    #[serde(rename = "ETag")]
    etag: String,
    #[serde(rename = "Size")]
    size: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = UppyCompleted)]
struct Completed {
    location: String,
    key: String,
    bucket: String,
    file_id: Uuid,
}

/// How a small file is sent in one request.
#[derive(Serialize, ToSchema)]
struct UploadParameters {
    method: String,
    url: String,
    headers: Nothing,
    fields: Fields,
    /// Seconds.
    expires: u64,
    file_id: Uuid,
}

#[derive(Serialize, ToSchema)]
struct Fields {
    key: String,
}

#[derive(Serialize, ToSchema)]
struct SignedRequest {
    url: String,
    method: String,
    key: String,
    headers: Nothing,
}

/// An object without members.
#[derive(Serialize, ToSchema)]
struct Nothing {}

/// What a page says of a file, besides `metadata[…]` for each of its `meta`.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the query is read pair by pair, for the names in brackets")]
struct UppyParams {
    filename: Option<String>,
    #[param(rename = "type")]
    mime_type: Option<String>,
}

/// A file as Uppy describes it.
#[derive(Default)]
struct Described {
    name: Option<String>,
    mime_type: Option<String>,
    /// All of Uppy's `meta`.
    meta: Map<String, Value>,
    /// The same as the page sent it, where it came as JSON.
    sent: Option<Metadata>,
}

impl Described {
    fn text(&self, key: &str) -> Option<String> {
        let value = self.meta.get(key)?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (!text.is_empty() && text != "null" && text != "undefined").then_some(text)
    }

    fn id(&self, key: &str) -> Result<Option<Uuid>, Problem> {
        let invalid = |_| Problem::bad_request("metadata_invalid", format!("{key} must be a UUID"));
        self.text(key).map(|text| Uuid::try_parse(&text).map_err(invalid)).transpose()
    }

    /// Bytes, where the page put them into the metadata: Uppy itself says none.
    fn size_bytes(&self) -> Option<u64> {
        self.text("size")?.parse().ok()
    }

    fn facts(&self, max_bytes: u64) -> Result<FileFacts, Problem> {
        let described = |value: &Option<String>| value.clone().filter(|text| !text.is_empty() && text != "undefined");
        let sent = self.sent.clone().filter(|_| !self.meta.is_empty());
        Ok(FileFacts {
            name: described(&self.name).or_else(|| self.text("name")).unwrap_or_else(|| "unnamed".to_owned()),
            size_bytes: self.size_bytes().unwrap_or(max_bytes),
            mime_type: described(&self.mime_type).or_else(|| self.text("type")),
            sha256: self.text("sha256"),
            session_id: self.id("session_id")?,
            chatroom_id: self.id("chatroom_id")?,
            thread_id: self.id("thread_id")?,
            metadata: sent.or_else(|| Metadata::of(&self.meta)),
            ..FileFacts::default()
        })
    }
}

/// The name in the key that a page asks for: Uppy's own is `{uuid}-{name}`.
fn name_in(key: &str) -> Option<String> {
    let last = key.rsplit('/').next()?;
    let behind_id = last.get(..UUID_LENGTH).filter(|id| Uuid::try_parse(id).is_ok()).and(last.get(UUID_LENGTH..));
    let name = behind_id.and_then(|rest| rest.strip_prefix('-')).unwrap_or(last);
    (Uuid::try_parse(last).is_err() && waybill_domain::name::check(name).is_ok()).then(|| name.to_owned())
}

/// An upload that runs, and its quarantine key.
struct Quarantined {
    aggregate: UploadAggregate,
    loaded: Loaded<State>,
    key: String,
}

impl Asked {
    /// Starts an upload. A request that is repeated with its `Idempotency-Key` means the same one; the key that a page asks
    /// for does not tell files apart.
    async fn start(&self, described: &Described) -> Result<Quarantined, Problem> {
        let (gateway, principal, request) = (&self.gateway, &self.principal, &self.request);
        gateway.check_direct()?;
        let facts = described.facts(gateway.policies.limits(principal.company_id).await?.max_file_bytes)?;
        let started = check(gateway, principal, &self.context, &facts).await?;
        let body = serde_json::to_vec(&facts).map_err(|_| Problem::internal())?;
        let upload = UploadId(gateway.idempotency.id_for(request, principal, "uppy", &body).await?);
        let is_repeatable = Idempotency::is_repeatable(request);
        let key = format!("{}{OBJECT}", names::quarantine_prefix(principal.company_id, upload));
        let start = UploadStartedV2 {
            started,
            length_deferred: described.size_bytes().is_none(),
            kind: UploadKind::Quarantine { quarantine_key: key.clone() },
            upload_metadata: None,
        };
        start_now(gateway, principal, &self.context, upload, start, is_repeatable).await?;
        let aggregate = UploadAggregate { company: principal.company_id, upload };
        let mut found = Quarantined { aggregate, loaded: Loaded::default(), key };
        // From now on it has the time of its URLs.
        self.expect_object(&mut found).await?;
        Ok(found)
    }

    /// The running upload of a key that was given out.
    async fn find(&self, key: &str) -> Result<Quarantined, Problem> {
        let found = self.find_any(key).await?;
        found.loaded.state.check_open(now()).map_err(|refusal| refused(&refusal))?;
        Ok(found)
    }

    /// The upload of a key that was given out, however far it is.
    async fn find_any(&self, key: &str) -> Result<Quarantined, Problem> {
        let unknown = || Problem::not_found("upload");
        let mut segments = key.split('/');
        let id = segments.nth(2).ok_or_else(unknown)?.parse().map_err(|_| unknown())?;
        let (aggregate, loaded) = self.gateway.upload(&self.principal, id).await?;
        let is_its_key =
            matches!(&loaded.state.kind, UploadKind::Quarantine { quarantine_key } if quarantine_key == key);
        if !is_its_key {
            return Err(unknown());
        }
        Ok(Quarantined { aggregate, loaded, key: key.to_owned() })
    }

    fn presign(&self, key: &str, request: &Presign<'_>) -> Result<Presigned, Problem> {
        let signed = self.gateway.presigner.presign(key, request, self.gateway.upload_url_lifetime);
        signed.map_err(|error| error.into_problem("signing a request"))
    }

    /// Lists what is there already; an upload with more than its reservation holds is ended. It has one multipart upload
    /// at a time: whoever goes on with one gives up the others, which would hold space besides.
    async fn check_room(&self, found: &mut Quarantined, upload_id: &str) -> Result<Vec<ListedPart>, Problem> {
        let store = &self.gateway.store;
        let open = store.list_multiparts(&found.key).await.map_err(|e| e.into_problem("listing multipart uploads"))?;
        for (key, other) in open.iter().filter(|(_, open)| open != upload_id) {
            let aborted = store.abort_multipart(key, other).await;
            cleaned(aborted, "dropping a second multipart upload")?;
        }
        let parts = match store.list_parts(&found.key, upload_id).await {
            Ok(parts) => parts,
            Err(StoreError::NoSuchUpload { .. } | StoreError::NotFound { .. }) => {
                return Err(Problem::not_found("multipart upload"));
            }
            Err(error) => return Err(error.into_problem("listing parts")),
        };
        let size_bytes = found.loaded.state.grid().size_bytes;
        if parts.iter().map(|part| part.size_bytes).sum::<u64>() <= size_bytes {
            return Ok(parts);
        }
        cancel_upload(&self.gateway, &self.context, &found.aggregate, &mut found.loaded).await?;
        let aborted = store.abort_multipart(&found.key, upload_id).await;
        cleaned(aborted, "dropping a multipart upload")?;
        Err(refused(&Refusal::SizeExceeded { size_bytes }))
    }

    /// The client is given a URL: for as long as it lasts the upload is the client's, and a worker looks for its object.
    async fn expect_object(&self, found: &mut Quarantined) -> Result<(), Problem> {
        let until = end_of(self.gateway.upload_url_lifetime);
        let (log, command) = (self.gateway.log.as_ref(), Command::SignQuarantine { until });
        execute(log, &found.aggregate, &mut found.loaded, &self.context, command)
            .await
            .map(drop)
            .map_err(|error| error.into_problem("signing a request"))
    }

    /// Sets space aside for `bytes`, where the client has not said how many it sends.
    async fn reserve(&self, found: &Quarantined, bytes: u64) -> Result<(), Problem> {
        if !found.loaded.state.length_deferred {
            return Ok(());
        }
        let max_bytes = found.loaded.state.grid().size_bytes;
        let (company, upload) = (found.aggregate.company, found.aggregate.upload);
        self.gateway.reserver.raise(company, upload, (bytes.min(max_bytes), max_bytes), &self.context).await
    }

    /// Signs a part; of an upload of unknown size its space is set aside first, as large as the largest part so far.
    async fn sign_part(
        &self,
        found: &mut Quarantined,
        upload_id: &str,
        part_number: u32,
    ) -> Result<Presigned, Problem> {
        check_part_number(part_number)?;
        let parts = self.check_room(found, upload_id).await?;
        let there: u64 = parts.iter().map(|part| part.size_bytes).sum();
        let largest = parts.iter().map(|part| part.size_bytes).max().unwrap_or_default().max(UNKNOWN_PART_BYTES);
        let before = parts.iter().filter(|part| part.part_number < part_number).count();
        let under_way = u64::from(part_number).saturating_sub(before as u64);
        self.reserve(found, there.saturating_add(under_way.saturating_mul(largest))).await?;
        self.expect_object(found).await?;
        self.presign(&found.key, &Presign::UploadPart { upload_id, part_number, pinned: None })
    }

    /// Completes a multipart upload, unless that was done before and the answer was lost.
    async fn make_object(
        &self,
        found: &mut Quarantined,
        upload_id: &str,
        parts: &[CompletedPart],
    ) -> Result<(), Problem> {
        found.loaded.state.check_open(now()).map_err(|refusal| refused(&refusal))?;
        let store = &self.gateway.store;
        if self.is_made(&found.key).await? {
            return self.expect_object(found).await;
        }
        let listed = self.check_room(found, upload_id).await?;
        check_parts(&listed, parts)?;
        self.reserve(found, listed.iter().map(|part| part.size_bytes).sum()).await?;
        // Said first: should this process die behind it, a worker finds the object.
        self.expect_object(found).await?;
        match store.complete_multipart(&found.key, upload_id, parts).await {
            Ok(()) => Ok(()),
            // Somebody else was faster, or a worker has taken the object.
            Err(StoreError::NoSuchUpload { .. }) if self.is_made(&found.key).await? => Ok(()),
            Err(StoreError::NoSuchUpload { .. }) => Err(Problem::not_found("multipart upload")),
            Err(StoreError::PartsInvalid { code, .. }) => {
                Err(Problem::bad_request("parts_invalid", format!("the store refuses the parts: {code}")))
            }
            Err(error) => Err(error.into_problem("completing a multipart upload")),
        }
    }

    async fn is_made(&self, key: &str) -> Result<bool, Problem> {
        let size = self.gateway.store.size(key).await;
        size.map(|size| size.is_some()).map_err(|error| error.into_problem("looking for an object"))
    }

    /// A signed PUT of the whole object.
    fn sign_object(&self, found: &Quarantined, size_bytes: Option<u64>) -> Result<Presigned, Problem> {
        self.presign(&found.key, &Presign::PutObject { size_bytes })
    }
}

/// Whether these parts, in this order, are there to be made one object of: what S3 would say (InvalidPart,
/// InvalidPartOrder), which not every store does.
fn check_parts(listed: &[ListedPart], parts: &[CompletedPart]) -> Result<(), Problem> {
    if parts.is_empty() {
        return Err(Problem::bad_request("parts_invalid", "an object has at least one part; send them first"));
    }
    if !parts.is_sorted_by(|a, b| a.part_number < b.part_number) {
        return Err(Problem::bad_request("parts_invalid", "name each part once, in ascending order of their numbers"));
    }
    let is_there = |part: &CompletedPart| {
        listed.iter().any(|known| known.part_number == part.part_number && known.has_etag(&part.etag))
    };
    match parts.iter().find(|part| !is_there(part)) {
        Some(part) => {
            let detail = format!("the store has no part {} with this ETag; send it again", part.part_number);
            Err(Problem::new(409, "part_missing", detail).with("part_number", part.part_number))
        }
        None => Ok(()),
    }
}

#[derive(Deserialize, ToSchema)]
#[schema(as = UppyCreate)]
pub(crate) struct Create {
    filename: Option<String>,
    #[serde(rename = "type")]
    mime_type: Option<String>,
    #[schema(value_type = Option<Object>)]
    metadata: Option<Metadata>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct KeyQuery {
    key: String,
}

/// Version 5: begins a multipart upload.
#[utoipa::path(
    tag = "uppy",
    operation_id = "uppy_create",
    request_body = Create,
    responses(
        (status = 200, description = "Begun", body = Created),
        (status = 409, description = "`session_ended`"),
        (status = 413, description = "`file_too_large`, `quota_exceeded`, `metadata_too_large`, `json_too_large`"),
        (status = 415, description = "`type_refused`, `content_type_refused`"),
        (status = 422, description = "`name_invalid`, `digest_invalid`"),
    ),
)]
#[post("/uppy/s3/multipart")]
pub(crate) async fn create(
    request: HttpRequest,
    principal: Principal,
    id: RequestId,
    body: web::Json<Create>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let asked = Asked::new(gateway, principal, id, request);
    let Create { filename, mime_type, metadata } = body.into_inner();
    let meta = metadata.as_ref().map(Metadata::members).unwrap_or_default();
    let described = Described { name: filename, mime_type, meta, sent: metadata };
    let Quarantined { aggregate, key, .. } = asked.start(&described).await?;
    let (store, file_id) = (&asked.gateway.store, aggregate.upload.0);
    let upload_id =
        store.create_multipart(&key, None).await.map_err(|e| e.into_problem("opening a multipart upload"))?;
    Ok(HttpResponse::Ok().json(Created { upload_id, key, bucket: store.bucket().to_owned(), file_id }))
}

/// Version 5: a URL for a part.
#[utoipa::path(
    tag = "uppy",
    operation_id = "uppy_sign_part",
    params(("upload_id" = String, Path, description = "The store's"), ("part_number" = u32, Path), KeyQuery),
    responses(
        (status = 200, description = "A URL", body = SignedPart),
        (status = 409, description = "`upload_completed`"),
        (status = 410, description = "`upload_ended`"),
        (status = 413, description = "`size_exceeded`"),
    ),
)]
#[get("/uppy/s3/multipart/{upload_id}/{part_number}")]
pub(crate) async fn sign_part(
    request: HttpRequest,
    principal: Principal,
    id: RequestId,
    path: web::Path<(String, u32)>,
    query: web::Query<KeyQuery>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let asked = Asked::new(gateway, principal, id, request);
    let mut found = asked.find(&query.key).await?;
    let (upload_id, part_number) = path.into_inner();
    let signed = asked.sign_part(&mut found, &upload_id, part_number).await?;
    Ok(HttpResponse::Ok().json(SignedPart { url: signed.url, expires: asked.gateway.upload_url_lifetime.as_secs() }))
}

/// Version 5: what is there already.
#[utoipa::path(
    tag = "uppy",
    operation_id = "uppy_list_parts",
    params(("upload_id" = String, Path, description = "The store's"), KeyQuery),
    responses(
        (status = 200, description = "What is there already", body = Vec<UppyPart>),
        (status = 409, description = "`upload_completed`"),
        (status = 410, description = "`upload_ended`"),
        (status = 413, description = "`size_exceeded`"),
    ),
)]
#[get("/uppy/s3/multipart/{upload_id}")]
pub(crate) async fn list(
    request: HttpRequest,
    principal: Principal,
    id: RequestId,
    path: web::Path<String>,
    query: web::Query<KeyQuery>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let asked = Asked::new(gateway, principal, id, request);
    let mut found = asked.find(&query.key).await?;
    let parts = asked.check_room(&mut found, &path).await?;
    let part = |part: ListedPart| UppyPart { part_number: part.part_number, etag: part.etag, size: part.size_bytes };
    let parts: Vec<UppyPart> = parts.into_iter().map(part).collect();
    Ok(HttpResponse::Ok().json(parts))
}

#[derive(Deserialize, ToSchema)]
#[schema(as = UppyCompletion)]
pub(crate) struct Completion {
    parts: Vec<CompletionPart>,
}

#[derive(Deserialize, ToSchema)]
struct CompletionPart {
    #[serde(rename = "PartNumber")]
    part_number: u32,
    #[serde(rename = "ETag")]
    etag: String,
}

/// Version 5: makes the object of its parts, and waits a while until it is verified.
#[utoipa::path(
    tag = "uppy",
    operation_id = "uppy_complete",
    params(("upload_id" = String, Path, description = "The store's"), KeyQuery),
    request_body = Completion,
    responses(
        (status = 200, description = "Verified", body = Completed),
        (status = 202, description = "The object is made, and is being verified", body = Completed),
        (status = 400, description = "`parts_invalid`: no parts, or not in their order"),
        (status = 409, description = "`upload_completed`, `part_missing`"),
        (status = 410, description = "`upload_ended`"),
        (status = 413, description = "`size_exceeded`, `quota_exceeded`, `json_too_large`"),
        (status = 415, description = "`content_type_refused`"),
        (status = 422, description = "`digest_mismatch`, `type_refused`"),
    ),
)]
#[post("/uppy/s3/multipart/{upload_id}/complete")]
pub(crate) async fn complete(
    request: HttpRequest,
    principal: Principal,
    id: RequestId,
    path: web::Path<String>,
    query: web::Query<KeyQuery>,
    payload: web::Payload,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let completion: Completion = json::read(&request, payload, COMPLETION_MAX_BYTES).await?;
    let asked = Asked::new(gateway, principal, id, request);
    let mut found = asked.find_any(&query.key).await?;
    let part = |part: CompletionPart| CompletedPart { part_number: part.part_number, etag: part.etag, crc: None };
    let parts: Vec<CompletedPart> = completion.parts.into_iter().map(part).collect();
    if !matches!(found.loaded.state.phase, Phase::Completed | Phase::Verified { .. } | Phase::Rejected { .. }) {
        asked.make_object(&mut found, &path, &parts).await?;
    }
    let store = &asked.gateway.store;
    wait::until_ended(&asked.gateway, &found.aggregate, &mut found.loaded, wait::FOR_VERIFICATION).await?;
    let phase = &found.loaded.state.phase;
    rejected(phase)?;
    let mut answer = match phase {
        Phase::Verified { .. } => HttpResponse::Ok(),
        Phase::Cancelled => return Err(refused(&Refusal::UploadEnded { status: "cancelled" })),
        Phase::Expired => return Err(refused(&Refusal::UploadEnded { status: "expired" })),
        _ => HttpResponse::Accepted(),
    };
    let upload = found.aggregate.upload;
    Ok(answer.json(Completed {
        location: format!("/v1/files/{upload}/content"),
        key: found.key,
        bucket: store.bucket().to_owned(),
        file_id: upload.0,
    }))
}

/// Version 5: no more of it.
#[utoipa::path(
    tag = "uppy",
    operation_id = "uppy_abort",
    params(("upload_id" = String, Path, description = "The store's"), KeyQuery),
    responses(
        (status = 200, description = "Cancelled", body = Nothing),
        (status = 409, description = "`upload_completed`"),
        (status = 410, description = "`upload_ended`"),
    ),
)]
#[delete("/uppy/s3/multipart/{upload_id}")]
pub(crate) async fn abort(
    request: HttpRequest,
    principal: Principal,
    id: RequestId,
    query: web::Query<KeyQuery>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let asked = Asked::new(gateway, principal, id, request);
    let mut found = asked.find(&query.key).await?;
    cancel_upload(&asked.gateway, &asked.context, &found.aggregate, &mut found.loaded).await?;
    Ok(HttpResponse::Ok().json(Nothing {}))
}

/// Version 5: a URL for a small file in one request.
#[utoipa::path(
    tag = "uppy",
    operation_id = "uppy_params",
    params(UppyParams),
    responses(
        (status = 200, description = "A URL", body = UploadParameters),
        (status = 409, description = "`session_ended`"),
        (status = 413, description = "`file_too_large`, `quota_exceeded`, `metadata_too_large`"),
        (status = 415, description = "`type_refused`"),
        (status = 422, description = "`name_invalid`, `digest_invalid`"),
    ),
)]
#[get("/uppy/s3/params")]
pub(crate) async fn params(
    request: HttpRequest,
    principal: Principal,
    id: RequestId,
    query: web::Query<Vec<(String, String)>>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let asked = Asked::new(gateway, principal, id, request);
    let mut described = Described::default();
    for (name, value) in query.into_inner() {
        match name.as_str() {
            "filename" => described.name = Some(value),
            "type" => described.mime_type = Some(value),
            other => {
                let key = other.strip_prefix("metadata[").and_then(|rest| rest.strip_suffix(']'));
                described.meta.extend(key.map(|key| (key.to_owned(), Value::String(value))));
            }
        }
    }
    let found = asked.start(&described).await?;
    let signed = asked.sign_object(&found, described.size_bytes())?;
    let (upload, key) = (found.aggregate.upload, found.key);
    Ok(HttpResponse::Ok().json(UploadParameters {
        method: signed.method.to_string(),
        url: signed.url,
        headers: Nothing {},
        fields: Fields { key },
        expires: asked.gateway.upload_url_lifetime.as_secs(),
        file_id: upload.0,
    }))
}

/// What version 6 passes to `signRequest`, and what the page adds of the file.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SignRequest {
    method: String,
    key: String,
    upload_id: Option<String>,
    part_number: Option<u32>,
    content_type: Option<String>,
    name: Option<String>,
    #[serde(rename = "type")]
    mime_type: Option<String>,
    size: Option<u64>,
    #[schema(value_type = Option<Object>)]
    metadata: Option<Metadata>,
}

/// Version 6: signs each of its requests to the store. The first one of a file is answered with a key of ours.
#[utoipa::path(
    tag = "uppy",
    operation_id = "uppy_sign",
    request_body = SignRequest,
    responses(
        (status = 200, description = "The signed request", body = SignedRequest),
        (status = 404, description = "`not_found`"),
        (status = 409, description = "`upload_completed`, `session_ended`"),
        (status = 410, description = "`upload_ended`"),
        (status = 413, description = "`file_too_large`, `quota_exceeded`, `metadata_too_large`, `size_exceeded`, `json_too_large`"),
        (status = 415, description = "`type_refused`, `content_type_refused`"),
        (status = 422, description = "`name_invalid`, `digest_invalid`, `idempotency_key_reused`"),
    ),
)]
#[post("/uppy/s3/sign")]
pub(crate) async fn sign(
    request: HttpRequest,
    principal: Principal,
    id: RequestId,
    body: web::Json<SignRequest>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let asked = Asked::new(gateway, principal, id, request);
    let wanted = body.into_inner();
    let (key, signed) = match (wanted.method.as_str(), &wanted.upload_id, wanted.part_number) {
        ("PUT" | "POST", None, None) => asked.sign_new(&wanted).await?,
        (method, Some(upload_id), part_number) => {
            let signed = asked.sign_running(method, &wanted.key, upload_id, part_number).await?;
            (wanted.key.clone(), signed)
        }
        _ => return Err(unknown_request()),
    };
    Ok(HttpResponse::Ok().insert_header(("Cache-Control", "no-store")).json(SignedRequest {
        url: signed.url,
        method: signed.method.to_string(),
        key,
        headers: Nothing {},
    }))
}

impl Asked {
    async fn sign_new(&self, wanted: &SignRequest) -> Result<(String, Presigned), Problem> {
        let mut meta = wanted.metadata.as_ref().map(Metadata::members).unwrap_or_default();
        if let Some(size) = wanted.size {
            meta.insert("size".to_owned(), Value::String(size.to_string()));
        }
        let mime_type = wanted.mime_type.clone().or_else(|| wanted.content_type.clone());
        let name = wanted.name.clone().or_else(|| name_in(&wanted.key));
        let described = Described { name, mime_type, meta, sent: wanted.metadata.clone() };
        let found = self.start(&described).await?;
        let signed = match wanted.method.as_str() {
            "PUT" => self.sign_object(&found, described.size_bytes())?,
            _ => self.presign(&found.key, &Presign::CreateMultipart)?,
        };
        Ok((found.key, signed))
    }

    async fn sign_running(
        &self,
        method: &str,
        key: &str,
        upload_id: &str,
        part_number: Option<u32>,
    ) -> Result<Presigned, Problem> {
        let mut found = self.find(key).await?;
        match (method, part_number) {
            ("PUT", Some(part_number)) => self.sign_part(&mut found, upload_id, part_number).await,
            ("GET", None) => self.presign(key, &Presign::ListParts { upload_id }),
            ("POST", None) => {
                let parts = self.check_room(&mut found, upload_id).await?;
                if parts.is_empty() {
                    return Err(Problem::bad_request(
                        "parts_invalid",
                        "an object has at least one part; send them first",
                    ));
                }
                self.reserve(&found, parts.iter().map(|part| part.size_bytes).sum()).await?;
                self.expect_object(&mut found).await?;
                self.presign(key, &Presign::CompleteMultipart { upload_id })
            }
            ("DELETE", None) => {
                cancel_upload(&self.gateway, &self.context, &found.aggregate, &mut found.loaded).await?;
                self.presign(key, &Presign::AbortMultipart { upload_id })
            }
            _ => Err(unknown_request()),
        }
    }
}

fn unknown_request() -> Problem {
    Problem::bad_request("request_invalid", "send method, key, and uploadId and partNumber as signRequest has them")
}

/// S3 has parts 1 to 10,000.
fn check_part_number(part_number: u32) -> Result<(), Problem> {
    if (1..=10_000).contains(&part_number) {
        return Ok(());
    }
    Err(Problem::bad_request("parts_invalid", "parts are numbered 1 to 10000"))
}
