//! Users of PostgreSQL for the roles. They can use the tables, but not create, change or drop them.

use crate::{Database, ReadModelError, SchemaName};
use diesel_async::SimpleAsyncConnection;
use futures_util::future::BoxFuture;

/// A user of PostgreSQL.
#[derive(Clone, Debug)]
pub struct DatabaseUser {
    /// Name of the user, which follows the rules for names of schemas.
    pub name: SchemaName,
    /// Password to set. The user is created if it does not exist. `None` for a user that exists.
    pub password: Option<String>,
    /// Rights of the user.
    pub rights: Rights,
}

/// Rights on the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Reads the tables, and registers running workers: gateways, workers and fan-outs.
    Read,
    /// Reads and writes the tables: projectors, and all roles in one process.
    Write,
}

impl Database {
    /// Grants a user the rights on all current and later tables of the schema. Must be called as the owner of the tables.
    ///
    /// # Errors
    /// [`ReadModelError`], for example if the user does not exist and has no password.
    pub fn admit<'a>(&'a self, user: &'a DatabaseUser) -> BoxFuture<'a, Result<(), ReadModelError>> {
        Box::pin(async move {
            let mut connection = self.connection().await?;
            let statements = statements(self.schema(), user);
            connection.batch_execute(&statements).await.map_err(ReadModelError::query("granting rights to a user"))
        })
    }
}

fn statements(schema: &SchemaName, user: &DatabaseUser) -> String {
    let name = &user.name;
    let created = user.password.as_ref().map_or_else(String::new, |password| {
        let password = quoted(password);
        // Another process can create the user at the same time.
        format!(
            "DO $$ BEGIN \
                 IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{name}') THEN CREATE ROLE {name} LOGIN; END IF; \
             EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$; \
             ALTER ROLE {name} LOGIN PASSWORD {password};"
        )
    });
    let (tables, functions) = match user.rights {
        Rights::Read => ("SELECT", String::new()),
        Rights::Write => (
            "SELECT, INSERT, UPDATE, DELETE",
            format!("GRANT EXECUTE ON FUNCTION {schema}.analyze_tables(regclass[]) TO {name}; "),
        ),
    };
    format!(
        "SELECT pg_advisory_xact_lock(hashtext('waybill migrations')); {created} {functions}GRANT USAGE ON SCHEMA {schema} TO {name}; \
         GRANT {tables} ON ALL TABLES IN SCHEMA {schema} TO {name}; \
         ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT {tables} ON TABLES TO {name}; \
         GRANT INSERT, UPDATE, DELETE ON {schema}.sweeper, {schema}.compressor, {schema}.file_read TO {name}; \
         REVOKE INSERT, UPDATE, DELETE ON {schema}.__diesel_schema_migrations FROM {name}"
    )
}

/// Quotes a text. A backslash needs no other escape, because `standard_conforming_strings` is on by default.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_cannot_end_its_quotes() {
        let password = Some("c' SUPERUSER --".to_owned());
        let user = DatabaseUser { name: "reader".parse().unwrap(), password, rights: Rights::Read };
        let text = statements(&"waybill".parse().unwrap(), &user);
        assert!(text.contains("PASSWORD 'c'' SUPERUSER --'"), "{text}");
    }
}
