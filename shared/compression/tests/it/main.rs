//! Tests of compressed objects.

#![expect(clippy::unwrap_used, reason = "a test fails with a panic")]

use proptest::prelude::*;
use std::sync::Arc;
use tokio::runtime::Runtime;
use uuid::Uuid;
use waybill_compression::{Encoder, FRAME_BYTES, FileBytes, Table, table_bytes};
use waybill_object_store::memory::MemoryStore;
use waybill_object_store::{ObjectStore, crc64nvme};
use waybill_schema::{ByteRange, CompanyId, UploadId, names};

/// Returns bytes that can be compressed, and differ in each place.
fn text(length: usize) -> Vec<u8> {
    (0..)
        .map(|number: u32| format!("line {number}: {}\n", number.wrapping_mul(2_654_435_761)))
        .flat_map(String::into_bytes)
        .take(length)
        .collect()
}

/// Returns the compressed bytes.
fn compressed(bytes: &[u8]) -> (Table, Vec<u8>) {
    let mut encoder = Encoder::new(3).unwrap();
    let mut object: Vec<u8> = bytes.chunks(FRAME_BYTES).flat_map(|frame| encoder.frame(frame).unwrap()).collect();
    let (table, end) = encoder.finish();
    object.extend(end);
    (table, object)
}

/// Stores an object under a new key of a compressed object.
fn stored(runtime: &Runtime, object: Vec<u8>) -> (FileBytes, String) {
    let store = Arc::new(MemoryStore::new());
    let key = names::compressed_key(CompanyId(Uuid::nil()), UploadId(Uuid::nil()), Uuid::from_u128(1));
    let crc = crc64nvme(&object);
    runtime.block_on(store.put(&key, object.into(), crc)).unwrap();
    (FileBytes::new(store), key)
}

#[test]
fn the_table_says_where_each_frame_is() {
    for length in [1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 3 * FRAME_BYTES] {
        let (table, object) = compressed(&text(length));
        let size_bytes = length as u64;
        let end = object.len() - usize::try_from(table_bytes(size_bytes)).unwrap();
        assert_eq!(Table::parse(&object[end..], size_bytes).unwrap(), table);
        Table::parse(&object[end..], size_bytes + FRAME_BYTES as u64).unwrap_err();
        Table::parse(&object[..100.min(end)], size_bytes).unwrap_err();
    }
}

#[test]
fn a_damaged_or_truncated_object_is_never_taken_for_the_file() {
    let runtime = Runtime::new().unwrap();
    let bytes = text(2 * FRAME_BYTES);
    let all = ByteRange { from: 0, to: bytes.len() as u64 };
    let (_, object) = compressed(&bytes);
    for damage in 0..200 {
        let mut object = object.clone();
        let place = damage * (object.len() / 200);
        if damage % 2 == 0 {
            object[place] ^= 1 << (damage % 8);
        } else {
            object.truncate(place);
        }
        let (contents, key) = stored(&runtime, object);
        let read = runtime.block_on(async { contents.get(&key, all.to, all).await?.collect().await });
        assert!(read.is_err() || read.unwrap() == bytes, "{damage}");
    }
}

#[test]
fn the_frames_alone_are_the_file_with_a_content_coding() {
    let runtime = Runtime::new().unwrap();
    let bytes = text(5 * FRAME_BYTES / 2);
    let (_, object) = compressed(&bytes);
    let (contents, key) = stored(&runtime, object.clone());
    let frames = runtime.block_on(async {
        let body = contents.frames(&key, bytes.len() as u64).await.unwrap();
        let length = body.length;
        let frames = body.collect().await.unwrap();
        assert_eq!(length, frames.len() as u64);
        frames
    });
    assert_eq!(frames, object[..frames.len()]);
    assert_eq!((object.len() - frames.len()) as u64, table_bytes(bytes.len() as u64));
}

#[test]
fn a_file_of_zeros_is_decompressed_in_small_pieces() {
    use futures_util::StreamExt;
    let runtime = Runtime::new().unwrap();
    let bytes = vec![0; 200 * FRAME_BYTES];
    let (_, object) = compressed(&bytes);
    assert!(object.len() < 100_000);
    let (contents, key) = stored(&runtime, object);
    runtime.block_on(async {
        let mut body =
            contents.get(&key, bytes.len() as u64, ByteRange { from: 0, to: bytes.len() as u64 }).await.unwrap();
        let mut length = 0;
        while let Some(piece) = body.bytes.next().await {
            let piece = piece.unwrap();
            assert!(piece.len() <= 256 << 10);
            length += piece.len();
        }
        assert_eq!(length, bytes.len());
    });
}

#[test]
fn small_objects_are_read_once_whatever_the_range_and_large_ones_each_time() {
    let runtime = Runtime::new().unwrap();
    let (plain, compressed_key) =
        ("o/plain", names::compressed_key(CompanyId(Uuid::nil()), UploadId(Uuid::nil()), Uuid::from_u128(1)));
    for length in [0, 1, FRAME_BYTES, FRAME_BYTES + 1] {
        let (bytes, store) = (text(length), Arc::new(MemoryStore::new()));
        let objects = [(plain, bytes.clone()), (compressed_key.as_str(), compressed(&bytes).1)];
        // A file without bytes is not compressed.
        let objects = &objects[..if length == 0 { 1 } else { 2 }];
        let kept = FileBytes::keeping(store.clone(), 1 << 20);
        let read = |contents: &FileBytes, key: &str, range: ByteRange| {
            runtime.block_on(async { contents.get(key, length as u64, range).await?.collect().await })
        };
        let all = ByteRange { from: 0, to: length as u64 };
        for (key, object) in objects {
            runtime.block_on(store.put(key, object.clone().into(), crc64nvme(object))).unwrap();
            assert_eq!(read(&kept, key, all).unwrap(), bytes);
            runtime.block_on(store.delete(key)).unwrap();
            let is_small = length <= FRAME_BYTES;
            for (from, to) in [(0, length), (length / 3, length), (0, length / 2), (length / 3, length / 2)] {
                let found = read(&kept, key, ByteRange { from: from as u64, to: to as u64 });
                assert_eq!(found.ok().as_deref(), is_small.then(|| &bytes[from..to]), "{key} {length} {from} {to}");
            }
            assert!(read(&FileBytes::keeping(store.clone(), 0), key, all).is_err());
        }
    }
}

#[test]
fn requests_that_read_the_same_object_at_once_share_one_read() {
    let runtime = Runtime::new().unwrap();
    let store = Arc::new(MemoryStore::new());
    let bytes = text(1_000);
    runtime.block_on(store.put("o/a", bytes.clone().into(), crc64nvme(&bytes))).unwrap();
    let contents = FileBytes::keeping(store.clone(), 1 << 20);
    let all = ByteRange { from: 0, to: 1_000 };
    runtime.block_on(async {
        let read = || async { contents.get("o/a", 1_000, all).await.unwrap().collect().await.unwrap() };
        let first = read().await;
        store.delete("o/a").await.unwrap();
        let others = futures_util::future::join_all((0..50).map(|_| read())).await;
        assert!(others.iter().all(|other| *other == first));
        // A read that fails is not kept.
        let missing = || async { contents.get("o/b", 1_000, all).await.is_err() };
        assert!(missing().await);
        store.put("o/b", bytes.clone().into(), crc64nvme(&bytes)).await.unwrap();
        assert!(!missing().await);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    /// Any range of a compressed object has the bytes of the file.
    #[test]
    fn every_range_is_equal(
        length in 1..4 * FRAME_BYTES,
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 100),
    ) {
        let runtime = Runtime::new().unwrap();
        let bytes = text(length);
        let (contents, key) = stored(&runtime, compressed(&bytes).1);
        for (one, other) in places {
            let (one, other) = (one.index(length), other.index(length));
            let (from, to) = (one.min(other), one.max(other) + 1);
            let range = ByteRange { from: from as u64, to: to as u64 };
            let read = runtime.block_on(async { contents.get(&key, length as u64, range).await?.collect().await });
            prop_assert!(read.unwrap() == bytes[from..to]);
        }
    }
}
