//! Tests of an upload from its start to its end.

use crate::given::{NOW, PART, chunk, started, upload, worker};
use waybill_domain::Refusal;
use waybill_domain::media_type::TypePolicy;
use waybill_domain::upload::*;
use waybill_schema::events::*;
use waybill_schema::*;

fn verification(sha256: [u8; 32], sniffed: Option<&str>) -> Command {
    Command::Verify {
        found: Verification {
            sha256: Sha256Digest(sha256),
            storage_bucket: "b".to_owned(),
            storage_key: "k".to_owned(),
            sniffed_mime_type: sniffed.map(str::to_owned),
            read_back: false,
        },
        policy: TypePolicy::default(),
    }
}

fn complete() -> Command {
    Command::Complete { declared_sha256: None, now: NOW }
}

fn completed(size_bytes: u64) -> State {
    let mut events: Vec<UploadEvent> = vec![started(size_bytes).into()];
    events.extend((0..size_bytes / PART).map(|n| chunk(n * PART, PART).into()));
    events.push(FileCompletedV1 { declared_sha256: None }.into());
    upload(events)
}

fn whole() -> FileUploadedV2 {
    FileUploadedV2 {
        started: started(5),
        upload_metadata: Some("filename YS50eHQ=".to_owned()),
        sha256: Sha256Digest([1; 32]),
        storage_bucket: "b".to_owned(),
        storage_key: "k".to_owned(),
        sniffed_mime_type: None,
        worker_id: worker(1),
    }
}

#[test]
fn a_start_is_accepted_once_and_repeated_without_an_event() {
    let start = Command::Start(started(10).into());
    let event = decide(&State::default(), start.clone()).unwrap().unwrap();
    let state = upload([event]);
    assert_eq!(decide(&state, start), Ok(None));
    let later = UploadStartedV1 { expires_at: NOW.plus_ms(9_999), ..started(10) };
    assert_eq!(decide(&state, Command::Start(later.into())), Ok(None), "a repeated start may differ in the expiry");
    assert_eq!(decide(&state, Command::Start(started(11).into())), Err(Refusal::IdTaken { what: "upload" }));
}

#[test]
fn completion_with_a_hole_names_what_is_missing() {
    let state = upload([started(300).into(), chunk(0, 100).into(), chunk(250, 20).into()]);
    let missing = vec![ByteRange { from: 100, to: 250 }, ByteRange { from: 270, to: 300 }];
    assert_eq!(decide(&state, complete()), Err(Refusal::ChunksMissing { missing }));
}

#[test]
fn an_empty_file_is_complete_without_a_chunk() {
    let state = upload([started(0).into()]);
    assert_eq!(decide(&state, complete()), Ok(Some(FileCompletedV1 { declared_sha256: None }.into())));
}

#[test]
fn completing_twice_is_one_event() {
    assert_eq!(decide(&completed(100), complete()), Ok(None));
}

#[test]
fn completing_after_the_time_is_up_is_refused() {
    let state = upload([started(100).into(), chunk(0, 100).into()]);
    let late = Command::Complete { declared_sha256: None, now: NOW.plus_ms(1_000) };
    assert_eq!(decide(&state, late), Err(Refusal::UploadEnded { status: "expired" }));
}

#[test]
fn bytes_beyond_the_declared_size_are_refused() {
    let state = upload([started(150).into()]);
    let refused = decide(&state, Command::RecordChunk(chunk(100, 51)));
    assert_eq!(refused, Err(Refusal::SizeExceeded { size_bytes: 150 }));
}

#[test]
fn a_stored_chunk_is_no_news() {
    let state = upload([started(150).into(), chunk(0, 100).into()]);
    assert_eq!(decide(&state, Command::RecordChunk(chunk(0, 100))), Ok(None));
}

#[test]
fn a_wrong_declared_digest_rejects_the_file() {
    let declared = UploadStartedV1 { declared_sha256: Some(Sha256Digest([1; 32])), ..started(100) };
    let state = upload([declared.into(), chunk(0, 100).into(), FileCompletedV1 { declared_sha256: None }.into()]);
    let event = decide(&state, verification([2; 32], None)).unwrap();
    assert!(matches!(event, Some(UploadEvent::FileRejected(rejected)) if rejected.code == "digest_mismatch"));
}

#[test]
fn the_digest_of_the_completion_replaces_that_of_the_start() {
    let declared = UploadStartedV1 { declared_sha256: Some(Sha256Digest([1; 32])), ..started(100) };
    let complete = FileCompletedV1 { declared_sha256: Some(Sha256Digest([2; 32])) };
    let state = upload([declared.into(), chunk(0, 100).into(), complete.into()]);
    assert!(matches!(decide(&state, verification([2; 32], None)), Ok(Some(UploadEvent::FileVerified(_)))));
}

#[test]
fn bytes_that_look_like_a_program_reject_the_file() {
    let event = decide(&completed(100), verification([2; 32], Some("application/x-executable"))).unwrap();
    assert!(matches!(event, Some(UploadEvent::FileRejected(rejected)) if rejected.code == "type_refused"));
}

#[test]
fn verifying_twice_is_one_event() {
    let mut state = completed(100);
    let event = decide(&state, verification([2; 32], None)).unwrap().unwrap();
    evolve(&mut state, &event, NOW);
    assert_eq!(decide(&state, verification([2; 32], None)), Ok(None));
    assert_eq!(state.status(), Status::Completed);
}

#[test]
fn cancelling_is_for_running_uploads() {
    let running = upload([started(100).into()]);
    assert_eq!(decide(&running, Command::Cancel), Ok(Some(UploadCancelledV1 {}.into())));
    let cancelled = upload([started(100).into(), UploadCancelledV1 {}.into()]);
    assert_eq!(decide(&cancelled, Command::Cancel), Ok(None));
    assert!(matches!(decide(&completed(100), Command::Cancel), Err(Refusal::UploadCompleted { .. })));
    assert_eq!(decide(&State::default(), Command::Cancel), Err(Refusal::NotFound { what: "upload" }));
}

#[test]
fn what_has_ended_takes_no_bytes() {
    let cancelled = upload([started(100).into(), UploadCancelledV1 {}.into()]);
    let refused = decide(&cancelled, Command::RecordChunk(chunk(0, 100)));
    assert_eq!(refused, Err(Refusal::UploadEnded { status: "cancelled" }));
    let refused = decide(&completed(100), Command::RecordChunk(chunk(0, 100)));
    assert!(matches!(refused, Err(Refusal::UploadCompleted { .. })));
}

#[test]
fn an_upload_expires_when_its_time_is_up_and_not_before() {
    let state = upload([started(100).into()]);
    assert_eq!(decide(&state, Command::Expire { now: NOW }), Ok(None));
    let late = Command::Expire { now: NOW.plus_ms(1_000) };
    assert_eq!(decide(&state, late.clone()), Ok(Some(UploadExpiredV1 {}.into())));
    assert_eq!(decide(&completed(100), late.clone()), Ok(None), "a complete upload cannot expire");
    // A reservation without an upload: after this event, the upload cannot start any more.
    assert_eq!(decide(&State::default(), late), Ok(Some(UploadExpiredV1 {}.into())));
    let dead = upload([UploadExpiredV1 {}.into()]);
    assert_eq!(decide(&dead, Command::Start(started(100).into())), Err(Refusal::UploadEnded { status: "expired" }));
    assert_eq!(decide(&dead, Command::UploadWhole(whole())), Err(Refusal::UploadEnded { status: "expired" }));
}

#[test]
fn a_whole_file_is_started_stored_and_verified_at_once() {
    let event = decide(&State::default(), Command::UploadWhole(whole())).unwrap().unwrap();
    let state = upload([event]);
    assert_eq!(state.status(), Status::Completed);
    assert_eq!(state.missing(), []);
    assert_eq!(state.upload_metadata, whole().upload_metadata);
    assert_eq!(decide(&state, Command::UploadWhole(whole())), Ok(None));
    let other = FileUploadedV2 { sha256: Sha256Digest([2; 32]), ..whole() };
    assert_eq!(decide(&state, Command::UploadWhole(other)), Err(Refusal::IdTaken { what: "upload" }));
}

#[test]
fn one_writer_that_wrote_each_part_once_need_not_be_checked() {
    let opened = |n| MultipartOpenedV2 {
        storage_bucket: "b".to_owned(),
        storage_key: "k".to_owned(),
        storage_upload_id: "u".to_owned(),
        worker_id: worker(n),
        checksum_algorithm: None,
    };
    let begin = |n| [started(200).into(), opened(n).into(), chunk(0, 100).into()];
    assert!(!upload(begin(1)).needs_read_back());
    assert!(upload(begin(2)).needs_read_back(), "another worker opened the multipart upload");
    let again = ChunkUploadedV1 { store_writes: 2, ..chunk(100, 100) };
    assert!(
        upload(begin(1).into_iter().chain([again.into()])).needs_read_back(),
        "the part was sent twice because a response was lost"
    );
    let other = ChunkUploadedV1 { etag: "other".to_owned(), ..chunk(0, 100) };
    assert!(upload(begin(1).into_iter().chain([other.into()])).needs_read_back(), "the part was written twice");
    let same = upload(begin(1).into_iter().chain([chunk(0, 100).into()]));
    assert!(!same.needs_read_back(), "a repeated event changes nothing");
}

#[test]
fn staged_runs_become_a_part_when_they_cover_it() {
    let mut state = upload([started(150).into(), chunk(0, 40).into(), chunk(60, 40).into()]);
    assert_eq!(react(&state), []);
    evolve(&mut state, &chunk(30, 35).into(), NOW);
    assert_eq!(react(&state), [Step::AssemblePart(1)]);
    let pieces: Vec<(u64, u64, u64)> =
        state.pieces_of(1).iter().map(|piece| (piece.range.from, piece.range.to, piece.object_offset)).collect();
    assert_eq!(pieces, [(0, 40, 0), (40, 60, 10), (60, 100, 0)], "the first event wins for each byte");
}

#[test]
fn what_a_worker_does_follows_from_the_state() {
    assert_eq!(react(&completed(100)), [Step::CompleteObject, Step::VerifyObject]);
    let rejected = FileRejectedV1 { code: "x".to_owned(), message: String::new() };
    for end in [rejected.into(), UploadCancelledV1 {}.into(), UploadExpiredV1 {}.into()] {
        let state = upload([started(100).into(), end]);
        assert_eq!(react(&state), [Step::SettleAsUnused, Step::DeleteObject, Step::DeleteStaging]);
    }
    assert_eq!(react(&upload([UploadExpiredV1 {}.into()])), [Step::SettleAsUnused, Step::DeleteObject]);
    assert_eq!(react(&upload([whole().into()])), [Step::SettleAsUsed, Step::KeepContent]);
    assert_eq!(react(&upload([started(1).into()])), []);
}

fn begun(kind: UploadKind, length_deferred: bool) -> UploadEvent {
    UploadStartedV2 { kind, length_deferred, ..started(300).into() }.into()
}

#[test]
fn a_deferred_length_is_set_once_and_not_below_what_is_stored() {
    let state = upload([begun(UploadKind::File, true), chunk(0, 100).into(), chunk(100, 50).into()]);
    assert_eq!((state.length(), state.missing()), (None, vec![]));
    assert!(!state.is_whole());
    assert_eq!(decide(&state, complete()), Err(Refusal::LengthUnknown));
    let set = |state: &State, size_bytes| decide(state, Command::SetLength { size_bytes });
    assert!(matches!(set(&state, 149), Err(Refusal::LengthConflict { known_bytes: 150, .. })));
    assert!(matches!(set(&state, 301), Err(Refusal::FileTooLarge { limit_bytes: 300, .. })));
    let mut state = state;
    let event = set(&state, 150).unwrap().unwrap();
    evolve(&mut state, &event, NOW);
    assert_eq!((state.length(), state.is_whole()), (Some(150), true));
    assert_eq!(set(&state, 150), Ok(None), "the same length again has no effect");
    assert!(matches!(set(&state, 151), Err(Refusal::LengthConflict { .. })));
    assert_eq!(state.parts_to_assemble(), [2], "the last range is a whole part now");
    assert!(matches!(decide(&state, complete()), Ok(Some(UploadEvent::FileCompleted(_)))));
}

#[test]
fn a_partial_upload_is_claimed_once_when_it_is_complete() {
    let [first, second] = [1, 2].map(|n| UploadId(uuid::Uuid::from_u128(n)));
    let claim = |state: &State, into| decide(state, Command::Claim { into });
    let half = upload([begun(UploadKind::Partial, false), chunk(0, 100).into()]);
    assert!(matches!(claim(&half, first), Err(Refusal::PartialUnfit { .. })));
    let file =
        upload([begun(UploadKind::File, false), chunk(0, 100).into(), chunk(100, 100).into(), chunk(200, 100).into()]);
    assert!(matches!(claim(&file, first), Err(Refusal::PartialUnfit { .. })));
    let chunks = [chunk(0, 100), chunk(100, 100), chunk(200, 100)].map(UploadEvent::from);
    let mut whole = upload([begun(UploadKind::Partial, false)].into_iter().chain(chunks));
    assert!(
        matches!(decide(&whole, complete()), Err(Refusal::PartialUnfit { .. })),
        "a partial upload does not become a file"
    );
    let event = claim(&whole, first).unwrap().unwrap();
    evolve(&mut whole, &event, NOW);
    assert_eq!(claim(&whole, first), Ok(None));
    assert!(matches!(claim(&whole, second), Err(Refusal::PartialUnfit { .. })));
    assert!(whole.has_ended() && react(&whole).is_empty(), "the final upload takes care of it");
    assert!(matches!(decide(&whole, Command::Cancel), Err(Refusal::UploadCompleted { .. })));
    assert_eq!(decide(&whole, Command::Expire { now: NOW.plus_ms(1_000_000) }), Ok(None));
}

#[test]
fn what_a_client_made_by_itself_is_taken_over_once_and_in_its_size() {
    let kind = UploadKind::Quarantine { quarantine_key: "q/k".to_owned() };
    let copied = |size_bytes| {
        let (storage_bucket, storage_key) = ("b".to_owned(), "o/k".to_owned());
        Command::CopyQuarantine(QuarantineCopiedV1 { storage_bucket, storage_key, size_bytes, worker_id: worker(1) })
    };
    let state = upload([begun(kind.clone(), false)]);
    assert!(react(&state).is_empty(), "the client has no URL yet");
    assert!(
        matches!(decide(&state, copied(299)), Err(Refusal::SizeExceeded { .. })),
        "the size differs from the declared size"
    );
    let open = upload([begun(kind, true), QuarantineSignedV1 { until: NOW }.into()]);
    assert_eq!(react(&open), [Step::TakeOver]);
    assert!(matches!(decide(&open, copied(301)), Err(Refusal::SizeExceeded { .. })));
    let mut taken = open;
    let event = decide(&taken, copied(250)).unwrap().unwrap();
    evolve(&mut taken, &event, NOW);
    assert_eq!((taken.length(), taken.is_whole()), (Some(250), true));
    assert_eq!(decide(&taken, copied(250)), Ok(None));
    assert!(matches!(decide(&taken, complete()), Ok(Some(UploadEvent::FileCompleted(_)))));
}

#[test]
fn a_quarantine_is_cleared_once_when_upload_and_urls_have_ended() {
    let kind = UploadKind::Quarantine { quarantine_key: "q/k".to_owned() };
    let sign = |state: &State, until| decide(state, Command::SignQuarantine { until }).unwrap();
    let clear = |state: &State, ended_by| decide(state, Command::ClearQuarantine { ended_by }).unwrap();
    let mut state = upload([begun(kind, true), QuarantineSignedV1 { until: NOW }.into()]);
    assert_eq!(sign(&state, NOW.plus_ms(60_000)), None, "the recorded expiry is close enough");
    assert!(sign(&state, NOW.plus_ms(600_000)).is_some());
    assert_eq!(clear(&state, NOW), None, "the upload is still open");
    evolve(&mut state, &UploadCancelledV1 {}.into(), NOW);
    assert_eq!(clear(&state, NOW.plus_ms(-1)), None, "the URL has not expired");
    let event = clear(&state, NOW).unwrap();
    evolve(&mut state, &event, NOW);
    assert_eq!(clear(&state, NOW.plus_ms(1)), None);
}

#[test]
fn what_is_late_is_late_before_the_sweep_says_so() {
    let state = upload([begun(UploadKind::Direct, false)]);
    let end = state.started.as_ref().unwrap().expires_at;
    assert_eq!(state.check_open(end.plus_ms(-1)), Ok(()));
    assert_eq!(state.check_open(end), Err(Refusal::UploadEnded { status: "expired" }));
}

#[test]
fn of_parts_that_the_client_stores_the_last_report_counts() {
    let reported = |etag: &str| ChunkUploadedV1 { etag: etag.to_owned(), ..chunk(0, 100) };
    let state = upload([begun(UploadKind::Direct, false), reported("a").into()]);
    assert_eq!(decide(&state, Command::RecordChunk(reported("a"))), Ok(None));
    let event = decide(&state, Command::RecordChunk(reported("b"))).unwrap().unwrap();
    let mut state = state;
    evolve(&mut state, &event, NOW);
    assert_eq!(state.parts[&1].etag, "b");
}
