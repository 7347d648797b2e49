//! Real servers for tests. `scripts/test` starts PostgreSQL and the S3 store and says where they are; each test makes a
//! database and a bucket of its own there, and starts a nats-server of its own, so that no test depends on another.

#![expect(clippy::expect_used, reason = "a test that cannot get its servers ends with the reason")]

mod database;
mod nats;
mod signal;
mod store;
mod wait;

pub use database::TestDatabase;
pub use nats::NatsServer;
pub use signal::signal;
pub use store::TestBucket;
pub use wait::{eventually, eventually_within, settings};
