//! The specified data model: the tables have every column, key, rule and index, and operations on files set their
//! columns. docs/data-model.md maps each line of the specification to these tests.

use crate::sharing::Room;
use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use uuid::Uuid;
use waybill_integration_tests::Stack;
use waybill_schema::CompanyId;
use waybill_test_kit::eventually;

#[derive(diesel::QueryableByName)]
struct Found {
    #[diesel(sql_type = Text)]
    found: String,
}

async fn all(connection: &mut AsyncPgConnection, query: &str) -> BTreeSet<String> {
    let rows: Vec<Found> = diesel::sql_query(query).load(connection).await.unwrap();
    rows.into_iter().map(|row| row.found).collect()
}

/// Tables with their columns and the names of the types in PostgreSQL. Timestamps have a time zone; `!` marks a column
/// that is never NULL.
const COLUMNS: &[(&str, &str)] = &[
    (
        "file",
        "id uuid!, company_id uuid!, thread_id uuid, chatroom_id uuid, uploaded_by uuid!, \
         original_name character varying(255)!, display_name character varying(255), mime_type character varying(100)!, \
         size_bytes bigint!, hash character varying(64), storage_key character varying(500), \
         storage_bucket character varying(100), download_url text, metadata jsonb, is_processed boolean!, \
         processing_status character varying(20)!, created_at timestamptz!, updated_at timestamptz!, deleted_at timestamptz",
    ),
    (
        "upload_progress",
        "id uuid!, upload_session_id uuid, file_id uuid!, user_id uuid!, status character varying(20)!, \
         progress_percentage integer!, bytes_uploaded bigint!, total_bytes bigint!, upload_speed bigint!, \
         estimated_time_remaining integer, current_chunk integer!, total_chunks integer!, error_message text, \
         started_at timestamptz!, completed_at timestamptz, last_updated_at timestamptz!",
    ),
    (
        "upload_session",
        "id uuid!, user_id uuid!, company_id uuid!, session_name character varying(255), total_files integer!, \
         completed_files integer!, failed_files integer!, total_size bigint!, uploaded_size bigint!, \
         status character varying(20)!, created_at timestamptz!, updated_at timestamptz!, completed_at timestamptz",
    ),
    (
        "file_association",
        "id uuid!, file_id uuid!, chatroom_id uuid, thread_id uuid, shared_by uuid!, \
         access_type character varying(20)!, permissions jsonb, expires_at timestamptz, is_pinned boolean!, \
         created_at timestamptz!, updated_at timestamptz!",
    ),
    (
        "storage_quota",
        "id uuid!, company_id uuid!, storage_limit_bytes bigint!, storage_used_bytes bigint!, file_count integer!, \
         last_calculated_at timestamptz!, created_at timestamptz!, updated_at timestamptz!",
    ),
    (
        "download_token",
        "id uuid!, file_id uuid!, user_id uuid!, token character varying(255)!, expires_at timestamptz!, \
         download_count integer!, max_downloads integer, ip_address inet, user_agent text, created_at timestamptz!, \
         last_used_at timestamptz",
    ),
];

/// Foreign keys: table, column, referenced table.
const KEYS: &[(&str, &str, &str)] = &[
    ("file", "company_id", "company"),
    ("file", "thread_id", "thread"),
    ("file", "chatroom_id", "chatroom"),
    ("file", "uploaded_by", "user"),
    ("upload_progress", "file_id", "file"),
    ("upload_progress", "user_id", "user"),
    ("upload_session", "user_id", "user"),
    ("upload_session", "company_id", "company"),
    ("file_association", "file_id", "file"),
    ("file_association", "chatroom_id", "chatroom"),
    ("file_association", "thread_id", "thread"),
    ("file_association", "shared_by", "user"),
    ("storage_quota", "company_id", "company"),
    ("download_token", "file_id", "file"),
    ("download_token", "user_id", "user"),
];

/// Indexes with the names of the specification: name, table, column.
const INDEXES: &[(&str, &str, &str)] = &[
    ("idx_file_company_id", "file", "company_id"),
    ("idx_file_thread_id", "file", "thread_id"),
    ("idx_file_chatroom_id", "file", "chatroom_id"),
    ("idx_file_uploaded_by", "file", "uploaded_by"),
    ("idx_file_hash", "file", "hash"),
    ("idx_file_storage_key", "file", "storage_key"),
    ("idx_file_created_at", "file", "created_at"),
    ("idx_file_deleted_at", "file", "deleted_at"),
    ("idx_upload_progress_session_id", "upload_progress", "upload_session_id"),
    ("idx_upload_progress_file_id", "upload_progress", "file_id"),
    ("idx_upload_progress_user_id", "upload_progress", "user_id"),
    ("idx_upload_progress_status", "upload_progress", "status"),
    ("idx_upload_session_user_id", "upload_session", "user_id"),
    ("idx_upload_session_company_id", "upload_session", "company_id"),
    ("idx_upload_session_status", "upload_session", "status"),
    ("idx_file_association_file_id", "file_association", "file_id"),
    ("idx_file_association_chatroom_id", "file_association", "chatroom_id"),
    ("idx_file_association_thread_id", "file_association", "thread_id"),
    ("idx_download_token_file_id", "download_token", "file_id"),
    ("idx_download_token_user_id", "download_token", "user_id"),
    ("idx_download_token_token", "download_token", "token"),
    ("idx_download_token_expires_at", "download_token", "expires_at"),
];

/// Constraints of the tables: table, and a piece of the constraint as PostgreSQL prints it.
const RULES: &[(&str, &str)] = &[
    ("file", "((length((hash)::text) = 64) AND ((hash)::text !~ '[^0-9a-f]'::text))"),
    ("file", "'PENDING'::character varying, 'PROCESSING'::character varying, 'COMPLETED'::character varying, 'FAILED'"),
    (
        "upload_progress",
        "'UPLOADING'::character varying, 'COMPLETED'::character varying, 'FAILED'::character varying, 'CANCELLED'",
    ),
    ("upload_progress", "((progress_percentage >= 0) AND (progress_percentage <= 100))"),
    ("upload_progress", "((bytes_uploaded >= 0) AND (bytes_uploaded <= total_bytes))"),
    ("upload_progress", "((current_chunk >= 0) AND (current_chunk <= total_chunks))"),
    (
        "upload_session",
        "'ACTIVE'::character varying, 'COMPLETED'::character varying, 'FAILED'::character varying, 'CANCELLED'",
    ),
    ("upload_session", "((completed_files + failed_files) <= total_files)"),
    ("upload_session", "((uploaded_size >= 0) AND (uploaded_size <= total_size))"),
    ("file_association", "'PUBLIC'::character varying, 'PRIVATE'::character varying, 'RESTRICTED'"),
    ("file_association", "((chatroom_id IS NOT NULL) OR (thread_id IS NOT NULL))"),
    ("storage_quota", "(file_count >= 0)"),
    ("storage_quota", "(storage_used_bytes >= 0)"),
    ("storage_quota", "UNIQUE (company_id)"),
    ("download_token", "(download_count <= max_downloads)"),
    ("download_token", "UNIQUE (token)"),
    ("content", "UNIQUE (storage_bucket, storage_key)"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_column_key_rule_and_index_of_the_specification_is_there() {
    let stack = Stack::start().await;
    let mut connection = stack.database("waybill").connection().await.unwrap();
    let columns = "SELECT format('%s.%s %s%s', c.relname, a.attname, \
                   replace(format_type(a.atttypid, a.atttypmod), 'timestamp with time zone', 'timestamptz'), \
                   CASE WHEN a.attnotnull THEN '!' ELSE '' END) AS found \
                   FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
                   WHERE c.relnamespace = current_schema()::regnamespace AND a.attnum > 0 AND NOT a.attisdropped";
    let columns = all(&mut connection, columns).await;
    for (table, specified) in COLUMNS {
        for column in specified.split(", ") {
            let wanted = format!("{table}.{}", column.trim());
            assert!(columns.contains(&wanted), "{wanted}: {:?}", named(&columns, &wanted));
        }
    }
    let keys = "SELECT format('%s(%s) %s', r.relname, \
                (SELECT string_agg(a.attname, ',' ORDER BY a.attname) FROM pg_attribute a \
                 WHERE a.attrelid = r.oid AND a.attnum = ANY(k.conkey)), t.relname) AS found \
                FROM pg_constraint k JOIN pg_class r ON r.oid = k.conrelid JOIN pg_class t ON t.oid = k.confrelid \
                WHERE k.contype = 'f' AND r.relnamespace = current_schema()::regnamespace";
    let keys = all(&mut connection, keys).await;
    for (table, column, target) in KEYS {
        let mut with_company = vec!["company_id", *column];
        with_company.sort_unstable();
        with_company.dedup();
        let wanted = format!("{table}({}) {target}", with_company.join(","));
        assert!(keys.contains(&wanted), "{wanted}: {keys:?}");
    }
    let indexes = "SELECT format('%s ON %s (%s)', indexname, tablename, \
                   substring(indexdef FROM '\\((.*)\\)')) AS found FROM pg_indexes WHERE schemaname = current_schema()";
    let indexes = all(&mut connection, indexes).await;
    for (name, table, column) in INDEXES {
        let wanted = format!("{name} ON {table} ({column})");
        assert!(indexes.contains(&wanted), "{wanted}: {:?}", named(&indexes, &wanted));
    }
    let rules = "SELECT format('%s %s', r.relname, pg_get_constraintdef(k.oid)) AS found \
                 FROM pg_constraint k JOIN pg_class r ON r.oid = k.conrelid \
                 WHERE k.contype IN ('c', 'u') AND r.relnamespace = current_schema()::regnamespace";
    let rules = all(&mut connection, rules).await;
    for (table, piece) in RULES {
        let of_table = |rule: &&String| rule.starts_with(&format!("{table} "));
        assert!(rules.iter().filter(of_table).any(|rule| rule.contains(piece)), "{table}: {piece}\n{rules:#?}");
    }
    let partitioned = "SELECT format('%s %s %s', c.relname, p.partstrat, pg_get_partkeydef(c.oid)) AS found \
                       FROM pg_partitioned_table p JOIN pg_class c ON c.oid = p.partrelid \
                       WHERE c.relnamespace = current_schema()::regnamespace";
    assert!(all(&mut connection, partitioned).await.contains("file h HASH (company_id)"));
    drop(connection);
    stack.finish().await;
}

/// Returns the found entries with the same name, for the message of an assertion.
fn named<'a>(all: &'a BTreeSet<String>, wanted: &str) -> Vec<&'a String> {
    let name = wanted.split(' ').next().unwrap_or_default();
    all.iter().filter(|found| found.starts_with(name)).collect()
}

/// Waits for the row of a table with this id for which `fits` returns `true`, and returns it as JSON.
async fn row(stack: &Stack, table: &str, id: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let query = format!("SELECT to_json(t)::text AS found FROM \"{table}\" t WHERE t.id = '{id}'");
    eventually(&format!("the row of {table}"), || async {
        let mut connection = stack.database("waybill").connection().await.unwrap();
        let text = all(&mut connection, &query).await.pop_first()?;
        let row: Value = serde_json::from_str(&text).unwrap();
        fits(&row).then_some(row)
    })
    .await
}

fn time(row: &Value, column: &str) -> chrono::DateTime<chrono::Utc> {
    let text = row[column].as_str().unwrap_or_else(|| panic!("{column}: {row}"));
    chrono::DateTime::parse_from_rfc3339(text).unwrap().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_on_files_set_the_columns_of_the_read_model() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let began = chrono::Utc::now() - chrono::Duration::seconds(5);
    let is_now = |row: &Value, column: &str| {
        let time = time(row, column);
        assert!(time >= began && time <= chrono::Utc::now() + chrono::Duration::seconds(5), "{column}: {row}");
    };
    let anna = room.anna.principal.user_id.to_string();
    let company = room.admin.principal.company_id.to_string();
    let session = room.anna.post("/v1/sessions", &json!({ "name": "holiday" })).await.expect(201).text("session_id");
    // A running upload.
    let facts = json!({ "session_id": session, "thread_id": room.thread });
    let upload = room.anna.start_with(10, facts).await.expect(201).text("upload_id");
    let pending = row(&stack, "upload_progress", &upload, |_| true).await;
    assert_eq!((&pending["status"], &pending["estimated_time_remaining"]), (&json!("PENDING"), &Value::Null));
    assert_eq!(pending["completed_at"], Value::Null);
    let half = room.anna.request(Method::PUT, &format!("/v1/uploads/{upload}/chunks/0"));
    let half = half.header("Content-Range", "bytes 0-4/10").body("01234");
    room.anna.send(half).await.expect(200);
    let halfway = row(&stack, "upload_progress", &upload, |row| row["bytes_uploaded"] == 5).await;
    assert_eq!((&halfway["status"], &halfway["progress_percentage"]), (&json!("UPLOADING"), &json!(50)));
    assert_eq!((&halfway["total_bytes"], &halfway["total_chunks"]), (&json!(10), &json!(1)));
    assert!(halfway["upload_speed"].as_i64().unwrap() > 0 && halfway["current_chunk"] == 1, "{halfway}");
    for (column, value) in
        [("file_id", &upload), ("user_id", &anna), ("upload_session_id", &session), ("company_id", &company)]
    {
        assert_eq!(halfway[column], json!(value), "{column}");
    }
    is_now(&halfway, "started_at");
    is_now(&halfway, "last_updated_at");
    is_now(&halfway, "last_stored_at");
    room.anna.delete(&format!("/v1/uploads/{upload}")).await.expect(204);
    let cancelled = row(&stack, "upload_progress", &upload, |row| row["status"] == "CANCELLED").await;
    is_now(&cancelled, "completed_at");
    assert_eq!(row(&stack, "file", &upload, |_| true).await["processing_status"], "FAILED");
    // An upload that fails.
    let elf = [&b"\x7fELF\x02\x01\x01\0"[..], &[0; 64]].concat();
    let bad =
        room.anna.start_with(elf.len() as u64, json!({ "session_id": session })).await.expect(201).text("upload_id");
    room.anna.put_chunk(&bad, 0, elf).await.expect(200);
    room.anna.complete(&bad, &json!({})).await;
    let failed = row(&stack, "upload_progress", &bad, |row| row["status"] == "FAILED").await;
    assert_eq!(failed["error_code"], "type_refused");
    assert!(failed["error_message"].as_str().unwrap().contains("x-executable"), "{failed}");
    // A completed file in a thread.
    let query = format!(
        "name=a.txt&mime_type=text/plain&session_id={session}&thread_id={}&metadata={{\"album\":1}}",
        room.thread
    );
    let posted = room.anna.post_file(&query, "hello").await.expect(201);
    let id = posted.text("file_id");
    let file = row(&stack, "file", &id, |row| row["hash"] != Value::Null).await;
    for (column, value) in [
        ("company_id", json!(company)),
        ("thread_id", json!(room.thread)),
        ("chatroom_id", Value::Null),
        ("uploaded_by", json!(anna)),
        ("original_name", json!("a.txt")),
        ("display_name", Value::Null),
        ("mime_type", json!("text/plain")),
        ("size_bytes", json!(5)),
        ("hash", posted.body["sha256"].clone()),
        ("storage_bucket", json!(stack.store_bucket())),
        ("download_url", Value::Null),
        ("metadata", json!({ "album": 1 })),
        ("is_processed", json!(true)),
        ("processing_status", json!("COMPLETED")),
        ("deleted_at", Value::Null),
    ] {
        assert_eq!(file[column], value, "{column}");
    }
    assert!(file["storage_key"].as_str().unwrap().contains(&id));
    is_now(&file, "created_at");
    let progress = row(&stack, "upload_progress", &id, |_| true).await;
    assert_eq!((&progress["status"], &progress["progress_percentage"]), (&json!("COMPLETED"), &json!(100)));
    room.anna.patch(&format!("/v1/files/{id}"), &json!({ "display_name": "b.txt" })).await.expect(204);
    let renamed = row(&stack, "file", &id, |row| row["display_name"] == "b.txt").await;
    assert!(time(&renamed, "updated_at") > time(&file, "updated_at"));
    // The session.
    room.anna.post(&format!("/v1/sessions/{session}/close"), &json!({})).await.expect(204);
    let ended = row(&stack, "upload_session", &session, |row| row["status"] != "ACTIVE").await;
    for (column, value) in [
        ("user_id", json!(anna)),
        ("company_id", json!(company)),
        ("session_name", json!("holiday")),
        ("total_files", json!(3)),
        ("completed_files", json!(1)),
        ("failed_files", json!(2)),
    ] {
        assert_eq!(ended[column], value, "{column}");
    }
    assert!(ended["uploaded_size"].as_i64().unwrap() <= ended["total_size"].as_i64().unwrap());
    is_now(&ended, "created_at");
    is_now(&ended, "completed_at");
    // An association that somebody other than the uploader creates.
    let wide = json!({ "chatroom_id": room.chatroom, "access_type": "PUBLIC",
        "permissions": { "everyone": ["view", "download", "share"] } });
    let shares = format!("/v1/files/{id}/associations");
    let first = room.anna.post(&shares, &wide).await.expect(201);
    room.ben.get_after(&format!("/v1/files/{id}"), &first).await.expect(200);
    let until = "2999-01-01T00:00:00+00:00";
    // The file has an association with the thread of the room already.
    let thread = Uuid::now_v7();
    let threads = format!("/v1/admin/companies/{company}/threads/{thread}");
    stack.host().put(&threads, &json!({ "chatroom_id": room.chatroom })).await.expect(204);
    let share = json!({ "thread_id": thread, "access_type": "PUBLIC", "expires_at": until });
    let share = room.ben.post(&shares, &share).await.expect(201).text("id");
    room.ben.patch(&format!("/v1/associations/{share}"), &json!({ "is_pinned": true })).await.expect(204);
    let shared = row(&stack, "file_association", &share, |row| row["is_pinned"] == true).await;
    for (column, value) in [
        ("file_id", json!(id)),
        ("chatroom_id", Value::Null),
        ("thread_id", json!(thread)),
        ("shared_by", json!(room.ben.principal.user_id)),
        ("access_type", json!("PUBLIC")),
        ("permissions", Value::Null),
        ("revoked_at", Value::Null),
        ("parent_id", first.body["id"].clone()),
    ] {
        assert_eq!(shared[column], value, "{column}");
    }
    assert_eq!(time(&shared, "expires_at"), chrono::DateTime::parse_from_rfc3339(until).unwrap());
    is_now(&shared, "created_at");
    assert!(time(&shared, "updated_at") >= time(&shared, "created_at"));
    room.ben.delete(&format!("/v1/associations/{share}")).await.expect(204);
    is_now(&row(&stack, "file_association", &share, |row| row["revoked_at"] != Value::Null).await, "revoked_at");
    // A used download token.
    let issued = room.anna.post(&format!("/v1/files/{id}/tokens"), &json!({ "expires_in_s": 60 })).await.expect(201);
    let request = reqwest::Client::new().get(format!("{}{}", stack.url(), issued.text("url")));
    assert_eq!(request.header("User-Agent", "a browser").send().await.unwrap().status(), 200);
    let token = row(&stack, "download_token", &issued.text("id"), |row| row["download_count"] == 1).await;
    for (column, value) in [
        ("file_id", json!(id)),
        ("user_id", json!(anna)),
        ("max_downloads", json!(1)),
        ("ip_address", json!("127.0.0.1")),
        ("user_agent", json!("a browser")),
        ("revoked_at", Value::Null),
    ] {
        assert_eq!(token[column], value, "{column}");
    }
    is_now(&token, "created_at");
    is_now(&token, "last_used_at");
    let lifetime = time(&token, "expires_at") - time(&token, "created_at");
    assert!((55..=60).contains(&lifetime.num_seconds()), "{lifetime}");
    // The quota of the company.
    let quota = room.anna.get("/v1/quota").await.expect(200).text("id");
    let quota = row(&stack, "storage_quota", &quota, |row| row["storage_used_bytes"] == 5).await;
    assert_eq!((&quota["company_id"], &quota["file_count"]), (&json!(company), &json!(1)));
    assert_eq!(quota["storage_reserved_bytes"], 0);
    is_now(&quota, "created_at");
    is_now(&quota, "last_calculated_at");
    is_now(&quota, "updated_at");
    // Requests that are refused.
    room.anna
        .post(&shares, &json!({ "thread_id": room.thread, "access_type": "SECRET" }))
        .await
        .refused(400, "json_invalid");
    let nowhere = stack.client_for(CompanyId(uuid::Uuid::now_v7()), &[]);
    nowhere.post(&format!("/v1/sessions/{session}/close"), &json!({})).await.refused(404, "not_found");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_go_on_without_their_replica() {
    let args = vec!["--database-replica-url=postgres://nobody@127.0.0.1:1/none".to_owned()];
    let stack = Stack::with(waybill_integration_tests::Options { args, ..Default::default() }).await;
    let client = stack.client();
    let file = client.small_file("a.txt").await;
    client.get_after(&format!("/v1/files/{}", file.text("file_id")), &file).await.expect(200);
    client.get("/v1/files").await.expect(200);
    stack.finish().await;
}
