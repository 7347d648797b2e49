//! `/v1/sessions`: groups of uploads that a user sees as one transfer.

use crate::application::gateway::Gateway;
use crate::application::sessions;
use crate::http::json;
use crate::http::parameters::{IdempotencyKey, MinPosition};
use crate::http::path::SessionPath;
use crate::http::problems::OrProblem;
use crate::http::response::POSITION;
use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use serde::Serialize;
use utoipa::ToSchema;
use waybill_api::sessions::{OpenBody, SessionOpened};
use waybill_domain::session::Command;
use waybill_http_kit::{Principal, Problem, RequestId};
use waybill_read_model::queries::{UploadProgress, list_session_files};
use waybill_read_model::rows::UploadSessionRow;
use waybill_repository::SessionAggregate;
use waybill_schema::ErrorCode;
use waybill_schema::SessionId;
use waybill_schema::events;

routes!(open, show, close, cancel);

/// Maximum length of the name of a session in bytes, which is the width of its column.
const MAX_NAME_BYTES: usize = 255;

/// A session with its files.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionBody {
    #[serde(flatten)]
    session: UploadSessionRow,
    files: Vec<UploadProgress>,
}

/// Opens a session
#[utoipa::path(
    tag = "sessions",
    operation_id = "open_session",
    params(IdempotencyKey),
    request_body = Option<OpenBody>,
    responses(
        (status = 201, description = "The session is open; `Location` names it", body = SessionOpened),
        (status = 422, description = "`name_invalid`, `idempotency_key_reused`"),
    ),
)]
#[post("/v1/sessions")]
pub(crate) async fn open(
    request: HttpRequest,
    principal: Principal,
    id: RequestId,
    payload: web::Payload,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let OpenBody { name } = json::optional(payload).await?;
    if name.as_ref().is_some_and(|name| name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control)) {
        return Err(Problem::new(
            422,
            ErrorCode::NameInvalid,
            "the name of a session must have at most 255 bytes and no control characters",
        ));
    }
    let context = gateway.context(&principal, id);
    gateway.registration.ensure(&principal, &context).await?;
    let key = serde_json::to_vec(&name).map_err(|_| Problem::internal())?;
    let session = SessionId(gateway.idempotency.id_for(&request, &principal, "POST /v1/sessions", &key).await?);
    let aggregate = SessionAggregate { company: principal.company_id, session };
    let command = Command::Open(events::SessionOpened { user_id: principal.user_id, session_name: name });
    let done = gateway.repository.execute(&aggregate, command, &context).await.or_problem("opening a session")?;
    Ok(HttpResponse::Created()
        .insert_header((POSITION, done.position.to_string()))
        .insert_header(("Location", format!("/v1/sessions/{session}")))
        .json(SessionOpened { session_id: session }))
}

/// Shows a session and the progress of its uploads
///
/// The user who opened the session and admins can see it.
#[utoipa::path(
    tag = "sessions",
    operation_id = "show_session",
    params(("id" = Uuid, Path), MinPosition),
    responses(
        (status = 200, description = "The session and the progress of its uploads", body = SessionBody),
    ),
)]
#[get("/v1/sessions/{id}")]
pub(crate) async fn show(
    request: HttpRequest,
    principal: Principal,
    SessionPath(session): SessionPath,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let (mut connection, found) = sessions::find(&request, &principal, &gateway, session).await?;
    let files = list_session_files(&mut connection, principal.company_id, session)
        .await
        .or_problem("listing the files of a session")?;
    Ok(HttpResponse::Ok()
        .insert_header(("Cache-Control", "private, no-store"))
        .json(SessionBody { session: found, files }))
}

/// Closes a session
///
/// Running uploads continue, but no further uploads can join the session. Only the user who opened the session can
/// close it.
#[utoipa::path(
    tag = "sessions",
    operation_id = "close_session",
    params(("id" = Uuid, Path)),
    responses(
        (status = 204, description = "The session is closed"),
        (status = 409, description = "`session_ended`: the session is cancelled"),
    ),
)]
#[post("/v1/sessions/{id}/close")]
pub(crate) async fn close(
    principal: Principal,
    id: RequestId,
    SessionPath(session): SessionPath,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    end(&gateway, &principal, id, session, Command::Close).await
}

/// Cancels a session and its running uploads
///
/// Only the user who opened the session can cancel it.
#[utoipa::path(
    tag = "sessions",
    operation_id = "cancel_session",
    params(("id" = Uuid, Path)),
    responses(
        (status = 204, description = "The session is cancelled; a worker cancels its running uploads"),
    ),
)]
#[delete("/v1/sessions/{id}")]
pub(crate) async fn cancel(
    principal: Principal,
    id: RequestId,
    SessionPath(session): SessionPath,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    end(&gateway, &principal, id, session, Command::Cancel).await
}

/// Closes or cancels a session of the principal.
async fn end(
    gateway: &Gateway,
    principal: &Principal,
    id: RequestId,
    session: SessionId,
    command: Command,
) -> Result<HttpResponse, Problem> {
    let aggregate = SessionAggregate { company: principal.company_id, session };
    let mut loaded = gateway.repository.load(&aggregate).await.or_problem("loading a session")?;
    if loaded.state.user_id != Some(principal.user_id) {
        return Err(Problem::not_found("session"));
    }
    let context = gateway.context(principal, id);
    let done = gateway
        .repository
        .execute_from(&aggregate, &mut loaded, command, &context)
        .await
        .or_problem("ending a session")?;
    Ok(HttpResponse::NoContent().insert_header((POSITION, done.position.to_string())).finish())
}
