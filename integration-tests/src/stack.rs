//! Starting and stopping.

use crate::Client;
use clap::Parser;
use std::sync::Arc;
use uuid::Uuid;
use waybill::serve::{Running, ServeArgs, start};
use waybill_event_log::EventLog;
use waybill_event_log::jetstream::JetStreamLog;
use waybill_object_store::s3::S3Store;
use waybill_projector::verify;
use waybill_read_model::{Database, projection};
use waybill_repository::load_quota;
use waybill_schema::{CompanyId, UserId};
use waybill_service_kit::{Authenticator, Principal, Role, Shutdown, now, telemetry};
use waybill_test_kit::{NatsServer, TestBucket, TestDatabase, eventually};

const SECRET: &str = "a secret that only the tests know.....";

/// What a test may want otherwise.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Further arguments of `waybill serve all`.
    pub args: Vec<String>,
}

/// A running Waybill.
pub struct Stack {
    nats: NatsServer,
    postgres: TestDatabase,
    bucket: TestBucket,
    log: Arc<JetStreamLog>,
    running: Running,
    shutdown: Shutdown,
    url: String,
}

#[derive(Parser)]
struct Serve {
    #[command(flatten)]
    args: ServeArgs,
}

impl Stack {
    /// Starts one.
    ///
    /// # Panics
    /// Where anything of it does not start.
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    /// Starts one with other settings.
    ///
    /// # Panics
    /// Where anything of it does not start.
    pub async fn with(options: Options) -> Self {
        if let Ok(filter) = std::env::var("WAYBILL_LOG") {
            telemetry::init(&filter, false);
        }
        let nats = NatsServer::start().await;
        let log = Arc::new(nats.log(1).await);
        let postgres = TestDatabase::create().await;
        let bucket = TestBucket::create().await;
        let shutdown = Shutdown::new();
        let running = start(arguments(&nats, &postgres, &bucket, &options), &shutdown).await.expect("all roles start");
        let url = format!("http://{}", running.addr().expect("all roles have an address"));
        let stack = Self { nats, postgres, bucket, log, running, shutdown, url };
        stack.ready().await;
        stack
    }

    async fn ready(&self) {
        eventually("the stack to be ready", || async {
            let answer = reqwest::get(format!("{}/readyz", self.url)).await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A client for a new user of a new company, with all roles.
    pub fn client(&self) -> Client {
        self.client_for(CompanyId(Uuid::now_v7()), &[Role::Admin, Role::Auditor])
    }

    /// A client for a new user of `company`.
    pub fn client_for(&self, company_id: CompanyId, roles: &[Role]) -> Client {
        let principal = Principal {
            user_id: UserId(Uuid::now_v7()),
            company_id,
            roles: roles.to_vec(),
            expires_at: now().plus_ms(3_600_000),
        };
        Client::new(self.url.clone(), self.token(&principal), principal)
    }

    /// A token.
    ///
    /// # Panics
    /// Never: the secret is long enough.
    pub fn token(&self, principal: &Principal) -> String {
        let authenticator = Authenticator::hs256(SECRET, "waybill", "waybill").expect("the secret is long enough");
        authenticator.mint(principal).expect("a token can be signed")
    }

    /// Its event log.
    pub fn log(&self) -> &JetStreamLog {
        &self.log
    }

    /// A connection to its NATS.
    pub async fn nats(&self) -> async_nats::Client {
        self.nats.client().await
    }

    /// Its object store.
    pub fn store(&self) -> S3Store {
        self.bucket.store()
    }

    /// Its read models, in another schema than the live one where `schema` says so.
    pub fn database(&self, schema: &str) -> Database {
        self.postgres.database(schema)
    }

    /// Until the live tables hold every event.
    pub async fn projected(&self) {
        let database = self.database("waybill");
        let head = self.log.head(0).await.expect("the log answers").last_seq;
        eventually("the projection to reach the end of the log", || async {
            let mut connection = database.connection().await.ok()?;
            let at = projection::checkpoint(&mut connection, 0).await.ok()??;
            (at.seq.unsigned_abs() >= head).then_some(())
        })
        .await;
    }

    /// The reserved bytes of a company, from the events.
    ///
    /// # Panics
    /// Where the log does not answer.
    pub async fn reserved_bytes(&self, company: CompanyId) -> u64 {
        let quota = load_quota(self.log.as_ref(), None, company).await.expect("the log answers");
        quota.state.reserved_bytes()
    }

    /// Until nothing of a company is reserved.
    pub async fn nothing_reserved(&self, company: CompanyId) {
        eventually("the reservations to be settled", || async {
            (self.reserved_bytes(company).await == 0).then_some(())
        })
        .await;
    }

    /// Stops, and checks what must hold after any test: the tables equal a rebuild, and nothing is parked.
    ///
    /// # Panics
    /// Where it does not hold.
    pub async fn finish(self) {
        self.finish_with_parked(0).await;
    }

    /// The same, where a test has put `parked` messages into the log that cannot be folded.
    ///
    /// # Panics
    /// Where it does not hold.
    pub async fn finish_with_parked(self, parked_messages: i64) {
        self.projected().await;
        let comparison = verify(self.log.as_ref(), &self.database("waybill")).await.expect("a rebuild goes through");
        assert!(comparison.is_equal(), "the live tables differ from the events: {comparison:#?}");
        let parked = comparison.tables.iter().find(|table| table.live.table == "parked_event");
        assert_eq!(parked.map(|table| table.live.rows), Some(parked_messages), "events are parked");
        self.shutdown.trigger();
        self.running.stopped().await;
        drop(self.nats);
        self.postgres.drop_it().await;
    }
}

fn arguments(nats: &NatsServer, postgres: &TestDatabase, bucket: &TestBucket, options: &Options) -> ServeArgs {
    let config = &bucket.config;
    let mut args: Vec<String> = [
        "waybill",
        "all",
        "--http-addr=127.0.0.1:0",
        "--allowed-origins=https://app.example",
        "--projector-lease-ms=2000",
        "--worker-budget-mib=256",
    ]
    .map(str::to_owned)
    .to_vec();
    args.extend([
        format!("--nats-url={}", nats.url()),
        format!("--database-url={}", postgres.url()),
        format!("--s3-endpoint={}", config.endpoint.as_deref().unwrap_or_default()),
        format!("--s3-bucket={}", config.bucket),
        format!("--s3-access-key-id={}", config.access_key_id),
        format!("--s3-secret-access-key={}", config.secret_access_key),
        format!("--jwt-hs256-secret={SECRET}"),
        format!("--worker-secret={SECRET}"),
    ]);
    args.extend(options.args.iter().cloned());
    Serve::try_parse_from(args).unwrap_or_else(|error| panic!("{error}")).args
}
