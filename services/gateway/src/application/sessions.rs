//! Lookup of sessions.

use crate::application::gateway::Gateway;
use crate::http::problems::OrProblem;
use actix_web::HttpRequest;
use waybill_http_kit::{Principal, Problem, Role};
use waybill_read_model::Connection;
use waybill_read_model::queries::find_session;
use waybill_read_model::rows::UploadSessionRow;
use waybill_repository::SessionAggregate;
use waybill_schema::{CompanyId, Position, SessionId};

/// Finds a session, and returns it with the connection that has it.
///
/// # Errors
/// 404 if the principal has not opened the session and is no admin.
pub(crate) async fn find(
    request: &HttpRequest,
    principal: &Principal,
    gateway: &Gateway,
    session: SessionId,
) -> Result<(Connection, UploadSessionRow), Problem> {
    let mut connection = gateway.positions.connection(request, None).await?;
    let find = async |connection: &mut Connection| {
        find_session(connection, principal.company_id, session).await.or_problem("finding a session")
    };
    let mut found = find(&mut connection).await?;
    if found.is_none()
        && let Some(position) = opened_at(gateway, principal.company_id, session).await?
    {
        // The session was opened recently. Wait until the read model has it.
        drop(connection);
        connection = gateway.positions.connection(request, Some(position)).await?;
        found = find(&mut connection).await?;
    }
    let found = found
        .filter(|session| session.user_id == principal.user_id.0 || principal.roles.contains(&Role::Admin))
        .ok_or_else(|| Problem::not_found("session"))?;
    Ok((connection, found))
}

/// Returns the position of a session's last event, or `None` if the session does not exist.
async fn opened_at(gateway: &Gateway, company: CompanyId, session: SessionId) -> Result<Option<Position>, Problem> {
    let aggregate = SessionAggregate { company, session };
    let seq = gateway.repository.load(&aggregate).await.or_problem("loading a session")?.read_to;
    let partition = gateway.log.partitions().of(company);
    Ok((seq > 0).then_some(Position { partition, seq }))
}
