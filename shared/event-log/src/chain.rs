//! A chain over the events of a company, as they are stored: whoever keeps its head can tell later whether any of them
//! was changed, removed, moved, or cut off (as in RFC 9162, but a chain in place of a tree: it is read as a whole).
//!
//! `chain(0) = SHA-256("waybill audit 1" ‖ company)`, `chain(n) = SHA-256(chain(n-1) ‖ position ‖ subject ‖ headers ‖
//! body)`, each field with its length before it, headers by name.

use sha2::{Digest, Sha256};
use waybill_schema::{CompanyId, DecodeError, Position, Recorded, Sha256Digest};

/// A message as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawMessage {
    /// Where it stands.
    pub position: Position,
    /// Its subject.
    pub subject: String,
    /// Those headers that are the event's envelope, by name.
    pub headers: Vec<(String, String)>,
    /// The event.
    pub body: Vec<u8>,
}

impl RawMessage {
    /// The event in it.
    ///
    /// # Errors
    /// [`DecodeError`] where this build cannot read it.
    pub fn decode(&self) -> Result<Recorded, DecodeError> {
        let header = |name: &str| self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        Recorded::decode(self.position, &self.subject, header, &self.body)
    }
}

/// The chain up to some event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Of how many events.
    pub events: u64,
    /// Where the last one of them stands.
    pub position: Option<Position>,
    /// What all of them come to.
    pub digest: Sha256Digest,
}

impl Chain {
    /// The chain of no event.
    pub fn of(company: CompanyId) -> Self {
        let mut sha256 = Sha256::new();
        field(&mut sha256, b"waybill audit 1");
        field(&mut sha256, company.0.as_bytes());
        Self { events: 0, position: None, digest: Sha256Digest(sha256.finalize().into()) }
    }

    /// The chain with one more event.
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

/// Each field with its length, so that no two lists of fields are alike.
fn field(sha256: &mut Sha256, bytes: &[u8]) {
    sha256.update((bytes.len() as u64).to_be_bytes());
    sha256.update(bytes);
}

/// The end of a chain, as it is signed.
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
