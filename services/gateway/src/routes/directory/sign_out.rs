//! `POST /v1/admin/companies/{company}/sign-out` and `…/users/{id}/sign-out`: the host product invalidates tokens, for
//! example after a password was changed or a device was stolen.

use crate::application::administration::Administration;
use crate::application::gateway::Gateway;
use crate::application::registration::look_at_directory;
use crate::http::json;
use crate::http::parameters::CompanyPath;
use crate::http::path::NewId;
use actix_web::{HttpResponse, post, web};
use waybill_api::directory::SignOutBody;
use waybill_domain::directory::{Command, State};
use waybill_http_kit::Problem;
use waybill_schema::{ErrorCode, Timestamp, UserId};
use waybill_service_kit::now;

routes!(sign_out_user, sign_out_company);

/// Maximum time in milliseconds by which `issued_before` can be in the future.
const FUTURE_MAX_MS: i64 = 60_000;

/// Invalidates the tokens of a user
///
/// Takes effect within one second: requests with these tokens get 401 `token_invalid`, and WebSockets close with 4003.
/// Tokens without `iat` are invalid, too. Needs the role `service`.
#[utoipa::path(
    tag = "directory",
    operation_id = "sign_out_user",
    params(CompanyPath, ("id" = Uuid, Path)),
    request_body = Option<SignOutBody>,
    responses(
        (status = 204, description = "The tokens are invalid"),
        (status = 422, description = "`settings_invalid`: the time is in the future"),
    ),
)]
#[post("/v1/admin/companies/{company}/users/{id}/sign-out")]
pub(crate) async fn sign_out_user(
    by: Administration,
    NewId(user): NewId<UserId>,
    payload: web::Payload,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    sign_out(&gateway, &by, Some(user), payload).await
}

/// Invalidates the tokens of all users of a company
///
/// Takes effect within one second: requests with these tokens get 401 `token_invalid`, and WebSockets close with 4003.
/// Tokens without `iat` are invalid, too. Needs the role `service`.
#[utoipa::path(
    tag = "directory",
    operation_id = "sign_out_company",
    params(CompanyPath),
    request_body = Option<SignOutBody>,
    responses(
        (status = 204, description = "The tokens are invalid"),
        (status = 422, description = "`settings_invalid`: the time is in the future"),
    ),
)]
#[post("/v1/admin/companies/{company}/sign-out")]
pub(crate) async fn sign_out_company(
    by: Administration,
    payload: web::Payload,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    sign_out(&gateway, &by, None, payload).await
}

async fn sign_out(
    gateway: &Gateway,
    by: &Administration,
    user_id: Option<UserId>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    by.require_host()?;
    let body: SignOutBody = json::optional(payload).await?;
    let mut commands = Vec::new();
    if gateway.registration.is_automatic() {
        // Users who have only read, and their company, are not registered yet.
        commands.push(Command::AdmitCompany(by.company));
        let is_known = |user| move |directory: &State| directory.is_user(user);
        if let Some(user) = user_id
            && !look_at_directory(&gateway.directories, by.company, is_known(user)).await?
        {
            commands.push(Command::RegisterUser(user));
        }
    }
    commands.push(Command::InvalidateTokens { user_id, issued_before: issued_before(body)? });
    super::change_all(gateway, by, commands).await
}

/// Returns the time of a body. `iat` of tokens has whole seconds, so that a token of the same second stays valid.
fn issued_before(body: SignOutBody) -> Result<Timestamp, Problem> {
    let Some(at) = body.issued_before else { return Ok(Timestamp(now().0 / 1_000 * 1_000)) };
    let at = Timestamp(at.timestamp_millis());
    if at > now().plus_ms(FUTURE_MAX_MS) {
        let detail = "issued_before must be at most one minute in the future";
        return Err(Problem::new(422, ErrorCode::SettingsInvalid, detail));
    }
    Ok(at)
}
