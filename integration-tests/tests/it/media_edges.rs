//! Caches in front of media URLs: nginx with njs and Varnish, with the configurations of `cdn/`, and the checks for other edges.

use crate::media::{header, key, picture, post, read, status, url, with_end};
use crate::real_clients::{free_origin, named, run};
use crate::sharing::{Method as Keep, Room};
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;
use waybill_integration_tests::{Client, MediaEdge, NginxCache, Options, Stack, StoreFront, free_addr};
use waybill_test_kit::{eventually, settings};

/// Number of members of the chatroom who look at one picture.
const USERS: usize = 50;

/// Waybill behind a proxy that counts the requests for bytes.
struct Origin {
    front: StoreFront,
    requests: Arc<AtomicUsize>,
}

impl Origin {
    async fn of(stack: &Stack) -> Self {
        let (front, requests) = (StoreFront::start(stack.url()).await, Arc::<AtomicUsize>::default());
        let counted = requests.clone();
        front.set(move |request| {
            counted.fetch_add(usize::from(request.target.starts_with("/m/")), Ordering::SeqCst);
            None
        });
        Self { front, requests }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Returns a media URL of each of many members of a chatroom, for the same file.
async fn urls_of_many(stack: &Stack, room: &Room, file: &str) -> Vec<String> {
    let users: Vec<Client> = (0..USERS).map(|_| stack.client_for(room.admin.principal.company_id, &[])).collect();
    for user in &users {
        room.keep(Keep::Put, &format!("/users/{}", user.principal.user_id)).await;
        let last = room.keep(Keep::Put, &room.member(user)).await;
        user.get_after(&format!("/v1/files/{file}"), &last).await.expect(200);
    }
    stream::iter(&users).then(|user| url(user, file)).collect().await
}

/// Checks a cache in front of Waybill.
async fn check_cache(stack: &Stack, room: &Room, origin: &Origin, edge: &MediaEdge) {
    let file = post(room, "a.png", "image/png", picture(1)).await;
    let urls = urls_of_many(stack, room, &file).await;
    let at_edge: Vec<String> = urls.iter().map(|url| url.replace(stack.url(), &edge.url())).collect();
    let answers = join_all(at_edge.iter().map(|url| read(Method::GET, url, &[]))).await;
    for answer in answers {
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.bytes().await.unwrap(), picture(1));
    }
    assert_eq!(origin.requests(), 1, "the cache asked for the bytes more than once");
    // The browser of each user keeps the bytes as long as its own URL is valid.
    let shorter = with_end(&at_edge[1], 200);
    for (url, least) in [(&at_edge[1], 290), (&shorter, 90)] {
        let answer = read(Method::GET, url, &[]).await;
        let kept = header(&answer, "cache-control");
        let seconds = kept.strip_prefix("private, max-age=").unwrap().strip_suffix(", immutable").unwrap();
        assert!((least..=least + 161).contains(&seconds.parse::<i32>().unwrap()), "{kept}");
        assert_eq!(
            (header(&answer, "age"), answer.headers().get_all("cache-control").iter().count()),
            (String::new(), 1)
        );
    }

    let other = post(room, "b.png", "image/png", picture(2)).await;
    let (good, other) = (&at_edge[0], url(&room.ben, &other).await.replace(stack.url(), &edge.url()));
    let mut forged = other.clone();
    forged.replace_range(other.find("&s=").unwrap() + 3.., &good[good.find("&s=").unwrap() + 3..]);
    for url in [forged, good.replace("f=i", "f=im"), good.split_once('?').unwrap().0.to_owned(), with_end(good, 1_000)]
    {
        let refused = read(Method::GET, &url, &[]).await;
        assert_eq!(
            (refused.status().as_u16(), header(&refused, "cache-control")),
            (403, "no-store".to_owned()),
            "{url}"
        );
    }
    assert_eq!(origin.requests(), 1, "the cache let a URL pass that is not valid");
    let part = read(Method::GET, good, &[("range", "bytes=5-9")]).await;
    assert_eq!(
        (part.status().as_u16(), header(&part, "content-range")),
        (206, format!("bytes 5-9/{}", picture(1).len()))
    );
    assert_eq!(part.bytes().await.unwrap(), picture(1)[5..10]);
    let etag = header(&read(Method::HEAD, good, &[]).await, "etag");
    assert_eq!(read(Method::GET, good, &[("if-none-match", &etag)]).await.status(), 304);
    assert_eq!(origin.requests(), 1);
    // An attachment has another header than a picture in a page, so it is another entry.
    let body = json!({ "items": [{ "file_id": file, "disposition": "attachment" }] });
    let made = room.ben.post("/v1/media-urls", &body).await.expect(200);
    let attachment = format!("{}{}", edge.url(), made.body["items"][0]["url"].as_str().unwrap());
    assert!(header(&read(Method::GET, &attachment, &[]).await, "content-disposition").starts_with("attachment;"));
    assert!(header(&read(Method::GET, good, &[]).await, "content-disposition").starts_with("inline;"));
}

/// Checks that a URL of a member ends at the cache after the member has left.
async fn check_revocation(stack: &Stack, room: &Room, edge: &MediaEdge) {
    let file = post(room, "c.png", "image/png", picture(3)).await;
    let (bens, annas) = (url(&room.ben, &file).await, url(&room.anna, &file).await);
    let (bens, annas) = (bens.replace(stack.url(), &edge.url()), annas.replace(stack.url(), &edge.url()));
    assert_eq!((status(&bens).await, status(&annas).await), (200, 200));
    room.keep(Keep::Delete, &room.member(&room.ben)).await;
    eventually("the URL to end", || async { (status(&bens).await == 403).then_some(()) }).await;
    assert_eq!(status(&annas).await, 200);
}

fn nginx<'a>(keys: &'a str, program: &'a str, module: &'a str, asks: bool) -> NginxCache<'a> {
    NginxCache { program, module, keys, asks }
}

fn keys() -> String {
    let (id, text) = key();
    format!("00000000 another-key\n{id} {text}\n")
}

async fn site(more: Vec<String>) -> (Stack, Room) {
    let args = [vec!["--trusted-proxies=127.0.0.1/32".to_owned()], more].concat();
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let room = Room::of(&stack).await;
    (stack, room)
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_fetches_once_for_all_users_and_refuses_what_is_not_signed() {
    let (stack, room) = site(Vec::new()).await;
    let (keys, program, module) = (keys(), settings("WAYBILL_TEST_NGINX_JS"), settings("WAYBILL_TEST_NJS"));
    let origin = Origin::of(&stack).await;
    let edge = MediaEdge::nginx(nginx(&keys, &program, &module, false), &origin.front.url()).await;
    check_cache(&stack, &room, &origin, &edge).await;
    // Nothing but the pieces that a player needs is fetched.
    let content: Vec<u8> = (0..20_u32 << 18).flat_map(u32::to_le_bytes).collect();
    let sound = post(&room, "a.wav", "audio/wav", content.clone()).await;
    let sound = url(&room.ben, &sound).await.replace(stack.url(), &edge.url());
    let before = origin.requests();
    let part = read(Method::GET, &sound, &[("range", "bytes=9000000-9000099")]).await;
    assert_eq!((part.status().as_u16(), part.bytes().await.unwrap().as_ref()), (206, &content[9_000_000..9_000_100]));
    assert_eq!(origin.requests(), before + 1);
    assert!(read(Method::GET, &sound, &[]).await.bytes().await.unwrap() == content);
    assert!(read(Method::GET, &sound, &[]).await.bytes().await.unwrap() == content);
    assert_eq!(origin.requests(), before + 5, "20 MiB are five pieces");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_that_asks_refuses_urls_whose_access_has_ended() {
    let (stack, room) = site(Vec::new()).await;
    let (keys, program, module) = (keys(), settings("WAYBILL_TEST_NGINX_JS"), settings("WAYBILL_TEST_NJS"));
    let edge = MediaEdge::nginx(nginx(&keys, &program, &module, true), stack.url()).await;
    check_revocation(&stack, &room, &edge).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn varnish_fetches_once_for_all_users_and_asks_for_each() {
    let (stack, room) = site(Vec::new()).await;
    let origin = Origin::of(&stack).await;
    let edge = MediaEdge::varnish(&settings("WAYBILL_TEST_VARNISH"), &origin.front.url()).await;
    check_cache(&stack, &room, &origin, &edge).await;
    check_revocation(&stack, &room, &edge).await;
    stack.finish().await;
}

/// A deleted file leaves the cache, also if the cache does not answer at first. The bytes of a file that is restored are fetched again.
#[tokio::test(flavor = "multi_thread")]
async fn varnish_forgets_files_that_were_deleted() {
    let addr = free_addr();
    let args =
        vec![format!("--cdn-purge-url=http://{addr}/m/{{company}}/{{file}}/"), "--cdn-purge-method=BAN".to_owned()];
    let (stack, room) = site(args).await;
    let origin = Origin::of(&stack).await;
    let gone = post(&room, "a.png", "image/png", picture(1)).await;
    room.anna.delete(&format!("/v1/files/{gone}")).await.expect(204);
    let edge = MediaEdge::varnish_at(addr, &settings("WAYBILL_TEST_VARNISH"), &origin.front.url()).await;
    let done = async |least: u64| {
        eventually("the cache to be told", || async { (purges_done(&stack).await >= least).then_some(()) }).await;
    };
    done(1).await;
    let (file, kept) =
        (post(&room, "b.png", "image/png", picture(2)).await, post(&room, "c.png", "image/png", picture(3)).await);
    let at_edge = async |file: &str| url(&room.anna, file).await.replace(stack.url(), &edge.url());
    let (first, other) = (at_edge(&file).await, at_edge(&kept).await);
    for url in [&first, &other, &first, &other] {
        assert_eq!(status(url).await, 200);
    }
    assert_eq!(origin.requests(), 2);
    let path = format!("/v1/files/{file}");
    let told = purges_done(&stack).await;
    room.anna.delete(&path).await.expect(204);
    // One of two further requests may be the second one for the first file.
    done(told + 2).await;
    room.anna.post(&format!("{path}/restore"), &json!({})).await.expect(204);
    eventually("the URL to be valid", || async { (status(&first).await == 200).then_some(()) }).await;
    assert_eq!(origin.requests(), 3, "the bytes were still in the cache");
    assert_eq!((status(&other).await, origin.requests()), (200, 3));
    // Nobody else may empty the cache.
    let ban = Method::from_bytes(b"BAN").unwrap();
    assert_eq!(read(ban, &format!("{}/m/.*", edge.url()), &[]).await.status(), 403);
    stack.finish().await;
}

/// Returns the number of requests to the content delivery network that had success.
async fn purges_done(stack: &Stack) -> u64 {
    let metrics = read(Method::GET, &format!("{}/metrics", stack.url()), &[]).await.text().await.unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix("waybill_cdn_purges_total{result=\"done\"} "));
    line.map_or(0, |count| count.parse().unwrap())
}

#[test]
fn all_edges_agree_on_the_examples() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../cdn");
    let output = Command::new(named("WAYBILL_TEST_NODE")).args(["--test", folder]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Returns a sound of a minute (WAVE, 44,100 samples of 16 bits per second on two channels).
fn sound() -> Vec<u8> {
    let samples: u32 = 60 * 44_100;
    let bytes = samples * 4;
    let mut file = Vec::new();
    file.extend([b"RIFF".as_slice(), &(36 + bytes).to_le_bytes(), b"WAVEfmt ", &16_u32.to_le_bytes()].concat());
    for (value, length) in [(1, 2), (2, 2), (44_100, 4), (176_400, 4), (4, 2), (16_u32, 2)] {
        file.extend(&value.to_le_bytes()[..length]);
    }
    file.extend([b"data".as_slice(), &bytes.to_le_bytes()].concat());
    file.extend((0..samples).flat_map(|sample| (sample * 500).to_le_bytes()));
    file
}

/// A page of another origin shows 200 pictures and plays a medium, with media URLs that begin with `base` or are relative to Waybill.
async fn page(stack: &Stack, room: &Room, origin: &str) {
    let pictures = stream::iter(0..200_u8).map(|number| post(room, "a.png", "image/png", picture(number)));
    let files: Vec<String> = pictures.buffered(8).collect().await;
    let sound = post(room, "a.wav", "audio/wav", sound()).await;
    let shares = room.anna.get(&format!("/v1/files/{}/associations", files[0])).await.expect(200);
    let share = shares.body["items"][0]["id"].as_str().unwrap().to_owned();
    let folder = TempDir::new().unwrap();
    let screenshots = std::env::var("WAYBILL_TEST_SCREENSHOTS").map_or(folder.path().to_owned(), Into::into);
    let wanted = json!({
        "endpoint": stack.url(), "origin": origin, "token": room.ben.token(), "folder": screenshots,
        "chromium": named("WAYBILL_TEST_CHROMIUM"), "files": files, "sound": sound,
        "revoke": { "path": format!("/v1/associations/{share}"), "token": room.anna.token() },
    });
    let (node, browser) = (named("WAYBILL_TEST_NODE"), named("WAYBILL_TEST_BROWSER"));
    let page = run(&node, &browser, "media", &wanted).await;
    assert_eq!(page["errors"], json!([]), "{page}");
    let visits = page["visits"].as_array().unwrap();
    for visit in visits {
        assert_eq!(visit["shown"], 200, "{page}");
        let medium = &visit["medium"];
        assert!((medium["duration"].as_f64().unwrap() - 60.0).abs() < 0.1, "{page}");
        assert!((medium["at"].as_f64().unwrap() - 50.0).abs() < 0.1, "{page}");
    }
    assert_eq!((&visits[0]["cached"], &visits[1]["cached"]), (&json!(0), &json!(200)), "{page}");
    // The browser fetched the place to which the player was moved, not everything before it.
    let ranges: Vec<u64> = visits[0]["ranges"].as_array().unwrap().iter().filter_map(Value::as_u64).collect();
    assert!(ranges.iter().any(|from| *from > 5_000_000), "{page}");
    assert_eq!(page["before"], true, "{page}");
    assert_eq!(page["after"], false, "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_shows_pictures_and_plays_media_without_headers() {
    let origin = free_origin();
    let (stack, room) = site(vec![format!("--allowed-origins={origin}")]).await;
    page(&stack, &room, &origin).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_shows_pictures_and_plays_media_through_nginx() {
    let (origin, addr) = (free_origin(), free_addr());
    let more = vec![format!("--allowed-origins={origin}"), format!("--media-base=http://{addr}")];
    let (stack, room) = site(more).await;
    let (keys, program, module) = (keys(), settings("WAYBILL_TEST_NGINX_JS"), settings("WAYBILL_TEST_NJS"));
    let edge = MediaEdge::nginx_at(addr, nginx(&keys, &program, &module, true), stack.url()).await;
    page(&stack, &room, &origin).await;
    drop(edge);
    stack.finish().await;
}
