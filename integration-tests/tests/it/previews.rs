//! Previews: who sees them, when they exist, and what a file that is made to do harm can do.

use crate::real_clients::{free_origin, named, run};
use crate::scans::crc32;
use crate::sharing::Room;
use crate::socket::{next, send, with_token};
use futures_util::StreamExt;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageEncoder, ImageFormat, Rgb, RgbImage};
use reqwest::Method;
use serde_json::{Value, json};
use std::fs::Permissions;
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;
use waybill_integration_tests::{Answer, Client, Options, Process, Shape, Stack, free_addr, servers_in};
use waybill_object_store::ObjectStore;
use waybill_schema::names;
use waybill_test_kit::{ClamdServer, eventually_within, settings};

/// Returns a picture that differs from others with another number.
fn picture(number: u8) -> DynamicImage {
    RgbImage::from_fn(1_600, 800, |x, y| Rgb([number, x.to_le_bytes()[0], y.to_le_bytes()[0]])).into()
}

/// Returns a JPEG with a place in its metadata: a description in the first directory of EXIF (Exif 3.0, 4.6).
fn jpeg(number: u8) -> Vec<u8> {
    let mut tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x0e\0\x02\0\0\0\x0c\0\0\0\x1a\0\0\0\0".to_vec();
    tiff.extend(b"47.37 8.54 \0");
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 90);
    encoder.set_exif_metadata(tiff).unwrap();
    picture(number).write_with_encoder(encoder).unwrap();
    bytes
}

async fn post(client: &Client, name: &str, mime_type: &str, content: Vec<u8>) -> String {
    client.post_file(&format!("name={name}&mime_type={mime_type}"), content).await.expect(201).text("file_id")
}

/// Waits until previews of the file were made or could not be made, and returns them.
async fn preview(client: &Client, file: &str) -> Value {
    eventually_within(Duration::from_secs(120), &format!("previews of {file}"), || async {
        let answer = client.get(&format!("/v1/files/{file}")).await;
        (!answer.body["preview"].is_null()).then(|| answer.body["preview"].clone())
    })
    .await
}

async fn variant(client: &Client, file: &str, name: &str) -> Answer {
    client.get(&format!("/v1/files/{file}/variants/{name}")).await
}

/// Returns the keys of all previews of a company.
async fn keys(stack: &Stack, client: &Client) -> Vec<String> {
    stack.store().list(&format!("{}{}/", names::VARIANTS, client.principal.company_id)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_members_of_a_chatroom_see_previews_without_metadata() {
    let stack = Stack::with(Options { shape: Shape::Apart, ..Options::default() }).await;
    let room = Room::of(&stack).await;
    let mut socket = with_token(stack.progress_url(), &room.ben).await;
    send(&mut socket, json!({ "t": "sub", "id": 1, "topic": format!("chatroom:{}", room.chatroom) })).await;
    assert_eq!(next(&mut socket).await["t"], "snap");
    let original = jpeg(1);
    assert!(original.windows(5).any(|window| window == b"47.37"));
    let query = format!("name=a.jpg&mime_type=image/jpeg&chatroom_id={}", room.chatroom);
    let file = room.anna.post_file(&query, original.clone()).await.expect(201).text("file_id");

    let frame = loop {
        let frame = next(&mut socket).await;
        if frame["kind"] == "PreviewsMade" {
            break frame;
        }
    };
    assert_eq!(frame["file_id"], file.as_str(), "{frame}");
    let shown = preview(&room.ben, &file).await;
    assert_eq!(frame["preview"], shown);
    assert_eq!((&shown["width"], &shown["height"], &shown["failure"]), (&json!(1_600), &json!(800), &Value::Null));
    assert!(shown["thumbhash"].as_str().unwrap().len() > 20, "{shown}");
    let listed = room.ben.get(&format!("{}&view=list&preview=made", room.listing())).await.expect(200);
    assert_eq!(listed.body["items"][0]["preview"], shown);
    let failed = room.ben.get(&format!("{}&preview=failed", room.listing())).await.expect(200);
    assert_eq!(failed.body["items"], json!([]));

    for (name, width) in [("preview-256", 256), ("preview-1024", 1_024)] {
        let url = format!("/v1/files/{file}/variants/{name}");
        let answer = room.ben.request(Method::GET, &url).send().await.unwrap();
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(answer.status(), 200);
        assert_eq!((header("content-type"), header("content-disposition")), ("image/jpeg".into(), "inline".into()));
        assert_eq!(
            (header("cache-control"), header("x-content-type-options")),
            ("private, no-cache".into(), "nosniff".into())
        );
        let etag = header("etag");
        let bytes = answer.bytes().await.unwrap();
        assert!(!bytes.windows(5).any(|window| window == b"47.37" || window == b"Exif\0"));
        let decoded = image::load_from_memory(&bytes).unwrap();
        assert_eq!((decoded.width(), decoded.height()), (width, width / 2));
        let stored = shown["variants"].as_array().unwrap().iter().find(|stored| stored["name"] == name).unwrap();
        assert_eq!(stored["size_bytes"], bytes.len());
        let again = room.ben.request(Method::GET, &url).header("If-None-Match", &etag).send().await.unwrap();
        assert_eq!(again.status(), 304);
        let head = room.ben.request(Method::HEAD, &url).send().await.unwrap();
        assert_eq!(
            (head.status().as_u16(), head.headers()["content-length"].to_str().unwrap()),
            (200, bytes.len().to_string().as_str())
        );
        room.carl.get(&url).await.refused(404, "not_found");
        stack.client().get(&url).await.refused(404, "not_found");
    }
    variant(&room.ben, &file, "preview-4096").await.refused(404, "preview_absent");
    assert_eq!(room.ben.content(&file).await, original);

    // Nobody sees them after the deletion, and they are gone after the purge.
    assert_eq!(keys(&stack, &room.anna).await.len(), 2);
    room.anna.delete(&format!("/v1/files/{file}")).await.expect(204);
    variant(&room.anna, &file, "preview-256").await.refused(410, "file_deleted");
    room.admin.delete(&format!("/v1/files/{file}?purge=true")).await.expect(204);
    eventually_within(Duration::from_secs(60), "the previews to be deleted", || async {
        keys(&stack, &room.anna).await.is_empty().then_some(())
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_has_no_previews_before_its_scan_and_none_that_anybody_sees_if_it_is_infected() {
    let mut clamd = ClamdServer::start().await;
    let args = [format!("--clamd={}", clamd.address()), "--scan=require".to_owned(), "--clamd-timeout-s=5".to_owned()];
    let stack = Stack::with(Options { args: args.to_vec(), ..Options::default() }).await;
    let client = stack.client();
    clamd.kill();
    // A picture stays one with more bytes at its end.
    let infected = [jpeg(2), waybill_test_kit::MARKER.to_vec()].concat();
    let infected = post(&client, "b.jpg", "image/jpeg", infected).await;
    let clean = post(&client, "c.jpg", "image/jpeg", jpeg(3)).await;
    for file in [&infected, &clean] {
        client.file_with_status(file, "PROCESSING").await;
        variant(&client, file, "preview-256").await.refused(409, "file_not_ready");
    }
    assert_eq!(keys(&stack, &client).await, Vec::<String>::new());
    clamd.restart().await;
    assert_eq!(preview(&client, &clean).await["failure"], Value::Null);
    client.file_with_status(&infected, "FAILED").await;
    stack.settled().await;
    variant(&client, &infected, "preview-256").await.refused(403, "file_infected");
    assert_eq!(client.get(&format!("/v1/files/{infected}")).await.body["preview"], Value::Null);
    assert_eq!(keys(&stack, &client).await.len(), 2, "only those of the clean file");

    client.post(&format!("/v1/files/{infected}/release"), &json!({})).await.expect(204);
    assert_eq!(preview(&client, &infected).await["failure"], Value::Null);
    assert_eq!(variant(&client, &infected, "preview-256").await.status, 200);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_become_readable_by_a_changed_policy_get_previews() {
    let mut clamd = ClamdServer::start().await;
    let args = [format!("--clamd={}", clamd.address()), "--content-search-ms=200".to_owned()];
    let stack = Stack::with(Options { args: args.to_vec(), ..Options::default() }).await;
    let (client, host) = (stack.client(), stack.host());
    let company = format!("/v1/admin/companies/{}", client.principal.company_id);
    clamd.kill();
    let changed = host.put(&company, &json!({ "scan": "require" })).await.expect(200);
    client.get_after("/v1/quota", &changed).await.expect(200);
    let file = post(&client, "a.jpg", "image/jpeg", jpeg(12)).await;
    client.file_with_status(&file, "PROCESSING").await;
    host.put(&company, &json!({ "scan": "off" })).await.expect(200);
    assert_eq!(preview(&client, &file).await["failure"], Value::Null);
    // A deleted file gets its previews after it was restored.
    host.put(&company, &json!({ "scan": "require" })).await.expect(200);
    let other = post(&client, "b.jpg", "image/jpeg", jpeg(13)).await;
    client.file_with_status(&other, "PROCESSING").await;
    client.delete(&format!("/v1/files/{other}")).await.expect(204);
    host.put(&company, &json!({ "scan": "off" })).await.expect(200);
    client.post(&format!("/v1/files/{other}/restore"), &json!({})).await.expect(204);
    assert_eq!(preview(&client, &other).await["failure"], Value::Null);
    stack.finish().await;
}

/// Returns a PNG chunk with its checksum (PNG 5.3).
pub(crate) fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let checked = [kind.as_slice(), data].concat();
    [&u32::try_from(data.len()).unwrap().to_be_bytes(), checked.as_slice(), &crc32(&checked).to_be_bytes()].concat()
}

/// Returns a PNG that claims a size and has no pixels.
fn png_of(width: u32, height: u32) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 6, 0, 0, 0]].concat();
    [b"\x89PNG\r\n\x1a\n".as_slice(), &chunk(b"IHDR", &header), &chunk(b"IDAT", &[]), &chunk(b"IEND", &[])].concat()
}

/// Returns a progressive JPEG that claims a size, with an empty scan.
fn progressive_jpeg_of(width: u16, height: u16) -> Vec<u8> {
    let [h1, h2] = height.to_be_bytes();
    let [w1, w2] = width.to_be_bytes();
    let frame = [0xff, 0xc2, 0, 17, 8, h1, h2, w1, w2, 3, 1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0];
    let quantization = [&[0xff, 0xdb, 0, 67, 0][..], &[1; 64]].concat();
    let scan = [0xff, 0xda, 0, 12, 3, 1, 0, 2, 0x11, 3, 0x11, 0, 0, 0, 0xff, 0xd9];
    [b"\xff\xd8".as_slice(), &quantization, &frame, &scan].concat()
}

/// Returns a document of numbered objects.
fn pdf(objects: &[&str]) -> Vec<u8> {
    let bodies = objects.iter().enumerate().map(|(number, body)| format!("{} 0 obj\n{body}\nendobj\n", number + 1));
    ["%PDF-1.7\n".to_owned(), bodies.collect(), "trailer << /Root 1 0 R >>\n%%EOF".to_owned()].concat().into_bytes()
}

fn stream(dictionary: &str, content: &str) -> String {
    format!("<< {dictionary} /Length {} >>\nstream\n{content}\nendstream", content.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn malicious_files_get_a_reason_and_harm_nothing() {
    let stack = Stack::start().await;
    let client = stack.client();
    // 49 million pixels of one colour are 200 KB, and 200 MB after decoding.
    let mut bomb = Vec::new();
    DynamicImage::new_rgba16(5_000, 9_800).write_to(&mut Cursor::new(&mut bomb), ImageFormat::Png).unwrap();
    let nested = (0..40).map(|level| {
        stream(
            "/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /A 5 0 R /B 5 0 R >> >>",
            &format!("/A Do /B Do % {level}"),
        )
    });
    let nested: Vec<String> = nested.collect();
    let page =
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R /Resources << /XObject << /A 5 0 R >> >> >>";
    let content = stream("", "/A Do");
    let loops = pdf(&["<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [2 0 R] /Count 9 /Parent 2 0 R >>"]);
    let form_loop = pdf(&[
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        page,
        &content,
        &nested[0],
    ]);
    let dense = "0 0 9 9 re f ".repeat(400_000);
    let dense = pdf(&[
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R >>",
        &stream("", &dense),
    ]);
    let mut frames = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new_with_speed(&mut frames, 30);
    let tiny = image::Frame::new(image::RgbaImage::from_pixel(2, 2, image::Rgba([9, 9, 9, 255])));
    (0..100_000).for_each(|_| encoder.encode_frame(tiny.clone()).unwrap());
    drop(encoder);

    let any = ["damaged", "unsupported", "limits_exceeded", "too_large", "failed", "made"];
    let cases: [(&str, &str, Vec<u8>, &[&str]); 9] = [
        ("pixels.png", "image/png", png_of(60_000, 60_000), &["too_large"]),
        ("progressive.jpg", "image/jpeg", progressive_jpeg_of(10_000, 10_000), &["too_large"]),
        ("bomb.png", "image/png", bomb, &["limits_exceeded"]),
        ("cut.jpg", "image/jpeg", jpeg(4)[..300].to_vec(), &["damaged"]),
        ("frames.gif", "image/gif", frames, &["made"]),
        ("loops.pdf", "application/pdf", loops, &any),
        ("form.pdf", "application/pdf", form_loop, &any),
        ("dense.pdf", "application/pdf", dense, &any),
        ("nothing.pdf", "application/pdf", b"%PDF-1.7\nnothing".to_vec(), &["damaged"]),
    ];
    let mut files = Vec::new();
    for (name, mime_type, content, allowed) in cases {
        files.push((post(&client, name, mime_type, content.clone()).await, name, content, allowed));
    }
    for (file, name, content, allowed) in files {
        let shown = preview(&client, &file).await;
        let result = shown["failure"].as_str().unwrap_or("made").to_owned();
        println!("{name}: {result}");
        assert!(allowed.contains(&result.as_str()), "{name}: {shown}");
        if result != "made" {
            assert_eq!((&shown["variants"], &shown["thumbhash"]), (&json!([]), &Value::Null));
            variant(&client, &file, "preview-256").await.refused(404, "preview_absent");
        }
        // A file without previews is a file.
        assert_eq!(client.content(&file).await, content, "{name}");
    }
    // A text has no previews, and no reason why.
    let text = post(&client, "a.txt", "text/plain", b"hello".to_vec()).await;
    let last = post(&client, "d.jpg", "image/jpeg", jpeg(5)).await;
    assert_eq!(preview(&client, &last).await["failure"], Value::Null);
    assert_eq!(client.get(&format!("/v1/files/{text}")).await.body["preview"], Value::Null);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_was_away_or_killed_makes_all_previews() {
    // This program is not `waybill`, so that the roles in the process of the test make no previews.
    let inert = Options { args: vec!["--render-program=/bin/false".to_owned()], ..Options::default() };
    let stack = Stack::with(inert).await;
    let client = stack.client();
    let folder = TempDir::new().unwrap();
    let addr = free_addr();
    let args = stack.arguments("content", &[format!("--content-addr={addr}")]);
    let mut role = Process::start("content", addr, args, folder.path().join("content.log")).await;
    let first = post(&client, "0.jpg", "image/jpeg", jpeg(0)).await;
    preview(&client, &first).await;

    role.kill();
    let mut files = Vec::new();
    for number in 1..=24 {
        files.push(post(&client, &format!("{number}.jpg"), "image/jpeg", jpeg(number)).await);
    }
    role.restart().await;
    // It is killed again while it works.
    preview(&client, &files[0]).await;
    role.kill();
    role.restart().await;
    for file in &files {
        let shown = preview(&client, file).await;
        assert_eq!(shown["failure"], Value::Null, "{shown}");
        assert_eq!(variant(&client, file, "preview-1024").await.status, 200);
    }
    // Interrupted work left at most objects to which nothing refers. They are found.
    let kept = 2 * (files.len() + 1);
    let left = keys(&stack, &client).await.len() - kept;
    stack.projected().await;
    let servers = servers_in(&stack.arguments("reconcile", &[]), true);
    let mut reconcile = Command::new(settings("WAYBILL_TEST_BIN"));
    reconcile.args(["reconcile", "--json", "--older-than-s=0"]).args(servers);
    let output = tokio::task::spawn_blocking(move || reconcile.output()).await.unwrap().unwrap();
    let found = String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.contains("\"preview\"")).count();
    assert_eq!(found, left, "{output:?}");
    assert_eq!(keys(&stack, &client).await.len(), kept);
    drop(role);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_makes_the_previews_of_files_of_before() {
    let stack = Stack::with(Options { args: vec!["--previews=false".to_owned()], ..Options::default() }).await;
    let (client, other) = (stack.client(), stack.client());
    let (file, cut) = (
        post(&client, "a.jpg", "image/jpeg", jpeg(6)).await,
        post(&client, "b.jpg", "image/jpeg", jpeg(7)[..300].to_vec()).await,
    );
    let of_other = post(&other, "c.jpg", "image/jpeg", jpeg(8)).await;
    stack.projected().await;
    let run = async |options: &[&str]| {
        let mut program = Command::new(settings("WAYBILL_TEST_BIN"));
        program.arg("previews").args(options).args(servers_in(&stack.arguments("content", &[]), true));
        let output = tokio::task::spawn_blocking(move || program.output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{output:?}");
        stack.projected().await;
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let company = client.principal.company_id.to_string();
    let said = run(&["--company", &company]).await;
    assert_eq!(said, "1 files got previews, 1 cannot have any, 0 could not be looked at\n");
    assert_eq!(preview(&client, &file).await["failure"], Value::Null);
    assert_eq!(preview(&client, &cut).await["failure"], "damaged");
    assert_eq!(other.get(&format!("/v1/files/{of_other}")).await.body["preview"], Value::Null);
    assert_eq!(run(&[]).await, "1 files got previews, 0 cannot have any, 0 could not be looked at\n");
    assert_eq!(run(&["--again"]).await, "0 files got previews, 1 cannot have any, 0 could not be looked at\n");
    // Tables that are built again have the same previews.
    let servers = servers_in(&stack.arguments("replay", &[]), false);
    let mut replay = Command::new(settings("WAYBILL_TEST_BIN"));
    replay.args(["replay", "--verify"]).args(servers);
    let output = tokio::task::spawn_blocking(move || replay.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    stack.finish().await;
}

/// Writes a program for the shell.
fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_of_the_operator_decode_other_kinds_without_rights() {
    let folder = TempDir::new().unwrap();
    let written = folder.path().join("written");
    // The picture begins after the header that says what kind of file it is.
    let heic = script(folder.path(), "heic", "exec tail -c +33 \"$1\"");
    let duration = "echo '  Duration: 00:01:02.50, start: 0.0' >&2";
    let video =
        script(folder.path(), "video", &format!("{duration}; echo x > {}; exec tail -c +33 \"$1\"", written.display()));
    let args = [format!("--heic-program={}", heic.display()), format!("--video-program={}", video.display())];
    let stack = Stack::with(Options { args: args.to_vec(), ..Options::default() }).await;
    let client = stack.client();
    // Two boxes: the kind of the file, and the data up to the end of the file (ISO 14496-12, 4.2 and 4.3).
    let of_kind = |brand: &[u8; 4], content: &[u8]| {
        [b"\0\0\0\x18ftyp".as_slice(), brand, &[0; 4], brand, b"mif1", b"\0\0\0\0mdat", content].concat()
    };
    let photo = post(&client, "a.heic", "image/heic", of_kind(b"heic", &jpeg(10))).await;
    let film = post(&client, "b.mp4", "video/mp4", of_kind(b"isom", &jpeg(11))).await;
    let broken = post(&client, "c.heic", "image/heic", of_kind(b"heic", b"no picture")).await;
    let shown = preview(&client, &photo).await;
    assert_eq!(
        (&shown["width"], &shown["duration_ms"], &shown["failure"]),
        (&json!(1_600), &Value::Null, &Value::Null)
    );
    let shown = preview(&client, &film).await;
    assert_eq!(
        (&shown["width"], &shown["duration_ms"], &shown["failure"]),
        (&json!(1_600), &json!(62_500), &Value::Null)
    );
    assert_eq!(variant(&client, &film, "preview-256").await.status, 200);
    assert_eq!(preview(&client, &broken).await["failure"], "unsupported");
    assert!(!written.exists(), "the program wrote a file");
    stack.finish().await;
}

/// The folder in `WAYBILL_TEST_SCREENSHOTS` gets screenshots of the page.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_shows_two_hundred_previews_with_placeholders_and_the_second_time_from_its_cache() {
    let origin = free_origin();
    let stack = Stack::with(Options { args: vec![format!("--allowed-origins={origin}")], ..Options::default() }).await;
    let client = stack.client();
    let pictures = futures_util::stream::iter(0..200_u8).map(|number| {
        // Neighbours have very different colours.
        let colour = Rgb([number.wrapping_mul(67), number.wrapping_mul(101), number.wrapping_mul(151)]);
        let (width, height) = if number % 3 == 0 { (300, 400) } else { (640, 480) };
        let mut bytes = Vec::new();
        let picture = DynamicImage::from(RgbImage::from_pixel(width, height, colour));
        picture.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Jpeg).unwrap();
        let client = &client;
        async move { post(client, &format!("{number}.jpg"), "image/jpeg", bytes).await }
    });
    let files: Vec<String> = pictures.buffer_unordered(8).collect().await;
    for file in &files {
        preview(&client, file).await;
    }
    let folder = TempDir::new().unwrap();
    let screenshots = std::env::var("WAYBILL_TEST_SCREENSHOTS").map_or(folder.path().to_owned(), Into::into);
    let wanted = json!({
        "endpoint": stack.url(), "origin": origin, "token": client.token(), "folder": screenshots,
        "chromium": named("WAYBILL_TEST_CHROMIUM"),
    });
    let (node, browser) = (named("WAYBILL_TEST_NODE"), named("WAYBILL_TEST_BROWSER"));
    let page = run(&node, &browser, "gallery", &wanted).await;
    assert_eq!(page["errors"], json!([]), "{page}");
    let colour =
        |value: &Value| value.as_array().unwrap().iter().map(|part| part.as_i64().unwrap()).collect::<Vec<_>>();
    for visit in page["visits"].as_array().unwrap() {
        assert_eq!(visit["listed"], 200, "{page}");
        let both = visit["placeholders"].as_array().unwrap().iter().zip(visit["shown"].as_array().unwrap());
        for (placeholder, shown) in both {
            assert_eq!(shown["width"].as_u64().max(shown["height"].as_u64()), Some(256), "{shown}");
            let parts = colour(placeholder).into_iter().zip(colour(&shown["colour"]));
            assert!(parts.clone().all(|(one, other)| (one - other).abs() < 16), "{placeholder} {shown}");
        }
    }
    // The browser asks whether its copies are current, and gets no bytes.
    assert_eq!(page["visits"][0]["statuses"], json!({ "200": 200 }), "{page}");
    assert_eq!(page["visits"][1]["statuses"], json!({ "304": 200 }), "{page}");
    stack.finish().await;
}
