//! Content that files have in common.

use proptest::prelude::*;
use std::collections::BTreeSet;
use uuid::Uuid;
use waybill_domain::content::*;
use waybill_schema::UploadId;

fn own(file: UploadId) -> Object {
    Object { storage_bucket: "b".to_owned(), storage_key: file.to_string() }
}

fn run(state: &mut State, command: Command) {
    if let Some(event) = decide(state, command.clone()).unwrap() {
        evolve(state, &event);
    }
    assert_eq!(decide(state, command), Ok(None));
}

proptest! {
    /// Whatever happens, in whichever order: an object is doomed only when no file refers to it, a file that was
    /// released never comes back, and what is doomed is never referred to again.
    #[test]
    fn an_object_lives_as_long_as_a_file_refers_to_it(steps in prop::collection::vec((any::<bool>(), 0..6_u128), 1..60)) {
        let mut state = State::default();
        let mut there = BTreeSet::new();
        let mut gone = BTreeSet::new();
        for (keep, number) in steps {
            let file = UploadId(Uuid::from_u128(number));
            if keep {
                run(&mut state, Command::Keep { file, own: own(file), size_bytes: 1 });
                if !gone.contains(&file) {
                    there.insert(file);
                }
            } else {
                run(&mut state, Command::Release(file));
                if there.remove(&file) {
                    gone.insert(file);
                }
            }
            prop_assert_eq!(&state.references, &there);
            prop_assert_eq!(state.object.is_some(), !there.is_empty());
            prop_assert!(state.object.iter().all(|object| !state.doomed.contains(object)));
        }
    }
}
