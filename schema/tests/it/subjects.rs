//! Tests that subjects, positions and envelopes can be written as text and read back.

use crate::samples;
use uuid::Uuid;
use waybill_schema::envelope::header;
use waybill_schema::*;

#[test]
fn every_subject_is_read_as_it_was_written() {
    let partitions = Partitions::new(16).unwrap();
    let company = samples::company();
    let id = samples::upload();
    for aggregate in [
        Entity::UploadLifecycle(id),
        Entity::UploadChunks(id),
        Entity::File(id),
        Entity::Session(SessionId(id.0)),
        Entity::Quota,
        Entity::Share(ShareId(id.0)),
        Entity::Token(TokenId(id.0)),
        Entity::TokenDownloads(TokenId(id.0)),
        Entity::Content(Sha256Digest([0xa1; 32])),
        Entity::Directory,
    ] {
        let subject = Subject::new(company, aggregate);
        let text = subject.to_nats(partitions);
        assert_eq!(Subject::parse(&text), Ok(subject), "{text}");
    }
}

#[test]
fn what_is_no_subject_is_refused() {
    for text in
        ["", "evt", "evt.0", "evt.x.y.quota", "foo.0.bar.quota", "evt.0.018f2e5c-0000-7000-8000-000000000001.nothing"]
    {
        assert!(Subject::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_company_stays_in_its_partition() {
    // FNV-1a (32 bit) of the text of the id, modulo the count. Other programs compute it too.
    let company: CompanyId = "11f927c7-e1c4-429c-9b52-4707ba54fabc".parse().unwrap();
    assert_eq!(Partitions::new(1).unwrap().of(company), 0);
    let expected = company
        .to_string()
        .bytes()
        .fold(2_166_136_261_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619));
    assert_eq!(Partitions::new(16).unwrap().of(company), expected % 16);
}

#[test]
fn an_envelope_survives_its_headers() {
    let (_, event) = samples::all().remove(0);
    let envelope = Envelope {
        time: Timestamp(1_764_000_000_123),
        actor: Actor::User(UserId(Uuid::from_u128(7))),
        causation: Causation::Event(Position { partition: 3, seq: 99 }),
        address: Some([192, 0, 2, 7].into()),
        routing: Routing {
            session_id: Some(SessionId(Uuid::from_u128(8))),
            chatroom_id: None,
            thread_id: Some(ThreadId(Uuid::from_u128(9))),
            uploaded_by: Some(UserId(Uuid::from_u128(7))),
        },
    };
    let headers = envelope.to_headers(&event);
    let position = Position { partition: 3, seq: 100 };
    let subject = Subject::new(samples::company(), Entity::UploadLifecycle(samples::upload()));
    let text = subject.to_nats(Partitions::new(4).unwrap());
    let body = event.encode().unwrap();
    let read = |name| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
    let recorded = Recorded::decode(position, &text, read, &body).unwrap();
    assert_eq!(recorded, Recorded { position, subject, envelope, event });

    let without_time = |name| if name == header::TIME { None } else { read(name) };
    assert_eq!(Recorded::decode(position, &text, without_time, &body), Err(DecodeError::Header(header::TIME)));
}
