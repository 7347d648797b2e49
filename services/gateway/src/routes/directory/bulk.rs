//! `POST /v1/admin/companies/{company}/bulk`: many changes of a directory in one request.

use crate::application::administration::{Administration, try_all};
use crate::application::gateway::Gateway;
use crate::application::registration::{change_directory, look_at_directory};
use crate::http::json;
use crate::http::parameters::CompanyPath;
use crate::http::response::POSITION;
use actix_web::{HttpRequest, HttpResponse, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use waybill_domain::directory::Command;
use waybill_schema::ErrorCode;
use waybill_schema::{ChatroomId, Place, ThreadId, UserId};
use waybill_service_kit::Problem;

/// Maximum number of operations in one request.
const OPERATIONS_MAX: usize = 1_000;

/// Maximum size of the request body.
const BULK_MAX_BYTES: usize = 512 * 1_024;

/// Changes of a directory, in the order in which they are applied.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkBody {
    /// At most 1,000 operations.
    operations: Vec<Operation>,
}

/// Change of a directory.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
enum Operation {
    RegisterUser { user_id: Uuid },
    RemoveUser { user_id: Uuid },
    OpenChatroom { chatroom_id: Uuid },
    DeleteChatroom { chatroom_id: Uuid },
    OpenThread { thread_id: Uuid, chatroom_id: Option<Uuid> },
    DeleteThread { thread_id: Uuid },
    AddChatroomMember { chatroom_id: Uuid, user_id: Uuid },
    RemoveChatroomMember { chatroom_id: Uuid, user_id: Uuid },
    AddThreadMember { thread_id: Uuid, user_id: Uuid },
    RemoveThreadMember { thread_id: Uuid, user_id: Uuid },
}

/// Result of a bulk request.
#[derive(Serialize, ToSchema)]
struct Applied {
    /// Number of operations in the request. All of them were applied.
    applied: usize,
}

impl From<Operation> for Command {
    fn from(operation: Operation) -> Self {
        match operation {
            Operation::RegisterUser { user_id } => Self::RegisterUser(UserId(user_id)),
            Operation::RemoveUser { user_id } => Self::RemoveUser(UserId(user_id)),
            Operation::OpenChatroom { chatroom_id } => Self::OpenChatroom(ChatroomId(chatroom_id)),
            Operation::DeleteChatroom { chatroom_id } => Self::DeleteChatroom(ChatroomId(chatroom_id)),
            Operation::OpenThread { thread_id, chatroom_id } => {
                Self::OpenThread(ThreadId(thread_id), chatroom_id.map(ChatroomId))
            }
            Operation::DeleteThread { thread_id } => Self::DeleteThread(ThreadId(thread_id)),
            Operation::AddChatroomMember { chatroom_id, user_id } => {
                Self::AddMember(Place::Chatroom(ChatroomId(chatroom_id)), UserId(user_id))
            }
            Operation::RemoveChatroomMember { chatroom_id, user_id } => {
                Self::RemoveMember(Place::Chatroom(ChatroomId(chatroom_id)), UserId(user_id))
            }
            Operation::AddThreadMember { thread_id, user_id } => {
                Self::AddMember(Place::Thread(ThreadId(thread_id)), UserId(user_id))
            }
            Operation::RemoveThreadMember { thread_id, user_id } => {
                Self::RemoveMember(Place::Thread(ThreadId(thread_id)), UserId(user_id))
            }
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
    let commands: Vec<Command> = body.operations.into_iter().map(Command::from).collect();
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
