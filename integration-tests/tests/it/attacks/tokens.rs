//! Forged access tokens and a stolen table of download tokens.

use serde_json::{Value, json};
use waybill_integration_tests::{Client, Stack};
use waybill_schema::Timestamp;

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
