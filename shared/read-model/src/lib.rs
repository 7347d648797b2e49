//! Postgres read models: the tables, how projections write them, and what is asked of them.
//!
//! Writing is by [`rows`]: whole rows, loaded and upserted in batches. Asking is by [`queries`], typed by diesel.

pub mod alive;
pub mod blocks;
pub mod bulk;
mod database;
mod digest;
mod error;
pub mod projection;
pub mod queries;
pub mod rows;
mod schema;
mod statement;
pub mod statistics;
pub mod swap;

pub use database::{Connection, Database, DatabaseConfig, Inspection, SchemaName, SchemaNameError};
pub use digest::{TableDigest, digests};
pub use error::ReadModelError;

/// The migrations of the read models.
pub const MIGRATIONS: diesel_migrations::EmbeddedMigrations = diesel_migrations::embed_migrations!("../../migrations");
