//! PostgreSQL and NATS that are slow or do not answer.

use reqwest::Method;
use std::time::{Duration, Instant};
use waybill_integration_tests::Stack;
use waybill_test_kit::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn row_38_without_postgres_or_with_a_slow_one_it_is_503_until_it_is_back() {
    use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
    let stack = Stack::start().await;
    let client = stack.client();
    let file = client.small_file("a").await;
    client.get_after(&format!("/v1/files/{}", file.text("file_id")), &file).await.expect(200);
    let mut connection = stack.database("waybill").connection().await.unwrap();
    connection.batch_execute("BEGIN; LOCK TABLE file IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let began = Instant::now();
    let answer = client.request(Method::GET, "/v1/files").send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    diesel::sql_query("ROLLBACK").execute(&mut connection).await.unwrap();
    client.get("/v1/files").await.expect(200);
    // All connections are closed. The services open new ones.
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE pid <> pg_backend_pid() AND datname = current_database()";
    diesel::sql_query(cut).execute(&mut connection).await.unwrap();
    eventually("requests on new connections to succeed", || async {
        (client.get("/v1/files").await.status == 200).then_some(())
    })
    .await;
    drop(connection);
    client.small_file("b").await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_38_while_nats_hangs_nothing_is_acknowledged_and_then_it_goes_on() {
    let mut cluster = waybill_integration_tests::Cluster::start(waybill_integration_tests::Counts::default()).await;
    let client = cluster.client();
    client.small_file("a").await;
    cluster.backing.nats_server().hang();
    for path in ["/v1/files?name=b&mime_type=text/plain"] {
        let answer = client.request(Method::POST, path).body("hello").send().await.unwrap();
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key("retry-after"));
    }
    let guess = reqwest::get(format!("{}/d/{}", cluster.url(), "A".repeat(86))).await.unwrap();
    assert!([404, 503].contains(&guess.status().as_u16()), "{}", guess.status());
    cluster.backing.nats_server().go_on();
    eventually("NATS to answer", || async {
        let answer = client.post_file("name=c&mime_type=text/plain", "hello").await;
        (answer.status == 201).then_some(())
    })
    .await;
    cluster.finish().await;
}
