//! Loads and writes whole rows. A projection loads the rows that a batch of events affects, changes them in memory, and
//! writes them back with one statement per table.
//!
//! The values are sent as one array per column, so that the text of the statement does not depend on the number of
//! rows.

mod columns;
mod registry;
mod tables;

pub(crate) use registry::TABLES;
pub use tables::{
    ChatroomRow, CompanyRow, ContentRow, DownloadTokenRow, EventPositionsRow, FileAssociationRow, FileRow,
    FileTotalRow, MemberRow, PartialUploadRow, QuotaReservationRow, StorageQuotaRow, ThreadRow, UploadLinkRow,
    UploadProgressRow, UploadSessionRow, UserRow,
};

use crate::ReadModelError;
use crate::statement::{Bind, Statement};
use diesel::QueryableByName;
use diesel::sql_types::{Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use uuid::Uuid;

const LOADING: &str = "loading rows";
const WRITING: &str = "writing rows";

/// Function that runs a statement and returns its error if the error will not go away by itself. diesel does not pass
/// on the SQLSTATE of most errors, so the function returns it as text.
const TELLING: &str = "CREATE OR REPLACE FUNCTION pg_temp.waybill_told(statement text, value text[]) RETURNS text \
    LANGUAGE plpgsql AS $told$ BEGIN \
        EXECUTE statement USING value; \
        RETURN NULL; \
    EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN \
        RETURN SQLSTATE || ': ' || SQLERRM; \
    END $told$";

#[derive(QueryableByName)]
struct Told {
    #[diesel(sql_type = Nullable<Text>)]
    refused: Option<String>,
}

/// A row of a table.
pub trait Row: Serialize + DeserializeOwned + Clone + Send + Sync {
    /// Name of the table.
    const NAME: &'static str;
    /// Name of the table in SQL.
    const TABLE: &'static str;
    /// The columns of the primary key.
    const KEY: &'static str;
    /// The column by which [`load`] finds rows.
    const ID: &'static str;
    /// The column with the company.
    const COMPANY: &'static str;
    /// All columns.
    const COLUMNS: &'static [&'static str];
    /// The cast of each column; empty if the type of the array is that of the column.
    const CASTS: &'static [&'static str];

    /// Returns the value of [`Row::ID`].
    fn lookup_id(&self) -> Uuid;

    /// Returns the company that the row belongs to.
    fn company_id(&self) -> Uuid;

    /// Parses a row from JSON.
    ///
    /// # Errors
    /// Fails if the JSON is not a row of this table.
    fn parse(json: &str) -> Result<Self, serde_json::Error>;

    /// Returns the values of rows as one array per column.
    ///
    /// # Errors
    /// Fails if a value cannot be converted to JSON.
    fn arrays(rows: &[&Self]) -> Result<Vec<Bind>, serde_json::Error>;
}

/// JSON as text, so that numbers keep their notation between memory and table.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JsonText(Box<RawValue>);

impl JsonText {
    /// Parses JSON.
    ///
    /// # Errors
    /// Fails if the text is not JSON.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

impl PartialEq for JsonText {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

#[derive(QueryableByName)]
struct JsonRow {
    #[diesel(sql_type = Text)]
    row: String,
}

/// The key of a row: its company and the value of [`Row::ID`].
pub type Key = (Uuid, Uuid);

/// Loads the rows with these keys.
///
/// # Errors
/// [`ReadModelError`].
pub async fn load<R: Row>(
    connection: &mut AsyncPgConnection,
    keys: impl IntoIterator<Item = Key>,
) -> Result<Vec<R>, ReadModelError> {
    let (companies, ids): (Vec<Uuid>, Vec<Uuid>) = keys.into_iter().unzip();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    // If the primary key begins with the company, the company is needed to use the index and to read only one
    // partition.
    let by_company = if R::KEY.starts_with("company_id") { "AND t.company_id = k.company_id" } else { "" };
    let text = format!(
        "SELECT row_to_json(t)::text AS row FROM unnest(:companies, :ids) AS k (company_id, id) JOIN {} t ON t.{} = k.id {by_company}",
        R::TABLE,
        R::ID
    );
    let binds = [("companies", Bind::Uuids(companies)), ("ids", Bind::Uuids(ids))];
    let found = load_json(connection, Statement::new(&text, binds)).await?;
    found.iter().map(|json| R::parse(&json.row).map_err(ReadModelError::row(LOADING))).collect()
}

/// Loads rows of any table as JSON.
fn load_json(
    connection: &mut AsyncPgConnection,
    statement: Statement,
) -> BoxFuture<'_, Result<Vec<JsonRow>, ReadModelError>> {
    Box::pin(async move { statement.load(connection).await.map_err(ReadModelError::query(LOADING)) })
}

/// A change of a table.
#[derive(Clone, Debug)]
pub struct Write(Statement);

impl Write {
    /// Inserts rows that do not exist yet. Returns `None` if `rows` is empty. A third cheaper than [`Write::upsert`].
    ///
    /// # Errors
    /// [`ReadModelError::Row`].
    pub fn insert<R: Row>(rows: &[&R]) -> Result<Option<Self>, ReadModelError> {
        Self::put(rows, "")
    }

    /// Inserts or replaces rows, which must have different keys. Returns `None` if `rows` is empty.
    ///
    /// # Errors
    /// [`ReadModelError::Row`].
    pub fn upsert<R: Row>(rows: &[&R]) -> Result<Option<Self>, ReadModelError> {
        let sets: Vec<String> = R::COLUMNS.iter().map(|column| format!("{column} = EXCLUDED.{column}")).collect();
        Self::put(rows, &format!(" ON CONFLICT ({}) DO UPDATE SET {}", R::KEY, sets.join(", ")))
    }

    fn put<R: Row>(rows: &[&R], otherwise: &str) -> Result<Option<Self>, ReadModelError> {
        if rows.is_empty() {
            return Ok(None);
        }
        let arrays = R::arrays(rows).map_err(ReadModelError::row(WRITING))?;
        let values: Vec<String> =
            R::COLUMNS.iter().zip(R::CASTS).map(|(column, cast)| format!("{column}{cast}")).collect();
        let text = format!(
            "INSERT INTO {table} ({columns}) SELECT {values} FROM unnest({names}) AS r ({columns}){otherwise}",
            table = R::TABLE,
            columns = R::COLUMNS.join(", "),
            values = values.join(", "),
            names = R::COLUMNS.iter().map(|column| format!(":{column}")).collect::<Vec<_>>().join(", "),
        );
        Ok(Some(Self(Statement::new(&text, R::COLUMNS.iter().copied().zip(arrays)))))
    }

    /// Deletes the rows with these keys. Returns `None` if `keys` is empty.
    pub fn delete<R: Row>(keys: Vec<Key>) -> Option<Self> {
        if keys.is_empty() {
            return None;
        }
        let (companies, ids): (Vec<Uuid>, Vec<Uuid>) = keys.into_iter().unzip();
        let text = format!(
            "DELETE FROM {} t USING unnest(:companies, :ids) AS k (company_id, id) WHERE t.company_id = k.company_id AND t.{} = k.id",
            R::TABLE,
            R::ID
        );
        let binds = [("companies", Bind::Uuids(companies)), ("ids", Bind::Uuids(ids))];
        Some(Self(Statement::new(&text, binds)))
    }

    /// Executes the change.
    ///
    /// # Errors
    /// [`ReadModelError`].
    pub fn execute<'a>(&'a self, connection: &'a mut AsyncPgConnection) -> BoxFuture<'a, Result<(), ReadModelError>> {
        Box::pin(async move { (&self.0).execute(connection).await.map(drop).map_err(ReadModelError::query(WRITING)) })
    }

    /// Executes the change in a subtransaction. Returns the inner error if the rows themselves are invalid, because
    /// such errors are permanent (SQLSTATE classes 22, 23 and 54). Slower than [`Write::execute`].
    ///
    /// # Errors
    /// [`ReadModelError`] for all other errors.
    pub fn execute_telling<'a>(
        &'a self,
        connection: &'a mut AsyncPgConnection,
    ) -> BoxFuture<'a, Result<Result<(), String>, ReadModelError>> {
        Box::pin(async move {
            let Some(told) = self.0.told() else { return self.execute(connection).await.map(Ok) };
            let failed = ReadModelError::query(WRITING);
            connection.batch_execute(TELLING).await.map_err(&failed)?;
            let told: Told = told.get_result(connection).await.map_err(&failed)?;
            Ok(told.refused.map_or(Ok(()), Err))
        })
    }
}
