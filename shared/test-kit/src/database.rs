//! A PostgreSQL database for one test.

use crate::wait::settings;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use uuid::Uuid;
use waybill_read_model::{Database, DatabaseConfig};

/// An empty database. [`TestDatabase::drop_it`] removes it; `scripts/test` removes all databases at the end.
pub struct TestDatabase {
    name: String,
    url: String,
}

impl TestDatabase {
    /// Creates a database.
    ///
    /// # Panics
    /// Panics if PostgreSQL does not answer.
    pub async fn create() -> Self {
        let name = format!("test_{}", Uuid::now_v7().simple());
        execute(&format!("CREATE DATABASE {name}")).await;
        let server = settings("WAYBILL_TEST_DATABASE_URL");
        let (base, _) = server.rsplit_once('/').expect("the URL names a database");
        Self { url: format!("{base}/{name}"), name }
    }

    /// Returns the URL of the database.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the read models in the schema `schema` of the database.
    ///
    /// # Panics
    /// Panics if `schema` is not a valid schema name.
    pub fn database(&self, schema: &str) -> Database {
        let schema = schema.parse().expect("a valid schema name");
        Database::new(DatabaseConfig { url: self.url.clone(), schema, pool_size: 4 }).expect("a pool can be created")
    }

    /// Removes the database, even if clients are connected to it.
    pub async fn drop_it(self) {
        execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }
}

async fn execute(sql: &str) {
    let url = settings("WAYBILL_TEST_DATABASE_URL");
    let mut connection = AsyncPgConnection::establish(&url).await.expect("the test PostgreSQL answers");
    connection.batch_execute(sql).await.expect("the statement is accepted");
}
