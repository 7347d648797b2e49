//! Tests of content that several files refer to.

use crate::given::Given;
use proptest::prelude::*;
use std::collections::BTreeSet;
use uuid::Uuid;
use waybill_domain::content::*;
use waybill_schema::UploadId;
use waybill_schema::events::ContentEvent;

fn id(number: u128) -> UploadId {
    UploadId(Uuid::from_u128(number))
}

fn holder(number: u128) -> Holder {
    let object = Object { storage_bucket: "b".to_owned(), storage_key: id(number).to_string() };
    Holder { file: id(number), object, size_bytes: 1 }
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

proptest! {
    /// For every order of commands: an object is doomed only when no file refers to it, a released file never refers to
    /// the content again, and no file ever refers to a doomed object.
    #[test]
    fn an_object_lives_as_long_as_a_file_refers_to_it(
        steps in prop::collection::vec((any::<bool>(), prop::collection::vec(0..8_u128, 1..4), 0..8_u128), 1..60),
    ) {
        let mut content = given([]);
        let mut there: BTreeSet<UploadId> = BTreeSet::new();
        let mut gone = BTreeSet::new();
        for (shares, files, other) in steps {
            let before = content.state().object.clone();
            if shares {
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
            prop_assert!(state.object.iter().all(|object| !state.doomed.contains(object)));
        }
    }
}
