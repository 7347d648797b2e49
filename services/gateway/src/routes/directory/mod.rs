//! `/v1/admin/companies/{company}…`: the host product registers companies, users, chatrooms, threads and members. Every
//! request is safe to repeat. A token with the role `service` can manage all companies, one with the role `admin` only
//! its own company.

pub(crate) mod bulk;
pub(crate) mod sign_out;
pub(crate) mod uploads;

use crate::application::administration::{Administration, set_limit, try_all};
use crate::application::gateway::Gateway;
use crate::application::registration::{change_directory, look_at_directory};
use crate::application::shares::revoke_by_host;
use crate::http::json;
use crate::http::parameters::CompanyPath;
use crate::http::path::{AssociationPath, NewId, NewMember};
use crate::http::response::POSITION;
use actix_web::{HttpResponse, delete, get, put, web};
use futures_util::future;
use waybill_api::directory::{CompanyAnswer, CompanyBody, CompanyLimits, ThreadBody};
use waybill_domain::directory::{Command, CompanyRules, State};
use waybill_http_kit::Problem;
use waybill_schema::events::{CompanyLimitsSet, CompanySettings};
use waybill_schema::{ChatroomId, CompanyId, Place, Position};
use waybill_schema::{ThreadId, UserId};

routes!(
    put_company,
    show_company,
    close_company,
    register_user,
    remove_user,
    open_chatroom,
    delete_chatroom,
    add_chatroom_member,
    remove_chatroom_member,
    open_thread,
    delete_thread,
    add_thread_member,
    remove_thread_member,
    revoke_association
);

/// Registers a company or changes its rules
///
/// With the role `service`, the body has the limits of the company. With the role `admin`, it has the company's own
/// settings, which apply within these limits: a setting cannot exceed its limit, and `allowed_mime_types` of both are
/// intersected.
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
    by: Administration,
    body: web::Json<CompanyBody>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let body = body.into_inner();
    let storage_limit_bytes = body.storage_limit_bytes;
    let register = Command::RegisterCompany(by.company);
    let change = rules_of(&by, &gateway, body)?;
    // If the settings are invalid, the company is not registered either.
    let check = |state: &State| try_all(&gateway, state, &[register.clone(), change.clone()]);
    look_at_directory(&gateway.directories, by.company, check).await??;
    let mut position = change_directory(&gateway.directories, by.company, &by.context, [register, change]).await?;
    if let Some(limit_bytes) = storage_limit_bytes {
        position = Some(set_limit(&gateway, &by, limit_bytes).await?);
    }
    answer(&gateway, by.company, position).await
}

/// Returns the command for the rules in a body: limits of the host product, or settings of the company.
fn rules_of(by: &Administration, gateway: &Gateway, body: CompanyBody) -> Result<Command, Problem> {
    let rules = CompanySettings {
        max_file_bytes: body.max_file_bytes,
        max_session_bytes: body.max_session_bytes,
        allowed_mime_types: body.allowed_mime_types,
        retention_days: body.retention_days,
        link_max_age_s: body.link_max_age_s,
        link_max_downloads: body.link_max_downloads,
        scan: body.scan,
        unscanned: body.unscanned,
        archive_after_days: body.archive_after_days,
        strip_location: body.strip_location,
    };
    let min_retention_days = body.min_retention_days;
    if by.is_host {
        return Ok(Command::SetLimits(CompanyLimitsSet { limits: rules, min_retention_days }, gateway.policies.limits));
    }
    if min_retention_days.is_some() {
        by.require_host()?;
    }
    Ok(Command::ChangeSettings(rules, gateway.policies.limits))
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
pub(crate) async fn show_company(by: Administration, gateway: web::Data<Gateway>) -> Result<HttpResponse, Problem> {
    answer(&gateway, by.company, None).await
}

async fn answer(gateway: &Gateway, company: CompanyId, position: Option<Position>) -> Result<HttpResponse, Problem> {
    let shown = |directory: &State| {
        let rules = directory.rules();
        let (sizes, links) = (rules.sizes(gateway.policies.limits), rules.links());
        let scans = rules.scans(gateway.policies.scans);
        let (users, chatrooms, threads) = directory.counts();
        directory.is_known().then(|| CompanyAnswer {
            id: company,
            is_closed: !directory.is_open(),
            max_file_bytes: sizes.max_file_bytes,
            max_session_bytes: sizes.max_session_bytes,
            allowed_mime_types: rules.types(&gateway.policies.types).allowed().to_vec(),
            retention_days: rules.retention_days(),
            link_max_age_s: links.max_age_s,
            link_max_downloads: links.max_downloads,
            scan: scans.policy,
            unscanned: scans.unscanned,
            archive_after_days: rules.archive_after_days(),
            strip_location: rules.strip_location(),
            storage_limit_bytes: gateway.settings.default_quota_bytes,
            limits: limits_of(rules),
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

fn limits_of(rules: &CompanyRules) -> CompanyLimits {
    let limits = rules.limits.clone();
    CompanyLimits {
        max_file_bytes: limits.max_file_bytes,
        max_session_bytes: limits.max_session_bytes,
        allowed_mime_types: limits.allowed_mime_types,
        retention_days: limits.retention_days,
        min_retention_days: rules.min_retention_days,
        link_max_age_s: limits.link_max_age_s,
        link_max_downloads: limits.link_max_downloads,
        scan: limits.scan,
        unscanned: limits.unscanned,
        archive_after_days: limits.archive_after_days,
        strip_location: limits.strip_location,
    }
}

/// Applies a command to the directory and answers 204.
async fn change(gateway: &Gateway, by: &Administration, command: Command) -> Result<HttpResponse, Problem> {
    change_all(gateway, by, vec![command]).await
}

/// Applies commands to the directory in their order and answers 204.
async fn change_all(gateway: &Gateway, by: &Administration, commands: Vec<Command>) -> Result<HttpResponse, Problem> {
    let commands = commands.into_iter().map(|command| by.permitted(gateway, command));
    let position = change_directory(&gateway.directories, by.company, &by.context, commands).await?;
    let mut answer = HttpResponse::NoContent();
    if let Some(position) = position {
        answer.insert_header((POSITION, position.to_string()));
    }
    Ok(answer.finish())
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
pub(crate) async fn close_company(by: Administration, gateway: web::Data<Gateway>) -> Result<HttpResponse, Problem> {
    change(&gateway, &by, Command::CloseCompany).await
}

macro_rules! by_id {
    ($($(#[$($doc:tt)*])* $method:ident $path:literal $handler:ident: $command:expr, $id:ty, $done:literal;)*) => {$(
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
            by: Administration,
            NewId(id): NewId<$id>,
            gateway: web::Data<Gateway>,
        ) -> Result<HttpResponse, Problem> {
            change(&gateway, &by, $command(id)).await
        }
    )*};
}

by_id! {
    /// Registers a user
    put "/v1/admin/companies/{company}/users/{id}"
        register_user: Command::RegisterUser, UserId, "The user is registered";
    /// Removes a user
    delete "/v1/admin/companies/{company}/users/{id}"
        remove_user: Command::RemoveUser, UserId, "The user is removed";
    /// Registers a chatroom
    put "/v1/admin/companies/{company}/chatrooms/{id}"
        open_chatroom: Command::OpenChatroom, ChatroomId, "The chatroom is registered";
    /// Deletes a chatroom
    delete "/v1/admin/companies/{company}/chatrooms/{id}"
        delete_chatroom: Command::DeleteChatroom, ChatroomId, "The chatroom is deleted";
    /// Deletes a thread
    delete "/v1/admin/companies/{company}/threads/{id}"
        delete_thread: Command::DeleteThread, ThreadId, "The thread is deleted";
}

macro_rules! by_member {
    ($(
        $(#[$($doc:tt)*])*
        $method:ident $path:literal $handler:ident: $command:expr, $place:expr, $id:ty, $done:literal;
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
            by: Administration,
            NewId(place): NewId<$id>,
            NewMember(user): NewMember<UserId>,
            gateway: web::Data<Gateway>,
        ) -> Result<HttpResponse, Problem> {
            change(&gateway, &by, $command($place(place), user)).await
        }
    )*};
}

by_member! {
    /// Adds a user to a chatroom
    put "/v1/admin/companies/{company}/chatrooms/{id}/members/{user}"
        add_chatroom_member: Command::AddMember, Place::Chatroom, ChatroomId, "The user is a member of the chatroom";
    /// Removes a user from a chatroom
    delete "/v1/admin/companies/{company}/chatrooms/{id}/members/{user}"
        remove_chatroom_member: Command::RemoveMember, Place::Chatroom, ChatroomId, "The user is not a member of the chatroom";
    /// Adds a user to a thread
    put "/v1/admin/companies/{company}/threads/{id}/members/{user}"
        add_thread_member: Command::AddMember, Place::Thread, ThreadId, "The user is a member of the thread";
    /// Removes a user from a thread
    delete "/v1/admin/companies/{company}/threads/{id}/members/{user}"
        remove_thread_member: Command::RemoveMember, Place::Thread, ThreadId, "The user is not a member of the thread";
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
    by: Administration,
    AssociationPath(share): AssociationPath,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
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
    by: Administration,
    NewId(thread): NewId<ThreadId>,
    payload: web::Payload,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let body: ThreadBody = json::optional(payload).await?;
    change(&gateway, &by, Command::OpenThread(thread, body.chatroom_id)).await
}
