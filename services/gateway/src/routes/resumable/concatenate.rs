//! `Upload-Concat: final;…` (tus 1.0, Concatenation): creates a final upload. A worker joins its partial uploads.

use crate::application::completion_wait::FOR_VERIFICATION;
use crate::application::completion_wait::until_ended;
use crate::application::uploads::description::check;
use crate::application::uploads::start::{begin, space_of};
use crate::http::path::parse_upload;
use crate::http::problems::{OrProblem, rejected};
use crate::routes::resumable::creation::facts;
use crate::routes::resumable::creation::id_of;
use crate::routes::resumable::dialect::set;
use crate::routes::resumable::metadata::Metadata;
use crate::routes::resumable::progress::loaded;
use crate::routes::resumable::request::{Asked, upload_url};
use actix_web::HttpResponse;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use uuid::Uuid;
use waybill_data_plane::refused;
use waybill_domain::Refusal;
use waybill_domain::upload::{Command, Phase, State};
use waybill_http_kit::Problem;
use waybill_repository::{Loaded, UploadAggregate};
use waybill_schema::ErrorCode;
use waybill_schema::events::{UploadKind, UploadStarted};
use waybill_schema::{Position, UploadId};

/// Maximum number of partial uploads of a file.
const MAX_PARTIALS: usize = 1_000;

/// Creates a final upload and claims its partial uploads.
pub(crate) async fn create(asked: &Asked, concat: &str, metadata: &Metadata) -> Result<HttpResponse, Problem> {
    if asked.request.headers().contains_key("Upload-Length") {
        return Err(Problem::bad_request(
            ErrorCode::HeaderInvalid,
            "do not send Upload-Length for a final upload; its partial uploads have the length",
        ));
    }
    let partials = partials(concat)?;
    // A state can have thousands of pieces, so only one is in memory at a time. An upload can be in the list repeatedly.
    let mut found = BTreeMap::new();
    for id in &partials {
        if let Entry::Vacant(entry) = found.entry(*id) {
            let (_, loaded) = asked.gateway.upload(&asked.principal, *id).await?;
            entry.insert(Partial::of(&loaded.state));
        }
    }
    // A repeated request, for example after its response was lost, finds the same upload.
    if let Some(before) = made_before(asked, &partials, &found).await? {
        return answer(asked, before, concat).await;
    }
    let mut size_bytes = 0_u64;
    for partial in partials.iter().filter_map(|id| found.get(id)) {
        partial.check.clone().map_err(refused)?;
        size_bytes = size_bytes.saturating_add(partial.size_bytes);
    }
    let facts = facts(asked, metadata, size_bytes)?;
    let context = asked.context();
    let started = check(&asked.gateway, &asked.principal, &context, &facts).await?;
    let start = UploadStarted {
        started,
        length_deferred: false,
        kind: UploadKind::Final { partials: partials.clone(), upload_concat: concat.to_owned() },
        upload_metadata: asked.upload_metadata()?.map(str::to_owned),
        link_id: asked.principal.link,
    };
    let (gateway, principal) = (&asked.gateway, &asked.principal);
    let upload = id_of(asked, &start).await?;
    let item = space_of(principal, upload, &start);
    let reserved = gateway.reserver.transfer(principal.company_id, &item, &partials, &context).await?;
    begin(gateway, principal, &context, upload, start, reserved, false).await?;
    // If this process dies here, a worker claims the partial uploads. They are claimed here too, so that the client
    // gets conflicts in the response.
    for partial in partials {
        if let Err(problem) = claim(asked, partial, upload).await {
            // A temporary error does not end the upload: a worker continues it, and a repeated request finds it.
            if problem.status >= 500 {
                return Err(problem);
            }
            let aggregate = asked.aggregate(upload);
            let cancelled = gateway.repository.execute(&aggregate, Command::Cancel, &context).await;
            if let Err(error) = cancelled {
                tracing::warn!(upload_id = %upload, %error, "cannot cancel a final upload");
            }
            return Err(problem);
        }
    }
    answer(asked, upload, concat).await
}

/// Reads the ids of the partial uploads from the last segments of their URLs.
fn partials(concat: &str) -> Result<Vec<UploadId>, Problem> {
    let urls = concat.trim_start_matches("final;").split_whitespace();
    let ids: Vec<UploadId> =
        urls.map(|url| parse_upload(url.rsplit('/').next().unwrap_or(url))).collect::<Result<_, _>>()?;
    if ids.is_empty() || ids.len() > MAX_PARTIALS {
        return Err(Problem::bad_request(
            ErrorCode::HeaderInvalid,
            "Upload-Concat must contain 1 to 1000 partial uploads",
        ));
    }
    Ok(ids)
}

/// Facts about a partial upload that its concatenation depends on.
struct Partial {
    size_bytes: u64,
    /// The final upload that claimed it.
    claimed_into: Option<UploadId>,
    /// Reason for which it cannot be claimed, if there is one.
    check: Result<(), Refusal>,
}

impl Partial {
    fn of(state: &State) -> Self {
        let decided = waybill_domain::upload::decide(state, Command::Claim { into: UploadId(Uuid::nil()) });
        let claimed_into = match state.phase {
            Phase::Concatenated { into } => Some(into),
            _ => None,
        };
        Self { size_bytes: state.grid().size_bytes, claimed_into, check: decided.map(drop) }
    }
}

/// Returns an existing final upload of the same partial uploads in the same order, even if it has not claimed all of
/// them yet.
async fn made_before(
    asked: &Asked,
    partials: &[UploadId],
    found: &BTreeMap<UploadId, Partial>,
) -> Result<Option<UploadId>, Problem> {
    let Some(into) = found.values().find_map(|partial| partial.claimed_into) else { return Ok(None) };
    let made = loaded(asked, &asked.aggregate(into)).await?;
    let same = matches!(&made.state.kind, UploadKind::Final { partials: of, .. } if of == partials);
    Ok(same.then_some(into))
}

async fn claim(asked: &Asked, partial: UploadId, into: UploadId) -> Result<(), Problem> {
    let aggregate = UploadAggregate { company: asked.principal.company_id, upload: partial };
    asked
        .gateway
        .repository
        .execute(&aggregate, Command::Claim { into }, &asked.context())
        .await
        .map(drop)
        .or_problem("claiming a partial upload")
}

/// Waits for the end of the final upload for a limited time, and returns the response. A file that the verification
/// refuses is therefore usually not reported as created.
async fn answer(asked: &Asked, upload: UploadId, concat: &str) -> Result<HttpResponse, Problem> {
    let aggregate = asked.aggregate(upload);
    let mut loaded = Loaded::default();
    until_ended(&asked.gateway, &aggregate, &mut loaded, FOR_VERIFICATION).await?;
    rejected(&loaded.state.phase)?;
    if loaded.state.phase == Phase::Cancelled {
        return Err(refused(Refusal::UploadEnded { status: "cancelled" }));
    }
    let mut answer = HttpResponse::Created().finish();
    let partition = asked.gateway.log.partitions().of(aggregate.company);
    set(&mut answer, "location", upload_url(upload));
    set(&mut answer, "upload-concat", concat);
    set(&mut answer, "waybill-position", Position { partition, seq: loaded.read_to }.to_string());
    Ok(answer)
}
