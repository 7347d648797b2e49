//! Secrets are replaced and all processes are restarted under load, with TLS on all connections except
//! those to the store. No request fails.

use crate::random::bytes;
use diesel_async::SimpleAsyncConnection;
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use waybill_integration_tests::{Answer, Backing, Client, Cluster, Counts, authenticator};
use waybill_read_model::{DatabaseUser, Rights};
use waybill_test_kit::{eventually, nats_password};

/// The secrets of Waybill that are lists.
const SECRETS: [&str; 5] = ["jwt-hs256-secret", "worker-secret", "audit-secret", "cursor-secret", "token-secret"];
/// The users of NATS that are replaced.
const USERS: [&str; 4] = ["gateway", "worker", "projector", "fanout"];

/// A user who uploads and reads files until the test stops it.
#[derive(Clone)]
struct Load {
    client: Arc<Mutex<Client>>,
    is_over: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
}

impl Load {
    fn new(client: Client) -> Self {
        Self { client: Arc::new(Mutex::new(client)), is_over: Arc::default(), rounds: Arc::default() }
    }

    fn client(&self) -> Client {
        self.client.lock().unwrap().clone()
    }

    /// Continues with a token that another secret has signed.
    fn sign_in_again(&self, secret: &str) {
        let old = self.client();
        let token = authenticator(secret, "waybill", "waybill").mint(&old.principal).unwrap();
        *self.client.lock().unwrap() = old.with_token(token);
    }

    /// Returns the answers that are not as expected.
    async fn work(self) -> Vec<String> {
        let mut failures = Vec::new();
        for number in 0.. {
            if self.is_over.load(Ordering::Relaxed) {
                break;
            }
            if let Err(failure) = self.round(number).await {
                failures.push(failure);
            }
            self.rounds.fetch_add(1, Ordering::Relaxed);
        }
        failures
    }

    /// Uploads a small file in one request and a larger one in chunks, and reads both and a list.
    async fn round(&self, number: u64) -> Result<(), String> {
        let client = self.client();
        let query = format!("name=file-{number}.txt&mime_type=text/plain");
        let small = expect(201, client.post_file(&query, format!("file {number}")).await)?;
        let content = bytes(number, 300_000);
        let upload = expect(201, client.start(300_000).await)?.text("upload_id");
        expect(200, client.put_chunk(&upload, 0, content.clone()).await)?;
        expect(200, client.complete(&upload, &json!({})).await)?;
        expect(200, client.get_after(&format!("/v1/files/{}", small.text("file_id")), &small).await)?;
        expect(200, client.get("/v1/files?limit=5").await)?;
        let read = client.request(reqwest::Method::GET, &format!("/v1/files/{upload}/content")).send().await;
        let read = read.map_err(|error| format!("a download: {error}"))?;
        let status = read.status().as_u16();
        let read = read.bytes().await.map_err(|error| format!("a download: {error}"))?;
        if status == 200 && read == content { Ok(()) } else { Err(format!("a download: {status}, {read:?}")) }
    }

    /// Waits until the user has done more.
    async fn goes_on(&self) {
        let before = self.rounds.load(Ordering::Relaxed);
        eventually("more uploads", || async { (self.rounds.load(Ordering::Relaxed) > before + 1).then_some(()) }).await;
    }
}

fn expect(status: u16, answer: Answer) -> Result<Answer, String> {
    if answer.status == status { Ok(answer) } else { Err(format!("{answer:?} instead of {status}")) }
}

/// Restarts all processes one after another with arguments that can depend on the role.
async fn restart_all(cluster: &mut Cluster, load: &Load, arguments: impl Fn(&str) -> Vec<String>) {
    for index in 0..2 {
        cluster.projectors[index].restart_with(&arguments("projector")).await;
        cluster.workers[index].restart_with(&arguments("worker")).await;
        load.goes_on().await;
        cluster.replace_gateway(index, &arguments("gateway")).await;
        cluster.fanouts[index].restart_with(&arguments("fanout")).await;
        load.goes_on().await;
    }
}

/// Returns the text of nats-server's configuration with a second user for each role, which has the same permissions.
fn with_second_users(mut text: String) -> String {
    for user in USERS {
        let name = format!("user: {user}, ");
        let begin = text[..text.find(&name).unwrap()].rfind('{').unwrap();
        let end = begin + block_length(&text[begin..]);
        let own = format!("password: $NATS_PASSWORD_{}", user.to_uppercase());
        let second = text[begin..end]
            .replace(&name, &format!("user: {user}_second, "))
            .replace(&own, &format!("password: {}", second_password(user)));
        text.insert_str(begin, &format!("{second}\n"));
    }
    text
}

fn second_password(user: &str) -> String {
    nats_password(user).replace('p', "q")
}

/// Returns the text without the first users of the roles.
fn without_first_users(mut text: String) -> String {
    for user in USERS {
        let at = text.find(&format!("user: {user}, ")).unwrap();
        let begin = text[..at].rfind('{').unwrap();
        let end = begin + block_length(&text[begin..]);
        text.replace_range(begin..end, "");
    }
    text
}

/// Returns the length of the block in braces with which the text begins.
fn block_length(text: &str) -> usize {
    let mut depth = 0;
    for (at, letter) in text.char_indices() {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        if depth == 0 {
            return at + 1;
        }
    }
    text.len()
}

/// Creates a second user of PostgreSQL with these rights, as `waybill provision` does, and returns its URL.
async fn second_database_user(backing: &Backing, rights: Rights) -> String {
    let name = format!("waybill_test_second_{rights:?}").to_lowercase();
    let password = "a new password".to_owned();
    let user = DatabaseUser { name: name.parse().unwrap(), password: Some(password), rights };
    backing.database("waybill").admit(&user).await.unwrap();
    let (_, server) = backing.database_url().rsplit_once('@').unwrap();
    let separator = if server.contains('?') { '&' } else { '?' };
    format!("postgres://{name}:a%20new%20password@{server}{separator}sslmode=require")
}

/// Takes all rights in the database of Waybill from the first users of PostgreSQL.
async fn drop_first_database_users(backing: &Backing) {
    let mut connection = backing.database("waybill").connection().await.unwrap();
    for rights in [Rights::Read, Rights::Write] {
        let url = backing.database_url_for(rights);
        let user = url.split(['/', ':']).nth(3).unwrap();
        connection.batch_execute(&format!("DROP OWNED BY {user}")).await.unwrap();
    }
}

/// Replaces the secrets of Waybill, the users of NATS and those of PostgreSQL. The steps are those of
/// docs/how-to/rotate-secrets.md.
#[tokio::test(flavor = "multi_thread")]
async fn all_secrets_are_replaced_under_load_without_a_failed_request() {
    let mut cluster = Cluster::start(Counts { each: 2, tls: true, ..Counts::default() }).await;
    let load = Load::new(cluster.client().without_keep_alive());
    let working = tokio::spawn(load.clone().work());
    load.goes_on().await;

    let nats = cluster.backing.nats_server();
    nats.reload(with_second_users).await;
    let (reader, writer) = (
        second_database_user(&cluster.backing, Rights::Read).await,
        second_database_user(&cluster.backing, Rights::Write).await,
    );
    let old = |name: &str| cluster.backing.secret(name).to_owned();
    let old: Vec<String> = SECRETS.iter().map(|name| old(name)).collect();
    let new = |name: &str| format!("a new secret for the setting {name} in tests");
    let steps: [fn(&str, &str) -> String; 3] =
        [|old, new| format!("{old},{new}"), |old, new| format!("{new},{old}"), |_, new| new.to_owned()];
    for (number, step) in steps.into_iter().enumerate() {
        let secrets: Vec<String> =
            SECRETS.iter().zip(&old).map(|(name, old)| format!("--{name}={}", step(old, &new(name)))).collect();
        let arguments = |role: &str| {
            let mut arguments = secrets.clone();
            if number == 1 {
                let database = if role == "projector" { &writer } else { &reader };
                arguments.extend([
                    format!("--database-url={database}"),
                    format!("--nats-user={role}_second"),
                    format!("--nats-password={}", second_password(role)),
                    format!("--nats-inbox-prefix=_INBOX_{role}"),
                ]);
            }
            arguments
        };
        restart_all(&mut cluster, &load, arguments).await;
        if number == 1 {
            load.sign_in_again(&new("jwt-hs256-secret"));
            load.goes_on().await;
        }
    }
    // Nothing uses the old users any more.
    cluster.backing.nats_server().reload(without_first_users).await;
    drop_first_database_users(&cluster.backing).await;
    load.goes_on().await;
    load.is_over.store(true, Ordering::Relaxed);
    let failures = working.await.unwrap();
    assert!(failures.is_empty(), "{failures:#?}");
    cluster.finish().await;
}
