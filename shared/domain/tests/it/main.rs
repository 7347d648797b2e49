//! Tests of the rules, with examples (given, when, then) and with properties.

#![expect(clippy::unwrap_used, reason = "a panic shows where a test failed")]

mod access;
mod content;
mod directory;
mod file;
mod given;
mod limits;
mod names;
mod preview;
mod progress;
mod quota;
mod quota_properties;
mod reaction;
mod scan;
mod session;
mod share;
mod token;
mod upload;
mod upload_pieces;
mod upload_properties;
mod upload_samples;
