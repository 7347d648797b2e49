//! A hash chain over the stored events of a company. With a saved head of the chain one can later detect changed,
//! removed, moved or truncated events. RFC 9162 does the same with a tree; here a chain is enough, because it is always
//! read completely.
//!
//! `chain(0) = SHA-256("waybill audit 1" ‖ company)`, `chain(n) = SHA-256(chain(n-1) ‖ position ‖ subject ‖ headers ‖
//! body)`. The length of each field precedes it. The headers are sorted by name.

use sha2::{Digest, Sha256};
use waybill_schema::{CompanyId, DecodeError, Position, Recorded, Sha256Digest};

/// Stored message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawMessage {
    /// Position in the log.
    pub position: Position,
    /// Subject.
    pub subject: String,
    /// Headers of the envelope, sorted by name.
    pub headers: Vec<(String, String)>,
    /// Encoded event.
    pub body: Vec<u8>,
}

impl RawMessage {
    /// Decodes the event.
    ///
    /// # Errors
    /// [`DecodeError`] if this build cannot read the event.
    pub fn decode(&self) -> Result<Recorded, DecodeError> {
        let header = |name: &str| self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        Recorded::decode(self.position, &self.subject, header, &self.body)
    }
}

/// Hash chain up to an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Number of events.
    pub events: u64,
    /// Position of the last event.
    pub position: Option<Position>,
    /// Digest of the chain.
    pub digest: Sha256Digest,
}

impl Chain {
    /// Returns the chain of a company without events.
    pub fn of(company: CompanyId) -> Self {
        let mut sha256 = Sha256::new();
        field(&mut sha256, b"waybill audit 1");
        field(&mut sha256, company.0.as_bytes());
        Self { events: 0, position: None, digest: Sha256Digest(sha256.finalize().into()) }
    }

    /// Adds an event.
    pub fn link(&mut self, message: &RawMessage) {
        let mut sha256 = Sha256::new();
        field(&mut sha256, &self.digest.0);
        field(&mut sha256, message.position.to_string().as_bytes());
        field(&mut sha256, message.subject.as_bytes());
        sha256.update((message.headers.len() as u64).to_be_bytes());
        for (name, value) in &message.headers {
            field(&mut sha256, name.as_bytes());
            field(&mut sha256, value.as_bytes());
        }
        field(&mut sha256, &message.body);
        self.digest = Sha256Digest(sha256.finalize().into());
        self.events += 1;
        self.position = Some(message.position);
    }
}

/// Hashes a field after its length, so that different lists of fields never hash the same bytes.
fn field(sha256: &mut Sha256, bytes: &[u8]) {
    sha256.update((bytes.len() as u64).to_be_bytes());
    sha256.update(bytes);
}

/// Returns the text that is signed for the head of a chain.
pub fn signed_text(company: CompanyId, chain: &Chain, time: &str) -> String {
    let position = chain.position.map(|position| position.to_string()).unwrap_or_default();
    format!("waybill audit head 1\n{company}\n{}\n{position}\n{}\n{time}\n", chain.events, chain.digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn message(seq: u64) -> RawMessage {
        RawMessage {
            position: Position { partition: 0, seq },
            subject: "evt".to_owned(),
            headers: vec![("Waybill-Actor".to_owned(), "user:a".to_owned())],
            body: vec![1, 2],
        }
    }

    fn digest(messages: &[RawMessage]) -> Sha256Digest {
        let mut chain = Chain::of(CompanyId(Uuid::nil()));
        messages.iter().for_each(|message| chain.link(message));
        chain.digest
    }

    #[test]
    fn every_bit_counts_and_so_does_the_order() {
        let good = [message(1), message(2), message(3)];
        let mut others =
            vec![vec![message(1), message(3)], vec![message(2), message(1), message(3)], vec![message(1), message(2)]];
        for change in [
            |message: &mut RawMessage| message.body.push(0),
            |message: &mut RawMessage| message.subject.push('x'),
            |message: &mut RawMessage| message.headers[0].1.push('x'),
            |message: &mut RawMessage| message.headers.clear(),
            |message: &mut RawMessage| message.position.partition = 1,
        ] {
            let mut changed = good.clone();
            change(&mut changed[1]);
            others.push(changed.to_vec());
        }
        for other in others {
            assert_ne!(digest(&other), digest(&good), "{other:?}");
        }
        assert_ne!(Chain::of(CompanyId(Uuid::nil())), Chain::of(CompanyId(Uuid::max())));
    }
}
