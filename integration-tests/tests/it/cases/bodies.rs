//! Slow bodies and multipart forms.

use super::MIB;
use crate::random::{bytes, sha256};
use crate::speaker::Speaker;
use crate::threats::raw_answer;
use reqwest::Method;
use serde_json::json;
use std::time::Duration;
use waybill_integration_tests::{Answer, Client, Stack};

/// Returns a body that is sent in pieces of `piece` bytes, with a pause before each piece.
fn slowly(content: Vec<u8>, piece: usize, pause: Duration) -> reqwest::Body {
    let pieces: Vec<Vec<u8>> = content.chunks(piece).map(<[u8]>::to_vec).collect();
    reqwest::Body::wrap_stream(futures_util::stream::unfold(pieces.into_iter(), move |mut pieces| async move {
        let next = pieces.next()?;
        tokio::time::sleep(pause).await;
        Some((Ok::<_, std::io::Error>(next), pieces))
    }))
}

/// Sends a file slowly, with `Content-Length`.
async fn send_slowly(client: &Client, content: &[u8], piece: usize, pause: Duration) -> Answer {
    let body = slowly(content.to_vec(), piece, pause);
    let request = client.request(Method::POST, "/v1/files?name=b.bin&mime_type=application/octet-stream");
    client.send(request.header("Content-Length", content.len().to_string()).body(body)).await
}

/// Sends 8 MiB at 400 KB/s, and 300 KB at 20 KB/s in bursts. Neither connection is closed, and both files arrive
/// unchanged.
#[tokio::test(flavor = "multi_thread")]
async fn a4_a_small_file_over_a_slow_line_arrives() {
    let stack = Stack::start().await;
    let client = stack.client();
    let (steady, slow) = (bytes(900, 8 * MIB), bytes(901, 300_000));
    let (first, second) = tokio::join!(
        send_slowly(&client, &steady, 100_000, Duration::from_millis(250)),
        send_slowly(&client, &slow, 50_000, Duration::from_millis(2_500)),
    );
    for (answer, content) in [(first, &steady), (second, &slow)] {
        let answer = answer.expect(201);
        assert_eq!((&answer.body["status"], answer.text("sha256")), (&json!("COMPLETED"), sha256(content)));
        assert!(client.content(&answer.text("file_id")).await == *content);
    }
    stack.nothing_reserved(client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_a_slow_file_that_breaks_off_leaves_nothing() {
    let stack = Stack::start().await;
    let client = stack.client();
    let head = format!(
        "POST /v1/files?name=a&mime_type=text/plain HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Length: 1000\r\n\r\nhello",
        client.token()
    );
    // The client waits until the upload has started, and disconnects.
    let socket = raw_answer(&stack, &head, Duration::from_secs(5));
    assert_eq!(socket, "", "the server answered before the body was complete");
    stack.nothing_reserved(client.principal.company_id).await;
    stack.finish().await;
}

fn form(parts: &[(&str, &str)], boundary: &str) -> String {
    let parts: String = parts
        .iter()
        .map(|(head, body)| format!("--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n{body}\r\n"))
        .collect();
    format!("{parts}--{boundary}--\r\n")
}

async fn post_form(client: &Client, path: &str, body: String) -> Answer {
    let request = client.request(Method::POST, path).header("Content-Type", "multipart/form-data; boundary=XX");
    client.send(request.body(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a15_f4_of_a_form_the_file_is_stored_and_not_the_form() {
    let stack = Stack::start().await;
    let client = stack.client();
    let of_curl = "name=\"file\"; filename=\"a.png\"\r\nContent-Type: image/png";
    let sent = post_form(&client, "/v1/files", form(&[(of_curl, "hello")], "XX")).await.expect(201);
    assert!(client.content(&sent.text("file_id")).await == b"hello");
    let file = client.file_with_status(&sent.text("file_id"), "COMPLETED").await;
    assert_eq!(
        (&file["original_name"], &file["mime_type"], &file["size_bytes"]),
        (&json!("a.png"), &json!("image/png"), &json!(5))
    );
    // Uppy's XHR plugin sends the fields first.
    let fields = [
        ("name=\"relativePath\"", "null"),
        ("name=\"type\"", "text/markdown"),
        ("name=\"colour\"", "blue"),
        (
            "name=\"files[]\"; filename=\"b%22c.md\"\r\nContent-Type: application/octet-stream",
            "--XX-- is not the end\r\n",
        ),
    ];
    let sent = post_form(&client, "/v1/files", form(&fields, "XX")).await.expect(201);
    let file = client.file_with_status(&sent.text("file_id"), "COMPLETED").await;
    assert_eq!((&file["original_name"], &file["mime_type"]), (&json!("b\"c.md"), &json!("text/markdown")));
    assert_eq!(file["metadata"]["colour"], "blue");
    assert!(client.content(&sent.text("file_id")).await == b"--XX-- is not the end\r\n");
    // Two files, a field after the file, no file, and an incomplete form.
    let two = form(&[(of_curl, "a"), (of_curl, "b")], "XX");
    let late = form(&[(of_curl, "a"), ("name=\"chatroom_id\"", "x")], "XX");
    let none = form(&[("name=\"a\"", "b")], "XX");
    let cut = form(&[(of_curl, "hello")], "XX").replace("--XX--\r\n", "");
    for (body, code) in
        [(two, "form_invalid"), (late, "form_invalid"), (none, "form_invalid"), (cut, "body_incomplete")]
    {
        post_form(&client, "/v1/files", body).await.refused(400, code);
    }
    // Other requests accept only the bytes themselves.
    let body = form(&[(of_curl, "hello")], "XX");
    let upload = client.start(body.len() as u64).await.expect(201).text("upload_id");
    for content_type in
        ["multipart/form-data; boundary=XX", "application/x-www-form-urlencoded", "multipart/mixed; boundary=XX"]
    {
        let chunk = client.request(Method::PUT, &format!("/v1/uploads/{upload}/chunks/0"));
        let chunk = chunk.header("Content-Type", content_type).body(body.clone());
        client.send(chunk).await.refused(415, "content_type_refused");
    }
    let urlencoded = client
        .request(Method::POST, "/v1/files?name=a&mime_type=text/plain")
        .header("Content-Type", "application/x-www-form-urlencoded");
    client.send(urlencoded.body("hello")).await.refused(415, "content_type_refused");
    let tus = Speaker::tus(client.clone());
    let headers = [("Upload-Length", "5"), ("Content-Type", "multipart/form-data; boundary=XX")];
    tus.post(&headers, body).await.refused(415, "content_type_refused");
    client.delete(&format!("/v1/uploads/{upload}")).await.expect(204);
    stack.nothing_reserved(client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a15_a_form_is_streamed_however_large_its_file_is() {
    let stack = Stack::start().await;
    let client = stack.client();
    let content = bytes(940, 20 * MIB + 3);
    let part = reqwest::multipart::Part::bytes(content.clone()).file_name("film.mp4");
    let form = reqwest::multipart::Form::new().part("file", part);
    let sent = client.send(client.request(Method::POST, "/v1/files").multipart(form)).await.expect(201);
    assert_eq!((sent.text("status"), sent.text("sha256")), ("COMPLETED".to_owned(), sha256(&content)));
    stack.nothing_reserved(client.principal.company_id).await;
    stack.finish().await;
}
