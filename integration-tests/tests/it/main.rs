//! What users rely on, on real NATS, PostgreSQL and S3.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

mod access;
mod attacks;
mod audit;
mod chunks;
mod command_line;
mod commands;
mod deaths;
mod direct;
mod directory;
mod draft_clauses;
mod end_to_end;
mod files;
mod idempotency;
mod interrupted;
mod keys;
mod known_failures;
mod leaks;
mod life;
mod limits;
mod matrix;
mod model;
mod parked;
mod patches;
mod plans;
mod progress;
mod quota;
mod random;
mod real_clients;
mod replay;
mod rivals;
mod round_trip;
mod secure;
mod sessions;
mod sharing;
mod shutdown;
mod socket;
mod speaker;
mod takeover;
mod threats;
mod tokens;
mod tus_clauses;
mod verification;
