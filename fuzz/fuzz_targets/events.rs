//! Stored messages: the subject, the headers and the body of an event. A message that this build can read is the same
//! after it was written and read again. The target panics if a rebuild could change an event.
//!
//! The input is the subject, one header per line, an empty line, and the body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::str;
use waybill_schema::{Partitions, Position, Recorded};

const POSITION: Position = Position { partition: 0, seq: 1 };

fuzz_target!(|input: &[u8]| {
    let Some((head, body)) = split(input) else { return };
    let mut lines = head.lines();
    let subject = lines.next().unwrap_or_default();
    let headers: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(": ")).collect();
    let header = |name: &str| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    let Ok(recorded) = Recorded::decode(POSITION, subject, header, body) else { return };

    let headers = recorded.envelope.to_headers(&recorded.event);
    let header = |name: &str| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
    let body = recorded.event.encode().expect("an event can be encoded");
    let subject = recorded.subject.to_nats(Partitions::new(4).expect("4 partitions are allowed"));
    assert_eq!(Recorded::decode(POSITION, &subject, header, &body).as_ref(), Ok(&recorded));
});

/// Splits a message at the first empty line. Returns `None` if there is no such line, or if UTF-8 does not precede it.
fn split(input: &[u8]) -> Option<(&str, &[u8])> {
    let at = input.windows(2).position(|pair| pair == b"\n\n")?;
    Some((str::from_utf8(&input[..at]).ok()?, &input[at + 2..]))
}
