//! Every way to upload a file, as clients use it.

use crate::random::sha256;
use crate::speaker::Speaker;
use crate::tus_clauses::base64;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use reqwest::{Client as Http, Method};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use waybill_integration_tests::{Answer, Client};
use waybill_test_kit::eventually;

pub(crate) const PROTOCOLS: [&str; 8] = ["bytes", "form", "chunks", "tus", "ietf", "direct", "uppy 5", "uppy 6"];

/// One file with one declared type.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) kind: String,
    pub(crate) class: String,
    pub(crate) made_with: String,
    pub(crate) name: String,
    pub(crate) mime_type: String,
    pub(crate) by: String,
    pub(crate) content: Vec<u8>,
}

/// Result of sending a file: the id of the upload, or the error code if it was refused immediately.
pub(crate) type Outcome = Result<String, String>;

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

/// Sends a file with a protocol. Returns the id of the upload, or the error code if it was refused immediately.
pub(crate) async fn begin(client: &Client, file: &Sent, protocol: &str) -> Outcome {
    match protocol {
        "bytes" => by_bytes(client, file).await,
        "form" => by_form(client, file).await,
        "chunks" => by_chunks(client, file).await,
        "tus" => by_tus(client, file).await,
        "ietf" => by_ietf(client, file).await,
        "direct" => by_direct(client, file).await,
        "uppy 5" => by_uppy_5(client, file).await,
        _ => by_uppy_6(client, file).await,
    }
}

/// Sends a file and waits until it is verified or refused. Returns `None` if it was stored unchanged, or else the error
/// code.
pub(crate) async fn send(client: &Client, file: &Sent, protocol: &str) -> Option<String> {
    let sent = begin(client, file, protocol).await;
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
