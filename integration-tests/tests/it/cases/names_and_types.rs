//! Names, media types and metadata.

use crate::speaker::Speaker;
use crate::tus_clauses::base64;
use reqwest::Method;
use serde_json::json;
use waybill_integration_tests::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn a2_aliases_of_types_are_taken_and_count_as_their_type() {
    let stack = Stack::start().await;
    let client = stack.client();
    for mime_type in
        ["application/x-zip-compressed", "application/x-gzip", "application/x-tar%2Bgzip", "application/ogg"]
    {
        let sent = client.post_file(&format!("name=a.bin&mime_type={mime_type}"), "x").await.expect(201);
        let file = client.file_with_status(&sent.text("file_id"), "COMPLETED").await;
        assert_eq!(file["mime_type"], mime_type.replace("%2B", "+"));
    }
    let metadata = format!("filename {},filetype {}", base64("a.zip"), base64("application/x-zip-compressed"));
    Speaker::tus(client.clone()).post(&[("Upload-Length", "5"), ("Upload-Metadata", &metadata)], "").await.expect(201);
    client
        .post("/uppy/s3/multipart", &json!({ "filename": "a.zip", "type": "application/x-zip-compressed" }))
        .await
        .expect(200);
    // A company that allows ZIP also allows the media type with which most desktops send it.
    let path = format!("/v1/admin/companies/{}", client.principal.company_id);
    let set = client.put(&path, &json!({ "allowed_mime_types": ["application/zip"] })).await.expect(200);
    client.get_after("/v1/quota", &set).await.expect(200);
    client.post_file("name=a.zip&mime_type=application/x-zip-compressed", "x").await.expect(201);
    client.post_file("name=a.txt&mime_type=text/plain", "x").await.refused(415, "type_refused");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a18_names_with_marks_that_letters_need_are_kept() {
    let stack = Stack::start().await;
    let client = stack.client();
    for name in ["תמונה\u{200F} 1.jpg", "\u{200E}IMG_1.jpg", "ឯកសារ\u{200B}ថ្មី.pdf", "漢".repeat(200).as_str()]
    {
        let started = client.start_with(1, json!({ "name": name })).await.expect(201);
        client.delete(&format!("/v1/uploads/{}", started.text("upload_id"))).await.expect(204);
        let request = client.request(Method::POST, "/v1/files").query(&[("name", name), ("mime_type", "text/plain")]);
        let sent = client.send(request.body("hello")).await.expect(201);
        let file = client.file_with_status(&sent.text("file_id"), "COMPLETED").await;
        assert_eq!(file["original_name"], name);
        let metadata = format!("filename {}", base64(name));
        let upload =
            Speaker::tus(client.clone()).post(&[("Upload-Length", "0"), ("Upload-Metadata", &metadata)], "").await;
        upload.expect(201);
    }
    client.start_with(1, json!({ "name": "a\u{202E}gpj.exe" })).await.refused(422, "name_invalid");
    client.post_file("name=a%FFb&mime_type=text/plain", "x").await.refused(422, "name_invalid");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a19_a_name_is_found_by_itself_in_every_script_and_case() {
    let stack = Stack::start().await;
    let client = stack.client();
    for name in ["Übersicht.pdf", "Отчёт.docx", "ÅRSREGNSKAP.xlsx", "İstanbul.txt", "ΟΔΟΣ.txt", "U\u{308}bung.txt"]
    {
        let request = client.request(Method::POST, "/v1/files").query(&[("name", name), ("mime_type", "text/plain")]);
        let sent = client.send(request.body("hello")).await.expect(201);
        client.get_after(&format!("/v1/files/{}", sent.text("file_id")), &sent).await.expect(200);
    }
    for (searched, found) in [
        ("Übersicht", "Übersicht.pdf"),
        ("übersicht", "Übersicht.pdf"),
        ("bersicht", "Übersicht.pdf"),
        ("Отчёт", "Отчёт.docx"),
        ("ОТЧЁТ", "Отчёт.docx"),
        ("årsregnskap", "ÅRSREGNSKAP.xlsx"),
        ("istanbul", "İstanbul.txt"),
        ("οδος", "ΟΔΟΣ.txt"),
        ("ÜBUNG", "U\u{308}bung.txt"),
    ] {
        let request = client.request(Method::GET, "/v1/files").query(&[("name", searched)]);
        let items = client.send(request).await.expect(200).body["items"].clone();
        let names: Vec<&str> =
            items.as_array().unwrap().iter().map(|item| item["original_name"].as_str().unwrap()).collect();
        assert_eq!(names, [found], "{searched}");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f7_f11_a_type_need_not_be_said() {
    let stack = Stack::start().await;
    let client = stack.client();
    let post = async |query: &str, content_type: Option<&str>, body: &[u8]| {
        let request = client.request(Method::POST, &format!("/v1/files?{query}")).body(body.to_vec());
        let request = content_type.iter().fold(request, |request, it| request.header("Content-Type", *it));
        let sent = client.send(request).await.expect(201);
        client.file_with_status(&sent.text("file_id"), "COMPLETED").await["mime_type"].as_str().unwrap().to_owned()
    };
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    assert_eq!(post("name=a.txt", Some("image/webp"), b"x").await, "image/webp", "by Content-Type");
    assert_eq!(post("name=a.pdf", Some("application/octet-stream"), b"x").await, "application/pdf", "by the name");
    assert_eq!(post("name=a", None, png).await, "image/png", "by the content");
    assert_eq!(post("name=a", None, b"some text").await, "text/plain");
    assert_eq!(post("name=a", None, b"").await, "application/octet-stream");
    assert_eq!(post("name=a&mime_type=weird", None, png).await, "image/png", "an invalid type is ignored");
    let started = client.post("/v1/uploads", &json!({ "name": "a", "size_bytes": png.len() })).await.expect(201);
    let upload = started.text("upload_id");
    client.put_chunk(&upload, 0, png.to_vec()).await.expect(200);
    client.complete(&upload, &json!({})).await.expect(200);
    assert_eq!(client.file_with_status(&upload, "COMPLETED").await["mime_type"], "image/png");
    // A body without `Content-Length`, as `curl -T -` sends it.
    let chunked = reqwest::Body::wrap_stream(futures_util::stream::iter([Ok::<_, std::io::Error>("hello")]));
    let sent = client.post_file("name=a.txt", chunked).await.expect(201);
    assert!(client.content(&sent.text("file_id")).await == b"hello");
    stack.nothing_reserved(client.principal.company_id).await;
    stack.finish().await;
}

/// Metadata keep numbers that a 64-bit float cannot reproduce. The rebuild at the end of each test must give the same
/// tables, too.
#[tokio::test(flavor = "multi_thread")]
async fn metadata_come_back_as_they_were_sent() {
    let stack = Stack::start().await;
    let client = stack.client();
    let text = r#"{"lat": 0.42451918914251396, "x": 4.849562117369282e46, "big": 12345678901234567890123, "e": 1E2, "z": 1.10}"#;
    let body = format!(r#"{{"name": "a.txt", "size_bytes": 5, "metadata": {text}}}"#);
    let request = client.request(Method::POST, "/v1/uploads").header("Content-Type", "application/json");
    let upload = client.send(request.body(body)).await.expect(201).text("upload_id");
    client.put_chunk(&upload, 0, "hello").await.expect(200);
    client.complete(&upload, &json!({})).await.expect(200);
    for name in ["b.txt", "c.txt"] {
        let renamed = client.patch(&format!("/v1/files/{upload}"), &json!({ "display_name": name })).await.expect(204);
        client.get_after(&format!("/v1/files/{upload}"), &renamed).await.expect(200);
    }
    let answer =
        client.request(Method::GET, &format!("/v1/files/{upload}")).send().await.unwrap().text().await.unwrap();
    assert!(answer.contains(text), "{answer}");
    let many = client.request(Method::POST, "/v1/uploads").header("Content-Type", "application/json");
    let many = many.body(r#"{"name": "a.txt", "size_bytes": 5, "metadata": {"a": 1e999}}"#);
    client.send(many).await.refused(400, "json_invalid");
    stack.finish().await;
}
