//! Sharing of files in chatrooms and threads: `/v1/files/{id}/associations` and `/v1/associations/{id}`.

use crate::api::{self, IdempotencyKey, MinPosition};
use crate::files::{find, private};
use crate::gateway::{Gateway, denied, viewer};
use crate::position::POSITION;
use crate::problems::IntoProblem;
use actix_web::{HttpRequest, HttpResponse, delete, get, patch, post, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;
use uuid::Uuid;
use waybill_access::Wanted;
use waybill_domain::access::{Denied, FileFacts, Operation};
use waybill_domain::share::{Command, State};
use waybill_read_model::queries::{Association, list_associations};
use waybill_repository::{Context, LifecycleAggregate, Loaded, ShareAggregate, UploadAggregate, execute, load};
use waybill_schema::events::{FileSharedV1, ShareChangedV1, UploadKind};
use waybill_schema::{
    AccessType, ChatroomId, CompanyId, Grant, Permissions, Position, ShareId, ThreadId, Timestamp, UploadId, UserId,
};
use waybill_service_kit::{Principal, Problem, RequestId, now};

/// Permissions for the file. Both members are optional.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PermissionsBody {
    /// Permissions of every user that the association is for. Without it, they can view and download.
    #[schema(value_type = Option<Vec<api::Grant>>)]
    everyone: Option<Vec<Grant>>,
    /// Permissions of single users, by user id.
    #[serde(default)]
    #[schema(value_type = HashMap<Uuid, Vec<api::Grant>>)]
    users: BTreeMap<UserId, Vec<Grant>>,
}

impl From<PermissionsBody> for Permissions {
    fn from(body: PermissionsBody) -> Self {
        // Repeated grants count once.
        let once = |mut grants: Vec<Grant>| {
            grants.sort_unstable();
            grants.dedup();
            grants
        };
        let users = body.users.into_iter().map(|(user, grants)| (user, once(grants))).collect();
        Self { everyone: body.everyone.map(once), users }
    }
}

/// The association to create. It needs either `chatroom_id` or `thread_id`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShareBody {
    #[schema(value_type = Option<Uuid>)]
    chatroom_id: Option<ChatroomId>,
    #[schema(value_type = Option<Uuid>)]
    thread_id: Option<ThreadId>,
    #[serde(default)]
    #[schema(value_type = api::AccessType)]
    access_type: AccessType,
    permissions: Option<PermissionsBody>,
    /// Time at which the association ends. Without it, the association does not end.
    expires_at: Option<DateTime<Utc>>,
}

/// The members to change. Missing members stay unchanged; `null` removes the permissions or the end.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeBody {
    #[schema(value_type = Option<api::AccessType>)]
    access_type: Option<AccessType>,
    #[serde(default, deserialize_with = "crate::json::present")]
    #[schema(value_type = Option<PermissionsBody>)]
    permissions: Option<Option<PermissionsBody>>,
    #[serde(default, deserialize_with = "crate::json::present")]
    #[schema(value_type = Option<DateTime<Utc>>)]
    expires_at: Option<Option<DateTime<Utc>>>,
    is_pinned: Option<bool>,
}

/// The created association.
#[derive(Serialize, ToSchema)]
struct ShareCreated {
    #[schema(value_type = Uuid)]
    id: ShareId,
    file_id: Uuid,
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
/// The file must be verified, and the caller needs the permission `share`.
#[utoipa::path(
    tag = "associations",
    operation_id = "share_file",
    params(("id" = Uuid, Path), IdempotencyKey),
    request_body = ShareBody,
    responses(
        (status = 201, description = "The file is shared; `Location` names the association", body = ShareCreated),
        (status = 409, description = "`file_not_ready`: the file is not verified, or it was deleted"),
        (status = 422, description = "`association_invalid`, `idempotency_key_reused`"),
    ),
)]
#[post("/v1/files/{id}/associations")]
pub(crate) async fn create(
    request: HttpRequest,
    principal: Principal,
    id: RequestId,
    path: web::Path<String>,
    body: web::Json<ShareBody>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let body = body.into_inner();
    let (file, facts) = find(&request, &principal, &path, &gateway, Operation::Share).await?;
    if !facts.is_verified || facts.is_deleted {
        return Err(Problem::new(
            409,
            "file_not_ready",
            "the file is not verified or was deleted; only verified files can be shared",
        ));
    }
    let permissions = body.permissions.map(Permissions::from);
    facts.check_grants(viewer(&principal), permissions.as_ref(), now()).map_err(|why| denied(why, "file"))?;
    gateway.check_place(&principal, body.chatroom_id, body.thread_id).await?;
    let context = gateway.context(&principal, id);
    gateway.registration.ensure(&principal, &context).await?;
    let shared = FileSharedV1 {
        file_id: UploadId(file.id),
        chatroom_id: body.chatroom_id,
        thread_id: body.thread_id,
        shared_by: principal.user_id,
        access_type: body.access_type,
        permissions,
        expires_at: body.expires_at.map(ms),
    };
    let key = serde_json::to_vec(&shared).map_err(|_| Problem::internal())?;
    let route = "POST /v1/files/{id}/associations";
    let share = ShareId(gateway.idempotency.id_for(&request, &principal, route, &key).await?);
    let command = Command::Share(shared, now());
    let position = run(&gateway, &context, principal.company_id, share, State::default(), command).await?;
    Ok(HttpResponse::Created()
        .insert_header((POSITION, position.to_string()))
        .insert_header(("Location", format!("/v1/associations/{share}")))
        .json(ShareCreated { id: share, file_id: file.id }))
}

/// Lists the associations of a file
///
/// The uploader and admins see all associations. Other users see the associations that give them access to the file.
#[utoipa::path(
    tag = "associations",
    operation_id = "list_associations",
    params(("id" = Uuid, Path), MinPosition),
    responses(
        (status = 200, description = "The associations that the caller may see", body = AssociationList),
    ),
)]
#[get("/v1/files/{id}/associations")]
pub(crate) async fn list(
    request: HttpRequest,
    principal: Principal,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let (file, facts) = find(&request, &principal, &path, &gateway, Operation::View).await?;
    let asks = viewer(&principal);
    let mut connection = gateway.positions.connection(&request, None).await?;
    let mut items = list_associations(&mut connection, principal.company_id, UploadId(file.id))
        .await
        .map_err(|error| error.into_problem("listing associations"))?;
    let sees_all = asks.is_admin || facts.uploaded_by == asks.user_id;
    items.retain(|item| {
        let share = facts.shares.iter().find(|share| share.id.0 == item.id);
        share.is_some_and(|share| !share.ended && (sees_all || facts.lets_see(share, asks, now())))
    });
    Ok(private(HttpResponse::Ok()).json(AssociationList { items, next_cursor: None }))
}

/// Changes an association
///
/// Missing members stay unchanged. The request must have at least one member.
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
    path: web::Path<String>,
    body: web::Json<ChangeBody>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let body = body.into_inner();
    let company = principal.company_id;
    let (share, state, facts) = manageable(&gateway, &principal, &path).await?;
    let known = state.shared.clone().ok_or_else(|| Problem::not_found("association"))?;
    let mut commands = Vec::new();
    if body.access_type.is_some() || body.permissions.is_some() || body.expires_at.is_some() {
        let permissions = body.permissions.map(|permissions| permissions.map(Permissions::from));
        let changed = ShareChangedV1 {
            access_type: body.access_type.unwrap_or(known.access_type),
            permissions: permissions.unwrap_or(known.permissions),
            expires_at: body.expires_at.map_or(known.expires_at, |at| at.map(ms)),
        };
        if let Some(facts) = facts {
            let checked = facts.check_grants(viewer(&principal), changed.permissions.as_ref(), now());
            checked.map_err(|why| denied(why, "association"))?;
        }
        commands.push(Command::Change(changed, now()));
    }
    commands.extend(body.is_pinned.map(Command::Pin));
    if commands.is_empty() {
        return Err(Problem::bad_request(
            "json_invalid",
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
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let (share, state, _) = manageable(&gateway, &principal, &path).await?;
    let context = gateway.context(&principal, id);
    let position = run(&gateway, &context, principal.company_id, share, state, Command::Revoke).await?;
    Ok(HttpResponse::NoContent().insert_header((POSITION, position.to_string())).finish())
}

/// Revokes an association for the host product, for example because the message with the file was deleted.
pub(crate) async fn revoke_by_host(
    gateway: &Gateway,
    context: &Context,
    company: CompanyId,
    share: ShareId,
) -> Result<Position, Problem> {
    let state = load_share(gateway, company, share).await?;
    run(gateway, context, company, share, state, Command::Revoke).await
}

/// Returns the association if the principal may change it. Also returns the access facts of the file, unless the
/// principal uploaded it or is an admin, who may grant every permission.
///
/// # Errors
/// 404 if the association does not exist or the principal cannot see it, and 403 if the principal may not change it.
async fn manageable(
    gateway: &Gateway,
    principal: &Principal,
    id: &str,
) -> Result<(ShareId, State, Option<FileFacts>), Problem> {
    let share: ShareId = id.parse().map_err(|_| Problem::not_found("association"))?;
    let company = principal.company_id;
    let state = load_share(gateway, company, share).await?;
    let shared = state.shared.as_ref().ok_or_else(|| Problem::not_found("association"))?;
    let asks = viewer(principal);
    let aggregate = LifecycleAggregate(UploadAggregate { company, upload: shared.file_id });
    let upload =
        load(gateway.log.as_ref(), &aggregate).await.map_err(|error| error.into_problem("loading an upload"))?;
    let is_theirs = upload.state.started.is_some_and(|started| started.uploaded_by == asks.user_id);
    if is_theirs || asks.is_admin {
        // The log has this information. The read model may not have the file yet.
        return Ok((share, state, None));
    }
    let wanted = Wanted { files: vec![shared.file_id], ..Wanted::default() };
    let mut connection =
        gateway.database.connection().await.map_err(|error| error.into_problem("connecting for a query"))?;
    let mut known = gateway.access.look(&mut connection, company, principal.user_id, &wanted).await?;
    let facts = known.files.remove(&shared.file_id).ok_or_else(|| Problem::not_found("association"))?;
    let is_new = facts.shares.iter().all(|known| known.id != share);
    match facts.check(asks, Operation::ManageShare(share), now()) {
        Ok(()) => {}
        // The principal created the association recently, and only the log has it yet.
        Err(Denied::Forbidden) if is_new && shared.shared_by == asks.user_id => {}
        Err(why) => return Err(denied(why, "association")),
    }
    Ok((share, state, Some(facts)))
}

/// Loads an association. An upload into a chatroom or thread creates an association with the id of the upload.
async fn load_share(gateway: &Gateway, company: CompanyId, share: ShareId) -> Result<State, Problem> {
    let log = gateway.log.as_ref();
    let failed = |error: waybill_event_log::ReadError| error.into_problem("loading an association");
    let aggregate = LifecycleAggregate(UploadAggregate { company, upload: UploadId(share.0) });
    let upload = load(log, &aggregate).await.map_err(failed)?;
    // A partial upload is not a file.
    let started = upload.state.started.filter(|_| upload.state.kind != UploadKind::Partial);
    let state = started.map(|started| State::of_upload(UploadId(share.0), &started)).unwrap_or_default();
    let mut loaded = Loaded::beginning_with(state);
    waybill_repository::refresh(log, &ShareAggregate { company, share }, &mut loaded).await.map_err(failed)?;
    Ok(loaded.state)
}

/// Executes a command. `begin` is a state from which the fold of the events begins. If it contains these events
/// already, folding them again does not change it.
async fn run(
    gateway: &Gateway,
    context: &Context,
    company: CompanyId,
    share: ShareId,
    begin: State,
    command: Command,
) -> Result<Position, Problem> {
    let mut loaded = Loaded::beginning_with(begin);
    execute(gateway.log.as_ref(), &ShareAggregate { company, share }, &mut loaded, context, command)
        .await
        .map(|done| done.position)
        .map_err(|error| error.into_problem("changing an association"))
}
