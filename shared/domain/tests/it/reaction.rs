//! Tests of the reactions to events.

use uuid::Uuid;
use waybill_domain::reaction::{Reaction, reaction_to};
use waybill_schema::events::{
    ChunkStorage, ChunkUploaded, FilePurged, FileRestored, SessionCancelled, UploadCancelled, UploadConcatenated,
    UploadKind, UploadStarted,
};
use waybill_schema::{Event, SessionId, UploadId, WorkerId};

use crate::upload_samples::started;

fn reaction(event: impl Into<Event>) -> Option<Reaction> {
    reaction_to(&event.into())
}

#[test]
fn an_upload_takes_steps_when_it_ends_and_not_while_bytes_arrive() {
    assert_eq!(reaction(UploadCancelled {}), Some(Reaction::TakeSteps));
    let chunk = ChunkUploaded {
        offset: 0,
        length: 1,
        crc64nvme: 0,
        etag: String::new(),
        storage: ChunkStorage::Part { part_number: 1 },
        worker_id: WorkerId(Uuid::nil()),
        store_writes: 1,
    };
    assert_eq!(reaction(chunk), None);
}

#[test]
fn a_start_has_a_reaction_only_for_a_session_or_a_final_upload() {
    let start = UploadStarted::from(started(10));
    assert_eq!(reaction(start.clone()), None);
    let session = SessionId(Uuid::from_u128(7));
    let mut of_session = start.clone();
    of_session.started.session_id = Some(session);
    assert_eq!(reaction(of_session), Some(Reaction::CancelIfSessionWas { session, takes_steps: false }));
    let kind = UploadKind::Final { partials: Vec::new(), upload_concat: String::new() };
    assert_eq!(reaction(UploadStarted { kind, ..start }), Some(Reaction::TakeSteps));
}

#[test]
fn a_claim_a_purge_and_a_cancelled_session_have_reactions_of_their_own() {
    let into = UploadId(Uuid::from_u128(9));
    assert_eq!(reaction(UploadConcatenated { into }), Some(Reaction::DeletePartialsIfEnded { into }));
    assert_eq!(reaction(FilePurged {}), Some(Reaction::Purge));
    assert_eq!(reaction(FileRestored {}), None);
    assert_eq!(reaction(SessionCancelled {}), Some(Reaction::CancelUploadsOfSession));
}
