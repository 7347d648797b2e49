//! Administration of a company by the host product and by admins: its directory and its storage limit.

use crate::application::gateway::Gateway;
use crate::application::registration::look_at_directory;
use crate::http::problems::refused;
use waybill_domain::directory::{Command, State, check_all};
use waybill_repository::Context;
use waybill_schema::ErrorCode;
use waybill_schema::{Actor, CompanyId, Position};
use waybill_service_kit::{Principal, Problem, RequestId, Role, now};

/// Permission to manage the directory of a company, with the context for the events.
pub(crate) struct Administration {
    pub(crate) company: CompanyId,
    pub(crate) context: Context,
}

/// Checks that the principal can manage the company's directory.
///
/// # Errors
/// 403 `role_required` without the role `service` or `admin`. 404 `not_found` for another company; the response does
/// not reveal if that company exists.
pub(crate) fn administer(principal: &Principal, id: RequestId, company: &str) -> Result<Administration, Problem> {
    let is_service = principal.roles.contains(&Role::Service);
    if !is_service && !principal.roles.contains(&Role::Admin) {
        return Err(Problem::new(
            403,
            ErrorCode::RoleRequired,
            "this request requires a token with the role service or admin",
        ));
    }
    let company: CompanyId = company.parse().map_err(|_| Problem::not_found("company"))?;
    if !is_service && company != principal.company_id {
        return Err(Problem::not_found("company"));
    }
    let actor =
        if is_service { Actor::Service(format!("host:{}", principal.user_id)) } else { Actor::User(principal.user_id) };
    Ok(Administration {
        company,
        context: Context { actor, causation: id.causation(), address: id.address, clock: now },
    })
}

/// Checks that all commands can be applied in this order.
pub(crate) fn try_all(gateway: &Gateway, state: &State, commands: &[Command]) -> Result<(), Problem> {
    check_all(state, commands, gateway.directories.max_entries())
        .map_err(|(index, refusal)| refused(refusal).with("index", index))
}

/// Sets the storage limit of a company.
///
/// # Errors
/// 422 `limit_invalid`; 404 if the directory has no such company.
pub(crate) async fn set_limit(
    gateway: &Gateway,
    company: CompanyId,
    context: &Context,
    storage_limit_bytes: u64,
) -> Result<Position, Problem> {
    if i64::try_from(storage_limit_bytes).is_err() {
        return Err(Problem::new(
            422,
            ErrorCode::LimitInvalid,
            "storage_limit_bytes must be at most 9223372036854775807",
        ));
    }
    if !look_at_directory(&gateway.directories, company, State::is_open).await? {
        return Err(Problem::not_found("company"));
    }
    gateway.reserver.set_limit(company, storage_limit_bytes, context).await
}
