//! Tests of previews, and of the rights that a process gives up before it makes them.

#![expect(clippy::unwrap_used, reason = "a panic shows where a test failed")]

mod hostile;
mod location;
mod pictures;
mod sandbox;
