//! Who may watch what.

use crate::protocol::Topic;
use crate::server::Fanout;
use waybill_access::{AccessError, Wanted};
use waybill_repository::{SessionAggregate, UploadAggregate, load};
use waybill_schema::Place;
use waybill_service_kit::{Principal, Role};

/// Up to which sequence the log was read to decide, if the principal may watch the topic. What is not theirs and what
/// does not exist are answered alike.
pub(crate) async fn may_watch(
    fanout: &Fanout,
    principal: &Principal,
    topic: Topic,
) -> Result<Option<u64>, AccessError> {
    let company = principal.company_id;
    let admin = principal.roles.contains(&Role::Admin);
    let log = fanout.log.as_ref();
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
        Topic::Chatroom(_) | Topic::Thread(_) => keeps_access(fanout, principal, &[topic]).await?.then_some(0),
    })
}

/// Whether the principal is still there, and belongs to all chatrooms and threads among these topics.
pub(crate) async fn keeps_access(
    fanout: &Fanout,
    principal: &Principal,
    topics: &[Topic],
) -> Result<bool, AccessError> {
    let admin = principal.roles.contains(&Role::Admin);
    let mut wanted = Wanted::default();
    for topic in topics {
        match topic {
            Topic::Chatroom(id) => wanted.chatrooms.push(*id),
            Topic::Thread(id) => wanted.threads.push(*id),
            Topic::Upload(_) | Topic::Session(_) | Topic::Company(_) => {}
        }
    }
    let mut connection = fanout.database.connection().await?;
    let known = fanout.access.look(&mut connection, principal.company_id, principal.user_id, &wanted).await?;
    let chatrooms = wanted.chatrooms.into_iter().map(Place::Chatroom);
    let mut places = chatrooms.chain(wanted.threads.into_iter().map(Place::Thread));
    let theirs = |place: Place| known.places.contains(&place) && (admin || known.is_member(place));
    Ok(!known.standing.has_ended() && places.all(theirs))
}
