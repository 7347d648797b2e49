//! `HEAD /tus/{id}` returns the offset of an upload. `GET` does the same, and returns the file after the verification.

use crate::application::links;
use crate::http::time::http_date;
use crate::routes::content;
use crate::routes::resumable::dialect::{Dialect, limits, no_store, set};
use crate::routes::resumable::progress::{check_alive, complete, loaded};
use crate::routes::resumable::request::Asked;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use waybill_domain::upload::{Phase, State};
use waybill_http_kit::Problem;
use waybill_schema::ErrorCode;
use waybill_schema::UploadId;
use waybill_schema::events::UploadKind;
use waybill_service_kit::now;

/// Returns the file like `/v1/files/{id}/content` if the upload is verified, and the offset before that.
pub(crate) async fn read(asked: &Asked, upload: UploadId) -> Result<HttpResponse, Problem> {
    asked.gateway.started(&asked.principal, upload).await?;
    let state = loaded(asked, &asked.aggregate(upload)).await?.state;
    check_alive(asked, upload, &state).await?;
    if !matches!(state.phase, Phase::Verified { .. }) {
        let mut answer = look(asked, upload).await?;
        // The file cannot be read yet.
        *answer.status_mut() = StatusCode::NO_CONTENT;
        return Ok(answer);
    }
    if asked.principal.link.is_some() {
        return Err(links::forbidden());
    }
    content::answer(&asked.request, &asked.principal, upload, &asked.gateway).await
}

/// Returns the offset of an upload. Stops a request that is still sending bytes.
pub(crate) async fn look(asked: &Asked, upload: UploadId) -> Result<HttpResponse, Problem> {
    refuse_state_headers(asked)?;
    // Check the owner first. Then stop the request that is sending bytes, so that the returned offset stays correct.
    asked.gateway.started(&asked.principal, upload).await?;
    asked.gateway.take_over(upload, None).await?;
    let mut state = loaded(asked, &asked.aggregate(upload)).await?.state;
    check_alive(asked, upload, &state).await?;
    // All bytes are stored, but the upload was not completed. A client of tus has nothing more to send, so complete it
    // here.
    let is_tus = asked.dialect == Dialect::Tus;
    if is_tus && state.phase == Phase::Active && state.kind == UploadKind::File && state.is_whole() {
        state = complete(asked, upload).await?.state.unwrap_or(state);
    }
    let is_complete = matches!(state.phase, Phase::Verifying | Phase::Verified { .. });
    // A client without a protocol gets the status of plain HTTP for a readable resource (RFC 9110 §9.3.2).
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
        let max_bytes = asked.gateway.limits(asked.principal.company_id).await?.max_file_bytes;
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

/// Refuses a HEAD or DELETE with an offset or completion header in the draft's early versions, which forbid that.
pub(crate) fn refuse_state_headers(asked: &Asked) -> Result<(), Problem> {
    let brought = ["Upload-Offset", "Upload-Complete", "Upload-Incomplete"];
    let found = brought.into_iter().find(|name| asked.request.headers().contains_key(*name));
    match found {
        Some(name) if asked.dialect.is_early() => {
            Err(Problem::bad_request(ErrorCode::HeaderInvalid, format!("{name} is not allowed in this request")))
        }
        _ => Ok(()),
    }
}
