//! HEAD: how far an upload is. GET: the same, and once it is finished, its file.

use super::append::{complete, loaded};
use super::dialect::{Dialect, limits, no_store, set};
use super::{Asked, http_date};
use crate::content;
use crate::problems::{IntoProblem, refused};
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use waybill_domain::Refusal;
use waybill_domain::upload::{Phase, State};
use waybill_repository::{FileAggregate, load};
use waybill_schema::UploadId;
use waybill_schema::events::UploadKind;
use waybill_service_kit::{Problem, now};

/// The file of an upload that is finished, as `/v1/files/{id}/content` answers; before that, how far it is.
pub(super) async fn read(asked: &Asked, upload: UploadId) -> Result<HttpResponse, Problem> {
    asked.gateway.started(&asked.principal, upload).await?;
    let state = loaded(asked, &asked.aggregate(upload)).await?.state;
    check_alive(asked, upload, &state).await?;
    if !matches!(state.phase, Phase::Verified { .. }) {
        let mut answer = look(asked, upload).await?;
        // There is nothing to be read yet.
        *answer.status_mut() = StatusCode::NO_CONTENT;
        return Ok(answer);
    }
    content::answer(&asked.request, &asked.principal, &upload.to_string(), &asked.gateway).await
}

pub(super) async fn look(asked: &Asked, upload: UploadId) -> Result<HttpResponse, Problem> {
    refuse_state_headers(asked)?;
    // First whose it is; then whoever still brings bytes is ended, so that the offset stays what is answered.
    asked.gateway.started(&asked.principal, upload).await?;
    asked.gateway.take_over(upload, None).await?;
    let mut state = loaded(asked, &asked.aggregate(upload)).await?.state;
    check_alive(asked, upload, &state).await?;
    // The last bytes came, but not the word that they are the last: the client will not send it, for it has nothing
    // more.
    let is_tus = asked.dialect == Dialect::Tus;
    if is_tus && state.phase == Phase::Active && state.kind == UploadKind::File && state.is_whole() {
        state = complete(asked, upload).await?.state.unwrap_or(state);
    }
    let is_complete = matches!(state.phase, Phase::Verifying | Phase::Verified { .. });
    // Whoever names no protocol is told what HTTP says: that there is something to be read (RFC 9110 §9.3.2).
    let is_plain = is_complete && !asked.dialect.is_named();
    let status = if is_tus || is_plain { StatusCode::OK } else { StatusCode::NO_CONTENT };
    let mut answer = HttpResponse::build(status).finish();
    no_store(&mut answer);
    let is_final = matches!(state.kind, UploadKind::Final { .. });
    if !(is_tus && is_final && !is_complete) {
        asked.dialect.say_progress(&mut answer, state.stored.prefix(), is_complete);
    }
    match state.length() {
        Some(length) => set(&mut answer, "upload-length", length.to_string()),
        None if is_tus => set(&mut answer, "upload-defer-length", "1"),
        None => {}
    }
    if is_tus {
        describe_tus(&mut answer, &state, is_complete);
    } else {
        let expires_at = state.started.as_ref().map_or(0, |started| started.expires_at.0);
        let max_bytes = asked.gateway.policies.limits(asked.principal.company_id).await?.max_file_bytes;
        set(&mut answer, "upload-limit", limits(max_bytes, expires_at - now().0));
    }
    Ok(answer)
}

fn describe_tus(answer: &mut HttpResponse, state: &State, is_complete: bool) {
    if let Some(metadata) = &state.upload_metadata {
        set(answer, "upload-metadata", metadata);
    }
    match &state.kind {
        UploadKind::Partial => set(answer, "upload-concat", "partial"),
        UploadKind::Final { upload_concat, .. } => set(answer, "upload-concat", upload_concat),
        UploadKind::File | UploadKind::Direct | UploadKind::Quarantine { .. } => {}
    }
    if let Some(started) = state.started.as_ref().filter(|_| !is_complete) {
        set(answer, "upload-expires", http_date(started.expires_at));
    }
}

/// What has ended without a file, or whose file was deleted, is gone.
pub(super) async fn check_alive(asked: &Asked, upload: UploadId, state: &State) -> Result<(), Problem> {
    let ended = |status| Err(refused(&Refusal::UploadEnded { status }));
    match &state.phase {
        Phase::Active if state.started.as_ref().is_some_and(|started| now() >= started.expires_at) => ended("expired"),
        Phase::Absent | Phase::Cancelled | Phase::Expired | Phase::Rejected { .. } => {
            state.check_takes_bytes().map_err(|refusal| refused(&refusal))
        }
        Phase::Verified { .. } => {
            let file = FileAggregate { company: asked.principal.company_id, file: upload };
            let file = load(asked.gateway.log.as_ref(), &file).await.map_err(|e| e.into_problem("loading a file"))?;
            if file.state.deleted || file.state.purged { ended("deleted") } else { Ok(()) }
        }
        // Its bytes are another file's now.
        Phase::Concatenated { .. } => ended("concatenated"),
        Phase::Active | Phase::Verifying => Ok(()),
    }
}

/// In the draft's early versions a HEAD or DELETE that brings an offset or completeness is malformed.
pub(super) fn refuse_state_headers(asked: &Asked) -> Result<(), Problem> {
    let brought = ["Upload-Offset", "Upload-Complete", "Upload-Incomplete"];
    let found = brought.into_iter().find(|name| asked.request.headers().contains_key(*name));
    match found {
        Some(name) if asked.dialect.is_early() => {
            Err(Problem::bad_request("header_invalid", format!("{name} has no meaning here")))
        }
        _ => Ok(()),
    }
}
