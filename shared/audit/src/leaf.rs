//! The leaf of an event in the tree of its company: the hash of exactly what the event log stores.
//!
//! The encoding is `"waybill event 1" ‖ position ‖ subject ‖ number of headers ‖ name and value of each header ‖ body`. The
//! length of each text precedes it. Lengths and the number are 8 bytes, big-endian. The position is written
//! `partition:sequence`. The headers are those of the envelope (`Waybill-…`), sorted by name; the other headers, such as
//! the message id, are instructions for the server and say nothing about the event.

use crate::tree;
use waybill_event_log::RawMessage;
use waybill_schema::Sha256Digest;

/// Returns the hash of the leaf of a stored message.
pub fn leaf(message: &RawMessage) -> Sha256Digest {
    let mut bytes = Vec::with_capacity(message.body.len() + 512);
    field(&mut bytes, b"waybill event 1");
    field(&mut bytes, message.position.to_string().as_bytes());
    field(&mut bytes, message.subject.as_bytes());
    bytes.extend((message.headers.len() as u64).to_be_bytes());
    for (name, value) in &message.headers {
        field(&mut bytes, name.as_bytes());
        field(&mut bytes, value.as_bytes());
    }
    field(&mut bytes, &message.body);
    tree::leaf_hash(&bytes)
}

/// Adds a field after its length, so that different lists of fields never have the same encoding.
fn field(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend((field.len() as u64).to_be_bytes());
    bytes.extend(field);
}

#[cfg(test)]
mod tests {
    use super::*;
    use waybill_schema::Position;

    #[test]
    fn every_part_of_a_stored_message_changes_its_leaf() {
        let message = RawMessage {
            position: Position { partition: 0, seq: 7 },
            subject: "evt".to_owned(),
            headers: vec![("Waybill-Actor".to_owned(), "user:a".to_owned())],
            body: vec![1, 2],
        };
        assert_eq!(leaf(&message).to_string(), "f9fb964c7d015baff64824cda7a22de8333eeeb02d50f862c1a0e238b6576d66");
        for change in [
            |message: &mut RawMessage| message.body.push(0),
            |message: &mut RawMessage| message.subject.push('x'),
            |message: &mut RawMessage| message.headers[0].1.push('x'),
            |message: &mut RawMessage| message.headers.clear(),
            |message: &mut RawMessage| message.position.partition = 1,
            |message: &mut RawMessage| message.position.seq = 8,
        ] {
            let mut changed = message.clone();
            change(&mut changed);
            assert_ne!(leaf(&changed), leaf(&message), "{changed:?}");
        }
    }
}
