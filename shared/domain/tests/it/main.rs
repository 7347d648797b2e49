//! The rules, as given/when/then and as properties.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod content;
mod directory;
mod file;
mod given;
mod limits;
mod names;
mod progress;
mod quota;
mod quota_properties;
mod session;
mod share;
mod token;
mod upload;
mod upload_properties;
