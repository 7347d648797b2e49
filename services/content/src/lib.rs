//! The content pipeline, a role of its own: it looks into files after they were verified. Untrusted bytes are processed
//! away from the roles that accept and store them, and slow steps do not delay the verification of other files.
//!
//! It scans files for viruses with clamd, makes previews of files that can be read, compresses and archives files, and has a content
//! delivery network forget deleted ones. Each step has a consumer of the events
//! that begin it, and each result is an event of the file. A search in the tables provides files that were verified before
//! their company had them scanned, and files whose scan is old. Processes of this role share the work and keep no state of
//! their own.

mod archiver;
pub mod backfill;
mod background;
pub mod clamd;
mod compressor;
mod config;
mod consumer;
mod context;
mod encoding;
mod failures;
mod location;
mod metrics;
mod moving;
mod new_files;
pub mod once;
mod overdue;
mod pace;
mod previews;
mod purges;
mod renderer;
mod replaced;
mod scan;
mod scanner;
mod search;
mod server;
mod settings;
mod share;
mod thaws;
mod turns;

pub use config::Config;
pub use purges::{PurgeHook, PurgeSettingsError};
pub use server::Server;
pub use settings::{ContentSettings, PreviewSettings, PurgeSettings};
