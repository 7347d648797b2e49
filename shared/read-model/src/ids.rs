//! Ids of rows that have no id of their own in the events.

use uuid::Uuid;
use waybill_schema::{CompanyId, Place, UserId};

/// Namespace of the ids.
pub const NAMESPACE: Uuid = Uuid::from_u128(0x6f1c_1b1e_9d1a_5c39_8a52_1f0d_57aa_b111);

/// Returns the id of a membership. It stays the same if the membership ends and begins again.
pub fn id_of_member(company: CompanyId, place: Place, user: UserId) -> Uuid {
    let place = match place {
        Place::Chatroom(id) => format!("chatroom:{id}"),
        Place::Thread(id) => format!("thread:{id}"),
    };
    Uuid::new_v5(&NAMESPACE, format!("member:{company}:{place}:{user}").as_bytes())
}
