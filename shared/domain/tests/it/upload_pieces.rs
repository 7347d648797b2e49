//! Tests of ranges that are staged, repeated or written again.

use crate::given::{NOW, chunk, started, upload, worker};
use waybill_domain::Refusal;
use waybill_domain::upload::*;
use waybill_schema::events::*;
use waybill_schema::*;

fn staged(offset: u64, length: u64) -> ChunkUploadedV1 {
    ChunkUploadedV1 { storage: ChunkStorage::Staged { storage_key: format!("s/{offset}") }, ..chunk(offset, length) }
}

/// An upload of 10 GiB that is interrupted after every MiB has one event for each MiB.
#[test]
fn a_large_file_may_be_cut_off_every_mebibyte() {
    const SIZE: u64 = 10 << 30;
    let of_this_size = UploadStartedV1 { part_size_bytes: 8 << 20, ..started(SIZE) };
    let mut state = upload([UploadStartedV2::from(of_this_size).into()]);
    let mut facts = 0;
    for offset in (0..SIZE).step_by(1 << 20) {
        let event = decide(&state, Command::RecordChunk(staged(offset, 1 << 20))).unwrap().unwrap();
        evolve(&mut state, &event, NOW);
        facts += 1;
    }
    assert_eq!(facts, 10_240);
    assert!(state.is_whole());
}

#[test]
fn after_ten_thousand_pieces_the_smallest_are_refused() {
    const SIZE: u64 = 400_000_000;
    const PART_SIZE: u64 = 8 << 20;
    let of_this_size = UploadStartedV1 { part_size_bytes: PART_SIZE, ..started(SIZE) };
    let mut state = upload([UploadStartedV2::from(of_this_size).into()]);
    let take = |state: &mut State, offset, length| {
        let event = decide(state, Command::RecordChunk(staged(offset, length)))?;
        event.iter().for_each(|event| evolve(state, event, NOW));
        Ok(event.is_some())
    };
    for offset in 0..10_000 {
        assert_eq!(take(&mut state, offset, 1), Ok(true));
    }
    let too_small = Refusal::PieceTooSmall { pieces: 10_000, least_bytes: 10_000 };
    assert_eq!(take(&mut state, 10_000, 9_999), Err(too_small.clone()));
    assert_eq!(too_small.code().as_str(), "piece_too_small");
    // Only new bytes count for the minimum size. A range without new bytes is accepted and has no event.
    assert_eq!(take(&mut state, 5, 10), Ok(false));
    assert!(take(&mut state, 5_000, 10_000).is_err());
    assert_eq!(take(&mut state, 10_000, 10_000), Ok(true));
    // Small pieces are allowed at the boundaries of parts and at the end of the file.
    assert_eq!(take(&mut state, PART_SIZE - 3, 3), Ok(true));
    assert_eq!(take(&mut state, PART_SIZE, 3), Ok(true));
    assert_eq!(take(&mut state, SIZE - 1, 1), Ok(true));
    // The next small pieces do not touch a boundary with new bytes.
    assert!(take(&mut state, PART_SIZE + 3, 1).is_err());
    assert!(take(&mut state, PART_SIZE, 4).is_err());
}

#[test]
fn what_is_stored_of_bytes_that_come_again_can_be_told() {
    let range = |from, to| ByteRange { from, to };
    let sum = |from, to| Known::Checksum { range: range(from, to), crc64nvme: from ^ (to - from) };
    let mut state = upload([started(150).into(), chunk(0, 40).into(), chunk(30, 30).into()]);
    assert_eq!(state.known_in(range(0, 40)), [sum(0, 40)]);
    let staged = |key: &str, range, object_offset| {
        Known::Staged(StagedPiece { range, storage_key: key.to_owned(), object_offset, crc64nvme: None })
    };
    let both = [sum(0, 40), staged("s/30-30", range(40, 60), 10)];
    assert_eq!(state.known_in(range(0, 100)), both, "a checksum describes only a whole object");
    let cut = [staged("s/0-40", range(20, 40), 20), staged("s/30-30", range(40, 50), 10)];
    assert_eq!(state.known_in(range(20, 50)), cut);
    assert_eq!(state.known_in(range(60, 100)), []);
    let joined = PartAssembledV1 {
        part_number: 1,
        length: 100,
        crc64nvme: 7,
        etag: "e".to_owned(),
        worker_id: worker(1),
        store_writes: 1,
    };
    evolve(&mut state, &chunk(60, 40).into(), NOW);
    evolve(&mut state, &joined.into(), NOW);
    assert_eq!(state.known_in(range(0, 100)), [Known::Checksum { range: range(0, 100), crc64nvme: 7 }]);
    assert_eq!(
        state.known_in(range(60, 100)),
        [sum(60, 100)],
        "the checksum is kept because the client may have lost the response"
    );
    assert_eq!(state.known_in(range(0, 50)), [sum(0, 40), Known::Hidden(range(40, 50))]);
}

#[test]
fn a_slot_that_was_written_again_is_known_once() {
    let mut state = upload([started(100).into(), chunk(0, 100).into()]);
    assert_eq!(decide(&state, Command::RecordChunk(chunk(0, 100))), Ok(None));
    let again = Command::RecordChunk(ChunkUploadedV1 { store_writes: 2, ..chunk(0, 100) });
    let event = decide(&state, again.clone()).unwrap().unwrap();
    evolve(&mut state, &event, NOW);
    assert!(state.needs_read_back());
    assert_eq!(decide(&state, again), Ok(None));
}
