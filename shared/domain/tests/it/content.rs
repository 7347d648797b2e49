//! Tests of content that several files refer to.

use crate::given::Given;
use proptest::prelude::*;
use std::collections::BTreeSet;
use uuid::Uuid;
use waybill_domain::content::*;
use waybill_schema::events::ContentEvent;
use waybill_schema::{StorageTier, UploadId};

fn id(number: u128) -> UploadId {
    UploadId(Uuid::from_u128(number))
}

fn holder(number: u128) -> Holder {
    let object = Object { storage_bucket: "b".to_owned(), storage_key: id(number).to_string() };
    Holder { file: id(number), object, size_bytes: 1 }
}

/// Returns a compressed object of the object `of` with the bytes of a file.
fn compressed(number: u128, of: Object, name: &str) -> Compressed {
    let object = Object { storage_bucket: "b".to_owned(), storage_key: name.to_owned() };
    Compressed { of: Holder { file: id(number), object: of, size_bytes: 100 }, object, stored_bytes: 10 }
}

/// Returns an archived object of the object `of` with the bytes of a file, if only `files` refer to that one.
fn moved(number: u128, of: Object, files: &[u128], name: &str, tier: StorageTier) -> Command {
    let object = Object { storage_bucket: "b".to_owned(), storage_key: name.to_owned() };
    let of = Holder { file: id(number), object: of, size_bytes: 100 };
    Command::Move(Moved { of, files: files.iter().map(|n| id(*n)).collect(), object, tier, stored_bytes: 10 })
}

fn given(events: impl IntoIterator<Item = ContentEvent>) -> Given<ContentAggregate> {
    Given::new(events)
}

/// Carries out a command. Repeating it has no effect.
fn run(content: &mut Given<ContentAggregate>, command: Command) {
    content.carry_out(command.clone()).unwrap();
    content.when(command).then_nothing();
}

#[test]
fn one_file_alone_needs_no_event() {
    let share = |files: &[u128], holder| {
        given([]).when(Command::Share { files: files.iter().map(|n| id(*n)).collect(), holder })
    };
    share(&[1], None).then_nothing();
    share(&[1], Some(holder(1))).then_nothing();
    share(&[1], Some(holder(2))).then_an_event();
    share(&[1, 2], Some(holder(2))).then_an_event();
}

#[test]
fn a_file_that_is_purged_before_others_know_of_it_holds_nothing_for_them() {
    let mut content = given([]);
    run(&mut content, Command::Release(id(1)));
    run(&mut content, Command::Share { files: vec![id(2)], holder: Some(holder(1)) });
    assert_eq!((content.state().object.as_ref(), content.state().references.len()), (None, 0));
}

#[test]
fn a_compressed_object_of_one_file_serves_the_next_ones() {
    let mut content = given([]);
    run(&mut content, Command::Compress(compressed(1, holder(1).object, "z")));
    run(&mut content, Command::Share { files: vec![id(2)], holder: Some(holder(1)) });
    let state = content.state();
    assert_eq!((state.references.len(), state.object.as_ref().unwrap().storage_key.as_str()), (2, "z"));
    assert_eq!((state.doomed.len(), state.replaced.as_slice()), (0, [holder(1).object].as_slice()));
    // Another process compressed the same object at the same time, or the object of a file that shares another one.
    for of in [holder(1).object, holder(2).object] {
        content.when(Command::Compress(compressed(1, of, "y"))).then_nothing();
    }
}

#[test]
fn an_object_of_more_files_than_one_event_names_stays_as_it_is() {
    let mut content = given([]);
    let files = |from: u128, to: u128| (from..to).map(id).collect();
    run(&mut content, Command::Share { files: files(1, 1_001), holder: Some(holder(1)) });
    content.when(Command::Compress(compressed(1, holder(1).object, "z"))).then_an_event();
    run(&mut content, Command::Share { files: files(1_001, 1_002), holder: None });
    content.when(Command::Compress(compressed(1, holder(1).object, "z"))).then_nothing();
}

#[test]
fn nothing_replaces_the_object_of_a_purged_file() {
    let mut content = given([]);
    run(&mut content, Command::Release(id(1)));
    content.when(Command::Compress(compressed(1, holder(1).object, "z"))).then_nothing();
    content.when(Command::KeepUncompressed(id(1))).then_nothing();
}

#[test]
fn only_a_file_that_refers_to_an_object_can_have_it_replaced() {
    let mut content = given([]);
    run(&mut content, Command::Share { files: vec![id(1), id(2)], holder: Some(holder(2)) });
    run(&mut content, Command::Release(id(1)));
    // The objects of the purged file, and what was made for it, are deleted.
    content.when(Command::Compress(compressed(1, holder(2).object, "z"))).then_nothing();
    run(&mut content, Command::Compress(compressed(2, holder(2).object, "z")));
    assert_eq!((content.state().doomed.len(), content.state().replaced.len()), (0, 1));
    run(&mut content, Command::Release(id(2)));
    assert_eq!((content.state().doomed.len(), content.state().replaced.len()), (2, 0));
}

#[test]
fn a_file_is_compressed_only_if_that_gains_enough() {
    use waybill_domain::content::compression::{is_promising, stored_max};
    assert!(is_promising(1_000, 850) && !is_promising(1_000, 851));
    assert_eq!(stored_max(1_000_000), 900_000);
    let mut content = given([]);
    run(&mut content, Command::KeepUncompressed(id(1)));
    assert_eq!(content.state().object, None);
}

#[test]
fn an_object_is_archived_only_for_the_files_that_are_known_to_refer_to_it() {
    let mut content = given([]);
    run(&mut content, Command::Share { files: vec![id(1), id(2)], holder: Some(holder(2)) });
    let to_cold = |files: &[u128]| moved(1, holder(2).object, files, "o/a-cold", StorageTier::Cold);
    content.when(to_cold(&[1])).then_nothing();
    content.when(moved(3, holder(2).object, &[1, 2, 3], "o/a-cold", StorageTier::Cold)).then_nothing();
    run(&mut content, to_cold(&[1, 2, 7]));
    let state = content.state();
    assert!(state.cold_object().is_some() && state.replaced == vec![holder(2).object] && state.references.len() == 2);
    // A compressed object of the object that was replaced comes too late.
    content.when(Command::Compress(compressed(1, holder(2).object, "z"))).then_nothing();
    // A new file has its object in the hot tier, and brings the others back.
    content.when(Command::Share { files: vec![id(4)], holder: None }).then_nothing();
    content.when(Command::Share { files: vec![id(4)], holder: Some(holder(1)) }).then_nothing();
    run(&mut content, Command::Share { files: vec![id(4), id(5)], holder: Some(holder(4)) });
    let state = content.state();
    assert_eq!((state.object.as_ref(), state.references.len()), (Some(&holder(4).object), 4));
    assert_eq!((state.cold_object(), state.replaced.len()), (None, 2));
}

#[test]
fn an_archived_object_without_files_is_deleted_with_what_it_replaced() {
    let mut content = given([]);
    run(&mut content, moved(1, holder(1).object, &[1], "o/a-cold", StorageTier::Archive));
    run(&mut content, Command::Release(id(1)));
    assert_eq!((content.state().object.as_ref(), content.state().doomed.len()), (None, 2));
    content.when(moved(1, holder(1).object, &[1], "o/b-cold", StorageTier::Archive)).then_nothing();
}

proptest! {
    /// For every order of commands: an object is doomed only when no file refers to it, a released file never refers to
    /// the content again, no file ever refers to a doomed object, and all files refer to the compressed one.
    #[test]
    fn an_object_lives_as_long_as_a_file_refers_to_it(
        steps in prop::collection::vec((0..5_u8, prop::collection::vec(0..8_u128, 1..4), 0..8_u128), 1..60),
    ) {
        let mut content = given([]);
        let mut there: BTreeSet<UploadId> = BTreeSet::new();
        let mut gone = BTreeSet::new();
        for (step, (kind, files, other)) in steps.into_iter().enumerate() {
            let before = content.state().object.clone();
            if kind == 0 {
                // The process may have seen the object of the file, or the shared one.
                let of = before.clone().filter(|_| files.len() > 1).unwrap_or_else(|| holder(other).object);
                run(&mut content, Command::Compress(compressed(other, of.clone(), &format!("z{step}"))));
                let state = content.state();
                if state.object != before {
                    prop_assert!(state.replaced.contains(&of) && before.is_none_or(|before| before == of));
                    prop_assert!(state.references.contains(&id(other)));
                }
                if there.is_empty() {
                    there.extend(&state.references);
                    prop_assert!(there.iter().all(|file| *file == id(other)));
                }
            } else if kind == 4 {
                let of = before.clone().unwrap_or_else(|| holder(other).object);
                let is_cold = before.is_some_and(|before| before.storage_key.ends_with("-cold"));
                let (name, tier) = if is_cold { ("", StorageTier::Hot) } else { ("-cold", StorageTier::Cold) };
                let before = content.state().object.clone();
                run(&mut content, moved(other, of.clone(), &files, &format!("o/m{step}{name}"), tier));
                let (state, known) = (content.state(), files.iter().map(|n| id(*n)).collect::<BTreeSet<_>>());
                if state.object != before {
                    prop_assert!(state.replaced.contains(&of) && state.references.is_subset(&known));
                    prop_assert!(state.references.contains(&id(other)));
                }
                if there.is_empty() {
                    there.extend(&state.references);
                }
            } else if kind == 1 {
                let files: Vec<UploadId> = files.into_iter().map(id).collect();
                run(&mut content, Command::Share { files: files.clone(), holder: Some(holder(other)) });
                let state = content.state();
                let named: BTreeSet<UploadId> = files.into_iter().chain([id(other)]).collect();
                prop_assert!(state.references.is_superset(&there));
                prop_assert!(state.references.iter().all(|file| there.contains(file) || named.contains(file)));
                if before.is_none() && state.object.is_some() {
                    prop_assert!(state.references.contains(&id(other)) && state.references.len() > 1);
                }
                there.clone_from(&state.references);
            } else {
                for number in files {
                    run(&mut content, Command::Release(id(number)));
                    there.remove(&id(number));
                    gone.insert(id(number));
                }
            }
            let state = content.state();
            prop_assert_eq!(&state.references, &there);
            prop_assert!(state.references.is_disjoint(&gone));
            prop_assert_eq!(state.object.is_some(), !there.is_empty());
            let is_gone = |object| state.doomed.contains(object) || state.replaced.contains(object);
            prop_assert!(!state.object.iter().any(is_gone));
            prop_assert!(state.object.is_some() || state.replaced.is_empty());
        }
    }
}
