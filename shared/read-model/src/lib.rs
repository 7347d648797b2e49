//! The read model in PostgreSQL: its tables, the writes of projections, and queries.
//!
//! [`rows`] loads and upserts whole rows in batches. [`queries`] has the queries.

pub mod alive;
pub mod blocks;
pub mod bulk;
mod database;
mod digest;
mod error;
pub mod ids;
pub mod locks;
pub mod projection;
pub mod queries;
pub mod rows;
mod schema;
mod statement;
pub mod statistics;
pub mod swap;
mod users;

pub use database::{Connection, Database, DatabaseConfig, Inspection, SchemaName, SchemaNameError};
pub use digest::{TableDigest, digests};
pub use error::ReadModelError;
pub use users::{DatabaseUser, Rights};

/// The migrations of the read model.
pub const MIGRATIONS: diesel_migrations::EmbeddedMigrations = diesel_migrations::embed_migrations!("../../migrations");
