//! `waybill replay --swap` rebuilds the tables in another schema and replaces the live ones while requests continue.

use diesel::sql_types::Text;
use diesel::{QueryableByName, sql_query};
use diesel_async::SimpleAsyncConnection;
use futures_util::{StreamExt, stream};
use serde_json::json;
use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use uuid::Uuid;
use waybill_event_log::{EventLog, Expect, NewEvent};
use waybill_integration_tests::{Backing, Client, Cluster, Counts, Stack, servers_in};
use waybill_projector::{replay_into, verify};
use waybill_read_model::Database;
use waybill_schema::events::SessionOpened;
use waybill_schema::{Actor, Causation, Entity, Envelope, Routing, SessionId, Subject, Timestamp};
use waybill_test_kit::eventually;

const PARTITIONS: u32 = 4;

/// Runs `waybill replay` and returns its output.
async fn replay(backing: &Backing, command: &[&str]) -> String {
    let servers = servers_in(&backing.arguments("replay", &[]), false);
    let mut program = Command::new(waybill_test_kit::settings("WAYBILL_TEST_BIN"));
    program.arg("replay").args(command).args(servers);
    let output = tokio::task::spawn_blocking(move || program.output()).await.unwrap().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "waybill replay {command:?}: {said}{complained}");
    said.into_owned()
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Text)]
    found: String,
}

/// Returns the rows of a query with one text column.
async fn all(database: &Database, query: &str) -> Vec<String> {
    // Imported only here, because atomics also have a method `load`.
    use diesel_async::RunQueryDsl;
    let found: Vec<Found> = sql_query(query).load(&mut database.connection().await.unwrap()).await.unwrap();
    found.into_iter().map(|row| row.found).collect()
}

async fn execute(database: &Database, text: &str) {
    database.connection().await.unwrap().batch_execute(text).await.unwrap();
}

/// Uploads and reads files until `stop` is set. Returns the files and the failed requests.
async fn work(client: Client, stop: Arc<AtomicBool>, rounds: Arc<AtomicUsize>) -> (BTreeSet<String>, Vec<String>) {
    let (mut files, mut failures) = (BTreeSet::new(), Vec::new());
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let query = format!("name=file-{number}.txt&mime_type=text/plain");
        let posted = client.post_file(&query, format!("{number} {}", client.principal.company_id.0)).await;
        if posted.status != 201 {
            failures.push(format!("upload: {posted:?}"));
            continue;
        }
        let file = posted.text("file_id");
        for path in [format!("/v1/files/{file}"), "/v1/files?limit=5".to_owned(), "/v1/quota".to_owned()] {
            let answer = client.get_after(&path, &posted).await;
            if answer.status != 200 {
                failures.push(format!("{path}: {answer:?}"));
            }
        }
        files.insert(file);
        rounds.fetch_add(1, Ordering::Relaxed);
    }
    (files, failures)
}

/// Returns all files of a company, read page by page.
async fn listed(client: &Client) -> BTreeSet<String> {
    let (mut files, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let page = client.get(&format!("/v1/files?limit=100{cursor}")).await.expect(200).body;
        for file in page["items"].as_array().unwrap() {
            assert!(file["original_name"].as_str().unwrap().starts_with("file-"), "{file}");
            files.insert(file["id"].as_str().unwrap().to_owned());
        }
        let Some(next) = page["next_cursor"].as_str() else { return files };
        cursor = format!("&cursor={next}");
    }
}

/// Damaged tables are replaced under load.
#[tokio::test(flavor = "multi_thread")]
async fn tables_are_swapped_under_load_without_a_failed_request() {
    let cluster = Cluster::start(Counts { partitions: PARTITIONS, ..Counts::default() }).await;
    let clients = cluster.company_of_each_partition();
    let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let working = clients.iter().map(|client| tokio::spawn(work(client.clone(), stop.clone(), rounds.clone())));
    let working: Vec<_> = working.collect();
    let live = cluster.backing.database("waybill");
    let granted = "GRANT USAGE ON SCHEMA waybill TO PUBLIC; GRANT SELECT ON file TO PUBLIC; \
                   ALTER DEFAULT PRIVILEGES IN SCHEMA waybill GRANT SELECT ON TABLES TO PUBLIC";
    execute(&live, granted).await;
    for swap in 0..6 {
        let before = rounds.load(Ordering::Relaxed);
        eventually("more uploads", || async { (rounds.load(Ordering::Relaxed) > before + 20).then_some(()) }).await;
        let is_damaged = swap % 2 == 1;
        if is_damaged {
            let damage =
                "UPDATE file SET original_name = 'x'; DELETE FROM upload_progress WHERE completed_at IS NOT NULL";
            execute(&live, damage).await;
        }
        let said = replay(&cluster.backing, &["--swap"]).await;
        assert!(said.contains("the rebuilt tables are live"), "{said}");
        assert_eq!(said.contains("DIFFERS"), is_damaged, "{said}");
    }
    stop.store(true, Ordering::Relaxed);
    for (client, work) in clients.iter().zip(working) {
        let (files, failures) = work.await.unwrap();
        assert!(failures.is_empty(), "{failures:#?}");
        cluster.backing.projected().await;
        assert_eq!(listed(client).await, files);
    }
    let schemas = "SELECT nspname::text AS found FROM pg_namespace WHERE nspname LIKE 'waybill%'";
    assert_eq!(all(&live, schemas).await, ["waybill"], "a schema of a rebuild is left");
    execute(&live, "CREATE TABLE later (id int)").await;
    let rights = "SELECT 'yes' AS found WHERE has_schema_privilege('public', 'waybill', 'USAGE') \
                  AND has_table_privilege('public', 'waybill.file', 'SELECT') \
                  AND has_table_privilege('public', 'waybill.later', 'SELECT') \
                  AND NOT has_function_privilege('public', 'waybill.analyze_tables(regclass[])', 'EXECUTE') \
                  AND EXISTS (SELECT FROM pg_proc p, aclexplode(p.proacl) a WHERE a.grantee <> p.proowner \
                      AND p.oid = 'waybill.analyze_tables(regclass[])'::regprocedure)";
    assert_eq!(all(&live, rights).await, ["yes"], "the granted privileges are lost");
    execute(&live, "DROP TABLE later").await;
    assert!(replay(&cluster.backing, &["--verify"]).await.ends_with("\nequal\n"));
    cluster.finish().await;
}

/// Repairing one partition does not change the others.
#[tokio::test(flavor = "multi_thread")]
async fn the_rows_of_one_partition_are_put_right() {
    let cluster = Cluster::start(Counts { partitions: PARTITIONS, ..Counts::default() }).await;
    let clients = cluster.company_of_each_partition();
    for client in &clients {
        client.small_file("file-1.txt").await;
        client.start(10).await.expect(201);
    }
    cluster.backing.settled().await;
    let live = cluster.backing.database("waybill");
    execute(
        &live,
        "DELETE FROM upload_progress; DELETE FROM file WHERE NOT is_processed; UPDATE file SET original_name = 'x'; \
         UPDATE storage_quota SET storage_used_bytes = 1; \
         INSERT INTO \"user\" (company_id, id, created_at) SELECT id, gen_random_uuid(), now() FROM company",
    )
    .await;
    let said = replay(&cluster.backing, &["--swap", "--partition", "2"]).await;
    let lines: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    for (table, written, deleted) in [("file", "2", "0"), ("upload_progress", "1", "0"), ("user", "0", "1")] {
        let line = [table, written, "rows", "written,", deleted, "deleted"];
        assert!(lines.iter().any(|found| found[..] == line), "{line:?}: {said}");
    }
    for (partition, client) in (0..PARTITIONS).zip(&clients) {
        let company = client.principal.company_id;
        let names = format!("SELECT original_name::text AS found FROM file WHERE company_id = '{company}' ORDER BY 1");
        let names = all(&live, &names).await;
        assert_eq!(names.len(), if partition == 2 { 2 } else { 1 }, "{partition}: {names:?}");
        assert_eq!(names.contains(&"x".to_owned()), partition != 2, "{partition}: {names:?}");
        // The projection of the partition continues.
        let posted = client.small_file("file-2.txt").await;
        client.get_after(&format!("/v1/files/{}", posted.text("file_id")), &posted).await.expect(200);
    }
    assert!(replay(&cluster.backing, &["--swap", "--partition", "2"]).await.contains("all rows were correct"));
    replay(&cluster.backing, &["--swap"]).await;
    cluster.finish().await;
}

/// Appends the events of `count` opened sessions.
async fn open_sessions(log: &dyn EventLog, client: &Client, count: u128) {
    let open = async |number| {
        let subject = Subject::new(client.principal.company_id, Entity::Session(SessionId(Uuid::from_u128(number))));
        let event = NewEvent {
            subject,
            envelope: Envelope {
                time: Timestamp(1_764_000_000_000),
                actor: Actor::User(client.principal.user_id),
                causation: Causation::Request(Uuid::from_u128(number)),
                address: None,
                routing: Routing::default(),
            },
            event: SessionOpened { user_id: client.principal.user_id, session_name: None }.into(),
            expect: Expect::LastSeq(0),
            message_id: None,
        };
        log.publish(&event).await.unwrap();
    };
    stream::iter(1..=count).for_each_concurrent(64, open).await;
}

/// A large rebuild creates indexes and foreign keys after all rows. They must equal those of the migrations.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_rebuild_ends_with_all_indexes_and_keys() {
    let stack = Stack::start().await;
    let client = stack.client();
    client.post("/v1/sessions", &json!({})).await.expect(201);
    open_sessions(stack.log(), &client, 12_000).await;
    stack.projected().await;
    let again = stack.database("again");
    assert!(replay_into(stack.log(), &again).await.unwrap() > 12_000);
    let made = [
        // PostgreSQL prints the condition of an index differently after it was read back, so only its existence is
        // compared.
        "SELECT format('%s %s %s', indrelid::regclass, i.relname, \
         regexp_replace(replace(pg_get_indexdef(indexrelid), n.nspname, ''), ' WHERE .*', ' WHERE')) AS found \
         FROM pg_index JOIN pg_class i ON i.oid = indexrelid JOIN pg_namespace n ON n.oid = i.relnamespace \
         WHERE n.nspname = current_schema() AND indisvalid ORDER BY 1",
        "SELECT format('%s %s', conrelid::regclass, pg_get_constraintdef(oid)) AS found FROM pg_constraint \
         WHERE connamespace = current_schema()::regnamespace AND conparentid = 0 AND convalidated ORDER BY 1",
        "SELECT relname::text AS found FROM pg_class \
         WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') ORDER BY 1",
    ];
    for query in made {
        let (live, again) = (all(&stack.database("waybill"), query).await, all(&again, query).await);
        assert!(live.len() > 10, "{live:?}");
        assert_eq!(live, again);
    }
    let comparison = verify(stack.log(), &stack.database("waybill")).await.unwrap();
    assert!(comparison.is_equal(), "{comparison:#?}");
    stack.finish().await;
}
