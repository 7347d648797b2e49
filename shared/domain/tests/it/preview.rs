//! Rules for previews.

use crate::given::NOW;
use proptest::prelude::*;
use waybill_domain::file::{Command, State, decide, evolve};
use waybill_domain::preview::{Candidate, Kind, Previews, Programs, SOURCE_MAX_BYTES, Step, kind_of_type, next_step};
use waybill_domain::scan::ScanRules;
use waybill_domain::upload::{self, Phase};
use waybill_schema::events::{FileScanned, PreviewFailed, PreviewsMade, UploadDescription};
use waybill_schema::*;

fn made(set: u128) -> PreviewsMade {
    let stored =
        |variant| StoredVariant { variant, mime_type: "image/jpeg".to_owned(), width: 1, height: 1, size_bytes: 9 };
    let facts = PreviewFacts { width: 1, height: 1, page_count: None, duration_ms: None };
    let variants = Variant::ALL.map(stored).to_vec();
    PreviewsMade { set: uuid::Uuid::from_u128(set), variants, thumbhash: vec![1; 20], facts }
}

fn record(state: &State, set: u128) -> Command {
    Command::RecordPreviews { made: made(set), seen: state.last_scan() }
}

fn scan(state: &State, result: ScanResult) -> Command {
    let (engine, database_version) = ("ClamAV 1.4.6".to_owned(), "1".to_owned());
    Command::RecordScan {
        scan: FileScanned { result, engine, database_version, covered_bytes: 9 },
        seen: state.last_scan(),
    }
}

fn run(state: &mut State, command: Command) -> bool {
    let event = decide(state, command.clone()).unwrap();
    if let Some(event) = &event {
        evolve(state, event, NOW);
        assert_eq!(decide(state, command), Ok(None), "deciding twice has an effect");
    }
    event.is_some()
}

/// Returns a verified file of this type and size.
fn verified(mime_type: &str, sniffed: Option<&str>, size_bytes: u64) -> upload::State {
    let id = uuid::Uuid::nil();
    upload::State {
        started: Some(UploadDescription {
            company_id: CompanyId(id),
            session_id: None,
            uploaded_by: UserId(id),
            chatroom_id: None,
            thread_id: None,
            original_name: "a".to_owned(),
            size_bytes,
            mime_type: mime_type.to_owned(),
            declared_sha256: None,
            part_size_bytes: 8 << 20,
            metadata: None,
            expires_at: NOW,
        }),
        sniffed_mime_type: sniffed.map(str::to_owned),
        phase: Phase::Verified { sha256: Sha256Digest([0; 32]), storage_key: "k".to_owned() },
        ..upload::State::default()
    }
}

fn step(upload: &upload::State, file: &State, rules: ScanRules) -> Step {
    let (scans, previews, is_gone) = (&file.scans, &file.previews, file.deleted || file.purged);
    next_step(Candidate { upload, scans, previews, is_gone }, Programs::default(), rules, false)
}

#[test]
fn the_content_decides_which_files_get_previews() {
    for (sniffed, declared, kind) in [
        (Some("image/png"), "application/octet-stream", Some(Kind::Own)),
        (Some("text/html"), "image/png", None),
        (None, "image/jpeg; a=b", Some(Kind::Own)),
        (None, "", None),
        (Some("application/pdf"), "", Some(Kind::Own)),
        (Some("image/svg+xml"), "", None),
        (Some("image/heic"), "", Some(Kind::Heic)),
        (Some("video/mp4"), "", Some(Kind::Video)),
    ] {
        assert_eq!(kind_of_type(sniffed, declared), kind, "{sniffed:?} {declared}");
    }
    let none = State::default();
    assert_eq!(step(&verified("image/png", None, 9), &none, ScanRules::default()), Step::Make(Kind::Own));
    assert_eq!(step(&verified("video/mp4", None, 9), &none, ScanRules::default()), Step::Nothing, "no program");
    let large = verified("image/png", None, SOURCE_MAX_BYTES + 1);
    assert_eq!(step(&large, &none, ScanRules::default()), Step::Fail(PreviewFailure::TooLarge));
    let running = upload::State { phase: Phase::Verifying, ..verified("image/png", None, 9) };
    assert_eq!(step(&running, &none, ScanRules::default()), Step::Nothing);
}

#[test]
fn a_file_gets_previews_when_it_can_be_read_and_only_once() {
    let picture = verified("image/png", None, 9);
    let required = ScanRules { policy: ScanPolicy::Require, ..ScanRules::default() };
    let mut file = State::default();
    assert_eq!(step(&picture, &file, required), Step::Nothing);
    let command = scan(&file, ScanResult::Infected { signature: "A".to_owned() });
    assert!(run(&mut file, command));
    assert_eq!(step(&picture, &file, required), Step::Nothing);
    assert!(run(&mut file, Command::Release));
    assert_eq!(step(&picture, &file, required), Step::Make(Kind::Own));
    assert!(run(&mut file, Command::Delete));
    assert_eq!(step(&picture, &file, required), Step::Nothing);
    assert!(run(&mut file, Command::Restore));
    assert!(run(&mut file, Command::RecordPreviewFailure(PreviewFailed { reason: PreviewFailure::Damaged })));
    assert_eq!(step(&picture, &file, required), Step::Nothing);
    let command = record(&file, 1);
    assert!(run(&mut file, command), "a later attempt can succeed");
    let other = record(&file, 2);
    assert!(!run(&mut file, other));
    assert!(!run(&mut file, Command::RecordPreviewFailure(PreviewFailed { reason: PreviewFailure::Damaged })));
    assert!(matches!(file.previews, Previews::Made { set, .. } if set == uuid::Uuid::from_u128(1)));
}

#[test]
fn nothing_is_recorded_for_a_file_that_was_deleted_or_scanned_in_the_meantime() {
    let mut deleted = State::default();
    let begun = record(&deleted, 1);
    assert!(run(&mut deleted, Command::Delete));
    assert!(!run(&mut deleted, begun));

    let mut scanned = State::default();
    let begun = record(&scanned, 1);
    let command = scan(&scanned, ScanResult::Infected { signature: "A".to_owned() });
    assert!(run(&mut scanned, command));
    assert!(!run(&mut scanned, begun));
    assert_eq!(scanned.previews, Previews::Absent);
}

proptest! {
    /// The keys of all sets and variants differ, so that no object is ever overwritten.
    #[test]
    fn every_preview_has_a_key_of_its_own(sets in prop::collection::hash_set(any::<u128>(), 1..20)) {
        let (company, file) = (CompanyId(uuid::Uuid::nil()), UploadId(uuid::Uuid::nil()));
        let keys: std::collections::HashSet<String> = sets.iter().flat_map(|set| {
            let previews = Previews::Made { set: uuid::Uuid::from_u128(*set), variants: Variant::ALL.to_vec() };
            previews.keys(company, file)
        }).collect();
        prop_assert_eq!(keys.len(), sets.len() * Variant::ALL.len());
    }
}
