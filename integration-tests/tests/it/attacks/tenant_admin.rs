//! Administrators of a company that try to get more than the host product allows.

use serde_json::{Value, json};
use waybill_http_kit::Role;
use waybill_integration_tests::{Client, Options, Stack};

fn path(of: &Client, below: &str) -> String {
    format!("/v1/admin/companies/{}{below}", of.principal.company_id)
}

#[tokio::test(flavor = "multi_thread")]
async fn h2_an_administrator_cannot_exceed_the_limits_of_the_host_product() {
    let stack = Stack::start().await;
    let (admin, host) = (stack.client(), stack.host());
    let limits = json!({
        "max_file_bytes": 1_000, "allowed_mime_types": ["text/*", "image/*"], "retention_days": 100,
        "min_retention_days": 10, "link_max_age_s": 3_600, "storage_limit_bytes": 5_000,
    });
    host.put(&path(&admin, ""), &limits).await.expect(200);
    // No value above a limit, and no sabotage by a short retention.
    for (above, code) in [
        (json!({ "max_file_bytes": 1_001 }), "settings_invalid"),
        (json!({ "retention_days": 101 }), "settings_invalid"),
        (json!({ "retention_days": 1 }), "settings_invalid"),
        (json!({ "link_max_age_s": 3_601 }), "settings_invalid"),
        (json!({ "storage_limit_bytes": 9_223_372_036_854_775_807_u64 }), "limit_invalid"),
    ] {
        admin.put(&path(&admin, ""), &above).await.refused(422, code);
    }
    let more = json!({ "storage_limit_bytes": 5_001 });
    let refused = admin.put(&path(&admin, "/quota"), &more).await.refused(422, "limit_invalid");
    assert_eq!(refused.body["limit_bytes"], 5_000);
    admin.put(&path(&admin, ""), &json!({ "min_retention_days": 1 })).await.refused(403, "role_required");
    // Removing the own settings does not remove the limits, and lists of types are intersected.
    let own = json!({ "allowed_mime_types": ["application/*", "text/x-shellscript", "image/png"] });
    for (settings, types) in [(json!({}), json!(["text/*", "image/*"])), (own, json!(["image/png"]))] {
        let shown = admin.put(&path(&admin, ""), &settings).await.expect(200).body;
        assert_eq!((&shown["max_file_bytes"], &shown["retention_days"]), (&json!(1_000), &json!(100)));
        assert_eq!((&shown["storage_limit_bytes"], &shown["allowed_mime_types"]), (&json!(5_000), &types));
        assert_eq!(shown["limits"]["min_retention_days"], 10);
    }
    let start = |name: &str, mime: &str, size: u64| json!({ "name": name, "mime_type": mime, "size_bytes": size });
    admin.post("/v1/uploads", &start("a.sh", "text/x-shellscript", 1)).await.refused(415, "type_refused");
    admin.post("/v1/uploads", &start("a.txt", "text/plain", 1)).await.refused(415, "type_refused");
    admin.post("/v1/uploads", &start("a.png", "image/png", 1_001)).await.refused(413, "file_too_large");
    // Lower values are the company's own decision.
    let lower = json!({ "max_file_bytes": 10, "storage_limit_bytes": 15, "link_max_age_s": 0 });
    admin.put(&path(&admin, ""), &lower).await.expect(200);
    admin.post("/v1/uploads", &start("a.txt", "text/plain", 11)).await.refused(413, "file_too_large");
    admin.put(&path(&admin, "/quota"), &json!({ "storage_limit_bytes": 5_000 })).await.expect(200);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h2_an_administrator_cannot_bring_back_a_user_whom_the_host_product_removed() {
    let stack = Stack::with(Options { args: vec!["--auto-register=false".to_owned()], ..Options::default() }).await;
    let (admin, host) = (stack.client(), stack.host());
    let fired = stack.client_for(admin.principal.company_id, &[]);
    host.put(&path(&admin, ""), &json!({})).await.expect(200);
    for client in [&admin, &fired] {
        let user = path(client, &format!("/users/{}", client.principal.user_id));
        host.put(&user, &json!({})).await.expect(204);
    }
    let user = path(&fired, &format!("/users/{}", fired.principal.user_id));
    host.delete(&user).await.expect(204);
    admin.put(&user, &json!({})).await.refused(403, "not_registered");
    let operations = json!({ "operations": [{ "op": "register_user", "user_id": fired.principal.user_id }] });
    admin.post(&path(&admin, "/bulk"), &operations).await.refused(403, "not_registered");
    fired.get("/v1/files").await.refused(403, "not_registered");
    host.put(&user, &json!({})).await.expect(204);
    fired.get("/v1/files").await.expect(200);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m5_a_company_limits_and_forbids_download_links() {
    let stack = Stack::start().await;
    let (admin, host) = (stack.client(), stack.host());
    let file = admin.small_file("a.txt").await.text("file_id");
    admin.file_with_status(&file, "COMPLETED").await;
    let tokens = format!("/v1/files/{file}/tokens");
    let issue = async |body: Value| admin.post(&tokens, &body).await;
    let old = issue(json!({ "expires_in_s": 86_400, "max_downloads": null })).await.expect(201);
    host.put(&path(&admin, ""), &json!({ "link_max_age_s": 600, "link_max_downloads": 3 })).await.expect(200);
    issue(json!({ "expires_in_s": 601 })).await.refused(422, "token_settings_invalid");
    issue(json!({ "max_downloads": null })).await.refused(422, "token_settings_invalid");
    issue(json!({ "max_downloads": 4 })).await.refused(422, "token_settings_invalid");
    issue(json!({ "max_downloads": 3 })).await.expect(201);
    admin.get(&old.text("url")).await.expect(200);
    host.put(&path(&admin, ""), &json!({ "link_max_age_s": 0 })).await.expect(200);
    issue(json!({})).await.refused(403, "links_forbidden");
    admin.get(&old.text("url")).await.refused(410, "token_ended");
    let user = stack.client_for(admin.principal.company_id, &[Role::Admin]);
    user.put(&path(&admin, ""), &json!({ "link_max_age_s": 600 })).await.refused(422, "settings_invalid");
    stack.finish().await;
}
