//! Aggregates on a log in memory, whose reads are counted.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod counted;
mod directories;
mod snapshots;
