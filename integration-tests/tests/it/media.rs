//! Media URLs: what they show, for how long, and to whom.

use crate::sharing::{Method as Keep, Room};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use diesel_async::SimpleAsyncConnection;
use futures_util::StreamExt;
use hmac::{Hmac, KeyInit, Mac};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use reqwest::{Client as Http, Method, Response};
use serde_json::{Value, json};
use sha2::Sha256;
use std::io::Cursor;
use std::process::Command;
use std::time::{Duration, Instant};
use uuid::Uuid;
use waybill_integration_tests::{Client, Cluster, Counts, Options, Shape, Stack, TOKEN_SECRET};
use waybill_test_kit::{eventually, eventually_within, settings};

const PATIENCE: Duration = Duration::from_secs(120);

/// Time from the latest possible issue of a URL with the default lifetime to its end, less the tolerated difference of clocks.
const LONGEST_S: i64 = 300 + 150 + 60;

pub(crate) fn picture(number: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let picture = RgbImage::from_fn(400, 300, |x, y| Rgb([number, x.to_le_bytes()[0], y.to_le_bytes()[0]]));
    DynamicImage::from(picture).write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
    bytes
}

pub(crate) async fn post(room: &Room, name: &str, mime_type: &str, content: Vec<u8>) -> String {
    let query = format!("name={name}&mime_type={mime_type}&chatroom_id={}", room.chatroom);
    let file = room.anna.post_file(&query, content).await.expect(201);
    room.ben.get_after(&format!("/v1/files/{}", file.text("file_id")), &file).await.expect(200);
    file.text("file_id")
}

pub(crate) async fn make(client: &Client, items: Value) -> Vec<Value> {
    let made = client.post("/v1/media-urls", &json!({ "items": items })).await.expect(200);
    made.body["items"].as_array().unwrap().clone()
}

pub(crate) async fn url(client: &Client, file: &str) -> String {
    let made = make(client, json!([{ "file_id": file }])).await.remove(0);
    format!("{}{}", client.url(), made["url"].as_str().unwrap_or_else(|| panic!("{made}")))
}

pub(crate) async fn read(method: Method, url: &str, headers: &[(&str, &str)]) -> Response {
    let request = Http::new().request(method, url);
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await.unwrap()
}

pub(crate) async fn status(url: &str) -> u16 {
    read(Method::GET, url, &[]).await.status().as_u16()
}

/// Checks that a URL ends within a second, and that no cache keeps the refusal.
async fn ends(url: &str) {
    let since = Instant::now();
    eventually("the URL to end", || async { (status(url).await != 200).then_some(()) }).await;
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    let refused = read(Method::GET, url, &[]).await;
    assert_eq!(refused.headers()["cache-control"], "no-store");
    let status = refused.status();
    assert_eq!((status.as_u16(), &refused.json::<Value>().await.unwrap()["code"]), (410, &json!("media_url_ended")));
}

/// Returns the id and the text of the key of media URLs, as edges get them.
pub(crate) fn key() -> (String, String) {
    let mut command = Command::new(settings("WAYBILL_TEST_BIN"));
    let printed = command.arg("media-keys").env("WAYBILL_TOKEN_SECRET", TOKEN_SECRET).output().unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    let (id, text) = printed.trim_end().split_once(' ').unwrap();
    (id.to_owned(), text.to_owned())
}

/// Returns a URL that ends this number of seconds earlier, signed again.
pub(crate) fn with_end(url: &str, earlier_s: i64) -> String {
    signed_again(url, |expires_s| expires_s - earlier_s)
}

/// Returns a URL with another end in seconds since 1970, signed again.
fn signed_again(url: &str, change: impl Fn(i64) -> i64) -> String {
    let (id, key) = key();
    let (base, path) = url.split_once("/m/").unwrap();
    let (begin, rest) = path.split_once("e=").unwrap();
    let (expires, rest) = rest.split_once('&').unwrap();
    let expires = change(expires.parse().unwrap());
    let rest = rest.split_once("&k=").unwrap().0;
    let signed = format!("/m/{begin}e={expires}&{rest}&k={id}");
    let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    let mac = mac.chain_update(b"waybill media 1\0").chain_update(&signed).finalize().into_bytes();
    format!("{base}{signed}&s={}", BASE64URL.encode(mac))
}

pub(crate) fn header(answer: &Response, name: &str) -> String {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_media_url_shows_bytes_without_a_token_a_query_or_an_event() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let file = post(&room, "a.png", "image/png", picture(1)).await;
    let page = post(&room, "b.svg", "image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec()).await;
    let items = json!([
        { "file_id": file },
        { "file_id": page, "disposition": "inline" },
        { "file_id": file, "disposition": "attachment" },
        { "file_id": Uuid::now_v7() },
        { "file_id": page, "variant": "preview-256" },
    ]);
    let made = make(&room.ben, items).await;
    let of = |index: usize| format!("{}{}", stack.url(), made[index]["url"].as_str().unwrap());
    let picture = picture(1);

    let answer = read(Method::GET, &of(0), &[]).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(
        (header(&answer, "content-type"), header(&answer, "cross-origin-resource-policy")),
        ("image/png".to_owned(), "cross-origin".to_owned())
    );
    assert!(header(&answer, "content-disposition").starts_with("inline; filename=\"a.png\""));
    assert_eq!(header(&answer, "content-security-policy"), "sandbox; default-src 'none'");
    assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
    let kept = header(&answer, "cache-control");
    let seconds: u32 =
        kept.strip_prefix("private, max-age=").unwrap().strip_suffix(", immutable").unwrap().parse().unwrap();
    assert!((295..=451).contains(&seconds), "{kept}");
    let etag = header(&answer, "etag");
    assert_eq!(answer.bytes().await.unwrap(), picture);

    let part = read(Method::GET, &of(0), &[("range", "bytes=5-9")]).await;
    assert_eq!((part.status().as_u16(), header(&part, "content-range")), (206, format!("bytes 5-9/{}", picture.len())));
    assert_eq!(part.bytes().await.unwrap(), picture[5..10]);
    assert_eq!(read(Method::GET, &of(0), &[("if-none-match", &etag)]).await.status(), 304);
    let head = read(Method::HEAD, &of(0), &[]).await;
    assert_eq!((head.status().as_u16(), header(&head, "content-length")), (200, picture.len().to_string()));
    // SVG can contain programs.
    assert_eq!(made[1]["disposition"], "attachment");
    for index in [1, 2] {
        let answer = read(Method::GET, &of(index), &[]).await;
        assert!(header(&answer, "content-disposition").starts_with("attachment; "), "{index}");
    }
    assert_eq!((&made[3]["problem"]["code"], &made[3]["url"]), (&json!("not_found"), &Value::Null));
    assert_eq!(made[4]["problem"]["code"], "preview_absent");

    // If nothing has happened since the URL was made that could end access, the signature suffices: the tables of access are not read.
    // A gateway knows this only of the time after its start, so this URL is from now.
    let since_s = chrono::Utc::now().timestamp() + 1;
    let fresh = signed_again(&of(2), |_| since_s + LONGEST_S);
    let mut locking = stack.database("waybill").connection().await.unwrap();
    locking.batch_execute("BEGIN; LOCK TABLE file_association IN ACCESS EXCLUSIVE MODE").await.unwrap();
    assert_eq!(status(&fresh).await, 200);
    locking.batch_execute("ROLLBACK").await.unwrap();
    // The gateway knows the file, so that it needs no table any more.
    let head_of_log = async || {
        let partitions = waybill_event_log::EventLog::partitions(stack.log());
        let partition = partitions.of(room.ben.principal.company_id);
        waybill_event_log::EventLog::head(stack.log(), partition).await.unwrap().last_seq
    };
    // The preview of the picture is the last event about it.
    eventually("the preview", || async {
        let shown = room.ben.get(&format!("/v1/files/{file}")).await.expect(200);
        shown.body["preview"].is_object().then_some(())
    })
    .await;
    let before = head_of_log().await;
    locking.batch_execute("BEGIN; LOCK TABLE file IN ACCESS EXCLUSIVE MODE").await.unwrap();
    for _ in 0..3 {
        assert_eq!(status(&of(0)).await, 200);
    }
    locking.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(head_of_log().await, before);
    eventually("the next second", || async { (chrono::Utc::now().timestamp() > since_s).then_some(()) }).await;
    room.keep(Keep::Delete, &room.member(&room.ben)).await;
    ends(&fresh).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_media_url_ends_with_the_access_of_its_user_and_no_other() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let file = post(&room, "a.png", "image/png", picture(1)).await;
    let (bens, annas) = (url(&room.ben, &file).await, url(&room.anna, &file).await);
    room.carl.get(&format!("/v1/files/{file}/content")).await.refused(404, "not_found");
    assert_eq!(make(&room.carl, json!([{ "file_id": file }])).await[0]["problem"]["code"], "not_found");
    for url in [&bens, &annas] {
        assert_eq!(status(url).await, 200);
    }
    // Ben leaves the chatroom. Anna has uploaded the file.
    room.keep(Keep::Delete, &room.member(&room.ben)).await;
    ends(&bens).await;
    assert_eq!(status(&annas).await, 200);
    assert_eq!(make(&room.ben, json!([{ "file_id": file }])).await[0]["problem"]["code"], "not_found");
    // The same URL shows the file again, because it says who may see it, and not why.
    let again = room.admin.put(&room.path(&room.member(&room.ben)), &json!({})).await.expect(204);
    room.ben.get_after(&format!("/v1/files/{file}"), &again).await.expect(200);
    assert_eq!(status(&url(&room.ben, &file).await).await, 200);
    // A share is revoked.
    let shares = format!("/v1/files/{file}/associations");
    let shared = room.anna.get(&shares).await.expect(200);
    let share = shared.body["items"][0]["id"].as_str().unwrap().to_owned();
    let bens = url(&room.ben, &file).await;
    room.anna.delete(&format!("/v1/associations/{share}")).await.expect(204);
    ends(&bens).await;
    // Somebody else's sign-out does not matter.
    room.keep(Keep::Put, &room.member(&room.carl)).await;
    let host = stack.host();
    let out = async |client: &Client| {
        let path = room.path(&format!("/users/{}/sign-out", client.principal.user_id));
        host.post(&path, &json!({})).await.expect(204);
    };
    out(&room.ben).await;
    assert_eq!(status(&annas).await, 200);
    out(&room.anna).await;
    ends(&annas).await;
    // The file is deleted, also for its uploader and for admins.
    let admins = url(&room.admin, &file).await;
    assert_eq!(status(&admins).await, 200);
    room.admin.delete(&format!("/v1/files/{file}")).await.expect(204);
    ends(&admins).await;
    stack.finish().await;
}

/// A request whose body arrives after the user was signed out makes no URLs, which would outlive the sign-out.
#[tokio::test(flavor = "multi_thread")]
async fn no_media_url_is_made_after_a_sign_out() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let file = post(&room, "a.png", "image/png", picture(1)).await;
    let body = json!({ "items": [{ "file_id": file }] }).to_string();
    let (send, rest) = tokio::sync::oneshot::channel::<String>();
    let first = futures_util::stream::once(async { Ok::<_, std::io::Error>("{".to_owned()) });
    let (ask, asked) = tokio::sync::oneshot::channel();
    let second = futures_util::stream::once(async {
        ask.send(()).unwrap();
        Ok(rest.await.unwrap())
    });
    let request = room.ben.request(Method::POST, "/v1/media-urls").header("content-type", "application/json");
    let request = request.body(reqwest::Body::wrap_stream(first.chain(second)));
    let ben = room.ben.clone();
    let answer = tokio::spawn(async move { ben.send(request).await });
    // The head of the request was sent.
    asked.await.unwrap();
    // Tokens are invalidated by whole seconds, and the one of Ben is from an earlier second than this one.
    let second = chrono::Utc::now().timestamp();
    eventually("the next second", || async { (chrono::Utc::now().timestamp() > second).then_some(()) }).await;
    let path = room.path(&format!("/users/{}/sign-out", room.ben.principal.user_id));
    stack.host().post(&path, &json!({})).await.expect(204);
    eventually("the sign-out", || async { (room.ben.get("/v1/quota").await.status == 401).then_some(()) }).await;
    send.send(body[1..].to_owned()).unwrap();
    answer.await.unwrap().refused(401, "token_invalid");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_media_url_ends_with_a_share_that_expires() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let file = room.anna.post_file("name=a.png&mime_type=image/png", picture(1)).await.expect(201).text("file_id");
    let expires = chrono::Utc::now() + chrono::TimeDelta::seconds(20);
    let body = json!({ "chatroom_id": room.chatroom, "expires_at": expires.to_rfc3339() });
    let shared = room.anna.post(&format!("/v1/files/{file}/associations"), &body).await.expect(201);
    room.ben.get_after(&format!("/v1/files/{file}"), &shared).await.expect(200);
    let made = make(&room.ben, json!([{ "file_id": file }])).await.remove(0);
    let ends: chrono::DateTime<chrono::Utc> = made["expires_at"].as_str().unwrap().parse().unwrap();
    assert!((ends - expires).abs() < chrono::TimeDelta::seconds(1), "{made}");
    assert_eq!(made["refresh_at"], made["expires_at"]);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_and_expired_media_urls_are_refused() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let file = post(&room, "a.png", "image/png", picture(1)).await;
    let other = post(&room, "b.png", "image/png", picture(2)).await;
    let good = url(&room.ben, &file).await;
    let signature = |url: &str| url.split_once("&s=").unwrap().1.to_owned();
    let bad = [
        good.replace(&file, &other),
        good.replace("/original", "/preview-256"),
        good.replace("f=i", "f=a"),
        good.replace("f=i", "f=im"),
        good.replace(&signature(&good), &signature(&url(&room.ben, &other).await)),
        good.split_once("&s=").unwrap().0.to_owned(),
        good.split_once('?').unwrap().0.to_owned(),
        format!("{good}&x=1"),
    ];
    let check = async |uri: &str| {
        let uri = uri.strip_prefix(stack.url()).unwrap();
        let check = format!("{}/v1/media/check", stack.url());
        read(Method::GET, &check, &[("x-original-uri", uri)]).await.status().as_u16()
    };
    for url in &bad {
        let refused = read(Method::GET, url, &[]).await;
        assert_eq!(
            (refused.status().as_u16(), header(&refused, "cache-control")),
            (403, "no-store".to_owned()),
            "{url}"
        );
        assert_eq!(refused.json::<Value>().await.unwrap()["code"], "media_url_invalid");
        assert_eq!(check(url).await, 403, "{url}");
    }
    assert_eq!((status(&good).await, check(&good).await), (200, 204));

    assert_eq!(with_end(&good, 0), good);
    let ended = with_end(&good, 1_000);
    let refused = read(Method::GET, &ended, &[]).await;
    assert_eq!((refused.status().as_u16(), header(&refused, "cache-control")), (410, "no-store".to_owned()));
    assert_eq!(check(&ended).await, 403);

    for body in [json!({ "items": [] }), json!({ "items": [{ "file_id": file }], "ttl_s": 59 })] {
        room.ben.post("/v1/media-urls", &body).await.refused(422, "media_urls_invalid");
    }
    let many = vec![json!({ "file_id": file }); 201];
    room.ben.post("/v1/media-urls", &json!({ "items": many })).await.refused(422, "media_urls_invalid");
    assert_eq!(make(&room.ben, many[..200].to_vec().into()).await.len(), 200);
    stack.finish().await;
}

/// Returns a PNG with a place in a comment.
fn with_place(number: u8) -> Vec<u8> {
    let mut bytes = picture(number);
    bytes.splice(33..33, crate::previews::chunk(b"tEXt", b"Comment\x0047.37 8.54"));
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn media_urls_show_previews_and_no_place() {
    let args = vec!["--content-search-ms=200".to_owned()];
    let stack = Stack::with(Options { args, shape: Shape::Apart }).await;
    let room = Room::of(&stack).await;
    let file = post(&room, "a.png", "image/png", with_place(1)).await;
    eventually_within(PATIENCE, "previews", || async {
        let shown = room.ben.get(&format!("/v1/files/{file}")).await;
        (!shown.body["preview"].is_null()).then_some(())
    })
    .await;
    let made = make(&room.ben, json!([{ "file_id": file, "variant": "preview-256" }, { "file_id": file }])).await;
    let of = |index: usize| format!("{}{}", stack.url(), made[index]["url"].as_str().unwrap());
    let preview = read(Method::GET, &of(0), &[]).await;
    assert_eq!((preview.status().as_u16(), header(&preview, "content-type")), (200, "image/jpeg".to_owned()));
    assert!(header(&preview, "cache-control").ends_with(", immutable"));
    let etag = header(&preview, "etag");
    assert!(image::load_from_memory(&preview.bytes().await.unwrap()).unwrap().width() == 256);
    assert_eq!(read(Method::GET, &of(0), &[("if-none-match", &etag)]).await.status(), 304);
    assert_eq!(read(Method::GET, &of(1), &[]).await.bytes().await.unwrap(), with_place(1));

    // The company decides that only the uploader sees places.
    let set = json!({ "strip_location": "for_others" });
    room.admin.put(&room.path(""), &set).await.expect(200);
    eventually_within(PATIENCE, "the metadata to be removed", || async {
        let shown = room.ben.get(&format!("/v1/files/{file}")).await;
        (shown.body["location"] == "removed").then_some(())
    })
    .await;
    assert_eq!(status(&of(1)).await, 410);
    let has_place = |bytes: &[u8]| bytes.windows(5).any(|window| window == b"47.37");
    let plain = url(&room.ben, &file).await;
    for _ in 0..2 {
        let answer = read(Method::GET, &plain, &[]).await;
        assert_eq!(answer.status(), 200);
        assert!(!has_place(&answer.bytes().await.unwrap()));
    }
    let answer = read(Method::GET, &url(&room.anna, &file).await, &[]).await;
    assert_eq!(answer.bytes().await.unwrap(), with_place(1));
    assert_eq!(status(&of(0)).await, 200);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_gateway_serves_the_urls_of_the_others_and_ends_them() {
    let cluster = Cluster::start(Counts { each: 2, ..Counts::default() }).await;
    let client = cluster.client();
    let file = client.small_file("a.txt").await;
    client.get_after(&format!("/v1/files/{}", file.text("file_id")), &file).await.expect(200);
    let file = file.text("file_id");
    let made = make(&client, json!([{ "file_id": file }])).await.remove(0);
    let path = made["url"].as_str().unwrap().to_owned();
    let urls: Vec<String> = cluster.gateways.iter().map(|gateway| format!("http://{}{path}", gateway.addr())).collect();
    assert_eq!(urls.len(), 2);
    for url in &urls {
        assert_eq!(status(url).await, 200);
    }
    client.delete(&format!("/v1/files/{file}")).await.expect(204);
    for url in &urls {
        ends(url).await;
    }
    cluster.finish().await;
}
