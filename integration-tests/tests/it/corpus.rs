//! Files of many kinds, made by real programs, with the types that browsers declare, sent with every protocol. Ordinary
//! files are accepted, and executable files are refused. `scripts/test-corpus` makes the files and runs this test.

use crate::random::sha256;
use crate::speaker::Speaker;
use crate::tus_clauses::base64;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use futures_util::stream::{self, StreamExt};
use reqwest::{Client as Http, Method};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::PathBuf;
use waybill_integration_tests::{Answer, Client, Stack};
use waybill_test_kit::eventually;

/// Number of parallel uploads.
const CONCURRENCY: usize = 8;
const PROTOCOLS: [&str; 8] = ["bytes", "form", "chunks", "tus", "ietf", "direct", "uppy 5", "uppy 6"];

/// One file with one declared type.
#[derive(Clone)]
struct Sent {
    kind: String,
    class: String,
    made_with: String,
    name: String,
    mime_type: String,
    by: String,
    content: Vec<u8>,
}

fn corpus() -> Option<Vec<Sent>> {
    let folder = PathBuf::from(std::env::var_os("WAYBILL_TEST_CORPUS")?);
    let manifest: Value = serde_json::from_slice(&std::fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut all = Vec::new();
    for kind in manifest["kinds"].as_array().unwrap() {
        let content = std::fs::read(folder.join(text(&kind["file"]))).unwrap();
        let mut declared: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for one in kind["declared"].as_array().unwrap() {
            declared.entry(text(&one["type"])).or_default().push(text(&one["by"]));
        }
        all.extend(declared.into_iter().map(|(mime_type, by)| Sent {
            kind: text(&kind["kind"]),
            class: text(&kind["class"]),
            made_with: text(&kind["made_with"]),
            name: text(&kind["name"]),
            mime_type,
            by: by.join(", "),
            content: content.clone(),
        }));
    }
    Some(all)
}

/// Result of sending a file: the id of the upload, or the error code if it was refused immediately.
type Outcome = Result<String, String>;

fn outcome(answer: &Answer, id: &str) -> Outcome {
    match answer.status {
        200..300 => Ok(answer.text(id)),
        _ => Err(answer.body["code"].as_str().unwrap_or("none").to_owned()),
    }
}

fn said(file: &Sent) -> Value {
    let mut said = json!({ "name": file.name, "size_bytes": file.content.len() });
    if !file.mime_type.is_empty() {
        said["mime_type"] = json!(file.mime_type);
    }
    said
}

/// Sends a file again until there is an answer. If the server refuses a large body early, the client may see only a
/// broken connection.
async fn answered(request: impl Fn() -> reqwest::RequestBuilder) -> Outcome {
    let answer = eventually("an answer to a file", || async {
        let response = request().send().await.ok()?;
        let (status, body) = (response.status().as_u16(), response.bytes().await.ok()?);
        Some(Answer { status, body: serde_json::from_slice(&body).unwrap(), position: None })
    })
    .await;
    outcome(&answer, "file_id")
}

async fn by_bytes(client: &Client, file: &Sent) -> Outcome {
    let mut query = vec![("name", file.name.as_str())];
    query.extend((!file.mime_type.is_empty()).then_some(("mime_type", file.mime_type.as_str())));
    let request = || client.request(Method::POST, "/v1/files").query(&query).body(file.content.clone());
    answered(request).await
}

async fn by_form(client: &Client, file: &Sent) -> Outcome {
    // Browsers declare application/octet-stream if they do not know the type.
    let mime_type = if file.mime_type.is_empty() { "application/octet-stream" } else { &file.mime_type };
    let request = || {
        let part = reqwest::multipart::Part::bytes(file.content.clone()).file_name(file.name.clone());
        let form = reqwest::multipart::Form::new().part("file", part.mime_str(mime_type).unwrap());
        client.request(Method::POST, "/v1/files").multipart(form)
    };
    answered(request).await
}

async fn by_chunks(client: &Client, file: &Sent) -> Outcome {
    let id = outcome(&client.post("/v1/uploads", &said(file)).await, "upload_id")?;
    for (index, chunk) in file.content.chunks(8 << 20).enumerate() {
        client.put_chunk(&id, index, chunk.to_vec()).await.expect(200);
    }
    outcome(&client.complete(&id, &json!({})).await, "file_id")
}

async fn by_tus(client: &Client, file: &Sent) -> Outcome {
    let tus = Speaker::tus(client.clone());
    let mut metadata = format!("filename {}", base64(&file.name));
    if !file.mime_type.is_empty() {
        metadata.push_str(&format!(",filetype {}", base64(&file.mime_type)));
    }
    let length = file.content.len().to_string();
    let code = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap()["code"].as_str().unwrap().to_owned();
    let created = tus.post(&[("Upload-Length", &length), ("Upload-Metadata", &metadata)], "").await;
    if created.status != 201 {
        return Err(code(&created.body));
    }
    let path = created.location();
    if !file.content.is_empty() {
        let patched = tus.patch(&path, 0, file.content.clone()).await;
        if patched.status != 204 {
            return Err(code(&patched.body));
        }
    }
    Ok(path.rsplit('/').next().unwrap().to_owned())
}

async fn by_ietf(client: &Client, file: &Sent) -> Outcome {
    let draft = Speaker::draft(client.clone(), 9);
    let name: String = file.name.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let disposition = format!("attachment; filename*=UTF-8''{name}");
    let mut headers = vec![("Upload-Complete", "?1"), ("Content-Disposition", disposition.as_str())];
    headers.extend((!file.mime_type.is_empty()).then_some(("Content-Type", file.mime_type.as_str())));
    let created = draft.post(&headers, file.content.clone()).await;
    match created.status {
        201 => Ok(created.location().rsplit('/').next().unwrap().to_owned()),
        _ => Err(created.json()["code"].as_str().unwrap().to_owned()),
    }
}

async fn by_direct(client: &Client, file: &Sent) -> Outcome {
    let mut start = said(file);
    start["mode"] = json!("direct");
    let id = outcome(&client.post("/v1/uploads", &start).await, "upload_id")?;
    if !file.content.is_empty() {
        let checksum = format!("sha256 {}", BASE64.encode(Sha256::digest(&file.content)));
        let part = json!({ "part_number": 1, "size_bytes": file.content.len(), "checksum": checksum });
        let signed =
            client.post(&format!("/v1/uploads/{id}/parts/sign"), &json!({ "parts": [part] })).await.expect(200);
        let signed = &signed.body["parts"][0];
        let headers = signed["headers"].as_object().unwrap();
        let request = Http::new().put(signed["url"].as_str().unwrap());
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(name, value.as_str().unwrap()));
        let put = request.body(file.content.clone()).send().await.unwrap();
        let etag = put.headers()["etag"].to_str().unwrap();
        let report = json!({ "part_number": 1, "etag": etag });
        client.post(&format!("/v1/uploads/{id}/parts"), &report).await.expect(200);
    }
    outcome(&client.complete(&id, &json!({})).await, "file_id")
}

async fn put_object(url: String, file: &Sent) {
    // Browsers send `Content-Length` for an empty body, too.
    let request = Http::new().put(url).header("Content-Length", file.content.len());
    let put = request.body(file.content.clone()).send().await.unwrap();
    assert!(put.status().is_success(), "{}: {}", file.kind, put.text().await.unwrap());
}

async fn by_uppy_5(client: &Client, file: &Sent) -> Outcome {
    let query = [("filename", file.name.as_str()), ("type", &file.mime_type)];
    let answer = client.send(client.request(Method::GET, "/uppy/s3/params").query(&query)).await;
    let id = outcome(&answer, "file_id")?;
    put_object(answer.text("url"), file).await;
    Ok(id)
}

async fn by_uppy_6(client: &Client, file: &Sent) -> Outcome {
    let wanted = json!({
        "method": "PUT", "key": "a", "name": file.name, "type": file.mime_type, "size": file.content.len(),
    });
    let answer = client.post("/uppy/s3/sign", &wanted).await;
    let key = outcome(&answer, "key")?;
    put_object(answer.text("url"), file).await;
    Ok(key.split('/').nth(2).unwrap().to_owned())
}

/// Sends a file and waits until it is verified or refused. Returns `None` if it was stored unchanged, or else the error
/// code.
async fn send(client: &Client, file: &Sent, protocol: &str) -> Option<String> {
    let sent = match protocol {
        "bytes" => by_bytes(client, file).await,
        "form" => by_form(client, file).await,
        "chunks" => by_chunks(client, file).await,
        "tus" => by_tus(client, file).await,
        "ietf" => by_ietf(client, file).await,
        "direct" => by_direct(client, file).await,
        "uppy 5" => by_uppy_5(client, file).await,
        _ => by_uppy_6(client, file).await,
    };
    let id = match sent {
        Ok(id) => id,
        Err(code) => return Some(code),
    };
    let ended = eventually(&format!("{} by {protocol} to end", file.kind), || async {
        let status = client.get(&format!("/v1/uploads/{id}")).await.body;
        matches!(status["status"].as_str(), Some("COMPLETED" | "FAILED")).then_some(status)
    })
    .await;
    if ended["status"] == "COMPLETED" {
        assert_eq!(ended["sha256"], sha256(&file.content), "{}", file.kind);
        return None;
    }
    Some(ended["error_code"].as_str().unwrap_or("none").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_a2_every_kind_of_file_is_taken_by_every_protocol_and_what_would_run_by_none() {
    let Some(corpus) = corpus() else {
        eprintln!("skipped: scripts/test-corpus makes the files");
        return;
    };
    let stack = Stack::start().await;
    let client = stack.client();
    let all: Vec<(usize, &str)> =
        (0..corpus.len()).flat_map(|file| PROTOCOLS.iter().map(move |protocol| (file, *protocol))).collect();
    // A form cannot contain a part that is itself multipart (docs/file-types.md).
    let cannot_be_read =
        |(file, protocol): &(usize, &str)| *protocol == "form" && corpus[*file].mime_type.starts_with("multipart/");
    let all: Vec<(usize, &str)> = all.into_iter().filter(|sent| !cannot_be_read(sent)).collect();
    let mut refused: BTreeMap<usize, BTreeMap<&str, String>> = BTreeMap::new();
    let results = stream::iter(all).map(|(file, protocol)| {
        let (client, corpus) = (&client, &corpus);
        async move { (file, protocol, send(client, &corpus[file], protocol).await) }
    });
    let results: Vec<_> = results.buffer_unordered(CONCURRENCY).collect().await;
    for (file, protocol, code) in results {
        if let Some(code) = code {
            refused.entry(file).or_default().insert(protocol, code);
        }
    }
    let none = BTreeMap::new();
    let wrong: Vec<String> = (0..corpus.len())
        .filter(|file| {
            let codes = refused.get(file).unwrap_or(&none);
            match corpus[*file].class.as_str() {
                "allowed" => !codes.is_empty(),
                _ => codes.len() != PROTOCOLS.len() || codes.values().any(|code| code != "type_refused"),
            }
        })
        .map(|file| format!("{} as {:?}: {:?}", corpus[file].kind, corpus[file].mime_type, refused.get(&file)))
        .collect();
    write_table(&corpus, &refused);
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), corpus.len(), wrong.join("\n"));
    stack.nothing_reserved(client.principal.company_id).await;
    stack.finish().await;
}

/// Writes docs/file-kinds.md if `WAYBILL_WRITE_DOCS` is set.
fn write_table(corpus: &[Sent], refused: &BTreeMap<usize, BTreeMap<&str, String>>) {
    if std::env::var_os("WAYBILL_WRITE_DOCS").is_none() {
        return;
    }
    let mut text = format!(
        "# Kinds of files\n\nEach row is a file that the named program made. It was declared as browsers of the named \
         systems declare it,\nand sent with {} protocols: {}.\n`scripts/test-corpus` makes the files and checks this table; \
         `WAYBILL_WRITE_DOCS=1 scripts/test-corpus` writes it.\n[File types](file-types.md) explains the rules.\n\n\
         | kind | made with | declared type | by | result |\n|---|---|---|---|---|\n",
        PROTOCOLS.len(),
        PROTOCOLS.join(", ")
    );
    for (index, file) in corpus.iter().enumerate() {
        let codes = refused.get(&index);
        let result = match (codes, file.class.as_str()) {
            (None, _) => "accepted by all".to_owned(),
            (Some(codes), class) if codes.len() == PROTOCOLS.len() => format!("refused by all: {class}"),
            (Some(codes), _) => format!("{codes:?}"),
        };
        let declared = if file.mime_type.is_empty() { "none".to_owned() } else { format!("`{}`", file.mime_type) };
        text.push_str(&format!("| {} | {} | {declared} | {} | {result} |\n", file.kind, file.made_with, file.by));
    }
    std::fs::write("../docs/file-kinds.md", text).unwrap();
}
