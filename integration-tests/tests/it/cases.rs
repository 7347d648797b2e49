//! What users of other upload backends reported, and what published clients stumbled over; each test is named after its
//! case. Those of browsers and of other languages' clients are in `browser_pages` and `field_clients`, kinds of files in
//! `corpus`.

use crate::random::{bytes, sha256};
use crate::speaker::Speaker;
use crate::threats::raw_answer;
use crate::tus_clauses::base64;
use reqwest::{Client as Http, Method, Response};
use serde_json::{Value, json};
use std::time::Duration;
use waybill_integration_tests::{Answer, Client, Options, Stack};
use waybill_test_kit::eventually;

const MIB: usize = 1_024 * 1_024;

/// A body that comes in pieces of `piece` bytes, with a pause before each.
fn slowly(content: Vec<u8>, piece: usize, pause: Duration) -> reqwest::Body {
    let pieces: Vec<Vec<u8>> = content.chunks(piece).map(<[u8]>::to_vec).collect();
    reqwest::Body::wrap_stream(futures_util::stream::unfold(pieces.into_iter(), move |mut pieces| async move {
        let next = pieces.next()?;
        tokio::time::sleep(pause).await;
        Some((Ok::<_, std::io::Error>(next), pieces))
    }))
}

/// Sends a file, with a length, slowly.
async fn send_slowly(client: &Client, content: &[u8], piece: usize, pause: Duration) -> Answer {
    let body = slowly(content.to_vec(), piece, pause);
    let request = client.request(Method::POST, "/v1/files?name=b.bin&mime_type=application/octet-stream");
    client.send(request.header("Content-Length", content.len().to_string()).body(body)).await
}

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
    // Where a company allows ZIP, it allows the name under which most desktops send it.
    let path = format!("/v1/admin/companies/{}", client.principal.company_id);
    let set = client.put(&path, &json!({ "allowed_mime_types": ["application/zip"] })).await.expect(200);
    client.get_after("/v1/quota", &set).await.expect(200);
    client.post_file("name=a.zip&mime_type=application/x-zip-compressed", "x").await.expect(201);
    client.post_file("name=a.txt&mime_type=text/plain", "x").await.refused(415, "type_refused");
    stack.finish().await;
}

/// 8 MiB at 400 KB/s, 300 KB at 20 KB/s with a pause: neither is cut, and both are the same afterwards.
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
    // Long enough for the upload to be started; then the client goes.
    let socket = raw_answer(&stack, &head, Duration::from_secs(5));
    assert_eq!(socket, "", "nothing is answered before the body is there");
    stack.nothing_reserved(client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a5_f3_a_completion_may_name_as_many_parts_as_s3_has() {
    let stack = Stack::start().await;
    let client = stack.client();
    let begun = client.post("/uppy/s3/multipart", &json!({ "filename": "a.bin" })).await.expect(200);
    let complete = format!("/uppy/s3/multipart/{}/complete?key={}", begun.text("uploadId"), begun.text("key"));
    let parts: Vec<Value> = (1..=10_000).map(|n| json!({ "PartNumber": n, "ETag": format!("\"{n:032x}\"") })).collect();
    client.post(&complete, &json!({ "parts": parts })).await.refused(409, "part_missing");
    let larger = json!({ "parts": parts, "more": "x".repeat(1_300_000) });
    client.post(&complete, &larger).await.refused(413, "json_too_large");
    stack.finish().await;
}

async fn issue(client: &Client, file: &str, body: Value) -> String {
    client.post(&format!("/v1/files/{file}/tokens"), &body).await.expect(201).text("url")
}

async fn get(stack: &Stack, link: &str, headers: &[(&str, &str)]) -> Response {
    let request = Http::new().get(format!("{}{link}", stack.url()));
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await.unwrap()
}

/// Until the tables say so often that the file was downloaded.
async fn downloads(client: &Client, file: &str, count: u32) {
    eventually("the downloads to be counted", || async {
        let listed = client.get(&format!("/v1/files/{file}/tokens")).await.expect(200);
        (listed.body["items"][0]["download_count"] == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a7_who_only_looks_at_a_link_gets_no_file_and_uses_nothing_up() {
    let stack = Stack::start().await;
    let client = stack.client();
    let file = client.small_file("a.txt").await.text("file_id");
    let link = issue(&client, &file, json!({})).await;
    for looks in [
        &[("User-Agent", "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"), ("Range", "bytes=0-32768")][..],
        &[("User-Agent", "TelegramBot (like TwitterBot)")],
        &[("User-Agent", "facebookexternalhit/1.1 Facebot Twitterbot/1.0")],
        &[("Sec-Purpose", "prefetch;prerender")],
    ] {
        let answer = get(&stack, &link, looks).await;
        assert_eq!(answer.status().as_u16(), 200, "{looks:?}");
        assert_eq!(answer.headers()["cache-control"], "private, no-store");
        assert!(!answer.text().await.unwrap().contains("hello"), "{looks:?}");
    }
    downloads(&client, &file, 0).await;
    let answer = get(&stack, &link, &[("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0")]).await;
    assert_eq!(answer.text().await.unwrap(), "hello");
    downloads(&client, &file, 1).await;
    stack.finish().await;
}

/// A file that is larger than what lies in buffers, so that a broken answer is one.
async fn large_file(client: &Client) -> (String, Vec<u8>) {
    let content = bytes(910, 12 * MIB);
    let sent = client.post_file("name=a.bin&mime_type=application/octet-stream", content.clone()).await.expect(201);
    (sent.text("file_id"), content)
}

#[tokio::test(flavor = "multi_thread")]
async fn a8_one_person_may_probe_repeat_and_change_programs_and_gets_the_file_once() {
    let stack = Stack::start().await;
    let client = stack.client();
    let (file, content) = large_file(&client).await;
    // Two bytes first, then all of it, as players do.
    let link = issue(&client, &file, json!({})).await;
    let probe = get(&stack, &link, &[("Range", "bytes=0-1")]).await;
    assert_eq!((probe.status().as_u16(), probe.bytes().await.unwrap().len()), (206, 2));
    let all = get(&stack, &link, &[("Range", "bytes=0-")]).await;
    assert!(all.bytes().await.unwrap() == content);
    downloads(&client, &file, 1).await;
    // Closed after the head; then another program asks.
    let link = issue(&client, &file, json!({})).await;
    let browser = get(&stack, &link, &[("User-Agent", "Mozilla/5.0 (Linux; Android 13) Chrome/140.0 Mobile")]).await;
    assert_eq!(browser.status().as_u16(), 200);
    drop(browser);
    let manager = get(&stack, &link, &[("User-Agent", "AndroidDownloadManager/13")]).await;
    assert_eq!(manager.status().as_u16(), 200);
    assert!(manager.bytes().await.unwrap() == content);
    // Broken in the middle, and gone on with.
    let link = issue(&client, &file, json!({})).await;
    let mut broken = get(&stack, &link, &[]).await;
    let first = broken.chunk().await.unwrap().unwrap();
    drop(broken);
    let rest = get(&stack, &link, &[("Range", &format!("bytes={}-", first.len()))]).await;
    assert_eq!(rest.status().as_u16(), 206);
    assert!([first.to_vec(), rest.bytes().await.unwrap().to_vec()].concat() == content);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a8_a_small_file_whose_first_answer_was_thrown_away_is_sent_again_once() {
    let stack = Stack::start().await;
    let client = stack.client();
    let file = client.small_file("a.txt").await.text("file_id");
    let link = issue(&client, &file, json!({})).await;
    drop(get(&stack, &link, &[]).await);
    let again = get(&stack, &link, &[("User-Agent", "another program")]).await;
    assert_eq!(again.status().as_u16(), 200);
    assert_eq!(again.text().await.unwrap(), "hello");
    let third = get(&stack, &link, &[]).await.status().as_u16();
    assert!(matches!(third, 410 | 429), "twice the file and no more: {third}");
    downloads(&client, &file, 1).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a8_the_bytes_that_a_download_sends_are_bounded() {
    let stack = Stack::start().await;
    let client = stack.client();
    let (file, content) = large_file(&client).await;
    let link = issue(&client, &file, json!({ "max_downloads": 1 })).await;
    let mut sent = 0;
    for _ in 0..10 {
        let piece = get(&stack, &link, &[("Range", "bytes=1000000-6999999")]).await;
        if piece.status() == 206 {
            sent += piece.bytes().await.unwrap().len();
        }
    }
    assert!(sent > content.len() && sent <= 2 * content.len(), "{sent} of {}", content.len());
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a12_f2_uploads_of_unknown_size_take_little_and_give_it_back_when_their_urls_end() {
    let args = ["--upload-url-lifetime-s=3", "--expiry-grace-s=0", "--worker-sweep-ms=200"].map(str::to_owned).to_vec();
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let client = stack.client();
    let path = format!("/v1/admin/companies/{}/quota", client.principal.company_id);
    let set = client.put(&path, &json!({ "storage_limit_bytes": 1_000_000_000 })).await.expect(200);
    client.get_after("/v1/quota", &set).await.expect(200);
    for n in 0..103 {
        if n % 2 == 0 {
            client.post("/uppy/s3/multipart", &json!({ "filename": "a.jpg", "type": "image/jpeg" })).await.expect(200);
        } else {
            client.get("/uppy/s3/params?filename=a.jpg&type=image/jpeg").await.expect(200);
        }
    }
    client.small_file("a.txt").await;
    // Nobody comes back: the space is free again, long before the uploads' own time is up.
    stack.nothing_reserved(client.principal.company_id).await;
    stack.finish().await;
}

/// A part's URL, and what the store answers to a PUT there.
async fn put_part(client: &Client, begun: &Answer, number: u32, content: Vec<u8>) -> String {
    let path = format!("/uppy/s3/multipart/{}/{number}?key={}", begun.text("uploadId"), begun.text("key"));
    let url = client.get(&path).await.expect(200).text("url");
    let answer = Http::new().put(url).body(content).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    answer.headers()["etag"].to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a12_space_is_set_aside_as_parts_are_signed_and_what_is_charged_is_what_is_there() {
    let stack = Stack::start().await;
    let client = stack.client();
    let company = client.principal.company_id;
    let begun = client.post("/uppy/s3/multipart", &json!({ "filename": "a.bin" })).await.expect(200);
    let at_first = stack.reserved_bytes(company).await;
    assert!(at_first <= 8 << 20, "{at_first}");
    let parts = [bytes(920, 6 * MIB), bytes(921, 7)];
    let mut named = Vec::new();
    for (n, part) in (1..).zip(&parts) {
        let etag = put_part(&client, &begun, n, part.clone()).await;
        named.push(json!({ "PartNumber": n, "ETag": etag }));
    }
    assert!(stack.reserved_bytes(company).await > at_first);
    let complete = format!("/uppy/s3/multipart/{}/complete?key={}", begun.text("uploadId"), begun.text("key"));
    client.post(&complete, &json!({ "parts": named })).await.expect(200);
    client.file_with_status(&begun.text("file_id"), "COMPLETED").await;
    stack.nothing_reserved(company).await;
    let used = eventually("the space to be charged", || async {
        let quota = client.get("/v1/quota").await.expect(200).body;
        (quota["storage_used_bytes"] != 0).then(|| quota["storage_used_bytes"].clone())
    })
    .await;
    assert_eq!(used, json!(6 * MIB + 7));
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a12_more_than_is_free_is_refused_when_it_is_known() {
    let stack = Stack::start().await;
    let client = stack.client();
    let path = format!("/v1/admin/companies/{}/quota", client.principal.company_id);
    let set = client.put(&path, &json!({ "storage_limit_bytes": 8 << 20 })).await.expect(200);
    client.get_after("/v1/quota", &set).await.expect(200);
    let wanted = client.get("/uppy/s3/params?filename=a.bin").await.expect(200);
    let put = Http::new().put(wanted.text("url")).body(bytes(930, 9 * MIB)).send().await.unwrap();
    assert_eq!(put.status().as_u16(), 200, "the store knows no quota");
    let id = wanted.text("file_id");
    let failed = eventually("the file to be refused", || async {
        let status = client.get(&format!("/v1/uploads/{id}")).await.expect(200).body;
        (status["status"] == "FAILED").then_some(status)
    })
    .await;
    assert_eq!(failed["error_code"], "quota_exceeded");
    stack.nothing_reserved(client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a13_a_socket_is_open_to_pages_of_its_own_origin() {
    let stack = Stack::start().await;
    let client = stack.client();
    let connect = async |origin: String| {
        let request = client.request(Method::GET, "/v1/progress").header("Origin", origin);
        let request = request.header("Connection", "Upgrade").header("Upgrade", "websocket");
        let request = request.header("Sec-WebSocket-Version", "13").header("Sec-WebSocket-Protocol", "waybill.v1");
        request.header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==").send().await.unwrap().status().as_u16()
    };
    assert_eq!(connect(stack.url().to_owned()).await, 101);
    assert_eq!(connect("https://app.example".to_owned()).await, 101, "the configured one");
    assert_eq!(connect("https://evil.example".to_owned()).await, 403);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a14_preflights_allow_whatever_header_a_page_has_and_answers_show_theirs() {
    let stack = Stack::start().await;
    for (path, method, headers) in [
        ("/tus/", "POST", "authorization,baggage,sentry-trace,tus-resumable,upload-length"),
        ("/v1/files", "POST", "traceparent,tracestate,x-datadog-trace-id,idempotency-key"),
        ("/v1/files/a/content", "GET", "if-range,range,if-none-match,cache-control,x-something-of-tomorrow"),
        ("/v1/progress/tickets", "POST", "authorization,traceparent"),
    ] {
        let ask = async |origin: &str| {
            let request = Http::new().request(Method::OPTIONS, format!("{}{path}", stack.url()));
            let request = request.header("Origin", origin).header("Access-Control-Request-Method", method);
            request.header("Access-Control-Request-Headers", headers).send().await.unwrap()
        };
        let answer = ask("https://app.example").await;
        assert!(answer.status().is_success(), "{path}");
        let allowed = answer.headers()["access-control-allow-headers"].to_str().unwrap().to_ascii_lowercase();
        for header in headers.split(',') {
            assert!(allowed.split(',').any(|allowed| allowed.trim() == header), "{header} of {path}: {allowed}");
        }
        assert!(!ask("https://evil.example").await.headers().contains_key("access-control-allow-origin"));
    }
    let request = Http::new().get(format!("{}/v1/files", stack.url())).header("Origin", "https://app.example");
    let answer = request.send().await.unwrap();
    let exposed = answer.headers()["access-control-expose-headers"].to_str().unwrap().to_ascii_lowercase();
    for header in ["content-range", "content-disposition", "retry-after", "waybill-position", "upload-limit", "etag"] {
        assert!(exposed.split(',').any(|exposed| exposed.trim() == header), "{header}: {exposed}");
    }
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
    // As Uppy's XHR plugin has it: fields first.
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
    // What is no file in a form, more than one, and what comes too late.
    let two = form(&[(of_curl, "a"), (of_curl, "b")], "XX");
    let late = form(&[(of_curl, "a"), ("name=\"chatroom_id\"", "x")], "XX");
    let none = form(&[("name=\"a\"", "b")], "XX");
    let cut = form(&[(of_curl, "hello")], "XX").replace("--XX--\r\n", "");
    for (body, code) in
        [(two, "form_invalid"), (late, "form_invalid"), (none, "form_invalid"), (cut, "body_incomplete")]
    {
        post_form(&client, "/v1/files", body).await.refused(400, code);
    }
    // Others take the bytes alone.
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
async fn f5_completing_answers_with_the_truth() {
    let stack = Stack::start().await;
    let client = stack.client();
    let begun = client.post("/uppy/s3/multipart", &json!({ "filename": "a.bin" })).await.expect(200);
    let complete = format!("/uppy/s3/multipart/{}/complete?key={}", begun.text("uploadId"), begun.text("key"));
    let post = async |parts: Value| client.post(&complete, &json!({ "parts": parts })).await;
    post(json!([])).await.refused(400, "parts_invalid");
    post(json!([{ "PartNumber": 1, "ETag": "\"0\"" }])).await.refused(409, "part_missing");
    let first = json!({ "PartNumber": 1, "ETag": put_part(&client, &begun, 1, bytes(950, 5 * MIB)).await });
    let second = json!({ "PartNumber": 2, "ETag": put_part(&client, &begun, 2, bytes(951, 9)).await });
    let wrong = json!({ "PartNumber": 2, "ETag": "\"00000000000000000000000000000000\"" });
    let third = json!({ "PartNumber": 3, "ETag": second["ETag"] });
    post(json!([first, wrong])).await.refused(409, "part_missing");
    post(json!([first, second, third])).await.refused(409, "part_missing");
    let unsorted = post(json!([second, first])).await.refused(400, "parts_invalid");
    assert_eq!(unsorted.body["message"], unsorted.body["detail"], "F8: what Uppy shows");
    let other_method = client.request(Method::PUT, "/uppy/s3/sign").send().await.unwrap();
    assert_eq!((other_method.status().as_u16(), &other_method.headers()["allow"]), (405, &"POST".parse().unwrap()));
    let done = post(json!([first, second])).await.expect(200);
    assert_eq!(post(json!([first, second])).await.expect(200).body, done.body, "the answer may have been lost");
    let other = format!("/uppy/s3/multipart/none/complete?key={}", begun.text("key"));
    client.post(&other, &json!({ "parts": [first] })).await.expect(200);
    stack.nothing_reserved(client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f6_what_is_gone_answers_so_that_every_client_begins_anew() {
    let stack = Stack::start().await;
    let client = stack.client();
    let tus = Speaker::tus(client.clone());
    let cancelled = tus.create(5).await;
    tus.delete(&cancelled).await.expect(204);
    tus.head(&cancelled).await.expect(404).without("Upload-Offset");
    let finished = tus.create(5).await;
    tus.patch(&finished, 0, "hello").await.expect(204);
    tus.head(&finished).await.expect(200).with("Upload-Offset", "5");
    let whole = tus.send(Method::GET, &finished, &[], "").await.expect(200);
    assert_eq!(whole.body, b"hello");
    let piece = tus.send(Method::GET, &finished, &[("Range", "bytes=1-2")], "").await.expect(206);
    assert_eq!((piece.body.as_slice(), piece.header("Content-Range")), (&b"el"[..], Some("bytes 1-2/5")));
    let id = finished.rsplit('/').next().unwrap();
    client.delete(&format!("/v1/files/{id}")).await.expect(204);
    tus.head(&finished).await.expect(404);
    let running = tus.create(5).await;
    tus.send(Method::GET, &running, &[], "").await.expect(204);
    tus.delete(&running).await.expect(204);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_said_with_every_refusal_that_comes_of_one() {
    let stack = Stack::start().await;
    let client = stack.client();
    let path = format!("/v1/admin/companies/{}/quota", client.principal.company_id);
    let set = client.put(&path, &json!({ "storage_limit_bytes": 1_000 })).await.expect(200);
    client.get_after("/v1/quota", &set).await.expect(200);
    let draft = Speaker::draft(client.clone(), 9);
    for complete in ["?0", "?1"] {
        let large = vec![0; if complete == "?1" { 2_000 } else { 0 }];
        let headers = [("Upload-Complete", complete), ("Upload-Length", "2000")];
        let refused = draft.post(&headers, large).await.refused(413, "quota_exceeded");
        assert_eq!(refused.header("Upload-Limit"), Some("max-size=1000"), "{complete}");
    }
    let huge = [("Upload-Complete", "?0"), ("Upload-Length", "99999999999")];
    assert!(draft.post(&huge, "").await.refused(413, "file_too_large").header("Upload-Limit").is_some());
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
    assert_eq!(post("name=a&mime_type=weird", None, png).await, "image/png", "what is no type counts as none");
    let started = client.post("/v1/uploads", &json!({ "name": "a", "size_bytes": png.len() })).await.expect(201);
    let upload = started.text("upload_id");
    client.put_chunk(&upload, 0, png.to_vec()).await.expect(200);
    client.complete(&upload, &json!({})).await.expect(200);
    assert_eq!(client.file_with_status(&upload, "COMPLETED").await["mime_type"], "image/png");
    // A body without a length, as `curl -T -` sends it.
    let chunked = reqwest::Body::wrap_stream(futures_util::stream::iter([Ok::<_, std::io::Error>("hello")]));
    let sent = client.post_file("name=a.txt", chunked).await.expect(201);
    assert!(client.content(&sent.text("file_id")).await == b"hello");
    stack.nothing_reserved(client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f10_two_files_with_the_same_requested_key_stay_two() {
    let stack = Stack::start().await;
    let client = stack.client();
    let sign = async |more: Value| {
        let mut body = json!({ "method": "PUT", "key": "2f1b0a6e-7a0b-4f3e-9d55-000000000000-photo.txt" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        client.post("/uppy/s3/sign", &body).await.expect(200)
    };
    let (first, second) = (sign(json!({})).await, sign(json!({ "size": 5 })).await);
    assert_ne!(first.text("key"), second.text("key"));
    for (signed, content) in [(&first, "first"), (&second, "later")] {
        let put = Http::new().put(signed.text("url")).body(content).send().await.unwrap();
        assert_eq!(put.status().as_u16(), 200);
    }
    for (signed, content) in [(first, "first"), (second, "later")] {
        let id = signed.text("key").split('/').nth(2).unwrap().to_owned();
        let file = client.file_with_status(&id, "COMPLETED").await;
        assert_eq!(file["original_name"], "photo.txt");
        assert!(client.content(&id).await == content.as_bytes());
    }
    stack.finish().await;
}

/// The tables equal a rebuild at the end of each test: also with numbers that no double writes as they came.
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
