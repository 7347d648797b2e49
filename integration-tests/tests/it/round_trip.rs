//! Downloaded files are equal to the uploaded ones, byte by byte, with the digest that `sha256sum` prints.

use crate::random::{bytes, sha256};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use futures_util::StreamExt;
use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap};
use serde_json::json;
use sha2::{Digest, Sha256};
use waybill_integration_tests::{Client, Stack};

const PART: usize = 8 * 1_024 * 1_024;

async fn upload_in_chunks(client: &Client, content: &[u8]) -> String {
    let started = client.start(content.len() as u64).await.expect(201);
    let upload = started.text("upload_id");
    assert_eq!(started.body["file_id"], started.body["upload_id"]);
    assert_eq!(started.body["total_chunks"], content.len().div_ceil(PART));
    for (index, chunk) in content.chunks(PART).enumerate() {
        client.put_chunk(&upload, index, chunk.to_vec()).await.expect(200);
    }
    let done = client.complete(&upload, &json!({})).await.expect(200);
    assert_eq!((done.text("status"), done.text("sha256")), ("COMPLETED".to_owned(), sha256(content)));
    upload
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_all_sizes_come_back() {
    let stack = Stack::start().await;
    let client = stack.client();
    for (seed, size) in
        [(1, 0), (2, 1), (3, 3), (4, 100_000), (5, PART - 1), (6, PART), (7, PART + 1), (8, 3 * PART + 77)]
    {
        let content = bytes(seed, size);
        let file = upload_in_chunks(&client, &content).await;
        let row = client.file_with_status(&file, "COMPLETED").await;
        assert_eq!((row["hash"].as_str(), row["size_bytes"].as_u64()), (Some(&*sha256(&content)), Some(size as u64)));
        assert!(client.content(&file).await == content, "a file of {size} bytes has other bytes than were sent");

        let posted =
            client.post_file("name=a.bin&mime_type=application/octet-stream", content.clone()).await.expect(201);
        assert_eq!((posted.text("status"), posted.text("sha256")), ("COMPLETED".to_owned(), sha256(&content)));
        let file = posted.text("file_id");
        client.get_after(&format!("/v1/files/{file}"), &posted).await.expect(200);
        assert!(client.content(&file).await == content, "a posted file of {size} bytes has other bytes than were sent");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gibibyte_comes_back() {
    const CHUNKS: u64 = 128;
    let stack = Stack::start().await;
    let client = stack.client();
    let started = client.start(CHUNKS * PART as u64).await.expect(201);
    let upload = started.text("upload_id");
    let mut expected = Sha256::new();
    let base = bytes(9, PART);
    let chunk = |index: u64| {
        let mut chunk = base.clone();
        chunk[..8].copy_from_slice(&index.to_le_bytes());
        chunk
    };
    (0..CHUNKS).for_each(|index| expected.update(chunk(index)));
    let expected = waybill_schema::Sha256Digest(expected.finalize().into()).to_string();
    let mut puts = futures_util::stream::iter(0..CHUNKS)
        .map(|index| {
            let (client, upload, chunk) = (&client, &upload, chunk(index));
            async move { client.put_chunk(upload, usize::try_from(index).unwrap(), chunk).await }
        })
        .buffer_unordered(4);
    while let Some(answer) = puts.next().await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let done = client.complete(&upload, &json!({ "sha256": expected })).await.expect(200);
    assert_eq!(done.text("sha256"), expected);
    let response = client
        .request(Method::GET, &format!("/v1/files/{upload}/content"))
        .header("Waybill-Min-Position", done.position.unwrap())
        .send()
        .await
        .unwrap();
    let mut found = Sha256::new();
    let mut body = response.bytes_stream();
    while let Some(bytes) = body.next().await {
        found.update(bytes.unwrap());
    }
    assert_eq!(waybill_schema::Sha256Digest(found.finalize().into()).to_string(), expected);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_conditions_and_head_are_right() {
    let stack = Stack::start().await;
    let client = stack.client();
    let content = bytes(10, 1_000);
    let posted = client.post_file("name=r%C3%A9sum%C3%A9.txt&mime_type=text/plain", content.clone()).await.expect(201);
    let file = posted.text("file_id");
    client.get_after(&format!("/v1/files/{file}"), &posted).await.expect(200);
    let path = format!("/v1/files/{file}/content");
    let etag = format!("\"{}\"", sha256(&content));
    let ask = async |method: Method, headers: &[(&'static str, &str)]| {
        let request = headers.iter().fold(client.request(method, &path), |r, (name, value)| r.header(*name, *value));
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        (status, headers, response.bytes().await.unwrap())
    };
    let header = |headers: &HeaderMap, name| headers.get(name).map(|value| value.to_str().unwrap().to_owned());

    let (status, headers, body) = ask(Method::HEAD, &[]).await;
    assert_eq!((status, body.len()), (200, 0));
    assert_eq!(header(&headers, CONTENT_LENGTH).as_deref(), Some("1000"));
    assert_eq!(header(&headers, ETAG), Some(etag.clone()));
    assert_eq!(
        headers["content-disposition"],
        "attachment; filename=\"r_sum_.txt\"; filename*=UTF-8''r%C3%A9sum%C3%A9.txt"
    );
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["content-security-policy"], "sandbox; default-src 'none'");
    assert_eq!(headers["cache-control"], "private, no-store");

    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=990-", 990, 1_000),
        ("bytes=-7", 993, 1_000),
        ("bytes=900-5000", 900, 1_000),
    ] {
        let (status, headers, body) = ask(Method::GET, &[("Range", range)]).await;
        assert_eq!((status, &body[..]), (206, &content[from..to]), "{range}");
        assert_eq!(header(&headers, CONTENT_RANGE), Some(format!("bytes {from}-{}/1000", to - 1)));
    }
    let (status, headers, _) = ask(Method::GET, &[("Range", "bytes=1000-")]).await;
    assert_eq!((status, header(&headers, CONTENT_RANGE).as_deref()), (416, Some("bytes */1000")));
    for range in ["bytes=5-4", "bytes=0-1,3-4", "lines=1-2", "bytes=x"] {
        let (status, _, body) = ask(Method::GET, &[("Range", range)]).await;
        assert_eq!((status, body.len()), (200, 1_000), "{range}");
    }
    let (status, _, body) = ask(Method::GET, &[("Range", "bytes=0-9"), ("If-Range", &etag)]).await;
    assert_eq!((status, body.len()), (206, 10));
    let (status, _, body) = ask(Method::GET, &[("Range", "bytes=0-9"), ("If-Range", "\"another\"")]).await;
    assert_eq!((status, body.len()), (200, 1_000));
    let (status, _, body) = ask(Method::GET, &[("If-None-Match", &etag)]).await;
    assert_eq!((status, body.len()), (304, 0));
    let (both, weak) = (format!("\"another\", {etag}"), format!("W/{etag}"));
    for (value, wanted) in [(etag.as_str(), 200), ("*", 200), (&both, 200), ("\"another\"", 412), (&weak, 412)] {
        for method in [Method::GET, Method::HEAD] {
            assert_eq!(ask(method, &[("If-Match", value)]).await.0, wanted, "{value}");
        }
    }
    // A failed If-Match comes before If-None-Match (RFC 9110 §13.2.2).
    assert_eq!(ask(Method::GET, &[("If-Match", "\"another\""), ("If-None-Match", &etag)]).await.0, 412);
    assert_eq!(ask(Method::GET, &[("If-Match", &etag), ("If-None-Match", &etag)]).await.0, 304);
    let digest = format!("sha-256=:{}:", BASE64.encode(Sha256::digest(&content)));
    for (headers, wanted) in [
        (vec![("Want-Repr-Digest", "sha-512=1, sha-256=5")], Some(&digest)),
        (vec![("Want-Repr-Digest", "sha-256=5"), ("Range", "bytes=1-2")], Some(&digest)),
        (vec![("Want-Repr-Digest", "sha-256=0")], None),
        (vec![], None),
    ] {
        let (_, headers, _) = ask(Method::GET, &headers).await;
        assert_eq!(headers.get("repr-digest").map(|value| value.to_str().unwrap()), wanted.map(String::as_str));
    }
    stack.finish().await;
}
