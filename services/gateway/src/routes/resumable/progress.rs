//! State and progress of an upload, as the responses of both protocols report them.

use crate::application::completion_wait::FOR_VERIFICATION;
use crate::application::uploads::end::finish;
use crate::http::problems::{OrProblem, rejected};
use crate::http::time::http_date;
use crate::routes::resumable::dialect::{offset_mismatch, set};
use crate::routes::resumable::request::Asked;
use actix_web::HttpResponse;
use waybill_data_plane::refused;
use waybill_domain::Refusal;
use waybill_domain::upload::{Phase, State};
use waybill_http_kit::Problem;
use waybill_repository::{FileAggregate, Loaded, UploadAggregate};
use waybill_schema::events::UploadStarted;
use waybill_schema::{Position, UploadId};
use waybill_service_kit::now;

/// Progress of an upload after a request.
pub(crate) struct Appended {
    pub(crate) offset: u64,
    pub(crate) is_complete: bool,
    pub(crate) position: Option<String>,
    /// State of the upload, if the request loaded it.
    pub(crate) state: Option<State>,
}

/// Sets the headers that responses to POST and PATCH have in common.
pub(crate) fn describe(answer: &mut HttpResponse, facts: &UploadStarted, appended: &Appended) {
    if !appended.is_complete {
        set(answer, "upload-expires", http_date(facts.started.expires_at));
    }
    if let Some(position) = &appended.position {
        set(answer, "waybill-position", position);
    }
}

/// Returns the current progress if `provided` is the offset of the upload.
pub(crate) async fn at_offset(asked: &Asked, upload: UploadId, provided: u64) -> Result<Appended, Problem> {
    let state = loaded(asked, &asked.aggregate(upload)).await?.state;
    check_alive(asked, upload, &state).await?;
    let offset = state.stored.prefix();
    if offset != provided {
        return Err(offset_mismatch(offset, provided));
    }
    Ok(Appended { offset, is_complete: false, position: None, state: None })
}

pub(crate) async fn loaded(asked: &Asked, aggregate: &UploadAggregate) -> Result<Loaded<State>, Problem> {
    asked.gateway.repository.load(aggregate).await.or_problem("loading an upload")
}

/// Completes an upload that has all of its bytes, and waits for its verification for a limited time.
pub(crate) async fn complete(asked: &Asked, upload: UploadId) -> Result<Appended, Problem> {
    let aggregate = asked.aggregate(upload);
    let mut loaded = Loaded::default();
    finish(&asked.gateway, &aggregate, &mut loaded, &asked.context(), None, FOR_VERIFICATION).await?;
    rejected(&loaded.state.phase)?;
    let partition = asked.gateway.log.partitions().of(aggregate.company);
    Ok(Appended {
        offset: loaded.state.grid().size_bytes,
        is_complete: true,
        position: Some(Position { partition, seq: loaded.read_to }.to_string()),
        state: Some(loaded.state),
    })
}

/// Refuses uploads that have ended without a file, and uploads whose file was deleted.
pub(crate) async fn check_alive(asked: &Asked, upload: UploadId, state: &State) -> Result<(), Problem> {
    let ended = |status| Err(refused(Refusal::UploadEnded { status }));
    match &state.phase {
        Phase::Active if state.started.as_ref().is_some_and(|started| now() >= started.expires_at) => ended("expired"),
        Phase::Absent | Phase::Cancelled | Phase::Expired | Phase::Rejected { .. } => {
            state.check_takes_bytes().map_err(refused)
        }
        Phase::Verified { .. } => {
            let file = FileAggregate { company: asked.principal.company_id, file: upload };
            let file = asked.gateway.repository.load(&file).await.or_problem("loading a file")?;
            if file.state.deleted || file.state.purged { ended("deleted") } else { Ok(()) }
        }
        // The bytes belong to the final upload now.
        Phase::Concatenated { .. } => ended("concatenated"),
        Phase::Active | Phase::Verifying => Ok(()),
    }
}
