//! Authentication, and resources of other users.

use reqwest::Method;
use serde_json::json;
use waybill_http_kit::Principal;
use waybill_integration_tests::{Client, Stack, authenticator};
use waybill_service_kit::now;

#[tokio::test(flavor = "multi_thread")]
async fn requests_without_a_valid_token_are_refused_with_401() {
    let stack = Stack::start().await;
    let client = stack.client();
    let principal = client.principal.clone();
    let expired = stack.token(&Principal { expires_at: now().plus_ms(-60_000), ..principal.clone() });
    let mint =
        |secret: &str, issuer: &str, audience: &str| authenticator(secret, issuer, audience).mint(&principal).unwrap();
    let secret = "a secret that only the tests know.....";
    let unsigned = {
        let parts: Vec<&str> = client.token().split('.').collect();
        format!("eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0.{}.", parts[1])
    };
    for token in [
        expired,
        unsigned,
        mint("another secret that is as long as the other one", "waybill", "waybill"),
        mint(secret, "somebody", "waybill"),
        mint(secret, "waybill", "something"),
        "nonsense".to_owned(),
    ] {
        let stranger = Client::new(stack.url().to_owned(), token, principal.clone());
        stranger.get("/v1/files").await.refused(401, "token_invalid");
        stranger.start(1).await.refused(401, "token_invalid");
    }
    let anonymous = reqwest::Client::new().request(Method::GET, format!("{}/v1/files", stack.url()));
    client.send(anonymous).await.refused(401, "token_missing");
    client.get("/v1/nonsense").await.refused(404, "not_found");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_somebody_elses_is_not_found_on_any_route() {
    let stack = Stack::start().await;
    let owner = stack.client();
    let upload = owner.start(10).await.expect(201).text("upload_id");
    let posted = owner.small_file("a.txt").await;
    let file = posted.text("file_id");
    owner.get_after(&format!("/v1/files/{file}"), &posted).await.expect(200);
    for stranger in [stack.client(), stack.client_for(owner.principal.company_id, &[])] {
        for path in [format!("/v1/uploads/{upload}"), format!("/v1/files/{file}"), format!("/v1/files/{file}/content")]
        {
            stranger.get(&path).await.refused(404, "not_found");
        }
        for path in [format!("/v1/uploads/{upload}"), format!("/v1/files/{file}")] {
            stranger.delete(&path).await.refused(404, "not_found");
        }
        stranger.put_chunk(&upload, 0, "0123456789").await.refused(404, "not_found");
        stranger.complete(&upload, &json!({})).await.refused(404, "not_found");
        stranger.post(&format!("/v1/files/{file}/restore"), &json!({})).await.refused(404, "not_found");
        assert_eq!(stranger.get("/v1/files").await.expect(200).body["items"], json!([]));
    }
    for nothing in [uuid::Uuid::now_v7().to_string(), "nonsense".to_owned()] {
        owner.get(&format!("/v1/uploads/{nothing}")).await.refused(404, "not_found");
        owner.get(&format!("/v1/files/{nothing}")).await.refused(404, "not_found");
        owner.get(&format!("/v1/sessions/{nothing}")).await.refused(404, "not_found");
    }
    owner.get(&format!("/v1/uploads/{upload}")).await.expect(200);
    stack.finish().await;
}
