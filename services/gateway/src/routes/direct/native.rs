//! `POST /v1/uploads/{id}/parts/sign` and `POST /v1/uploads/{id}/parts` for uploads that were started with `"mode":
//! "direct"`. A worker completes the multipart upload, reads the object back and verifies it. Nobody can read the file
//! before that.

use crate::application::gateway::Gateway;
use crate::http::path::UploadPath;
use crate::http::problems::{OrProblem, cleaned};
use crate::http::response::POSITION;
use crate::http::time::rfc3339;
use crate::routes::direct::end_of;
use actix_web::{HttpResponse, post, web};
use futures_util::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;
use waybill_api::parts::{PartToSign, PartsToSign, Report, Reported, SignedPart, SignedParts, StoredPart};
use waybill_data_plane::Checksum;
use waybill_data_plane::refused;
use waybill_domain::upload::{Command, State};
use waybill_http_kit::{Principal, Problem, RequestId};
use waybill_object_store::presign::{Pinned, Presign};
use waybill_object_store::{Crc, ListedPart};
use waybill_repository::{Context, Loaded, UploadAggregate};
use waybill_schema::ErrorCode;
use waybill_schema::events::{ChunkStorage, ChunkUploaded, MultipartOpened, UploadKind};
use waybill_schema::{Position, UploadId, WorkerId, names};
use waybill_service_kit::{new_id, now};

routes!(sign, report);

/// Maximum number of parts in one request.
const MAX_PARTS: usize = 100;

/// Up to this number of parts, the gateway looks up each part separately. For more, it lists all parts of the upload.
const LOOKED_AT: usize = 4;

/// Signs URLs for parts of a direct upload
///
/// Each URL accepts only a body with the announced size and checksum. All parts of an upload must have the same kind of
/// checksum as the first signed part.
#[utoipa::path(
    tag = "parts",
    operation_id = "sign_parts",
    params(("id" = Uuid, Path)),
    request_body = PartsToSign,
    responses(
        (status = 200, description = "A presigned request for each part", body = SignedParts),
        (status = 409, description = "`upload_kind`, `upload_completed`"),
        (status = 410, description = "`upload_ended`"),
    ),
)]
#[post("/v1/uploads/{id}/parts/sign")]
pub(crate) async fn sign(
    principal: Principal,
    id: RequestId,
    UploadPath(upload): UploadPath,
    body: web::Json<PartsToSign>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let (aggregate, mut loaded) = direct_upload(&gateway, &principal, upload).await?;
    loaded.state.check_open(now()).map_err(refused)?;
    check_count(body.parts.len())?;
    let pinned: Vec<Pin> = body.parts.iter().map(|part| pin(&loaded.state, part)).collect::<Result<_, Problem>>()?;
    let crc = pinned.first().and_then(|pin| pin.crc);
    let context = gateway.context(&principal, id);
    let multipart = open_multipart(&gateway, &aggregate, &mut loaded, crc, &context).await?;
    check_algorithm(&multipart, &pinned)?;
    let lifetime = gateway.settings.upload_url_lifetime();
    let mut parts = Vec::with_capacity(pinned.len());
    for Pin { part_number, pinned, .. } in pinned {
        let request = Presign::UploadPart {
            upload_id: &multipart.storage_upload_id,
            part_number,
            size_bytes: None,
            pinned: Some(pinned),
        };
        let signed =
            gateway.presigner.presign(&multipart.storage_key, &request, lifetime).await.or_problem("signing a part")?;
        parts.push(SignedPart {
            part_number,
            method: signed.method.to_string(),
            url: signed.url,
            headers: signed.headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            expires_at: rfc3339(end_of(signed.lifetime)),
        });
    }
    Ok(HttpResponse::Ok().insert_header(("Cache-Control", "no-store")).json(SignedParts { parts }))
}

/// Reports stored parts of a direct upload
///
/// Waybill looks up each part in the object store and records it. It refuses the request if the store does not have a
/// part with the reported ETag and the expected size.
#[utoipa::path(
    tag = "parts",
    operation_id = "report_parts",
    params(("id" = Uuid, Path)),
    request_body = Report,
    responses(
        (status = 200, description = "All parts are recorded", body = Reported),
        (status = 409, description = "`part_missing`, `upload_kind`, `upload_completed`, `chunk_differs`"),
        (status = 410, description = "`upload_ended`"),
    ),
)]
#[post("/v1/uploads/{id}/parts")]
pub(crate) async fn report(
    principal: Principal,
    id: RequestId,
    UploadPath(upload): UploadPath,
    body: web::Json<Report>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let parts = match body.into_inner() {
        Report::Several { parts } => parts,
        Report::One(part) => vec![part],
    };
    check_count(parts.len())?;
    let (aggregate, mut loaded) = direct_upload(&gateway, &principal, upload).await?;
    loaded.state.check_open(now()).map_err(refused)?;
    let Some(multipart) = loaded.state.multipart.clone() else {
        return Err(missing(parts.first().map_or(0, |part| part.part_number)));
    };
    let listed = listed(&gateway, &multipart, &parts).await?;
    let context = gateway.context(&principal, id);
    for part in parts {
        let range = loaded.state.grid().part(part.part_number);
        let is_it = |listed: &&ListedPart| {
            let same = listed.part_number == part.part_number && listed.has_etag(&part.etag);
            same && listed.size_bytes == range.len() && !range.is_empty()
        };
        let stored = listed.iter().find(is_it).ok_or_else(|| missing(part.part_number))?;
        let chunk = ChunkUploaded {
            offset: range.from,
            length: range.len(),
            // The store has checked the signed checksum, and the worker reads the whole object back before the file is
            // readable.
            crc64nvme: 0,
            etag: stored.etag.clone(),
            storage: ChunkStorage::Part { part_number: part.part_number },
            worker_id: WorkerId(Uuid::nil()),
            store_writes: 1,
        };
        gateway
            .repository
            .execute_from(&aggregate, &mut loaded, Command::RecordChunk(chunk), &context)
            .await
            .or_problem("recording a part")?;
    }
    let position = Position { partition: gateway.log.partitions().of(aggregate.company), seq: loaded.read_to };
    Ok(HttpResponse::Ok()
        .insert_header((POSITION, position.to_string()))
        .json(Reported { offset_bytes: loaded.state.stored.prefix(), bytes_uploaded: loaded.state.stored.total() }))
}

/// Loads the upload if it belongs to the principal and is a direct upload.
async fn direct_upload(
    gateway: &Gateway,
    principal: &Principal,
    upload: UploadId,
) -> Result<(UploadAggregate, Loaded<State>), Problem> {
    let (aggregate, loaded) = gateway.upload(principal, upload).await?;
    if loaded.state.kind != UploadKind::Direct {
        let text = "the upload was not started with \"mode\": \"direct\"";
        return Err(Problem::new(409, ErrorCode::UploadKind, text));
    }
    Ok((aggregate, loaded))
}

fn check_count(count: usize) -> Result<(), Problem> {
    if (1..=MAX_PARTS).contains(&count) {
        return Ok(());
    }
    Err(Problem::bad_request(ErrorCode::PartsInvalid, format!("send 1 to {MAX_PARTS} parts in one request")))
}

/// Size and checksum that the presigned URL of a part requires.
struct Pin {
    part_number: u32,
    /// Checksum algorithm, if Waybill announces it to the store when it opens the multipart upload. Waybill does not
    /// announce SHA algorithms: the store would compute the object's checksum from those of the parts, and require them
    /// again at the completion.
    crc: Option<Crc>,
    pinned: Pinned,
}

/// Checks that all parts have the checksum algorithm that was announced to the store, because the store refuses others.
fn check_algorithm(multipart: &MultipartOpened, pinned: &[Pin]) -> Result<(), Problem> {
    let announced = multipart.checksum_algorithm.as_deref();
    if pinned.iter().all(|pin| pin.crc.map(Crc::name) == announced) {
        return Ok(());
    }
    let said = announced.map_or_else(|| "sha1 or sha256".to_owned(), str::to_ascii_lowercase);
    let text = format!("send a checksum of the kind {said}: all parts of an upload must have the same kind");
    Err(Problem::bad_request(ErrorCode::ChecksumInvalid, text))
}

fn pin(state: &State, part: &PartToSign) -> Result<Pin, Problem> {
    let grid = state.grid();
    let size_bytes = grid.part(part.part_number).len();
    if size_bytes == 0 || part.part_number == 0 {
        let total = grid.total_parts();
        return Err(Problem::bad_request(
            ErrorCode::PartsInvalid,
            format!("part_number must be between 1 and {total}"),
        ));
    }
    if part.size_bytes != size_bytes {
        let text = format!("part {} must have {size_bytes} bytes", part.part_number);
        return Err(Problem::bad_request(ErrorCode::PartsInvalid, text)
            .with(|members| members.part_size_bytes = Some(size_bytes)));
    }
    let checksum: Checksum =
        part.checksum.parse().map_err(|error| Problem::bad_request(ErrorCode::ChecksumInvalid, format!("{error}")))?;
    let (crc, checksum_header) = match checksum {
        Checksum::Sha1(_) => (None, "x-amz-checksum-sha1"),
        Checksum::Sha256(_) => (None, "x-amz-checksum-sha256"),
        Checksum::Crc32(_) => (Some(Crc::Crc32), "x-amz-checksum-crc32"),
        Checksum::Crc32c(_) => (Some(Crc::Crc32c), "x-amz-checksum-crc32c"),
    };
    let pinned = Pinned { size_bytes, checksum_header, checksum: checksum.value() };
    Ok(Pin { part_number: part.part_number, crc, pinned })
}

/// Returns the multipart upload of the upload, and opens one if it has none. If a concurrent request was faster, this
/// one aborts the multipart upload that it opened.
async fn open_multipart(
    gateway: &Gateway,
    aggregate: &UploadAggregate,
    loaded: &mut Loaded<State>,
    crc: Option<Crc>,
    context: &Context,
) -> Result<MultipartOpened, Problem> {
    if let Some(multipart) = &loaded.state.multipart {
        return Ok(multipart.clone());
    }
    let store = &gateway.store;
    let storage_key = names::object_key(aggregate.company, aggregate.upload, new_id().simple());
    let storage_upload_id = store.create_multipart(&storage_key, crc).await.or_problem("opening a multipart upload")?;
    let opened = MultipartOpened {
        storage_bucket: store.bucket().to_owned(),
        storage_key,
        storage_upload_id,
        worker_id: WorkerId(Uuid::nil()),
        checksum_algorithm: crc.map(|crc| crc.name().to_owned()),
    };
    let command = Command::OpenMultipart(opened.clone());
    let done = gateway.repository.execute_from(aggregate, loaded, command, context).await;
    let won = loaded.state.multipart.as_ref() == Some(&opened);
    let unknown = matches!(&done, Err(waybill_repository::ExecuteError::Append(_)));
    if !won && !unknown {
        let aborted = store.abort_multipart(&opened.storage_key, &opened.storage_upload_id).await;
        cleaned(aborted, "dropping a second multipart upload")?;
    }
    done.or_problem("opening a multipart upload")?;
    loaded.state.multipart.clone().ok_or_else(Problem::internal)
}

/// Looks up these parts in the store. The result can contain other parts too.
async fn listed(
    gateway: &Gateway,
    multipart: &MultipartOpened,
    parts: &[StoredPart],
) -> Result<Vec<ListedPart>, Problem> {
    let (key, upload_id) = (&multipart.storage_key, &multipart.storage_upload_id);
    let found = if parts.len() > LOOKED_AT {
        gateway.store.list_parts(key, upload_id).await
    } else {
        let looks = parts.iter().map(|part| gateway.store.part(key, upload_id, part.part_number));
        stream::iter(looks).buffered(LOOKED_AT).try_concat().await
    };
    found.or_problem("listing parts")
}

fn missing(part_number: u32) -> Problem {
    let text = format!("the object store has no part {part_number} with this ETag; send the part to its URL again");
    Problem::new(409, ErrorCode::PartMissing, text).with(|members| members.part_number = Some(part_number))
}
