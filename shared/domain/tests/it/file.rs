//! Tests of verified files.

use waybill_domain::Refusal;
use waybill_domain::file::*;
use waybill_schema::Timestamp;
use waybill_schema::events::*;

fn file(events: impl IntoIterator<Item = FileEvent>) -> State {
    let mut state = State::default();
    for event in events {
        evolve(&mut state, &event, Timestamp(7));
    }
    state
}

#[test]
fn deleting_and_restoring_are_events_once_each() {
    let there = file([]);
    assert_eq!(decide(&there, Command::Delete), Ok(Some(FileDeletedV1 {}.into())));
    assert_eq!(decide(&there, Command::Restore), Ok(None));
    let deleted = file([FileDeletedV1 {}.into()]);
    assert_eq!(decide(&deleted, Command::Delete), Ok(None));
    assert_eq!(decide(&deleted, Command::Restore), Ok(Some(FileRestoredV1 {}.into())));
}

#[test]
fn a_file_that_was_restored_begins_another_retention() {
    let retire = |restored_until| Command::Retire { restored_until: Timestamp(restored_until) };
    assert_eq!(decide(&file([]), retire(0)), Ok(Some(FileDeletedV1 {}.into())));
    assert_eq!(decide(&file([FileDeletedV1 {}.into()]), retire(9)), Ok(None));
    let restored = file([FileDeletedV1 {}.into(), FileRestoredV1 {}.into()]);
    assert_eq!(decide(&restored, retire(6)), Ok(None));
    assert_eq!(decide(&restored, retire(7)), Ok(Some(FileDeletedV1 {}.into())));
}

#[test]
fn only_what_was_deleted_long_enough_is_purged_and_stays_so() {
    let purge = Command::Purge { deleted_until: Timestamp(7) };
    assert_eq!(decide(&file([]), purge.clone()), Err(Refusal::FileNotDeleted));
    let deleted = file([FileDeletedV1 {}.into()]);
    assert_eq!(decide(&deleted, Command::Purge { deleted_until: Timestamp(6) }), Err(Refusal::FileNotDeleted));
    let event = decide(&deleted, purge.clone()).unwrap().unwrap();
    let purged = file([FileDeletedV1 {}.into(), event]);
    assert_eq!(decide(&purged, purge), Ok(None));
    assert_eq!(decide(&purged, Command::Restore), Err(Refusal::NotFound { what: "file" }));
}

#[test]
fn a_new_name_is_checked_like_the_first() {
    let rename = |name: &str| Command::Rename(name.to_owned());
    let renamed = decide(&file([]), rename("b.txt")).unwrap().unwrap();
    assert_eq!(decide(&file([renamed]), rename("b.txt")), Ok(None));
    assert!(matches!(decide(&file([]), rename("../b")), Err(Refusal::NameInvalid { .. })));
    assert_eq!(decide(&file([FileDeletedV1 {}.into()]), rename("b")), Err(Refusal::FileDeleted));
}
