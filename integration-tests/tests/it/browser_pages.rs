//! Pages of another origin in Chromium. Their monitoring adds headers to each request. They upload several files at
//! once, with the default settings of each client and with each example of the documentation.

use crate::random::{bytes, sha256};
use crate::real_clients::{free_origin, named, run};
use reqwest::Method;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use waybill_integration_tests::{Client, Options, Stack};

const TUTORIAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/tutorials/uppy.md");
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const NAMES: [&str; 3] = ["photo.png", "photo.png", "notes.txt"];
const TYPES: [&str; 3] = ["image/png", "image/png", "text/plain"];

/// A server that allows pages of one other origin, and three files. Two of the files have the same name.
struct Site {
    stack: Stack,
    origin: String,
    client: Client,
    contents: [Vec<u8>; 3],
    paths: Vec<PathBuf>,
    _folder: TempDir,
}

impl Site {
    async fn start(seed: u64) -> Self {
        let origin = free_origin();
        let args = vec![format!("--allowed-origins={origin}")];
        let stack = Stack::with(Options { args, ..Options::default() }).await;
        // With the S3 plugins the browser sends requests to the store.
        stack.store().allow_origins(std::slice::from_ref(&origin)).await.unwrap();
        let picture = |seed, length| [PNG, &bytes(seed, length)].concat();
        let contents = [picture(seed, 300_000), picture(seed + 1, 300_004), b"x".to_vec()];
        let folder = tempfile::tempdir().unwrap();
        let paths = write(folder.path(), &contents);
        let client = stack.client();
        Self { stack, origin, client, contents, paths, _folder: folder }
    }

    async fn browse(&self, scenario: &str, more: Value) -> Value {
        let mut settings = json!({
            "endpoint": self.stack.url(),
            "origin": self.origin,
            "token": self.client.token(),
            "files": self.paths,
            "chromium": named("WAYBILL_TEST_CHROMIUM"),
        });
        if let (Some(settings), Value::Object(more)) = (settings.as_object_mut(), more) {
            settings.extend(more);
        }
        run(&named("WAYBILL_TEST_NODE"), &named("WAYBILL_TEST_BROWSER"), scenario, &settings).await
    }

    /// Asserts that every file was uploaded and stored, and that the page could read a part of the first file.
    async fn all_is_there(&self, page: &Value) {
        assert_eq!(page["failed"], json!([]), "{page}");
        let uploads = page["uploads"].as_array().unwrap();
        assert_eq!(uploads.len(), self.contents.len(), "{page}");
        for (index, (upload, content)) in uploads.iter().zip(&self.contents).enumerate() {
            assert_eq!(upload["index"], index, "{page}");
            let id = upload["file_id"].as_str().unwrap();
            let file = self.client.file_with_status(id, "COMPLETED").await;
            assert_eq!(file["hash"], sha256(content), "{file}, {page}");
            assert_eq!((&file["original_name"], &file["mime_type"]), (&json!(NAMES[index]), &json!(TYPES[index])));
            assert!(self.client.content(id).await == *content);
        }
        let download = &page["download"];
        assert_eq!((&download["status"], &download["bytes"]), (&json!(206), &json!(4)), "{page}");
        assert_eq!(download["content_range"], format!("bytes 1-4/{}", self.contents[0].len()), "{page}");
        let disposition = download["content_disposition"].as_str().expect("the page cannot read Content-Disposition");
        assert!(disposition.contains(NAMES[0]), "{page}");
        assert!(download["etag"].is_string(), "{page}");
    }

    async fn finish(self) {
        self.stack.nothing_reserved(self.client.principal.company_id).await;
        self.stack.finish().await;
    }
}

/// Writes each file into its own folder, because two have the same name.
fn write(folder: &Path, contents: &[Vec<u8>]) -> Vec<PathBuf> {
    let write = |(index, content): (usize, &Vec<u8>)| {
        let folder = folder.join(index.to_string());
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join(NAMES[index]);
        std::fs::write(&path, content).unwrap();
        path
    };
    contents.iter().enumerate().map(write).collect()
}

/// Asserts that the page could read these headers of the answers to this kind of request.
fn readable(page: &Value, request: &str, headers: &[&str]) {
    let names = page["readable"][request].as_array().unwrap_or_else(|| panic!("no {request} in {page}"));
    for header in headers {
        assert!(names.contains(&json!(header)), "{request}: {header} cannot be read: {page}");
    }
}

fn count(report: &Value, begins: &str, ends: &str) -> usize {
    let requests = report["requests"].as_array().unwrap().iter().filter_map(Value::as_str);
    requests.filter(|request| request.starts_with(begins) && request.ends_with(ends)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn uppy_tus_of_another_origin_with_tracing() {
    let site = Site::start(770).await;
    let page = site.browse("tus_plain", json!({})).await;
    site.all_is_there(&page).await;
    readable(&page, "POST /tus/ 201", &["location", "upload-expires", "waybill-position", "x-request-id"]);
    readable(&page, "PATCH /tus/{id} 204", &["upload-offset", "tus-resumable"]);
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tus_js_client_of_another_origin_with_tracing() {
    let site = Site::start(772).await;
    let page = site.browse("tus_js_page", json!({})).await;
    site.all_is_there(&page).await;
    readable(&page, "POST /tus/ 201", &["location", "upload-expires", "waybill-position", "x-request-id"]);
    readable(&page, "PATCH /tus/{id} 204", &["upload-offset", "tus-resumable"]);
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uppy_xhr_sends_forms() {
    let site = Site::start(774).await;
    let page = site.browse("xhr", json!({})).await;
    site.all_is_there(&page).await;
    // Each file is sent once. This plugin would send it again after any error.
    assert_eq!(count(&page, "POST", "/v1/files 201"), 3, "{page}");
    assert_eq!(count(&page, "POST", ""), 3, "{page}");
    site.finish().await;
}

/// These clients do not declare the size of a file. A company can upload even if its free space is less than the
/// largest allowed file.
async fn uppy_s3_in_little_space(scenario: &str, seed: u64, multipart: bool) {
    let site = Site::start(seed).await;
    let company = site.client.principal.company_id;
    let put = site.client.request(Method::PUT, &format!("/v1/admin/companies/{company}/quota"));
    site.client.send(put.json(&json!({ "storage_limit_bytes": 1_000_000_000 }))).await.expect(200);
    let more = if multipart { json!({ "multipart": true }) } else { json!({}) };
    let page = site.browse(scenario, more).await;
    site.all_is_there(&page).await;
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uppy_s3_5_as_it_is() {
    uppy_s3_in_little_space("s3_v5_plain", 776, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uppy_s3_5_as_it_is_in_parts() {
    uppy_s3_in_little_space("s3_v5_plain", 778, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uppy_s3_6_as_it_is() {
    uppy_s3_in_little_space("s3_v6_plain", 780, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uppy_s3_6_as_it_is_in_parts() {
    uppy_s3_in_little_space("s3_v6_plain", 782, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_of_the_tutorial_upload() {
    let site = Site::start(784).await;
    let report = site.browse("tutorial", json!({ "tutorial": TUTORIAL })).await;
    let examples = report["examples"].as_array().unwrap();
    let mut ran: Vec<(&str, bool)> = Vec::new();
    for page in examples {
        ran.push((page["example"].as_str().unwrap(), page["multipart"] == true));
        site.all_is_there(page).await;
    }
    ran.sort_unstable();
    let expected = [
        ("@uppy/aws-s3 5", false),
        ("@uppy/aws-s3 5", true),
        ("@uppy/aws-s3 6", false),
        ("@uppy/aws-s3 6", true),
        ("@uppy/tus 6", false),
        ("@uppy/xhr-upload 6", false),
    ];
    assert_eq!(ran, expected, "{report}");
    site.finish().await;
}
