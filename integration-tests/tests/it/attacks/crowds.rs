//! One client that wants everything at the same time: many sockets, tickets and downloads.

use crate::socket::{connect, next, with_token};
use reqwest::Method;
use serde_json::json;
use waybill_integration_tests::{Client, Options, Shape, Stack};
use waybill_test_kit::eventually;

async fn apart(args: &[&str]) -> Stack {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    Stack::with(Options { args, shape: Shape::Apart }).await
}

/// Returns the subprotocol that carries a ticket.
fn offered(ticket: &str) -> (&'static str, String) {
    ("sec-websocket-protocol", format!("waybill.v1, ticket.{ticket}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_who_guesses_tickets_at_a_fanout_is_blocked_and_a_good_ticket_is_not() {
    let stack = apart(&[]).await;
    let client = stack.client();
    let browser = client.at(stack.progress_url().to_owned());
    let mut statuses = Vec::new();
    for number in 0..150 {
        statuses.push(connect(browser.url(), &[offered(&format!("{number:064x}"))]).await.err().unwrap());
    }
    assert_eq!((statuses[0], statuses.last()), (401, Some(&429)));
    let ticket = browser.post("/v1/progress/tickets", &json!({})).await.expect(201).text("ticket");
    let mut socket = connect(browser.url(), &[offered(&ticket)]).await.unwrap();
    assert_eq!(next(&mut socket).await["t"], "hello");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_a_fanout_limits_tickets_and_sockets_and_serves_pages_of_allowed_origins() {
    let origin = "https://app.example";
    let stack = apart(&["--sockets-per-company=2", "--allowed-origins=https://app.example"]).await;
    let (greedy, other) = (stack.client(), stack.client());
    let (greedy, other) = (greedy.at(stack.progress_url().to_owned()), other.at(stack.progress_url().to_owned()));
    let mut refused = None;
    for _ in 0..200 {
        let answer = greedy.post("/v1/progress/tickets", &json!({})).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    refused.expect("every ticket was issued").refused(429, "too_many_requests");
    let preflight = other
        .request(Method::OPTIONS, "/v1/progress/tickets")
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "authorization");
    let answer = preflight.send().await.unwrap();
    assert_eq!(answer.headers()["access-control-allow-origin"], origin);
    let issued = other.request(Method::POST, "/v1/progress/tickets").header("Origin", origin).send().await.unwrap();
    assert_eq!(
        (issued.status().as_u16(), &issued.headers()["access-control-allow-origin"]),
        (201, &origin.parse().unwrap())
    );
    // The company has its sockets. A further one is refused until one is closed, and other companies have their own.
    let first = with_token(greedy.url(), &greedy).await;
    let _second = with_token(greedy.url(), &greedy).await;
    let token = |client: &Client| [("authorization", format!("Bearer {}", client.token()))];
    assert_eq!(connect(greedy.url(), &token(&greedy)).await.err(), Some(429));
    with_token(other.url(), &other).await;
    drop(first);
    waybill_test_kit::eventually("a place to be free", || async {
        connect(greedy.url(), &token(&greedy)).await.ok().map(drop)
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_a_stranger_gets_no_ticket() {
    let stack = apart(&["--auto-register=false"]).await;
    let stranger = stack.client().at(stack.progress_url().to_owned());
    stranger.post("/v1/progress/tickets", &json!({})).await.refused(403, "not_registered");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m10_a_fanout_refuses_invalidated_tokens_and_their_tickets() {
    let stack = apart(&[]).await;
    let client = stack.client();
    client.small_file("a.txt").await.expect(201);
    let browser = client.at(stack.progress_url().to_owned());
    let ticket = browser.post("/v1/progress/tickets", &json!({})).await.expect(201).text("ticket");
    let sign_out = format!("/v1/admin/companies/{}/sign-out", client.principal.company_id);
    let in_half_a_minute = chrono::Utc::now() + chrono::Duration::seconds(30);
    stack.host().post(&sign_out, &json!({ "issued_before": in_half_a_minute })).await.expect(204);
    let bearer = ("Authorization", format!("Bearer {}", browser.token()));
    eventually("the fan-out to refuse the token", || async {
        (connect(browser.url(), std::slice::from_ref(&bearer)).await.err() == Some(401)).then_some(())
    })
    .await;
    assert_eq!(connect(browser.url(), &[offered(&ticket)]).await.err(), Some(401));
    browser.post("/v1/progress/tickets", &json!({})).await.refused(401, "token_invalid");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m11_who_holds_many_downloads_gets_no_more_and_the_others_are_served() {
    let args = ["--downloads-per-user=2", "--exports-per-company=1"].map(str::to_owned).to_vec();
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let greedy = stack.client();
    let colleague = stack.client_for(greedy.principal.company_id, &[]);
    let (size, query) = (32 << 20, "name=a.bin&mime_type=application/octet-stream");
    let upload = greedy.start(size).await.expect(201).text("upload_id");
    for index in 0..4 {
        greedy.put_chunk(&upload, index, vec![7; 8 << 20]).await.expect(200);
    }
    greedy.complete(&upload, &json!({})).await;
    greedy.file_with_status(&upload, "COMPLETED").await;
    let path = format!("/v1/files/{upload}/content");
    // These clients have the head of the answer and do not read the bytes.
    let held = [
        greedy.request(Method::GET, &path).send().await.unwrap(),
        greedy.request(Method::GET, &path).send().await.unwrap(),
    ];
    assert!(held.iter().all(|answer| answer.status() == 200));
    let refused = greedy.request(Method::GET, &path).send().await.unwrap();
    assert!(refused.headers().contains_key("retry-after"));
    greedy.get(&path).await.refused(429, "too_many_at_once");
    let small = colleague.post_file(query, "hello").await.expect(201).text("file_id");
    colleague.file_with_status(&small, "COMPLETED").await;
    assert_eq!(colleague.content(&small).await, b"hello");
    drop(held);
    waybill_test_kit::eventually("a place to be free", || async {
        (greedy.request(Method::GET, &path).send().await.unwrap().status() == 200).then_some(())
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l5_who_waits_too_often_is_answered_without_waiting() {
    let args = vec!["--waits-per-user=0".to_owned()];
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let client = stack.client();
    let upload = client.start(5).await.expect(201).text("upload_id");
    client.put_chunk(&upload, 0, "hello").await.expect(200);
    let complete = client.request(Method::POST, &format!("/v1/uploads/{upload}/complete"));
    let answer = client.send(complete.header("Prefer", "wait=120").json(&json!({}))).await;
    assert!(matches!(answer.status, 200 | 202), "{}", answer.status);
    client.file_with_status(&upload, "COMPLETED").await;
    stack.finish().await;
}
