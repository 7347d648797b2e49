//! A database of one test.

use crate::wait::settings;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use uuid::Uuid;
use waybill_read_model::{Database, DatabaseConfig};

/// An empty database. [`TestDatabase::drop_it`] removes it; `scripts/test` throws all away in the end.
pub struct TestDatabase {
    name: String,
    url: String,
}

impl TestDatabase {
    /// Makes one.
    ///
    /// # Panics
    /// Where PostgreSQL does not answer.
    pub async fn create() -> Self {
        let name = format!("test_{}", Uuid::now_v7().simple());
        execute(&format!("CREATE DATABASE {name}")).await;
        let server = settings("WAYBILL_TEST_DATABASE_URL");
        let (base, _) = server.rsplit_once('/').expect("the URL names a database");
        Self { url: format!("{base}/{name}"), name }
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The read models in schema `schema` of it.
    ///
    /// # Panics
    /// Where the name is no schema name.
    pub fn database(&self, schema: &str) -> Database {
        let schema = schema.parse().expect("a valid schema name");
        Database::new(DatabaseConfig { url: self.url.clone(), schema, pool_size: 4 }).expect("a pool can be made")
    }

    /// Removes it, whoever is connected.
    pub async fn drop_it(self) {
        execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }
}

async fn execute(sql: &str) {
    let url = settings("WAYBILL_TEST_DATABASE_URL");
    let mut connection = AsyncPgConnection::establish(&url).await.expect("the test PostgreSQL answers");
    connection.batch_execute(sql).await.expect("the statement is accepted");
}
