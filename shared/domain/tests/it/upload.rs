//! Tests of an upload from its start to its end.

use crate::given::{Given, NOW};
use crate::upload_samples::{PART, chunk, given, started, worker};
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
            crc32: Some(1),
        },
        policy: TypePolicy::default(),
    }
}

fn complete() -> Command {
    Command::Complete { declared_sha256: None, now: NOW }
}

fn is_rejected(code: &str) -> impl Fn(&UploadEvent) -> bool {
    move |event| matches!(event, UploadEvent::FileRejected(rejected) if rejected.code == code)
}

fn is_completed(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::UploadCompleted { .. })
}

fn is_unfit(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::PartialUnfit { .. })
}

fn completed(size_bytes: u64) -> Given<UploadAggregate> {
    let mut events: Vec<UploadEvent> = vec![started(size_bytes).into()];
    events.extend((0..size_bytes / PART).map(|n| chunk(n * PART, PART).into()));
    events.push(FileCompleted { declared_sha256: None }.into());
    given(events)
}

fn whole() -> FileUploaded {
    FileUploaded {
        started: started(5),
        upload_metadata: Some("filename YS50eHQ=".to_owned()),
        sha256: Sha256Digest([1; 32]),
        storage_bucket: "b".to_owned(),
        storage_key: "k".to_owned(),
        sniffed_mime_type: None,
        worker_id: worker(1),
        link_id: None,
        crc32: Some(1),
    }
}

#[test]
fn a_start_is_accepted_once_and_repeated_without_an_event() {
    let start = |started: UploadDescription| Command::Start(started.into());
    let upload = given([]).when(start(started(10))).then_once(UploadStarted::from(started(10)));
    // A repeated start may differ in the expiry.
    upload.when(start(UploadDescription { expires_at: NOW.plus_ms(9_999), ..started(10) })).then_nothing();
    upload.when(start(started(11))).then_refused(Refusal::IdTaken { what: "upload" });
}

#[test]
fn completion_with_a_hole_names_what_is_missing() {
    let missing = vec![ByteRange { from: 100, to: 250 }, ByteRange { from: 270, to: 300 }];
    given([started(300).into(), chunk(0, 100).into(), chunk(250, 20).into()])
        .when(complete())
        .then_refused(Refusal::ChunksMissing { missing });
}

#[test]
fn an_empty_file_is_complete_without_a_chunk() {
    given([started(0).into()]).when(complete()).then(FileCompleted { declared_sha256: None });
}

#[test]
fn completing_twice_is_one_event() {
    completed(100).when(complete()).then_nothing();
}

#[test]
fn completing_after_the_time_is_up_is_refused() {
    let late = Command::Complete { declared_sha256: None, now: NOW.plus_ms(1_000) };
    given([started(100).into(), chunk(0, 100).into()])
        .when(late)
        .then_refused(Refusal::UploadEnded { status: "expired" });
}

#[test]
fn bytes_beyond_the_declared_size_are_refused() {
    given([started(150).into()])
        .when(Command::RecordChunk(chunk(100, 51)))
        .then_refused(Refusal::SizeExceeded { size_bytes: 150 });
}

#[test]
fn recording_a_stored_chunk_again_yields_no_event() {
    given([started(150).into(), chunk(0, 100).into()]).when(Command::RecordChunk(chunk(0, 100))).then_nothing();
}

#[test]
fn a_wrong_declared_digest_rejects_the_file() {
    let declared = UploadDescription { declared_sha256: Some(Sha256Digest([1; 32])), ..started(100) };
    given([declared.into(), chunk(0, 100).into(), FileCompleted { declared_sha256: None }.into()])
        .when(verification([2; 32], None))
        .then_some(is_rejected("digest_mismatch"));
}

#[test]
fn the_digest_of_the_completion_replaces_that_of_the_start() {
    let declared = UploadDescription { declared_sha256: Some(Sha256Digest([1; 32])), ..started(100) };
    let complete = FileCompleted { declared_sha256: Some(Sha256Digest([2; 32])) };
    given([declared.into(), chunk(0, 100).into(), complete.into()])
        .when(verification([2; 32], None))
        .then_some(|event| matches!(event, UploadEvent::FileVerified(_)));
}

#[test]
fn bytes_that_look_like_a_program_reject_the_file() {
    completed(100).when(verification([2; 32], Some("application/x-executable"))).then_some(is_rejected("type_refused"));
}

#[test]
fn verifying_twice_is_one_event() {
    let verified = completed(100).when(verification([2; 32], None)).then_an_event();
    verified.when(verification([2; 32], None)).then_nothing();
    assert_eq!(verified.state().status(), UploadStatus::Completed);
}

#[test]
fn cancelling_is_for_running_uploads() {
    given([started(100).into()]).when(Command::Cancel).then_once(UploadCancelled {});
    completed(100).when(Command::Cancel).then_refused_as(is_completed);
    given([]).when(Command::Cancel).then_refused(Refusal::NotFound { what: "upload" });
}

#[test]
fn what_has_ended_takes_no_bytes() {
    let record = Command::RecordChunk(chunk(0, 100));
    given([started(100).into(), UploadCancelled {}.into()])
        .when(record.clone())
        .then_refused(Refusal::UploadEnded { status: "cancelled" });
    completed(100).when(record).then_refused_as(is_completed);
}

#[test]
fn an_upload_expires_when_its_time_is_up_and_not_before() {
    let late = Command::Expire { now: NOW.plus_ms(1_000) };
    let running = given([started(100).into()]);
    running.when(Command::Expire { now: NOW }).then_nothing();
    running.when(late.clone()).then(UploadExpired {});
    // A complete upload cannot expire.
    completed(100).when(late.clone()).then_nothing();
    // A reservation without an upload: after this event, the upload cannot start any more.
    let dead = given([]).when(late).then(UploadExpired {});
    dead.when(Command::Start(started(100).into())).then_refused(Refusal::UploadEnded { status: "expired" });
    dead.when(Command::UploadWhole(whole())).then_refused(Refusal::UploadEnded { status: "expired" });
}

#[test]
fn a_whole_file_is_started_stored_and_verified_at_once() {
    let upload = given([]).when(Command::UploadWhole(whole())).then_an_event();
    let state = upload.state();
    assert_eq!(state.status(), UploadStatus::Completed);
    assert_eq!(state.missing(), []);
    assert_eq!(state.upload_metadata, whole().upload_metadata);
    upload.when(Command::UploadWhole(whole())).then_nothing();
    let other = FileUploaded { sha256: Sha256Digest([2; 32]), ..whole() };
    upload.when(Command::UploadWhole(other)).then_refused(Refusal::IdTaken { what: "upload" });
}

#[test]
fn one_writer_that_wrote_each_part_once_need_not_be_checked() {
    let opened = |n| MultipartOpened {
        storage_bucket: "b".to_owned(),
        storage_key: "k".to_owned(),
        storage_upload_id: "u".to_owned(),
        worker_id: worker(n),
        checksum_algorithm: None,
    };
    let begin = |n| given([started(200).into(), opened(n).into(), chunk(0, 100).into()]);
    let is_checked = |upload: &Given<UploadAggregate>| upload.state().needs_read_back();
    assert!(!is_checked(&begin(1)));
    assert!(is_checked(&begin(2)), "another worker opened the multipart upload");
    let again = ChunkUploaded { store_writes: 2, ..chunk(100, 100) };
    assert!(is_checked(&begin(1).and(again)), "the part was sent twice because a response was lost");
    let other = ChunkUploaded { etag: "other".to_owned(), ..chunk(0, 100) };
    assert!(is_checked(&begin(1).and(other)), "the part was written twice");
    assert!(!is_checked(&begin(1).and(chunk(0, 100))), "a repeated event changes nothing");
}

#[test]
fn staged_runs_become_a_part_when_they_cover_it() {
    let upload = given([started(150).into(), chunk(0, 40).into(), chunk(60, 40).into()]);
    assert_eq!(react(upload.state()), []);
    let upload = upload.and(chunk(30, 35));
    assert_eq!(react(upload.state()), [Step::AssemblePart(1)]);
    let pieces = upload.state().pieces_of(1);
    let pieces: Vec<(u64, u64, u64)> =
        pieces.iter().map(|piece| (piece.range.from, piece.range.to, piece.object_offset)).collect();
    assert_eq!(pieces, [(0, 40, 0), (40, 60, 10), (60, 100, 0)], "the first event wins for each byte");
}

#[test]
fn what_a_worker_does_follows_from_the_state() {
    let steps = |upload: Given<UploadAggregate>| react(upload.state());
    assert_eq!(steps(completed(100)), [Step::CompleteObject, Step::VerifyObject]);
    let rejected = FileRejected { code: "x".to_owned(), message: String::new() };
    for end in [rejected.into(), UploadCancelled {}.into(), UploadExpired {}.into()] {
        let ended = given([started(100).into(), end]);
        assert_eq!(steps(ended), [Step::SettleAsUnused, Step::DeleteObject, Step::DeleteStaging]);
    }
    assert_eq!(steps(given([UploadExpired {}.into()])), [Step::SettleAsUnused, Step::DeleteObject]);
    assert_eq!(steps(given([whole().into()])), [Step::SettleAsUsed, Step::KeepContent]);
    assert_eq!(steps(given([started(1).into()])), []);
}

fn begun(kind: UploadKind, length_deferred: bool) -> UploadEvent {
    UploadStarted { kind, length_deferred, ..started(300).into() }.into()
}

#[test]
fn a_deferred_length_is_set_once_and_not_below_what_is_stored() {
    let set = |size_bytes| Command::SetLength { size_bytes };
    let upload = given([begun(UploadKind::File, true), chunk(0, 100).into(), chunk(100, 50).into()]);
    assert_eq!((upload.state().length(), upload.state().missing()), (None, vec![]));
    assert!(!upload.state().is_whole());
    upload.when(complete()).then_refused(Refusal::LengthUnknown);
    upload.when(set(149)).then_refused_as(|it| matches!(it, Refusal::LengthConflict { known_bytes: 150, .. }));
    upload.when(set(301)).then_refused_as(|it| matches!(it, Refusal::FileTooLarge { limit_bytes: 300, .. }));
    let upload = upload.when(set(150)).then_an_event();
    assert_eq!((upload.state().length(), upload.state().is_whole()), (Some(150), true));
    // The same length again has no effect.
    upload.when(set(150)).then_nothing();
    upload.when(set(151)).then_refused_as(|it| matches!(it, Refusal::LengthConflict { .. }));
    assert_eq!(upload.state().parts_to_assemble(), [2], "the last range is a whole part now");
    upload.when(complete()).then_some(|event| matches!(event, UploadEvent::FileCompleted(_)));
}

#[test]
fn a_partial_upload_is_claimed_once_when_it_is_complete() {
    let [first, second] = [1, 2].map(|n| Command::Claim { into: UploadId(uuid::Uuid::from_u128(n)) });
    let half = given([begun(UploadKind::Partial, false), chunk(0, 100).into()]);
    half.when(first.clone()).then_refused_as(is_unfit);
    let stored = |kind| given([begun(kind, false)]).and(chunk(0, 100)).and(chunk(100, 100)).and(chunk(200, 100));
    stored(UploadKind::File).when(first.clone()).then_refused_as(is_unfit);
    let partial = stored(UploadKind::Partial);
    // A partial upload does not become a file.
    partial.when(complete()).then_refused_as(is_unfit);
    let claimed = partial.when(first.clone()).then_an_event();
    claimed.when(first).then_nothing();
    claimed.when(second).then_refused_as(is_unfit);
    let state = claimed.state();
    assert!(state.has_ended() && react(state).is_empty(), "the final upload takes care of it");
    claimed.when(Command::Cancel).then_refused_as(is_completed);
    claimed.when(Command::Expire { now: NOW.plus_ms(1_000_000) }).then_nothing();
}

#[test]
fn what_a_client_made_by_itself_is_taken_over_once_and_in_its_size() {
    let kind = UploadKind::Quarantine { quarantine_key: "q/k".to_owned() };
    let copied = |size_bytes| {
        let (storage_bucket, storage_key) = ("b".to_owned(), "o/k".to_owned());
        Command::CopyQuarantine(QuarantineCopied { storage_bucket, storage_key, size_bytes, worker_id: worker(1) })
    };
    let is_too_large = |refusal: &Refusal| matches!(refusal, Refusal::SizeExceeded { .. });
    let unsigned = given([begun(kind.clone(), false)]);
    assert!(react(unsigned.state()).is_empty(), "the client has no URL yet");
    // The size differs from the declared size.
    unsigned.when(copied(299)).then_refused_as(is_too_large);
    let open = given([begun(kind, true), QuarantineSigned { until: NOW }.into()]);
    assert_eq!(react(open.state()), [Step::TakeOver]);
    open.when(copied(301)).then_refused_as(is_too_large);
    let taken = open.when(copied(250)).then_an_event();
    assert_eq!((taken.state().length(), taken.state().is_whole()), (Some(250), true));
    taken.when(copied(250)).then_nothing();
    taken.when(complete()).then_some(|event| matches!(event, UploadEvent::FileCompleted(_)));
}

#[test]
fn a_quarantine_is_cleared_once_when_upload_and_urls_have_ended() {
    let kind = UploadKind::Quarantine { quarantine_key: "q/k".to_owned() };
    let sign = |until| Command::SignQuarantine { until };
    let clear = |ended_by| Command::ClearQuarantine { ended_by };
    let open = given([begun(kind, true), QuarantineSigned { until: NOW }.into()]);
    // The recorded expiry is close enough.
    open.when(sign(NOW.plus_ms(60_000))).then_nothing();
    open.when(sign(NOW.plus_ms(600_000))).then_an_event();
    // The upload is still open.
    open.when(clear(NOW)).then_nothing();
    let cancelled = open.and(UploadCancelled {});
    // The URL has not expired.
    cancelled.when(clear(NOW.plus_ms(-1))).then_nothing();
    let cleared = cancelled.when(clear(NOW)).then_an_event();
    cleared.when(clear(NOW.plus_ms(1))).then_nothing();
}

#[test]
fn an_expired_upload_is_refused_before_the_sweep_ends_it() {
    let upload = given([begun(UploadKind::Direct, false)]);
    let end = upload.state().started.as_ref().unwrap().expires_at;
    assert_eq!(upload.state().check_open(end.plus_ms(-1)), Ok(()));
    assert_eq!(upload.state().check_open(end), Err(Refusal::UploadEnded { status: "expired" }));
}

#[test]
fn of_parts_that_the_client_stores_the_last_report_counts() {
    let reported = |etag: &str| ChunkUploaded { etag: etag.to_owned(), ..chunk(0, 100) };
    let upload = given([begun(UploadKind::Direct, false), reported("a").into()]);
    upload.when(Command::RecordChunk(reported("a"))).then_nothing();
    let upload = upload.when(Command::RecordChunk(reported("b"))).then_an_event();
    assert_eq!(upload.state().parts[&1].etag, "b");
}
