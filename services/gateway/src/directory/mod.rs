//! `/v1/admin/companies/{company}…`: the host product registers companies, users, chatrooms, threads and members. Every
//! request is safe to repeat. A token with the role `service` can manage all companies, one with the role `admin` only
//! its own company.

mod bulk;

pub(crate) use bulk::*;

use crate::api::CompanyPath;
use crate::associations::revoke_by_host;
use crate::gateway::Gateway;
use crate::json;
use crate::position::POSITION;
use crate::problems::refused;
use crate::quota::set_limit;
use crate::registration::{change_directory, look_at_directory};
use actix_web::{HttpResponse, delete, get, put, web};
use futures_util::future;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use waybill_domain::directory::{Command, State, check_all};
use waybill_repository::Context;
use waybill_schema::events::CompanySettings;
use waybill_schema::{Actor, ChatroomId, CompanyId, Place, Position};
use waybill_service_kit::{Principal, Problem, RequestId, Role, now};

/// Settings of a company. Each setting that is absent gets the default of this installation, unless its description
/// says otherwise.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CompanyBody {
    max_file_bytes: Option<u64>,
    max_session_bytes: Option<u64>,
    allowed_mime_types: Option<Vec<String>>,
    retention_days: Option<u32>,
    /// Quota of the company in bytes. If it is absent, the quota does not change.
    storage_limit_bytes: Option<u64>,
}

/// Company with its settings and the number of entries in its directory.
#[derive(Serialize, ToSchema)]
struct CompanyAnswer {
    #[schema(value_type = Uuid)]
    id: CompanyId,
    is_closed: bool,
    max_file_bytes: u64,
    max_session_bytes: u64,
    allowed_mime_types: Vec<String>,
    retention_days: Option<u32>,
    storage_limit_bytes: u64,
    users: usize,
    chatrooms: usize,
    threads: usize,
}

/// Chatroom to which a thread belongs.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ThreadBody {
    #[schema(value_type = Option<Uuid>)]
    chatroom_id: Option<ChatroomId>,
}

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
        return Err(Problem::new(403, "role_required", "this request requires a token with the role service or admin"));
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

/// Registers a company or changes its settings
#[utoipa::path(
    tag = "directory",
    operation_id = "put_company",
    params(CompanyPath),
    request_body = CompanyBody,
    responses(
        (status = 200, description = "The company after the change", body = CompanyAnswer),
        (status = 422, description = "`settings_invalid`, `limit_invalid`"),
    ),
)]
#[put("/v1/admin/companies/{company}")]
pub(crate) async fn put_company(
    principal: Principal,
    id: RequestId,
    path: web::Path<String>,
    body: web::Json<CompanyBody>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let by = administer(&principal, id, &path)?;
    let body = body.into_inner();
    let settings = CompanySettings {
        max_file_bytes: body.max_file_bytes,
        max_session_bytes: body.max_session_bytes,
        allowed_mime_types: body.allowed_mime_types,
        retention_days: body.retention_days,
    };
    let register = Command::RegisterCompany(by.company);
    let change = Command::ChangeSettings(settings, gateway.policies.limits);
    // If the settings are invalid, the company is not registered either.
    let check = |state: &State| try_all(&gateway, state, &[register.clone(), change.clone()]);
    look_at_directory(&gateway.directories, by.company, check).await??;
    let mut position = change_directory(&gateway.directories, by.company, &by.context, [register, change]).await?;
    if let Some(limit_bytes) = body.storage_limit_bytes {
        position = Some(set_limit(&gateway, by.company, &by.context, limit_bytes).await?);
    }
    answer(&gateway, by.company, position).await
}

/// Returns a company and its settings
#[utoipa::path(
    tag = "directory",
    operation_id = "show_company",
    params(CompanyPath),
    responses(
        (status = 200, description = "The company", body = CompanyAnswer),
    ),
)]
#[get("/v1/admin/companies/{company}")]
pub(crate) async fn show_company(
    principal: Principal,
    id: RequestId,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let by = administer(&principal, id, &path)?;
    answer(&gateway, by.company, None).await
}

async fn answer(gateway: &Gateway, company: CompanyId, position: Option<Position>) -> Result<HttpResponse, Problem> {
    let shown = |directory: &State| {
        let settings = directory.settings();
        let (users, chatrooms, threads) = directory.counts();
        directory.is_known().then(|| CompanyAnswer {
            id: company,
            is_closed: !directory.is_open(),
            max_file_bytes: settings.max_file_bytes.unwrap_or(gateway.policies.limits.max_file_bytes),
            max_session_bytes: settings.max_session_bytes.unwrap_or(gateway.policies.limits.max_session_bytes),
            allowed_mime_types: settings
                .allowed_mime_types
                .clone()
                .unwrap_or_else(|| gateway.policies.types.allowed().to_vec()),
            retention_days: settings.retention_days,
            storage_limit_bytes: gateway.default_quota_bytes,
            users,
            chatrooms,
            threads,
        })
    };
    // Concurrently, because a gateway that has just started reads both from the log.
    let directory = look_at_directory(&gateway.directories, company, shown);
    let (quota, found) = future::try_join(gateway.reserver.quota(company), directory).await?;
    let mut company = found.ok_or_else(|| Problem::not_found("company"))?;
    if let Some(limit_bytes) = quota.limit_bytes {
        company.storage_limit_bytes = limit_bytes;
    }
    let mut answer = HttpResponse::Ok();
    answer.insert_header(("Cache-Control", "private, no-store"));
    if let Some(position) = position {
        answer.insert_header((POSITION, position.to_string()));
    }
    Ok(answer.json(company))
}

/// Checks that all commands can be applied in this order.
fn try_all(gateway: &Gateway, state: &State, commands: &[Command]) -> Result<(), Problem> {
    check_all(state, commands, gateway.directories.max_entries())
        .map_err(|(index, refusal)| refused(&refusal).with("index", index))
}

/// Applies a command to the directory and answers 204.
async fn change(
    gateway: &Gateway,
    principal: &Principal,
    id: RequestId,
    company: &str,
    command: Command,
) -> Result<HttpResponse, Problem> {
    let by = administer(principal, id, company)?;
    let position = change_directory(&gateway.directories, by.company, &by.context, [command]).await?;
    let mut answer = HttpResponse::NoContent();
    if let Some(position) = position {
        answer.insert_header((POSITION, position.to_string()));
    }
    Ok(answer.finish())
}

/// Parses an id that the caller registers. An invalid id is therefore an error of the caller (422), not a missing
/// object (404).
fn new_id<T: std::str::FromStr>(text: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Problem::new(422, "id_invalid", "the ids of users, chatrooms and threads are UUIDs"))
}

/// Closes a company
#[utoipa::path(
    tag = "directory",
    operation_id = "close_company",
    params(CompanyPath),
    responses(
        (status = 204, description = "The company is closed: all requests of its users are refused"),
    ),
)]
#[delete("/v1/admin/companies/{company}")]
pub(crate) async fn close_company(
    principal: Principal,
    id: RequestId,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    change(&gateway, &principal, id, &path, Command::CloseCompany).await
}

macro_rules! by_id {
    ($($(#[$($doc:tt)*])* $method:ident $path:literal $handler:ident: $command:expr, $done:literal;)*) => {$(
        $(#[$($doc)*])*
        #[utoipa::path(
            tag = "directory",
            operation_id = stringify!($handler),
            params(CompanyPath, ("id" = Uuid, Path)),
            responses(
                (status = 204, description = $done),
                (status = 409, description = "`id_taken`, `directory_full`"),
                (status = 422, description = "`id_invalid`"),
            ),
        )]
        #[$method($path)]
        pub(crate) async fn $handler(
            principal: Principal,
            id: RequestId,
            path: web::Path<(String, String)>,
            gateway: web::Data<Gateway>,
        ) -> Result<HttpResponse, Problem> {
            let (company, about) = path.into_inner();
            change(&gateway, &principal, id, &company, $command(new_id(&about)?)).await
        }
    )*};
}

by_id! {
    /// Registers a user
    put "/v1/admin/companies/{company}/users/{id}"
        register_user: Command::RegisterUser, "The user is registered";
    /// Removes a user
    delete "/v1/admin/companies/{company}/users/{id}"
        remove_user: Command::RemoveUser, "The user is removed";
    /// Registers a chatroom
    put "/v1/admin/companies/{company}/chatrooms/{id}"
        open_chatroom: Command::OpenChatroom, "The chatroom is registered";
    /// Deletes a chatroom
    delete "/v1/admin/companies/{company}/chatrooms/{id}"
        delete_chatroom: Command::DeleteChatroom, "The chatroom is deleted";
    /// Deletes a thread
    delete "/v1/admin/companies/{company}/threads/{id}"
        delete_thread: Command::DeleteThread, "The thread is deleted";
}

macro_rules! by_member {
    ($(
        $(#[$($doc:tt)*])*
        $method:ident $path:literal $handler:ident: $command:expr, $place:expr, $done:literal;
    )*) => {$(
        $(#[$($doc)*])*
        #[utoipa::path(
            tag = "directory",
            operation_id = stringify!($handler),
            params(CompanyPath, ("id" = Uuid, Path), ("user" = Uuid, Path)),
            responses((status = 204, description = $done), (status = 422, description = "`id_invalid`")),
        )]
        #[$method($path)]
        pub(crate) async fn $handler(
            principal: Principal,
            id: RequestId,
            path: web::Path<(String, String, String)>,
            gateway: web::Data<Gateway>,
        ) -> Result<HttpResponse, Problem> {
            let (company, place, user) = path.into_inner();
            let command = $command($place(new_id(&place)?), new_id(&user)?);
            change(&gateway, &principal, id, &company, command).await
        }
    )*};
}

by_member! {
    /// Adds a user to a chatroom
    put "/v1/admin/companies/{company}/chatrooms/{id}/members/{user}"
        add_chatroom_member: Command::AddMember, Place::Chatroom, "The user is a member of the chatroom";
    /// Removes a user from a chatroom
    delete "/v1/admin/companies/{company}/chatrooms/{id}/members/{user}"
        remove_chatroom_member: Command::RemoveMember, Place::Chatroom, "The user is not a member of the chatroom";
    /// Adds a user to a thread
    put "/v1/admin/companies/{company}/threads/{id}/members/{user}"
        add_thread_member: Command::AddMember, Place::Thread, "The user is a member of the thread";
    /// Removes a user from a thread
    delete "/v1/admin/companies/{company}/threads/{id}/members/{user}"
        remove_thread_member: Command::RemoveMember, Place::Thread, "The user is not a member of the thread";
}

/// Revokes an association on behalf of the host product
///
/// For example after a message with the file was deleted.
#[utoipa::path(
    tag = "directory",
    operation_id = "revoke_association_by_host",
    params(CompanyPath, ("id" = Uuid, Path)),
    responses(
        (status = 204, description = "The association is revoked"),
    ),
)]
#[delete("/v1/admin/companies/{company}/associations/{id}")]
pub(crate) async fn revoke_association(
    principal: Principal,
    id: RequestId,
    path: web::Path<(String, String)>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let (company, share) = path.into_inner();
    let by = administer(&principal, id, &company)?;
    let share = share.parse().map_err(|_| Problem::not_found("association"))?;
    let position = revoke_by_host(&gateway, &by.context, by.company, share).await?;
    Ok(HttpResponse::NoContent().insert_header((POSITION, position.to_string())).finish())
}

/// Registers a thread
#[utoipa::path(
    tag = "directory",
    operation_id = "open_thread",
    params(CompanyPath, ("id" = Uuid, Path)),
    request_body = Option<ThreadBody>,
    responses(
        (status = 204, description = "The thread is registered"),
        (status = 409, description = "`id_taken`, `directory_full`"),
        (status = 422, description = "`id_invalid`"),
    ),
)]
#[put("/v1/admin/companies/{company}/threads/{id}")]
pub(crate) async fn open_thread(
    principal: Principal,
    id: RequestId,
    path: web::Path<(String, String)>,
    payload: web::Payload,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let (company, thread) = path.into_inner();
    let body: ThreadBody = json::optional(payload).await?;
    let command = Command::OpenThread(new_id(&thread)?, body.chatroom_id);
    change(&gateway, &principal, id, &company, command).await
}
