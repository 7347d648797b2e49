//! `GET /v1/uploads/{id}`: from the event log, so that a client that resumes is told what is so now.

use crate::gateway::Gateway;
use actix_web::{HttpResponse, web};
use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};
use waybill_domain::upload::{Phase, State};
use waybill_schema::{Timestamp, UploadId};
use waybill_service_kit::{Principal, Problem};

pub(crate) async fn show(
    principal: Principal,
    id: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let id = parse_id(&id)?;
    let (_, loaded) = gateway.upload(&principal, id).await?;
    Ok(HttpResponse::Ok().insert_header(("Cache-Control", "no-store")).json(status(id, &loaded.state)))
}

/// The id in a path; what is no id names nothing.
pub(crate) fn parse_id(text: &str) -> Result<UploadId, Problem> {
    text.parse().map_err(|_| Problem::not_found("upload"))
}

pub(crate) fn rfc3339(time: Timestamp) -> String {
    DateTime::from_timestamp_millis(time.0).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// An upload as clients see it.
pub(crate) fn status(id: UploadId, state: &State) -> Value {
    let grid = state.grid();
    let missing: Vec<[u64; 2]> = state.missing().iter().map(|gap| [gap.from, gap.to]).collect();
    let mut status = json!({
        "upload_id": id,
        "file_id": id,
        "status": state.status().as_str(),
        "offset_bytes": state.stored.prefix(),
        "bytes_uploaded": state.stored.total(),
        "size_bytes": state.length(),
        "missing": missing,
        "part_size_bytes": grid.part_size_bytes,
        "total_chunks": grid.total_parts(),
        "started_at": rfc3339(state.started_at),
        "session_id": state.started.as_ref().and_then(|started| started.session_id),
        "expires_at": state.started.as_ref().map(|started| rfc3339(started.expires_at)),
    });
    let end = match &state.phase {
        Phase::Verified { sha256, .. } => json!({ "sha256": sha256 }),
        Phase::Rejected { code, message } => json!({ "error_code": code, "error_message": message }),
        Phase::Expired => {
            json!({ "error_code": "upload_expired", "error_message": "the upload was not continued in time" })
        }
        _ => json!({}),
    };
    if let (Some(status), Value::Object(end)) = (status.as_object_mut(), end) {
        status.extend(end);
    }
    status
}
