//! Withholds a file from its chatroom or thread if its uploader has lost the membership during the upload.

use super::ReactionError;
use crate::Worker;
use waybill_access::Wanted;
use waybill_domain::share::{self, Command, Deliverer};
use waybill_domain::upload::State;
use waybill_read_model::queries::was_member_since;
use waybill_repository::{Loaded, ShareAggregate, UploadAggregate};
use waybill_schema::events::UploadDescription;
use waybill_schema::{Causation, Place, ShareId};

/// Revokes the association with which the upload began if its uploader may not deliver any more. The file stays visible
/// to its uploader and admins. This comes before the event that lets members see the file.
pub(super) async fn withhold_if_removed(
    worker: &Worker,
    aggregate: &UploadAggregate,
    state: &State,
    causation: Causation,
) -> Result<(), ReactionError> {
    let Some(started) = state.started.as_ref() else { return Ok(()) };
    if started.chatroom_id.is_none() && started.thread_id.is_none() {
        return Ok(());
    }
    if deliverer(worker, aggregate, started).await?.may_deliver() {
        return Ok(());
    }
    tracing::info!(upload_id = %aggregate.upload, "the uploader is no member any more; the file is not shared");
    let share = ShareAggregate { company: aggregate.company, share: ShareId(aggregate.upload.0) };
    let mut loaded = Loaded::beginning_with(share::State::of_upload(aggregate.upload, started));
    let context = worker.context(causation);
    worker.repository.execute_from(&share, &mut loaded, Command::Revoke, &context).await?;
    Ok(())
}

async fn deliverer(
    worker: &Worker,
    aggregate: &UploadAggregate,
    started: &UploadDescription,
) -> Result<Deliverer, ReactionError> {
    let (company, user) = (aggregate.company, started.uploaded_by);
    let (chatroom, thread) = (started.chatroom_id, started.thread_id);
    let wanted = Wanted {
        chatrooms: chatroom.into_iter().collect(),
        threads: thread.into_iter().collect(),
        ..Wanted::default()
    };
    let mut connection = worker.database.connection().await?;
    let known = worker.policies.access.look(&mut connection, company, user, &wanted).await?;
    let places: Vec<Place> = chatroom.map(Place::Chatroom).into_iter().chain(thread.map(Place::Thread)).collect();
    let has_ended = known.standing.has_ended();
    let is_member = places.iter().all(|place| known.is_member(*place));
    // A member of a chatroom is also a member of its threads.
    let around = thread.and_then(|thread| known.chatroom_of(thread)).map(Place::Chatroom);
    let all: Vec<Place> = places.into_iter().chain(around).collect();
    let was_member = !is_member && was_member_since(&mut connection, company, user, aggregate.upload, &all).await?;
    Ok(Deliverer { has_ended, is_member, was_member })
}
