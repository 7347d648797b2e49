//! Compressed objects: reads like before, one readable form whatever is interrupted, and nothing for files that gain nothing.

use crate::random;
use crate::real_clients::{free_origin, named, run};
use futures_util::{StreamExt, stream};
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, IF_NONE_MATCH, IF_RANGE, RANGE};
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use uuid::Uuid;
use waybill_compression::{Decoder, Encoder, FRAME_BYTES};
use waybill_domain::content::compression::COMPRESSED;
use waybill_integration_tests::{
    Backing, Client, Fault, Options, Process, Request, Shape, Stack, StoreFront, free_addr,
};
use waybill_object_store::{ObjectStore, crc64nvme};
use waybill_schema::names;
use waybill_test_kit::{eventually, eventually_within};

/// The thread that compresses has the lowest priority, so that it gets little time on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// Compress at once, and delete replaced objects at once.
const AT_ONCE: [&str; 3] = ["--compress-after-s=0", "--content-search-ms=200", "--replaced-kept-s=0"];

fn at_once(more: &[&str]) -> Vec<String> {
    AT_ONCE.iter().chain(more).map(|arg| (*arg).to_owned()).collect()
}

/// Returns lines that compress to about a half, and are different for each `seed`.
fn table(seed: u64, length: usize) -> Vec<u8> {
    let text = random::bytes(seed, length / 2 + 1).into_iter().flat_map(|byte| format!("{byte:02x}").into_bytes());
    let mut text: Vec<u8> = text.take(length).collect();
    text.iter_mut().skip(79).step_by(80).for_each(|byte| *byte = b'\n');
    text
}

async fn post(client: &Client, name: &str, mime_type: &str, content: Vec<u8>) -> String {
    client.post_file(&format!("name={name}&mime_type={mime_type}"), content).await.expect(201).text("file_id")
}

/// Returns the keys of all objects of the client's company.
async fn keys(backing: &Backing, client: &Client) -> Vec<String> {
    backing.store().list(&format!("{}{}/", names::OBJECTS, client.principal.company_id)).await.unwrap()
}

/// Waits until the company has only `count` objects, and all of them are compressed.
async fn all_compressed(backing: &Backing, client: &Client, count: usize) -> Vec<String> {
    eventually_within(PATIENCE, "the files to be compressed", || async {
        let keys = keys(backing, client).await;
        (keys.len() == count && keys.iter().all(|key| names::is_compressed(key))).then_some(keys)
    })
    .await
}

/// Deletes the files, and waits until the store has no object of the company.
async fn purge(backing: &Backing, client: &Client, files: &[&str]) {
    for file in files {
        client.delete(&format!("/v1/files/{file}")).await.expect(204);
    }
    eventually_within(PATIENCE, "the objects to be deleted", || async {
        keys(backing, client).await.is_empty().then_some(())
    })
    .await;
}

struct Got {
    status: u16,
    headers: HeaderMap,
    bytes: Vec<u8>,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn got(request: RequestBuilder) -> Got {
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Got { status, headers, bytes: answer.bytes().await.unwrap().to_vec() }
}

fn decoded(mut input: &[u8]) -> Vec<u8> {
    let (mut decoder, mut all) = (Decoder::new().unwrap(), Vec::new());
    while !input.is_empty() {
        let mut output = Vec::with_capacity(1 << 20);
        let used = decoder.decode(input, &mut output).unwrap();
        assert!(used > 0 || !output.is_empty());
        (input, all) = (&input[used..], [all, output].concat());
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_file_reads_like_before() {
    let args = at_once(&["--purge-after-s=0", "--worker-sweep-ms=200", "--download-redirects=true"]);
    let stack = Stack::with(Options { args, shape: Shape::Apart }).await;
    let client = stack.client();
    let content = table(1, 5 * FRAME_BYTES + 4_711);
    let file = post(&client, "a.csv", "text/csv", content.clone()).await;
    let url = format!("/v1/files/{file}/content");
    let get = || client.request(Method::GET, &url);
    let before = got(get()).await;
    let key = all_compressed(&stack, &client, 1).await.remove(0);
    let stored = stack.store().size(&key).await.unwrap().unwrap();
    assert!(stored < content.len() as u64 * 6 / 10, "{stored}");
    stack.projected().await;

    let whole = got(get()).await;
    assert!(whole.bytes == content && before.bytes == content);
    assert_eq!(
        (whole.header("etag"), whole.header("content-length")),
        (before.header("etag"), before.header("content-length"))
    );
    assert!(whole.header("vary").contains("Accept-Encoding") && whole.header("content-encoding").is_empty());
    let listed = client.get(&format!("/v1/files/{file}")).await.expect(200).body;
    assert_eq!(listed["size_bytes"], content.len());
    assert_eq!(client.get("/v1/quota").await.expect(200).body["storage_used_bytes"], content.len());

    // A client that accepts the content coding gets the stored frames, with another entity tag.
    let coded = got(get().header(ACCEPT_ENCODING, "gzip, zstd;q=0.5, br")).await;
    assert_eq!((coded.status, coded.header("content-encoding")), (200, "zstd"));
    assert_eq!(coded.header("content-length"), coded.bytes.len().to_string());
    assert!((coded.bytes.len() as u64) < stored && decoded(&coded.bytes) == content);
    assert_ne!(coded.header("etag"), whole.header("etag"));
    for etag in [coded.header("etag"), whole.header("etag")] {
        let known = got(get().header(ACCEPT_ENCODING, "zstd").header(IF_NONE_MATCH, etag)).await;
        assert_eq!((known.status, known.header("etag")), (304, etag));
    }
    let head = got(client.request(Method::HEAD, &url).header(ACCEPT_ENCODING, "zstd")).await;
    for name in ["etag", "content-length", "content-encoding", "vary"] {
        assert_eq!(head.header(name), coded.header(name), "{name}");
    }
    for accepted in ["gzip", "zstd;q=0", "identity", "*;q=0", "*", "identity, zstd;q=0.1"] {
        let got = got(get().header(ACCEPT_ENCODING, accepted)).await;
        assert!(got.header("content-encoding").is_empty() && got.bytes == content, "{accepted}");
    }
    // Ranges are those of the file.
    let part = got(get().header(ACCEPT_ENCODING, "zstd").header(RANGE, "bytes=-11")).await;
    assert_eq!((part.status, part.header("content-encoding")), (206, ""));
    assert_eq!(part.bytes, content[content.len() - 11..]);
    let other = get().header(ACCEPT_ENCODING, "zstd").header(RANGE, "bytes=5-9").header(IF_RANGE, coded.header("etag"));
    let other = got(other).await;
    assert!(other.status == 200 && other.bytes == content);
    let continued = got(get().header(RANGE, "bytes=1000000-").header(IF_RANGE, whole.header("etag"))).await;
    assert!(continued.status == 206 && continued.bytes == content[1_000_000..]);
    let outside = got(get().header(RANGE, format!("bytes={}-", content.len()))).await;
    assert_eq!(outside.status, 416);

    // A link sends the bytes of the file too, and does not redirect to the object.
    let token = client.post(&format!("/v1/files/{file}/tokens"), &json!({ "expires_in_s": 600 })).await.expect(201);
    let linked = reqwest::Client::new().get(format!("{}{}", stack.url(), token.text("url")));
    let linked = got(linked.header(ACCEPT_ENCODING, "zstd").header(RANGE, "bytes=524280-524300")).await;
    assert_eq!((linked.status, linked.bytes.as_slice()), (206, &content[524_280..=524_300]));

    // The next file with the same bytes shares the object.
    let same = post(&client, "b.csv", "text/csv", content.clone()).await;
    all_compressed(&stack, &client, 1).await;
    stack.projected().await;
    assert!(client.content(&same).await == content);
    client.delete(&format!("/v1/files/{file}")).await.expect(204);
    eventually("the first file to be purged", || async {
        (client.get(&format!("/v1/files/{file}")).await.status == 404).then_some(())
    })
    .await;
    assert!(client.content(&same).await == content);
    purge(&stack, &client, &[&same]).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_and_curl_read_the_stored_frames() {
    let origin = free_origin();
    let allowed = format!("--allowed-origins={origin}");
    let stack = Stack::with(Options { args: at_once(&[&allowed]), ..Options::default() }).await;
    let client = stack.client();
    let content = table(10, 7 * FRAME_BYTES / 2);
    let sha256 = hex(&Sha256::digest(&content));
    let file = post(&client, "a.csv", "text/csv", content).await;
    all_compressed(&stack, &client, 1).await;
    stack.projected().await;
    let wanted = json!({
        "endpoint": stack.url(), "origin": origin, "token": client.token(), "id": file,
        "chromium": named("WAYBILL_TEST_CHROMIUM"),
    });
    let (node, browser) = (named("WAYBILL_TEST_NODE"), named("WAYBILL_TEST_BROWSER"));
    let page = run(&node, &browser, "coded", &wanted).await;
    assert_eq!((&page["sha256"], &page["coding"], &page["errors"]), (&json!(sha256), &json!("zstd"), &json!([])));
    let url = format!("{}/v1/files/{file}/content", stack.url());
    let mut curl = Command::new(named("WAYBILL_TEST_CURL"));
    curl.args(["--silent", "--fail", "--compressed", "--oauth2-bearer", client.token(), &url]);
    let output = tokio::task::spawn_blocking(move || curl.output()).await.unwrap().unwrap();
    assert!(output.status.success() && hex(&Sha256::digest(&output.stdout)) == sha256, "{:?}", output.status);
    stack.finish().await;
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_ranges_are_equal() {
    let args = at_once(&["--rate-per-user=1000000", "--burst-per-user=1000000"]);
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let client = stack.client();
    let content = table(2, 9 * FRAME_BYTES / 2);
    let file = post(&client, "a.json", "application/json", content.clone()).await;
    all_compressed(&stack, &client, 1).await;
    stack.projected().await;
    let places = random::bytes(3, 10_000 * 8);
    let places = places.chunks(8).map(|bytes| {
        let number = u64::from_le_bytes(bytes.try_into().unwrap());
        let from = usize::try_from(number >> 24).unwrap() % content.len();
        (from, (from + 1 + usize::try_from(number & 0x7fff).unwrap()).min(content.len()))
    });
    let (client, url, content) = (&client, &format!("/v1/files/{file}/content"), &content);
    let read = async |(from, to): (usize, usize)| {
        let part = got(client.request(Method::GET, url).header(RANGE, format!("bytes={from}-{}", to - 1))).await;
        assert!(part.status == 206 && part.bytes == content[from..to], "{from} to {to}: {}", part.status);
    };
    stream::iter(places).for_each_concurrent(16, read).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gains_nothing_stays_as_it_is() {
    let stack = Stack::with(Options { args: at_once(&[]), ..Options::default() }).await;
    let client = stack.client();
    let mut late = table(4, 2 * FRAME_BYTES);
    late.extend(random::bytes(5, 30 * FRAME_BYTES));
    let files = [
        ("random.bin", "application/octet-stream", random::bytes(6, 300_000)),
        // The beginning promises more than the rest keeps.
        ("late.bin", "application/octet-stream", late),
        ("small.txt", "text/plain", table(7, 65_535)),
        ("photo.jpg", "image/jpeg", table(8, 100_000)),
    ];
    let mut ids = Vec::new();
    for (name, mime_type, content) in &files {
        ids.push(post(&client, name, mime_type, content.clone()).await);
    }
    let before = keys(&stack, &client).await;
    let compressed = post(&client, "last.txt", "text/plain", table(9, 65_536)).await;
    let find = || async {
        let keys = keys(&stack, &client).await;
        keys.into_iter().find(|key| names::is_compressed(key))
    };
    let key = eventually_within(PATIENCE, "the last file to be compressed", find).await;
    assert!(key.contains(&compressed), "{key}");
    eventually("the replaced object to be deleted", || async {
        (keys(&stack, &client).await.len() == files.len() + 1).then_some(())
    })
    .await;
    let after: Vec<String> = keys(&stack, &client).await.into_iter().filter(|other| *other != key).collect();
    assert_eq!(after, before);
    for (id, (name, _, content)) in ids.iter().zip(&files) {
        assert!(client.content(id).await == *content, "{name}");
    }
    assert_eq!(stack.store().list_multiparts(names::OBJECTS).await.unwrap(), []);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_object_that_a_restored_log_does_not_name_is_used_again() {
    let stack = Stack::with(Options { args: vec!["--compression=false".to_owned()], ..Options::default() }).await;
    let client = stack.client();
    let content = table(11, 3 * FRAME_BYTES);
    let file = post(&client, "a.csv", "text/csv", content.clone()).await;
    // The log is older than the event for which the replaced object was deleted.
    let store = stack.store();
    store.delete(&keys(&stack, &client).await[0]).await.unwrap();
    let key = names::compressed_key(client.principal.company_id, file.parse().unwrap(), Uuid::now_v7());
    let damaged = names::compressed_key(client.principal.company_id, file.parse().unwrap(), Uuid::nil());
    for (key, content) in [(&key, &content), (&damaged, &table(12, 3 * FRAME_BYTES))] {
        let mut encoder = Encoder::new(1).unwrap();
        let mut object: Vec<u8> = content.chunks(FRAME_BYTES).flat_map(|frame| encoder.frame(frame).unwrap()).collect();
        object.extend(encoder.finish().1);
        let crc = crc64nvme(&object);
        store.put(key, object.into(), crc).await.unwrap();
    }
    let (folder, addr) = (TempDir::new().unwrap(), free_addr());
    let args = stack.arguments("content", &at_once(&[&format!("--content-addr={addr}")]));
    let role = Process::start("content", addr, args, folder.path().join("content.log")).await;
    eventually_within(PATIENCE, "the file to be readable", || async {
        let read = got(client.request(Method::GET, &format!("/v1/files/{file}/content"))).await;
        (read.status == 200 && read.bytes == content).then_some(())
    })
    .await;
    assert_eq!(role.metric("waybill_compression_failures_total").await, 0);
    drop(role);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_search_has_an_index_for_the_types_that_it_leaves_out() {
    #[derive(diesel::QueryableByName)]
    struct Index {
        #[diesel(sql_type = diesel::sql_types::Text)]
        condition: String,
    }
    let stack = Stack::start().await;
    let mut connection = stack.database("waybill").connection().await.unwrap();
    let text = "SELECT pg_get_expr(indpred, indrelid) AS condition FROM pg_index \
        WHERE indexrelid = 'waybill.file_to_compress'::regclass";
    let query = diesel::sql_query(text);
    let index: Index = diesel_async::RunQueryDsl::get_result(query, &mut connection).await.unwrap();
    let quoted: Vec<&str> = index.condition.split('\'').skip(1).step_by(2).filter(|text| !text.contains('%')).collect();
    assert_eq!(quoted, COMPRESSED);
    drop(connection);
    stack.finish().await;
}

/// A step of the compression.
struct Step {
    name: &'static str,
    /// Returns `true` for the request of this step. The store does not answer it.
    is_it: fn(&Request) -> bool,
    fault: Fault,
}

/// A fault that lasts until the process is killed.
const NEVER: Fault = Fault::After(Duration::from_secs(3_600));

const STEPS: [Step; 7] = [
    Step { name: "before the source is read", is_it: reads_beginning, fault: NEVER },
    Step {
        name: "between two parts",
        is_it: |it| it.method == "PUT" && is_new(it) && it.asks("partNumber=2"),
        fault: NEVER,
    },
    Step { name: "before the object exists", is_it: completes, fault: NEVER },
    Step { name: "after the object exists", is_it: completes, fault: Fault::Lost },
    Step { name: "before the object is read", is_it: |it| it.method == "GET" && is_new(it), fault: NEVER },
    Step { name: "before the replaced object is deleted", is_it: deletes, fault: NEVER },
    Step { name: "after the replaced object is deleted", is_it: deletes, fault: Fault::Lost },
];

fn is_plain(request: &Request) -> bool {
    request.target.contains("/o/") && !is_new(request)
}

fn is_new(request: &Request) -> bool {
    request.target.split('?').next().is_some_and(|path| path.ends_with("-zst"))
}

/// Other requests read other ranges.
fn reads_beginning(request: &Request) -> bool {
    request.method == "GET" && is_plain(request) && request.head.contains("range: bytes=0-1048575")
}

fn completes(request: &Request) -> bool {
    request.method == "POST" && is_new(request) && request.asks("uploadId=")
}

fn deletes(request: &Request) -> bool {
    is_plain(request) && request.method == "DELETE" || request.method == "POST" && request.asks("delete")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_at_any_step_leaves_one_readable_form() {
    let backing = Backing::start(1).await;
    let store =
        backing.arguments("all", &[]).into_iter().find_map(|arg| Some(arg.strip_prefix("--s3-endpoint=")?.to_owned()));
    let front = StoreFront::start(&store.unwrap()).await;
    let (folder, addr) = (TempDir::new().unwrap(), free_addr());
    let more = at_once(&["--purge-after-s=0", "--worker-sweep-ms=200"]);
    let more: Vec<String> = more.into_iter().chain([format!("--http-addr={addr}"), front.argument()]).collect();
    let mut all = Process::start("all", addr, backing.arguments("all", &more), folder.path().join("all.log")).await;
    for (seed, step) in STEPS.iter().enumerate() {
        let client = backing.client(&format!("http://{addr}"));
        let content = table(100 + seed as u64, 20 << 20);
        let is_reached = Arc::new(AtomicBool::new(false));
        let reached = is_reached.clone();
        let (is_it, fault) = (step.is_it, step.fault);
        front.set(move |request| {
            let is_it = is_it(request);
            reached.fetch_or(is_it, Ordering::Relaxed);
            is_it.then_some(fault)
        });
        let file = post(&client, "a.csv", "text/csv", content.clone()).await;
        eventually_within(PATIENCE, step.name, || async { is_reached.load(Ordering::Relaxed).then_some(()) }).await;
        all.kill();
        front.set(|_| None);
        all.restart().await;
        assert!(client.content(&file).await == content, "{}", step.name);
        // An object that no event names may remain until `waybill reconcile` or the purge of the file.
        eventually_within(PATIENCE, step.name, || async {
            let keys = keys(&backing, &client).await;
            (keys.iter().all(|key| names::is_compressed(key)) && keys.len() <= 2).then_some(())
        })
        .await;
        assert!(client.content(&file).await == content, "{}", step.name);
        eventually_within(PATIENCE, step.name, || async {
            backing.store().list_multiparts(names::OBJECTS).await.unwrap().is_empty().then_some(())
        })
        .await;
        purge(&backing, &client, &[&file]).await;
    }
    backing.check(0).await;
    drop(all);
    backing.remove().await;
}
