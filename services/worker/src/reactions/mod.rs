//! Reactions: the work that a worker does because of events. NATS delivers each event of a partition to a worker, and
//! again until a worker has acknowledged it. Every step of a reaction can be repeated without harm.

mod awaited;
mod cleanup;
mod complete;
mod concatenate;
mod consumer;
mod content;
mod delivery;
mod dispatch;
mod error;
mod failures;
mod look;
mod places;
mod quarantine;
mod sessions;
mod upload_steps;
mod verify;

pub(crate) use awaited::Awaited;
pub(crate) use consumer::run;
pub(crate) use dispatch::react;
pub(crate) use error::ReactionError;
pub(crate) use failures::{Failures, waiting};
pub(crate) use look::look_for_objects;
pub(crate) use places::LONG;
pub(crate) use quarantine::{check_parts, clear};
pub(crate) use sessions::cancel;
pub(crate) use upload_steps::advance;
