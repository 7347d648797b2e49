//! Tests that need a real NATS server.

use crate::given::{event, subject};
use std::path::Path;
use waybill_event_log::jetstream::{
    JetStreamLog, Layout, ProvisionError, Server, accept_events, check_vocabulary, inspect, provision,
};
use waybill_event_log::{AppendError, Bucket, EventLog, Expect, NewEvent, ReadError, append, read_events};
use waybill_schema::events::FileVerified;
use waybill_schema::{Partitions, Sha256Digest, names};
use waybill_test_kit::{NatsServer, eventually, settings};

#[tokio::test]
async fn acknowledged_events_survive_a_kill() {
    let mut server = NatsServer::start().await;
    let log = server.log(1).await;
    let subject = subject();
    let mut last = 0;
    for n in 0..50 {
        last = append(&log, event(subject, n, Expect::LastSeq(last))).await.unwrap().seq;
    }
    let epoch = log.head(0).await.unwrap().epoch;
    server.kill_and_restart().await;
    // The old client reconnects automatically. A new client shows that the events were stored.
    let again = JetStreamLog::new(server.client().await, Partitions::new(1).unwrap());
    let events = read_events(&again, subject, 0).await.unwrap();
    assert_eq!(events.len(), 50);
    assert_eq!(again.head(0).await.unwrap().epoch, epoch);
    append(&log, event(subject, 50, Expect::LastSeq(last))).await.unwrap();
}

#[tokio::test]
async fn what_is_stored_of_one_company_is_read_between_two_messages() {
    let server = NatsServer::start().await;
    let log = server.log(1).await;
    let (ours, others) = (subject(), subject());
    for n in 0..1_030 {
        append(&log, event(ours, n, Expect::Any)).await.unwrap();
        append(&log, event(others, n, Expect::Any)).await.unwrap();
    }
    let read = |first, last| {
        let raw = log.raw_events();
        async move {
            let found = raw.between(ours.company, first, last).await.unwrap();
            found.iter().map(|message| message.position.seq).collect::<Vec<_>>()
        }
    };
    assert_eq!(read(2, 6).await, [3, 5]);
    assert_eq!(read(1, 1).await, [1]);
    assert_eq!(read(1, 2_060).await, (0..1_030).map(|n| 2 * n + 1).collect::<Vec<u64>>());
    let past_the_end = log.raw_events().between(ours.company, 2_000, 2_061).await;
    assert!(matches!(past_the_end, Err(ReadError::Unavailable(_))), "{past_the_end:?}");
    let first = log.raw_events().between(ours.company, 1, 1).await.unwrap().remove(0);
    assert_eq!(first.decode().unwrap().event, event(ours, 0, Expect::Any).event);
}

#[tokio::test]
async fn appends_without_an_answer_end_soon_and_are_one_event_each() {
    let server = NatsServer::start().await;
    let log = server.log(1).await;
    let subjects = [subject(), subject()];
    server.hang();
    for subject in subjects {
        let outcome = append(&log, event(subject, 1, Expect::LastSeq(0))).await;
        assert!(matches!(outcome, Err(AppendError::Unknown(_))), "{outcome:?}");
    }
    server.go_on();
    // The sent events arrive later, and a caller that decides again finds them.
    for subject in subjects {
        let stored = eventually("the event to be stored", || async {
            read_events(&log, subject, 0).await.ok().filter(|events| !events.is_empty())
        })
        .await;
        assert_eq!(stored.len(), 1);
        let again = append(&log, event(subject, 2, Expect::LastSeq(0))).await;
        assert_eq!(again, Err(AppendError::Conflict));
    }
}

#[tokio::test]
async fn provisioning_twice_changes_nothing_and_another_number_of_partitions_is_refused() {
    let server = NatsServer::start().await;
    let client = server.client().await;
    let two = Partitions::new(2).unwrap();
    provision(&client, Layout::single(two)).await.unwrap();
    provision(&client, Layout::single(two)).await.unwrap();
    for wanted in [1, 4] {
        let wanted = Partitions::new(wanted).unwrap();
        // A process with this number would read only some of the events, and a rebuild would lose the others.
        let opened = JetStreamLog::new(client.clone(), wanted).checked().await;
        assert!(matches!(opened, Err(ProvisionError::Partitions { found: 2, .. })));
        let refused = provision(&client, Layout::single(wanted)).await;
        assert!(matches!(refused, Err(ProvisionError::Partitions { found: 2, .. })), "{refused:?}");
    }
}

/// Sets the accepted events in the metadata of the first stream.
async fn say(client: &async_nats::Client, events: &str) {
    let context = async_nats::jetstream::new(client.clone());
    let stream = context.get_stream(names::event_stream(0)).await.unwrap();
    let mut config = stream.cached_info().config.clone();
    config.metadata.insert("waybill.events".to_owned(), events.to_owned());
    context.update_stream(config).await.unwrap();
}

#[tokio::test]
async fn a_build_that_cannot_read_what_the_log_accepts_does_not_start() {
    let server = NatsServer::start().await;
    server.log(1).await;
    let (client, one) = (server.client().await, Partitions::new(1).unwrap());
    check_vocabulary(&client, one).await.unwrap();
    say(&client, "FileDeleted.1,FileDeleted.2,FileShredded.1").await;
    match check_vocabulary(&client, one).await {
        Err(ProvisionError::TooOld { events }) => assert_eq!(events, "FileDeleted.2,FileShredded.1"),
        other => panic!("{other:?}"),
    }
    // Accepted events stay accepted.
    accept_events(&client, one, true).await.unwrap();
    check_vocabulary(&client, one).await.unwrap_err();
}

#[tokio::test]
async fn no_process_writes_events_that_the_others_cannot_read() {
    let server = NatsServer::start().await;
    let log = server.log(1).await;
    let (client, one) = (server.client().await, Partitions::new(1).unwrap());
    say(&client, "FileRestored.1").await;
    let wanted = || event(subject(), 1, Expect::LastSeq(0));
    let name = wanted().event.event_type();
    let refused = append(&log, wanted()).await;
    assert!(matches!(&refused, Err(AppendError::Unavailable(reason)) if reason.contains(name)), "{refused:?}");
    // Provisioning alone does not enable new events, but an operator can. Running processes notice the change.
    assert!(accept_events(&client, one, false).await.unwrap().iter().any(|event| event.starts_with(name)));
    append(&log, wanted()).await.unwrap_err();
    assert_eq!(accept_events(&client, one, true).await.unwrap(), Vec::<String>::new());
    eventually("the event to be accepted", || async { append(&log, wanted()).await.ok() }).await;
}

/// Uploads must not stop between the upgrade of the processes and the last step of the operator.
#[tokio::test]
async fn a_verified_file_is_recorded_in_the_version_that_the_log_accepts() {
    let server = NatsServer::start().await;
    let log = server.log(1).await;
    let client = server.client().await;
    let verified = |crc32| FileVerified {
        sha256: Sha256Digest([7; 32]),
        storage_bucket: "waybill".to_owned(),
        storage_key: "o/1".to_owned(),
        sniffed_mime_type: None,
        read_back: false,
        crc32,
    };
    let upload = subject();
    let wanted = |seq| NewEvent { event: verified(Some(9)).into(), ..event(upload, 1, Expect::LastSeq(seq)) };
    say(&client, "FileVerified.1").await;
    let first = append(&log, wanted(0)).await.unwrap();
    assert_eq!(read_events(&log, upload, 0).await.unwrap()[0].event, verified(None).into());
    accept_events(&client, Partitions::new(1).unwrap(), true).await.unwrap();
    let newest = eventually("an event in the newest version", || async {
        let last = read_events(&log, upload, 0).await.unwrap().pop()?;
        if last.event == verified(Some(9)).into() {
            return Some(last.position.seq);
        }
        append(&log, wanted(last.position.seq)).await.unwrap();
        None
    });
    assert!(newest.await > first.seq);
}

#[tokio::test]
async fn a_bucket_grows_by_configuration_and_never_shrinks() {
    let server = NatsServer::start().await;
    let client = server.client().await;
    let layout = Layout::single(Partitions::new(1).unwrap());
    for (asked, there) in [(1 << 20, 1 << 20), (1 << 24, 1 << 24), (1 << 20, 1 << 24)] {
        provision(&client, Layout { idempotency_bytes: asked, ..layout }).await.unwrap();
        let bucket = Bucket::open(&client, names::IDEMPOTENCY_BUCKET).await.unwrap();
        assert_eq!(bucket.room().await.unwrap().max_bytes, there);
    }
}

/// The partitions share the size of the records, so that more partitions do not need more disk space.
#[tokio::test]
async fn records_grow_by_configuration_and_never_shrink() {
    let server = NatsServer::start().await;
    let client = server.client().await;
    let context = async_nats::jetstream::new(client.clone());
    let layout = Layout::single(Partitions::new(4).unwrap());
    for (asked, there) in [(1 << 30, 256 << 20), (1 << 31, 512 << 20), (1 << 20, 512 << 20)] {
        let layout = Layout { record_bytes: asked, ..layout };
        provision(&client, layout).await.unwrap();
        // `waybill doctor` accepts larger streams.
        let wrong: Vec<_> = inspect(&client, layout).await.into_iter().filter(|(_, found)| found.is_err()).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        for name in ["AUD-3", "ACC-0"] {
            assert_eq!(context.get_stream(name).await.unwrap().cached_info().config.max_bytes, there, "{name}");
        }
    }
}

#[tokio::test]
async fn what_was_deleted_from_a_bucket_leaves_nothing_behind() {
    let server = NatsServer::start().await;
    let _log = server.log(1).await;
    let client = server.client().await;
    let context = async_nats::jetstream::new(client.clone());
    let buckets = [
        names::MIDSTATES_BUCKET,
        names::SNAPSHOTS_BUCKET,
        names::LEFTOVERS_BUCKET,
        names::PARKED_BUCKET,
        names::TICKETS_BUCKET,
    ];
    for name in buckets {
        let bucket = Bucket::open(&client, name).await.unwrap();
        bucket.put("deleted", "value".into()).await.unwrap();
        bucket.put("taken", "value".into()).await.unwrap();
        bucket.put("kept", "value".into()).await.unwrap();
        bucket.delete("deleted").await.unwrap();
        assert_eq!(bucket.take("taken").await.unwrap().as_deref(), Some(&b"value"[..]));
        assert_eq!((bucket.get("deleted").await.unwrap(), bucket.take("taken").await.unwrap()), (None, None));
        // A key that is set again before the marker of its deletion has expired is kept.
        bucket.delete("kept").await.unwrap();
        bucket.put("kept", "again".into()).await.unwrap();
    }
    for name in buckets {
        let stream = context.get_stream(format!("KV_{name}")).await.unwrap();
        eventually("the marks of what was deleted to end", || async {
            (stream.get_info().await.unwrap().state.messages == 1).then_some(())
        })
        .await;
        let bucket = Bucket::open(&client, name).await.unwrap();
        assert_eq!(bucket.get("kept").await.unwrap().unwrap().value, "again");
    }
}

#[tokio::test]
async fn nobody_deletes_or_purges_events() {
    let server = NatsServer::start().await;
    let log = server.log(1).await;
    append(&log, event(subject(), 1, Expect::Any)).await.unwrap();
    let context = async_nats::jetstream::new(server.client().await);
    let stream = context.get_stream(names::event_stream(0)).await.unwrap();
    assert!(stream.delete_message(1).await.is_err());
    assert!(stream.purge().await.is_err());
    assert_eq!(log.head(0).await.unwrap().last_seq, 1);
}

#[tokio::test]
async fn of_several_servers_one_that_answers_is_enough() {
    let server = NatsServer::start_with(Path::new(&settings("WAYBILL_TEST_NATS_CONFIG"))).await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for urls in [format!("nats://{nobody}, {}", server.url()), format!("{},nats://{nobody}", server.url())] {
        let (login, credentials_file, inbox_prefix) = (None, None, "_INBOX".to_owned());
        let client = Server { url: urls, name: "waybill-test", login, credentials_file, inbox_prefix };
        let client = client.connect().await.unwrap();
        client.flush().await.unwrap();
    }
}
