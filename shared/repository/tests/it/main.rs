//! Aggregates on a log in memory, whose reads are counted.

mod counted;
mod directories;
mod snapshots;
