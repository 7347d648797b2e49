//! Who may watch what.

use crate::protocol::Topic;
use waybill_event_log::{EventLog, ReadError};
use waybill_repository::{SessionAggregate, UploadAggregate, load};
use waybill_service_kit::{Principal, Role};

/// Up to which sequence the log was read to decide, if the principal may watch the topic. What is not theirs and what
/// does not exist are answered alike.
pub(crate) async fn may_watch(
    log: &dyn EventLog,
    principal: &Principal,
    topic: Topic,
) -> Result<Option<u64>, ReadError> {
    let company = principal.company_id;
    let admin = principal.roles.contains(&Role::Admin);
    Ok(match topic {
        Topic::Upload(upload) => {
            let loaded = load(log, &UploadAggregate { company, upload }).await?;
            let started = loaded.state.started;
            started.filter(|started| admin || started.uploaded_by == principal.user_id).map(|_| loaded.read_to)
        }
        Topic::Session(session) => {
            let loaded = load(log, &SessionAggregate { company, session }).await?;
            let owner = loaded.state.user_id;
            owner.filter(|owner| admin || *owner == principal.user_id).map(|_| loaded.read_to)
        }
        Topic::Company(id) => (id == company && admin).then_some(0),
        // Without a directory no chatroom or thread is known.
        Topic::Chatroom(_) | Topic::Thread(_) => None,
    })
}
