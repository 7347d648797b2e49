//! The application layer: what the routes of all protocols do with uploads, files, tokens and companies. It knows no
//! route.

pub(crate) mod access;
pub(crate) mod administration;
pub(crate) mod append_order;
pub(crate) mod archives;
pub(crate) mod at_once;
pub(crate) mod audit_heads;
mod bandwidth;
pub(crate) mod completion_wait;
pub(crate) mod content;
pub(crate) mod files;
pub(crate) mod gateway;
pub(crate) mod growing;
pub(crate) mod head_key;
pub(crate) mod idempotency;
pub(crate) mod key_budget;
pub(crate) mod last_reads;
pub(crate) mod links;
pub(crate) mod media;
pub(crate) mod plain;
pub(crate) mod quota_reservation;
pub(crate) mod read_your_writes;
pub(crate) mod reads;
pub(crate) mod registration;
pub(crate) mod replica;
pub(crate) mod rows;
pub(crate) mod sealing;
pub(crate) mod searches;
pub(crate) mod sessions;
pub(crate) mod shares;
pub(crate) mod shown;
pub(crate) mod small_bodies;
pub(crate) mod takeover;
pub(crate) mod tokens;
pub(crate) mod trail;
pub(crate) mod uploads;
pub(crate) mod variants;
