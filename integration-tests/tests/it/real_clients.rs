//! Unmodified existing clients: tus-js-client, tuspy, and Uppy in a browser. `scripts/test` installs them.

use crate::random::{bytes, sha256};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;
use tokio::process::Command;
use waybill_integration_tests::{Client, Options, Stack, free_addr};

const MIB: usize = 1_024 * 1_024;

pub(crate) fn named(variable: &str) -> PathBuf {
    PathBuf::from(std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is set by scripts/test")))
}

/// A file to upload, and a user of a new company.
pub(crate) struct Given {
    pub(crate) client: Client,
    pub(crate) content: Vec<u8>,
    folder: TempDir,
}

impl Given {
    pub(crate) fn new(stack: &Stack, seed: u64, length: usize) -> Self {
        let content = bytes(seed, length);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("holiday.bin"), &content).unwrap();
        Self { client: stack.client(), content, folder }
    }

    pub(crate) fn settings(&self, more: Value) -> Value {
        let mut settings = json!({
            "endpoint": format!("{}/tus/", self.client.url()),
            "token": self.client.token(),
            "file": self.folder.path().join("holiday.bin"),
            "metadata": { "filename": "holiday.bin", "filetype": "application/octet-stream" },
        });
        if let (Some(settings), Value::Object(more)) = (settings.as_object_mut(), more) {
            settings.extend(more);
        }
        settings
    }

    /// Asserts that the file at the URL that the client reports is the uploaded one.
    pub(crate) async fn is_there(&self, stack: &Stack, report: &Value) {
        let id = report["url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        let file = self.client.file_with_status(&id, "COMPLETED").await;
        assert_eq!(file["hash"], sha256(&self.content), "{report}");
        assert_eq!(file["original_name"], "holiday.bin");
        assert!(self.client.content(&id).await == self.content);
        stack.nothing_reserved(self.client.principal.company_id).await;
    }
}

/// Runs a script with a client and returns its report.
pub(crate) async fn run(program: &Path, script: &Path, scenario: &str, settings: &Value) -> Value {
    let mut command = Command::new(program);
    command.arg(script);
    report_of(command, scenario, settings).await
}

/// Runs a client with this command and returns its report.
pub(crate) async fn report_of(mut command: Command, scenario: &str, settings: &Value) -> Value {
    command.arg(scenario).arg(settings.to_string()).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.expect("the client starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let report: Value = serde_json::from_str(text.trim())
        .unwrap_or_else(|_| panic!("{scenario}: {text} {}", String::from_utf8_lossy(&output.stderr)));
    assert!(report["ok"] == true && output.status.success(), "{scenario}: {report}");
    report
}

pub(crate) async fn tus_js(scenario: &str, settings: &Value) -> Value {
    run(&named("WAYBILL_TEST_NODE"), &named("WAYBILL_TEST_TUS_JS"), scenario, settings).await
}

pub(crate) async fn tuspy(scenario: &str, settings: &Value) -> Value {
    run(&named("WAYBILL_TEST_TUSPY_PYTHON"), &named("WAYBILL_TEST_TUSPY"), scenario, settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn tus_js_client_uploads_in_all_its_ways() {
    let stack = Stack::start().await;
    for (seed, scenario) in [(700, "plain"), (701, "chunked"), (702, "parallel"), (703, "creation_with_data")] {
        let given = Given::new(&stack, seed, 20 * MIB + 12_345);
        let report = tus_js(scenario, &given.settings(json!({}))).await;
        given.is_there(&stack, &report).await;
    }
    let given = Given::new(&stack, 704, 12 * MIB + 1);
    let report = tus_js("deferred_length", &given.settings(json!({}))).await;
    given.is_there(&stack, &report).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tus_js_client_resumes_to_the_byte() {
    let stack = Stack::start().await;
    for scenario in ["abort_resume", "ietf05_abort_resume"] {
        let given = Given::new(&stack, 710, 30 * MIB + 777);
        let report = tus_js(scenario, &given.settings(json!({ "bytes_per_second": 20 * MIB }))).await;
        assert!(report["resumed_at"].as_u64().unwrap() > 0, "{report}");
        given.is_there(&stack, &report).await;
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tus_js_client_speaks_the_drafts() {
    let stack = Stack::start().await;
    for (seed, scenario) in [(720, "ietf03"), (721, "ietf05"), (722, "ietf05_creation_with_data")] {
        let given = Given::new(&stack, seed, 20 * MIB + 5);
        let report = tus_js(scenario, &given.settings(json!({}))).await;
        given.is_there(&stack, &report).await;
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tus_js_client_terminates() {
    let stack = Stack::start().await;
    let given = Given::new(&stack, 730, 20 * MIB);
    let report = tus_js("terminate", &given.settings(json!({ "bytes_per_second": 10 * MIB }))).await;
    assert_eq!(report["head_status"], 404, "{report}");
    stack.nothing_reserved(given.client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tuspy_uploads_and_resumes_and_sends_checksums() {
    let stack = Stack::start().await;
    for (seed, scenario) in [(740, "plain"), (741, "checksum"), (742, "resume")] {
        let given = Given::new(&stack, seed, 10 * MIB + 99);
        let report = tuspy(scenario, &given.settings(json!({ "chunk_size": 3 * MIB }))).await;
        given.is_there(&stack, &report).await;
    }
    // More than a part in one request with a checksum: no byte is recorded before the checksum was compared.
    let given = Given::new(&stack, 743, 20 * MIB + 1);
    let report = tuspy("checksum", &given.settings(json!({ "chunk_size": 30 * MIB }))).await;
    given.is_there(&stack, &report).await;
    stack.finish().await;
}

/// Returns an origin with a free port for a page.
pub(crate) fn free_origin() -> String {
    // Outgoing connections of other tests never have this port.
    format!("http://{}", free_addr())
}

pub(crate) async fn browser(stack: &Stack, scenario: &str, origin: &str, given: &Given, more: Value) -> Value {
    let mut settings = given.settings(json!({
        "endpoint": stack.url(),
        "origin": origin,
        "chromium": named("WAYBILL_TEST_CHROMIUM"),
    }));
    if let (Some(settings), Value::Object(more)) = (settings.as_object_mut(), more) {
        settings.extend(more);
    }
    run(&named("WAYBILL_TEST_NODE"), &named("WAYBILL_TEST_BROWSER"), scenario, &settings).await
}

/// Uploads with Uppy's S3 plugin. The browser sends requests to the store, so the bucket must allow the origin of the
/// page.
async fn uppy_to_s3(scenario: &str, multipart: bool) {
    let origin = free_origin();
    let args = vec![format!("--allowed-origins={origin}")];
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    stack.store().allow_origins(std::slice::from_ref(&origin)).await.unwrap();
    let given = Given::new(&stack, 760, 30 * MIB + 3);
    let report = browser(&stack, scenario, &origin, &given, json!({ "multipart": multipart })).await;
    let id = report["key"].as_str().unwrap().split('/').nth(2).unwrap();
    let file = given.client.file_with_status(id, "COMPLETED").await;
    assert_eq!(file["hash"], sha256(&given.content), "{report}");
    assert!(given.client.content(id).await == given.content);
    if multipart {
        let parts = report["parts"].as_array().unwrap();
        assert!(!parts.is_empty() && report["paused_at"].as_u64().unwrap() > 0, "{report}");
        stack.nothing_reserved(given.client.principal.company_id).await;
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uppy_s3_5_uploads_parts() {
    uppy_to_s3("s3_v5", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uppy_s3_5_uploads_in_one_request() {
    uppy_to_s3("s3_v5", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uppy_s3_6_uploads_parts() {
    uppy_to_s3("s3_v6", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uppy_s3_6_uploads_in_one_request() {
    uppy_to_s3("s3_v6", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uppy_pauses_and_loses_the_network_and_finishes_by_tus() {
    let origin = free_origin();
    let args = vec![format!("--allowed-origins={origin}")];
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let given = Given::new(&stack, 750, 30 * MIB + 3);
    let report = browser(&stack, "tus", &origin, &given, json!({})).await;
    assert!(report["paused_at"].as_u64().unwrap() > 0, "{report}");
    assert!(report["offline_at"].as_u64() > report["paused_at"].as_u64(), "{report}");
    given.is_there(&stack, &report).await;
    stack.finish().await;
}
