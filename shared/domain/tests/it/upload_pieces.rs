//! Tests of ranges that are staged, repeated or written again.

use crate::given::Given;
use crate::upload_samples::{chunk, given, started, worker};
use waybill_domain::Refusal;
use waybill_domain::upload::*;
use waybill_schema::events::*;
use waybill_schema::*;

fn staged(offset: u64, length: u64) -> ChunkUploaded {
    ChunkUploaded { storage: ChunkStorage::Staged { storage_key: format!("s/{offset}") }, ..chunk(offset, length) }
}

/// An upload of 10 GiB that is interrupted after every MiB has one event for each MiB.
#[test]
fn a_large_file_may_be_cut_off_every_mebibyte() {
    const SIZE: u64 = 10 << 30;
    let of_this_size = UploadDescription { part_size_bytes: 8 << 20, ..started(SIZE) };
    let mut upload = given([UploadStarted::from(of_this_size).into()]);
    let mut facts = 0;
    for offset in (0..SIZE).step_by(1 << 20) {
        upload.carry_out(Command::RecordChunk(staged(offset, 1 << 20))).unwrap().unwrap();
        facts += 1;
    }
    assert_eq!(facts, 10_240);
    assert!(upload.state().is_whole());
}

#[test]
fn after_ten_thousand_pieces_the_smallest_are_refused() {
    const SIZE: u64 = 400_000_000;
    const PART_SIZE: u64 = 8 << 20;
    let of_this_size = UploadDescription { part_size_bytes: PART_SIZE, ..started(SIZE) };
    let mut upload = given([UploadStarted::from(of_this_size).into()]);
    let take = |upload: &mut Given<UploadAggregate>, offset, length| {
        upload.carry_out(Command::RecordChunk(staged(offset, length))).map(|event| event.is_some())
    };
    for offset in 0..10_000 {
        assert_eq!(take(&mut upload, offset, 1), Ok(true));
    }
    let too_small = Refusal::PieceTooSmall { pieces: 10_000, least_bytes: 10_000 };
    assert_eq!(take(&mut upload, 10_000, 9_999), Err(too_small.clone()));
    assert_eq!(too_small.code().as_str(), "piece_too_small");
    // Only new bytes count for the minimum size. A range without new bytes is accepted and has no event.
    assert_eq!(take(&mut upload, 5, 10), Ok(false));
    assert!(take(&mut upload, 5_000, 10_000).is_err());
    assert_eq!(take(&mut upload, 10_000, 10_000), Ok(true));
    // Small pieces are allowed at the boundaries of parts and at the end of the file.
    assert_eq!(take(&mut upload, PART_SIZE - 3, 3), Ok(true));
    assert_eq!(take(&mut upload, PART_SIZE, 3), Ok(true));
    assert_eq!(take(&mut upload, SIZE - 1, 1), Ok(true));
    // The next small pieces do not touch a boundary with new bytes.
    assert!(take(&mut upload, PART_SIZE + 3, 1).is_err());
    assert!(take(&mut upload, PART_SIZE, 4).is_err());
}

#[test]
fn what_is_stored_of_bytes_that_come_again_can_be_told() {
    let range = |from, to| ByteRange { from, to };
    let sum = |from, to| Known::Checksum { range: range(from, to), crc64nvme: from ^ (to - from) };
    let upload = given([started(150).into(), chunk(0, 40).into(), chunk(30, 30).into()]);
    let state = upload.state();
    assert_eq!(state.known_in(range(0, 40)), [sum(0, 40)]);
    let staged = |key: &str, range, object_offset| {
        Known::Staged(StagedPiece { range, storage_key: key.to_owned(), object_offset, crc64nvme: None })
    };
    let both = [sum(0, 40), staged("s/30-30", range(40, 60), 10)];
    assert_eq!(state.known_in(range(0, 100)), both, "a checksum describes only a whole object");
    let cut = [staged("s/0-40", range(20, 40), 20), staged("s/30-30", range(40, 50), 10)];
    assert_eq!(state.known_in(range(20, 50)), cut);
    assert_eq!(state.known_in(range(60, 100)), []);
    let joined = PartAssembled {
        part_number: 1,
        length: 100,
        crc64nvme: 7,
        etag: "e".to_owned(),
        worker_id: worker(1),
        store_writes: 1,
    };
    let upload = upload.and(chunk(60, 40)).and(joined);
    let state = upload.state();
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
    let upload = given([started(100).into(), chunk(0, 100).into()]);
    upload.when(Command::RecordChunk(chunk(0, 100))).then_nothing();
    let again = ChunkUploaded { store_writes: 2, ..chunk(0, 100) };
    let upload = upload.when(Command::RecordChunk(again.clone())).then_an_event();
    assert!(upload.state().needs_read_back());
    upload.when(Command::RecordChunk(again)).then_nothing();
}
