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
mod terms;
mod users;

use diesel::migration::MigrationSource;
use diesel::pg::Pg;
use std::sync::LazyLock;

pub use database::{Connection, Database, DatabaseConfig, Inspection, SchemaName, SchemaNameError};
pub use digest::{TableDigest, digests};
pub use error::ReadModelError;
pub use terms::{MetadataKeys, MetadataKeysError};
pub use users::{DatabaseUser, Rights};

/// The migrations of the read model.
pub const MIGRATIONS: diesel_migrations::EmbeddedMigrations = diesel_migrations::embed_migrations!("../../migrations");

/// Returns the version of the newest migration, which changes whenever a table does.
pub fn newest_migration() -> &'static str {
    static NEWEST: LazyLock<String> = LazyLock::new(|| {
        let migrations = MigrationSource::<Pg>::migrations(&MIGRATIONS).unwrap_or_default();
        let versions = migrations.iter().map(|migration| migration.name().version().to_string());
        versions.max().unwrap_or_default()
    });
    &NEWEST
}
