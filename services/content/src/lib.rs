//! The content pipeline, a role of its own: it looks into files after they were verified. Untrusted bytes are processed
//! away from the roles that accept and store them, and slow steps do not delay the verification of other files.
//!
//! At present it scans files for viruses with clamd. A consumer of verified files provides new files; a search in the
//! tables provides files that were verified before their company had them scanned, and files whose scan is old. Each
//! result is an event of the file. Processes of this role share the work and keep no state of their own.

pub mod clamd;
mod config;
mod consumer;
mod content;
mod failures;
mod metrics;
pub mod once;
mod scan;
mod search;
mod server;
mod settings;

pub use config::Config;
pub use server::Server;
pub use settings::ContentSettings;
