//! A tenant that does as much harm as it is permitted to. Each attack repeats its request without a pause, and waits as
//! long as `Retry-After` says when it is refused. The letters are those of docs/threats.md.

use crate::api::{Answer, User};
use crate::plan::Plan;
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream;
use reqwest::{Body, Method};
use serde_json::json;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use uuid::Uuid;

/// Number of connections that send or read slowly.
const SLOW: usize = 100;
/// Size of the file that is read slowly.
const LARGE: usize = 32 << 20;
const TUS: [(&str, &str); 2] = [("Tus-Resumable", "1.0.0"), ("Content-Type", "application/offset+octet-stream")];

type Counts = BTreeMap<&'static str, BTreeMap<u16, u64>>;

/// The attacks of some users of one company.
struct Siege<'a> {
    users: Vec<User>,
    /// Letters of the attacks; none for all of them.
    only: &'a [String],
    until: Instant,
    counts: Mutex<Counts>,
}

/// Attacks until the time is over. Returns the number of answers by attack and status.
pub(crate) async fn attack(plan: &Plan, until: Instant) -> Counts {
    let Plan { url, attackers: tokens, chatroom, attacks, .. } = plan;
    let Ok(http) = reqwest::Client::builder().no_proxy().build() else { return Counts::default() };
    let users: Vec<User> = tokens.iter().map(|token| User::new(&http, url, token)).collect();
    let Some(first) = users.first().cloned() else { return Counts::default() };
    let file = first.upload(vec![7; 1_000]).await;
    let large = first.upload(vec![7; LARGE]).await;
    let siege = Siege { users, only: attacks, until, counts: Mutex::default() };
    tokio::join!(
        siege.metadata(&file),
        siege.keys(),
        siege.pieces(),
        siege.associations(&file, chatroom),
        siege.slow_bodies(),
        siege.part_urls(),
        siege.open_uploads(),
        siege.slow_downloads(&large),
        siege.searches(),
    );
    siege.counts.into_inner().unwrap_or_default()
}

impl Siege<'_> {
    /// Repeats a request for each user until the time is over.
    async fn each<F: Future<Output = Answer>>(&self, name: &'static str, ask: impl Fn(User) -> F) {
        if self.leaves_out(name) {
            return;
        }
        let ask = &ask;
        join_all(self.users.iter().map(|user| async move {
            while Instant::now() < self.until {
                let Ok(answer) = timeout_at(self.until, ask(user.clone())).await else { return };
                self.count(name, answer.status);
                if answer.status == 0 || answer.status == 429 || answer.status == 503 {
                    let seconds = answer.header("Retry-After").parse().unwrap_or(1);
                    sleep_until(self.until.min(Instant::now() + Duration::from_secs(seconds))).await;
                }
            }
        }))
        .await;
    }

    fn leaves_out(&self, name: &str) -> bool {
        let letters = name.split(' ').next().unwrap_or_default();
        !self.only.is_empty() && !self.only.iter().any(|only| only == letters)
    }

    fn count(&self, name: &'static str, status: u16) {
        if let Ok(mut counts) = self.counts.lock() {
            *counts.entry(name).or_default().entry(status).or_default() += 1;
        }
    }

    /// Changes metadata again and again, with as many bytes as possible.
    async fn metadata(&self, file: &str) {
        let path = format!("/v1/files/{file}");
        let path = &path;
        self.each("H5 metadata", |user| async move {
            let body = json!({ "metadata": { "key": Uuid::now_v7(), "text": "x".repeat(7_000) } });
            user.send(user.request(Method::PATCH, path).json(&body)).await
        })
        .await;
    }

    /// Uses up idempotency keys.
    async fn keys(&self) {
        self.each("H6 idempotency keys", |user| async move {
            let request =
                user.request(Method::POST, "/v1/sessions").header("Idempotency-Key", Uuid::now_v7().to_string());
            user.send(request.json(&json!({}))).await
        })
        .await;
    }

    /// Sends an upload byte by byte.
    async fn pieces(&self) {
        self.each("H7 pieces", |user| async move {
            let create = user.request(Method::POST, "/tus/").header("Upload-Length", "100000");
            let created = user.send(create.header("Tus-Resumable", "1.0.0")).await;
            if created.status != 201 {
                return created;
            }
            let path = created.header("Location").to_owned();
            let path = path.find("/tus/").map_or(path.as_str(), |at| &path[at..]).to_owned();
            for offset in 0..1_000_u32 {
                let mut piece =
                    user.request(Method::PATCH, &path).header("Upload-Offset", offset.to_string()).body("x");
                for (name, value) in TUS {
                    piece = piece.header(name, value);
                }
                let answer = user.send(piece).await;
                self.count("H7 pieces", answer.status);
                if answer.status != 204 {
                    return answer;
                }
            }
            created
        })
        .await;
    }

    /// Shares a file with other users of a chatroom again and again, in parallel.
    async fn associations(&self, file: &str, chatroom: &str) {
        let path = format!("/v1/files/{file}/associations");
        let path = &path;
        self.each("H8 associations", |user| async move {
            let named: serde_json::Map<_, _> =
                (0..100).map(|_| (Uuid::now_v7().to_string(), json!(["view"]))).collect();
            user.post(path, &json!({ "chatroom_id": chatroom, "permissions": { "users": named } })).await
        })
        .await;
    }

    /// Sends bodies of parts at a few bytes per second.
    async fn slow_bodies(&self) {
        self.slowly("H9 slow bodies", |user| async move {
            let size = 8 << 20;
            let body = json!({ "name": "slow.bin", "size_bytes": size, "mime_type": "application/octet-stream" });
            let started = user.post("/v1/uploads", &body).await;
            if started.status != 201 {
                return started;
            }
            let drops = stream::unfold((), |()| async {
                sleep(Duration::from_secs(1)).await;
                Some((Ok::<_, Infallible>(Bytes::from_static(&[7; 200])), ()))
            });
            let path = format!("/v1/uploads/{}/chunks/0", started.text("upload_id"));
            let chunk = user.request(Method::PUT, &path).header("Content-Length", size);
            user.send(chunk.body(Body::wrap_stream(drops))).await
        })
        .await;
    }

    /// Requests URLs for parts of a file of one byte.
    async fn part_urls(&self) {
        self.each("M7 part URLs", |user| async move {
            let body = json!({ "filename": "a.bin", "type": "application/octet-stream", "metadata": { "size": "1" } });
            let created = user.post("/uppy/s3/multipart", &body).await;
            if created.status != 200 {
                return created;
            }
            let (upload, key) = (created.text("uploadId"), created.text("key"));
            for part in 1..=100 {
                let answer = user.get(&format!("/uppy/s3/multipart/{upload}/{part}?key={key}")).await;
                self.count("M7 part URLs", answer.status);
                if answer.status != 200 {
                    return answer;
                }
            }
            created
        })
        .await;
    }

    /// Starts uploads and abandons them.
    async fn open_uploads(&self) {
        self.each("M8 open uploads", |user| async move {
            let body = json!({ "name": "a.bin", "size_bytes": 1 << 20, "mime_type": "application/octet-stream" });
            user.post("/v1/uploads", &body).await
        })
        .await;
    }

    /// Downloads a file and reads a few bytes per second.
    async fn slow_downloads(&self, file: &str) {
        let path = format!("/v1/files/{file}/content");
        let (path, until) = (&path, self.until);
        self.slowly("M11 slow downloads", |user| async move {
            let Ok(mut answer) = user.request(Method::GET, path).send().await else { return Answer::default() };
            let status = answer.status().as_u16();
            while Instant::now() < until && matches!(answer.chunk().await, Ok(Some(_))) {
                sleep(Duration::from_secs(5)).await;
            }
            Answer { status, ..Answer::default() }
        })
        .await;
    }

    /// Searches for what nearly every file has.
    async fn searches(&self) {
        self.each("M12 searches", |user| async move { user.get("/v1/files?name=a&limit=100").await }).await;
    }

    /// Keeps many slow requests of all users open.
    async fn slowly<F: Future<Output = Answer>>(&self, name: &'static str, ask: impl Fn(User) -> F) {
        if self.leaves_out(name) {
            return;
        }
        let ask = &ask;
        let users = self.users.iter().cycle().take(SLOW);
        join_all((0_u64..).zip(users).map(|(number, user)| async move {
            sleep_until(Instant::now() + Duration::from_millis(50 * number)).await;
            while let Ok(answer) = timeout_at(self.until, ask(user.clone())).await {
                self.count(name, answer.status);
                sleep(Duration::from_secs(1)).await;
            }
        }))
        .await;
    }
}
