//! Property tests of uploads: chunks can come in any order, overlap and repeat, and the resulting state is the same.

use crate::given::NOW;
use crate::upload_samples::{PART, chunk, given, started};
use proptest::prelude::*;
use waybill_domain::upload::Command;
use waybill_schema::Event;
use waybill_schema::events::FileCompleted;
use waybill_schema::events::UploadEvent;

/// Generates a size and ranges that cover a file of this size. The cuts are arbitrary, the ranges are shuffled, and
/// some are repeated.
fn covering_runs() -> impl Strategy<Value = (u64, Vec<(u64, u64)>)> {
    (1..6 * PART).prop_flat_map(|size| {
        let cuts = proptest::collection::btree_set(1..=size, 0..12);
        let order = proptest::collection::vec(any::<proptest::sample::Index>(), 0..8);
        (cuts, order).prop_flat_map(move |(cuts, repeated)| {
            let mut runs = Vec::new();
            let mut from = 0;
            for to in cuts.into_iter().chain([size]) {
                // A range never crosses the part grid, because the data plane cuts it there.
                while from < to {
                    let end = to.min((from / PART + 1) * PART);
                    runs.push((from, end - from));
                    from = end;
                }
            }
            let again: Vec<(u64, u64)> = repeated.iter().map(|index| runs[index.index(runs.len())]).collect();
            runs.extend(again);
            (Just(size), Just(runs).prop_shuffle())
        })
    })
}

fn events(size: u64, runs: &[(u64, u64)]) -> Vec<UploadEvent> {
    let mut events: Vec<UploadEvent> = vec![started(size).into()];
    events.extend(runs.iter().map(|(offset, length)| chunk(*offset, *length).into()));
    events
}

proptest! {
    #[test]
    fn any_order_stores_the_same_bytes((size, runs) in covering_runs()) {
        let upload = given(events(size, &runs));
        let state = upload.state();
        prop_assert_eq!(state.stored.total(), size);
        prop_assert_eq!(state.stored.prefix(), size);
        prop_assert_eq!(state.missing(), vec![]);
        // Every part is stored, or can be assembled from pieces that cover exactly its bytes.
        for n in 1..=state.grid().total_parts() {
            if state.parts.contains_key(&n) {
                continue;
            }
            let part = state.grid().part(n);
            let mut next = part.from;
            for piece in state.pieces_of(n) {
                prop_assert_eq!(piece.range.from, next);
                next = piece.range.to;
            }
            prop_assert_eq!(next, part.to);
            prop_assert!(state.parts_to_assemble().contains(&n));
        }
    }

    #[test]
    fn the_offset_never_decreases_and_never_counts_a_gap((size, runs) in covering_runs()) {
        let mut upload = given([]);
        let mut before = 0;
        let mut seen = vec![false; usize::try_from(size).unwrap()];
        for event in events(size, &runs) {
            upload.record(event.clone());
            if let UploadEvent::ChunkUploaded(chunk) = &event {
                for at in chunk.offset..chunk.offset + chunk.length {
                    seen[usize::try_from(at).unwrap()] = true;
                }
            }
            let offset = upload.state().stored.prefix();
            prop_assert!(offset >= before);
            prop_assert_eq!(offset, seen.iter().take_while(|stored| **stored).count() as u64);
            before = offset;
        }
    }

    #[test]
    fn folding_events_twice_changes_nothing((size, runs) in covering_runs()) {
        let all = events(size, &runs);
        let once = given(all.clone());
        let twice = given(all.into_iter().flat_map(|event| [event.clone(), event]));
        prop_assert_eq!(once.state(), twice.state());
    }

    #[test]
    fn deciding_twice_yields_no_second_event((size, runs) in covering_runs()) {
        let mut upload = given([started(size).into()]);
        for (offset, length) in runs {
            let command = Command::RecordChunk(chunk(offset, length));
            upload.carry_out(command.clone()).unwrap();
            upload.when(command).then_nothing();
        }
        let complete = Command::Complete { declared_sha256: None, now: NOW };
        upload.when(complete).then_once(FileCompleted { declared_sha256: None });
    }

    /// Folding the stored events gives the state on which the commands were decided.
    #[test]
    fn replay_equals_live((size, runs) in covering_runs()) {
        let mut live = given([]);
        let mut log = Vec::new();
        let commands = std::iter::once(Command::Start(started(size).into()))
            .chain(runs.iter().map(|(offset, length)| Command::RecordChunk(chunk(*offset, *length))))
            .chain([Command::Complete { declared_sha256: None, now: NOW }]);
        for command in commands {
            if let Ok(Some(event)) = live.carry_out(command) {
                let stored = Event::from(event);
                log.push((stored.event_type(), stored.version(), stored.encode().unwrap()));
            }
        }
        let replayed = log.iter().map(|(name, version, bytes)| Event::decode(name, *version, bytes).unwrap()).map(|event| match event {
            Event::Upload(event) => event,
            other => panic!("{other:?}"),
        });
        let replayed = given(replayed);
        prop_assert_eq!(replayed.state(), live.state());
    }
}
