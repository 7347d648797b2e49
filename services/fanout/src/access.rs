//! Decides which topics a principal may watch.

use crate::fanout::Fanout;
use waybill_access::{AccessError, Wanted};
use waybill_api::frames::Topic;
use waybill_domain::access::Barred;
use waybill_http_kit::{Principal, Problem, Role, auth::token_invalidated};
use waybill_repository::{LifecycleAggregate, SessionAggregate, UploadAggregate};
use waybill_schema::{ErrorCode, Place, UserId};

/// Permission of a principal to watch a topic.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Allowed {
    /// Sequence up to which the log was read for the decision.
    pub(crate) read_to: u64,
    /// Files that were shared into the chatroom or thread before this sequence are not visible any more.
    pub(crate) since: u64,
}

/// Checks that the user may connect: neither the user nor the company was removed, and the host product has not
/// invalidated the token.
///
/// # Errors
/// 403 `not_registered`; 401 `token_invalid`; 503 if the user cannot be checked now.
pub(crate) async fn check_standing(fanout: &Fanout, principal: &Principal) -> Result<(), Problem> {
    let standing = fanout.access.standing(principal.company_id, principal.user_id).await.map_err(|error| {
        tracing::warn!(%error, "cannot decide access");
        Problem::unavailable("Access rights cannot be checked at the moment. Try again.")
    })?;
    standing.check(fanout.auto_register, principal.issued_at).map_err(|barred| match barred {
        Barred::NotRegistered => {
            let detail = "the company or the user is not registered, or has been removed";
            Problem::new(403, ErrorCode::NotRegistered, detail)
        }
        Barred::TokenInvalidated => token_invalidated(),
    })
}

/// Returns the user whose own files a watcher sees before they are verified, or `None` for admins, who see all.
pub(crate) fn limited_to(principal: &Principal) -> Option<UserId> {
    (!principal.roles.contains(&Role::Admin)).then_some(principal.user_id)
}

/// Returns the permission to watch `topic`, or `None`. The result does not reveal whether a forbidden topic exists.
pub(crate) async fn may_watch(
    fanout: &Fanout,
    principal: &Principal,
    topic: Topic,
) -> Result<Option<Allowed>, AccessError> {
    let company = principal.company_id;
    let admin = principal.roles.contains(&Role::Admin);
    let read = |read_to| Allowed { read_to, since: 0 };
    Ok(match topic {
        Topic::Upload(upload) => {
            let loaded = fanout.repository.load(&LifecycleAggregate(UploadAggregate { company, upload })).await?;
            let started = loaded.state.started;
            started.filter(|started| admin || started.uploaded_by == principal.user_id).map(|_| read(loaded.read_to))
        }
        Topic::Session(session) => {
            let loaded = fanout.repository.load(&SessionAggregate { company, session }).await?;
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

/// Returns `true` if the principal may still watch all of `topics`.
pub(crate) async fn keeps_all(fanout: &Fanout, principal: &Principal, topics: &[Topic]) -> Result<bool, AccessError> {
    for topic in topics {
        if may_watch(fanout, principal, *topic).await?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns, for each chatroom and thread in `topics`, the sequence from which on shared files count. Returns `None` if
/// the account of the principal has ended, or if the principal may not watch one of the chatrooms and threads.
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
    let is_barred = known.standing.check(fanout.auto_register, principal.issued_at).is_err();
    if is_barred || !places.iter().all(|(_, place)| theirs(place)) {
        return Ok(None);
    }
    let since = |place: &Place| known.since.get(place).copied().unwrap_or(0);
    Ok(Some(places.iter().map(|(topic, place)| (*topic, since(place))).collect()))
}
