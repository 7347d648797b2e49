//! Behaviour that every object store must have. `main.rs` runs these checks against each store.

use bytes::Bytes;
use waybill_object_store::{CompletedPart, Crc, KnownPart, ObjectStore, PartCrc, StoreError, crc64nvme};

async fn put(store: &dyn ObjectStore, key: &str, bytes: &'static [u8]) {
    store.put(key, Bytes::from_static(bytes), crc64nvme(bytes)).await.unwrap();
}

async fn read(store: &dyn ObjectStore, key: &str, offset: u64, length: Option<u64>) -> Bytes {
    store.get(key, offset, length).await.unwrap().collect().await.unwrap()
}

/// Returns a part of 5 MiB, the minimum size in S3 for every part except the last.
fn part(fill: u8) -> Bytes {
    Bytes::from(vec![fill; 5 * 1_024 * 1_024])
}

async fn upload(store: &dyn ObjectStore, key: &str, id: &str, n: u32, bytes: Bytes) -> CompletedPart {
    let crc = crc64nvme(&bytes);
    let etag = store.upload_part(key, id, n, bytes, crc).await.unwrap();
    CompletedPart { part_number: n, etag, crc: Some(PartCrc::crc64nvme(crc)) }
}

pub(crate) async fn an_object_comes_back_as_it_was_put(store: &dyn ObjectStore) {
    put(store, "a/b", b"hello").await;
    assert_eq!(read(store, "a/b", 0, None).await, "hello");
    assert_eq!(store.size("a/b").await, Ok(Some(5)));
    put(store, "empty", b"").await;
    assert_eq!(store.size("empty").await, Ok(Some(0)));
    assert_eq!(read(store, "empty", 0, None).await, "");
}

pub(crate) async fn ranges_are_exact(store: &dyn ObjectStore) {
    put(store, "a", b"0123456789").await;
    assert_eq!(read(store, "a", 3, Some(4)).await, "3456");
    assert_eq!(read(store, "a", 7, None).await, "789");
    assert_eq!(read(store, "a", 2, Some(0)).await, "");
    assert_eq!(store.get("a", 3, Some(4)).await.unwrap().length, 4);
}

pub(crate) async fn what_is_not_there_is_not_found(store: &dyn ObjectStore) {
    assert_eq!(store.size("nothing").await, Ok(None));
    let found = store.get("nothing", 0, None).await.map(|_| ());
    assert!(matches!(found, Err(StoreError::NotFound { .. })), "{found:?}");
    let parts = store.list_parts("nothing", "no-upload").await;
    assert!(matches!(parts, Err(StoreError::NoSuchUpload { .. } | StoreError::NotFound { .. })), "{parts:?}");
}

pub(crate) async fn bytes_that_changed_on_the_way_are_refused(store: &dyn ObjectStore) {
    let refused = store.put("a", Bytes::from_static(b"hello"), crc64nvme(b"hullo")).await;
    assert!(refused.is_err());
    assert_eq!(store.size("a").await, Ok(None));
}

pub(crate) async fn parts_become_one_object_in_their_order(store: &dyn ObjectStore) {
    let id = store.create_multipart("big", Some(Crc::Crc64Nvme)).await.unwrap();
    let second = upload(store, "big", &id, 2, Bytes::from_static(b"end")).await;
    let first = upload(store, "big", &id, 1, part(7)).await;
    let listed = store.list_parts("big", &id).await.unwrap();
    let sizes: Vec<(u32, u64)> = listed.iter().map(|part| (part.part_number, part.size_bytes)).collect();
    assert_eq!(sizes, [(1, 5 * 1_024 * 1_024), (2, 3)]);
    assert!(listed.iter().all(|part| !part.etag.is_empty()));
    assert_eq!(store.size("big").await, Ok(None), "the object does not exist before the upload is completed");
    store.complete_multipart("big", &id, &[first, second]).await.unwrap();
    assert_eq!(store.size("big").await, Ok(Some(5 * 1_024 * 1_024 + 3)));
    assert_eq!(read(store, "big", 5 * 1_024 * 1_024 - 1, None).await, &b"\x07end"[..]);
}

pub(crate) async fn an_object_shows_what_parts_it_is_made_of(store: &dyn ObjectStore) {
    let id = store.create_multipart("shows", Some(Crc::Crc64Nvme)).await.unwrap();
    let contents = [part(7), Bytes::from_static(b"end")];
    let mut parts = Vec::new();
    for (n, bytes) in (1..).zip(&contents) {
        parts.push(upload(store, "shows", &id, n, bytes.clone()).await);
    }
    store.complete_multipart("shows", &id, &parts).await.unwrap();
    let info = store.info("shows").await.unwrap().unwrap();
    let known = |of: &[Bytes]| {
        let known = parts.iter().zip(of).map(|(part, bytes)| KnownPart {
            etag: &part.etag,
            crc64nvme: crc64nvme(bytes),
            size_bytes: bytes.len() as u64,
        });
        info.shows(&known.collect::<Vec<_>>())
    };
    assert!(known(&contents), "{info:?}");
    assert!(!info.shows(&[KnownPart { etag: &parts[1].etag, crc64nvme: 7, size_bytes: info.size_bytes }]));
}

pub(crate) async fn completing_twice_finds_no_upload(store: &dyn ObjectStore) {
    let id = store.create_multipart("once", Some(Crc::Crc64Nvme)).await.unwrap();
    let parts = [upload(store, "once", &id, 1, Bytes::from_static(b"x")).await];
    store.complete_multipart("once", &id, &parts).await.unwrap();
    let listed = store.list_parts("once", &id).await;
    assert!(matches!(listed, Err(StoreError::NoSuchUpload { .. } | StoreError::NotFound { .. })), "{listed:?}");
    assert_eq!(store.size("once").await, Ok(Some(1)));
}

pub(crate) async fn an_aborted_upload_takes_no_parts(store: &dyn ObjectStore) {
    let id = store.create_multipart("gone", Some(Crc::Crc64Nvme)).await.unwrap();
    upload(store, "gone", &id, 1, Bytes::from_static(b"x")).await;
    store.abort_multipart("gone", &id).await.unwrap();
    store.abort_multipart("gone", &id).await.unwrap();
    let late = store.upload_part("gone", &id, 2, Bytes::from_static(b"y"), crc64nvme(b"y")).await;
    assert!(matches!(late, Err(StoreError::NoSuchUpload { .. } | StoreError::NotFound { .. })), "{late:?}");
    assert_eq!(store.size("gone").await, Ok(None));
}

pub(crate) async fn a_prefix_lists_its_keys_alone(store: &dyn ObjectStore) {
    for key in ["s/1/a", "s/1/b", "s/2/c", "o/1/d"] {
        put(store, key, b"x").await;
    }
    assert_eq!(store.list("s/1/").await.unwrap(), ["s/1/a", "s/1/b"]);
    assert!(store.list("s/3/").await.unwrap().is_empty());
    assert_eq!(store.list_after("s/", Some("s/1/a")).await.unwrap(), ["s/1/b", "s/2/c"]);
}

pub(crate) async fn deleting_twice_is_harmless(store: &dyn ObjectStore) {
    put(store, "a", b"x").await;
    store.delete("a").await.unwrap();
    store.delete("a").await.unwrap();
    assert_eq!(store.size("a").await, Ok(None));
}

pub(crate) async fn several_are_deleted_at_once_and_no_others(store: &dyn ObjectStore) {
    let keys: Vec<String> = (0..20).map(|n| format!("d/{n} & <ä>")).collect();
    for key in &keys {
        put(store, key, b"x").await;
    }
    put(store, "d/2", b"x").await;
    let wanted: Vec<String> = keys.iter().take(15).cloned().chain(["d/never".to_owned()]).collect();
    assert!(store.delete_many(&wanted).await.iter().all(Result::is_ok));
    let mut left = keys[15..].to_vec();
    left.push("d/2".to_owned());
    left.sort();
    assert_eq!(store.list("d/").await.unwrap(), left);
}

pub(crate) async fn a_copy_is_an_object_of_its_own(store: &dyn ObjectStore) {
    put(store, "from", b"hello").await;
    let from = store.info("from").await.unwrap().unwrap();
    store.copy("from", "to", &from).await.unwrap();
    put(store, "from", b"other").await;
    assert_eq!(read(store, "to", 0, None).await, "hello");
    let replaced = store.copy("from", "to", &from).await;
    assert!(matches!(replaced, Err(StoreError::Unavailable { .. })), "{replaced:?}");
    assert_eq!(read(store, "to", 0, None).await, "hello");
    let missing = store.copy("nothing", "to", &from).await;
    assert!(matches!(missing, Err(StoreError::NotFound { .. })), "{missing:?}");
}

pub(crate) async fn open_multipart_uploads_and_single_parts_are_found(store: &dyn ObjectStore) {
    let id = store.create_multipart("a/open", Some(Crc::Crc64Nvme)).await.unwrap();
    assert_eq!(store.list_multiparts("a/open").await, Ok(vec![("a/open".to_owned(), id.clone())]));
    let stored = upload(store, "a/open", &id, 2, Bytes::from_static(b"end")).await;
    assert_eq!(store.part("a/open", &id, 1).await, Ok(vec![]));
    let found = store.part("a/open", &id, 2).await.unwrap();
    assert_eq!((found[0].size_bytes, found[0].etag.trim_matches('"')), (3, stored.etag.trim_matches('"')));
    upload(store, "a/open", &id, 4, Bytes::from_static(b"later")).await;
    assert_eq!(store.part("a/open", &id, 4).await.unwrap()[0].size_bytes, 5, "a part after a missing part is listed");
    assert_eq!(store.part("a/open", &id, 5).await, Ok(vec![]));
    store.abort_multipart("a/open", &id).await.unwrap();
    assert_eq!(store.list_multiparts("a/open").await, Ok(vec![]));
}

pub(crate) async fn multipart_uploads_are_listed_by_a_prefix(store: &dyn ObjectStore) {
    let id = store.create_multipart("a/open", Some(Crc::Crc64Nvme)).await.unwrap();
    let other = store.create_multipart("b/open", Some(Crc::Crc64Nvme)).await.unwrap();
    assert_eq!(store.list_multiparts("a/").await, Ok(vec![("a/open".to_owned(), id.clone())]));
    store.abort_multipart("a/open", &id).await.unwrap();
    assert_eq!(store.list_multiparts("a/").await, Ok(vec![]));
    store.abort_multipart("b/open", &other).await.unwrap();
}
