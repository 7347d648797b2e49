//! What users rely on, on real NATS, PostgreSQL and S3.

mod access;
mod audit;
mod chunks;
mod files;
mod idempotency;
mod interrupted;
mod limits;
mod progress;
mod quota;
mod random;
mod replay;
mod round_trip;
mod sessions;
mod verification;
