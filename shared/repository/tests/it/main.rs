//! Tests of aggregates on a log in memory that counts its reads.

#![expect(clippy::unwrap_used, reason = "a panic shows where a test failed")]

mod counted;
mod directories;
mod quotas;
mod snapshot_shapes;
mod snapshots;
