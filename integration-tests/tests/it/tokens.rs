//! Download tokens: the holder gets the file, within the number of downloads and the lifetime of the token.

use crate::sharing::{Method, Room};
use diesel_async::SimpleAsyncConnection;
use futures_util::future::join_all;
use reqwest::{Client as Http, Response, redirect};
use serde_json::{Value, json};
use waybill_event_log::read_after;
use waybill_integration_tests::{Answer, Client, Options, Stack};
use waybill_schema::{Entity, Subject, TokenId};
use waybill_test_kit::eventually;

async fn issue(client: &Client, file: &str, body: Value) -> Answer {
    client.post(&format!("/v1/files/{file}/tokens"), &body).await
}

async fn get(stack: &Stack, token: &Answer) -> Response {
    get_with(stack, token, &[]).await
}

async fn get_with(stack: &Stack, token: &Answer, headers: &[(&str, &str)]) -> Response {
    static HTTP: std::sync::LazyLock<Http> = std::sync::LazyLock::new(|| {
        Http::builder().redirect(redirect::Policy::none()).pool_max_idle_per_host(0).build().unwrap()
    });
    // On a slow machine a check of the token can take too long. A browser would send the request again.
    eventually("an answer other than 503", || async {
        let mut request = HTTP.get(format!("{}{}", stack.url(), token.text("url")));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        (answer.status() != 503).then_some(answer)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_one_download_serves_exactly_one_of_fifty_parallel_requests() {
    let stack = Stack::start().await;
    let client = stack.client();
    let file = client.small_file("a.txt").await.text("file_id");
    let token = issue(&client, &file, json!({ "max_downloads": 1 })).await.expect(201);
    let head = Http::new().head(format!("{}{}", stack.url(), token.text("url"))).send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.headers()["content-length"].to_str().unwrap()), (200, "5"));
    let answers = join_all((0..50).map(|_| get(&stack, &token))).await;
    let mut bodies = 0;
    for answer in answers {
        match answer.status().as_u16() {
            200 => {
                assert_eq!(answer.headers()["referrer-policy"], "no-referrer");
                assert_eq!(answer.headers()["cache-control"], "private, no-store");
                assert_eq!(answer.bytes().await.unwrap(), "hello");
                bodies += 1;
            }
            429 => assert!(answer.headers().contains_key("retry-after")),
            status => assert_eq!(status, 410),
        }
    }
    assert_eq!(bodies, 1);
    let listed = eventually("the download to be in the tables", || async {
        let listed = client.get(&format!("/v1/files/{file}/tokens")).await.expect(200);
        (listed.body["items"][0]["download_count"] == 1).then_some(listed)
    })
    .await;
    assert_eq!(listed.body["items"][0]["ip_address"], "127.0.0.1");
    assert!(!listed.body.to_string().contains(&token.text("token")));
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_and_revoked_tokens_are_410_and_forged_tokens_are_404() {
    let stack = Stack::start().await;
    let client = stack.client();
    let file = client.small_file("a.txt").await.text("file_id");
    for bad in [
        json!({ "expires_in_s": 0 }),
        json!({ "max_downloads": 0 }),
        json!({ "max_downloads": 10_001 }),
        json!({ "expires_in_s": 9_999_999 }),
    ] {
        issue(&client, &file, bad).await.refused(422, "token_settings_invalid");
    }
    let many = issue(&client, &file, json!({ "max_downloads": null })).await.expect(201);
    for _ in 0..3 {
        assert_eq!(get(&stack, &many).await.status().as_u16(), 200);
    }
    let path = format!("/v1/tokens/{}", many.text("id"));
    stack.client().delete(&path).await.refused(404, "not_found");
    stack.client_for(client.principal.company_id, &[]).delete(&path).await.refused(404, "not_found");
    client.delete(&path).await.expect(204);
    assert_eq!(get(&stack, &many).await.status().as_u16(), 410);
    let brief = issue(&client, &file, json!({ "expires_in_s": 5, "max_downloads": null })).await.expect(201);
    assert_eq!(get(&stack, &brief).await.status().as_u16(), 200);
    eventually("the token to expire", || async { (get(&stack, &brief).await.status() == 410).then_some(()) }).await;
    // A token with a changed character is answered like an unknown one.
    let good = issue(&client, &file, json!({})).await.expect(201).text("token");
    let last = if good.ends_with('A') { 'B' } else { 'A' };
    let forged = format!("{}{last}", &good[..good.len() - 1]);
    for text in [forged.as_str(), "nonsense", &"A".repeat(86), &"A".repeat(5_000)] {
        let answer = Http::new().get(format!("{}/d/{text}", stack.url())).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 404, "{text}");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_for_as_long_as_whoever_handed_it_out_may_read_the_file() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let posted = room.file("a.txt").await;
    let file = posted.text("file_id");
    room.ben.get_after(&format!("/v1/files/{file}"), &posted).await.expect(200);
    let theirs = issue(&room.ben, &file, json!({ "max_downloads": null })).await.expect(201);
    let own = issue(&room.anna, &file, json!({ "max_downloads": null })).await.expect(201);
    issue(&room.carl, &file, json!({})).await.refused(404, "not_found");
    assert_eq!(get(&stack, &theirs).await.status().as_u16(), 200);
    room.keep(Method::Delete, &room.member(&room.ben)).await;
    eventually("the token to become invalid", || async { (get(&stack, &theirs).await.status() == 404).then_some(()) })
        .await;
    assert_eq!(get(&stack, &own).await.status().as_u16(), 200);
    room.anna.delete(&format!("/v1/files/{file}")).await.expect(204);
    eventually("the file to be gone", || async { (get(&stack, &own).await.status() == 410).then_some(()) }).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_their_number_does_not_matter_downloads_may_go_to_the_store() {
    let args = vec!["--download-redirects=true".to_owned()];
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let client = stack.client();
    let file = client.post_file("name=a%22b.txt&mime_type=text/html", "<p>hello</p>").await.expect(201).text("file_id");
    let many = issue(&client, &file, json!({ "max_downloads": null })).await.expect(201);
    let sent_on = get(&stack, &many).await;
    assert_eq!(sent_on.status().as_u16(), 302);
    let found = Http::new().get(sent_on.headers()["location"].to_str().unwrap()).send().await.unwrap();
    assert_eq!(found.status().as_u16(), 200);
    assert!(found.headers()["content-disposition"].to_str().unwrap().starts_with("attachment; "));
    assert_eq!(found.text().await.unwrap(), "<p>hello</p>");
    let one = issue(&client, &file, json!({ "max_downloads": 1 })).await.expect(201);
    assert_eq!(get(&stack, &one).await.status().as_u16(), 200);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_never_leads_to_a_deleted_object() {
    let args = vec!["--download-redirects=true".to_owned()];
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let client = stack.client();
    client.post_file("name=a.txt&mime_type=text/plain", "the same").await.expect(201);
    let file = client.post_file("name=b.txt&mime_type=text/plain", "the same").await.expect(201).text("file_id");
    let link = issue(&client, &file, json!({ "max_downloads": null })).await.expect(201);
    eventually("the files to share an object", || async {
        let known = client.get("/v1/audit?kind=ContentShared").await.expect(200).body;
        (!known["items"].as_array()?.is_empty()).then_some(())
    })
    .await;
    stack.settled().await;
    // As if the tables did not show the shared object yet, and the own object of the file were already deleted.
    let mut connection = stack.database("waybill").connection().await.unwrap();
    connection
        .batch_execute(&format!(
            "CREATE TEMP TABLE before AS SELECT storage_key FROM file WHERE id = '{file}'; \
             UPDATE file SET storage_key = 'o/gone' WHERE id = '{file}'"
        ))
        .await
        .unwrap();
    let sent_on = get(&stack, &link).await;
    assert_eq!(sent_on.status().as_u16(), 302);
    let found = Http::new().get(sent_on.headers()["location"].to_str().unwrap()).send().await.unwrap();
    assert_eq!((found.status().as_u16(), found.text().await.unwrap().as_str()), (200, "the same"));
    let again = format!("UPDATE file SET storage_key = (SELECT storage_key FROM before) WHERE id = '{file}'");
    connection.batch_execute(&again).await.unwrap();
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_gets_the_same_token() {
    let stack = Stack::start().await;
    let client = stack.client();
    let file = client.small_file("a.txt").await.text("file_id");
    let ask = async || {
        let path = format!("/v1/files/{file}/tokens");
        let request = client.request(reqwest::Method::POST, &path).header("Idempotency-Key", "once");
        client.send(request.json(&json!({ "max_downloads": 3 }))).await.expect(201)
    };
    let (first, second) = (ask().await, ask().await);
    assert_eq!(first.body, second.body);
    assert_eq!(get(&stack, &second).await.status().as_u16(), 200);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_row_of_a_token_that_ended_goes_and_its_history_stays() {
    let args = ["--tokens-kept-s=1", "--worker-sweep-ms=100"].map(str::to_owned).to_vec();
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let client = stack.client();
    let file = client.small_file("a.txt").await.text("file_id");
    let long = issue(&client, &file, json!({ "expires_in_s": 3_600 })).await.expect(201);
    let short = issue(&client, &file, json!({ "expires_in_s": 5 })).await.expect(201);
    assert_eq!(get(&stack, &short).await.status(), 200);
    eventually("the row to be deleted", || async {
        let listed = client.get(&format!("/v1/files/{file}/tokens")).await.expect(200).body;
        let ids: Vec<&Value> = listed["items"].as_array()?.iter().map(|token| &token["id"]).collect();
        (ids == [&long.body["id"]]).then_some(())
    })
    .await;
    assert_eq!(get(&stack, &short).await.status(), 410);
    assert_eq!(get(&stack, &long).await.status(), 200);
    let history = client.get("/v1/audit?kind=DownloadTokenRedeemed").await.expect(200).body;
    assert_eq!(history["items"].as_array().unwrap().len(), 2, "the audit lost a download: {history}");
    stack.finish().await;
}

/// Correctness S3-8: the events that are read for a token do not grow with the number of downloads.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_for_any_number_of_downloads_stays_short_to_read() {
    let stack = Stack::start().await;
    let client = stack.client();
    let file = client.small_file("a.txt").await.text("file_id");
    let many = issue(&client, &file, json!({ "max_downloads": null })).await.expect(201);
    for _ in 0..5 {
        let answer = get(&stack, &many).await;
        assert_eq!(answer.status().as_u16(), 200);
        answer.bytes().await.unwrap();
    }
    eventually("the downloads to be counted", || async {
        let listed = client.get(&format!("/v1/files/{file}/tokens")).await.expect(200).body;
        (listed["items"][0]["download_count"] == 5).then_some(())
    })
    .await;
    let token: TokenId = many.text("id").parse().unwrap();
    let events = async |aggregate| {
        let subject = Subject::new(client.principal.company_id, aggregate);
        read_after(stack.log(), subject, 0).await.unwrap().len()
    };
    assert_eq!(events(Entity::Token(token)).await, 1);
    assert_eq!(events(Entity::TokenDownloads(token)).await, 10);
    stack.finish().await;
}
