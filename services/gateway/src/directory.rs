//! `/v1/admin/companies/{company}…`: the host product says which companies, users, chatrooms, threads and members there
//! are. Every call may be repeated. With a token of the role service for all companies, of the role admin for its own.

use crate::associations::revoke_by_host;
use crate::gateway::Gateway;
use crate::position::POSITION;
use crate::problems::{IntoProblem, refused};
use crate::quota::set_limit;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use waybill_domain::directory::{Command, State, decide, evolve};
use waybill_repository::{Context, load_quota};
use waybill_schema::events::CompanySettings;
use waybill_schema::{Actor, ChatroomId, CompanyId, Place, Position, ThreadId, UserId};
use waybill_service_kit::{Principal, Problem, RequestId, Role, now};

/// How many operations one request may bring.
const OPERATIONS_MAX: usize = 1_000;
/// The largest request with operations.
const BULK_MAX_BYTES: usize = 512 * 1_024;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CompanyBody {
    max_file_bytes: Option<u64>,
    max_session_bytes: Option<u64>,
    allowed_mime_types: Option<Vec<String>>,
    retention_days: Option<u32>,
    /// Left as it is where it is left out.
    storage_limit_bytes: Option<u64>,
}

#[derive(Serialize)]
struct CompanyAnswer {
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

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ThreadBody {
    chatroom_id: Option<ChatroomId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkBody {
    operations: Vec<Operation>,
}

/// One change of a directory.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
enum Operation {
    RegisterUser { user_id: UserId },
    RemoveUser { user_id: UserId },
    OpenChatroom { chatroom_id: ChatroomId },
    DeleteChatroom { chatroom_id: ChatroomId },
    OpenThread { thread_id: ThreadId, chatroom_id: Option<ChatroomId> },
    DeleteThread { thread_id: ThreadId },
    AddChatroomMember { chatroom_id: ChatroomId, user_id: UserId },
    RemoveChatroomMember { chatroom_id: ChatroomId, user_id: UserId },
    AddThreadMember { thread_id: ThreadId, user_id: UserId },
    RemoveThreadMember { thread_id: ThreadId, user_id: UserId },
}

impl From<Operation> for Command {
    fn from(operation: Operation) -> Self {
        match operation {
            Operation::RegisterUser { user_id } => Self::RegisterUser(user_id),
            Operation::RemoveUser { user_id } => Self::RemoveUser(user_id),
            Operation::OpenChatroom { chatroom_id } => Self::OpenChatroom(chatroom_id),
            Operation::DeleteChatroom { chatroom_id } => Self::DeleteChatroom(chatroom_id),
            Operation::OpenThread { thread_id, chatroom_id } => Self::OpenThread(thread_id, chatroom_id),
            Operation::DeleteThread { thread_id } => Self::DeleteThread(thread_id),
            Operation::AddChatroomMember { chatroom_id, user_id } => {
                Self::AddMember(Place::Chatroom(chatroom_id), user_id)
            }
            Operation::RemoveChatroomMember { chatroom_id, user_id } => {
                Self::RemoveMember(Place::Chatroom(chatroom_id), user_id)
            }
            Operation::AddThreadMember { thread_id, user_id } => Self::AddMember(Place::Thread(thread_id), user_id),
            Operation::RemoveThreadMember { thread_id, user_id } => {
                Self::RemoveMember(Place::Thread(thread_id), user_id)
            }
        }
    }
}

pub(crate) fn configure(config: &mut web::ServiceConfig) {
    use web::{delete, get, post, put};
    let bulk = web::resource("/bulk")
        .app_data(web::JsonConfig::default().limit(BULK_MAX_BYTES).error_handler(crate::json::body))
        .route(post().to(bulk));
    config.service(
        web::scope("/v1/admin/companies/{company}")
            .route("", put().to(put_company))
            .route("", get().to(show_company))
            .route("", delete().to(close_company))
            .route("/quota", put().to(crate::quota::set))
            .route("/users/{id}", put().to(register_user))
            .route("/users/{id}", delete().to(remove_user))
            .route("/chatrooms/{id}", put().to(open_chatroom))
            .route("/chatrooms/{id}", delete().to(delete_chatroom))
            .route("/chatrooms/{id}/members/{user}", put().to(add_chatroom_member))
            .route("/chatrooms/{id}/members/{user}", delete().to(remove_chatroom_member))
            .route("/threads/{id}", put().to(open_thread))
            .route("/threads/{id}", delete().to(delete_thread))
            .route("/threads/{id}/members/{user}", put().to(add_thread_member))
            .route("/threads/{id}/members/{user}", delete().to(remove_thread_member))
            .route("/files/{id}", delete().to(crate::files::delete_by_host))
            .route("/associations/{id}", delete().to(revoke_association))
            .service(bulk),
    );
}

/// Who asks, of which company, and how that goes into events.
pub(crate) struct Administration {
    pub(crate) company: CompanyId,
    pub(crate) context: Context,
}

/// Whether the principal may keep the company's directory; a foreign company and none are answered alike.
pub(crate) fn administer(principal: &Principal, id: RequestId, company: &str) -> Result<Administration, Problem> {
    let is_service = principal.roles.contains(&Role::Service);
    if !is_service && !principal.roles.contains(&Role::Admin) {
        return Err(Problem::new(403, "role_required", "this needs a token with the role service or admin"));
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

async fn put_company(
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
    // Nothing is registered where the settings are refused.
    let check = |state: &State| try_all(state, &[register.clone(), change.clone()]);
    gateway.directories.look(by.company, check).await??;
    let mut position = gateway.directories.run(by.company, &by.context, [register, change]).await?;
    if let Some(limit_bytes) = body.storage_limit_bytes {
        position = Some(set_limit(&gateway, by.company, &by.context, limit_bytes).await?);
    }
    answer(&gateway, by.company, position).await
}

async fn show_company(
    principal: Principal,
    id: RequestId,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let by = administer(&principal, id, &path)?;
    answer(&gateway, by.company, None).await
}

async fn answer(gateway: &Gateway, company: CompanyId, position: Option<Position>) -> Result<HttpResponse, Problem> {
    let quota =
        load_quota(gateway.log.as_ref(), None, company).await.map_err(|error| error.into_problem("loading a quota"))?;
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
            storage_limit_bytes: quota.state.limit_bytes.unwrap_or(gateway.default_quota_bytes),
            users,
            chatrooms,
            threads,
        })
    };
    let company = gateway.directories.look(company, shown).await?.ok_or_else(|| Problem::not_found("company"))?;
    let mut answer = HttpResponse::Ok();
    answer.insert_header(("Cache-Control", "private, no-store"));
    if let Some(position) = position {
        answer.insert_header((POSITION, position.to_string()));
    }
    Ok(answer.json(company))
}

async fn bulk(
    principal: Principal,
    id: RequestId,
    path: web::Path<String>,
    body: web::Json<BulkBody>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let by = administer(&principal, id, &path)?;
    let commands: Vec<Command> = body.into_inner().operations.into_iter().map(Command::from).collect();
    if commands.len() > OPERATIONS_MAX {
        return Err(Problem::new(413, "too_many_operations", "one request brings at most 1,000 operations"));
    }
    // All of them or none: a list with one that cannot be is refused before the first event.
    gateway.directories.look(by.company, |state| try_all(state, &commands)).await??;
    let applied = commands.len();
    let position = gateway.directories.run(by.company, &by.context, commands).await?;
    let mut answer = HttpResponse::Ok();
    if let Some(position) = position {
        answer.insert_header((POSITION, position.to_string()));
    }
    Ok(answer.json(json!({ "applied": applied })))
}

/// Whether the commands can be carried out one after the other.
fn try_all(state: &State, commands: &[Command]) -> Result<(), Problem> {
    let mut state = state.clone();
    for (index, command) in commands.iter().enumerate() {
        let event = decide(&state, command.clone()).map_err(|refusal| refused(&refusal).with("index", index))?;
        event.iter().for_each(|event| evolve(&mut state, event));
    }
    Ok(())
}

async fn change(
    gateway: &Gateway,
    principal: &Principal,
    id: RequestId,
    company: &str,
    command: Command,
) -> Result<HttpResponse, Problem> {
    let by = administer(principal, id, company)?;
    let position = gateway.directories.run(by.company, &by.context, [command]).await?;
    let mut answer = HttpResponse::NoContent();
    if let Some(position) = position {
        answer.insert_header((POSITION, position.to_string()));
    }
    Ok(answer.finish())
}

/// An id that is said to exist from now on: what is none is the caller's mistake, not an absence.
fn new_id<T: std::str::FromStr>(text: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Problem::new(422, "id_invalid", "the ids of users, chatrooms and threads are UUIDs"))
}

async fn close_company(
    principal: Principal,
    id: RequestId,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    change(&gateway, &principal, id, &path, Command::CloseCompany).await
}

macro_rules! by_id {
    ($($handler:ident: $command:expr;)*) => {$(
        async fn $handler(
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
    register_user: Command::RegisterUser;
    remove_user: Command::RemoveUser;
    open_chatroom: Command::OpenChatroom;
    delete_chatroom: Command::DeleteChatroom;
    delete_thread: Command::DeleteThread;
}

macro_rules! by_member {
    ($($handler:ident: $command:expr, $place:expr;)*) => {$(
        async fn $handler(
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
    add_chatroom_member: Command::AddMember, Place::Chatroom;
    remove_chatroom_member: Command::RemoveMember, Place::Chatroom;
    add_thread_member: Command::AddMember, Place::Thread;
    remove_thread_member: Command::RemoveMember, Place::Thread;
}

async fn revoke_association(
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

async fn open_thread(
    principal: Principal,
    id: RequestId,
    path: web::Path<(String, String)>,
    body: web::Bytes,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let (company, thread) = path.into_inner();
    let body: ThreadBody = crate::json::optional(&body)?;
    let command = Command::OpenThread(new_id(&thread)?, body.chatroom_id);
    change(&gateway, &principal, id, &company, command).await
}
