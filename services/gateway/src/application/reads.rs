//! Records of downloads, lists and uses of the audit.

use crate::application::gateway::Gateway;
use waybill_audit::reads::{Action, Read};
use waybill_http_kit::{Principal, Problem, RequestId};
use waybill_schema::FileId;
use waybill_schema::Place;
use waybill_service_kit::now;

/// Records that a user downloads a file.
///
/// # Errors
/// 503 if reads must be recorded and NATS does not answer.
pub(crate) async fn record_download(
    gateway: &Gateway,
    principal: &Principal,
    request: RequestId,
    file: FileId,
) -> Result<(), Problem> {
    let read = Read { file_id: Some(file.0), ..read(principal, request, Action::Download) };
    record(gateway, principal, read).await
}

/// Records that a user sees a preview of a file.
///
/// # Errors
/// 503 if reads must be recorded and NATS does not answer.
pub(crate) async fn record_preview(
    gateway: &Gateway,
    principal: &Principal,
    request: RequestId,
    file: FileId,
) -> Result<(), Problem> {
    let read = Read { file_id: Some(file.0), ..read(principal, request, Action::Preview) };
    record(gateway, principal, read).await
}

/// Records that a user lists the files of a place, or those of the user or company.
///
/// # Errors
/// 503 if reads must be recorded and NATS does not answer.
pub(crate) async fn record_list(
    gateway: &Gateway,
    principal: &Principal,
    request: RequestId,
    place: Option<Place>,
) -> Result<(), Problem> {
    let (chatroom_id, thread_id) = match place {
        None => (None, None),
        Some(Place::Chatroom(chatroom)) => (Some(chatroom.0), None),
        Some(Place::Thread(thread)) => (None, Some(thread.0)),
    };
    let read = Read { chatroom_id, thread_id, ..read(principal, request, Action::List) };
    record(gateway, principal, read).await
}

/// Records that a user reads or exports the audit.
///
/// # Errors
/// 503 if reads must be recorded and NATS does not answer.
pub(crate) async fn record_audit(gateway: &Gateway, principal: &Principal, request: RequestId) -> Result<(), Problem> {
    record(gateway, principal, read(principal, request, Action::Audit)).await
}

fn read(principal: &Principal, request: RequestId, action: Action) -> Read {
    Read {
        time: now(),
        user_id: principal.user_id,
        address: request.address,
        request_id: request.id,
        action,
        file_id: None,
        chatroom_id: None,
        thread_id: None,
    }
}

async fn record(gateway: &Gateway, principal: &Principal, read: Read) -> Result<(), Problem> {
    gateway.reads.record(principal.company_id, read).await.map_err(|error| {
        tracing::warn!(%error, "refused a read");
        Problem::unavailable("The read cannot be recorded for the audit at the moment. Try again.")
    })
}
