//! Tests of the reactions to events.

use crate::given::NOW;
use crate::upload_samples::{PART, chunk, given, started, worker};
use proptest::prelude::*;
use uuid::Uuid;
use waybill_domain::reaction::{Reaction, reaction_to};
use waybill_domain::upload::{State, Step, react};
use waybill_schema::events::*;
use waybill_schema::{Event, SessionId, Sha256Digest, UploadId, WorkerId};

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

fn start(kind: UploadKind) -> UploadEvent {
    UploadStarted { kind, ..started(3 * PART).into() }.into()
}

fn kinds() -> Vec<UploadKind> {
    vec![
        UploadKind::File,
        UploadKind::Partial,
        UploadKind::Direct,
        UploadKind::Quarantine { quarantine_key: "q/k".to_owned() },
        UploadKind::Final { partials: Vec::new(), upload_concat: String::new() },
    ]
}

/// Returns events of all types that follow a start.
fn later_events() -> Vec<UploadEvent> {
    let (storage_bucket, storage_key) = ("b".to_owned(), "k".to_owned());
    let opened = MultipartOpened {
        storage_bucket: storage_bucket.clone(),
        storage_key: storage_key.clone(),
        storage_upload_id: "u".to_owned(),
        worker_id: worker(1),
        checksum_algorithm: None,
    };
    let assembled = PartAssembled {
        part_number: 2,
        length: PART,
        crc64nvme: 1,
        etag: "e".to_owned(),
        worker_id: worker(1),
        store_writes: 1,
    };
    let copied = QuarantineCopied {
        storage_bucket: storage_bucket.clone(),
        storage_key: storage_key.clone(),
        size_bytes: 3 * PART,
        worker_id: worker(1),
    };
    let verified = FileVerified {
        sha256: Sha256Digest([1; 32]),
        storage_bucket,
        storage_key,
        sniffed_mime_type: None,
        read_back: false,
        crc32: Some(1),
    };
    vec![
        UploadLengthSet { size_bytes: PART + 50 }.into(),
        UploadConcatenated { into: UploadId(Uuid::from_u128(9)) }.into(),
        QuarantineSigned { until: NOW }.into(),
        copied.into(),
        QuarantineCleared {}.into(),
        opened.into(),
        chunk(0, PART).into(),
        chunk(PART, 50).into(),
        chunk(PART + 50, 50).into(),
        assembled.into(),
        FileCompleted { declared_sha256: None }.into(),
        verified.into(),
        FileRejected { code: "x".to_owned(), message: String::new() }.into(),
        UploadCancelled {}.into(),
        UploadExpired {}.into(),
    ]
}

/// Returns the next steps in a state, without assemblies: the data plane assembles parts too.
fn steps(state: &State) -> Vec<Step> {
    react(state).into_iter().filter(|step| !matches!(step, Step::AssemblePart(_))).collect()
}

proptest! {
    /// No worker would take a step that an event without a reaction adds.
    #[test]
    fn only_an_event_with_a_reaction_adds_steps(
        kind in proptest::sample::select(kinds()),
        later in proptest::collection::vec(proptest::sample::select(later_events()), 0..12),
    ) {
        let mut upload = given([]);
        for event in std::iter::once(start(kind)).chain(later) {
            let before = steps(upload.state());
            upload.record(event.clone());
            let after = steps(upload.state());
            let adds = after.iter().any(|step| !before.contains(step));
            let takes = reaction(event.clone()) == Some(Reaction::TakeSteps);
            prop_assert!(takes || !adds, "{:?} adds steps: {:?}, then {:?}", event, before, after);
            // The rules allow no second end.
            if upload.state().has_ended() {
                break;
            }
        }
    }
}
