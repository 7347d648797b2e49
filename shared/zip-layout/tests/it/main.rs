//! Tests of layouts against readers of zip archives, and of safe names.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic shows where a test failed")]

mod bytes_of_records;
mod large;
mod many;
mod names;
mod ranges;
mod support;
