//! Administration of a company by the host product and by admins: its directory and its storage limit.

use crate::application::gateway::Gateway;
use crate::application::registration::look_at_directory;
use waybill_data_plane::refused;
use waybill_domain::directory::{Command, State, check_all};
use waybill_http_kit::{Principal, Problem, RequestId, Role};
use waybill_repository::Context;
use waybill_schema::ErrorCode;
use waybill_schema::events::QuotaUserLimitSet;
use waybill_schema::{Actor, CompanyId, Position, UserId};
use waybill_service_kit::now;

/// Permission to manage the directory of a company, with the context for the events.
pub(crate) struct Administration {
    pub(crate) company: CompanyId,
    /// `true` for the host product, `false` for an administrator of the company.
    pub(crate) is_host: bool,
    pub(crate) context: Context,
}

impl Administration {
    /// Returns the command that is executed for a requested command. If the host product keeps the directory, an
    /// administrator cannot register a user again whom it removed.
    pub(crate) fn permitted(&self, gateway: &Gateway, command: Command) -> Command {
        match command {
            Command::RegisterUser(user) if !self.is_host && !gateway.registration.is_automatic() => {
                Command::Admit(user)
            }
            command => command,
        }
    }

    /// Checks that the request is from the host product.
    ///
    /// # Errors
    /// 403 `role_required`.
    pub(crate) fn require_host(&self) -> Result<(), Problem> {
        if self.is_host {
            return Ok(());
        }
        Err(Problem::new(403, ErrorCode::RoleRequired, "this request requires a token with the role service"))
    }
}

/// Checks that the principal can manage the company's directory.
///
/// # Errors
/// 403 `role_required` without the role `service` or `admin`. 404 `not_found` for another company; the response does
/// not reveal if that company exists.
pub(crate) fn administer(principal: &Principal, id: RequestId, company: &str) -> Result<Administration, Problem> {
    let is_service = principal.is_host();
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
        is_host: is_service,
        context: Context { actor, causation: id.causation(), address: id.address, clock: now },
    })
}

/// Checks that all commands can be applied in this order.
pub(crate) fn try_all(gateway: &Gateway, state: &State, commands: &[Command]) -> Result<(), Problem> {
    check_all(state, commands, gateway.directories.max_entries())
        .map_err(|(index, refusal)| refused(refusal).with(|members| members.index = Some(index)))
}

/// Sets the storage limit of a company. Administrators of the company can only lower the limit of the host product.
///
/// # Errors
/// 422 `limit_invalid`; 404 if the directory has no such company.
pub(crate) async fn set_limit(
    gateway: &Gateway,
    by: &Administration,
    storage_limit_bytes: u64,
) -> Result<Position, Problem> {
    if i64::try_from(storage_limit_bytes).is_err() {
        return Err(Problem::new(
            422,
            ErrorCode::LimitInvalid,
            "storage_limit_bytes must be at most 9223372036854775807",
        ));
    }
    if !look_at_directory(&gateway.directories, by.company, State::is_open).await? {
        return Err(Problem::not_found("company"));
    }
    gateway.reserver.set_limit(by.company, storage_limit_bytes, by.is_host, &by.context).await
}

/// Sets the limit of a user, or of all users that have no limit of their own.
///
/// # Errors
/// 422 `limit_invalid`; 404 if the directory has no such company or user.
pub(crate) async fn set_user_limit(
    gateway: &Gateway,
    by: &Administration,
    user_id: Option<UserId>,
    limit_bytes: Option<u64>,
) -> Result<Position, Problem> {
    if limit_bytes.is_some_and(|bytes| i64::try_from(bytes).is_err()) {
        let text = "user_limit_bytes must be at most 9223372036854775807";
        return Err(Problem::new(422, ErrorCode::LimitInvalid, text));
    }
    check_known(gateway, by.company, user_id).await?;
    let set = QuotaUserLimitSet { user_id, limit_bytes };
    gateway.reserver.set_user_limit(by.company, set, &by.context).await
}

/// Checks that the company is open, and that it has this user.
///
/// # Errors
/// 404.
pub(crate) async fn check_known(gateway: &Gateway, company: CompanyId, user: Option<UserId>) -> Result<(), Problem> {
    let look = |directory: &State| (directory.is_open(), user.is_none_or(|user| directory.is_active(user)));
    match look_at_directory(&gateway.directories, company, look).await? {
        (false, _) => Err(Problem::not_found("company")),
        (true, false) => Err(Problem::not_found("user")),
        (true, true) => Ok(()),
    }
}
