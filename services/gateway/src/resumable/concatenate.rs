//! `Upload-Concat: final;…` (tus 1.0, Concatenation): a file of partial uploads, joined by a worker.

use super::append::loaded;
use super::dialect::set;
use super::metadata::Metadata;
use super::{Asked, create, upload_url};
use crate::problems::{IntoProblem, refused, rejected};
use crate::uploads::{begin, check, parse_id, space_of};
use crate::wait;
use actix_web::HttpResponse;
use uuid::Uuid;
use waybill_domain::Refusal;
use waybill_domain::upload::{Command, Phase, State};
use waybill_repository::{Loaded, UploadAggregate, execute};
use waybill_schema::events::{UploadKind, UploadStartedV2};
use waybill_schema::{Position, UploadId};
use waybill_service_kit::Problem;

/// How many partial uploads a file may have.
const MAX_PARTIALS: usize = 1_000;

pub(super) async fn create(asked: &Asked, concat: &str, metadata: &Metadata) -> Result<HttpResponse, Problem> {
    if asked.request.headers().contains_key("Upload-Length") {
        return Err(Problem::bad_request("header_invalid", "a final upload has no Upload-Length: its parts say it"));
    }
    let partials = partials(concat)?;
    let mut states = Vec::with_capacity(partials.len());
    for partial in &partials {
        let (_, loaded) = asked.gateway.upload(&asked.principal, *partial).await?;
        states.push(loaded.state);
    }
    // Sent again because its answer was lost: it is the same file.
    if let Some(before) = made_before(asked, &partials, &states).await? {
        return answer(asked, before, concat).await;
    }
    for state in &states {
        check_partial(state)?;
    }
    let size_bytes = states.iter().map(|state| state.grid().size_bytes).sum();
    let facts = create::facts(asked, metadata, size_bytes)?;
    let context = asked.context();
    let started = check(&asked.gateway, &asked.principal, &context, &facts).await?;
    let start = UploadStartedV2 {
        started,
        length_deferred: false,
        kind: UploadKind::Final { partials: partials.clone(), upload_concat: concat.to_owned() },
        upload_metadata: asked.upload_metadata()?.map(str::to_owned),
    };
    let (gateway, principal) = (&asked.gateway, &asked.principal);
    let upload = create::id_of(asked, &start).await?;
    let item = space_of(upload, &start);
    let reserved = gateway.reserver.transfer(principal.company_id, &item, &partials, &context).await?;
    begin(gateway, principal, &context, (upload, start), reserved, false).await?;
    // A worker claims them, too, if this process dies here; the client is to hear of a conflict now.
    for partial in partials {
        if let Err(problem) = claim(asked, partial, upload).await {
            // What passes is not what it ends for: the worker goes on with it, and who asks again finds it.
            if problem.status >= 500 {
                return Err(problem);
            }
            let aggregate = asked.aggregate(upload);
            let log = gateway.log.as_ref();
            let cancelled = execute(log, &aggregate, &mut Loaded::default(), &context, Command::Cancel).await;
            if let Err(error) = cancelled {
                tracing::warn!(upload_id = %upload, %error, "a final upload waits for its end");
            }
            return Err(problem);
        }
    }
    answer(asked, upload, concat).await
}

/// The partial uploads, by the last segments of their URLs.
fn partials(concat: &str) -> Result<Vec<UploadId>, Problem> {
    let urls = concat.trim_start_matches("final;").split_whitespace();
    let ids: Vec<UploadId> =
        urls.map(|url| parse_id(url.rsplit('/').next().unwrap_or(url))).collect::<Result<_, _>>()?;
    if ids.is_empty() || ids.len() > MAX_PARTIALS {
        return Err(Problem::bad_request("header_invalid", "Upload-Concat: name 1 to 1000 partial uploads"));
    }
    Ok(ids)
}

fn check_partial(state: &State) -> Result<(), Problem> {
    let decided = waybill_domain::upload::decide(state, Command::Claim { into: UploadId(Uuid::nil()) });
    decided.map(drop).map_err(|refusal| refused(&refusal))
}

/// The final upload of all of these, in this order, whether or not it has claimed all of them yet.
async fn made_before(asked: &Asked, partials: &[UploadId], states: &[State]) -> Result<Option<UploadId>, Problem> {
    let claimed_for = states.iter().find_map(|state| match state.phase {
        Phase::Concatenated { into } => Some(into),
        _ => None,
    });
    let Some(into) = claimed_for else { return Ok(None) };
    let made = loaded(asked, &asked.aggregate(into)).await?;
    let same = matches!(&made.state.kind, UploadKind::Final { partials: of, .. } if of == partials);
    Ok(same.then_some(into))
}

async fn claim(asked: &Asked, partial: UploadId, into: UploadId) -> Result<(), Problem> {
    let aggregate = UploadAggregate { company: asked.principal.company_id, upload: partial };
    let log = asked.gateway.log.as_ref();
    execute(log, &aggregate, &mut Loaded::default(), &asked.context(), Command::Claim { into })
        .await
        .map(drop)
        .map_err(|error| error.into_problem("claiming a partial upload"))
}

/// The final upload; waits a while for its end, so that a file that is refused is not reported as done.
async fn answer(asked: &Asked, upload: UploadId, concat: &str) -> Result<HttpResponse, Problem> {
    let aggregate = asked.aggregate(upload);
    let mut loaded = Loaded::default();
    wait::until_ended(&asked.gateway, &aggregate, &mut loaded, wait::FOR_VERIFICATION).await?;
    rejected(&loaded.state.phase)?;
    if loaded.state.phase == Phase::Cancelled {
        return Err(refused(&Refusal::UploadEnded { status: "cancelled" }));
    }
    let mut answer = HttpResponse::Created().finish();
    let partition = asked.gateway.log.partitions().of(aggregate.company);
    set(&mut answer, "location", upload_url(upload));
    set(&mut answer, "upload-concat", concat);
    set(&mut answer, "waybill-position", Position { partition, seq: loaded.read_to }.to_string());
    Ok(answer)
}
