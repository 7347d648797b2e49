//! Uses of existing clients other than plain uploads: files that are deleted and chosen again, refused types, and the
//! many ways to upload with curl.

use crate::real_clients::{Given, named, report_of, run, tus_js, tuspy};
use serde_json::{Value, json};
use tokio::process::Command;
use waybill_integration_tests::Stack;

const MIB: usize = 1_024 * 1_024;

/// Runs tus-java-client. Returns `None` if Maven or a JDK is missing.
async fn tus_java(scenario: &str, settings: &Value) -> Option<Value> {
    let Some(classpath) = std::env::var_os("WAYBILL_TEST_JAVA_CLASSPATH") else {
        eprintln!("skipped: tus-java-client needs mvn, javac and java on the PATH");
        return None;
    };
    let mut command = Command::new("java");
    command.arg("-cp").arg(classpath).arg("TusJava");
    Some(report_of(command, scenario, settings).await)
}

/// Asserts that the client created a new upload for the file, and that the file is stored.
async fn is_new_and_there(stack: &Stack, given: &Given, report: &Value) {
    assert!(report["first_url"].is_string() && report["first_url"] != report["url"], "{report}");
    given.is_there(stack, report).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tus_java_client_uploads() {
    let stack = Stack::start().await;
    let given = Given::new(&stack, 800, 20 * MIB + 7);
    if let Some(report) = tus_java("plain", &given.settings(json!({}))).await {
        given.is_there(&stack, &report).await;
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tus_java_client_resumes_while_its_first_request_is_open() {
    let stack = Stack::start().await;
    let given = Given::new(&stack, 801, 20 * MIB + 7);
    if let Some(report) = tus_java("resume", &given.settings(json!({}))).await {
        assert!(report["resumed_at"].as_u64().unwrap() > 0, "{report}");
        assert_eq!(report["first_url"], report["url"], "{report}");
        given.is_there(&stack, &report).await;
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tus_java_client_uploads_again_what_was_deleted() {
    let stack = Stack::start().await;
    for (seed, by) in [(802, "tus"), (803, "file")] {
        let given = Given::new(&stack, seed, 9 * MIB);
        if let Some(report) = tus_java("deleted_then_again", &given.settings(json!({ "delete": by }))).await {
            is_new_and_there(&stack, &given, &report).await;
        }
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tus_js_client_uploads_again_what_was_deleted() {
    let stack = Stack::start().await;
    for (seed, by) in [(804, "tus"), (805, "file")] {
        let given = Given::new(&stack, seed, 9 * MIB);
        let report = tus_js("deleted_then_again", &given.settings(json!({ "delete": by }))).await;
        is_new_and_there(&stack, &given, &report).await;
    }
    stack.finish().await;
}

/// tuspy gives up if the upload is gone, with any status. An app then has to forget the URL and start again.
#[tokio::test(flavor = "multi_thread")]
async fn tuspy_uploads_again_what_was_deleted() {
    let stack = Stack::start().await;
    for (seed, by) in [(806, "tus"), (807, "file")] {
        let given = Given::new(&stack, seed, 9 * MIB);
        let report = tuspy("deleted_then_again", &given.settings(json!({ "delete": by, "chunk_size": 5 * MIB }))).await;
        is_new_and_there(&stack, &given, &report).await;
    }
    stack.finish().await;
}

/// A refusal that is sent before the body was read reaches the client, which does not retry.
#[tokio::test(flavor = "multi_thread")]
async fn tus_js_client_sees_that_a_type_is_refused() {
    let stack = Stack::start().await;
    let given = Given::new(&stack, 808, 20 * MIB);
    for (with_data, in_memory) in [(false, true), (true, false), (true, true), (true, true), (true, true)] {
        let settings = given.settings(json!({ "with_data": with_data, "in_memory": in_memory }));
        let report = tus_js("refused_type", &settings).await;
        assert_eq!((&report["status"], &report["requests"]), (&json!(415), &json!(["POST 415"])), "{report}");
        assert!(report["body"].as_str().unwrap().contains("type_refused"), "{report}");
    }
    stack.nothing_reserved(given.client.principal.company_id).await;
    stack.finish().await;
}

async fn curl(given: &Given, scenario: &str) -> Value {
    let settings = json!({
        "endpoint": given.client.url(),
        "token": given.client.token(),
        "curl": named("WAYBILL_TEST_CURL"),
    });
    run(&named("WAYBILL_TEST_TUSPY_PYTHON"), &named("WAYBILL_TEST_CURL_VARIANTS"), scenario, &settings).await
}

/// Unambiguous requests store exactly the file. All others are refused.
#[tokio::test(flavor = "multi_thread")]
async fn curl_uploads_in_all_its_ways() {
    let stack = Stack::start().await;
    let given = Given::new(&stack, 809, 0);
    let report = curl(&given, "all").await;
    let variants = report["variants"].as_object().unwrap();
    let odd_name = report["odd_name"].as_str().unwrap();
    let stored = [
        ("data_binary", "a.png", "image/png"),
        ("data_binary_without_type", "a.png", "image/png"),
        ("data_binary_with_content_type", "a", "image/png"),
        ("text_with_charset", "a.txt", "text/plain"),
        ("form", "a.png", "image/png"),
        ("form_with_type_and_name", "b.png", "image/png"),
        ("form_with_query", "c.png", "image/png"),
        ("form_with_fields", "a.png", "image/png"),
        ("form_of_20_mib", "a.png", "image/png"),
        ("form_with_odd_name", odd_name, "image/png"),
        ("query_with_odd_name", odd_name, "image/png"),
        ("form_of_a_browser", odd_name, "image/png"),
        ("stdin_in_chunks", "a.png", "image/png"),
        ("upload_file_by_post", "a.png", "image/png"),
        ("slow", "a.png", "image/png"),
        ("slow_form", "a.png", "image/png"),
        ("expect_100", "a.png", "image/png"),
        ("http_1_0", "a.png", "image/png"),
        ("http_1_0_form", "a.png", "image/png"),
        ("compressed", "a.txt", "text/plain"),
    ];
    for (variant, name, mime_type) in stored {
        let told = &variants[variant];
        assert!(told["status"] == 201 && told["is_same"] == true, "{variant}: {told}");
        assert_eq!(told["name"], name, "{variant}: {told}");
        assert!(told["mime_type"].as_str().unwrap().starts_with(mime_type), "{variant}: {told}");
    }
    assert_eq!(variants["compressed"]["download_is_same"], true);
    let refused = [
        // curl sends the same headers for both, but only the first one has the bytes of the file.
        ("data_binary_as_curl_has_it", 415, "content_type_refused"),
        ("urlencoded", 415, "content_type_refused"),
        ("form_with_two_files", 400, "form_invalid"),
        ("form_without_file", 400, "form_invalid"),
        ("form_to_chunk", 415, "content_type_refused"),
        ("form_to_tus", 415, "content_type_refused"),
        ("upload_file_by_put", 405, "method_not_allowed"),
    ];
    for (variant, status, code) in refused {
        let told = &variants[variant];
        assert_eq!((&told["status"], &told["code"]), (&json!(status), &json!(code)), "{variant}: {told}");
    }
    assert_eq!(variants["form_to_chunk"]["offset_bytes"], 0);
    assert_eq!(variants["form_to_tus"]["upload_offset"], "0");
    assert_eq!(variants.len(), stored.len() + refused.len(), "{report}");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_with_two_files_leaves_nothing_behind() {
    let stack = Stack::start().await;
    let given = Given::new(&stack, 810, 0);
    let report = curl(&given, "form_with_two_files").await;
    assert_eq!(report["variants"]["form_with_two_files"]["code"], "form_invalid", "{report}");
    stack.nothing_reserved(given.client.principal.company_id).await;
    let files = given.client.get("/v1/files").await.expect(200);
    assert_eq!(files.body["items"], json!([]));
    stack.finish().await;
}
