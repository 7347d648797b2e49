//! The keys under which events are looked up: of the object that they are about, and of the row with their positions.

use waybill_event_log::Stored;
use waybill_read_model::blocks::block_of;
use waybill_read_model::rows::Key;
use waybill_schema::{Entity, Subject, names};

/// Returns the company of an event and the block of positions that contains it.
pub(super) fn block_of_event(stored: &Stored) -> Option<Key> {
    let company = match &stored.event {
        Ok(recorded) => recorded.subject.company,
        Err(_) => names::company_of(&stored.subject)?,
    };
    Some((company.0, block_of(stored.position.seq)))
}

/// Returns the key that events about the same object share. If one of them is parked, later ones are parked too.
pub(crate) fn aggregate_key(subject: &Subject) -> String {
    let company = subject.company;
    match subject.aggregate {
        Entity::UploadLifecycle(id) | Entity::UploadChunks(id) | Entity::File(id) => {
            format!("{company}.file.{id}")
        }
        Entity::TokenDownloads(id) => Subject::new(company, Entity::Token(id)).to_string(),
        _ => subject.to_string(),
    }
}
