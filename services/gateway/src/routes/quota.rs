//! Routes of the quota: `GET /v1/quota`, and the limits of companies and users in `/v1/admin/companies/{company}`.

use crate::application::administration::{Administration, check_known, set_limit, set_user_limit};
use crate::application::gateway::Gateway;
use crate::http::parameters::{CompanyPath, MinPosition};
use crate::http::path::NewId;
use crate::http::problems::OrProblem;
use crate::http::response::POSITION;
use actix_web::{HttpRequest, HttpResponse, get, put, web};
use waybill_api::quota::{LimitBody, QuotaBody, UserLimitBody, UserQuota};
use waybill_domain::quota::State;
use waybill_http_kit::{Principal, Problem};
use waybill_read_model::queries::find_quota;
use waybill_read_model::rows::StorageQuotaRow;
use waybill_schema::{CompanyId, UserId};

routes!(show, show_own, set, set_for_users, set_for_user, show_of_user);

/// Shows the quota of the caller's company
#[utoipa::path(
    tag = "quota",
    operation_id = "show_quota",
    params(MinPosition),
    responses(
        (status = 200, description = "The limit and the use of the quota", body = QuotaBody),
    ),
)]
#[get("/v1/quota")]
pub(crate) async fn show(
    request: HttpRequest,
    principal: Principal,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let mut connection = gateway.positions.connection(&request, None).await?;
    let quota = find_quota(&mut connection, principal.company_id).await.or_problem("finding a quota")?;
    let mut answer = HttpResponse::Ok();
    answer.insert_header(("Cache-Control", "private, no-store"));
    let unsigned = |column: fn(&StorageQuotaRow) -> i64| quota.as_ref().map_or(0, |quota| column(quota).unsigned_abs());
    Ok(answer.json(QuotaBody {
        company_id: principal.company_id,
        // The first upload of a company records the limit. Before that, the default applies.
        storage_limit_bytes: quota
            .as_ref()
            .map_or(gateway.settings.default_quota_bytes, |quota| quota.storage_limit_bytes.unsigned_abs()),
        storage_used_bytes: unsigned(|quota| quota.storage_used_bytes),
        storage_reserved_bytes: unsigned(|quota| quota.storage_reserved_bytes),
        file_count: quota.as_ref().map_or(0, |quota| quota.file_count.unsigned_abs()),
        id: quota.as_ref().map(|quota| quota.id),
        last_calculated_at: quota.as_ref().map(|quota| quota.last_calculated_at),
        created_at: quota.as_ref().map(|quota| quota.created_at),
        updated_at: quota.as_ref().map(|quota| quota.updated_at),
    }))
}

/// Sets the storage limit of a company
///
/// Needs the role `service`, or `admin` for the company of the caller. An administrator can only lower the limit that
/// the host product set, or the default of this installation.
#[utoipa::path(
    tag = "directory",
    operation_id = "set_quota",
    params(CompanyPath),
    request_body = LimitBody,
    responses(
        (status = 200, description = "The limit is set", body = LimitBody),
        (status = 422, description = "`limit_invalid`: the limit is larger than 2^63 - 1 bytes, or than the limit of the host product"),
    ),
)]
#[put("/v1/admin/companies/{company}/quota")]
pub(crate) async fn set(
    principal: Principal,
    by: Administration,
    body: web::Json<LimitBody>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    if by.company == principal.company_id && !principal.is_host() {
        gateway.registration.ensure(&principal, &by.context).await?;
    }
    let position = set_limit(&gateway, &by, body.storage_limit_bytes).await?;
    Ok(HttpResponse::Ok().insert_header((POSITION, position.to_string())).json(body))
}

/// Shows the limit of the caller
#[utoipa::path(
    tag = "quota",
    operation_id = "show_quota_of_caller",
    extensions(("x-waybill-points" = json!(2))),
    responses((status = 200, description = "The limit of the caller, and the bytes that count towards it", body = UserQuota)),
)]
#[get("/v1/quota/user")]
pub(crate) async fn show_own(principal: Principal, gateway: web::Data<Gateway>) -> Result<HttpResponse, Problem> {
    let quota = user_quota(&gateway, principal.company_id, principal.user_id).await?;
    Ok(HttpResponse::Ok().insert_header(("Cache-Control", "private, no-store")).json(quota))
}

async fn user_quota(gateway: &Gateway, company: CompanyId, user: UserId) -> Result<UserQuota, Problem> {
    let look = |quota: &State| UserQuota {
        user_limit_bytes: quota.limit_of(user),
        user_used_bytes: quota.used_by(user),
        user_reserved_bytes: quota.reserved_by(user),
    };
    gateway.reserver.look(company, look).await
}

/// Sets the limit of each user of a company
///
/// It applies to all users that have no limit of their own. Needs the role `service`, or `admin` for the company of the caller.
#[utoipa::path(
    tag = "directory",
    operation_id = "set_limit_of_users",
    params(CompanyPath),
    request_body = UserLimitBody,
    responses(
        (status = 200, description = "The limit is set", body = UserLimitBody),
        (status = 422, description = "`limit_invalid`"),
    ),
)]
#[put("/v1/admin/companies/{company}/user-quota")]
pub(crate) async fn set_for_users(
    by: Administration,
    body: web::Json<UserLimitBody>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let position = set_user_limit(&gateway, &by, None, body.user_limit_bytes).await?;
    Ok(HttpResponse::Ok().insert_header((POSITION, position.to_string())).json(body))
}

/// Sets the limit of a user
///
/// It applies instead of the limit of all users, also if it is higher. `null` removes it. Needs the role `service`, or `admin` for the
/// company of the caller.
#[utoipa::path(
    tag = "directory",
    operation_id = "set_limit_of_user",
    params(CompanyPath, ("id" = Uuid, Path)),
    request_body = UserLimitBody,
    responses(
        (status = 200, description = "The limit is set", body = UserLimitBody),
        (status = 422, description = "`limit_invalid`, `id_invalid`"),
    ),
)]
#[put("/v1/admin/companies/{company}/users/{id}/quota")]
pub(crate) async fn set_for_user(
    by: Administration,
    NewId(user): NewId<UserId>,
    body: web::Json<UserLimitBody>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let position = set_user_limit(&gateway, &by, Some(user), body.user_limit_bytes).await?;
    Ok(HttpResponse::Ok().insert_header((POSITION, position.to_string())).json(body))
}

/// Shows the limit of a user
///
/// Needs the role `service`, or `admin` for the company of the caller.
#[utoipa::path(
    tag = "directory",
    operation_id = "show_quota_of_user",
    params(CompanyPath, ("id" = Uuid, Path)),
    responses(
        (status = 200, description = "The limit of the user, and the bytes that count towards it", body = UserQuota),
        (status = 422, description = "`id_invalid`"),
    ),
)]
#[get("/v1/admin/companies/{company}/users/{id}/quota")]
pub(crate) async fn show_of_user(
    by: Administration,
    NewId(user): NewId<UserId>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    check_known(&gateway, by.company, Some(user)).await?;
    let quota = user_quota(&gateway, by.company, user).await?;
    Ok(HttpResponse::Ok().insert_header(("Cache-Control", "private, no-store")).json(quota))
}
