//! Forged access tokens and a stolen table of download tokens.

use crate::socket::{Socket, closed, connect, next, send};
use serde_json::{Value, json};
use waybill_integration_tests::{Client, Stack};
use waybill_schema::Timestamp;
use waybill_service_kit::now;
use waybill_test_kit::eventually;

/// Returns a client whose token has these claims and a valid signature.
fn with_signed(stack: &Stack, client: &Client, header: Value, more: Value, without: &[&str]) -> Client {
    let mut claims = json!({
        "sub": client.principal.user_id, "company_id": client.principal.company_id, "roles": [],
        "iss": "waybill", "aud": "waybill", "exp": client.principal.expires_at.0 / 1_000,
    });
    let members = claims.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    without.iter().for_each(|name| drop(members.remove(*name)));
    Client::new(stack.url().to_owned(), stack.sign(&header, &claims), client.principal.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_1_to_3_a_good_signature_does_not_make_a_good_token() {
    let stack = Stack::start().await;
    let client = stack.client();
    let hs256 = json!({ "alg": "HS256", "typ": "JWT" });
    let of = |header: Value, more: Value, without: &[&str]| with_signed(&stack, &client, header, more, without);
    of(hs256.clone(), json!({}), &[]).get("/v1/files").await.expect(200);
    of(json!({ "alg": "HS256", "kid": "a-key.1" }), json!({}), &[]).get("/v1/files").await.expect(200);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    for more in [
        json!({ "jku": url }),
        json!({ "x5u": url }),
        json!({ "jwk": { "kty": "oct", "k": "AAAA" } }),
        json!({ "x5c": ["AAAA"] }),
        json!({ "kid": url }),
        json!({ "kid": "../../etc/passwd" }),
        json!({ "kid": "" }),
        json!({ "typ": "logout+jwt" }),
        json!({ "crit": ["exp"] }),
    ] {
        let mut header = hs256.clone();
        header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        of(header, json!({}), &[]).get("/v1/files").await.refused(401, "token_invalid");
    }
    let past = Timestamp(client.principal.expires_at.0 - 7_200_000).0 / 1_000;
    for more in [
        json!({ "iss": "somebody" }),
        json!({ "aud": "else" }),
        json!({ "exp": "4000000000" }),
        json!({ "exp": past }),
        json!({ "nbf": 4_000_000_000_i64 }),
        json!({ "sub": "nobody" }),
        json!({ "company_id": "none" }),
    ] {
        of(hs256.clone(), more, &[]).get("/v1/files").await.refused(401, "token_invalid");
    }
    for without in ["iss", "aud", "exp", "sub", "company_id"] {
        of(hs256.clone(), json!({}), &[without]).get("/v1/files").await.refused(401, "token_invalid");
    }
    assert!(listener.accept().is_err(), "the server connected to a URL of the token");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h1_a_token_of_the_host_product_cannot_act_as_a_user() {
    let stack = Stack::start().await;
    let client = stack.client();
    let file = client.small_file("a.txt").await.text("file_id");
    client.file_with_status(&file, "COMPLETED").await;
    let hs256 = json!({ "alg": "HS256", "typ": "JWT" });
    let with = |roles: Value| with_signed(&stack, &client, hs256.clone(), json!({ "roles": roles }), &[]);
    // The claims name a company and an admin of it, who can read the file.
    let host = with(json!(["service", "a role of something else"]));
    for path in
        ["/v1/files", &format!("/v1/files/{file}"), &format!("/v1/files/{file}/content"), "/v1/quota", "/v1/audit"]
    {
        host.get(path).await.refused(403, "user_required");
    }
    host.post("/v1/progress/tickets", &json!({})).await.refused(403, "user_required");
    host.post("/v1/uploads", &json!({ "name": "b", "size_bytes": 1 })).await.refused(403, "user_required");
    host.get("/openapi.json").await.expect(200);
    let company = client.principal.company_id;
    host.get(&format!("/v1/admin/companies/{company}")).await.expect(200);
    for roles in [json!(["service", "admin"]), json!(["auditor", "service"])] {
        with(roles.clone()).get(&format!("/v1/admin/companies/{company}")).await.refused(401, "token_invalid");
        with(roles).get("/v1/files").await.refused(401, "token_invalid");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m10_the_host_product_invalidates_the_tokens_of_a_user_or_a_company_within_a_second() {
    let stack = Stack::start().await;
    let (client, host) = (stack.client(), stack.host());
    let hs256 = json!({ "alg": "HS256", "typ": "JWT" });
    let issued_s = now().0 / 1_000;
    let with = |client: &Client, iat: Value| {
        let (more, without): (_, &[&str]) =
            if iat.is_null() { (json!({}), &["iat"]) } else { (json!({ "iat": iat }), &[]) };
        with_signed(&stack, client, hs256.clone(), more, without)
    };
    let other = stack.client_for(client.principal.company_id, &[]);
    let old = with(&client, json!(issued_s - 10));
    for client in [&old, &other] {
        client.small_file("a.txt").await.expect(201);
    }
    let bearer = ("Authorization", format!("Bearer {}", old.token()));
    let mut socket = connect(stack.url(), std::slice::from_ref(&bearer)).await.unwrap();
    let company = format!("/v1/admin/companies/{}", client.principal.company_id);
    let sign_out = format!("{company}/users/{}/sign-out", client.principal.user_id);
    client.post(&sign_out, &json!({})).await.refused(403, "role_required");
    host.post(&sign_out, &json!({ "issued_before": "2999-01-01T00:00:00Z" })).await.refused(422, "settings_invalid");
    let asked = std::time::Instant::now();
    host.post(&sign_out, &json!({})).await.expect(204);
    eventually("the token to be invalid", || async { (old.get("/v1/files").await.status == 401).then_some(()) }).await;
    assert!(asked.elapsed() < std::time::Duration::from_secs(5), "after {:?}", asked.elapsed());
    old.get("/v1/files").await.refused(401, "token_invalid");
    assert_eq!(closed(&mut socket).await, 4003);
    assert_eq!(connect(stack.url(), &[bearer]).await.err(), Some(401));
    // A connection with a new token cannot return to an old one.
    let new = with(&client, json!(issued_s + 5));
    let mut socket = connect(stack.url(), &[("Authorization", format!("Bearer {}", new.token()))]).await.unwrap();
    send(&mut socket, json!({ "t": "auth", "token": old.token() })).await;
    assert_eq!(next_of(&mut socket, "err").await["code"], "token_invalid");
    // Tokens that do not say when they were issued are invalid. Newer tokens and those of other users are valid.
    with(&client, Value::Null).get("/v1/files").await.refused(401, "token_invalid");
    with(&client, json!(issued_s + 5)).get("/v1/files").await.expect(200);
    other.get("/v1/files").await.expect(200);
    let in_ten_s = rfc3339(now().plus_ms(10_000));
    host.post(&format!("{company}/sign-out"), &json!({ "issued_before": in_ten_s })).await.expect(204);
    eventually("all tokens to be invalid", || async { (other.get("/v1/files").await.status == 401).then_some(()) })
        .await;
    with(&other, json!(issued_s + 60)).get("/v1/files").await.expect(200);
    // A user who has not sent a command yet is in no directory.
    let reader = stack.client();
    let (company, user) = (reader.principal.company_id, reader.principal.user_id);
    host.post(&format!("/v1/admin/companies/{company}/users/{user}/sign-out"), &json!({})).await.expect(204);
    let old = with(&reader, json!(issued_s - 10));
    eventually("the token to be invalid", || async { (old.get("/v1/files").await.status == 401).then_some(()) }).await;
    with(&reader, json!(issued_s + 60)).get("/v1/files").await.expect(200);
    stack.finish().await;
}

async fn next_of(socket: &mut Socket, kind: &str) -> Value {
    loop {
        let frame = next(socket).await;
        if frame["t"] == kind {
            return frame;
        }
    }
}

fn rfc3339(time: Timestamp) -> String {
    chrono::DateTime::from_timestamp_millis(time.0).unwrap().to_rfc3339()
}

#[tokio::test(flavor = "multi_thread")]
async fn row_17_the_table_of_tokens_opens_nothing() {
    use diesel_async::RunQueryDsl;
    #[derive(diesel::QueryableByName)]
    struct Found {
        #[diesel(sql_type = diesel::sql_types::Text)]
        token: String,
        #[diesel(sql_type = diesel::sql_types::Text)]
        row: String,
    }
    let stack = Stack::start().await;
    let client = stack.client();
    let file = client.small_file("a.txt").await.text("file_id");
    let issued = client.post(&format!("/v1/files/{file}/tokens"), &json!({})).await.expect(201);
    client.get_after(&format!("/v1/files/{file}/tokens"), &issued).await.expect(200);
    let mut connection = stack.database("waybill").connection().await.unwrap();
    let query = diesel::sql_query("SELECT token, to_json(t)::text AS row FROM download_token t");
    let rows: Vec<Found> = query.load(&mut connection).await.unwrap();
    assert_eq!(rows.len(), 1);
    let text = issued.text("token");
    assert_eq!(rows[0].token, sha256_of(&text));
    assert!(!rows[0].row.contains(&text) && !rows[0].row.contains(&text[text.len() - 20..]));
    drop(connection);
    stack.finish().await;
}

fn sha256_of(text: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
