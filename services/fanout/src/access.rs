//! Who may watch what.

use crate::protocol::Topic;
use crate::server::Fanout;
use waybill_access::{AccessError, Wanted};
use waybill_repository::{LifecycleAggregate, SessionAggregate, UploadAggregate, load};
use waybill_schema::Place;
use waybill_service_kit::{Principal, Role};

/// That the principal may watch a topic.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Allowed {
    /// Up to which sequence the log was read to decide.
    pub(crate) read_to: u64,
    /// Files that came into the chatroom or thread before this sequence are not there any more.
    pub(crate) since: u64,
}

/// Whether the principal may watch the topic. What is not theirs and what does not exist are answered alike.
pub(crate) async fn may_watch(
    fanout: &Fanout,
    principal: &Principal,
    topic: Topic,
) -> Result<Option<Allowed>, AccessError> {
    let company = principal.company_id;
    let admin = principal.roles.contains(&Role::Admin);
    let log = fanout.log.as_ref();
    let read = |read_to| Allowed { read_to, since: 0 };
    Ok(match topic {
        Topic::Upload(upload) => {
            let loaded = load(log, &LifecycleAggregate(UploadAggregate { company, upload })).await?;
            let started = loaded.state.started;
            started.filter(|started| admin || started.uploaded_by == principal.user_id).map(|_| read(loaded.read_to))
        }
        Topic::Session(session) => {
            let loaded = load(log, &SessionAggregate { company, session }).await?;
            let owner = loaded.state.user_id;
            owner.filter(|owner| admin || *owner == principal.user_id).map(|_| read(loaded.read_to))
        }
        Topic::Company(id) => (id == company && admin).then(Allowed::default),
        Topic::Chatroom(_) | Topic::Thread(_) => {
            let kept = keeps_places(fanout, principal, &[topic]).await?;
            kept.and_then(|kept| kept.first().map(|(_, since)| Allowed { read_to: 0, since: *since }))
        }
    })
}

/// Whether the principal may still watch all of these topics.
pub(crate) async fn keeps_all(fanout: &Fanout, principal: &Principal, topics: &[Topic]) -> Result<bool, AccessError> {
    for topic in topics {
        if may_watch(fanout, principal, *topic).await?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Since when each of those topics that are chatrooms and threads is there, if the principal is, and belongs to them all.
pub(crate) async fn keeps_places(
    fanout: &Fanout,
    principal: &Principal,
    topics: &[Topic],
) -> Result<Option<Vec<(Topic, u64)>>, AccessError> {
    let admin = principal.roles.contains(&Role::Admin);
    let (mut wanted, mut places) = (Wanted::default(), Vec::new());
    for topic in topics {
        match topic {
            Topic::Chatroom(id) => {
                wanted.chatrooms.push(*id);
                places.push((*topic, Place::Chatroom(*id)));
            }
            Topic::Thread(id) => {
                wanted.threads.push(*id);
                places.push((*topic, Place::Thread(*id)));
            }
            Topic::Upload(_) | Topic::Session(_) | Topic::Company(_) => {}
        }
    }
    let mut connection = fanout.database.connection().await?;
    let known = fanout.access.look(&mut connection, principal.company_id, principal.user_id, &wanted).await?;
    let theirs = |place: &Place| known.places.contains(place) && (admin || known.is_member(*place));
    if known.standing.has_ended() || !places.iter().all(|(_, place)| theirs(place)) {
        return Ok(None);
    }
    let since = |place: &Place| known.since.get(place).copied().unwrap_or(0);
    Ok(Some(places.iter().map(|(topic, place)| (*topic, since(place))).collect()))
}
