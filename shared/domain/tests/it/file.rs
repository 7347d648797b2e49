//! Tests of verified files.

use crate::given::{Given, NOW};
use waybill_domain::Refusal;
use waybill_domain::file::*;
use waybill_schema::StorageTier;
use waybill_schema::events::*;

fn given(events: impl IntoIterator<Item = FileEvent>) -> Given<FileAggregate> {
    Given::new(events)
}

#[test]
fn deleting_and_restoring_are_events_once_each() {
    let there = given([]);
    there.when(Command::Restore).then_nothing();
    let deleted = there.when(Command::Delete).then_once(FileDeleted {});
    deleted.when(Command::Restore).then_once(FileRestored {});
}

#[test]
fn a_file_that_was_restored_begins_another_retention() {
    let retire = |restored_until| Command::Retire { restored_until };
    given([]).when(retire(NOW.plus_ms(-7))).then(FileDeleted {});
    given([FileDeleted {}.into()]).when(retire(NOW.plus_ms(2))).then_nothing();
    let restored = given([FileDeleted {}.into(), FileRestored {}.into()]);
    restored.when(retire(NOW.plus_ms(-1))).then_nothing();
    restored.when(retire(NOW)).then(FileDeleted {});
}

#[test]
fn an_archived_file_is_asked_for_once_until_it_is_back() {
    let there = given([]);
    there.when(Command::RequestRestore).then_nothing();
    there.when(Command::RecordTier(StorageTier::Hot)).then_nothing();
    let archived =
        there.when(Command::RecordTier(StorageTier::Archive)).then_once(FileArchived { tier: StorageTier::Archive });
    archived.when(Command::Delete).then_an_event().when(Command::RequestRestore).then_refused(Refusal::FileDeleted);
    let asked = archived.when(Command::RequestRestore).then_once(FileRestoreRequested {});
    let back = asked.when(Command::RecordTier(StorageTier::Hot)).then_once(FileThawed {});
    back.when(Command::RequestRestore).then_nothing();
}

#[test]
fn only_what_was_deleted_long_enough_is_purged_and_stays_so() {
    let purge = |deleted_until| Command::Purge { deleted_until };
    given([]).when(purge(NOW)).then_refused(Refusal::FileNotDeleted);
    let deleted = given([FileDeleted {}.into()]);
    deleted.when(purge(NOW.plus_ms(-1))).then_refused(Refusal::FileNotDeleted);
    let purged = deleted.when(purge(NOW)).then_an_event();
    purged.when(purge(NOW)).then_nothing();
    purged.when(Command::Restore).then_refused(Refusal::NotFound { what: "file" });
}

#[test]
fn labels_are_sorted_and_recorded_once() {
    let set = |labels: &[&str]| Command::SetLabels(labels.iter().map(|label| (*label).to_owned()).collect());
    let there = given([]);
    there.when(set(&[])).then_nothing();
    let labelled = there.when(set(&[" b ", "a", "b"])).then_once(FileLabelled { labels: vec!["a".into(), "b".into()] });
    labelled.when(set(&["b", "a"])).then_nothing();
    labelled.when(set(&[])).then(FileLabelled { labels: vec![] });
    labelled.when(Command::Delete).then_an_event().when(set(&["c"])).then_refused(Refusal::FileDeleted);
    let refused = |labels: &[&str]| {
        given([]).when(set(labels)).then_refused_as(|refusal| matches!(refusal, Refusal::LabelsInvalid { .. }));
    };
    refused(&["a", " "]);
    refused(&["a\nb"]);
    refused(&["\u{200B}"]);
    refused(&["a\u{202E}b"]);
    refused(&[&"é".repeat(101)]);
    given([]).when(set(&[&"é".repeat(100)])).then_an_event();
    given([]).when(set(&["e\u{301}"])).then(FileLabelled { labels: vec!["é".into()] });
    let long: Vec<String> = (0..30).map(|number| format!("{number}{}", "x".repeat(90))).collect();
    refused(&long.iter().map(String::as_str).collect::<Vec<_>>());
    let many: Vec<String> = (0..51).map(|number| number.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    refused(&many);
    given([]).when(set(&many[1..])).then_an_event();
}

#[test]
fn a_new_name_is_checked_like_the_first() {
    let rename = |name: &str| Command::Rename(name.to_owned());
    let renamed = given([]).when(rename("b.txt")).then_an_event();
    renamed.when(rename("b.txt")).then_nothing();
    given([]).when(rename("../b")).then_refused_as(|refusal| matches!(refusal, Refusal::NameInvalid { .. }));
    given([FileDeleted {}.into()]).when(rename("b")).then_refused(Refusal::FileDeleted);
}
