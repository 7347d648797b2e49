//! Real servers for tests. `scripts/test` starts PostgreSQL and the S3 store and passes their addresses in environment
//! variables. Each test creates its own database and bucket there and starts its own nats-server and clamd, so that no test
//! depends on another.

#![expect(clippy::expect_used, reason = "a test whose servers do not start fails with the reason")]

mod clamd;
mod database;
mod moto;
mod nats;
mod signal;
mod standby;
mod store;
mod wait;

pub use clamd::{ClamdServer, MARKER, eicar};
pub use database::{METADATA_KEYS, TestDatabase};
pub use moto::MotoServer;
pub use nats::{NatsServer, nats_password};
pub use signal::signal;
pub use standby::StandbyServer;
pub use store::TestBucket;
pub use wait::{eventually, eventually_within, settings};
