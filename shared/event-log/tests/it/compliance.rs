//! The suite of tests that every log must pass.

use crate::given::{Log, event, subject};
use futures_util::StreamExt;
use waybill_event_log::faults::Fault;
use waybill_event_log::{AppendError, Expect, ReadError, append, read_events};
use waybill_schema::events::{QuotaEvent, QuotaLimitSet};
use waybill_schema::{CompanyId, Entity, Event, Position, Recorded, Subject};

async fn all(log: &Log, subject: Subject) -> Vec<Recorded> {
    read_events(log.log.as_ref(), subject, 0).await.unwrap()
}

fn bytes_of(events: &[Recorded]) -> Vec<u64> {
    let bytes = |event: &Event| match event {
        Event::Quota(QuotaEvent::QuotaLimitSet(QuotaLimitSet { storage_limit_bytes, .. })) => *storage_limit_bytes,
        other => panic!("{other:?}"),
    };
    events.iter().map(|recorded| bytes(&recorded.event)).collect()
}

pub(crate) async fn an_event_is_read_as_it_was_appended(log: &Log) {
    let subject = subject();
    let new = event(subject, 1, Expect::LastSeq(0));
    let position = append(log.log.as_ref(), new.clone()).await.unwrap();
    let read = all(log, subject).await;
    assert_eq!(read, [Recorded { position, subject, envelope: new.envelope, event: new.event }]);
}

pub(crate) async fn an_expectation_that_does_not_hold_is_a_conflict(log: &Log) {
    let subject = subject();
    let first = append(log.log.as_ref(), event(subject, 1, Expect::LastSeq(0))).await.unwrap();
    let stale = append(log.log.as_ref(), event(subject, 2, Expect::LastSeq(0))).await;
    assert_eq!(stale, Err(AppendError::Conflict));
    append(log.log.as_ref(), event(subject, 3, Expect::LastSeq(first.seq))).await.unwrap();
    assert_eq!(bytes_of(&all(log, subject).await), [1, 3]);
}

pub(crate) async fn expectations_are_per_subject(log: &Log) {
    let one = subject();
    let upload = uuid_of(one.company);
    let other = Subject::new(one.company, Entity::File(upload));
    append(log.log.as_ref(), event(one, 1, Expect::LastSeq(0))).await.unwrap();
    append(log.log.as_ref(), event(other, 2, Expect::LastSeq(0))).await.unwrap();
    assert_eq!(bytes_of(&all(log, one).await), [1]);
    assert_eq!(bytes_of(&all(log, other).await), [2]);
}

fn uuid_of(company: CompanyId) -> waybill_schema::UploadId {
    waybill_schema::UploadId(company.0)
}

pub(crate) async fn of_many_appends_with_one_expectation_one_goes_through(log: &Log) {
    let subject = subject();
    let appends = (0..20).map(|n| append(log.log.as_ref(), event(subject, n, Expect::LastSeq(0))));
    let outcomes = futures_util::future::join_all(appends).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(_) | Err(AppendError::Conflict))), "{outcomes:?}");
    assert_eq!(all(log, subject).await.len(), 1);
}

pub(crate) async fn the_same_message_id_is_one_event(log: &Log) {
    let subject = subject();
    let mut fact = event(subject, 1, Expect::Any);
    fact.message_id = Some(format!("fact:{}", subject.company));
    let first = append(log.log.as_ref(), fact.clone()).await.unwrap();
    assert_eq!(append(log.log.as_ref(), fact).await, Ok(first));
    assert_eq!(all(log, subject).await.len(), 1);
}

pub(crate) async fn a_lost_acknowledgement_is_looked_up(log: &Log) {
    let subject = subject();
    let faulty = log.with_faults([Fault::AckLost]);
    let position = append(faulty.as_ref(), event(subject, 1, Expect::LastSeq(0))).await.unwrap();
    let read = all(log, subject).await;
    assert_eq!((read.len(), read[0].position), (1, position));
}

pub(crate) async fn an_error_for_an_event_that_was_stored_is_looked_up(log: &Log) {
    let subject = subject();
    let faulty = log.with_faults([Fault::StoredAndRefused]);
    let position = append(faulty.as_ref(), event(subject, 1, Expect::LastSeq(0))).await.unwrap();
    assert_eq!(all(log, subject).await.iter().map(|read| read.position).collect::<Vec<_>>(), [position]);
    // An event of another append must not be mistaken for this one.
    let faulty = log.with_faults([Fault::Refused]);
    let outcome = append(faulty.as_ref(), event(subject, 2, Expect::LastSeq(0))).await;
    assert_eq!(outcome, Err(AppendError::Conflict));
}

pub(crate) async fn a_dropped_append_is_repeated(log: &Log) {
    let subject = subject();
    let faulty = log.with_faults([Fault::Dropped, Fault::Dropped]);
    append(faulty.as_ref(), event(subject, 1, Expect::LastSeq(0))).await.unwrap();
    assert_eq!(bytes_of(&all(log, subject).await), [1]);
}

pub(crate) async fn a_lost_acknowledgement_with_a_rival_is_a_conflict(log: &Log) {
    let subject = subject();
    append(log.log.as_ref(), event(subject, 1, Expect::LastSeq(0))).await.unwrap();
    // This append was lost, and another one succeeded. It must not be mistaken for this one.
    let faulty = log.with_faults([Fault::Dropped]);
    let outcome = append(faulty.as_ref(), event(subject, 2, Expect::LastSeq(0))).await;
    assert_eq!(outcome, Err(AppendError::Conflict));
    assert_eq!(bytes_of(&all(log, subject).await), [1]);
}

pub(crate) async fn a_refusal_is_repeated_and_then_passed_on(log: &Log) {
    let subject = subject();
    let faulty = log.with_faults([Fault::Refused, Fault::Refused]);
    append(faulty.as_ref(), event(subject, 1, Expect::LastSeq(0))).await.unwrap();
    let faulty = log.with_faults([Fault::Refused; 4]);
    let outcome = append(faulty.as_ref(), event(subject, 2, Expect::Any)).await;
    assert!(matches!(outcome, Err(AppendError::Unavailable(_))), "{outcome:?}");
    // After a lost answer the result stays unknown, even if later attempts are refused, because the event may be
    // stored.
    let faulty = log.with_faults([Fault::Dropped, Fault::Refused, Fault::Refused, Fault::Refused]);
    let outcome = append(faulty.as_ref(), event(subject, 3, Expect::Any)).await;
    assert!(matches!(outcome, Err(AppendError::Unknown(_))), "{outcome:?}");
    assert_eq!(bytes_of(&all(log, subject).await), [1]);
}

pub(crate) async fn a_fact_survives_lost_acknowledgements(log: &Log) {
    let subject = subject();
    let faulty = log.with_faults([Fault::AckLost, Fault::AckLost, Fault::Dropped]);
    append(faulty.as_ref(), event(subject, 1, Expect::Any)).await.unwrap();
    assert_eq!(bytes_of(&all(log, subject).await), [1]);
}

pub(crate) async fn pages_are_in_order_and_say_whether_there_is_more(log: &Log) {
    let subject = subject();
    for n in 0..25 {
        append(log.log.as_ref(), event(subject, n, Expect::Any)).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut after = 0;
    loop {
        let page = log.log.page(subject, after, 10).await.unwrap();
        seen.extend(page.messages.iter().map(|stored| stored.event.clone().unwrap()));
        after = page.messages.last().map_or(after, |stored| stored.position.seq);
        if !page.more {
            break;
        }
        assert_eq!(page.messages.len(), 10);
    }
    assert_eq!(bytes_of(&seen), (0..25).collect::<Vec<_>>());
    assert!(log.log.page(subject, after, 10).await.unwrap().messages.is_empty());
}

/// Appends events of one subject, and after each of them an event of another subject of the partition.
async fn append_apart(log: &Log, subject: Subject, numbers: std::ops::Range<u64>, expected: bool) {
    let other = Subject::new(subject.company, Entity::File(uuid_of(subject.company)));
    let mut last = log.log.last(subject).await.unwrap().map_or(0, |last| last.position.seq);
    for n in numbers {
        let expect = if expected { Expect::LastSeq(last) } else { Expect::Any };
        last = append(log.log.as_ref(), event(subject, n, expect)).await.unwrap().seq;
        append(log.log.as_ref(), event(other, 99, Expect::Any)).await.unwrap();
    }
}

pub(crate) async fn events_that_lie_far_apart_are_read_in_order(log: &Log) {
    // There are more events than are read one by one, and some do not name the previous event.
    for (first, then) in [(true, true), (true, false), (false, true), (false, false)] {
        let subject = subject();
        append_apart(log, subject, 0..40, first).await;
        append_apart(log, subject, 40..110, then).await;
        let read = all(log, subject).await;
        assert_eq!(bytes_of(&read), (0..110).collect::<Vec<_>>());
        for after in [0, 1, 39, 40, 60, 108, 109] {
            let later = read_events(log.log.as_ref(), subject, read[after].position.seq).await.unwrap();
            assert_eq!(bytes_of(&later), (after as u64 + 1..110).collect::<Vec<_>>(), "after {after}");
        }
    }
}

pub(crate) async fn an_event_that_is_not_there_any_more_is_noticed(log: &Log) {
    let subject = subject();
    append_apart(log, subject, 0..3, true).await;
    let last = log.log.last(subject).await.unwrap().unwrap().position;
    let diverged = async |after| {
        let read = read_events(log.log.as_ref(), subject, after).await;
        matches!(read, Err(ReadError::Diverged { seq, .. }) if seq == after)
    };
    assert!(diverged(last.seq + 1).await, "the stream ends before this sequence");
    assert!(diverged(last.seq - 1).await, "the sequence belongs to another subject");
    assert!(read_events(log.log.as_ref(), self::subject(), 1).await.is_err(), "the subject has no events");
    assert_eq!(read_events(log.log.as_ref(), subject, last.seq).await, Ok(vec![]));
}

pub(crate) async fn a_message_is_found_at_its_position(log: &Log) {
    let subject = subject();
    append_apart(log, subject, 0..2, true).await;
    let [first, second] = all(log, subject).await.try_into().unwrap();
    let found = log.log.at(second.position).await.unwrap().unwrap();
    assert_eq!((found.previous, found.into_event()), (Some(first.position.seq), Ok(second.clone())));
    assert_eq!(log.log.last(subject).await.unwrap().unwrap().into_event(), Ok(second.clone()));
    let beyond = Position { seq: second.position.seq + 100, ..second.position };
    assert_eq!(log.log.at(beyond).await, Ok(None));
    assert_eq!(log.log.last(self::subject()).await, Ok(None));
}

pub(crate) async fn a_subscription_gets_what_is_there_and_what_comes(log: &Log) {
    let subject = subject();
    for n in 0..3 {
        append(log.log.as_ref(), event(subject, n, Expect::Any)).await.unwrap();
    }
    let partition = log.partition_of(subject);
    let first = all(log, subject).await[0].position.seq;
    let mut events = log.log.subscribe(partition, first).await.unwrap();
    for n in 3..5 {
        append(log.log.as_ref(), event(subject, n, Expect::Any)).await.unwrap();
    }
    let mut seen = Vec::new();
    while seen.len() < 4 {
        seen.push(events.next().await.unwrap().unwrap().event.unwrap());
    }
    assert_eq!(bytes_of(&seen), [1, 2, 3, 4]);
    assert!(seen.windows(2).all(|pair| pair[0].position < pair[1].position));
}

pub(crate) async fn the_head_is_the_last_event(log: &Log) {
    let subject = subject();
    let partition = log.partition_of(subject);
    let before = log.log.head(partition).await.unwrap();
    let position = append(log.log.as_ref(), event(subject, 1, Expect::Any)).await.unwrap();
    let after = log.log.head(partition).await.unwrap();
    assert_eq!((after.epoch, after.last_seq), (before.epoch, position.seq));
}
