//! `GET /v1/quota` and `PUT /v1/admin/companies/{id}/quota`.

use crate::directory::administer;
use crate::gateway::Gateway;
use crate::position::POSITION;
use crate::problems::IntoProblem;
use crate::reserve::append_quota;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use waybill_domain::directory::State;
use waybill_read_model::queries::find_quota;
use waybill_repository::{Context, load_quota};
use waybill_schema::events::QuotaLimitSetV1;
use waybill_schema::{CompanyId, Position};
use waybill_service_kit::{Principal, Problem, RequestId, Role};

const ATTEMPTS: u32 = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitBody {
    storage_limit_bytes: u64,
}

pub(crate) async fn show(
    request: HttpRequest,
    principal: Principal,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let mut connection = gateway.positions.connection(&request, None).await?;
    let quota = find_quota(&mut connection, principal.company_id)
        .await
        .map_err(|error| error.into_problem("finding a quota"))?;
    let mut answer = HttpResponse::Ok();
    answer.insert_header(("Cache-Control", "private, no-store"));
    Ok(match quota {
        Some(quota) => answer.json(quota),
        // Nothing was stored yet, so no event has set a limit: the default applies.
        None => answer.json(json!({
            "company_id": principal.company_id,
            "storage_limit_bytes": gateway.default_quota_bytes,
            "storage_used_bytes": 0,
            "storage_reserved_bytes": 0,
            "file_count": 0,
        })),
    })
}

pub(crate) async fn set(
    principal: Principal,
    id: RequestId,
    path: web::Path<String>,
    body: web::Json<LimitBody>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let by = administer(&principal, id, &path)?;
    if by.company == principal.company_id && !principal.roles.contains(&Role::Service) {
        gateway.registration.ensure(&principal, &by.context).await?;
    }
    let position = set_limit(&gateway, by.company, &by.context, body.storage_limit_bytes).await?;
    Ok(HttpResponse::Ok()
        .insert_header((POSITION, position.to_string()))
        .json(json!({ "storage_limit_bytes": body.storage_limit_bytes })))
}

/// Sets the space of a company that is in the directory.
pub(crate) async fn set_limit(
    gateway: &Gateway,
    company: CompanyId,
    context: &Context,
    storage_limit_bytes: u64,
) -> Result<Position, Problem> {
    if i64::try_from(storage_limit_bytes).is_err() {
        return Err(Problem::new(422, "limit_invalid", "storage_limit_bytes is too large"));
    }
    if !gateway.directories.look(company, State::is_open).await? {
        return Err(Problem::not_found("company"));
    }
    for _ in 0..ATTEMPTS {
        let quota = load_quota(gateway.log.as_ref(), None, company)
            .await
            .map_err(|error| error.into_problem("loading a quota"))?;
        let event = QuotaLimitSetV1 { storage_limit_bytes }.into();
        if let Some(position) = append_quota(gateway.log.as_ref(), company, quota.last_seq, context, event).await? {
            return Ok(position);
        }
    }
    Err(Problem::unavailable("the company's space is in great demand; try again"))
}
