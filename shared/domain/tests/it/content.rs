//! Tests of content that several files refer to.

use proptest::prelude::*;
use std::collections::BTreeSet;
use uuid::Uuid;
use waybill_domain::content::*;
use waybill_schema::UploadId;

fn id(number: u128) -> UploadId {
    UploadId(Uuid::from_u128(number))
}

fn holder(number: u128) -> Holder {
    let object = Object { storage_bucket: "b".to_owned(), storage_key: id(number).to_string() };
    Holder { file: id(number), object, size_bytes: 1 }
}

fn run(state: &mut State, command: Command) {
    if let Some(event) = decide(state, command.clone()).unwrap() {
        evolve(state, &event);
    }
    assert_eq!(decide(state, command), Ok(None));
}

#[test]
fn one_file_alone_needs_no_event() {
    let share = |files: &[u128], holder| {
        decide(&State::default(), Command::Share { files: files.iter().map(|n| id(*n)).collect(), holder }).unwrap()
    };
    assert_eq!(share(&[1], None), None);
    assert_eq!(share(&[1], Some(holder(1))), None);
    assert!(share(&[1], Some(holder(2))).is_some());
    assert!(share(&[1, 2], Some(holder(2))).is_some());
}

#[test]
fn a_file_that_is_purged_before_others_know_of_it_holds_nothing_for_them() {
    let mut state = State::default();
    run(&mut state, Command::Release(id(1)));
    run(&mut state, Command::Share { files: vec![id(2)], holder: Some(holder(1)) });
    assert_eq!((state.object, state.references.len()), (None, 0));
}

proptest! {
    /// For every order of commands: an object is doomed only when no file refers to it, a released file never refers to
    /// the content again, and no file ever refers to a doomed object.
    #[test]
    fn an_object_lives_as_long_as_a_file_refers_to_it(
        steps in prop::collection::vec((any::<bool>(), prop::collection::vec(0..8_u128, 1..4), 0..8_u128), 1..60),
    ) {
        let mut state = State::default();
        let mut there: BTreeSet<UploadId> = BTreeSet::new();
        let mut gone = BTreeSet::new();
        for (shares, files, other) in steps {
            let before = state.object.clone();
            if shares {
                let files: Vec<UploadId> = files.into_iter().map(id).collect();
                run(&mut state, Command::Share { files: files.clone(), holder: Some(holder(other)) });
                let named: BTreeSet<UploadId> = files.into_iter().chain([id(other)]).collect();
                prop_assert!(state.references.is_superset(&there));
                prop_assert!(state.references.iter().all(|file| there.contains(file) || named.contains(file)));
                if before.is_none() && state.object.is_some() {
                    prop_assert!(state.references.contains(&id(other)) && state.references.len() > 1);
                }
                there.clone_from(&state.references);
            } else {
                for number in files {
                    run(&mut state, Command::Release(id(number)));
                    there.remove(&id(number));
                    gone.insert(id(number));
                }
            }
            prop_assert_eq!(&state.references, &there);
            prop_assert!(state.references.is_disjoint(&gone));
            prop_assert_eq!(state.object.is_some(), !there.is_empty());
            prop_assert!(state.object.iter().all(|object| !state.doomed.contains(object)));
        }
    }
}
