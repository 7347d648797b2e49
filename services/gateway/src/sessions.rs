//! `/v1/sessions`: several uploads that belong together.

use crate::api::{IdempotencyKey, MinPosition};
use crate::gateway::Gateway;
use crate::json;
use crate::position::POSITION;
use crate::problems::IntoProblem;
use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use waybill_domain::session::Command;
use waybill_read_model::Connection;
use waybill_read_model::queries::{Session, UploadProgress, find_session, list_session_files};
use waybill_repository::{Loaded, SessionAggregate, execute, load};
use waybill_schema::events::SessionOpenedV1;
use waybill_schema::{CompanyId, Position, SessionId};
use waybill_service_kit::{Principal, Problem, RequestId, Role};

/// The longest name of a session, in bytes: the width of its column.
const MAX_NAME_BYTES: usize = 255;

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenBody {
    name: Option<String>,
}

/// A session with its files.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionBody {
    #[serde(flatten)]
    session: Session,
    files: Vec<UploadProgress>,
}

#[derive(Serialize, ToSchema)]
struct SessionOpened {
    #[schema(value_type = Uuid)]
    session_id: SessionId,
}

#[utoipa::path(
    tag = "sessions",
    operation_id = "open_session",
    params(IdempotencyKey),
    request_body = Option<OpenBody>,
    responses(
        (status = 201, description = "Opened", body = SessionOpened),
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
            "name_invalid",
            "a session's name has at most 255 bytes and no control characters",
        ));
    }
    let context = gateway.context(&principal, id);
    gateway.registration.ensure(&principal, &context).await?;
    let key = serde_json::to_vec(&name).map_err(|_| Problem::internal())?;
    let session = SessionId(gateway.idempotency.id_for(&request, &principal, "POST /v1/sessions", &key).await?);
    let aggregate = SessionAggregate { company: principal.company_id, session };
    let command = Command::Open(SessionOpenedV1 { user_id: principal.user_id, session_name: name });
    let done = execute(gateway.log.as_ref(), &aggregate, &mut Loaded::default(), &context, command)
        .await
        .map_err(|error| error.into_problem("opening a session"))?;
    Ok(HttpResponse::Created()
        .insert_header((POSITION, done.position.to_string()))
        .insert_header(("Location", format!("/v1/sessions/{session}")))
        .json(SessionOpened { session_id: session }))
}

#[utoipa::path(
    tag = "sessions",
    operation_id = "show_session",
    params(("id" = Uuid, Path), MinPosition),
    responses(
        (status = 200, description = "The session and how far its files are", body = SessionBody),
    ),
)]
#[get("/v1/sessions/{id}")]
pub(crate) async fn show(
    request: HttpRequest,
    principal: Principal,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let id: SessionId = path.parse().map_err(|_| Problem::not_found("session"))?;
    let mut connection = gateway.positions.connection(&request, None).await?;
    let find = async |connection: &mut Connection| {
        let found = find_session(connection, principal.company_id, id).await;
        found.map_err(|error| error.into_problem("finding a session"))
    };
    let mut session = find(&mut connection).await?;
    if session.is_none()
        && let Some(position) = opened_at(&gateway, principal.company_id, id).await?
    {
        // It was opened a moment ago: the tables are behind.
        drop(connection);
        connection = gateway.positions.connection(&request, Some(position)).await?;
        session = find(&mut connection).await?;
    }
    let session = session
        .filter(|session| session.user_id == principal.user_id.0 || principal.roles.contains(&Role::Admin))
        .ok_or_else(|| Problem::not_found("session"))?;
    let files = list_session_files(&mut connection, principal.company_id, id)
        .await
        .map_err(|error| error.into_problem("listing the files of a session"))?;
    Ok(HttpResponse::Ok().insert_header(("Cache-Control", "private, no-store")).json(SessionBody { session, files }))
}

/// The position of a session's last event; `None` if there is no such session.
async fn opened_at(gateway: &Gateway, company: CompanyId, session: SessionId) -> Result<Option<Position>, Problem> {
    let loaded = load(gateway.log.as_ref(), &SessionAggregate { company, session }).await;
    let seq = loaded.map_err(|error| error.into_problem("loading a session"))?.read_to;
    let partition = gateway.log.partitions().of(company);
    Ok((seq > 0).then_some(Position { partition, seq }))
}

#[utoipa::path(
    tag = "sessions",
    operation_id = "close_session",
    params(("id" = Uuid, Path)),
    responses(
        (status = 204, description = "No more files join it"),
        (status = 409, description = "`session_ended`"),
    ),
)]
#[post("/v1/sessions/{id}/close")]
pub(crate) async fn close(
    principal: Principal,
    id: RequestId,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    end(&gateway, &principal, id, &path, Command::Close).await
}

#[utoipa::path(
    tag = "sessions",
    operation_id = "cancel_session",
    params(("id" = Uuid, Path)),
    responses(
        (status = 204, description = "Cancelled, with all of its running uploads"),
        (status = 409, description = "`session_ended`"),
    ),
)]
#[delete("/v1/sessions/{id}")]
pub(crate) async fn cancel(
    principal: Principal,
    id: RequestId,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    end(&gateway, &principal, id, &path, Command::Cancel).await
}

async fn end(
    gateway: &Gateway,
    principal: &Principal,
    id: RequestId,
    path: &str,
    command: Command,
) -> Result<HttpResponse, Problem> {
    let session: SessionId = path.parse().map_err(|_| Problem::not_found("session"))?;
    let aggregate = SessionAggregate { company: principal.company_id, session };
    let log = gateway.log.as_ref();
    let mut loaded = load(log, &aggregate).await.map_err(|error| error.into_problem("loading a session"))?;
    if loaded.state.user_id != Some(principal.user_id) {
        return Err(Problem::not_found("session"));
    }
    let context = gateway.context(principal, id);
    let done = execute(log, &aggregate, &mut loaded, &context, command)
        .await
        .map_err(|error| error.into_problem("ending a session"))?;
    Ok(HttpResponse::NoContent().insert_header((POSITION, done.position.to_string())).finish())
}
