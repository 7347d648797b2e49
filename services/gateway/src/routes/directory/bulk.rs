//! `POST /v1/admin/companies/{company}/bulk`: many changes of a directory in one request.

use crate::application::administration::{Administration, try_all};
use crate::application::gateway::Gateway;
use crate::application::registration::{change_directory, look_at_directory};
use crate::http::json;
use crate::http::parameters::CompanyPath;
use crate::http::response::POSITION;
use actix_web::{HttpRequest, HttpResponse, post, web};
use waybill_api::directory::{Applied, BulkBody, Operation};
use waybill_domain::directory::Command;
use waybill_http_kit::Problem;
use waybill_schema::ErrorCode;
use waybill_schema::{ChatroomId, Place, ThreadId, UserId};

routes!(bulk);

/// Maximum number of operations in one request.
const OPERATIONS_MAX: usize = 1_000;

/// Maximum size of the request body.
const BULK_MAX_BYTES: usize = 512 * 1_024;

/// Returns the command of an operation.
fn command_of(operation: Operation) -> Command {
    match operation {
        Operation::RegisterUser { user_id } => Command::RegisterUser(UserId(user_id)),
        Operation::RemoveUser { user_id } => Command::RemoveUser(UserId(user_id)),
        Operation::OpenChatroom { chatroom_id } => Command::OpenChatroom(ChatroomId(chatroom_id)),
        Operation::DeleteChatroom { chatroom_id } => Command::DeleteChatroom(ChatroomId(chatroom_id)),
        Operation::OpenThread { thread_id, chatroom_id } => {
            Command::OpenThread(ThreadId(thread_id), chatroom_id.map(ChatroomId))
        }
        Operation::DeleteThread { thread_id } => Command::DeleteThread(ThreadId(thread_id)),
        Operation::AddChatroomMember { chatroom_id, user_id } => {
            Command::AddMember(Place::Chatroom(ChatroomId(chatroom_id)), UserId(user_id))
        }
        Operation::RemoveChatroomMember { chatroom_id, user_id } => {
            Command::RemoveMember(Place::Chatroom(ChatroomId(chatroom_id)), UserId(user_id))
        }
        Operation::AddThreadMember { thread_id, user_id } => {
            Command::AddMember(Place::Thread(ThreadId(thread_id)), UserId(user_id))
        }
        Operation::RemoveThreadMember { thread_id, user_id } => {
            Command::RemoveMember(Place::Thread(ThreadId(thread_id)), UserId(user_id))
        }
    }
}

/// Applies many changes to a directory
///
/// Waybill checks all operations first. If it refuses one, it applies none, and the member `index` of the error is the
/// index of the refused operation, beginning at 0.
#[utoipa::path(
    tag = "directory",
    operation_id = "change_directory",
    params(CompanyPath),
    request_body = BulkBody,
    responses(
        (status = 200, description = "All operations are applied", body = Applied),
        (status = 409, description = "`id_taken`, `directory_full`"),
        (status = 413, description = "`too_many_operations`, `json_too_large`"),
        (status = 422, description = "`id_invalid`"),
    ),
)]
#[post("/v1/admin/companies/{company}/bulk")]
pub(crate) async fn bulk(
    by: Administration,
    request: HttpRequest,
    payload: web::Payload,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let body: BulkBody = json::read(&request, payload, BULK_MAX_BYTES).await?;
    let commands = body.operations.into_iter().map(|operation| by.permitted(&gateway, command_of(operation)));
    let commands: Vec<Command> = commands.collect();
    if commands.len() > OPERATIONS_MAX {
        return Err(Problem::new(413, ErrorCode::TooManyOperations, "send at most 1,000 operations in one request"));
    }
    // All or none: if one operation is invalid, the request is refused before the first event.
    look_at_directory(&gateway.directories, by.company, |state| try_all(&gateway, state, &commands)).await??;
    let applied = commands.len();
    let position = change_directory(&gateway.directories, by.company, &by.context, commands).await?;
    let mut answer = HttpResponse::Ok();
    if let Some(position) = position {
        answer.insert_header((POSITION, position.to_string()));
    }
    Ok(answer.json(Applied { applied }))
}
