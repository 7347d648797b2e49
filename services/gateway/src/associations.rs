//! Sharing: `/v1/files/{id}/associations` and `/v1/associations/{id}`.

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

/// Permissions, as clients write them. Either may be left out.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PermissionsBody {
    #[schema(value_type = Option<Vec<api::Grant>>)]
    everyone: Option<Vec<Grant>>,
    #[serde(default)]
    #[schema(value_type = HashMap<Uuid, Vec<api::Grant>>)]
    users: BTreeMap<UserId, Vec<Grant>>,
}

impl From<PermissionsBody> for Permissions {
    fn from(body: PermissionsBody) -> Self {
        // A grant that is said twice is one.
        let once = |mut grants: Vec<Grant>| {
            grants.sort_unstable();
            grants.dedup();
            grants
        };
        let users = body.users.into_iter().map(|(user, grants)| (user, once(grants))).collect();
        Self { everyone: body.everyone.map(once), users }
    }
}

/// Either a chatroom or a thread.
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
    expires_at: Option<DateTime<Utc>>,
}

/// What is left out stays as it is; `null` takes permissions and the end away.
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

#[derive(Serialize, ToSchema)]
struct ShareCreated {
    #[schema(value_type = Uuid)]
    id: ShareId,
    file_id: Uuid,
}

#[derive(Serialize, ToSchema)]
struct AssociationList {
    items: Vec<Association>,
    /// Always `null`: a file has few.
    next_cursor: Option<String>,
}

fn ms(time: DateTime<Utc>) -> Timestamp {
    Timestamp(time.timestamp_millis())
}

#[utoipa::path(
    tag = "associations",
    operation_id = "share_file",
    params(("id" = Uuid, Path), IdempotencyKey),
    request_body = ShareBody,
    responses(
        (status = 201, description = "Shared", body = ShareCreated),
        (status = 409, description = "`file_not_ready`"),
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
        return Err(Problem::new(409, "file_not_ready", "only a verified file that was not deleted can be shared"));
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

/// Those by which the principal sees the file; all of them for its uploader and for admins.
#[utoipa::path(
    tag = "associations",
    operation_id = "list_associations",
    params(("id" = Uuid, Path), MinPosition),
    responses(
        (status = 200, description = "Where the file is shared", body = AssociationList),
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

#[utoipa::path(
    tag = "associations",
    operation_id = "change_association",
    params(("id" = Uuid, Path)),
    request_body = ChangeBody,
    responses(
        (status = 204, description = "Changed"),
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
        return Err(Problem::bad_request("json_invalid", "say access_type, permissions, expires_at or is_pinned"));
    }
    let context = gateway.context(&principal, id);
    let mut answer = HttpResponse::NoContent();
    for command in commands {
        let position = run(&gateway, &context, company, share, state.clone(), command).await?;
        answer.insert_header((POSITION, position.to_string()));
    }
    Ok(answer.finish())
}

#[utoipa::path(
    tag = "associations",
    operation_id = "revoke_association",
    params(("id" = Uuid, Path)),
    responses(
        (status = 204, description = "Revoked"),
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

/// What the host product takes back: the message with the file was deleted.
pub(crate) async fn revoke_by_host(
    gateway: &Gateway,
    context: &Context,
    company: CompanyId,
    share: ShareId,
) -> Result<Position, Problem> {
    let state = load_share(gateway, company, share).await?;
    run(gateway, context, company, share, state, Command::Revoke).await
}

/// The association, if the principal may change it; with what is known of the file where it is not their own.
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
        // Known from the log; the tables may not have the file yet.
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
        // Their own of a moment ago: the log knows it, the tables will.
        Err(Denied::Forbidden) if is_new && shared.shared_by == asks.user_id => {}
        Err(why) => return Err(denied(why, "association")),
    }
    Ok((share, state, Some(facts)))
}

/// A share; that of an upload into a chatroom or thread begins with the upload.
async fn load_share(gateway: &Gateway, company: CompanyId, share: ShareId) -> Result<State, Problem> {
    let log = gateway.log.as_ref();
    let failed = |error: waybill_event_log::ReadError| error.into_problem("loading an association");
    let aggregate = LifecycleAggregate(UploadAggregate { company, upload: UploadId(share.0) });
    let upload = load(log, &aggregate).await.map_err(failed)?;
    // A partial upload is no file.
    let started = upload.state.started.filter(|_| upload.state.kind != UploadKind::Partial);
    let state = started.map(|started| State::of_upload(UploadId(share.0), &started)).unwrap_or_default();
    let mut loaded = Loaded::beginning_with(state);
    waybill_repository::refresh(log, &ShareAggregate { company, share }, &mut loaded).await.map_err(failed)?;
    Ok(loaded.state)
}

/// Carries out a command. `begin` is what the share was before its own events, which folding over it does not change.
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
