//! Tests that loading an aggregate with many events begins with a snapshot.

use crate::counted::{CountedLog, context};
use bytes::Bytes;
use std::sync::Arc;
use uuid::Uuid;
use waybill_domain::{file, upload};
use waybill_event_log::EventLog;
use waybill_repository::{FileAggregate, Loaded, Repository, UploadAggregate, forget_snapshot};
use waybill_schema::events::*;
use waybill_schema::*;

const PIECE: u64 = 1_024;
const PIECES: u64 = 2_300;

fn started(company_id: CompanyId) -> UploadStarted {
    UploadStarted {
        link_id: None,
        started: UploadDescription {
            company_id,
            uploaded_by: UserId(Uuid::from_u128(2)),
            session_id: None,
            chatroom_id: None,
            thread_id: None,
            original_name: "a.bin".to_owned(),
            mime_type: "application/octet-stream".to_owned(),
            size_bytes: 1 << 30,
            declared_sha256: None,
            metadata: None,
            part_size_bytes: 8 << 20,
            expires_at: Timestamp(i64::MAX),
        },
        length_deferred: false,
        kind: UploadKind::File,
        upload_metadata: None,
    }
}

fn piece(number: u64) -> upload::Command {
    upload::Command::RecordChunk(ChunkUploaded {
        offset: number * PIECE,
        length: PIECE,
        crc64nvme: number,
        etag: number.to_string(),
        storage: ChunkStorage::Staged { storage_key: format!("s/{number}") },
        worker_id: WorkerId(Uuid::from_u128(1)),
        store_writes: 1,
    })
}

async fn long_upload(repository: &Repository) -> UploadAggregate {
    let aggregate = UploadAggregate { company: CompanyId(Uuid::now_v7()), upload: UploadId(Uuid::now_v7()) };
    let mut loaded = Loaded::default();
    let start = upload::Command::Start(started(aggregate.company));
    repository.execute_from(&aggregate, &mut loaded, start, &context()).await.unwrap();
    for number in 0..PIECES {
        repository.execute_from(&aggregate, &mut loaded, piece(number), &context()).await.unwrap();
        if number % 100 == 0 {
            repository.refresh(&aggregate, &mut loaded).await.unwrap();
        }
    }
    aggregate
}

#[tokio::test]
async fn a_long_upload_is_read_from_its_snapshot() {
    let log = Arc::new(CountedLog::new());
    let repository = Repository::new(log.clone());
    let aggregate = long_upload(&repository).await;
    log.read();
    let loaded = repository.load(&aggregate).await.unwrap();
    assert_eq!(loaded.state.stored.prefix(), PIECES * PIECE);
    assert_eq!(u64::try_from(loaded.state.staged.len()).unwrap(), PIECES);
    let read = log.read();
    assert!(read < 800, "{read} events were read");

    // The state is the same as without the snapshot, and commands can be decided on it.
    forget_snapshot(log.as_ref(), Subject::new(aggregate.company, Entity::UploadLifecycle(aggregate.upload)))
        .await
        .unwrap();
    let mut from_the_beginning = repository.load(&aggregate).await.unwrap();
    assert!(log.read() as u64 > PIECES);
    assert_eq!(from_the_beginning.state, loaded.state);
    let mut again = repository.load(&aggregate).await.unwrap();
    assert!(log.read() < 200, "the load has written a snapshot");
    for loaded in [&mut from_the_beginning, &mut again] {
        repository.execute_from(&aggregate, loaded, upload::Command::Cancel, &context()).await.unwrap();
    }
    assert_eq!(again.state, from_the_beginning.state);
}

#[tokio::test]
async fn a_snapshot_that_is_broken_or_of_another_stream_is_not_read() {
    let log = Arc::new(CountedLog::new());
    let repository = Repository::new(log.clone());
    let aggregate = long_upload(&repository).await;
    let values = log.snapshots().unwrap();
    let subject = Subject::new(aggregate.company, Entity::UploadLifecycle(aggregate.upload));
    for set in 0..2 {
        let key = names::snapshot_piece_key(subject, set, 0);
        if values.value(&key).await.unwrap().is_some() {
            values.set_value(&key, Bytes::from_static(b"broken")).await.unwrap();
        }
    }
    assert_eq!(repository.load(&aggregate).await.unwrap().state.stored.prefix(), PIECES * PIECE);

    let other = Arc::new(CountedLog::new());
    let there = long_upload(&Repository::new(other.clone())).await;
    let from = Subject::new(there.company, Entity::UploadLifecycle(there.upload));
    for (from, to) in [(names::snapshot_key(from), names::snapshot_key(subject))]
        .into_iter()
        .chain((0..2).map(|set| (names::snapshot_piece_key(from, set, 0), names::snapshot_piece_key(subject, set, 0))))
    {
        if let Some(value) = other.snapshots().unwrap().value(&from).await.unwrap() {
            values.set_value(&to, value).await.unwrap();
        }
    }
    log.read();
    assert_eq!(repository.load(&aggregate).await.unwrap().state.stored.prefix(), PIECES * PIECE);
    assert!(log.read() as u64 > PIECES);
}

/// Changes a file again and again. `repository_of` returns the repository that executes the next command. Returns the largest
/// number of events that were read for a command.
async fn most_reads(log: &Arc<CountedLog>, repository_of: impl Fn() -> Arc<Repository>) -> usize {
    let aggregate = FileAggregate { company: CompanyId(Uuid::now_v7()), file: UploadId(Uuid::now_v7()) };
    log.read();
    let mut most = 0;
    for number in 0..1_600 {
        let command = file::Command::Rename(format!("{number}.txt"));
        repository_of().execute(&aggregate, command, &context()).await.unwrap();
        most = most.max(log.read());
    }
    let loaded = Repository::new(log.clone()).load(&aggregate).await.unwrap();
    assert_eq!(loaded.state.display_name.as_deref(), Some("1599.txt"));
    let read = log.read();
    assert!(read <= 150, "{read} events were read by another process");
    most
}

#[tokio::test]
async fn a_file_that_other_processes_change_is_read_from_its_snapshot() {
    let log = Arc::new(CountedLog::new());
    let most = most_reads(&log, || Arc::new(Repository::new(log.clone()))).await;
    assert!(most <= 130, "{most} events were read for a change");
}

#[tokio::test]
async fn a_file_that_a_process_changes_is_read_from_its_memory() {
    let log = Arc::new(CountedLog::new());
    let repository = Arc::new(Repository::new(log.clone()));
    let most = most_reads(&log, || repository.clone()).await;
    assert!(most <= 6, "{most} events were read for a change");
}

#[tokio::test]
async fn a_state_in_memory_is_not_used_after_the_log_was_replaced() {
    for is_noticed in [false, true] {
        let log = Arc::new(CountedLog::new());
        let repository = Repository::new(log.clone());
        let aggregate = FileAggregate { company: CompanyId(Uuid::now_v7()), file: UploadId(Uuid::now_v7()) };
        let rename_20_times = async |repository: &Repository, name: &str| {
            for number in 0..20 {
                let command = file::Command::Rename(format!("{name} {number}"));
                repository.execute(&aggregate, command, &context()).await.unwrap();
            }
        };
        rename_20_times(&repository, "first").await;
        log.replace(is_noticed);
        // The new log has other events at the same positions.
        rename_20_times(&Repository::new(log.clone()), "second").await;
        let loaded = repository.load(&aggregate).await.unwrap();
        assert_eq!(loaded.state.display_name.as_deref(), Some("second 19"), "noticed: {is_noticed}");
    }
}

#[tokio::test]
async fn a_state_in_memory_that_others_have_left_behind_is_replaced_by_their_snapshot() {
    let log = Arc::new(CountedLog::new());
    let (ours, others) = (Repository::new(log.clone()), Repository::new(log.clone()));
    let aggregate = FileAggregate { company: CompanyId(Uuid::now_v7()), file: UploadId(Uuid::now_v7()) };
    for (repository, changes) in [(&ours, 10), (&others, 1_000)] {
        for number in 0..changes {
            let command = file::Command::Rename(format!("{changes} {number}"));
            repository.execute(&aggregate, command, &context()).await.unwrap();
        }
    }
    log.read();
    let loaded = ours.load(&aggregate).await.unwrap();
    assert_eq!(loaded.state.display_name.as_deref(), Some("1000 999"));
    let read = log.read();
    assert!(read <= 150, "{read} events were read");
}
