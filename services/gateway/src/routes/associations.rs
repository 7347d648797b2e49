//! Sharing of files in chatrooms and threads: `/v1/files/{id}/associations` and `/v1/associations/{id}`.

use crate::application::access::{denied, viewer};
use crate::application::files::find::find;
use crate::application::gateway::Gateway;
use crate::application::shares::{Shareable, manageable, run, share};
use crate::http::parameters::{IdempotencyKey, MinPosition};
use crate::http::path::{AssociationPath, FilePath};
use crate::http::problems::OrProblem;
use crate::http::response::{POSITION, private};
use actix_web::{HttpRequest, HttpResponse, delete, get, patch, post, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use waybill_api::associations::{ChangeBody, PermissionsBody, ShareBody, ShareCreated};
use waybill_domain::access::{Operation, Terms};
use waybill_domain::share::Command;
use waybill_http_kit::{Principal, Problem, RequestId};
use waybill_read_model::queries::{Association, list_associations};
use waybill_schema::ErrorCode;
use waybill_schema::events::{FileShared, ShareChanged};
use waybill_schema::{Grant, Permissions, ShareBasis, ShareId, Timestamp, UploadId};
use waybill_service_kit::now;

routes!(create, list, patch, revoke);

/// Converts the permissions of a request. Repeated grants count once.
fn permissions_of(body: PermissionsBody) -> Permissions {
    let once = |mut grants: Vec<Grant>| {
        grants.sort_unstable();
        grants.dedup();
        grants
    };
    let users = body.users.into_iter().map(|(user, grants)| (user, once(grants))).collect();
    Permissions { everyone: body.everyone.map(once), users }
}

/// The associations of a file.
#[derive(Serialize, ToSchema)]
struct AssociationList {
    items: Vec<Association>,
    /// Always `null`: the list has only one page.
    next_cursor: Option<String>,
}

fn ms(time: DateTime<Utc>) -> Timestamp {
    Timestamp(time.timestamp_millis())
}

/// Shares a file in a chatroom or a thread
///
/// The file must be verified, and the caller needs the permission `share`. A user who is neither the uploader nor an
/// admin has it by another association. The new one ends with that association and cannot reach more people.
/// A file has one association with each place: if
/// it already has one there, the request changes it to the values of the body, for which the caller needs the permission
/// `manage` unless the values are equal. An association that was revoked or has expired begins again with the same id.
#[utoipa::path(
    tag = "associations",
    operation_id = "share_file",
    params(("id" = Uuid, Path), IdempotencyKey),
    request_body = ShareBody,
    responses(
        (status = 201, description = "The file is shared; `Location` names the association", body = ShareCreated),
        (status = 200, description = "The file was already shared there; the association has the values of the body", body = ShareCreated),
        (status = 409, description = "`file_not_ready`: the file is not verified, or it was deleted; `association_exists`; `associations_exhausted`"),
        (status = 422, description = "`association_invalid`, `idempotency_key_reused`"),
    ),
)]
#[post("/v1/files/{id}/associations")]
pub(crate) async fn create(
    request: HttpRequest,
    principal: Principal,
    id: RequestId,
    FilePath(of): FilePath,
    body: web::Json<ShareBody>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let body = body.into_inner();
    let (file, facts) = find(&request, &principal, of, &gateway, Operation::Share).await?;
    if !facts.is_verified || facts.is_deleted {
        return Err(Problem::new(
            409,
            ErrorCode::FileNotReady,
            "the file is not verified or was deleted; only verified files can be shared",
        ));
    }
    let mut shared = FileShared {
        file_id: UploadId(file.id),
        chatroom_id: body.chatroom_id,
        thread_id: body.thread_id,
        shared_by: principal.user_id,
        access_type: body.access_type,
        permissions: body.permissions.map(permissions_of),
        expires_at: body.expires_at.map(ms),
        basis: ShareBasis::Unrecorded,
    };
    // A repetition of the request is the same one, even if the right of the user has changed.
    let key = serde_json::to_vec(&shared).map_err(|_| Problem::internal())?;
    let permitted = facts.permit(viewer(&principal), Terms::from(&shared), now()).map_err(|why| denied(why, "file"))?;
    (shared.basis, shared.expires_at) = (permitted.basis, permitted.expires_at);
    gateway.check_place(&principal, body.chatroom_id, body.thread_id).await?;
    let context = gateway.context(&principal, id);
    gateway.registration.ensure(&principal, &context).await?;
    let route = "POST /v1/files/{id}/associations";
    let reserved = gateway.idempotency.reserve(&request, &principal, route, &key).await?;
    let (file_id, sent_at) = (file.id, reserved.first_sent_at());
    let done = share(&gateway, &context, &principal, Shareable { file, facts }, shared, sent_at).await?;
    let mut answer = if done.is_new || reserved.is_repeated { HttpResponse::Created() } else { HttpResponse::Ok() };
    Ok(answer
        .insert_header((POSITION, done.position.to_string()))
        .insert_header(("Location", format!("/v1/associations/{}", done.id)))
        .json(ShareCreated { id: done.id, file_id }))
}

/// Lists the associations of a file
///
/// The uploader and admins see all associations. Other users see the associations that give them access to the file,
/// and of the users in `permissions` only themselves, unless they may change the association.
#[utoipa::path(
    tag = "associations",
    operation_id = "list_associations",
    extensions(("x-waybill-points" = json!(2))),
    params(("id" = Uuid, Path), MinPosition),
    responses(
        (status = 200, description = "The associations that the caller may see", body = AssociationList),
    ),
)]
#[get("/v1/files/{id}/associations")]
pub(crate) async fn list(
    request: HttpRequest,
    principal: Principal,
    FilePath(of): FilePath,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let (file, facts) = find(&request, &principal, of, &gateway, Operation::View).await?;
    let asks = viewer(&principal);
    let mut connection = gateway.positions.connection(&request, None).await?;
    let mut items = list_associations(&mut connection, principal.company_id, UploadId(file.id))
        .await
        .or_problem("listing associations")?;
    let sees_all = asks.is_admin || facts.uploaded_by == asks.user_id;
    items.retain_mut(|item| {
        let Some(share) = facts.shares.get(&ShareId(item.id)) else { return false };
        if !facts.may_manage(share, asks, now()) {
            item.name_only(asks.user_id);
        }
        !facts.has_ended(share) && (sees_all || facts.lets_see(share, asks, now()))
    });
    Ok(private(HttpResponse::Ok()).json(AssociationList { items, next_cursor: None }))
}

/// Changes an association
///
/// Missing members stay unchanged. The request must have at least one member. An association cannot be made to reach
/// more people or to last longer than the one that it rests on; only the uploader and admins can extend others.
#[utoipa::path(
    tag = "associations",
    operation_id = "change_association",
    params(("id" = Uuid, Path)),
    request_body = ChangeBody,
    responses(
        (status = 204, description = "The association is changed"),
        (status = 409, description = "`file_deleted`"),
        (status = 422, description = "`association_invalid`"),
    ),
)]
#[patch("/v1/associations/{id}")]
pub(crate) async fn patch(
    principal: Principal,
    id: RequestId,
    AssociationPath(share): AssociationPath,
    body: web::Json<ChangeBody>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let body = body.into_inner();
    let company = principal.company_id;
    let (state, facts) = manageable(&gateway, &principal, share).await?;
    let known = state.shared.as_ref().ok_or_else(|| Problem::not_found("association"))?;
    let mut commands = Vec::new();
    if body.access_type.is_some() || body.permissions.is_some() || body.expires_at.is_some() {
        let permissions = body.permissions.map(|permissions| permissions.map(permissions_of));
        let changed = ShareChanged {
            access_type: body.access_type.unwrap_or(known.access_type),
            permissions: permissions.unwrap_or_else(|| known.permissions.clone()),
            expires_at: body.expires_at.map_or(known.expires_at, |at| at.map(ms)),
        };
        if let Some(facts) = facts {
            let checked = facts.check_change(viewer(&principal), known, Terms::from(&changed), now());
            checked.map_err(|why| denied(why, "association"))?;
        }
        commands.push(Command::Change(changed, now()));
    }
    commands.extend(body.is_pinned.map(Command::Pin));
    if commands.is_empty() {
        return Err(Problem::bad_request(
            ErrorCode::JsonInvalid,
            "the body has nothing to change; set access_type, permissions, expires_at or is_pinned",
        ));
    }
    let context = gateway.context(&principal, id);
    let mut answer = HttpResponse::NoContent();
    for command in commands {
        let position = run(&gateway, &context, company, share, state.clone(), command).await?;
        answer.insert_header((POSITION, position.to_string()));
    }
    Ok(answer.finish())
}

/// Revokes an association
#[utoipa::path(
    tag = "associations",
    operation_id = "revoke_association",
    params(("id" = Uuid, Path)),
    responses(
        (status = 204, description = "The association is revoked"),
    ),
)]
#[delete("/v1/associations/{id}")]
pub(crate) async fn revoke(
    principal: Principal,
    id: RequestId,
    AssociationPath(share): AssociationPath,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let (state, _) = manageable(&gateway, &principal, share).await?;
    let context = gateway.context(&principal, id);
    let position = run(&gateway, &context, principal.company_id, share, state, Command::Revoke).await?;
    Ok(HttpResponse::NoContent().insert_header((POSITION, position.to_string())).finish())
}
