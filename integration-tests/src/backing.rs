//! The servers of one test, and direct queries of them.

use crate::{Authority, Client};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use clap::Parser;
use diesel_async::SimpleAsyncConnection;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::OnceCell;
use uuid::Uuid;
use waybill::serve::ServeArgs;
use waybill_domain::quota;
use waybill_event_log::jetstream::JetStreamLog;
use waybill_event_log::{EventLog, read_events};
use waybill_http_kit::auth::IssuerConfig;
use waybill_http_kit::{Authenticator, Principal, Role};
use waybill_object_store::s3::{S3Config, S3Store};
use waybill_projector::verify;
use waybill_read_model::{Database, Rights, projection};
use waybill_schema::{CompanyId, Entity, Event, Subject, UserId, names};
use waybill_service_kit::{Secrets, now};
use waybill_test_kit::{METADATA_KEYS, NatsServer, TestBucket, TestDatabase, eventually, nats_password, settings};

const SECRET: &str = "a secret that only the tests know.....";
const AUDIT_SECRET: &str = "a secret for audit exports in tests...";
const CURSOR_SECRET: &str = "a secret for cursors in the tests.....";
/// Secret of the gateways from which the keys of media URLs are derived.
pub const TOKEN_SECRET: &str = "a secret for download tokens in tests.";

/// The roles of `waybill serve`.
const ROLES: [&str; 6] = ["all", "gateway", "worker", "projector", "fanout", "content"];

/// NATS, a database and a bucket for one test.
pub struct Backing {
    nats: NatsServer,
    postgres: TestDatabase,
    bucket: TestBucket,
    log: Arc<JetStreamLog>,
    /// The roles reach NATS and PostgreSQL over TLS.
    is_secure: bool,
    unchecked: Unchecked,
}

/// Fails a test that ends without the check, which [`Backing::check`] makes. A test without the check says so by stopping its
/// servers itself ([`Backing::remove`]).
struct Unchecked(AtomicBool);

impl Drop for Unchecked {
    fn drop(&mut self) {
        assert!(
            std::thread::panicking() || !self.0.load(Ordering::Relaxed),
            "the test ended without `finish()`, which compares the tables with the events"
        );
    }
}

#[derive(Parser)]
struct Serve {
    #[command(flatten)]
    args: ServeArgs,
}

/// Parses arguments as `waybill serve` does.
///
/// # Panics
/// If an argument is invalid.
pub(crate) fn serve_args(args: &[String]) -> ServeArgs {
    Serve::try_parse_from(args).unwrap_or_else(|error| panic!("{error}")).args
}

impl Backing {
    /// Starts and provisions the servers.
    ///
    /// # Panics
    /// If a server does not start.
    pub async fn start(partitions: u32) -> Self {
        Self::start_on(NatsServer::start().await, partitions).await
    }

    /// Like [`Backing::start`], with a nats-server that is already running.
    ///
    /// # Panics
    /// If a server cannot be set up.
    pub async fn start_on(nats: NatsServer, partitions: u32) -> Self {
        let log = Arc::new(nats.log(partitions).await);
        let postgres = TestDatabase::create().await;
        postgres.prepare("waybill").await;
        let (bucket, unchecked) = (TestBucket::create().await, Unchecked(AtomicBool::new(true)));
        Self { nats, log, postgres, bucket, is_secure: false, unchecked }
    }

    /// Like [`Backing::start`]. The roles reach NATS and PostgreSQL over TLS.
    ///
    /// # Panics
    /// If a server cannot be set up.
    pub async fn start_secure(authority: &Authority, partitions: u32) -> Self {
        let nats = NatsServer::start_changed(|text| format!("{text}\n{}", authority.nats_block())).await;
        let backing = Self::start_on(nats, partitions).await;
        backing.postgres_speaks_tls(authority).await;
        Self { is_secure: true, ..backing }
    }

    /// Enables TLS in the PostgreSQL of all tests.
    pub async fn postgres_speaks_tls(&self, authority: &Authority) {
        static ONCE: OnceCell<()> = OnceCell::const_new();
        ONCE.get_or_init(|| async {
            let (cert, key) = authority.sign();
            let mut connection = self.database("postgres_tls").connection().await.expect("PostgreSQL answers");
            let mut execute = async |text: String| connection.batch_execute(&text).await.expect("TLS can be enabled");
            for (file, pem) in [("waybill-test.crt", cert), ("waybill-test.key", key)] {
                let pem = pem.trim_end().replace('\n', "\\n");
                // The server writes the file as its own user, without permissions for others.
                let program = format!("cat > /dev/null; umask 077; printf ''%b\\n'' ''{pem}'' > {file}");
                execute(format!("COPY (SELECT 1) TO PROGRAM '{program}'")).await;
            }
            for said in ["ssl_cert_file = 'waybill-test.crt'", "ssl_key_file = 'waybill-test.key'", "ssl = on"] {
                execute(format!("ALTER SYSTEM SET {said}")).await;
            }
            execute("SELECT pg_reload_conf()".to_owned()).await;
        })
        .await;
    }

    /// Returns the name of the bucket of the files.
    pub fn store_bucket(&self) -> &str {
        &self.bucket.config.bucket
    }

    /// Returns the URL of PostgreSQL for the owner of the tables.
    pub fn database_url(&self) -> &str {
        self.postgres.url()
    }

    /// Returns the URL of PostgreSQL for the user of a role with these rights.
    pub fn database_url_for(&self, rights: Rights) -> String {
        self.postgres.url_for(rights)
    }

    /// Returns the URL of NATS.
    pub(crate) fn nats_url(&self) -> &str {
        self.nats.url()
    }

    /// Returns the URL of the object store.
    pub(crate) fn store_url(&self) -> String {
        self.bucket.config.endpoint.clone().unwrap_or_default()
    }

    /// Returns the secret of a setting such as `worker-secret`.
    ///
    /// # Panics
    /// If there is no such setting.
    pub fn secret(&self, setting: &str) -> &'static str {
        match setting {
            "jwt-hs256-secret" | "worker-secret" => SECRET,
            "audit-secret" => AUDIT_SECRET,
            "cursor-secret" => CURSOR_SECRET,
            "token-secret" => TOKEN_SECRET,
            other => panic!("no secret has the name {other}"),
        }
    }

    /// Returns the arguments of a role, beginning with the name of the program. Arguments in `more` replace the
    /// defaults. A role has its own user of NATS and a user of PostgreSQL that cannot create tables; the commands of
    /// operators have the user `provision` and the owner of the database.
    pub fn arguments(&self, role: &str, more: &[String]) -> Vec<String> {
        let user = if ROLES.contains(&role) { role } else { "provision" };
        let database = match role {
            "gateway" | "worker" | "fanout" | "content" => self.database_url_for(Rights::Read),
            "all" | "projector" => self.database_url_for(Rights::Write),
            _ => self.postgres.url().to_owned(),
        };
        let (nats, database) = if self.is_secure {
            let separator = if database.contains('?') { '&' } else { '?' };
            (self.nats.url().replace("nats://", "tls://"), format!("{database}{separator}sslmode=require"))
        } else {
            (self.nats.url().to_owned(), database)
        };
        let config = &self.bucket.config;
        let (key_id, key_secret) = TestBucket::keys();
        let mut args: Vec<String> = [
            "waybill",
            role,
            "--allowed-origins=https://app.example",
            "--projector-lease-ms=2000",
            "--worker-budget-mib=256",
        ]
        .map(str::to_owned)
        .to_vec();
        args.extend([
            format!("--nats-url={nats}"),
            format!("--nats-user={user}"),
            format!("--nats-password={}", nats_password(user)),
            format!("--partitions={}", self.log.partitions().count()),
            format!("--database-url={database}"),
            format!("--metadata-keys={METADATA_KEYS}"),
            format!("--s3-endpoint={}", config.endpoint.as_deref().unwrap_or_default()),
            format!("--s3-bucket={}", config.bucket),
            format!("--s3-access-key-id={key_id}"),
            format!("--s3-secret-access-key={key_secret}"),
            format!("--jwt-hs256-secret={SECRET}"),
            format!("--worker-secret={SECRET}"),
            format!("--audit-secret={AUDIT_SECRET}"),
            format!("--cursor-secret={CURSOR_SECRET}"),
            format!("--token-secret={TOKEN_SECRET}"),
        ]);
        if ROLES.contains(&role) {
            // The program of the test is not `waybill`.
            args.push(format!("--render-program={}", settings("WAYBILL_TEST_BIN")));
            // Tests wait for work that would wait for them.
            args.push("--content-max-busy=100".to_owned());
        }
        // All tests can be run with a Redis that they share.
        if let (Ok(url), "all" | "gateway") = (std::env::var("WAYBILL_TEST_REDIS_URL"), role) {
            args.push(format!("--redis-url={url}"));
        }
        // Arguments in `more` replace those with the same name.
        let name = |arg: &String| arg.split('=').next().map(str::to_owned);
        args.retain(|arg| !more.iter().any(|said| name(said) == name(arg)));
        args.extend(more.iter().cloned());
        args
    }

    /// Returns a client for a new user of a new company, with all roles.
    pub fn client(&self, url: &str) -> Client {
        self.client_for(url, CompanyId(Uuid::now_v7()), &[Role::Admin, Role::Auditor])
    }

    /// Returns a client for a new user of `company`.
    pub fn client_for(&self, url: &str, company_id: CompanyId, roles: &[Role]) -> Client {
        let principal = Principal {
            link: None,
            user_id: UserId(Uuid::now_v7()),
            company_id,
            roles: roles.to_vec(),
            issued_at: Some(now()),
            expires_at: now().plus_ms(3_600_000),
        };
        Client::new(url.to_owned(), self.token(&principal), principal)
    }

    /// Returns an access token.
    ///
    /// # Panics
    /// Never: the secret is long enough.
    pub fn token(&self, principal: &Principal) -> String {
        authenticator(SECRET, "waybill", "waybill").mint(principal).expect("a token can be signed")
    }

    /// Returns a token with any header and claims, signed with the secret of the access tokens.
    ///
    /// # Panics
    /// Never: HMAC takes keys of any length.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| BASE64URL.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("HMAC takes keys of any length");
        mac.update(signed.as_bytes());
        format!("{signed}.{}", BASE64URL.encode(mac.finalize().into_bytes()))
    }

    /// Returns the event log.
    pub fn log(&self) -> &JetStreamLog {
        &self.log
    }

    /// Returns the partition of a company.
    pub fn partition_of(&self, company: CompanyId) -> u32 {
        self.log.partitions().of(company)
    }

    /// Returns the nats-server.
    pub fn nats_server(&mut self) -> &mut NatsServer {
        &mut self.nats
    }

    /// Opens a connection to NATS with the user of a role.
    pub async fn nats_as(&self, user: &str) -> async_nats::Client {
        self.nats.client_as(user).await
    }

    /// Opens a connection to NATS with a user who may do everything.
    pub async fn nats(&self) -> async_nats::Client {
        self.nats.client().await
    }

    /// Returns the object store.
    pub fn store(&self) -> S3Store {
        self.bucket.store()
    }

    /// Returns another bucket of the same store.
    pub fn store_in(&self, bucket: &str) -> S3Store {
        self.store_at(self.store_url(), bucket)
    }

    /// Returns a bucket of the store at a URL, which accepts the same access key.
    pub fn store_at(&self, url: String, bucket: &str) -> S3Store {
        S3Store::new(&S3Config { endpoint: Some(url), bucket: bucket.to_owned(), ..self.bucket.config.clone() })
    }

    /// Returns the database with the read model in `schema`; the live schema is `waybill`.
    pub fn database(&self, schema: &str) -> Database {
        self.postgres.database(schema)
    }

    /// Waits until the live tables contain every event. Asks the log again until it answers, because a server that was
    /// just resumed may still count as unavailable.
    pub async fn projected(&self) {
        let database = self.database("waybill");
        for partition in self.log.partitions().all() {
            let head = eventually("the log to answer", || async { self.log.head(partition).await.ok() }).await.last_seq;
            eventually("the projection to reach the end of the log", || async {
                let mut connection = database.connection().await.ok()?;
                let at = projection::checkpoint(&mut connection, partition).await.ok()??;
                (at.seq.unsigned_abs() >= head).then_some(())
            })
            .await;
        }
    }

    /// Waits until the workers have reacted to every event and the tables contain the results.
    ///
    /// # Panics
    /// If NATS does not answer.
    pub async fn settled(&self) {
        self.acknowledged(names::REACTIONS_DURABLE).await;
        self.projected().await;
    }

    /// Waits until a consumer has acknowledged every event.
    pub async fn acknowledged(&self, consumer: &str) {
        let jetstream = async_nats::jetstream::new(self.nats().await);
        for partition in self.log.partitions().all() {
            eventually("the reactions to end", || async {
                let stream = jetstream.get_stream(names::event_stream(partition)).await.ok()?;
                let info = stream.consumer_info(consumer).await.ok()?;
                (info.num_pending == 0 && info.num_ack_pending == 0).then_some(())
            })
            .await;
        }
    }

    /// Returns the reserved bytes of a company, computed from the events.
    pub async fn reserved_bytes(&self, company: CompanyId) -> u64 {
        let subject = Subject::new(company, Entity::Quota);
        let mut state = quota::State::default();
        let read = || async { read_events(self.log.as_ref(), subject, 0).await.ok() };
        for recorded in eventually("the log to answer", read).await {
            if let Event::Quota(event) = &recorded.event {
                quota::evolve(&mut state, event, recorded.envelope.time);
            }
        }
        state.reserved_bytes()
    }

    /// Waits until a company has no reserved bytes.
    pub async fn nothing_reserved(&self, company: CompanyId) {
        eventually("the reservations to be settled", || async {
            (self.reserved_bytes(company).await == 0).then_some(())
        })
        .await;
    }

    /// Returns `true` if the log of nats-server contains `text`.
    pub fn nats_has_logged(&self, text: &str) -> bool {
        self.nats.has_logged(text)
    }

    /// Checks what must hold after every test: the tables equal a rebuild, only the `parked_messages` events of the test
    /// are parked, and no role has tried what its user of NATS may not do.
    ///
    /// # Panics
    /// If it does not hold.
    pub async fn check(&self, parked_messages: i64) {
        self.projected().await;
        let comparison = verify(self.log.as_ref(), &self.database("waybill")).await.expect("the rebuild succeeds");
        assert!(comparison.is_equal(), "the live tables differ from the events: {comparison:#?}");
        let parked = comparison.tables.iter().find(|table| table.live.table == "parked_event");
        assert_eq!(parked.map(|table| table.live.rows), Some(parked_messages), "number of parked events");
        let log = self.nats.log_text();
        let denied: Vec<&str> = log.lines().filter(|line| line.contains(" Violation - Subject")).collect();
        assert!(denied.is_empty(), "nats-server denied subjects to roles, see nats/users.conf: {denied:#?}");
        self.unchecked.0.store(false, Ordering::Relaxed);
    }

    /// Stops the nats-server, drops the database and deletes the bucket.
    pub async fn remove(self) {
        self.unchecked.0.store(false, Ordering::Relaxed);
        drop(self.nats);
        self.postgres.drop_it().await;
        self.bucket.delete_it().await;
    }
}

/// Returns an authenticator that signs tokens with this secret.
///
/// # Panics
/// Panics if the secret is too short.
pub fn authenticator(secret: &str, issuer: &str, audience: &str) -> Authenticator {
    let secrets = Secrets::read("the secret of tokens", secret, None).expect("the secret is long enough");
    Authenticator::hs256(&secrets, IssuerConfig::of(issuer, audience))
}

/// Filters the arguments of a role that name NATS and PostgreSQL, for commands that take no others. With `store` also
/// those of the object store.
pub fn servers_in(arguments: &[String], store: bool) -> Vec<String> {
    let mut wanted = vec!["--nats-", "--partitions", "--database-url", "--metadata-keys"];
    wanted.extend(store.then_some("--s3-"));
    arguments.iter().filter(|argument| wanted.iter().any(|name| argument.starts_with(name))).cloned().collect()
}
