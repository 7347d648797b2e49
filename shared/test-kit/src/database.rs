//! A PostgreSQL database for one test.

use crate::wait::settings;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use uuid::Uuid;
use waybill_read_model::{Database, DatabaseConfig, DatabaseUser, Rights};

/// User of gateways, workers and fan-outs.
const READER: &str = "waybill_test_reader";

/// User of projectors and of all roles together.
const WRITER: &str = "waybill_test_writer";

/// Metadata keys by which files are found in tests.
pub const METADATA_KEYS: &str = "case_no,project";

/// Password of both users.
const PASSWORD: &str = "waybill";

/// Key of the advisory lock of tests that create the users.
const USERS: i64 = 0x7761_7962;

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

    /// Creates the tables in the schema `schema`, and the users of the roles. A user can use the tables, but not create,
    /// change or drop them.
    ///
    /// # Panics
    /// Panics if PostgreSQL refuses it.
    pub async fn prepare(&self, schema: &str) {
        let roles = [READER, WRITER].map(|name| {
            format!(
                "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{name}') \
                 THEN CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'; END IF; END $$;"
            )
        });
        // The statements are one transaction. The users belong to all databases of the server.
        execute(&format!("SELECT pg_advisory_xact_lock({USERS}); {}", roles.concat())).await;
        let database = self.database(schema);
        database.migrate().await.expect("the tables can be created");
        for (name, rights) in [(READER, Rights::Read), (WRITER, Rights::Write)] {
            let user = DatabaseUser { name: name.parse().expect("a valid name"), password: None, rights };
            database.admit(&user).await.expect("rights can be granted");
        }
    }

    /// Returns the URL of the database for a user with these rights.
    ///
    /// # Panics
    /// Panics if the URL has no user.
    pub fn url_for(&self, rights: Rights) -> String {
        let (scheme, rest) = self.url.split_once("://").expect("a URL has a scheme");
        let (_, host) = rest.rsplit_once('@').expect("the URL names a user");
        let user = match rights {
            Rights::Read => READER,
            Rights::Write => WRITER,
        };
        format!("{scheme}://{user}:{PASSWORD}@{host}")
    }

    /// Returns the read models in the schema `schema` of the database.
    ///
    /// # Panics
    /// Panics if `schema` is not a valid schema name.
    pub fn database(&self, schema: &str) -> Database {
        let schema = schema.parse().expect("a valid schema name");
        let metadata_keys = METADATA_KEYS.parse().expect("valid keys");
        let config = DatabaseConfig { url: self.url.clone(), schema, pool_size: 4, metadata_keys };
        Database::new(config).expect("a pool can be created")
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
