//! All tables can be dropped and rebuilt from the events.

use serde_json::json;
use uuid::Uuid;
use waybill_integration_tests::Stack;
use waybill_projector::{replay_into, verify};
use waybill_read_model::digests;

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_gives_the_same_tables() {
    let stack = Stack::start().await;
    let client = stack.client();
    let session = client.post("/v1/sessions", &json!({})).await.expect(201).text("session_id");
    for n in 0..5 {
        client.post_file(&format!("name={n}.txt&mime_type=text/plain&session_id={session}"), "hello").await.expect(201);
    }
    let running =
        client.start_with(1_000, json!({ "metadata": { "a": [1, null, "x"] } })).await.expect(201).text("upload_id");
    let cancelled = client.start(1_000).await.expect(201).text("upload_id");
    client.delete(&format!("/v1/uploads/{cancelled}")).await.expect(204);
    client.put_chunk(&running, 0, vec![0; 1_000]).await.expect(200);
    stack.settled().await;

    let live = stack.database("waybill");
    let comparison = verify(stack.log(), &live).await.unwrap();
    assert!(comparison.is_equal(), "{comparison:#?}");
    let rows = |table: &str| comparison.tables.iter().find(|t| t.live.table == table).unwrap().live.rows;
    assert_eq!((rows("file"), rows("upload_progress"), rows("upload_session")), (7, 7, 1));

    let again = stack.database("again");
    let folded = replay_into(stack.log(), &again).await.unwrap();
    assert!(folded > 20, "{folded}");
    let before = digests(&mut live.connection().await.unwrap()).await.unwrap();
    assert_eq!(digests(&mut again.connection().await.unwrap()).await.unwrap(), before);
    assert_eq!(replay_into(stack.log(), &again).await.unwrap(), 0, "a second replay folded events again");
    again.drop_schema().await.unwrap();
    assert_eq!(replay_into(stack.log(), &again).await.unwrap(), folded);
    assert_eq!(digests(&mut again.connection().await.unwrap()).await.unwrap(), before);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_tampered_with_is_named() {
    use diesel_async::SimpleAsyncConnection;
    let stack = Stack::start().await;
    let client = stack.client();
    let posted = client.small_file("a.txt").await;
    client.get_after(&format!("/v1/files/{}", posted.text("file_id")), &posted).await.expect(200);
    stack.settled().await;
    let live = stack.database("waybill");
    let mut connection = live.connection().await.unwrap();
    connection.batch_execute("UPDATE file SET original_name = 'b.txt'").await.unwrap();
    let comparison = verify(stack.log(), &live).await.unwrap();
    let differ: Vec<&str> =
        comparison.tables.iter().filter(|t| t.live != t.rebuilt).map(|t| t.live.table.as_str()).collect();
    assert_eq!(differ, ["file"]);
    connection.batch_execute("UPDATE file SET original_name = 'a.txt'").await.unwrap();
    drop(connection);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_companies_call_by_the_same_id_stays_apart() {
    let stack = Stack::start().await;
    let (user, chatroom, thread) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    for client in [stack.client(), stack.client()] {
        let admin = format!("/v1/admin/companies/{}", client.principal.company_id);
        client.put(&admin, &json!({})).await.expect(200);
        for path in [format!("users/{user}"), format!("chatrooms/{chatroom}"), format!("threads/{thread}")] {
            client.put(&format!("{admin}/{path}"), &json!({})).await.expect(204);
        }
    }
    stack.projected().await;
    // A rebuild folds the events of both companies in one batch.
    let comparison = verify(stack.log(), &stack.database("waybill")).await.unwrap();
    assert!(comparison.is_equal(), "{comparison:#?}");
    let rebuilt = |table: &str| comparison.tables.iter().find(|t| t.rebuilt.table == table).unwrap().rebuilt.rows;
    assert_eq!((rebuilt("company"), rebuilt("chatroom"), rebuilt("thread")), (2, 2, 2));
    stack.finish().await;
}
