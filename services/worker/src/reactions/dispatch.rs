//! Carries out the reactions that the domain decides for an event.

use super::sessions::{cancel_if_session_was, cancel_session};
use super::upload_steps::{advance, take_steps};
use super::{ReactionError, concatenate, content};
use crate::Worker;
use waybill_domain::reaction::Reaction;
use waybill_domain::upload;
use waybill_repository::{LifecycleAggregate, Loaded, UploadAggregate};
use waybill_schema::events::{AggregateEvent, UploadEvent};
use waybill_schema::{Causation, Entity, Recorded};

/// Carries out the reaction to an event. A repeated call has no further effect.
pub(crate) async fn react(worker: &Worker, recorded: &Recorded, reaction: Reaction) -> Result<(), ReactionError> {
    let company = recorded.subject.company;
    let causation = Causation::Event(recorded.position);
    // An event on the subject of another entity is a misfit. The projector reports it.
    match (reaction, recorded.subject.aggregate) {
        (Reaction::Purge, Entity::File(file)) => content::purge(worker, company, file, causation).await,
        (Reaction::CancelUploadsOfSession, Entity::Session(session)) => {
            cancel_session(worker, recorded, session, causation).await
        }
        (Reaction::Purge | Reaction::CancelUploadsOfSession, _) => Ok(()),
        (Reaction::CancelIfSessionWas { session, takes_steps }, Entity::UploadLifecycle(upload)) => {
            cancel_if_session_was(worker, company, session, upload, causation).await?;
            if takes_steps { advance(worker, company, upload, causation).await } else { Ok(()) }
        }
        (Reaction::TakeSteps, Entity::UploadLifecycle(upload)) => advance(worker, company, upload, causation).await,
        // Such an upload has only this event, so its state need not be loaded.
        (Reaction::TakeStepsOfWhole, Entity::UploadLifecycle(upload)) => {
            let Some(event) = UploadEvent::of(&recorded.event) else { return Ok(()) };
            let mut loaded = Loaded::of_new();
            upload::evolve(&mut loaded.state, event, recorded.envelope.time);
            take_steps(worker, &UploadAggregate { company, upload }, &mut loaded, causation).await
        }
        (Reaction::DeletePartialsIfEnded { into }, Entity::UploadLifecycle(_)) => {
            let aggregate = UploadAggregate { company, upload: into };
            let into = worker.repository.load(&LifecycleAggregate(aggregate)).await?;
            // The final upload had already ended when this partial upload was claimed.
            if into.state.has_ended_without_file() {
                concatenate::delete_partials(worker, &aggregate, &into.state, causation).await?;
            }
            Ok(())
        }
        (
            Reaction::CancelIfSessionWas { .. }
            | Reaction::TakeSteps
            | Reaction::TakeStepsOfWhole
            | Reaction::DeletePartialsIfEnded { .. },
            _,
        ) => Ok(()),
    }
}
