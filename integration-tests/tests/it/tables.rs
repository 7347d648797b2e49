//! The code and the migrated database have the same tables, columns and statuses.

use diesel::sql_types::{Bool, Integer, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::collections::BTreeSet;
use std::path::Path;
use waybill_read_model::digests;
use waybill_schema::{AccessType, ProcessingStatus, SessionStatus, UploadStatus};
use waybill_test_kit::TestDatabase;

/// Tables that are not folded from the events of companies: leases, checkpoints and registries of processes.
const OF_PROCESSES: [&str; 5] = ["compressor", "file_read", "projection_checkpoint", "projector", "sweeper"];

/// A column of the database.
#[derive(diesel::QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    of_table: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    type_name: String,
    #[diesel(sql_type = Nullable<Integer>)]
    max_length: Option<i32>,
    #[diesel(sql_type = Bool)]
    is_nullable: bool,
    /// Place in the primary key, from 1.
    #[diesel(sql_type = Nullable<Integer>)]
    place_in_key: Option<i32>,
}

/// The columns of all tables, except the partitions of tables and the table of migrations.
const COLUMNS: &str = "
    SELECT c.table_name::text AS of_table, c.column_name::text AS name, c.udt_name::text AS type_name,
        c.character_maximum_length::integer AS max_length, c.is_nullable = 'YES' AS is_nullable,
        k.ordinal_position::integer AS place_in_key
    FROM information_schema.columns c
    JOIN pg_class t ON t.relname = c.table_name AND t.relnamespace = c.table_schema::regnamespace
    LEFT JOIN information_schema.table_constraints p
        ON p.table_schema = c.table_schema AND p.table_name = c.table_name AND p.constraint_type = 'PRIMARY KEY'
    LEFT JOIN information_schema.key_column_usage k
        ON k.constraint_schema = p.constraint_schema AND k.constraint_name = p.constraint_name
        AND k.table_name = c.table_name AND k.column_name = c.column_name
    WHERE c.table_schema = current_schema() AND NOT t.relispartition AND t.relname <> '__diesel_schema_migrations'
    ORDER BY c.table_name COLLATE \"C\", c.ordinal_position";

async fn columns(connection: &mut AsyncPgConnection) -> Vec<Column> {
    diesel::sql_query(COLUMNS).load(connection).await.unwrap()
}

/// Prints the tables like `diesel print-schema`, without `joinable!`, which no query needs.
fn print_schema(columns: &[Column]) -> String {
    let mut text = "//! Definitions of the tables for diesel.\n//!\n\
        //! `WAYBILL_WRITE_DOCS=1 scripts/test tables::` prints this file from a database after all migrations.\n"
        .to_owned();
    let tables: Vec<&[Column]> = columns.chunk_by(|one, next| one.of_table == next.of_table).collect();
    for table in &tables {
        let mut key: Vec<&Column> = table.iter().filter(|column| column.place_in_key.is_some()).collect();
        key.sort_by_key(|column| column.place_in_key);
        let key: Vec<&str> = key.iter().map(|column| column.name.as_str()).collect();
        text.push_str(&format!("\ndiesel::table! {{\n    {} ({}) {{\n", table[0].of_table, key.join(", ")));
        table.iter().for_each(|column| text.push_str(&print_column(column)));
        text.push_str("    }\n}\n");
    }
    let names: Vec<String> = tables.iter().map(|table| format!("    {},\n", table[0].of_table)).collect();
    text + &format!("\ndiesel::allow_tables_to_appear_in_same_query!(\n{});\n", names.concat())
}

fn print_column(column: &Column) -> String {
    let (first, rest) = column.type_name.split_at(1);
    let type_name = format!("{}{rest}", first.to_uppercase());
    let type_name = if column.is_nullable { format!("Nullable<{type_name}>") } else { type_name };
    let max_length = column.max_length.map_or_else(String::new, |max| format!("        #[max_length = {max}]\n"));
    format!("{max_length}        {} -> {type_name},\n", column.name)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_definitions_for_diesel_are_those_of_the_migrations() {
    let of_test = TestDatabase::create().await;
    let database = of_test.database("waybill");
    database.migrate().await.unwrap();
    let printed = print_schema(&columns(&mut database.connection().await.unwrap()).await);
    // `cargo test` runs in the directory of the package.
    let path = Path::new("../shared/read-model/src/schema.rs");
    let written = || std::fs::read_to_string(path).unwrap_or_default();
    if std::env::var_os("WAYBILL_WRITE_DOCS").is_some() && written() != printed {
        std::fs::write(path, &printed).unwrap();
    }
    assert!(written() == printed, "schema.rs differs from the migrations; set WAYBILL_WRITE_DOCS=1 to write it");
    of_test.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_that_events_are_folded_into_is_registered() {
    let of_test = TestDatabase::create().await;
    let database = of_test.database("waybill");
    database.migrate().await.unwrap();
    let mut connection = database.connection().await.unwrap();
    let tables: BTreeSet<String> = columns(&mut connection).await.into_iter().map(|column| column.of_table).collect();
    let mut registered: BTreeSet<String> = OF_PROCESSES.map(str::to_owned).into();
    registered.extend(digests(&mut connection).await.unwrap().into_iter().map(|digest| digest.table));
    assert_eq!(tables, registered);
    drop(connection);
    of_test.drop_it().await;
}

/// A rule of a column that allows only some texts.
#[derive(diesel::QueryableByName)]
struct Rule {
    #[diesel(sql_type = Text)]
    rule: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_allow_exactly_the_statuses_of_the_code() {
    let of_test = TestDatabase::create().await;
    let database = of_test.database("waybill");
    database.migrate().await.unwrap();
    let mut connection = database.connection().await.unwrap();
    let names = |names: &[&'static str]| -> BTreeSet<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    let uploads: Vec<&str> = UploadStatus::ALL.iter().map(|status| status.as_str()).collect();
    let files: Vec<&str> = ProcessingStatus::ALL.iter().map(|status| status.as_str()).collect();
    let sessions: Vec<&str> = SessionStatus::ALL.iter().map(|status| status.as_str()).collect();
    let shares = [AccessType::Public, AccessType::Private, AccessType::Restricted].map(AccessType::as_str);
    for (constraint, wanted) in [
        ("upload_progress_status_check", names(&uploads)),
        ("file_processing_status_check", names(&files)),
        ("upload_session_status_check", names(&sessions)),
        ("file_association_access_type_check", names(&shares)),
    ] {
        let text = format!(
            "SELECT pg_get_constraintdef(oid) AS rule FROM pg_constraint WHERE conname = '{constraint}' \
             AND connamespace = current_schema()::regnamespace LIMIT 1"
        );
        let found: Rule = diesel::sql_query(text).get_result(&mut connection).await.unwrap();
        // Every second piece is between quotes.
        let allowed: BTreeSet<String> = found.rule.split('\'').skip(1).step_by(2).map(str::to_owned).collect();
        assert_eq!(allowed, wanted, "{constraint}");
    }
    drop(connection);
    of_test.drop_it().await;
}
