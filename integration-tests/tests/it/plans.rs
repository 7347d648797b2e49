//! Query plans with 100,000 files in 1,000 chatrooms: no query scans a large table.

use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use serde_json::json;
use uuid::Uuid;
use waybill_integration_tests::Stack;
use waybill_read_model::queries::{
    AccessRows, FileFilter, Order, OwnPage, SharedFile, SharedKey, SharedPage, SortBy, Wanted, access_rows, find_file,
    list_associations, list_files, list_shared, plan_of_access, shares_and_tokens_of,
};
use waybill_schema::{ChatroomId, CompanyId, Place, ProcessingStatus, UploadId, UserId};
use waybill_test_kit::eventually;

const FILES: u32 = 100_000;
const CHATROOMS: u32 = 1_000;
const LARGE: u32 = 20_000;

/// Returns an id as `seed.sql` makes it: the MD5 of kind and number.
async fn id(connection: &mut AsyncPgConnection, kind: &str, number: impl std::fmt::Display) -> Uuid {
    #[derive(diesel::QueryableByName)]
    struct Found {
        #[diesel(sql_type = diesel::sql_types::Uuid)]
        id: Uuid,
    }
    let text = format!("SELECT md5('{kind}{number}')::uuid AS id");
    diesel::sql_query(text).get_result::<Found>(connection).await.unwrap().id
}

/// Numbers of sequential scans of the large tables in this transaction, and of the rows that index scans have read from them.
#[derive(Clone, Copy, diesel::QueryableByName)]
struct Read {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    scans: i64,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    rows: i64,
}

async fn read(connection: &mut AsyncPgConnection) -> Read {
    let text = "SELECT coalesce(sum(seq_scan), 0)::bigint AS scans, coalesce(sum(idx_tup_fetch), 0)::bigint AS rows \
                FROM pg_stat_xact_user_tables \
                WHERE schemaname = current_schema() AND relname ~ '^(file|file_p.*|file_association|member)$'";
    diesel::sql_query(text).get_result(connection).await.unwrap()
}

/// Returns the number of rows that PostgreSQL last estimated for a table.
async fn counted(connection: &mut AsyncPgConnection, table: &str) -> i64 {
    #[derive(diesel::QueryableByName)]
    struct Found {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        rows: i64,
    }
    let text = format!("SELECT reltuples::bigint AS rows FROM pg_class WHERE oid = '{table}'::regclass");
    diesel::sql_query(text).get_result::<Found>(connection).await.unwrap().rows
}

/// The statistics of growing tables are updated before autovacuum does so, which takes a minute.
#[tokio::test(flavor = "multi_thread")]
async fn statistics_of_growing_tables_are_updated_without_autovacuum() {
    let stack = Stack::start().await;
    let client = stack.client();
    let database = stack.database("waybill");
    let set = "ALTER TABLE upload_session SET (autovacuum_enabled = false)";
    database.connection().await.unwrap().batch_execute(set).await.unwrap();
    for _ in 0..110 {
        client.post("/v1/sessions", &json!({})).await.expect(201);
    }
    eventually("the table to be counted", || async {
        client.post("/v1/sessions", &json!({})).await.expect(201);
        let mut connection = database.connection().await.ok()?;
        (counted(&mut connection, "upload_session").await > 100).then_some(())
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_of_a_user_reads_a_large_table_from_end_to_end() {
    let stack = Stack::start().await;
    let database = stack.database("plans");
    database.migrate().await.unwrap();
    let mut connection = database.connection().await.unwrap();
    let seed = include_str!("../../../bench/lib/seed.sql");
    let seed = seed.replace(":files", &FILES.to_string()).replace(":chatrooms", &CHATROOMS.to_string());
    // Filling the tables may take longer than a query.
    connection.batch_execute("SET statement_timeout = 0").await.unwrap();
    connection.batch_execute(&seed).await.unwrap();
    // PostgreSQL plans lists for a chatroom of average size, which has 200 times fewer files.
    let large = include_str!("../../../bench/lib/seed_large.sql").replace(":files", &LARGE.to_string());
    connection.batch_execute(&large.replace("pg_temp.id", "pg_temp.large_id")).await.unwrap();
    connection.batch_execute("RESET statement_timeout").await.unwrap();
    let connection: &mut AsyncPgConnection = &mut connection;
    // File 7 is in chatroom 7 of company 7, of which user 7 is a member.
    let company = CompanyId(id(connection, "company", 7).await);
    let chatroom = ChatroomId(id(connection, "chatroom", 7).await);
    let user = UserId(id(connection, "user", 7).await);
    let file = UploadId(id(connection, "file", 7).await);
    let place = Place::Chatroom(chatroom);
    let filter = FileFilter { processing_status: Some(ProcessingStatus::Completed), ..FileFilter::default() };
    let named = FileFilter { folded_name: Some("report 4007".to_owned()), ..filter.clone() };
    let own = FileFilter { uploaded_by: Some(user), ..filter.clone() };
    let wanted = Wanted { files: vec![file], chatrooms: vec![chatroom], ..Wanted::default() };
    let plan = plan_of_access(connection, 0, company, user, &wanted).await.unwrap();
    assert!(plan.contains("idx_file_association_file_id"), "{plan}");
    assert!(!plan.contains("Seq Scan on file") && !plan.contains("Seq Scan on member"), "{plan}");
    // The columns of a file arrive in the fields of the same meaning.
    for (set, reset, expected) in [
        ("deleted_at = now()", "deleted_at = NULL", (true, true, false, false)),
        ("purged_at = now()", "purged_at = NULL", (true, false, true, false)),
        ("released_at = now()", "released_at = NULL", (true, false, false, true)),
        ("is_processed = false", "is_processed = true", (false, false, false, false)),
    ] {
        let update =
            |set: &str| format!("UPDATE file SET {set} WHERE company_id = '{}' AND id = '{}'", company.0, file.0);
        connection.batch_execute(&update(set)).await.unwrap();
        let known = AccessRows::parse(&access_rows(connection, 0, company, user, &wanted).await.unwrap()).unwrap();
        let known = &known.files[0];
        let found = (known.is_verified, known.is_deleted, known.is_purged, known.is_released);
        assert_eq!(found, expected, "{set}");
        connection.batch_execute(&update(reset)).await.unwrap();
    }
    // PostgreSQL counts the scans of the current transaction.
    let asked = connection.transaction(async |connection: &mut AsyncPgConnection| {
        let first = SharedPage { limit: 50, ..SharedPage::default() };
        for round in 0..8 {
            // After some rounds PostgreSQL uses generic plans.
            let page = list_shared(connection, company, place, &filter, Some(user), first).await.unwrap();
            assert_eq!(page.len(), 50, "{round}");
            assert_eq!(list_shared(connection, company, place, &named, Some(user), first).await.unwrap().len(), 1);
            assert_eq!(find_file(connection, company, file).await.unwrap().unwrap().id, file.0);
            assert_eq!(list_associations(connection, company, file).await.unwrap().len(), 1);
            assert_eq!(shares_and_tokens_of(connection, company, file, 10).await.unwrap().len(), 1);
            let known = AccessRows::parse(&access_rows(connection, 0, company, user, &wanted).await.unwrap()).unwrap();
            assert_eq!((known.files.len(), known.member_of_chatrooms.len()), (1, 1));
        }
        // Pages need a few rows for each of their files, wherever they are and in whichever order.
        for is_reversed in [false, true] {
            let mut after = None;
            for number in 0..4 {
                let before = read(connection).await.rows;
                let page = SharedPage { after, is_reversed, limit: 21 };
                let page = list_shared(connection, company, place, &filter, Some(user), page).await.unwrap();
                let rows = read(connection).await.rows - before;
                assert!(page.len() == 21 && rows <= 210, "page {number} of a chatroom: {rows} rows for {}", page.len());
                let SharedFile { association, .. } = page.last().unwrap();
                let (is_pinned, created_at) = (association.is_pinned, association.created_at);
                after = Some(SharedKey { is_pinned, created_at, id: association.id });
            }
        }
        let large = Place::Chatroom(ChatroomId(id(connection, "large", "").await));
        for (limit, most) in [(51, 210), (201, 820)] {
            let mut after = None;
            for number in 0..8 {
                let before = read(connection).await.rows;
                let page = SharedPage { after, limit, ..SharedPage::default() };
                let page = list_shared(connection, company, large, &filter, Some(user), page).await.unwrap();
                let rows = read(connection).await.rows - before;
                assert!(rows <= most, "page {number} of a large chatroom: {rows} rows for {limit}");
                let SharedFile { association, .. } = page.last().unwrap();
                let (is_pinned, created_at) = (association.is_pinned, association.created_at);
                after = Some(SharedKey { is_pinned, created_at, id: association.id });
            }
        }
        for by in [SortBy::CreatedAt, SortBy::Name, SortBy::Size] {
            for (filter, is_ascending) in [(&own, false), (&own, true), (&filter, false), (&filter, true)] {
                let (order, mut after) = (Order { by, is_ascending }, None);
                for number in 0..4 {
                    let before = read(connection).await.rows;
                    let page = OwnPage { order, after, limit: 21 };
                    let page = list_files(connection, company, filter, page).await.unwrap();
                    let rows = read(connection).await.rows - before;
                    let what = format!("page {number}, {order:?}, of {:?}", filter.uploaded_by);
                    assert!(page.len() == 21 && rows <= 210, "{what}: {rows} rows for {}", page.len());
                    after = page.last().map(|last| order.key_of(last));
                }
            }
        }
        assert_eq!(read(connection).await.scans, 0);
        Ok::<_, diesel::result::Error>(())
    });
    asked.await.unwrap();
    database.drop_schema().await.unwrap();
    stack.finish().await;
}
